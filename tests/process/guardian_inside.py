"""A run of the guardian in this process, so that a test can look into it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs

from supervisor import ChildExited, ChildStarted, Event, Record, Session
from supervisor.edge.signals import StopRequest
from workers.config import Agent, CommandConfig, GuardianRun, MemoryGuardianConfig, MonitoringConfig, RestartPolicy, WorkersConfig
from workers.config.model import Isolation, LeafRestart
from workers.event import RunFinished
from workers.guardian import Outcome, leaves_of, run_guardian
from workers.ledger import Leaf, Ledger
from workers.policy.pressure import Thresholds
from workers.roster import Roster

from ..support import eventually

MIB = 1024 * 1024
ACTOR = Path(__file__).resolve().parent.parent / "e2e" / "agents" / "actor.py"


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


LOW = Thresholds(40 * MIB, 60 * MIB, 900 * MIB)
OFTEN = MonitoringConfig(normal_interval=0.03, warning_interval=0.02, critical_interval=0.02, emergency_interval=0.02)


def acting(folder: Path, *script: str, report: str = "report") -> tuple[str, ...]:
    """The command of an actor that plays a script; what it waits for are files in the folder."""
    words = [word.replace("await:", f"await:{folder}/") for word in script]
    return (sys.executable, "-S", "-E", str(ACTOR), str(folder / report), *words)


@asynccontextmanager
async def inside(
    folder: Path,
    *script: str,
    thresholds: Thresholds = LOW,
    monitoring: MonitoringConfig = OFTEN,
    restart: LeafRestart = LeafRestart.CRASH,
    argv: tuple[str, ...] = (),
    sink: Callable[[Record], object] = lambda record: None,
    others: dict[str, tuple[str, ...]] | None = None,
    isolation: Isolation = Isolation.TASK,
    **restarts: Any,
) -> AsyncIterator[Inside]:
    """Run an actor, or another command, and other actors by name, under the guardian in this process; stopped in order at the end.

    Keywords that are none of these are keys of ``[restart]``.
    """
    command = CommandConfig(argv=argv or acting(folder, *script), working_directory=str(folder), restart=restart)
    policy = RestartPolicy(**{"initial_cooldown": 0.0, "max_cooldown": 0.0, "graceful_timeout": 5.0, "force_kill_timeout": 5.0, **restarts})
    workers = WorkersConfig(isolation)
    config = MemoryGuardianConfig(command=command, restart_policy=policy, monitoring=monitoring, workers=workers)
    commands = {"actor": command}
    for name, plays in (others or {}).items():
        commands[name] = attrs.evolve(command, argv=acting(folder, *plays, report=f"report-{name}"))
    agents = tuple(Agent(name, True, one, thresholds, policy) for name, one in commands.items())
    run = GuardianRun(config, agents, str(folder / "state"), None, detached=True)
    ledger = Ledger(run, leaves_of(run))
    roster = ledger.roster = Roster(ledger, lambda line: None, folder)
    told = Inside(ledger, folder, StopRequest(), [])

    async def body() -> None:
        told.outcome = await run_guardian(ledger, Session(run="0" * 32, backend="", stop=told.stop), [told.records.append, sink])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(body)
        await told.wait(ChildStarted, "agents")
        try:
            yield told
        finally:
            told.stop.request()
    ledger.close()
    roster.close()
    assert type(told.records[-1].event) is RunFinished
