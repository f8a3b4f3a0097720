"""The kernel's word between two looks: levels that are crossed are known at once, and nothing makes the guardian spin."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import anyio
import pytest

from supervisor import ChildExited, ChildRestarted, ChildStarted, RunningCommand
from supervisor.host.cgroup import files
from workers.config import MonitoringConfig
from workers.config.model import Isolation
from workers.event import LeafHeld, MemoryLevelChanged, MonitoringDegraded, RestartCompleted
from workers.policy.pressure import MemoryState, Thresholds
from workers.probe.reader import CGROUP1, PROCFS

from ..support import eventually
from .guardian_inside import MIB, Inside, inside
from .probe_support import memory_cgroup

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")]

if sys.platform == "linux":
    import select

    from workers.probe.alarm import Alarm
    from workers.probe.crossings import High2, Thresholds1, Word, crossings
    from workers.probe.wakes import KernelWakes, Source

SELDOM = MonitoringConfig(normal_interval=600.0, warning_interval=600.0, critical_interval=600.0, emergency_interval=600.0)
"""Nobody looks by himself while a test lasts."""


@pytest.fixture(autouse=True)
def _memory_controller() -> None:
    memory_cgroup()


async def armed(run: Inside) -> RunningCommand:
    """Wait until the kernel has its marks, and take the leaf's handle."""
    await eventually(lambda: run.leaf.events == "threshold", what="marks are set")
    handle = run.ledger.above(run.leaf).handle("leaf")
    assert isinstance(handle, RunningCommand)
    return handle


@pytest.mark.parametrize("isolation", Isolation)
async def test_a_crossing_is_known_at_once(tmp_path: Path, isolation: Isolation) -> None:
    """Looked at every ten minutes, a leaf that grows is known to be above each level; the sample names who counted."""
    script = "await:on", "grow:45", "await:further", "grow:65", "stay"
    async with inside(tmp_path, *script, monitoring=SELDOM, isolation=isolation) as run:
        await armed(run)
        run.touch("on")
        changed = await run.wait(MemoryLevelChanged)
        assert (changed.old, changed.new) == (MemoryState.NORMAL, MemoryState.WARNING)
        assert changed.total_bytes >= 40 * MIB
        run.touch("further")
        changed = await run.wait(MemoryLevelChanged, count=2)
        assert changed.new is MemoryState.CRITICAL
        assert run.leaf.sample is not None and run.leaf.sample.reader == run.leaf.reader == CGROUP1


async def test_a_life_is_listened_to_before_it_has_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What races to an emergency from its first moment is held, whatever the level of the life before; less than that says nothing."""
    monkeypatch.setattr("workers.health.worker.SETTLING", 600.0)
    low = Thresholds(40 * MIB, 60 * MIB, 80 * MIB)
    script = ("await:on", "grow:100", "stay", "/", "await:again", "grow:50", "await:more", "grow:100", "stay", "/", "stay")
    async with inside(tmp_path, *script, thresholds=low, monitoring=SELDOM) as run:
        first = await armed(run)
        assert run.leaf.samples == 0
        run.touch("on")
        assert (await run.wait(LeafHeld)).total_bytes >= 80 * MIB
        await run.wait(ChildRestarted, "leaf")
        await eventually(lambda: run.leaf.guard.pressure.fresh, what="its start is known to the decision")
        assert await armed(run) is not first
        assert run.leaf.guard.level is MemoryState.EMERGENCY
        run.touch("again")
        await eventually(lambda: _number(run, "memory.usage_in_bytes") > 50 * MIB)
        await anyio.sleep(0.1)  # what it loads says nothing yet, though it is above warning: nothing is claimed of the future
        assert run.leaf.guard.pressure.fresh
        run.touch("more")
        assert (await run.wait(LeafHeld, count=2)).total_bytes >= 80 * MIB


async def test_a_life_has_its_limit_from_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before the kernel was asked to tell of it, and before its first sample: the guardian need not be quick."""
    monkeypatch.setattr("workers.health.worker.SETTLING", 600.0)
    monkeypatch.setattr("workers.probe.wakes.BIRTH", 600.0)
    async with inside(tmp_path, "stay", thresholds=Thresholds(40 * MIB, 60 * MIB, 80 * MIB), monitoring=SELDOM) as run:
        await eventually(lambda: run.leaf.hold is not None and run.leaf.hold.is_armed)
        assert 80 * MIB < _number(run, "memory.limit_in_bytes") < 160 * MIB
        assert run.leaf.samples == 0


async def test_a_level_that_was_left_can_be_crossed_again(tmp_path: Path) -> None:
    """Its mark stays."""
    async with inside(tmp_path, "await:on", "grow:45", "await:off", "grow:5", "await:again", "grow:45", "stay", monitoring=SELDOM) as run:
        await armed(run)
        run.touch("on")
        await run.wait(MemoryLevelChanged)
        run.touch("off")
        await eventually(lambda: _below(run))
        run.ledger.look(run.leaf, 0.0)
        await run.wait(MemoryLevelChanged, count=2)
        run.touch("again")
        assert (await run.wait(MemoryLevelChanged, count=3)).new is MemoryState.WARNING


def _below(run: Inside) -> bool:
    return _number(run, "memory.usage_in_bytes") < 20 * MIB


def _number(run: Inside, name: str) -> int:
    handle = run.ledger.above(run.leaf).handle("leaf")
    assert isinstance(handle, RunningCommand) and handle.group is not None
    return int(Path(str(handle.group.memory), name).read_text())


READS = """
import os, sys, time
file = os.open(sys.argv[1], os.O_RDONLY)
while not os.path.exists(sys.argv[2]):
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(file, 0, os.SEEK_SET)
    while os.read(file, 1 << 20):
        pass
block = bytearray(60 << 20)
for at in range(0, len(block), 4096):
    block[at] = 1
time.sleep(60)
"""


async def test_reading_files_neither_wakes_without_end_nor_hides_a_crossing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page cache is charged like memory, so a leaf that reads 64 MiB again and again passes its marks all the time. That is found out a
    few times, ever more seldom; and when it grows for real, that is found out too.
    """
    big = tmp_path / "big"
    big.write_bytes(os.urandom(64 * MIB))
    descriptor = os.open(big, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # or it would be charged to us
    os.close(descriptor)
    looks: list[float] = []
    look = KernelWakes._look

    def counted(self: KernelWakes, source: Source, now: float) -> None:
        looks.append(now)
        look(self, source, now)

    monkeypatch.setattr(KernelWakes, "_look", counted)
    argv = (sys.executable, "-S", "-E", "-c", READS, str(big), str(tmp_path / "on"))
    async with inside(tmp_path, argv=argv, monitoring=SELDOM) as run:
        await eventually(lambda: looks, what="a mark was passed")
        await anyio.sleep(2.0)  # what is claimed is what happens in a time
        assert len(looks) < 40
        assert run.of(MemoryLevelChanged) == []
        run.touch("on")
        assert (await run.wait(MemoryLevelChanged)).new.reaches(MemoryState.WARNING)


async def test_who_leaves_the_cgroup_is_read_from_proc(tmp_path: Path) -> None:
    """The event stream says from what to what, and why; the memory of the whole tree counts all the same."""
    async with inside(tmp_path, "child:45", "stay", thresholds=Thresholds(200 * MIB, 300 * MIB, 900 * MIB)) as run:
        handle = await armed(run)
        await eventually(lambda: run.leaf.sample is not None and len(run.leaf.sample.processes) == 2)
        child = next(member.pid for member in handle.members() if member.pid != handle.pid)
        files.write(str(memory_cgroup()), files.PROCESSES, str(child))
        event = await run.wait(MonitoringDegraded)
        data = event.as_data()
        assert (data["from"], data["to"], data["blind"]) == (CGROUP1, PROCFS, False)
        assert data["reason"] == f"cgroup1: process {child} has left the cgroup, where its memory is not counted any more"
        await eventually(
            lambda: run.leaf.sample is not None and run.leaf.sample.reader == PROCFS and run.leaf.sample.total_bytes > 45 * MIB
        )


@pytest.mark.parametrize("isolation", Isolation)
async def test_a_restart_gives_back_what_was_open(tmp_path: Path, isolation: Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next life has its own marks, limit and descriptors, and as many as the one before; after the end there are none."""
    monkeypatch.setattr("workers.state.worker.IDLE", 0.2)  # what captured is gone soon, with its connection
    script = ("await:on", "grow:70", "stay", "/", "await:end", "exit:0")

    def descriptors() -> list[int]:
        sweeps = [event.pid for event in run.of(ChildStarted, "sweep")]
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), *sweeps)]

    async with inside(tmp_path, *script, isolation=isolation) as run:
        first = await armed(run)
        before = descriptors()
        run.touch("on")
        await run.wait(RestartCompleted)
        assert await armed(run) is not first
        await eventually(lambda: descriptors() == before)
        run.touch("end")
        await run.wait(ChildExited, "leaf", count=2)
        await eventually(lambda: run.leaf.hold is None and run.leaf.events == "")


async def test_few_descriptors_leave_the_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is needed to start a program is not spent on being told sooner."""
    monkeypatch.setattr("workers.probe.wakes._room", lambda: 0)
    async with inside(tmp_path, "await:on", "grow:45", "stay") as run:
        await eventually(lambda: run.leaf.sample is not None)
        assert run.leaf.hold is None
        run.touch("on")
        await run.wait(MemoryLevelChanged)
        assert run.leaf.events == ""


async def test_a_shortage_of_the_host_has_all_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's word of pressure comes when it likes, so it is given here; who has just started is left out."""
    heard = anyio.Event()

    async def wait(self: Alarm) -> tuple[set[int], bool]:
        await heard.wait()
        await anyio.sleep(0.01)
        return set(), True

    monkeypatch.setattr(Alarm, "wait", wait)
    async with inside(tmp_path, "grow:10", "stay", monitoring=SELDOM) as run:
        now = anyio.current_time()
        await eventually(lambda: run.leaf.samples and run.leaf.due > now + 100, what="it has settled")
        before = run.leaf.samples
        heard.set()
        await eventually(lambda: run.leaf.samples > before)
        await anyio.sleep(0.2)
        assert run.leaf.samples < before + 5  # not again and again
        with anyio.fail_after(20):
            await run.ledger.strain(math.inf)  # whoever watches the host is told as well


async def test_the_host_is_listened_to(tmp_path: Path) -> None:
    """Where the kernel has pressure at all; without it a wait is for leaves alone, and ends with what they tell."""
    if not os.access("/proc/pressure/memory", os.W_OK):
        pytest.skip("this kernel does not tell of pressure")
    alarm = Alarm()
    assert alarm.hears_pressure
    with anyio.move_on_after(0.05) as scope:
        await alarm.wait()
    assert scope.cancelled_caught, "not a busy loop: the file can always be read, and is never urgent"
    alarm.close()
    alarm = Alarm(str(tmp_path / "none"))
    assert not alarm.hears_pressure
    reader, writer = os.pipe()
    alarm.add(reader, select.EPOLLIN)
    os.write(writer, b"x")
    assert await alarm.wait() == ({reader}, False)
    alarm.remove(reader)
    alarm.close()
    os.close(reader)
    os.close(writer)


def fake2(folder: Path, charged: int) -> Path:
    """The files of version 2, but that `memory.events` is one that a kernel without that controller has, and that can be waited for."""
    (folder / "memory.current").write_text(f"{charged}\n")
    (folder / "memory.high").write_text("max\n")
    return folder


async def test_version_2_is_told_by_memory_high(tmp_path: Path) -> None:
    """The next mark above what is charged; beyond the last one nothing slows the leaf down, and closing leaves no mark."""
    unified = Path("/sys/fs/cgroup/unified")
    if not (unified / "cgroup.procs").exists():
        pytest.skip("no version 2 beside version 1 here")
    group = unified / f"fake-{os.getpid()}"
    group.mkdir()
    try:
        (tmp_path / "memory.events").symlink_to(group / "cgroup.events")
        source = crossings(str(fake2(tmp_path, 150)))
        assert isinstance(source, High2) and source.mask == select.EPOLLPRI
        assert source.charged() == 150
        source.arm(source.prepare((100, 200, 300)))
        assert (tmp_path / "memory.high").read_text().startswith("200")
        alarm = Alarm(str(tmp_path / "none"))
        alarm.add(source.fd, source.mask)
        with anyio.move_on_after(0.05) as scope:
            await alarm.wait()
        assert scope.cancelled_caught
        (group / "cgroup.freeze").write_text("1")  # any event of that file
        assert await alarm.wait() == ({source.fd}, False)
        assert source.heard() is Word.CROSSED
        with anyio.move_on_after(0.05) as scope:
            await alarm.wait()
        assert scope.cancelled_caught, "what was heard is not told again"
        alarm.remove(source.fd)
        fake2(tmp_path, 350)
        source.arm(source.prepare((100, 200, 300)))
        assert (tmp_path / "memory.high").read_text().startswith("max")
        fake2(tmp_path, 50)
        source.arm(source.prepare((100, 200, 300)))
        source.close()
        source.close()
        assert (tmp_path / "memory.high").read_text().startswith("max")
        alarm.close()
    finally:
        (group / "cgroup.freeze").write_text("0")
        group.rmdir()


def test_there_is_nothing_to_wait_for_without_a_counting_cgroup(tmp_path: Path) -> None:
    """None of these is an error: a leaf without, one that has just gone, one that may not be asked."""
    assert crossings(None) is None and crossings(str(tmp_path)) is None and crossings(str(tmp_path / "gone")) is None
    (tmp_path / "cgroup.event_control").touch()
    assert crossings(str(tmp_path)) is None
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "memory.usage_in_bytes").write_text("5\n")
    with pytest.raises(FileNotFoundError):
        Thresholds1(str(tmp_path))
    (tmp_path / "memory.oom_control").write_text("under_oom 0\n")
    source = Thresholds1(str(tmp_path))
    source.close()
    source.close()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_kernel_that_wants_no_more_marks_leaves_the_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leaf is watched all the same, and nothing that was opened for them is left."""

    def refused(self: Thresholds1, charges: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Thresholds1, "prepare", refused)
    async with inside(tmp_path, "await:on", "grow:45", "stay") as run:
        await eventually(lambda: run.leaf.sample is not None)
        run.touch("on")
        await run.wait(MemoryLevelChanged)
        assert run.leaf.events == "" and run.leaf.hold is not None


async def test_the_first_sample_of_a_life_waits_until_it_has_settled(tmp_path: Path) -> None:
    """However long the interval is by whose part a sample may be taken sooner."""
    async with inside(tmp_path, "await:on", "signal:KILL", "/", "stay", monitoring=SELDOM) as run:
        await eventually(lambda: run.leaf.samples)
        before = run.leaf.samples
        run.touch("on")
        await run.wait(ChildExited, "leaf")
        await run.wait(ChildStarted, "leaf", count=2)
        started = anyio.current_time()
        await eventually(lambda: run.leaf.samples > before)
        assert run.leaf.sample is not None and run.leaf.sample.at >= started + 0.4
