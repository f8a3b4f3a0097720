"""The Linux reader's own promises: bounded descriptors, a leader that ended before its threads, the choice of the reader."""

from __future__ import annotations

import os
import sys

import pytest

from supervisor import identify
from workers.probe import choice
from workers.probe.choice import open_reader
from workers.probe.reader import PROCFS, PSUTIL, NoReader

from .probe_support import MIB, allocator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

if sys.platform == "linux":
    from workers.probe.procfs import KEPT, ProcfsReader


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_descriptors_are_kept_one_for_each_member_and_given_back() -> None:
    """One descriptor for each live member, none for an ended one, none after closing, none after the root's end."""
    with allocator() as leaf:
        children = [leaf.tell("fork 0") for _ in range(3)]
        before = descriptors()
        root = identify(leaf.pid)
        assert root is not None
        reader, other = ProcfsReader(root), ProcfsReader(root)
        reader.read(1.0)
        assert descriptors() == before + 4
        leaf.tell(f"end {children[-1]}")
        reader.read(2.0, refresh=False)
        assert descriptors() == before + 3
        for _ in range(20):
            reader.read(3.0)
        assert descriptors() == before + 3
        reader.close()
        assert descriptors() == before
        other.read(4.0)
        leaf.end()
        assert other.read(5.0) is None
        assert descriptors() == before


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_members_beyond_the_bound_are_read_without_a_kept_descriptor(kept: int) -> None:
    """However many members there are, no more descriptors are kept than allowed, and every member is read and dropped all the same."""
    with allocator() as leaf:
        children = {leaf.tell("fork 8") for _ in range(5)}
        root = identify(leaf.pid)
        assert root is not None
        before = descriptors()
        reader = ProcfsReader(root, kept=kept)
        sample = reader.read(1.0)
        assert descriptors() == before + kept
        assert sample is not None
        assert {one.process.pid for one in sample.processes} == {leaf.pid, *children}
        assert all(one.bytes >= 8 * MIB for one in sample.processes if one.process.pid in children)
        sample = reader.read(2.0, refresh=False)
        assert sample is not None
        assert len(sample.processes) == 6
        zombie = leaf.tell("zombie")
        sample = reader.read(3.0)
        assert sample is not None
        assert len(sample.processes) == 6
        leaf.tell(f"reap {zombie}")
        leaf.end()
        assert reader.read(4.0) is None
        assert descriptors() == before


def test_a_descriptor_that_was_given_back_is_used_again() -> None:
    """When a kept member ends, the next new one is kept in its place."""
    with allocator() as leaf:
        root = identify(leaf.pid)
        assert root is not None
        before = descriptors()
        reader = ProcfsReader(root, kept=2)
        for _ in range(3):
            child = leaf.tell("fork 0")
            reader.read(1.0)
            assert descriptors() == before + 2
            leaf.tell(f"end {child}")
            reader.read(2.0)
            assert descriptors() == before + 1
        reader.close()


def test_the_bound_follows_the_limit_of_open_files() -> None:
    """A reader takes at most an eighth of the open files this process may have."""
    import resource

    from workers.probe.procfs import _affordable

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
        assert _affordable() == min(256, soft) // 8
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert _affordable() == min(KEPT, soft // 8)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_descriptors_left_is_an_error_and_not_an_end() -> None:
    """Out of descriptors the reading fails as an OSError; the root is not taken for dead, and reading works again afterwards."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with allocator() as leaf:
        root = identify(leaf.pid)
        assert root is not None
        reader = ProcfsReader(root)
        reader.read(1.0)
        leaf.tell("fork 0")
        before = descriptors()
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                reader.read(2.0)
            known = reader.read(2.5, refresh=False)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert known is not None
        assert descriptors() == before
        sample = reader.read(3.0)
        assert sample is not None
        assert len(sample.processes) == 2
        reader.close()


@pytest.mark.parametrize("kept", [0, 8])
def test_a_leader_that_ended_before_its_threads_still_counts(kept: int) -> None:
    """A process whose first thread has ended lives on: its memory is read through another thread."""
    with allocator(LEADERLESS="1") as leaf:
        root = identify(leaf.pid)
        assert root is not None
        reader = ProcfsReader(root, kept=kept)
        before = reader.read(1.0)
        assert before is not None
        leaf.tell("touch 20")
        after = reader.read(2.0, refresh=False)
        assert after is not None
        assert after.total_bytes - before.total_bytes == pytest.approx(20 * MIB, abs=2 * MIB)
        leaf.end()
        assert reader.read(3.0) is None


def test_this_host_gets_the_proc_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux reads /proc, chosen once; psutil is not even imported for it."""
    monkeypatch.setattr(choice, "_processes", None)
    own = identify(os.getpid())
    assert own is not None
    reader = open_reader(own)
    assert reader.name == choice.reader_name() == PROCFS
    sample = reader.read(1.0)
    assert sample is not None
    assert sample.total_bytes > MIB
    reader.close()


def test_without_a_readable_proc_psutil_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc cannot be read psutil is the reader, and where there is no psutil either the error names the remedy."""
    monkeypatch.setattr(choice, "_processes", None)
    monkeypatch.setattr(choice, "_procfs_works", lambda: False)
    own = identify(os.getpid())
    assert own is not None
    reader = open_reader(own)
    assert reader.name == PSUTIL
    assert reader.read(1.0) is not None
    monkeypatch.setattr(choice, "_processes", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NoReader, match="install psutil"):
        open_reader(own)
