"""What a reload of the configuration changes in the decision about a leaf that runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import attrs
import pytest

from supervisor import ProcessId, Size, UsageError
from supervisor.leaf.command import Command
from workers.config import DegradationConfig, EncryptionConfig, GuardianRun, HealthConfig
from workers.control import GuardianControl
from workers.degradation.adapter import FileAdapter
from workers.event_config import ConfigurationChanged, ConfigurationRejected
from workers.guardian import policy_of
from workers.policy.pressure import Thresholds
from workers.reloading import reload

from ..support import eventually
from .guardian_inside import MIB, inside

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


async def test_a_reload_changes_every_key_of_the_decision(tmp_path: Path) -> None:
    """Thresholds and the whole policy; what the leaf has been through stays, and a dry run does not begin by it."""
    async with inside(tmp_path, "stay") as run:
        await eventually(lambda: run.leaf.samples > 0, 20)
        before, old = run.leaf.guard, run.ledger.run
        agent = old.agents[0]
        monitoring = attrs.evolve(
            old.config.monitoring,
            critical_samples=4,
            critical_grace=5.0,
            emergency_capture_timeout=6.0,
            host_reserve=Size(amount_bytes=7 * MIB),
            prediction_horizon=8.0,
            blind_restart_after=9.0,
        )
        restarts = attrs.evolve(agent.restart_policy, stability_period=10.0, ineffective_window=11.0)
        thresholds = Thresholds(300 * MIB, 400 * MIB, 500 * MIB)

        def again() -> GuardianRun:
            changed = attrs.evolve(agent, thresholds=thresholds, restart_policy=restarts)
            return attrs.evolve(old, config=attrs.evolve(old.config, monitoring=monitoring), agents=(changed,))

        run.ledger.run = attrs.evolve(old, again=again)
        told = await reload(run.ledger)

        await eventually(lambda: run.leaf.guard.policy != before.policy, 20)
        policy = run.leaf.guard.policy
        assert policy == policy_of(again(), again().agents[0])
        assert (policy.critical_samples, policy.critical_grace, policy.hold_for, policy.host_reserve) == (4, 5.0, 6.0, 7 * MIB)
        assert (policy.prediction_horizon, policy.blind_restart_after) == (8.0, 9.0)
        assert (policy.stability_period, policy.ineffective_window, policy.dry_run) == (10.0, 11.0, False)
        assert run.leaf.guard.pressure.thresholds == thresholds
        assert run.leaf.guard.generation == before.generation
        assert {"monitoring.blind_restart_after", "actor: restart.ineffective_window"} <= set(told["changed"])
        assert run.of(ConfigurationChanged)


async def test_a_reload_says_of_each_key_from_when_on_it_counts(tmp_path: Path) -> None:
    """What was made once for the whole run stays as it is, is named, and is named again by the next reload; the rest is in effect."""
    async with inside(tmp_path, "stay") as run:
        old, leaf = run.ledger.run, run.leaf
        agent = old.agents[0]
        changed = attrs.evolve(agent, degradation=DegradationConfig(7.0, "SIGUSR1"))
        health = HealthConfig(interval=77.0, cpu=0.5)
        config = attrs.evolve(old.config, health=health, encryption=EncryptionConfig("keyring"))
        wanted = attrs.evolve(old, config=config, agents=(changed,))
        run.ledger.run = attrs.evolve(old, again=lambda: wanted)
        for now in (["health.cpu", "actor: degradation.mode_cooldown"], []):
            told = await reload(run.ledger)
            assert (told["changed"], told["next_life"]) == (now, [])
            assert sorted(told["next_run"]) == ["actor: degradation.signal", "encryption.key", "health.interval"]
        assert leaf.agent.degradation == DegradationConfig(7.0, "")
        assert run.ledger.run.config.health == attrs.evolve(health, interval=old.config.health.interval)
        assert run.ledger.run.config.encryption == EncryptionConfig()


async def test_a_reload_leaves_a_leaf_what_it_hears_its_mode_by(tmp_path: Path) -> None:
    """The next life is told of the mode file, and the new command of what it was configured."""
    process = ProcessId(1, 0)
    async with inside(tmp_path, "stay") as run:
        old, leaf = run.ledger.run, run.leaf
        agent = old.agents[0]
        leaf.adapter = FileAdapter(tmp_path / "mode", lambda: process)
        changed = attrs.evolve(agent, command=attrs.evolve(agent.command, env={"OWN": "1"}))
        run.ledger.run = attrs.evolve(old, again=lambda: attrs.evolve(old, agents=(changed,)))
        told = await reload(run.ledger)
        assert told["next_life"] == ["actor: command.env"]
        spec = run.ledger.above(leaf).get_childspec("leaf")
        assert isinstance(spec.start, Command)
        assert spec.start.env == {"MEMORY_GUARDIAN_MODE_FILE": str(tmp_path / "mode"), "OWN": "1"}


async def test_a_reload_waits_for_nobody(tmp_path: Path) -> None:
    """What has been put in the place of the file, and would never end, is refused, and the last good configuration stays."""
    os.mkfifo(tmp_path / "guardian.toml")
    async with inside(tmp_path, "stay") as run:
        config = run.ledger.run = attrs.evolve(
            run.ledger.run, file=str(tmp_path / "guardian.toml"), again=lambda: pytest.fail("it was read")
        )
        with pytest.raises(UsageError, match="the configuration file is no regular file"):
            await reload(run.ledger)
        assert run.ledger.run is config and len(run.of(ConfigurationRejected)) == 1


async def test_reloads_come_one_after_the_other(tmp_path: Path) -> None:
    """A second one begins when all of the first is in effect, and the latest reading stays."""
    async with inside(tmp_path, "stay", others={"other": ("stay",)}) as run:
        old, before = run.ledger.run, list[int]()

        def again() -> GuardianRun:
            before.append(len(run.of(ConfigurationChanged)))
            thresholds = Thresholds(300 * MIB, (400 + len(before)) * MIB, 500 * MIB)
            return attrs.evolve(old, agents=tuple(attrs.evolve(agent, thresholds=thresholds) for agent in old.agents))

        run.ledger.run = attrs.evolve(old, again=again)
        asked = GuardianControl(run.ledger).methods()["reload"]

        async def reloaded() -> None:
            await asked.function()

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(reloaded)
        assert before == [0, 1]
        assert [leaf.agent.thresholds.critical_bytes for leaf in run.ledger.leaves] == [402 * MIB] * 2
