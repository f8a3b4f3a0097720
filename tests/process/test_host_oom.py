"""What the kernel's out-of-memory counters tell of a death."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from supervisor.host.cgroup.memory import OomKillWatch
from supervisor.host.oom import OomKills, close, oom_kills, was_out_of_memory


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (OomKills(cgroup=3), OomKills(cgroup=4), True),
        (OomKills(cgroup=3), OomKills(cgroup=3), False),
        (OomKills(host=3), OomKills(host=3), False),
        (OomKills(host=3), OomKills(host=4), None),
        (OomKills(cgroup=3), OomKills(host=4), None),
        (OomKills(), OomKills(), None),
    ],
)
def test_a_counter_that_moved(before: OomKills, after: OomKills, told: bool | None) -> None:
    """A kill in our own cgroup was this one; one somewhere on the host may have been another's; without counters nothing is known."""
    assert was_out_of_memory(before, after) is told


@pytest.mark.skipif(sys.platform != "linux", reason="the counters are Linux's")
def test_the_kernel_has_a_counter() -> None:
    """One of the two counters is found, is a count, and stands still while nobody is killed; it can be read again after `close`."""
    first = oom_kills()
    close()
    try:
        assert (first.cgroup is None) != (first.host is None)
        assert was_out_of_memory(first, oom_kills()) is not True
    finally:
        close()


@pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")
def test_a_cgroup_that_is_gone_is_not_watched(tmp_path: Path) -> None:
    """Somebody has removed it: that is no error, and nothing that was opened for it stays open."""
    before = set(os.listdir("/proc/self/fd"))
    assert OomKillWatch.open(str(tmp_path)) is None
    assert set(os.listdir("/proc/self/fd")) == before
