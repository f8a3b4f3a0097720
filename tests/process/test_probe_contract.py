"""What every memory reader must do, with real memory in real process trees."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor import ProcessId, identify
from tests.support import eventually_sync
from workers.probe.choice import make_reader, reader_name
from workers.probe.reader import CGROUP1, PROCFS, PSUTIL, MemoryReader, MemorySample, Strays

from .probe_support import MIB, Allocator, allocator, counted_allocator, counting_cgroup

NEAR = 3 * MIB


def make(name: str, root: ProcessId, strays: Strays | None = None) -> MemoryReader:
    return make_reader(name, root, strays, counting_cgroup(root.pid))


@pytest.fixture(params=[CGROUP1, PROCFS, PSUTIL])
def name(request: pytest.FixtureRequest) -> str:
    """The kind of reader under test."""
    if request.param != PSUTIL and reader_name() != PROCFS:
        pytest.skip("this host has no /proc that can be read")
    return str(request.param)


@pytest.fixture
def leaf(request: pytest.FixtureRequest) -> Iterator[Allocator]:
    """A process that allocates on command, in a cgroup that counts its memory where that is what is read."""
    if "name" in request.fixturenames and request.getfixturevalue("name") == CGROUP1:
        with counted_allocator() as process:
            yield process
    else:
        with allocator() as process:
            yield process


@pytest.fixture
def reader(name: str, leaf: Allocator) -> Iterator[MemoryReader]:
    """A reader of that process's tree."""
    reader = make(name, known(leaf.pid))
    yield reader
    reader.close()


def known(pid: int) -> ProcessId:
    process = identify(pid)
    assert process is not None
    return process


def read(reader: MemoryReader, *, refresh: bool = True) -> MemorySample:
    sample = reader.read(1.0, refresh)
    assert sample is not None
    if sample.reader != CGROUP1:
        assert sample.total_bytes == sum(process.bytes for process in sample.processes)
    return sample


def pids(sample: MemorySample) -> set[int]:
    return {process.process.pid for process in sample.processes}


def test_a_sample_says_when_and_by_whom(reader: MemoryReader, leaf: Allocator, name: str) -> None:
    """A sample bears the time it was asked with, the reader's name, and the root as a process that can be identified."""
    sample = reader.read(12.5)
    assert sample is not None
    assert (sample.at, sample.reader, reader.name) == (12.5, name, name)
    assert sample.processes[0].process == known(leaf.pid)
    assert 0 < sample.total_bytes < 50 * MIB
    later = reader.read(13.5, refresh=False)
    assert later is not None
    assert (later.at, later.reader, sample.at) == (13.5, name, 12.5)
    assert len(later.processes) == len(sample.processes)


def test_touched_memory_counts_and_released_memory_does_not(reader: MemoryReader, leaf: Allocator) -> None:
    """The total follows what the process allocates and gives back."""
    before = read(reader).total_bytes
    leaf.tell("touch 40")
    assert read(reader, refresh=False).total_bytes - before == pytest.approx(40 * MIB, abs=NEAR)
    leaf.tell("release")
    assert read(reader, refresh=False).total_bytes - before == pytest.approx(0, abs=NEAR)


def test_a_childs_memory_counts(reader: MemoryReader, leaf: Allocator) -> None:
    """The total is that of the tree: a child's allocation counts, the root's own share does not change."""
    before = read(reader)
    child = leaf.tell("fork 40")
    after = read(reader)
    assert pids(after) == {leaf.pid, child}
    assert after.processes[0].bytes - before.processes[0].bytes == pytest.approx(0, abs=NEAR)
    assert next(process.bytes for process in after.processes if process.process.pid == child) >= 40 * MIB


def test_shared_memory_does_not_count(reader: MemoryReader, leaf: Allocator) -> None:
    """Shared memory is not given back by the end of one process, and is no leak of it."""
    before = read(reader).total_bytes
    leaf.tell("share 40")
    assert read(reader).total_bytes - before == pytest.approx(0, abs=NEAR)


def test_copied_on_write_memory_is_bounded_by_what_each_process_sees(reader: MemoryReader, leaf: Allocator) -> None:
    """Pages shared with the parent since a fork count for each process, whether they have been written to or not: an upper bound. Only
    a cgroup has them once.
    """
    before = read(reader).total_bytes
    leaf.tell("touch 40")
    child = leaf.tell("fork 0")
    sample = read(reader)
    untouched = next(process.bytes for process in sample.processes if process.process.pid == child)
    assert 40 * MIB <= sample.total_bytes - before <= 90 * MIB
    child = leaf.tell("rewrite")
    sample = read(reader)
    rewritten = next(process.bytes for process in sample.processes if process.process.pid == child)
    assert rewritten == pytest.approx(untouched, abs=NEAR)


def test_exec_keeps_the_process_and_drops_its_memory(reader: MemoryReader, leaf: Allocator) -> None:
    """A program that execs another stays the same member with the new program's memory."""
    before = read(reader)
    leaf.tell("touch 40")
    leaf.tell("exec")
    after = read(reader, refresh=False)
    assert after.processes[0].process == before.processes[0].process
    assert after.total_bytes - before.total_bytes == pytest.approx(0, abs=NEAR)


def test_a_child_of_a_thread_counts(reader: MemoryReader, leaf: Allocator) -> None:
    """A child forked by a thread other than the leader is found."""
    child = leaf.tell("thread 20")
    assert child in pids(read(reader))


def test_a_process_in_a_session_of_its_own_counts(reader: MemoryReader, leaf: Allocator) -> None:
    """Leaving the session does not leave the tree."""
    child = leaf.tell("session 20")
    assert child in pids(read(reader))


def test_new_members_are_found_by_a_refresh_only(reader: MemoryReader, leaf: Allocator) -> None:
    """Without a refresh the known members are read; the next refresh finds the new one."""
    read(reader)
    child = leaf.tell("fork 1")
    assert child not in pids(read(reader, refresh=False))
    assert child in pids(read(reader))
    assert child in pids(read(reader, refresh=False))


def test_the_first_reading_refreshes(reader: MemoryReader, leaf: Allocator) -> None:
    """A reader that has seen nothing yet looks for the members whatever it is told."""
    child = leaf.tell("fork 1")
    assert child in pids(read(reader, refresh=False))


@pytest.mark.parametrize("refresh", [True, False])
def test_an_ended_member_is_dropped(reader: MemoryReader, leaf: Allocator, refresh: bool) -> None:
    """A member that ended is gone from the next sample; the others stay."""
    child = leaf.tell("fork 20")
    assert child in pids(read(reader))
    leaf.tell(f"end {child}")
    assert pids(read(reader, refresh=refresh)) == {leaf.pid}


@pytest.mark.parametrize("refresh", [True, False])
def test_a_zombie_is_no_member(reader: MemoryReader, leaf: Allocator, refresh: bool) -> None:
    """An ended child that nobody has reaped holds no memory and is not in the sample."""
    read(reader)
    zombie = leaf.tell("zombie")
    assert pids(read(reader, refresh=refresh)) == {leaf.pid}
    leaf.tell(f"reap {zombie}")
    assert pids(read(reader, refresh=refresh)) == {leaf.pid}


def test_an_adopted_stray_counts(name: str, leaf: Allocator) -> None:
    """A process that is told to belong to the tree counts although it hangs below another parent; a vanished one is ignored. A cgroup
    knows it without being told.
    """
    given: list[int] = [2**22 + 1]
    reader = make(name, known(leaf.pid), lambda: given)
    stray = leaf.tell("orphan 20")
    assert (stray in pids(read(reader))) == (name == CGROUP1)
    given.append(stray)
    assert pids(read(reader)) == {leaf.pid, stray}
    given.clear()
    assert stray in pids(read(reader))
    reader.close()


def test_a_member_stays_one_when_its_parent_dies(reader: MemoryReader, leaf: Allocator) -> None:
    """A process that was seen below the root is still counted after its parent died and it was handed to another."""
    grandchild = leaf.tell("nest")
    middle = next(iter(pids(read(reader)) - {leaf.pid, grandchild}))
    os.kill(middle, signal.SIGKILL)
    leaf.tell(f"reap {middle}")
    assert pids(read(reader)) == {leaf.pid, grandchild}
    assert pids(read(reader, refresh=False)) == {leaf.pid, grandchild}


def test_unrelated_processes_do_not_count(reader: MemoryReader, leaf: Allocator) -> None:
    """Only the tree below the root is read, not the root's siblings."""
    with allocator() as other:
        other.tell("touch 20")
        assert pids(read(reader)) == {leaf.pid}


def test_the_end_of_the_root_is_told(reader: MemoryReader, leaf: Allocator) -> None:
    """When the root is gone there is no sample, reaped or not, for ever, whatever else of the tree still lives."""
    child = known(leaf.tell("orphan 1"))
    read(reader)
    leaf.process.kill()
    os.waitid(os.P_PID, leaf.pid, os.WEXITED | os.WNOWAIT)
    assert reader.read(2.0) is None
    leaf.end()
    assert reader.read(3.0) is None
    assert reader.read(4.0, refresh=False) is None
    eventually_sync(lambda: not alive(child))


def test_a_root_that_died_between_two_readings_of_known_members_is_told(reader: MemoryReader, leaf: Allocator) -> None:
    """The known members alone suffice to see that the root is gone."""
    read(reader)
    leaf.end()
    assert reader.read(2.0, refresh=False) is None


def test_another_process_of_the_same_pid_is_never_read(name: str, leaf: Allocator) -> None:
    """A root with another creation time is gone, even though its pid is in use."""
    root = known(leaf.pid)
    reader = make(name, ProcessId(root.pid, root.created - 1))
    assert reader.read(1.0) is None
    assert reader.read(1.0) is None


@pytest.mark.parametrize("how", [PROCFS, f"{PROCFS}, nothing kept", PSUTIL])
def test_a_member_whose_pid_was_recycled_is_dropped(leaf: Allocator, how: str) -> None:
    """A pid that was given to another process, for real, is no longer a member of the tree."""
    root = known(leaf.pid)
    with contextlib.closing(make(how, root) if how in (PROCFS, PSUTIL) else make_unkept(root)) as reader:
        child = known(leaf.tell("fork 0"))
        assert pids(read(reader)) == {leaf.pid, child.pid}
        leaf.tell(f"end {child.pid}")
        with recycled(child):
            assert pids(read(reader, refresh=False)) == {leaf.pid}
            assert pids(read(reader)) == {leaf.pid}


def make_unkept(root: ProcessId) -> MemoryReader:
    from workers.probe.procfs import ProcfsReader

    return ProcfsReader(root, kept=0)


@contextlib.contextmanager
def recycled(before: ProcessId) -> Iterator[None]:
    """Start another process under a pid that is free now; skipped where the kernel does not let us."""
    for _ in range(500):
        try:
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(before.pid - 1))
        except OSError:
            pytest.skip("only a privileged process may say which pid comes next")
        with subprocess.Popen(["sleep", "60"]) as other:
            try:
                # not within the same clock tick, which the kernel's own numbering rules out
                if known(other.pid).pid == before.pid and known(other.pid) != before:
                    yield
                    return
            finally:
                other.kill()
    pytest.skip("others took that pid each time")


def test_a_root_that_never_was_is_gone(name: str) -> None:
    """A pid that nobody has is answered like a process that ended."""
    reader = make(name, ProcessId(2**22 + 1, 5))
    assert reader.read(1.0) is None
    reader.close()


def test_closing_ends_the_reading(reader: MemoryReader) -> None:
    """A closed reader finds the root gone; closing twice is allowed."""
    read(reader)
    reader.close()
    reader.close()
    assert reader.read(2.0) is None


def test_a_stopped_process_still_counts(reader: MemoryReader, leaf: Allocator) -> None:
    """A process that is stopped keeps its memory and stays a member."""
    before = read(reader).total_bytes
    os.kill(leaf.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, leaf.pid, os.WSTOPPED | os.WNOWAIT)
    assert read(reader).total_bytes == pytest.approx(before, abs=NEAR)
    os.kill(leaf.pid, signal.SIGCONT)


def alive(process: ProcessId) -> bool:
    from supervisor import is_alive

    return is_alive(process)
