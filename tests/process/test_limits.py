"""What a command may use of the machine, with real processes and real limits; each program here bounds itself as well."""

from __future__ import annotations

import errno
import math
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor import CgroupUnavailable, Limits, OomKilled, cgroup_directories, cgroup_support, command
from supervisor.core.exits import ExitKind
from supervisor.host import descriptors
from supervisor.host.cgroup import offer
from supervisor.host.cgroup.memory import OomKillWatch
from supervisor.host.launching import Mechanism
from supervisor.host.spawn import SettingFailed
from supervisor.leaf.command import Command

from ..support import eventually
from ..support_ticket import Life, living
from .host_support import PYTHON

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")]

MIB = 1 << 20
GREEDY = """\
import signal
signal.alarm(20)
taken = [bytearray([1]) * (1 << 20) for _ in range(256)]
"""
"""Takes 256 MiB, page by page, and no more."""

FORKS = """\
import os, signal
signal.alarm(20)
refused = 0
for _ in range(40):
    try:
        if os.fork() == 0:
            signal.alarm(20)
            signal.pause()
    except BlockingIOError:
        refused += 1
print(refused)
"""
"""Forks 40 times and no more; each child ends by itself, or with this one."""

as_root = pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root may change the user")


def needs(controller: str) -> None:
    """Skip the test where leaves cannot have this controller."""
    support = cgroup_support()
    if not getattr(support, controller):
        pytest.skip(f"no {controller} limits here: {support.reason}")


def limited(life: Life, controller: str) -> Path:
    """The directory in which that controller limits this life."""
    hierarchy = offer.offer().controllers[controller]
    assert life.handle.cgroup is not None
    return Path(offer.offer().run_directory(hierarchy), os.path.basename(life.handle.cgroup))


async def output_of(launch: Command, output: Path) -> list[str]:
    """What the command prints, when it has ended well."""
    async with living(launch) as life:
        exit = await life.ticket.wait_exit()
        assert exit.kind is ExitKind.NORMAL, exit
    return lines_of(output)


def lines_of(file: str | Path) -> list[str]:
    return Path(file).read_text().splitlines()


async def test_memory_beyond_the_limit_is_the_end_and_is_called_so() -> None:
    """The kernel kills it; the exit says why."""
    needs("memory")
    async with living(command(PYTHON, "-c", GREEDY, limits=Limits(memory_max=64 * MIB))) as life:
        exit = await life.ticket.wait_exit()
    assert (exit.signal, exit.out_of_memory, exit.reason) == (signal.SIGKILL, True, "killed: out of memory")


async def test_the_limit_holds_for_the_whole_tree_and_is_named_behind_a_wrapper() -> None:
    """The victim is a child of a shell, which says it in the way of shells."""
    needs("memory")
    script = f"{PYTHON} -c '{GREEDY}'; exit $?"
    async with living(command("sh", "-c", script, limits=Limits(memory_max=64 * MIB))) as life:
        exit = await life.ticket.wait_exit()
    assert (exit.code, exit.out_of_memory, exit.reason) == (137, True, "exit code 137: out of memory")


async def test_a_kill_in_its_tree_is_told_while_the_command_goes_on() -> None:
    """Each time anew; the command's own end is another matter."""
    needs("memory")
    script = f"for turn in 1 2; do {PYTHON} -c '{GREEDY}'; read line; done; exit 0"
    reader, writer = os.pipe()
    try:
        launch = command("sh", "-c", script, stdin=f"/dev/fd/{reader}", stderr="null", limits=Limits(memory_max=64 * MIB))
        async with living(launch) as life:
            for turn in (1, 2):
                told = [OomKilled(("root", "leaf"), 1, generation=1)] * turn
                await eventually(lambda told=told: life.ticket.events == told)  # type: ignore[misc]
                os.write(writer, b"\n")
            assert (await life.ticket.wait_exit()).kind is ExitKind.NORMAL
    finally:
        os.close(reader)
        os.close(writer)


async def test_without_descriptors_to_watch_only_the_exit_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs all the same."""
    needs("memory")

    def exhausted(directory: str) -> OomKillWatch:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(OomKillWatch, "open", exhausted)
    async with living(command(PYTHON, "-c", GREEDY, limits=Limits(memory_max=64 * MIB))) as life:
        assert (await life.ticket.wait_exit()).out_of_memory
    assert life.ticket.events == []


async def test_a_kill_by_somebody_else_is_not_called_out_of_memory() -> None:
    """Its own cgroup counts what the kernel killed in it, and nothing else."""
    needs("memory")
    limits = Limits(memory_max=64 * MIB)
    async with living(command(PYTHON, "-c", GREEDY, limits=limits)) as other, living(command("sleep", "60", limits=limits)) as life:
        await other.ticket.wait_exit()
        os.kill(life.handle.pid, signal.SIGKILL)
        exit = await life.ticket.wait_exit()
    assert (exit.signal, exit.out_of_memory, exit.reason) == (signal.SIGKILL, False, "killed by SIGKILL")


async def test_memory_limits_are_set() -> None:
    """Both of them, before the command runs."""
    needs("memory")
    async with living(command("sleep", "60", limits=Limits(memory_max=64 * MIB, memory_high=32 * MIB))) as life:
        directory = limited(life, "memory")
        version = offer.offer().controllers["memory"].version
        names = ("memory.max", "memory.high") if version == 2 else ("memory.limit_in_bytes", "memory.soft_limit_in_bytes")
        assert [int((directory / name).read_text()) for name in names] == [64 * MIB, 32 * MIB]
        assert str(life.handle.pid) in (directory / "cgroup.procs").read_text().split()
    assert not directory.exists() and not directory.parent.exists()


async def test_no_more_processes_than_allowed(tmp_path: Path) -> None:
    """Forks beyond the limit fail in the command, and nowhere else."""
    needs("pids")
    output = tmp_path / "output"
    launch = command(PYTHON, "-c", FORKS, stdout=output, limits=Limits(pids_max=16))
    async with living(launch) as life:
        assert (await life.ticket.wait_exit()).kind is ExitKind.NORMAL
    assert output.read_text().split() == ["25"]  # itself and 15 children


async def test_no_more_processor_than_allowed() -> None:
    """A program that would take a whole processor is held up."""
    needs("cpu")
    busy = "import time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass"
    async with living(command(PYTHON, "-c", f"{busy}\ntime.sleep(20)", limits=Limits(cpu_quota=0.2))) as life:
        directory = limited(life, "cpu")

        def held_up() -> int:
            return next(int(line.split()[1]) for line in (directory / "cpu.stat").read_text().splitlines() if "nr_throttled" in line)

        await eventually(lambda: held_up() > 0)


PROGRAM = """\
import os, resource
print(*resource.getrlimit(resource.RLIMIT_NOFILE), *resource.getrlimit(resource.RLIMIT_CORE))
print(open('/proc/self/oom_score_adj').read().strip(), os.nice(0), oct(os.umask(0)))
"""


async def test_what_a_process_has_for_itself(way: Mechanism, tmp_path: Path) -> None:
    """Descriptors, core size, out-of-memory score, niceness and umask, whatever launches it."""
    output = tmp_path / "output"
    limits = Limits(nofile=64, core=4096, oom_score_adj=321, nice=os.nice(0) + 3, umask=0o027)
    assert await output_of(command(PYTHON, "-c", PROGRAM, stdout=output, limits=limits), output) == [
        "64 64 4096 4096",
        f"321 {os.nice(0) + 3} 0o27",
    ]


async def test_a_leaf_is_killed_before_its_supervisor(way: Mechanism, tmp_path: Path) -> None:
    """Without any limits its out-of-memory score is above ours, and its limits are ours."""
    output = tmp_path / "output"
    ours = int(lines_of("/proc/self/oom_score_adj")[0])
    mask = os.umask(0o077)
    os.umask(mask)
    slow = f"import time\ntime.sleep(0.2)\n{PROGRAM}"  # without the helper we can only raise it once the command runs
    assert await output_of(command(PYTHON, "-c", slow, stdout=output), output) == [
        " ".join(str(number) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE) for number in resource.getrlimit(kind)),
        f"{min(1000, ours + 100)} {os.nice(0)} {oct(mask)}",
    ]


async def test_any_core(way: Mechanism, tmp_path: Path) -> None:
    """Where our own limit allows it."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("our own cores are limited")
    output = tmp_path / "output"
    launch = command(PYTHON, "-c", PROGRAM, stdout=output, limits=Limits(core=math.inf))
    assert (await output_of(launch, output))[0].split()[2:] == ["-1", "-1"]


@as_root
@pytest.mark.parametrize("group", [None, 12])
async def test_another_user(way: Mechanism, group: int | None, tmp_path: Path) -> None:
    """User and group change, other groups are dropped, no privileges can be gained, and it still dies with its supervisor."""
    output = tmp_path / "output"
    output.touch()
    program = (
        "import ctypes, os\n"
        "number = ctypes.c_int()\n"
        "ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(os.getresuid(), os.getresgid(), os.getgroups(), status['NoNewPrivs'].strip(), number.value)\n"
    )
    if not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("no interpreter that another user may read")
    launch = command("/usr/bin/python3", "-c", program, stdout=output, limits=Limits(user="nobody", group=group))
    uid, gid = 65534, 65534 if group is None else group
    death = 0 if way is Mechanism.NONE else 9
    assert await output_of(launch, output) == [f"{(uid,) * 3} {(gid,) * 3} [] 1 {death}"]


@as_root
async def test_another_group_alone(way: Mechanism, tmp_path: Path) -> None:
    """Other groups are dropped, and the user stays."""
    output = tmp_path / "output"
    lines = await output_of(command("sh", "-c", "id -u; id -G", stdout=output, limits=Limits(group="daemon")), output)
    assert lines == ["0", "1"]


async def test_only_root_may_change_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the limits and who may have them."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ExceptionGroup) as caught:
        async with living(command("true", limits=Limits(user="nobody"))):
            pass
    assert caught.group_contains(PermissionError, match=r"only root.*limits\.user")


@as_root
@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(user="no such user"), r"no such user \(limits\.user\)"),
        (Limits(group="no such group"), r"no such group \(limits\.group\)"),
        (Limits(user=4_000_000_000), r"limits\.group must be given"),
    ],
)
async def test_nobody_of_that_name(limits: Limits, text: str) -> None:
    """The start fails, and says which limit it is."""
    with pytest.raises(ExceptionGroup) as caught:
        async with living(command("true", limits=limits)):
            pass
    assert caught.group_contains(OSError, match=text)


async def test_what_the_kernel_refuses_is_named(way: Mechanism) -> None:
    """More descriptors than anybody may have: the command does not run."""
    limits = Limits(nofile=2**31 - 1)
    if way is Mechanism.HELPER:
        with pytest.raises(ExceptionGroup) as caught:
            async with living(command("true", limits=limits)):
                pass
        assert caught.group_contains(SettingFailed, match="nofile cannot be set: Operation not permitted; at most what ulimit")
    else:
        async with living(command("true", limits=limits, stderr="null")) as life:
            assert (await life.ticket.wait_exit()).code == 125


async def test_a_limit_that_we_have_raised_for_ourselves_is_not_the_command_s(
    way: Mechanism, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the soft limit that we were given, and may raise it as far as we might; a limit of its own is that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(descriptors, "_given", None)
    output = tmp_path / "output"
    script = "ulimit -S -n; ulimit -H -n"
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
        assert descriptors.raise_descriptor_limit(300) == 400 and descriptors.given() is None
        assert descriptors.raise_descriptor_limit(450) == 450 and descriptors.raise_descriptor_limit(hard + 1) == hard
        assert await output_of(command("sh", "-c", script, stdout=output), output) == ["400", str(hard)]
        output.unlink()
        assert await output_of(command("sh", "-c", script, stdout=output, limits=Limits(nofile=100)), output) == ["100", "100"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_nothing_stays_of_any_hierarchy() -> None:
    """The last child that ends takes away the run's cgroups of all hierarchies, also of those that only others were limited through."""
    needs("pids")
    needs("cpu")
    plain, limited = command("sleep", "60"), command("sleep", "60", limits=Limits(pids_max=10, cpu_quota=1.0))
    before = set(os.listdir("/proc/self/fd"))
    for first, last in ((plain, limited), (limited, plain)):
        async with living(last), living(first):
            pass
        await eventually(lambda: not any(map(os.path.exists, cgroup_directories())), what="the run's cgroups are gone")
    assert len(set(os.listdir("/proc/self/fd"))) <= len(before)


async def test_limits_that_this_host_cannot_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that needs them fails with the name of the limit and why; one that does not runs, and says what it lacks."""
    monkeypatch.setattr(offer, "_offer", (os.getpid(), offer.look("no-such-hierarchy")))
    asked: dict[str, Any] = {"memory_max": 64 * MIB, "pids_max": 16}
    with pytest.raises(ExceptionGroup) as caught:
        async with living(command("true", limits=Limits(**asked))):
            pass
    assert caught.group_contains(OSError, match="memory_max cannot be had on this host: ")
    async with living(command("sh", "-c", "exit 3", limits=Limits(**asked, required=False))) as life:
        assert (await life.ticket.wait_exit()).code == 3
        assert life.handle.ungranted.keys() == {"memory_max", "pids_max"} and all(life.handle.ungranted.values())
        (event,) = life.ticket.events
        assert isinstance(event, CgroupUnavailable) and set(event.ungranted) == {"memory_max", "pids_max"} and event.reason


async def test_a_value_that_the_kernel_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """More processes than there can be: an error with the name of the limit, and the rest is granted where it is not required."""
    needs("pids")
    needs("memory")
    limits: dict[str, Any] = {"pids_max": 2**40, "memory_max": 64 * MIB}
    with pytest.raises(ExceptionGroup) as caught:
        async with living(command("true", limits=Limits(**limits))):
            pass
    assert caught.group_contains(OSError, match="pids_max cannot be had: Invalid argument")
    error = caught.value.exceptions[0]
    assert isinstance(error, OSError) and error.errno == errno.EINVAL
    async with living(command("sleep", "60", limits=Limits(**limits, required=False))) as life:
        assert life.handle.ungranted == {"pids_max": "Invalid argument"}
        assert str(life.handle.pid) in (limited(life, "memory") / "cgroup.procs").read_text().split()
