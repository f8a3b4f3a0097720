"""Where our own cgroups are, read from recorded texts of hosts and containers of every layout."""

from __future__ import annotations

import pytest

from supervisor.host.cgroup.layout import Hierarchy, Layout, is_cgroup, layout_of, read_layout

SYSTEMD_V2 = r"""
24 30 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
30 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
36 24 0:31 / /sys/fs/pstore rw,nosuid,nodev,noexec,relatime shared:10 - pstore pstore rw
"""
HYBRID = r"""
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
HYBRID_OWN = "9:name=systemd:/\n6:freezer:/\n4:memory:/job/a1\n1:cpu:/\n0::/\n"
V1 = r"""
25 18 0:21 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:5 - tmpfs tmpfs ro,seclabel,mode=755
26 25 0:22 / /sys/fs/cgroup/systemd rw,nosuid shared:6 - cgroup cgroup rw,xattr,release_agent=/usr/lib/systemd/x,name=systemd
28 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:8 - cgroup cgroup rw,cpuacct,cpu
29 25 0:25 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
"""
V1_OWN = "9:memory:/user.slice\n4:cpuacct,cpu:/user.slice\n1:name=systemd:/user.slice/session-1.scope\n"
# a container with a cgroup namespace: its own cgroup is the root of all that it sees
CONTAINER_V2 = r"""
612 480 0:139 / / rw,relatime - overlay overlay rw,lowerdir=/x
640 630 0:27 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate
"""
# one without: the mounts show its own part of the hierarchies, by the host's names
CONTAINER_V1 = r"""
612 480 0:139 / / rw,relatime - overlay overlay rw,lowerdir=/x
641 640 0:29 /docker/4af1 /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:15 - cgroup cgroup rw,memory
642 640 0:30 /docker/4af1 /sys/fs/cgroup/freezer ro,nosuid,nodev,noexec,relatime master:16 - cgroup cgroup rw,freezer
"""


def found(mountinfo: str, cgroup: str) -> dict[str, Hierarchy]:
    return {"+".join(sorted(each.controllers)) or "v2": each for each in read_layout(mountinfo, cgroup)}


def test_systemd_host_with_version_2() -> None:
    """Our own cgroup lies below the mount; one hierarchy is all there is."""
    own = "/user.slice/user-1000.slice/user@1000.service/app.slice/tool.scope"
    assert read_layout(SYSTEMD_V2, f"0::{own}\n") == (Hierarchy(frozenset(), "/sys/fs/cgroup", own, f"/sys/fs/cgroup{own}", True),)
    assert layout_of(read_layout(SYSTEMD_V2, f"0::{own}\n")) is Layout.V2


def test_root_cgroup() -> None:
    """The mount itself is our own cgroup."""
    assert found(SYSTEMD_V2, "0::/\n")["v2"].directory == "/sys/fs/cgroup"


def test_hybrid() -> None:
    """Each controller has its own place, and version 2, without any, comes first."""
    hierarchies = read_layout(HYBRID, HYBRID_OWN)
    own = found(HYBRID, HYBRID_OWN)

    assert layout_of(hierarchies) is Layout.HYBRID
    assert hierarchies[0].version == 2 and hierarchies[0].directory == "/sys/fs/cgroup/unified"
    assert own["memory"].directory == "/sys/fs/cgroup/memory/job/a1" and own["memory"].path == "/job/a1"
    assert own["freezer"].directory == "/sys/fs/cgroup/freezer"
    assert own["name=systemd"].version == 1


def test_version_1_with_controllers_in_common() -> None:
    """The order of names and other options of the mount do not matter."""
    own = found(V1, V1_OWN)

    assert layout_of(read_layout(V1, V1_OWN)) is Layout.V1
    assert own["cpu+cpuacct"].directory == "/sys/fs/cgroup/cpu,cpuacct/user.slice"
    assert own["memory"].writable


def test_container_with_a_cgroup_namespace() -> None:
    """Its root is our own cgroup; a mount for reading only is told."""
    assert read_layout(CONTAINER_V2, "0::/\n") == (Hierarchy(frozenset(), "/sys/fs/cgroup", "/", "/sys/fs/cgroup", False),)


def test_container_without_a_cgroup_namespace() -> None:
    """The mount's own root is taken off the path."""
    own = found(CONTAINER_V1, "9:memory:/docker/4af1\n8:freezer:/docker/4af1/inner\n")

    assert own["memory"].directory == "/sys/fs/cgroup/memory"
    assert own["freezer"].directory == "/sys/fs/cgroup/freezer/inner"
    assert not own["memory"].writable


@pytest.mark.parametrize(
    "cgroup",
    ["9:memory:/docker/4af17\n", "9:memory:/\n", "9:memory:/../4af1\n", "9:pids:/docker/4af1\n", "", "memory\n", "9:memory:relative\n"],
)
def test_what_the_mounts_do_not_show_is_left_out(cgroup: str) -> None:
    """A neighbour's directory, one above our namespace, a controller without a mount, and nonsense."""
    assert read_layout(CONTAINER_V1, cgroup) == ()
    assert layout_of(()) is Layout.NONE


def test_mount_that_is_rooted_above_our_namespace_is_left_out() -> None:
    """The host's own mount in a namespace: its names above ours are not told."""
    assert read_layout("35 24 0:30 /../.. /host rw - cgroup2 cgroup2 rw\n", "0::/\n") == ()


def test_writable_mount_is_taken_before_one_for_reading_only() -> None:
    """Containers sometimes have both."""
    mounts = "35 24 0:30 / /ro ro - cgroup2 cgroup2 rw\n36 24 0:30 / /rw rw - cgroup2 cgroup2 rw\n"
    assert found(mounts, "0::/a\n")["v2"].directory == "/rw/a"


def test_blanks_in_paths() -> None:
    """The kernel writes them in octal."""
    assert found("35 24 0:30 / /my\\040groups rw - cgroup2 none rw\n", "0::/a b\n")["v2"].directory == "/my groups/a b"


@pytest.mark.parametrize(
    ("directory", "is_one"),
    [
        ("/sys/fs/cgroup/unified/supervisor-1", True),
        ("/sys/fs/cgroup/memory/job/a1/supervisor-1", True),
        ("/sys/fs/cgroup/unified", False),
        ("/sys/fs/cgroup/unified/", False),
        ("/sys/fs/cgroup/unified/../../../../home", False),
        ("/sys/fs/cgroup/unifiedx/a", False),
        ("/var/supervisor-1", False),
        ("supervisor-1", False),
        ("", False),
    ],
)
def test_what_is_taken_for_a_cgroup(directory: str, is_one: bool) -> None:
    """Only a plain path below a mounted cgroup: what a record says is not trusted."""
    assert is_cgroup(HYBRID, directory) is is_one
