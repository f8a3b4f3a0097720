"""The ladder of a real leaf, and a host that is short of memory: what asks for a mode, who is told, and what is done."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from supervisor import Attached, Event, Launch, ProcessId, Record, Session, Size
from supervisor.edge.signals import StopRequest
from workers.config import (
    Agent,
    CommandConfig,
    DegradationConfig,
    GuardianRun,
    HealthConfig,
    LeafRestart,
    MemoryGuardianConfig,
    MonitoringConfig,
    RestartPolicy,
)
from workers.control import GuardianControl
from workers.degradation import adapter as adapters
from workers.degradation.adapter import AdapterFailed, FileAdapter, Made
from workers.degradation.causes import requests
from workers.event import (
    CaptureFailed,
    DegradationChanged,
    HealthChanged,
    HostMemoryChanged,
    MemoryLevelChanged,
    NotificationFailed,
    RestartCompleted,
    RestartFailed,
    RestartInitiated,
)
from workers.guardian import leaf_of, leaves_of, run_guardian
from workers.health.host_looks import host_limits, is_candidate, limits_of
from workers.ledger import Leaf, Ledger, ModeRequest
from workers.policy import decide
from workers.policy.host import HostLimits, HostSeen
from workers.policy.ladder import Cause, DegradationMode
from workers.policy.pressure import MemoryState, Thresholds
from workers.policy.verdict import HealthLimits
from workers.state.files import StateWriteFailed, write_atomic

from ..support import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

NORMAL, WARNING, READ_ONLY, EMERGENCY = DegradationMode
MIB = 1 << 20
ACTOR = Path(__file__).resolve().parent.parent / "e2e" / "agents" / "actor.py"
ALWAYS = HealthConfig(interval=0.1, host_warning=Size(ratio=1.0), host_critical=Size(ratio=1.0), host_emergency=Size(ratio=1.0))
NEVER = HealthConfig(interval=0.0)


class Hearer:
    """A leaf's adapter that writes down what it hears, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[DegradationMode, str]] = []
        self.failures = 0

    @property
    def environment(self) -> Mapping[str, str]:
        return {"HEARS": "1"}

    def launch(self, argv: tuple[str, ...], made: Made) -> Launch:
        return made(argv, None)

    async def degrade(self, mode: DegradationMode, reason: str) -> None:
        self.heard.append((mode, reason))
        if self.failures:
            self.failures -= 1
            raise AdapterFailed("signal", "it does not listen")

    def close(self) -> None:
        pass


@attrs.define(eq=False)
class Inside:
    ledger: Ledger
    folder: Path
    hearer: Hearer
    stop: StopRequest = attrs.field(factory=StopRequest)
    records: list[Record] = attrs.field(factory=list)

    @property
    def leaf(self) -> Leaf:
        return self.ledger.leaves[0]

    def of(self, kind: type[Event]) -> list[Any]:
        return [record.event for record in self.records if type(record.event) is kind]

    async def wait(self, kind: type[Event], count: int = 1) -> Any:
        await eventually(lambda: len(self.of(kind)) >= count, 20, what=f"{count} {kind.name}")
        return self.of(kind)[count - 1]

    def ask(self, cause: Cause, mode: DegradationMode | None, reason: str = "asked", *, at_once: bool = False) -> None:
        self.ledger.modes.put(ModeRequest(self.leaf, cause, mode, reason, at_once))

    @property
    def modes(self) -> list[tuple[str, str]]:
        return [(event.old.value, event.new.value) for event in self.of(DegradationChanged)]


@asynccontextmanager
async def inside(
    folder: Path, *script: str, health: HealthConfig = NEVER, cooldown: float = 0.0, interval: float = 0.03
) -> AsyncIterator[Inside]:
    """Run an actor under the guardian in this process; it is stopped in order at the end."""
    words = [word.replace("await:", f"await:{folder}/") for word in script]
    command = CommandConfig(argv=(sys.executable, "-S", "-E", str(ACTOR), str(folder / "report"), *words), working_directory=str(folder))
    policy = RestartPolicy(initial_cooldown=0.0, max_cooldown=0.0, graceful_timeout=5.0, force_kill_timeout=5.0)
    monitoring = MonitoringConfig(normal_interval=interval, warning_interval=0.02, critical_interval=0.02, emergency_interval=0.02)
    degradation = DegradationConfig(mode_cooldown=cooldown)
    config = MemoryGuardianConfig(command=command, restart_policy=policy, monitoring=monitoring, health=health, degradation=degradation)
    agent = Agent("actor", True, command, Thresholds(200 * MIB, 300 * MIB, 900 * MIB), policy, degradation)
    run = GuardianRun(config, (agent,), str(folder / "state"), None, detached=True)
    ledger = Ledger(run, leaves_of(run))
    told = Inside(ledger, folder, Hearer())
    told.leaf.adapter = told.hearer

    async def body() -> None:
        await run_guardian(ledger, Session(run="0" * 32, backend="", stop=told.stop), [told.records.append])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(body)
        await eventually(lambda: told.leaf.samples, 20, what="the first sample")
        try:
            yield told
        finally:
            told.stop.request()
    ledger.close()


async def test_the_leaf_hears_of_each_mode(tmp_path: Path) -> None:
    """With the reason that the event has; what no cause changes is not said again."""
    async with inside(tmp_path, "stay") as run:
        run.ask(Cause.REQUEST, READ_ONLY, "a person asked")
        run.ask(Cause.HEALTH, WARNING, "the host is degraded")
        run.ask(Cause.REQUEST, READ_ONLY, "a person asked again")
        run.ask(Cause.REQUEST, None, "a person changed their mind")
        await run.wait(DegradationChanged, 2)
        run.ask(Cause.HEALTH, None, "the host is healthy again")
        await run.wait(DegradationChanged, 3)
    assert run.modes == [("normal", "read_only"), ("read_only", "warning"), ("warning", "normal")]
    assert run.hearer.heard == [
        (READ_ONLY, "a person asked"),
        (WARNING, "a person changed their mind; still: the host is degraded"),
        (NORMAL, "the host is healthy again"),
    ]
    assert [event.reason for event in run.of(DegradationChanged)] == [reason for _, reason in run.hearer.heard]


async def test_the_reason_is_beside_the_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a line that a shell can put into any text, without secrets; one that cannot be written leaves the mode alone."""
    mode, why = tmp_path / "claude.mode", tmp_path / "claude.mode.why"
    adapter = FileAdapter(mode, lambda: None)
    assert (mode.read_text(), why.read_text()) == ("normal\n", "\n")
    secret = "ghp_" + "A1b2C3d4" * 4 + "E5f6"
    await adapter.degrade(READ_ONLY, f'the "disk"\n\tis f\\ull\x00 {secret} \ud800 \u00fc')
    assert (mode.read_text(), secret in why.read_text()) == ("read_only\n", False)
    assert why.read_text().startswith("the 'disk' is f/ull ") and why.read_text().endswith(" \u00fc\n") and why.stat().st_mode & 0o77 == 0
    await adapter.degrade(EMERGENCY, "x" * 1000)
    assert len(why.read_text()) == 301 and why.read_text().endswith("...\n")

    def full(path: Path, *words: Any, **more: Any) -> None:
        if path == why:
            raise StateWriteFailed(path, OSError(28, "no space"))
        write_atomic(path, *words, **more)

    monkeypatch.setattr(adapters, "write_atomic", full)
    await adapter.degrade(READ_ONLY, "another")
    assert mode.read_text() == "read_only\n" and not why.exists()
    monkeypatch.undo()
    await adapter.degrade(NORMAL, "over")
    adapter.close()
    assert not mode.exists() and not why.exists()


async def test_a_rung_is_held_for_its_cooldown(tmp_path: Path) -> None:
    """Taken back it stays, asked for again it never changed; then it is left, with the reason. What is void goes at once."""
    async with inside(tmp_path, "stay", cooldown=0.3) as run:
        run.ask(Cause.REQUEST, READ_ONLY)
        run.ask(Cause.REQUEST, None)
        run.ask(Cause.REQUEST, READ_ONLY)
        began = anyio.current_time()
        run.ask(Cause.REQUEST, None)
        changed = await run.wait(DegradationChanged, 2)
        assert anyio.current_time() - began >= 0.3
        assert run.modes == [("normal", "read_only"), ("read_only", "normal")]
        assert changed.reason == "for 0.3 s nothing has asked for read_only"
    async with inside(tmp_path, "stay", cooldown=1000.0) as run:
        run.ask(Cause.MEMORY, READ_ONLY)
        run.ask(Cause.MEMORY, None, at_once=True)
        await run.wait(DegradationChanged, 2)


async def test_a_leaf_that_does_not_hear_is_told_of_once(tmp_path: Path) -> None:
    """A failing adapter is an event, and no reason to fail; it is said again after it has worked."""
    async with inside(tmp_path, "stay") as run:
        run.hearer.failures = 2
        for mode in (WARNING, READ_ONLY, WARNING):
            run.ask(Cause.REQUEST, mode)
        await run.wait(DegradationChanged, 3)
        await eventually(lambda: len(run.hearer.heard) == 3)
        assert [(event.channel, event.reason) for event in run.of(NotificationFailed)] == [("signal", "it does not listen")]
        run.hearer.failures = 1
        run.ask(Cause.REQUEST, EMERGENCY)
        await run.wait(NotificationFailed, 2)


async def test_a_mode_has_the_leaf_looked_at_more_often(tmp_path: Path) -> None:
    """No long intervals: the next sample comes as soon as at the memory's level warning."""
    async with inside(tmp_path, "stay", interval=1000.0) as run:
        assert run.ledger.pause(run.leaf, anyio.current_time()) == 1000.0
        run.ask(Cause.REQUEST, WARNING)
        await run.wait(DegradationChanged)
        assert run.ledger.pause(run.leaf, anyio.current_time()) == 0.02
        before = run.leaf.samples
        run.ledger.look(run.leaf, anyio.current_time())
        await eventually(lambda: run.leaf.samples > before + 3, 20)


async def test_captures_ahead_are_turned_off(tmp_path: Path) -> None:
    """In a mode that memory did not ask for nothing is captured at warning; the user is told all the same."""
    async with inside(tmp_path, "await:on", "grow:210", "stay") as run:
        run.ask(Cause.CAPTURE_FAILED, WARNING)
        await run.wait(DegradationChanged)
        (tmp_path / "on").touch()
        await eventually(lambda: any(record.event.name == "memory_warning" for record in run.records), 20)
        before = run.leaf.samples
        await eventually(lambda: run.leaf.samples > before + 3, 20)
    assert not [record for record in run.records if record.event.name in ("state_captured", "capture_failed")]


async def test_what_events_ask_for(tmp_path: Path) -> None:
    """Critical memory, failed restarts and failed captures degrade; a completed restart makes void what was about the old life."""
    leaf = leaves_of(GuardianRun(MemoryGuardianConfig(), (agent_of(tmp_path),), str(tmp_path), None))[0]

    def asked(event: Event) -> list[tuple[Cause, DegradationMode | None, bool]]:
        return [(request.cause, request.mode, request.at_once) for request in requests(leaf, event)]

    path = leaf.path
    levels = [asked(MemoryLevelChanged(path, new=level)) for level in MemoryState]
    assert levels == [[(Cause.MEMORY, mode, False)] for mode in (None, None, WARNING, READ_ONLY)]
    assert asked(RestartFailed(path, "it did not come up", None)) == [
        (Cause.RESTART_FAILED, READ_ONLY, False),
        (Cause.RESTART_FAILED, None, False),
    ]
    assert asked(RestartFailed(path, "it did not help", 700.0)) == []  # its memory asks for itself
    assert asked(CaptureFailed(path)) == [(Cause.CAPTURE_FAILED, WARNING, False), (Cause.CAPTURE_FAILED, None, False)]
    assert asked(RestartCompleted(path)) == [(cause, None, True) for cause in (Cause.RESTART_REFUSED, Cause.RESTART_FAILED, Cause.MEMORY)]
    assert asked(HealthChanged(path)) == []


def agent_of(folder: Path) -> Agent:
    return Agent("a", True, CommandConfig(working_directory=str(folder)), Thresholds(1, 2, 3), RestartPolicy())


async def test_a_request_is_taken_back_at_once(tmp_path: Path) -> None:
    """Whoever asks for less has seen that it is over, so nothing waits for a cooldown; what other causes ask for stays."""
    async with inside(tmp_path, "stay", cooldown=1000.0) as run:
        run.ask(Cause.CAPTURE_FAILED, WARNING, "no space")
        run.ask(Cause.REQUEST, EMERGENCY, "a pause", at_once=True)
        run.ask(Cause.REQUEST, READ_ONLY, "less", at_once=True)
        run.ask(Cause.REQUEST, None, "enough", at_once=True)
        last = await run.wait(DegradationChanged, 4)
    assert run.modes == [("normal", "warning"), ("warning", "emergency"), ("emergency", "read_only"), ("read_only", "warning")]
    assert last.reason == "enough; still: no space"


async def test_a_short_host_restarts_what_has_grown(tmp_path: Path) -> None:
    """A leaf whose own memory is well goes, because the host needs what it has taken since it began; its state is captured first."""
    async with inside(tmp_path, "await:on", "grow:150", "stay", "/", "stay", health=ALWAYS) as run:
        short = await run.wait(HostMemoryChanged)
        assert short.new is MemoryState.EMERGENCY and short.total_bytes is not None
        assert (await run.wait(DegradationChanged)).new is WARNING
        assert run.ledger.no_more_agents() == short.reason
        (tmp_path / "on").touch()
        initiated = await run.wait(RestartInitiated)
        completed = await run.wait(RestartCompleted)
    assert initiated.level is MemoryState.NORMAL and not initiated.urgent
    assert re.fullmatch(r"the host has \d+% of its memory left, and of [\d.]+ MiB this has grown by [\d.]+ MiB", initiated.reason)
    assert completed.reason == initiated.reason
    captured = [record.event for record in run.records if record.event.name == "state_captured"]
    assert captured and captured[-1].as_data()["reason"] == initiated.reason
    assert run.of(MemoryLevelChanged) == []


def test_the_host_asks_only_whom_it_may_restart(tmp_path: Path) -> None:
    """Who is never restarted, and who is somebody else's, is not chosen, so that it does not stand in the way of one that can give back."""
    agent = agent_of(tmp_path)
    run = GuardianRun(MemoryGuardianConfig(), (agent,), "", None)
    leaf = leaf_of(run, agent)
    for event in (decide.LeafStarted(1), decide.Sampled(0, 1)):
        leaf.guard, _ = decide.step(leaf.guard, event, 1.0)
    assert is_candidate(leaf, 2.0)
    never = attrs.evolve(agent, command=attrs.evolve(agent.command, restart=LeafRestart.NEVER))
    assert not is_candidate(attrs.evolve(leaf, agent=never), 2.0)
    for adopt in (False, True):
        process = Attached(process=ProcessId(1, 0), adopt=adopt)
        assert is_candidate(attrs.evolve(leaf, attached=process), 2.0) is adopt


async def test_a_host_that_is_well_is_left_alone(tmp_path: Path) -> None:
    """With every level off nothing is said and nothing done, however much has grown."""
    off = attrs.evolve(ALWAYS, host_warning=Size(amount_bytes=0), host_critical=Size(amount_bytes=0), host_emergency=Size(amount_bytes=0))
    async with inside(tmp_path, "await:on", "grow:150", "stay", health=off) as run:
        (tmp_path / "on").touch()
        await eventually(lambda: run.ledger.metrics is not None, 20, what="a look at the host")
        await eventually(lambda: (run.leaf.guard.pressure.total_bytes or 0) > 140 * MIB, 20)
        looked = run.ledger.metrics
        await eventually(lambda: run.ledger.metrics is not looked, 20)
        assert run.ledger.no_more_agents() is None
    assert not run.of(HostMemoryChanged) and not run.of(RestartInitiated)


async def test_the_verdict_is_an_event_and_asks_for_a_mode(tmp_path: Path) -> None:
    """A host of which too much is used is unhealthy, and every leaf hears so; the metrics are the ledger's."""
    off = Size(amount_bytes=0)
    health = HealthConfig(interval=0.1, memory=0.0001, cpu=1.0, host_warning=off, host_critical=off, host_emergency=off)
    async with inside(tmp_path, "stay", health=health) as run:
        changed = await run.wait(HealthChanged)
        assert changed.path == ("guardian",) and (changed.old.value, changed.new.value) in (
            ("healthy", "degraded"),
            ("healthy", "unhealthy"),
        )
        assert any(reason.startswith("memory ") and reason.endswith("(limit 0%)") for reason in changed.reasons)
        degraded = await run.wait(DegradationChanged)
        assert degraded.reason.startswith("memory ")
        assert run.ledger.no_more_agents() == degraded.reason
        await eventually(lambda: run.ledger.metrics is not None and run.ledger.metrics.leaves, 20, what="a look at the leaf")
        metrics = run.ledger.metrics
        assert metrics is not None and metrics.memory_total_bytes and [leaf.name for leaf in metrics.leaves] == ["actor"]
        control = GuardianControl(run.ledger)
        told = await control.methods()["health"].function()
        facts, verdict = control.facts(), run.ledger.verdict
    assert verdict is not None
    bad = verdict.health.value
    assert (told["health"], told["memory"], told["reasons"]) == (bad, None, list(verdict.reasons)) and bad != "healthy"
    assert told["words"][:2] == [f"the host is {bad}", verdict.reasons[0]] and any(line.startswith("actor: ") for line in told["words"])
    (about,) = json.loads(json.dumps(told["metrics"]))["leaves"]
    assert about["threads"] >= 1 and about["memory_bytes"] > 0 and about["uptime"] > 0 and 0 <= told["seconds_ago"] < 20
    assert facts["host"] == {key: told[key] for key in ("health", "memory", "reasons")}
    assert facts["notes"][-1].startswith(f"the host is {bad}: memory ")


def test_every_limit_is_the_configured_one() -> None:
    """Each key of ``[health]`` arrives where it is judged; levels that are the wrong way round on this host give way to the worse one."""
    config = HealthConfig(10.0, 0.1, 0.2, 0.3, Size(amount_bytes=4), 0.5, 0.6, Size(ratio=0.5), Size(ratio=0.25), Size(amount_bytes=10))
    assert limits_of(config) == HealthLimits(cpu=0.1, memory=0.2, disk=0.3, disk_free_bytes=4, open_files=0.5, threads=0.6)
    assert host_limits(config, 1000) == HostLimits(500, 250, 10)
    assert host_limits(config, 16) == HostLimits(10, 10, 10)
    assert host_limits(config, None) == HostLimits(10, 10, 10)
    off = Size(amount_bytes=0)
    assert host_limits(HealthConfig(host_warning=off, host_critical=off, host_emergency=off), 1000) is None


async def test_the_host_worker_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is restarted by itself: nothing depends on it, and the memory of the leaf is watched on."""
    from workers.health import looks

    failures = [ZeroDivisionError("nobody thought of that")]

    def broken(self: object) -> object:
        if failures:
            raise failures.pop()
        return HostSeen()

    monkeypatch.setattr(looks.Looks, "memory", broken)
    async with inside(tmp_path, "stay", health=ALWAYS) as run:
        ended = await eventually(lambda: [one for one in run.records if one.event.name == "child_exited"], 20)
        assert ended[0].event.path[-1] == "host" and "nobody thought" in str(ended[0].event.as_data())
        await eventually(lambda: run.ledger.metrics is not None, 20)
    started = [record.event.path[-1] for record in run.records if record.event.name == "child_started"]
    assert started.count("host") == 2
    assert all(started.count(worker) == 1 for worker in ("probe", "health", "degradation", "leaf"))
