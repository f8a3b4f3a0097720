"""The sweep in a process of its own: what it does in a task it does there too, and its end, however it comes, costs nobody but it."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor import ChildExited, ChildStarted, SupervisorGaveUp
from workers.agents import add, remove
from workers.config import MonitoringConfig
from workers.config.model import Isolation
from workers.event import MemoryLevelChanged, MonitoringDegraded, RestartCompleted
from workers.guardian import Outcome
from workers.policy.pressure import MemoryState
from workers.probe.hold import LeafHold
from workers.probe.messages import Changed, Sampled, Strained, Unread
from workers.probe.reader import PROCFS

from ..support import eventually
from .guardian_inside import Inside, inside
from .probe_support import memory_cgroup
from .test_agents import agent_of

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="a worker needs an inherited socket")]

SELDOM = MonitoringConfig(normal_interval=600.0, warning_interval=600.0, critical_interval=600.0, emergency_interval=600.0)
"""Nobody looks by himself while a test lasts."""

apart = partial(inside, isolation=Isolation.PROCESS)


async def sampled(run: Inside, more: int = 3) -> None:
    """Wait for so many further samples."""
    before = run.leaf.samples
    await eventually(lambda: run.leaf.samples >= before + more, 20, what="samples")


def sweeper(run: Inside) -> int:
    """The process of the sweep."""
    pid = run.of(ChildStarted, "probe", "sweep")[-1].pid
    assert isinstance(pid, int) and pid != os.getpid()
    return pid


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_sweep_that_is_killed_or_hangs_costs_nobody_but_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blow: signal.Signals
) -> None:
    """The leaf, the desk and health live on, an event says that nothing is read and another that it is again, the level is kept, and what
    the leaf does after that has its consequences. Nor may it have all the memory that it wants.
    """
    monkeypatch.setattr("workers.probe.place.WATCHDOG", 0.5)
    monkeypatch.setattr("supervisor.leaf.watchdog.ABORT_TIME", 0.2)
    async with apart(tmp_path, "grow:45", "await:on", "grow:70", "stay", "/", "stay") as run:
        await run.wait(MemoryLevelChanged)
        await sampled(run)
        assert run.ledger.tree is not None
        handle: Any = run.ledger.tree.supervisor("services", "watch", "probe").handle("sweep")
        assert (handle.cgroup is None) == ("memory_max" in handle.ungranted)
        first = sweeper(run)
        os.kill(first, blow)
        await run.wait(ChildExited, "probe", "sweep")
        await run.wait(ChildStarted, "probe", "sweep", count=2)
        assert sweeper(run) != first
        await sampled(run)
        assert run.leaf.guard.level is MemoryState.WARNING and len(run.of(MemoryLevelChanged)) == 1
        dark, light = run.of(MonitoringDegraded)
        assert (dark.blind, light.blind) == (True, False) and dark.path == run.leaf.path
        run.touch("on")
        await run.wait(RestartCompleted)

    assert len(run.pids()) == 2
    for worker in ("desk", "health", "degradation", "watch", "services"):
        assert len(run.of(ChildStarted, worker)) == 1, worker


async def test_nothing_is_slowed_down_or_paused_while_nobody_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit at which the kernel lets the leaf wait is taken away with the sweep that would see it, and is back with the next one. Whom
    the guardian holds is not let go for that.
    """
    memory_cgroup()
    async with apart(tmp_path, "stay", monitoring=SELDOM) as run:
        await eventually(lambda: run.leaf.events and run.leaf.hold is not None and run.leaf.hold.is_armed, 20, what="armed")
        seen: list[tuple[str, bool]] = []
        released = LeafHold.release

        def release(self: LeafHold) -> None:
            released(self)
            seen.append((run.leaf.events, self.is_armed))

        monkeypatch.setattr(LeafHold, "release", release)
        os.kill(sweeper(run), signal.SIGKILL)
        await eventually(lambda: seen == [("", False)], 20)
        run.ledger.look(run.leaf, 0.0)
        await eventually(lambda: run.leaf.events and run.leaf.hold is not None and run.leaf.hold.is_armed, 20, what="armed again")
        hold, seen[:] = run.leaf.hold, []
        if hold is not None and hold.hold(anyio.current_time() + 1000):
            os.kill(sweeper(run), signal.SIGKILL)
            await run.wait(ChildStarted, "sweep", count=3)
            assert hold.until is not None and seen == []
            hold.release()


async def test_a_sweep_that_says_nothing_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anybody has found out that it hangs: a sample that does not come is a leaf that cannot be seen, until one comes."""
    monkeypatch.setattr("workers.probe.server.SILENCE", 0.3)
    async with apart(tmp_path, "stay") as run:
        await sampled(run)
        os.kill(sweeper(run), signal.SIGSTOP)
        dark = await run.wait(MonitoringDegraded)
        assert dark.blind and "does not answer" in dark.reason and run.leaf.guard.blind
        os.kill(sweeper(run), signal.SIGCONT)
        light = await run.wait(MonitoringDegraded, count=2)
        assert not light.blind and not run.leaf.guard.blind
        assert len(run.of(ChildStarted, "sweep")) == 1


async def test_a_sweep_that_cannot_be_helped_leaves_a_blind_guardian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left down for a minute, which an event says, and the leaf cannot be seen; that goes on, and its end still ends the run."""
    monkeypatch.setattr("workers.probe.server.SILENCE", 0.3)
    async with apart(tmp_path, "await:end", "exit:4") as run:
        for life in range(1, 5):
            await run.wait(ChildStarted, "sweep", count=life)
            os.kill(sweeper(run), signal.SIGKILL)
            await run.wait(ChildExited, "sweep", count=life)
        await run.wait(SupervisorGaveUp, "probe")
        await eventually(lambda: run.leaf.guard.blind, 20)
        run.touch("end")
        await eventually(lambda: run.outcome is not None, 20)

    assert run.outcome == Outcome(4, "command")
    assert len(run.of(ChildStarted, "health")) == len(run.pids()) == 1


async def test_agents_come_and_go(tmp_path: Path) -> None:
    """One that is added is read there, one that is removed no more: what was open for it there is closed."""
    async with apart(tmp_path, "stay") as run:
        await sampled(run)
        if run.leaf.hold is not None and run.leaf.reader != PROCFS:
            await eventually(lambda: run.leaf.events, 20, what="marks are set")

        def descriptors() -> int:
            return len(os.listdir(f"/proc/{sweeper(run)}/fd"))

        before = descriptors()
        other = await add(run.ledger, agent_of(run, "other", "grow:45", "stay"))
        await eventually(lambda: other.guard.level is MemoryState.WARNING, 20)
        assert descriptors() > before
        await remove(run.ledger, "other")
        await eventually(lambda: descriptors() == before, 20, what="descriptors given back")
        await sampled(run)


async def test_what_a_sweep_says_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no report, or no sample of anything, is refused; of a life that is over nothing is heard; the rest is what it says."""
    async with apart(tmp_path, "stay") as run:
        await sampled(run)
        assert run.ledger.tree is not None
        watch = run.ledger.tree.supervisor("services", "watch", "probe")
        for lie in (
            Sampled(1, 0.0, -1, "procfs", False, None),
            Sampled(1, 0.0, 1, "procfs", False, [1, 2]),
            Sampled(1, float("nan"), 1, "procfs", False, None),
            MonitoringDegraded(run.leaf.path),
        ):
            with pytest.raises((TypeError, ValueError)):
                await watch.call("desk", "reported", [lie])
        samples = run.leaf.samples
        await watch.call("desk", "reported", [Sampled(99, 0.0, 1 << 40, "procfs", False, [1, 2, 3]), Unread(99, "nothing")])
        await eventually(lambda: run.leaf.samples > samples, 20)
        assert not run.leaf.guard.blind and run.of(MemoryLevelChanged) == []
        await watch.call("desk", "reported", [Changed(1, "procfs", "psutil", "it is so")])
        assert [(event.blind, event.before, event.after) for event in run.of(MonitoringDegraded)] == [(False, "procfs", "psutil")]
        strained: list[bool] = []
        monkeypatch.setattr(run.ledger, "strained", lambda: strained.append(True))
        await watch.call("desk", "reported", [Strained()])
        assert strained == [True]
        await watch.call("desk", "reported", [Unread(1, "nothing works")])
        dark = await run.wait(MonitoringDegraded, count=2)
        assert dark.blind and dark.reason == "nothing works"
        assert not (await run.wait(MonitoringDegraded, count=3)).blind
