"""A leaf that races past emergency is held long enough to capture its state, and nobody is ever held for longer; with real memory."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import anyio
import attrs
import pytest

from supervisor import ChildExited, OrphansSwept, Record, RunningCommand, command
from supervisor.host.cgroup import files
from supervisor.host.cgroup.group import Group
from workers.config import MonitoringConfig
from workers.config.model import Isolation, LeafRestart
from workers.event import (
    LeafHeld,
    LeafReleased,
    MemoryLevelChanged,
    MonitoringDegraded,
    RestartCompleted,
    RestartInitiated,
    RestartRefused,
    StateCaptured,
)
from workers.guardian import Outcome
from workers.ledger import News
from workers.policy.pressure import Thresholds
from workers.probe import MemoryReader, MemorySample, ReaderChain
from workers.probe.reader import Strays

from ..support import eventually
from ..support_ticket import Life, living
from .guardian_inside import MIB, Inside, inside
from .host_support import PYTHON
from .probe_support import memory_cgroup

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")]

if sys.platform == "linux":
    from workers.probe.hold import LEEWAY, LeafHold, leeway

SELDOM = MonitoringConfig(normal_interval=600.0, warning_interval=600.0, critical_interval=600.0, emergency_interval=600.0)
EMERGENCIES = attrs.evolve(SELDOM, critical_samples=1000, prediction_horizon=0.0, emergency_capture_timeout=30.0)
"""A leaf that has no processor to grow with is not restarted for being critical before that, and what captures may be as slow."""
RACE = Thresholds(40 * MIB, 60 * MIB, 80 * MIB)


@pytest.fixture(autouse=True)
def _memory_controller() -> None:
    memory_cgroup()


@pytest.fixture
def no_freezer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a host whose cgroups count, and cannot be frozen."""
    monkeypatch.setattr(Group, "can_freeze", property(lambda self: False))


def group_of(run: Inside) -> Group:
    handle = run.ledger.above(run.leaf).handle("leaf")
    assert isinstance(handle, RunningCommand) and handle.group is not None
    return handle.group


def number(directory: str | None, name: str) -> int:
    return int(files.read(str(directory), name) or -1)


def at(run: Inside, kind: type) -> int:
    return next(record.seq for record in run.records if type(record.event) is kind)


async def armed(run: Inside) -> None:
    await eventually(lambda: run.leaf.events and run.leaf.hold is not None and run.leaf.hold.is_armed, what="marks and limit are set")


@pytest.mark.parametrize("isolation", Isolation)
async def test_it_is_held_captured_and_restarted(tmp_path: Path, isolation: Isolation) -> None:
    """In this order; while it is held it is frozen, and what replaces it is not."""
    frozen: list[bool] = []

    def sink(record: Record) -> None:
        if type(record.event) is LeafHeld:
            frozen.append(group_of(run).is_frozen)

    script = "await:on", "grow:200", "stay", "/", "stay"
    async with inside(tmp_path, *script, thresholds=RACE, monitoring=EMERGENCIES, sink=sink, isolation=isolation) as run:
        await armed(run)
        run.touch("on")
        await run.wait(RestartCompleted)
        assert frozen == [True] and not group_of(run).is_frozen
        held = run.of(LeafHeld)[0]
        assert (held.way, held.seconds) == ("freeze", 30.0) and held.total_bytes >= 80 * MIB
        captured = next(
            record.seq for record in run.records if type(record.event) is StateCaptured and record.seq > at(run, RestartInitiated)
        )
        ended = at(run, ChildExited)
        assert at(run, LeafHeld) < at(run, RestartInitiated) < captured < ended
        assert len(run.of(LeafHeld)) == 1 and run.of(LeafReleased) == []


async def test_a_guardian_that_is_too_slow_is_waited_for_at_the_limit(tmp_path: Path, no_freezer: None) -> None:
    """The guardian does nothing for a while, as when its processor is taken away: the kernel lets the leaf wait beyond emergency, though
    it wants far more, and nobody is killed for it.
    """
    peaks: list[int] = []

    def sink(record: Record) -> None:
        if type(record.event) is MemoryLevelChanged and not peaks:
            memory = group_of(run).memory
            deadline = time.monotonic() + 20
            while "under_oom 1" not in (files.read(str(memory), "memory.oom_control") or "") and time.monotonic() < deadline:
                time.sleep(0.001)  # the whole guardian
            peaks.append(number(memory, "memory.max_usage_in_bytes"))

    script = "await:on", "grow:300", "stay", "/", "stay"
    async with inside(tmp_path, *script, thresholds=RACE, monitoring=EMERGENCIES, sink=sink) as run:
        await armed(run)
        run.touch("on")
        await eventually(lambda: peaks, 40, what="the limit")  # all of this program stands still meanwhile
        await run.wait(RestartCompleted)
        assert peaks[0] <= 80 * MIB + leeway(RACE) + 8 * MIB
        assert run.of(LeafHeld)[0].way == "limit"
        assert run.of(ChildExited, "leaf")[0].exit.signal == signal.SIGTERM


async def test_one_that_may_not_be_restarted_goes_on(tmp_path: Path) -> None:
    """Held, captured, released; it finishes what it was doing, and its exit code is the run's."""
    script = ("await:on", "grow:85", "await:end", "exit:6")
    async with inside(tmp_path, *script, thresholds=RACE, restart=LeafRestart.NEVER, monitoring=SELDOM) as run:
        await armed(run)
        run.touch("on")
        released = await run.wait(LeafReleased)
        assert "captured" in released.reason or "held for" in released.reason
        await run.wait(StateCaptured)
        run.touch("end")
        await eventually(lambda: run.outcome is not None, 20)
    assert run.outcome == Outcome(6, "command")
    assert len(run.of(LeafHeld)) == 1 and run.of(RestartRefused)


async def test_it_is_stopped_when_the_host_runs_out(tmp_path: Path) -> None:
    """It may not be restarted, and the host has less than its reserve (here: anything is): it is ended for good, and the code says so."""
    from supervisor import Size

    monitoring = MonitoringConfig(emergency_interval=0.05, normal_interval=0.05, host_reserve=Size(amount_bytes=1 << 50))
    async with inside(tmp_path, "grow:85", "stay", thresholds=RACE, restart=LeafRestart.NEVER, monitoring=monitoring) as run:
        await eventually(lambda: run.outcome is not None, 20)
    assert run.outcome == Outcome(75, "protection")
    assert any("less than its reserve" in event.reason for event in run.of(RestartRefused))
    assert len(run.pids()) == 1


SHARES = """
import mmap, os, sys, time
time.sleep(0.2)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.005)
shared = mmap.mmap(-1, 200 << 20)
for at in range(0, len(shared), 4096):
    shared[at] = 1
sys.exit(7)
"""


async def test_one_at_its_limit_without_an_emergency_goes_on(tmp_path: Path) -> None:
    """Shared memory is charged and does not count: the kernel pauses the leaf, and it is released as soon as that is seen."""
    argv = (sys.executable, "-S", "-E", "-c", SHARES, str(tmp_path / "on"))
    async with inside(tmp_path, argv=argv, thresholds=RACE, monitoring=SELDOM) as run:
        await armed(run)
        run.touch("on")
        await eventually(lambda: run.outcome is not None, 20)
    assert run.outcome == Outcome(7, "command")
    assert run.of(LeafHeld) == [] and run.of(MemoryLevelChanged) == []


@pytest.mark.parametrize("isolation", Isolation)
async def test_whoever_is_held_is_released_without_health(tmp_path: Path, isolation: Isolation) -> None:
    """A hold that nobody decides about any more ends by itself."""
    async with inside(tmp_path, "stay", monitoring=SELDOM, isolation=isolation) as run:
        await armed(run)
        assert run.leaf.hold is not None and run.leaf.hold.hold(anyio.current_time() + 0.2)
        group = group_of(run)
        run.ledger.wake(0.0)
        run.ledger.news.put(cast(News, None))  # health fails
        await eventually(lambda: not group.is_frozen)
        assert run.leaf.hold.until is None


async def test_whoever_is_held_is_released_when_the_probe_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What held it is gone, so it goes on."""
    async with inside(tmp_path, "stay", monitoring=SELDOM) as run:
        await armed(run)
        group, hold = group_of(run), run.leaf.hold
        assert hold is not None and hold.hold(anyio.current_time() + 1000)
        limit = number(group.memory, "memory.limit_in_bytes")

        def fails(self: object, now: float, refresh: bool = True) -> MemorySample:
            raise ZeroDivisionError("nobody thought of that")

        with monkeypatch.context() as patch:
            patch.setattr(ReaderChain, "read", fails)
            run.ledger.look(run.leaf, 0.0)
            await run.failed("probe")
        await eventually(lambda: not group.is_frozen)
        assert limit < 1 << 40
        await eventually(lambda: "frozen 0" in (files.read(group.directory, "cgroup.events") or "frozen 0"))


class Unreadable:
    """A reader of what nobody may read, until it is told otherwise."""

    name, refresh_period = "none", 1.0

    def __init__(self, inner: MemoryReader, works: Callable[[], bool]) -> None:
        self.inner, self.works = inner, works

    def read(self, now: float, refresh: bool = True) -> MemorySample | None:
        if self.works():
            return self.inner.read(now, True)
        raise PermissionError(1, "nobody may look")

    def close(self) -> None:
        self.inner.close()


async def test_a_blind_guardian_leaves_it_to_the_kernel_and_restarts_after_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be read: that is said, the kernel ends the leaf beyond emergency, and after the time that was wanted it is restarted,
    which counts as done when it is ready. When it can be seen again that is said as well, and the limit only holds again.
    """
    from workers.probe import open_reader

    sight: list[bool] = []

    def opened(root: object, strays: Strays | None = None, cgroup: str | None = None) -> ReaderChain:
        inner = open_reader(root, strays, cgroup)  # type: ignore[arg-type]
        return ReaderChain([("none", lambda: Unreadable(inner, lambda: bool(sight)))])

    monkeypatch.setattr("workers.probe.worker.open_reader", opened)
    monkeypatch.setattr("workers.probe.worker.BLIND_PAUSE", 0.1)
    monitoring = MonitoringConfig(blind_restart_after=0.5)
    async with inside(tmp_path, "stay", monitoring=monitoring) as run:
        blinded = await run.wait(MonitoringDegraded)
        assert blinded.as_data() == {"blind": True, "reason": "none: nobody may look", "from": "none", "to": None}
        await eventually(lambda: number(group_of(run).memory, "memory.limit_in_bytes") < 1 << 40)
        assert "oom_kill_disable 0" in (files.read(str(group_of(run).memory), "memory.oom_control") or "")
        completed = await run.wait(RestartCompleted)
        await eventually(lambda: number(group_of(run).memory, "memory.limit_in_bytes") < 1 << 40, what="the next life has it too")
        assert completed.memory_mb is None and run.of(RestartInitiated)[0].memory_mb is None
        assert run.of(RestartInitiated)[0].reason.startswith("memory could not be read for ")
        sight.append(True)
        seen = await run.wait(MonitoringDegraded, count=2)
        assert seen.as_data() == {"blind": False, "reason": "memory can be read again", "from": None, "to": "none"}
        await eventually(lambda: run.leaf.hold is not None and run.leaf.hold.is_armed)


GREEDY = """
import mmap, sys, time
block = mmap.mmap(-1, 200 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
print("begins", flush=True)
sys.stdin.readline()
for at in range(0, len(block), 4096):
    block[at] = 1
time.sleep(60)
"""


async def paused(life: Life, writer: int) -> LeafHold:
    """Have the kernel pause a leaf at its limit."""
    group = life.handle.group
    assert group is not None and group.memory is not None
    hold = LeafHold(group)
    hold.arm(Thresholds(1 * MIB, 2 * MIB, 30 * MIB))
    os.write(writer, b"\n")
    await eventually(lambda: hold.is_paused)
    stat = Path(f"/proc/{life.handle.pid}/stat")
    await eventually(lambda: stat.read_text().rpartition(") ")[2].startswith("D"), what="it waits for memory")
    return hold


@pytest.mark.parametrize("how", ["terminate", "kill"])
async def test_a_paused_leaf_can_be_ended(how: str) -> None:
    """It waits in the kernel, where only what is deadly reaches it."""
    reader, writer = os.pipe()
    try:
        async with living(command(PYTHON, "-c", GREEDY, stdin=f"/dev/fd/{reader}", stdout="null", cgroup="memory")) as life:
            hold = await paused(life, writer)
            getattr(life.handle, how)()
            exit = await life.ticket.wait_exit()
            assert exit.signal == (signal.SIGTERM if how == "terminate" else signal.SIGKILL)
            assert not [event for event in life.ticket.events if isinstance(event, OrphansSwept)]
            hold.close()
            hold.close()
    finally:
        os.close(reader)
        os.close(writer)


async def test_a_paused_leaf_goes_on_when_it_is_released() -> None:
    """As far as it wants; nobody was killed."""
    reader, writer = os.pipe()
    try:
        async with living(command(PYTHON, "-c", GREEDY, stdin=f"/dev/fd/{reader}", stdout="null", cgroup="memory")) as life:
            hold = await paused(life, writer)
            assert life.handle.group is not None
            memory = life.handle.group.memory
            before = len(os.listdir("/proc/self/fd"))
            hold.close()
            assert len(os.listdir("/proc/self/fd")) == before - 2
            await eventually(lambda: number(memory, "memory.usage_in_bytes") > 190 * MIB)
            assert files.oom_kills(str(memory)) == 0
            life.handle.kill()
    finally:
        os.close(reader)
        os.close(writer)


async def test_who_is_asked_to_end_and_grows_on_is_killed() -> None:
    """It gets a little more than it has, and its state is captured already: it shall not take the host along."""
    reader, writer = os.pipe()
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + GREEDY
    try:
        async with living(command(PYTHON, "-c", deaf, stdin=f"/dev/fd/{reader}", stdout="null", cgroup="memory")) as life:
            hold = await paused(life, writer)
            hold.let_end(Thresholds(1 * MIB, 2 * MIB, 30 * MIB))
            life.handle.terminate()
            exit = await life.ticket.wait_exit()
            assert exit.signal == signal.SIGKILL and exit.out_of_memory
            hold.close()
    finally:
        os.close(reader)
        os.close(writer)


class Folder:
    """A cgroup of version 2 as far as files go: this kernel has that controller in version 1."""

    is_frozen = False
    can_freeze = False

    def __init__(self, folder: Path) -> None:
        self.memory: str | None = str(folder)

    def freeze(self) -> bool:
        return False

    def thaw(self) -> None:
        pass


def test_version_2_is_limited_by_its_files(tmp_path: Path) -> None:
    """Blind: `memory.max` at emergency. Asked to end: a little more than it has, and no brake. Released: neither."""
    for name, value in {"memory.high": "5", "memory.max": "max", "memory.current": "1000"}.items():
        (tmp_path / name).write_text(value)
    hold = LeafHold(Folder(tmp_path))
    assert hold.ways == ("high",) and hold.is_armed and not hold.hold(1.0)
    hold.arm(RACE)
    hold.cap(RACE)
    assert (tmp_path / "memory.max").read_text() == str(80 * MIB + LEEWAY)
    hold.let_end(RACE)
    assert (tmp_path / "memory.max").read_text().startswith(str(1000 + LEEWAY))
    assert (tmp_path / "memory.high").read_text() == "max"
    hold.close()


async def test_without_a_cgroup_nobody_is_held() -> None:
    """Then a restart does without."""
    hold = LeafHold(None)
    assert hold.ways == () and not hold.hold(1.0) and hold.until is None and not hold.is_paused
    hold.arm(RACE)
    hold.cap(RACE)
    hold.let_end(RACE)
    hold.release()
    hold.close()
