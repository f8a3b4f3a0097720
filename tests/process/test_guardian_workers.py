"""The guardian's own workers fail: the agent does not notice, the worker comes back, and what was known is still known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import anyio
import pytest

from supervisor import ChildExited, ChildStarted
from supervisor.host.identity import ProcessId
from workers.event import CaptureFailed, DegradationChanged, MemoryLevelChanged, RestartCompleted, StateCaptured
from workers.guardian import Outcome
from workers.ledger import CaptureRequest, ModeRequest, News
from workers.policy.ladder import Cause, DegradationMode
from workers.policy.pressure import MemoryState
from workers.probe import MemoryReader, MemorySample, ReaderChain, open_reader
from workers.probe.reader import Strays

from ..support import eventually
from .guardian_inside import inside

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

MIB = 1024 * 1024
ACTOR = Path(__file__).resolve().parent.parent / "e2e" / "agents" / "actor.py"


class FailingReader:
    """A reader that fails in a way nobody has thought of, while there are failures left."""

    def __init__(self, inner: MemoryReader, failures: list[Exception]) -> None:
        self.inner, self.failures = inner, failures
        self.name, self.refresh_period = inner.name, inner.refresh_period

    def read(self, now: float, refresh: bool = True) -> MemorySample | None:
        if self.failures:
            raise self.failures.pop()
        return self.inner.read(now, refresh)

    def close(self) -> None:
        self.inner.close()


async def test_a_probe_that_fails_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw ends the probe and takes health and degradation along, never the leaf; the level survives, and the
    next samples lead to the restart that was due.
    """
    failures: list[Exception] = []

    def opened(root: ProcessId, strays: Strays | None = None, cgroup: str | None = None) -> ReaderChain:
        inner = open_reader(root, strays, cgroup)
        return ReaderChain([(inner.name, lambda: FailingReader(inner, failures))])

    monkeypatch.setattr("workers.probe.worker.open_reader", opened)
    async with inside(tmp_path, "grow:45", "await:on", "grow:70", "stay", "/", "stay") as run:
        await run.wait(MemoryLevelChanged)
        failures.append(ZeroDivisionError("nobody thought of that"))
        await run.failed("probe")
        await run.wait(ChildStarted, "degradation", count=2)
        assert run.leaf.guard.level is MemoryState.WARNING
        assert len(run.pids()) == 1
        run.touch("on")
        await run.wait(RestartCompleted)

    assert [(event.old.value, event.new.value) for event in run.of(MemoryLevelChanged)] == [
        ("normal", "warning"),
        ("warning", "critical"),
        ("critical", "normal"),
    ]
    assert "nobody thought of that" in run.of(ChildExited, "probe")[0].exit.reason
    assert run.of(ChildExited, "state")[0].expected


async def test_health_that_fails_comes_back(tmp_path: Path) -> None:
    """What was sampled meanwhile is not lost, the level survives, and the probe goes on."""
    async with inside(tmp_path, "grow:45", "await:on", "grow:70", "stay", "/", "stay") as run:
        await run.wait(MemoryLevelChanged)
        run.ledger.news.put(cast(News, None))
        await run.failed("health")
        assert run.leaf.guard.level is MemoryState.WARNING
        assert len(run.of(ChildStarted, "probe")) == 1
        run.touch("on")
        await run.wait(RestartCompleted)

    assert len(run.pids()) == 2


async def test_a_state_worker_that_fails_has_captured_nothing_and_says_so(tmp_path: Path) -> None:
    """Whoever waits for the capture is told at once; the next one works."""
    async with inside(tmp_path, "grow:45", "await:on", "grow:70", "stay", "/", "stay") as run:
        await run.wait(StateCaptured)
        request = CaptureRequest(run.leaf, cast(str, 7))
        run.ledger.captures.put(request)
        with anyio.fail_after(5):
            await request.done.wait()
        assert not request.ok
        await run.failed("state")
        assert run.of(CaptureFailed)[0].cause.startswith("NotPortable: CaptureOrder.reason")
        assert len(run.of(ChildStarted, "probe")) == 1 and len(run.pids()) == 1
        run.touch("on")
        await run.wait(RestartCompleted)

    assert len(run.of(StateCaptured)) >= 2


async def test_degradation_that_fails_keeps_the_mode(tmp_path: Path) -> None:
    """The mode is the ledger's, and a change that comes after the failure is carried out."""
    async with inside(tmp_path, "stay") as run:
        run.ledger.modes.put(cast(ModeRequest, None))
        await run.failed("degradation")
        run.ledger.modes.put(ModeRequest(run.leaf, Cause.REQUEST, DegradationMode.READ_ONLY, "tried"))
        await run.wait(DegradationChanged)

    assert len(run.of(ChildStarted, "health")) == len(run.pids()) == 1


async def test_a_worker_that_cannot_be_helped_is_given_up_and_the_agent_lives(tmp_path: Path) -> None:
    """Failing again and again it is left down for a minute; the leaf goes on, and its end still ends the run."""
    async with inside(tmp_path, "await:end", "exit:4") as run:
        for _ in range(5):
            run.ledger.modes.put(cast(ModeRequest, None))
        await eventually(lambda: any(record.event.name == "supervisor_gave_up" for record in run.records), 20)
        assert len(run.of(ChildExited, "degradation")) == 4
        run.touch("end")
        await eventually(lambda: run.outcome is not None, 20)

    assert run.outcome == Outcome(4, "command")


async def test_an_agent_that_crashes_restarts_no_worker(tmp_path: Path) -> None:
    """Agents and workers are separate branches."""
    async with inside(tmp_path, "signal:KILL", "/", "signal:KILL", "/", "await:end", "exit:0") as run:
        await run.wait(ChildStarted, "leaf", count=3)
        run.touch("end")
        await eventually(lambda: run.outcome is not None, 20)

    assert run.outcome == Outcome(0, "command")
    for worker in ("state", "probe", "health", "degradation", "watch", "services"):
        assert len(run.of(ChildStarted, worker)) == 1, worker
