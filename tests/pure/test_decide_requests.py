"""What somebody asks of the decision about a leaf: other thresholds, another policy."""

from __future__ import annotations

import attrs

from workers.policy.decide import Reconfigured
from workers.policy.pressure import MemoryState, Thresholds

from .test_decide import MIB, Leaf, kinds


def test_new_thresholds_judge_the_next_sample() -> None:
    """Nothing is said or done before; what is known of the leaf stays."""
    leaf = Leaf()
    leaf.sample(90)
    assert leaf.send(Reconfigured(Thresholds(50 * MIB, 60 * MIB, 80 * MIB))) == []
    assert leaf.guard.level.rank == 0 and leaf.guard.pressure.peak_bytes == 90 * MIB
    assert kinds(leaf.sample(70)) == ["LevelChanged", "ThresholdExceeded", "Prepare"]
    assert leaf.guard.level is MemoryState.CRITICAL


def test_a_new_policy_decides_from_the_next_event_on() -> None:
    """Every key of it, and the thresholds stay as they are."""
    leaf = Leaf()
    thresholds = leaf.guard.pressure.thresholds
    policy = attrs.evolve(
        leaf.guard.policy,
        critical_samples=1,
        critical_grace=0.0,
        hold_for=3.0,
        host_reserve=MIB,
        blind_restart_after=7.0,
        stability_period=5.0,
        ineffective_window=60.0,
        prediction_horizon=0.0,
    )
    assert leaf.send(Reconfigured(policy=policy)) == []
    assert leaf.guard.policy == policy
    assert leaf.guard.pressure.thresholds == thresholds
    assert kinds(leaf.sample(250))[-1] == "Restart"


def test_new_thresholds_leave_the_policy_alone() -> None:
    """One without the other."""
    leaf = Leaf()
    policy = leaf.guard.policy
    leaf.send(Reconfigured(Thresholds(50 * MIB, 60 * MIB, 80 * MIB)))
    assert leaf.guard.policy == policy
