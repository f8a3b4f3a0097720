"""The guardian's own workers fail: the agent does not notice, the worker comes back, and what was known is still known."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import attrs
import pytest

from supervisor import ChildExited, ChildStarted, Event, Record, Session
from supervisor.edge.signals import StopRequest
from supervisor.host.identity import ProcessId
from workers.config import Agent, CommandConfig, GuardianRun, MemoryGuardianConfig, MonitoringConfig, RestartPolicy
from workers.event import CaptureFailed, DegradationChanged, MemoryLevelChanged, RestartCompleted, RunFinished, StateCaptured
from workers.guardian import Outcome, leaves_of, run_guardian
from workers.ledger import CaptureRequest, Leaf, Ledger, ModeRequest, News
from workers.policy.ladder import Cause, DegradationMode
from workers.policy.pressure import MemoryState, Thresholds
from workers.probe.reader import MemoryReader, MemorySample, open_reader

from ..support import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

MIB = 1024 * 1024
ACTOR = Path(__file__).resolve().parent.parent / "e2e" / "agents" / "actor.py"


class FailingReader:
    """A reader that fails in a way nobody has thought of, while there are failures left."""

    def __init__(self, inner: MemoryReader, failures: list[Exception]) -> None:
        self.inner, self.failures = inner, failures

    @property
    def name(self) -> str:
        return self.inner.name

    def read(self, now: float, refresh: bool = True) -> MemorySample | None:
        if self.failures:
            raise self.failures.pop()
        return self.inner.read(now, refresh)

    def close(self) -> None:
        self.inner.close()


@attrs.define(eq=False)
class Inside:
    """A run that is driven from inside."""

    ledger: Ledger
    folder: Path
    stop: StopRequest
    records: list[Record]
    outcome: Outcome | None = None

    @property
    def leaf(self) -> Leaf:
        """The one leaf."""
        return self.ledger.leaves[0]

    def of(self, kind: type[Event], *path: str) -> list[Any]:
        """The events of a type; of a path that ends so, if one is given."""
        events = [record.event for record in self.records if type(record.event) is kind]
        return [event for event in events if event.path[len(event.path) - len(path) :] == path]

    async def wait(self, kind: type[Event], *path: str, count: int = 1) -> Any:
        """Wait for an event of a type."""
        await eventually(lambda: len(self.of(kind, *path)) >= count, 20, what=f"{kind.name} of {path}")
        return self.of(kind, *path)[count - 1]

    async def failed(self, worker: str) -> None:
        """Wait until a worker failed and is back."""
        exited = await self.wait(ChildExited, worker)
        assert not exited.exit.is_clean and not exited.expected
        await self.wait(ChildStarted, worker, count=2)

    def pids(self) -> list[int | None]:
        """The leaf's processes, all lives."""
        return [event.pid for event in self.of(ChildStarted, "leaf")]

    def touch(self, name: str) -> None:
        """Let the actor go on."""
        (self.folder / name).touch()


@asynccontextmanager
async def inside(folder: Path, *script: str) -> AsyncIterator[Inside]:
    """Run an actor under the guardian in this process; it is stopped in order at the end."""
    words = [word.replace("await:", f"await:{folder}/") for word in script]
    command = CommandConfig(argv=(sys.executable, "-S", "-E", str(ACTOR), str(folder / "report"), *words), working_directory=str(folder))
    policy = RestartPolicy(initial_cooldown=0.0, max_cooldown=0.0, graceful_timeout=5.0, force_kill_timeout=5.0)
    monitoring = MonitoringConfig(normal_interval=0.03, warning_interval=0.02, critical_interval=0.02, emergency_interval=0.02)
    config = MemoryGuardianConfig(command=command, restart_policy=policy, monitoring=monitoring)
    agent = Agent("actor", True, command, Thresholds(40 * MIB, 60 * MIB, 900 * MIB), policy)
    run = GuardianRun(config, (agent,), str(folder / "state"), None, detached=True)
    ledger = Ledger(run, leaves_of(run))
    told = Inside(ledger, folder, StopRequest(), [])

    async def body() -> None:
        told.outcome = await run_guardian(ledger, Session(run="0" * 32, backend="", stop=told.stop), [told.records.append])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(body)
        await told.wait(ChildStarted, "agents")
        try:
            yield told
        finally:
            told.stop.request()
    ledger.close()
    assert type(told.records[-1].event) is RunFinished


async def test_a_probe_that_fails_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw ends the probe and takes health and degradation along, never the leaf; the level survives, and the
    next samples lead to the restart that was due.
    """
    failures: list[Exception] = []

    def opened(root: ProcessId, strays: Callable[[], Iterable[int]] | None = None) -> MemoryReader:
        return FailingReader(open_reader(root, strays), failures)

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
        assert run.of(CaptureFailed)[0].cause.startswith("TypeError")
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
