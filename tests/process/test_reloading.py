"""What a reload of the configuration changes in the decision about a leaf that runs."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import pytest

from supervisor import Size
from workers.config import GuardianRun
from workers.event_config import ConfigurationChanged
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
