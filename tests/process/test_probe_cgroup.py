"""What a cgroup counts, with real memory, and what takes over when it cannot be read or does not hold the whole tree."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor import ProcessId, identify
from supervisor.host.identity import is_alive
from workers.policy.succession import FIRST_PAUSE
from workers.probe import ReaderChain, ReaderChange, open_reader, reader_names
from workers.probe.reader import CGROUP1, CGROUP2, PROCFS, PSUTIL, MemoryReader, MemorySample

from ..support import eventually_sync, no_descriptors
from .probe_support import MIB, Allocator, allocator, counted_allocator, counting, counting_cgroup, memory_cgroup

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")

if sys.platform == "linux":
    from workers.probe.cgroup import LOOK_AROUND, CgroupReader

NEAR = 3 * MIB


@pytest.fixture
def leaf(tmp_path: Path) -> Iterator[Allocator]:
    """A counted process that allocates on command, and a file of 48 MiB that it can read."""
    big = tmp_path / "big"
    with big.open("wb") as file:
        for _ in range(48):
            file.write(os.urandom(MIB))
    with counted_allocator(BIG_FILE=str(big)) as process:
        yield process


@pytest.fixture
def chain(leaf: Allocator) -> Iterator[ReaderChain]:
    """What the guardian reads it with."""
    reader = open_reader(known(leaf.pid), None, counting_cgroup(leaf.pid))
    with contextlib.closing(reader):
        yield reader


def known(pid: int) -> ProcessId:
    process = identify(pid)
    assert process is not None
    return process


def read(reader: MemoryReader, now: float = 1.0, *, refresh: bool = True) -> MemorySample:
    sample = reader.read(now, refresh)
    assert sample is not None
    return sample


def test_a_leaf_in_a_counting_cgroup_is_read_there(leaf: Allocator, chain: ReaderChain) -> None:
    """The reader is named in the sample; behind it are the others."""
    assert read(chain).reader == chain.name == CGROUP1
    assert reader_names(counting_cgroup(leaf.pid)) == (CGROUP1, PROCFS, PSUTIL)
    assert reader_names(None) == (PROCFS, PSUTIL)


def test_the_page_cache_does_not_count(leaf: Allocator, chain: ReaderChain) -> None:
    """Neither of a file that is read, nor of one that is mapped: it is given back whenever somebody needs it."""
    usage = Path(str(counting_cgroup(leaf.pid)), "memory.usage_in_bytes")
    before, charged = read(chain).total_bytes, int(usage.read_text())
    leaf.tell("drop")  # it was written by us, so it is charged to us
    leaf.tell("file")
    leaf.tell("map")
    assert read(chain).total_bytes - before == pytest.approx(0, abs=NEAR)
    assert int(usage.read_text()) - charged > 40 * MIB


@pytest.mark.parametrize("kind", ["share", "tmpfs"])
def test_shared_memory_does_not_count(leaf: Allocator, chain: ReaderChain, kind: str) -> None:
    """Nor does a file in /dev/shm, though both are charged to the cgroup."""
    usage = Path(str(counting_cgroup(leaf.pid)), "memory.usage_in_bytes")
    before, charged = read(chain).total_bytes, int(usage.read_text())
    leaf.tell(f"{kind} 40")
    assert read(chain).total_bytes - before == pytest.approx(0, abs=NEAR)
    assert int(usage.read_text()) - charged > 39 * MIB


def test_what_is_shared_since_a_fork_counts_once(leaf: Allocator, chain: ReaderChain) -> None:
    """Three children that have written to nothing add next to nothing; one that writes to all of it adds all of it."""
    leaf.tell("touch 40")
    before = read(chain).total_bytes
    for _ in range(3):
        leaf.tell("fork 0")
    assert read(chain).total_bytes - before < 40 * MIB / 2
    leaf.tell("rewrite")
    assert read(chain).total_bytes - before > 40 * MIB
    walked = open_reader(known(leaf.pid))
    with contextlib.closing(walked):
        assert read(walked).total_bytes > before + 3 * 40 * MIB  # which cannot know


def test_who_left_the_tree_counts(leaf: Allocator, chain: ReaderChain) -> None:
    """A daemon stays in the cgroup, and is a member without anybody having told of it."""
    before = read(chain)
    daemon = leaf.tell("orphan 30")
    after = read(chain)
    assert daemon in {member.process.pid for member in after.processes}
    assert after.total_bytes - before.total_bytes > 29 * MIB


def test_a_cgroup_within_counts(leaf: Allocator, chain: ReaderChain) -> None:
    """A leaf that makes cgroups itself, as a container does, has left nothing."""
    inner = Path(str(counting_cgroup(leaf.pid)), "inner")
    inner.mkdir()
    child = leaf.tell("fork 0")
    (inner / "cgroup.procs").write_text(str(child))
    sample = read(chain)
    assert sample.reader == CGROUP1 and child in {member.process.pid for member in sample.processes}
    assert chain.changes == []


def test_an_idle_leaf_is_seen_by_a_single_look(leaf: Allocator, chain: ReaderChain) -> None:
    """What has not changed is not computed again, and what has is seen."""
    first = read(chain)
    assert read(chain, 2.0, refresh=False).processes is first.processes
    leaf.tell("touch 8")
    assert read(chain, 3.0, refresh=False).total_bytes - first.total_bytes == pytest.approx(8 * MIB, abs=MIB)


def test_who_left_the_cgroup_hands_over_to_proc(leaf: Allocator, chain: ReaderChain) -> None:
    """What it allocates is charged elsewhere, so the walk of the tree is the truth, until all are back; both are told."""
    child = leaf.tell("fork 20")
    assert read(chain, 1.0).reader == CGROUP1
    leaf.tell(f"move {child} {memory_cgroup()}")
    sample = read(chain, 2.0)
    assert sample.reader == chain.name == PROCFS
    assert child in {member.process.pid for member in sample.processes}
    assert chain.changes == [
        ReaderChange(CGROUP1, PROCFS, f"cgroup1: process {child} has left the cgroup, where its memory is not counted any more")
    ]
    assert read(chain, 2.0 + FIRST_PAUSE).reader == PROCFS
    leaf.tell(f"move {child} {counting_cgroup(leaf.pid)}")
    assert read(chain, 2.0 + 10 * FIRST_PAUSE).reader == CGROUP1
    assert chain.changes[1:] == [ReaderChange(PROCFS, CGROUP1, "cgroup1 works again")]


def test_who_left_it_unseen_is_found_by_a_walk(leaf: Allocator, chain: ReaderChain) -> None:
    """Its list of members does not name it, and nobody knew it before: every so often the whole tree is looked at."""
    read(chain, 1.0)
    child = leaf.tell("fork 0")
    leaf.tell(f"move {child} {memory_cgroup()}")
    assert read(chain, 2.0).reader == CGROUP1
    assert read(chain, 1.0 + LOOK_AROUND).reader == PROCFS


def test_a_cgroup_that_is_gone_hands_over_to_proc(leaf: Allocator) -> None:
    """Somebody has moved the whole leaf elsewhere and removed it."""
    with counting() as other, allocator(other) as moved:
        chain = open_reader(known(moved.pid), None, str(other))
        assert read(chain).reader == CGROUP1
        moved.tell(f"move {moved.pid} {memory_cgroup()}")
        eventually_sync(lambda: try_rmdir(other))
        assert read(chain, 2.0, refresh=False).reader == PROCFS
        other.mkdir()
        chain.close()


def try_rmdir(directory: Path) -> bool:
    with contextlib.suppress(OSError):
        directory.rmdir()
        return True
    return False


def test_without_descriptors_the_total_is_still_right(leaf: Allocator, chain: ReaderChain) -> None:
    """What counts is read by a kept descriptor; the members are those of before."""
    before = read(chain)
    leaf.tell("fork 20")
    with no_descriptors():
        sample = read(chain, 2.0)
    assert sample.reader == CGROUP1 and sample.processes != () and len(sample.processes) == len(before.processes)
    assert sample.total_bytes - before.total_bytes > 19 * MIB
    assert len(read(chain, 3.0).processes) == 2


def test_without_any_descriptor_from_the_start_nothing_can_be_read() -> None:
    """All readers are tried, all reasons are told, and it works as soon as there are descriptors."""
    import psutil  # noqa: F401 - to import it would take descriptors

    with counted_allocator() as leaf:
        chain = open_reader(known(leaf.pid), None, counting_cgroup(leaf.pid))
        with no_descriptors(), not_even_one(), pytest.raises(OSError, match=r"^cgroup1: Too many.*; procfs: Too many.*; psutil: "):
            chain.read(1.0)
        assert chain.changes == []
        assert read(chain, 1.1).reader == CGROUP1
        assert chain.changes == [ReaderChange(None, CGROUP1, "cgroup1 works again")]
        chain.close()


def test_descriptors_are_given_back(leaf: Allocator, chain: ReaderChain) -> None:
    """By closing, by a takeover, and when the root has ended."""
    before = len(os.listdir("/proc/self/fd"))
    read(chain)
    assert len(os.listdir("/proc/self/fd")) == before + 3
    child = leaf.tell("fork 0")
    leaf.tell(f"move {child} {memory_cgroup()}")
    assert read(chain, 1.0 + LOOK_AROUND).reader == PROCFS
    assert len(os.listdir("/proc/self/fd")) == before + 2
    leaf.end()
    assert chain.read(100.0) is None
    assert len(os.listdir("/proc/self/fd")) == before


@contextlib.contextmanager
def not_even_one() -> Iterator[None]:
    """What is still free is taken as well."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            while True:
                stack.callback(os.close, os.dup(0))
        yield


def fake2(folder: Path, pids: list[int], *, anon: int, file: int, kernel: int, swap: int | None = None) -> None:
    """The files of version 2, as a kernel with that controller has them; this one has only version 1's."""
    (folder / "memory.current").write_text(f"{anon + file + kernel}\n")
    (folder / "memory.stat").write_text(f"anon {anon}\nfile {file}\nkernel {kernel}\nshmem 4096\ninactive_anon {anon}\n")
    (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    if swap is not None:
        (folder / "memory.swap.current").write_text(f"{swap}\n")


def test_version_2_counts_anonymous_memory_and_what_of_it_is_swapped_out(tmp_path: Path) -> None:
    """Neither files, nor shared memory, nor the kernel's own; with files as the kernel writes them."""
    with allocator() as leaf:
        fake2(tmp_path, [leaf.pid], anon=70 * MIB, file=500 * MIB, kernel=9 * MIB, swap=5 * MIB)
        reader = open_reader(known(leaf.pid), None, str(tmp_path))
        sample = read(reader)
        assert (sample.reader, sample.total_bytes) == (CGROUP2, 75 * MIB)
        fake2(tmp_path, [leaf.pid], anon=80 * MIB, file=500 * MIB, kernel=9 * MIB, swap=5 * MIB)
        assert read(reader, 2.0, refresh=False).total_bytes == 85 * MIB
        reader.close()


def test_version_2_without_accounted_swap(tmp_path: Path) -> None:
    """There is no such file then."""
    with allocator() as leaf:
        fake2(tmp_path, [leaf.pid], anon=70 * MIB, file=0, kernel=0)
        reader = CgroupReader(CGROUP2, known(leaf.pid), str(tmp_path))
        assert read(reader).total_bytes == 70 * MIB
        reader.close()
        assert reader.read(2.0) is None


def test_a_kernel_that_tells_less_hands_over(tmp_path: Path) -> None:
    """A file without the line that counts is a failure, not zero."""
    with allocator() as leaf:
        fake2(tmp_path, [leaf.pid], anon=70 * MIB, file=0, kernel=0)
        (tmp_path / "memory.stat").write_text("file 0\n")
        reader = open_reader(known(leaf.pid), None, str(tmp_path))
        assert read(reader).reader == PROCFS
        assert reader.changes[0].reason == "cgroup2: the kernel does not tell anon"
        reader.close()


def test_a_denied_file_hands_over(tmp_path: Path) -> None:
    """As for a user who may not read it; and it is taken up again when that is over."""
    with allocator() as leaf:
        fake2(tmp_path, [leaf.pid], anon=70 * MIB, file=0, kernel=0)
        (tmp_path / "memory.stat").unlink()
        (tmp_path / "memory.stat").mkdir()  # root may read everything but this
        reader = open_reader(known(leaf.pid), None, str(tmp_path))
        assert read(reader, 1.0).reader == PROCFS
        (tmp_path / "memory.stat").rmdir()
        fake2(tmp_path, [leaf.pid], anon=70 * MIB, file=0, kernel=0)
        assert read(reader, 1.5).reader == PROCFS
        assert read(reader, 1.0 + FIRST_PAUSE).reader == CGROUP2
        assert [change.after for change in reader.changes] == [PROCFS, CGROUP2]
        reader.close()


def test_the_end_of_the_root_is_no_failure(leaf: Allocator, chain: ReaderChain) -> None:
    """Nobody takes over from a reader of what is gone."""
    root = known(leaf.pid)
    read(chain)
    leaf.end()
    eventually_sync(lambda: not is_alive(root))
    assert chain.read(2.0) is None and chain.changes == []
