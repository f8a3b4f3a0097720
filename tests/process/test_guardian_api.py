"""The guardian as a class: it runs a command or attaches to a process, and what it says of it is true. Real memory throughout."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from supervisor import ChildStarted, Event, InvalidField, Record, Size, UsageError
from workers import (
    Activity,
    AgentConfig,
    CommandConfig,
    DegradationMode,
    GracefulDegradation,
    Health,
    HealthConfig,
    HealthMonitor,
    LeafRestart,
    MemoryAwareRunner,
    MemoryGuardian,
    MemoryGuardianConfig,
    MemorySample,
    MemoryState,
    MemoryThresholds,
    MonitoringConfig,
    NotificationsConfig,
    ProcessState,
    RestartPolicy,
    RestartProtection,
)
from workers.event import (
    DegradationChanged,
    MonitoringStarted,
    MonitoringStopped,
    RestartCompleted,
    RestartRefused,
    StateCaptured,
)
from workers.health.holding import stop
from workers.policy import decide
from workers.state import codec
from workers.state.store import LARGEST

from ..support import eventually
from .guardian_inside import ACTOR, MIB, OFTEN
from .host_support import running

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="memory and processes as Linux has them")]


async def sampled(guardian: MemoryGuardian, least_mib: int = 0, members: int = 1) -> MemorySample:
    """Wait for a sample of so much, and of so many processes."""

    def fitting() -> MemorySample | None:
        usage = guardian.get_memory_usage()
        return usage if usage and usage.total_bytes >= least_mib * MIB and len(usage.processes) >= members else None

    sample = await eventually(fitting)
    assert sample is not None
    return sample


class Told(list[Record]):
    """The events of a guardian."""

    def of(self, kind: type[Event], *path: str) -> list[Any]:
        """Those of a type; of a path that ends so, if one is given."""
        events = [record.event for record in self if type(record.event) is kind]
        return [event for event in events if not path or event.path[-len(path) :] == path]


def argv(folder: Path, *script: str) -> tuple[str, ...]:
    """An actor that plays a script; see actor.py."""
    words = [word.replace("await:", f"await:{folder}/") for word in script]
    return (sys.executable, "-S", "-E", str(ACTOR), str(folder / "report"), *words)


def config(folder: Path, *script: str, **changes: Any) -> MemoryGuardianConfig:
    """A guardian that looks often, and acts from 60 MiB on."""
    command = CommandConfig(argv=argv(folder, *script), working_directory=str(folder), name="actor")
    made = MemoryGuardianConfig(
        command=command,
        state_dir=str(folder / "state"),
        thresholds=MemoryThresholds(*(Size(amount_bytes=size * MIB) for size in (40, 60, 900))),
        monitoring=MonitoringConfig() if not script else OFTEN,
        restart_policy=RestartPolicy(initial_cooldown=0.0, max_cooldown=0.0, graceful_timeout=5.0, force_kill_timeout=5.0),
        health=HealthConfig(interval=0.0),
        notifications=NotificationsConfig(desktop=False),
    )
    return attrs.evolve(made, **changes)


def with_command(made: MemoryGuardianConfig, **keys: Any) -> MemoryGuardianConfig:
    """The configuration with other keys of the command."""
    return attrs.evolve(made, command=attrs.evolve(made.command, **keys))


@contextmanager
def foreign(folder: Path, *script: str) -> Iterator[subprocess.Popen[bytes]]:
    """An actor that is this test's own: no guardian is its parent."""
    with subprocess.Popen(argv(folder, *script)) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_it_runs_a_command_and_restarts_it_for_its_memory(tmp_path: Path) -> None:
    """Its memory is what it holds with its children, it is captured and restarted at critical, and everything is counted."""
    told = Told()
    async with MemoryGuardian(config(tmp_path, "grow:20", "child:30", "await:go", "grow:80", "stay", "/", "stay")) as guardian:
        guardian.add_sink(told.append)
        assert (guardian.state, guardian.get_memory_usage(), guardian.process_id) == (ProcessState.NOT_STARTED, None, None)
        await guardian.start_monitoring()
        first = guardian.process_id
        assert first is not None and guardian.state is ProcessState.RUNNING
        async with guardian.subscribe() as events:
            sample = await sampled(guardian, 25, members=2)
            assert sample.processes[0].process.pid == first
            assert 25 * MIB <= sample.total_bytes < 60 * MIB
            (tmp_path / "go").touch()
            await eventually(lambda: told.of(RestartCompleted), 20)
            assert guardian.process_id not in (None, first)
            seen = [type(record.event) async for record in _until(events, RestartCompleted)]
            assert seen[-1] is RestartCompleted
        await eventually(lambda: guardian.memory_state is MemoryState.NORMAL)
        statistics = guardian.get_statistics()
        assert statistics["state"] == "running" and statistics["process_id"] == guardian.process_id
        assert statistics["restarts"] == {"total": 1, "controlled": 1}
        assert statistics["captures"] == len(told.of(StateCaptured)) >= 1
        assert await anyio.Path(statistics["state_file"]).is_file()
        assert Path(statistics["state_file"]).is_relative_to(tmp_path / "state")
        assert statistics["peak_bytes"] >= 60 * MIB > statistics["memory_bytes"]
        assert statistics["protection"]["attempts_left"] == 2 and statistics["protection"]["circuit"] == "closed"
        assert statistics["samples"] >= 2 and statistics["uptime"] > 0 and statistics["mode"] in [mode.value for mode in DegradationMode]
        assert guardian.memory_state is MemoryState.NORMAL
        await guardian.stop_monitoring()
        after = guardian.get_statistics()
        assert (guardian.state, after["process_id"], after["memory_bytes"]) == (ProcessState.STOPPED, None, None)
        assert after["restarts"]["total"] == 1 and after["uptime"] == guardian.get_statistics()["uptime"]
    assert not any(running(event.pid) for event in told.of(ChildStarted, "leaf"))


async def _until(events: Any, kind: type[Event]) -> Any:
    async for record in events:
        yield record
        if type(record.event) is kind:
            return


async def test_a_restart_that_is_asked_for(tmp_path: Path) -> None:
    """It is captured first and counts in the protection that was given, whose limit holds: the one too many is refused, with an event."""
    told, protection = (
        Told(),
        RestartProtection(RestartPolicy(max_attempts=2, initial_cooldown=0.0, max_cooldown=0.0, graceful_timeout=5.0)),
    )
    protection.record_attempt(True, "before")
    async with MemoryGuardian(config(tmp_path, "grow:5", "stay"), restart_protection=protection) as guardian:
        guardian.add_sink(told.append)
        await guardian.start_monitoring()
        await eventually(guardian.get_memory_usage)
        first = guardian.process_id
        assert await guardian.initiate_restart("a test")
        assert guardian.process_id not in (None, first)
        assert told.of(StateCaptured)[-1].reason == "a test"
        assert protection.can_restart()[0] is False
        await eventually(guardian.get_memory_usage)
        second = guardian.process_id
        assert not await guardian.initiate_restart("one too many")
        (refused,) = told.of(RestartRefused)
        assert refused.wanted == "one too many"
        assert guardian.process_id == second


async def test_a_restart_while_one_is_under_way(tmp_path: Path) -> None:
    """It is refused, with an event; and what was sampled of the life before is not told as the new one's."""
    told = Told()
    async with MemoryGuardian(config(tmp_path, "grow:5", "stay")) as guardian:
        guardian.add_sink(told.append)
        await guardian.start_monitoring()
        await sampled(guardian, least_mib=5)
        assert await guardian.initiate_restart("a test")
        usage = guardian.get_memory_usage()
        assert usage is None or usage.processes[0].process.pid == guardian.process_id
        await sampled(guardian, least_mib=5)
        leaf = guardian.monitoring.leaf
        leaf.guard = attrs.evolve(leaf.guard, phase=decide.Phase.ASKED)  # somebody else's, which does not end
        assert not await guardian.initiate_restart("meanwhile")
        (refused,) = told.of(RestartRefused)
        assert (refused.reason, refused.wanted) == ("a restart of it is under way already", "meanwhile")


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_process_of_somebody_else_is_never_signalled(tmp_path: Path, enabled: bool) -> None:
    """It is watched and captured; at critical a restart is refused as not ours, and it outlives the guardian."""
    told = Told()
    with foreign(tmp_path, "stubborn", "grow:20", "await:go", "grow:80", "stay") as process:
        async with MemoryGuardian(config(tmp_path, "exit:9", enabled=enabled)) as guardian:
            guardian.add_sink(told.append)
            await eventually((tmp_path / "report").exists)
            await guardian.start_monitoring(process.pid)
            assert guardian.process_id == process.pid
            if enabled:
                sample = await sampled(guardian, 15)
                assert (sample.processes[0].process.pid, sample.reader) == (process.pid, "procfs")
                (tmp_path / "go").touch()
                refused = (await eventually(lambda: told.of(RestartRefused), 20))[0]
                assert refused.reason.startswith(f"not_owned: process {process.pid} ") and "adopt" in refused.reason
                await eventually(lambda: told.of(StateCaptured), 20)
                captured = codec.decompress(await anyio.Path(told.of(StateCaptured)[0].file).read_bytes(), LARGEST)
                assert f'"pid":{process.pid},' in captured.decode().replace(" ", "")
            assert not await guardian.initiate_restart("a test")
            assert told.of(RestartRefused)[-1].reason.startswith("not_owned: ")
            (record,) = (tmp_path / "state").rglob("actor.json")
            assert json.loads(record.read_text())["members"] == [], "the next run would end it, if this one were killed"
            await guardian.stop_monitoring()
            assert running(process.pid)
            await guardian.start_monitoring(process.pid)
        assert running(process.pid) and process.poll() is None
        assert "asked" not in (tmp_path / "report").read_text()


async def test_its_emergency_stops_nothing(tmp_path: Path) -> None:
    """Also beyond emergency a process that is not ours is left alone, and stays watched."""
    told = Told()
    limits = MemoryThresholds(*(Size(amount_bytes=size * MIB) for size in (20, 30, 40)))
    with foreign(tmp_path, "stubborn", "grow:80", "stay") as process:
        async with MemoryGuardian(config(tmp_path, "exit:9", thresholds=limits)) as guardian:
            guardian.add_sink(told.append)
            await guardian.start_monitoring(process.pid)
            await eventually(lambda: told.of(RestartRefused), 20)
            samples = guardian.get_statistics()["samples"]
            await eventually(lambda: guardian.get_statistics()["samples"] > samples + 3)
            await stop(guardian.monitoring.known, guardian.monitoring.leaf, "the host is out of memory")
            assert guardian.memory_state is MemoryState.EMERGENCY and guardian.state is ProcessState.RUNNING
        assert running(process.pid) and "asked" not in (tmp_path / "report").read_text()


async def test_its_end_is_noticed(tmp_path: Path) -> None:
    """How it ended its parent knows: there is no exit code."""
    with foreign(tmp_path, "await:go", "exit:3") as process:
        async with MemoryGuardian(config(tmp_path, "exit:9")) as guardian:
            await guardian.start_monitoring(process.pid)
            (tmp_path / "go").touch()
            assert await guardian.wait() is None
            assert guardian.state is ProcessState.STOPPED
        assert process.wait() == 3


async def test_one_that_was_adopted_is_restarted_as_the_command(tmp_path: Path) -> None:
    """At critical it is ended in order, and the command is its next life, which ends with the guardian."""
    told = Told()
    (tmp_path / "ours").mkdir()
    ours = with_command(config(tmp_path), argv=argv(tmp_path / "ours", "stay"), adopt=True)
    with foreign(tmp_path, "grow:80", "stay") as process:
        async with MemoryGuardian(attrs.evolve(ours, monitoring=OFTEN)) as guardian:
            guardian.add_sink(told.append)
            await guardian.start_monitoring(process.pid)
            await eventually(lambda: told.of(RestartCompleted), 20)
            assert process.wait() == -signal.SIGTERM
            assert told.of(StateCaptured)
            life = guardian.process_id
            assert life is not None and running(life)
        assert not running(life)


async def test_one_that_was_adopted_ends_with_the_guardian(tmp_path: Path) -> None:
    """It is ours, so it is not left behind."""
    with foreign(tmp_path, "stay") as process:
        async with MemoryGuardian(with_command(config(tmp_path, "exit:9"), adopt=True)) as guardian:
            await guardian.start_monitoring(process.pid)
        assert process.wait() == -signal.SIGTERM


async def test_the_same_guardian_again(tmp_path: Path) -> None:
    """One life after another; what restart protection has spent is kept in the state directory."""
    async with MemoryGuardian(config(tmp_path, "stay")) as guardian:
        await guardian.start_monitoring()
        assert await guardian.initiate_restart("a test")
        with pytest.raises(RuntimeError, match="already"):
            await guardian.start_monitoring()
        await guardian.stop_monitoring()
        await guardian.start_monitoring()
        assert guardian.get_statistics()["protection"]["attempts_left"] == 2
        assert guardian.get_statistics()["restarts"]["total"] == 0


async def test_outside_of_its_block_it_does_nothing(tmp_path: Path) -> None:
    """What would need its tasks raises, before the block, after it, and before something is monitored."""
    guardian = MemoryGuardian(config(tmp_path, "stay"))
    with pytest.raises(RuntimeError, match="block"):
        await guardian.start_monitoring()
    with pytest.raises(RuntimeError, match="block"):
        await guardian.stop_monitoring()
    with pytest.raises(RuntimeError, match="block"):
        await guardian.wait()
    with pytest.raises(RuntimeError, match="block"):
        await guardian.initiate_restart("a test")
    async with guardian:
        await guardian.stop_monitoring()
        with pytest.raises(RuntimeError, match="start"):
            guardian.subscribe()
        with pytest.raises(RuntimeError, match="start"):
            guardian.get_statistics()
        with pytest.raises(RuntimeError, match="in use"):
            await guardian.__aenter__()
        await guardian.start_monitoring()
        with pytest.raises(InvalidField, match="reason"):
            await guardian.initiate_restart(" ")
    with pytest.raises(RuntimeError, match="block"):
        await guardian.start_monitoring()
    with pytest.raises(RuntimeError, match="block"):
        guardian.subscribe()


async def test_an_error_of_the_block_leaves_it_bare(tmp_path: Path) -> None:
    """The command is stopped in order, and so it is when the block is cancelled."""
    told = Told()
    for cancelled in (False, True):
        with anyio.CancelScope() as scope:
            try:
                async with MemoryGuardian(config(tmp_path, "stay")) as guardian:
                    guardian.add_sink(told.append)
                    await guardian.start_monitoring()
                    if cancelled:
                        scope.cancel()
                        await anyio.sleep_forever()
                    raise ZeroDivisionError
            except ZeroDivisionError:
                assert not cancelled
        assert scope.cancelled_caught is cancelled
        assert not any(running(event.pid) for event in told.of(ChildStarted, "leaf"))
    assert len(told.of(MonitoringStarted)) == len(told.of(MonitoringStopped)) == 2


async def test_what_cannot_be_started_is_said(tmp_path: Path) -> None:
    """A command that is not there, and a process that nobody can attach to, fail where they are asked for; the block goes on."""
    async with MemoryGuardian(with_command(config(tmp_path), argv=("/nowhere",))) as guardian:
        with pytest.raises(UsageError, match="'/nowhere' cannot be started"):
            await guardian.start_monitoring()
        assert guardian.state is ProcessState.FAILED
        for pid in (0, -1, True, "1"):
            with pytest.raises(InvalidField, match="pid"):
                await guardian.start_monitoring(pid)  # type: ignore[arg-type]


async def test_a_configuration_made_here_is_checked_as_a_file_is(tmp_path: Path) -> None:
    """All faults are in one error, each with its place; what is of the wrong kind is named."""
    gib = Size(amount_bytes=1 << 30)
    wrong = MemoryGuardianConfig(
        thresholds=MemoryThresholds(warning=gib, critical=gib),
        command=CommandConfig(working_directory="/nowhere"),
        state_dir="/dev/null/x",
    )
    with pytest.raises(UsageError) as raised:
        MemoryGuardian(wrong)
    assert {fault.place for fault in raised.value.faults} == {"thresholds.warning", "command.working_directory", "guardian.state_dir"}
    with pytest.raises(UsageError, match="expected a CommandConfig"):
        MemoryGuardian(MemoryGuardianConfig(command="claude"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"agents\[0\]: expected a AgentConfig"):
        MemoryGuardian(MemoryGuardianConfig(agents=("claude",)))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="agents: expected a tuple"):
        MemoryGuardian(MemoryGuardianConfig(agents=3))  # type: ignore[arg-type]
    agents = (AgentConfig(thresholds=MemoryThresholds(critical=gib, warning=gib)),)
    with pytest.raises(UsageError, match=r"agents\[0\].warning"):
        MemoryGuardian(MemoryGuardianConfig(agents=agents))
    with pytest.raises(UsageError, match="watches one command"):
        MemoryGuardian(MemoryGuardianConfig(agents=(AgentConfig(),)))
    wrong_kinds: list[dict[str, Any]] = [{"config": {}}, {"state_manager": object()}, {"restart_protection": RestartPolicy()}]
    for fields in wrong_kinds:
        with pytest.raises(InvalidField, match=next(iter(fields))):
            MemoryGuardian(**fields)
    await anyio.lowlevel.checkpoint()


async def test_a_mode_that_is_asked_for(tmp_path: Path) -> None:
    """The leaf's mode changes, with an event, and back; without a guardian it is a ladder of its own."""
    told, alone = Told(), GracefulDegradation()
    alone.apply_degradation(DegradationMode.READ_ONLY)
    modes = [alone.mode]
    assert not alone.permits(Activity.WRITE_TOOLS) and alone.permits(Activity.NEW_TURNS)
    alone.apply_degradation("normal")  # type: ignore[arg-type]
    modes.append(alone.mode)
    assert modes == [DegradationMode.READ_ONLY, DegradationMode.NORMAL]
    with pytest.raises(InvalidField, match="mode"):
        alone.apply_degradation("severe")  # type: ignore[arg-type]
    async with MemoryGuardian(config(tmp_path, "stay")) as guardian:
        guardian.add_sink(told.append)
        degradation = GracefulDegradation(guardian)
        with pytest.raises(RuntimeError):
            _ = degradation.mode
        await guardian.start_monitoring()
        degradation.apply_degradation(DegradationMode.READ_ONLY, "a test")
        await eventually(lambda: degradation.mode is DegradationMode.READ_ONLY)
        degradation.apply_degradation(DegradationMode.NORMAL)
        await eventually(lambda: degradation.mode is DegradationMode.NORMAL)
        assert [event.new for event in told.of(DegradationChanged)] == [DegradationMode.READ_ONLY, DegradationMode.NORMAL]


async def test_one_look_at_the_host(tmp_path: Path) -> None:
    """It has the disks that matter, and what is bad in two looks in a row is in the verdict with its reason."""
    monitor = HealthMonitor(config(tmp_path, health=HealthConfig(memory=1e-6)))
    first, second = await monitor.check(), await monitor.check()
    assert first.metrics.memory_total_bytes and first.metrics.disks and second.metrics.at > first.metrics.at
    assert second.health is not Health.HEALTHY and any("memory" in reason for reason in second.reasons)
    with pytest.raises(InvalidField, match="config"):
        HealthMonitor("strict")  # type: ignore[arg-type]


async def test_what_the_guardian_saw_of_the_host(tmp_path: Path) -> None:
    """The latest look, of the command as well; nothing before it, and nothing where nobody looks."""
    async with MemoryGuardian(config(tmp_path, "stay", health=HealthConfig(interval=0.05))) as guardian:
        assert guardian.get_health() is None
        await guardian.start_monitoring()
        report = await eventually(lambda: (seen := guardian.get_health()) and seen.metrics.leaves and seen, 20, what="a look at the leaf")
        assert report and report.health in Health and report.metrics.memory_total_bytes
        assert [(leaf.name, leaf.processes) for leaf in report.metrics.leaves] == [("actor", 1)]


async def test_a_command_to_its_end(tmp_path: Path) -> None:
    """Its exit code comes back, over a restart in between, and several run at once."""
    runner = MemoryAwareRunner(with_command(config(tmp_path, "grow:80", "stay", "/", "exit:7"), restart=LeafRestart.FAILURE))
    assert await runner.run("sh", "-c", "exit 0") == 0
    crash = MemoryAwareRunner(config(tmp_path, "grow:80", "stay", "/", "exit:7"))
    assert await crash.run() == 7
    assert (tmp_path / "report").read_text().count("leaf") == 2
