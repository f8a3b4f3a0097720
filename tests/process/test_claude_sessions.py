"""Sessions under one guardian, with a stand-in for the program: watched, restarted between two turns, and on one budget."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor import Record, Size, UsageError
from workers import (
    ClaudeSession,
    ClaudeSessions,
    MemoryGuardianConfig,
    MemoryThresholds,
    MonitoringConfig,
    RestartPolicy,
    SessionEndedError,
    TurnCutError,
)

from ..support import eventually
from .test_claude_session import Stage

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="memory as Linux counts it")]
MIB = 1 << 20
CALM = MemoryThresholds(critical=Size(amount_bytes=1 << 32))
OFTEN = MonitoringConfig(normal_interval=0.1, warning_interval=0.1, critical_interval=0.1, emergency_interval=0.1, critical_samples=2)


class Guarded(Stage):
    """A stage whose sessions a guardian has."""

    sessions: ClaudeSessions

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.events: list[Any] = []

    @asynccontextmanager
    async def guarding(self, **tables: Any) -> AsyncIterator[ClaudeSessions]:
        config = MemoryGuardianConfig(state_dir=str(self.folder / "guardian"), **{"thresholds": CALM, **tables})
        self.sessions = ClaudeSessions(config)
        self.sessions.add_sink(self.seen)
        async with self.sessions as sessions:
            yield sessions

    def seen(self, record: Record) -> None:
        self.events.append(record.event)

    def named(self, name: str) -> list[Any]:
        return [event for event in self.events if event.name == name]

    def one(self, name: str | None = None, **options: Any) -> ClaudeSession:
        own = {"STAND_IN": str(self.folder), "CLAUDE_CONFIG_DIR": str(self.folder / "config")}
        return self.sessions.session([str(self.program)], name=name, cwd=self.folder, env=own, **options)


@pytest.fixture
def stage(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path)


POLICY = RestartPolicy(max_attempts=50, initial_cooldown=0, max_cooldown=0, ineffective_window=0, graceful_timeout=2)


@pytest.mark.deadline(120)
async def test_a_session_that_grows_is_restarted_between_two_turns(stage: Guarded) -> None:
    """Each prompt is read once and answered, in one conversation; whoever talks never notices. It is small again after each restart."""
    limits = MemoryThresholds(
        warning=Size(amount_bytes=40 * MIB), critical=Size(amount_bytes=60 * MIB), emergency=Size(amount_bytes=4096 * MIB)
    )
    async with stage.guarding(thresholds=limits, restart_policy=POLICY, monitoring=OFTEN), stage.one("grower") as session:
        said: list[str] = []
        with anyio.fail_after(100):
            for restarts in (1, 2):
                said.append(f"grow 80 {restarts}")  # once, for what a fast machine grows by in a while is not to be told
                while (await session.ask(said[-1])).text == f"ok: {said[-1]}" and len(stage.named("restart_completed")) < restarts:
                    said.append(f"number {len(said)}")
        statistics = stage.sessions.get_statistics()["grower"]
        assert statistics["restarts"]["controlled"] == statistics["restarts"]["total"] >= 2
        assert statistics["peak_bytes"] > 60 * MIB
    assert stage.said == said
    assert {event.path for event in stage.named("restart_initiated")} == {("guardian", "agents", "grower")}
    assert {argv.split()[1] for argv in stage.lines("argv")} == {session.session_id}
    assert not stage.named("conversation_cut") and len(stage.named("state_captured")) >= 2


async def test_sessions_share_one_budget_of_restarts(stage: Guarded) -> None:
    """Crashes of any of them spend it; when it is spent who has crashed stays down, the others go on."""
    policy = RestartPolicy(max_attempts=2, initial_cooldown=0, max_cooldown=0, circuit_failures=9)
    async with stage.guarding(restart_policy=policy), stage.one() as one, stage.one() as two, stage.one() as three:
        assert [one.name, two.name, three.name] == ["claude", "claude-2", "claude-3"]
        for session in (one, two):
            with pytest.raises(TurnCutError):
                await session.ask("die")
            assert (await session.ask(f"{session.name} again")).is_success
        with pytest.raises(TurnCutError):
            await one.ask("die")
        await eventually(lambda: stage.named("supervisor_gave_up"))
        with anyio.move_on_after(0.3) as scope:
            await one.ask("nobody there")
        assert scope.cancelled_caught and (await two.ask("two")).is_success and (await three.ask("three")).is_success
        down = {name: one["gave_up"] for name, one in stage.sessions.get_statistics().items()}
        assert down["claude"] and (down["claude-2"], down["claude-3"]) == (None, None)
    assert {event.path for event in stage.named("supervisor_gave_up")} == {("guardian", "agents")}


async def test_one_that_is_asked_for_a_restart_gets_it_between_two_turns(stage: Guarded) -> None:
    """By whoever has it: what waits then goes to the next life."""
    async with stage.guarding(restart_policy=POLICY), stage.one("one") as session:
        turns = [await session.send(str(number)) for number in range(10)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.cycle, "by hand")
            assert [(await turn.result()).text for turn in turns] == [f"ok: {number}" for number in range(10)]
        assert session.generation == 2 and (await session.ask("after")).text == "ok: after"
    assert stage.said == [*map(str, range(10)), "after"] and not stage.named("conversation_cut")
    assert [event.reason for event in stage.named("restart_initiated")] == ["by hand"]


async def test_sessions_come_and_go(stage: Guarded) -> None:
    """A name is free again once its session is over; one that ended by itself, or was killed for good, leaves nobody waiting."""
    async with stage.guarding(restart_policy=POLICY) as sessions:
        assert sessions.get_statistics() == {}
        for _ in range(2):
            async with stage.one("one") as session:
                assert (await session.ask("hello")).is_success and set(sessions.get_statistics()) == {"one"}
                with pytest.raises(UsageError, match="'one' already"):
                    await stage.one("one").__aenter__()
        async with stage.one("two") as session, sessions.subscribe() as events:
            assert session.pid is not None
            os.kill(session.pid, signal.SIGKILL)
            assert (await session.ask("once more", idempotent=True)).is_success
            assert (await anext(events)).event.path == ("guardian", "agents", "two")
            assert (await session.ask("bye")).is_success
            await eventually(lambda: session.pid is None)
            with pytest.raises(SessionEndedError):
                await session.ask("too late")
        assert sessions.get_statistics() == {}
    with pytest.raises(RuntimeError, match="within their block"):
        sessions.get_statistics()
    with pytest.raises(RuntimeError, match="make another"):
        await sessions.__aenter__()
    with pytest.raises(RuntimeError, match="within their block"):
        await stage.one().__aenter__()


async def test_the_end_of_the_guardian_ends_its_sessions(stage: Guarded) -> None:
    """Whatever ends it: an error of its block leaves it bare, and whoever waits for a turn is told."""
    with pytest.raises(KeyError):  # noqa: PT012 - the block is what is tested
        async with stage.guarding():
            session = stage.one()
            await session.__aenter__()
            turn = await session.send("hang")
            await eventually(lambda: stage.said == ["hang"])
            raise KeyError
    with pytest.raises(TurnCutError):
        await turn.result()
    await session.close()
    with anyio.move_on_after(1) as scope:
        async with stage.guarding(), stage.one() as session:
            await session.ask("hang")
    assert scope.cancelled_caught and session.pid is None


async def test_without_a_look_at_memory_a_session_is_restarted_between_two_turns(stage: Guarded) -> None:
    """`enabled = false` supervises, and nothing more."""
    async with stage.guarding(restart_policy=POLICY, enabled=False), stage.one("one") as session:
        turns = [await session.send(str(number)) for number in range(5)]
        await session.cycle("by hand")
        assert [(await turn.result()).is_success for turn in turns] == [True] * 5 and session.generation == 2
    assert stage.said == [*map(str, range(5))] and not stage.named("monitoring_started") and not stage.named("conversation_cut")
