"""What somebody asks of the decision about a leaf: a mode, and other thresholds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.policy import effects as fx
from workers.policy.decide import ModeRequested, Reconfigured, RestartRefused
from workers.policy.errors import InvalidPolicy
from workers.policy.ladder import DegradationMode
from workers.policy.pressure import MemoryState, Thresholds

from .test_decide import MIB, Leaf, kinds

NORMAL, WARNING, READ_ONLY, EMERGENCY = DegradationMode


def test_a_mode_is_asked_for_and_taken_back() -> None:
    """It is on at once, says why, and asking again for what is says nothing."""
    leaf = Leaf()

    assert leaf.send(ModeRequested(READ_ONLY, "a pause")) == [fx.Degrade(READ_ONLY, "a pause", NORMAL)]
    assert leaf.send(ModeRequested(READ_ONLY, "again")) == []
    assert leaf.send(ModeRequested(WARNING, "less")) == [fx.Degrade(WARNING, "less", READ_ONLY)]
    assert leaf.send(ModeRequested(NORMAL, "enough")) == [fx.Degrade(NORMAL, "enough", WARNING)]
    assert leaf.send(ModeRequested(NORMAL, "again")) == []


def test_a_request_does_not_undo_what_others_ask_for() -> None:
    """A refused restart keeps its rung until memory is normal, and the request keeps its own after that."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.send(RestartRefused("spent", 100.0))
    assert leaf.guard.mode is READ_ONLY
    assert leaf.send(ModeRequested(NORMAL, "please")) == []
    leaf.send(ModeRequested(WARNING, "please"))
    assert leaf.guard.mode is READ_ONLY
    leaf.sample(10)
    assert leaf.guard.mode is WARNING


@given(st.lists(st.sampled_from(DegradationMode), min_size=1, max_size=8))
def test_the_last_request_counts(modes: list[DegradationMode]) -> None:
    """Whatever was asked for before; each change of mode is told once, from the mode that was."""
    leaf = Leaf()
    before = NORMAL
    for mode in modes:
        told = leaf.send(ModeRequested(mode, "so"))
        assert told == ([] if mode is before else [fx.Degrade(mode, "so", before)])
        before = mode
    assert leaf.guard.mode is modes[-1]


def test_new_thresholds_judge_the_next_sample() -> None:
    """Nothing is said or done before; what is known of the leaf stays."""
    leaf = Leaf()
    leaf.sample(90)
    assert leaf.send(Reconfigured(Thresholds(50 * MIB, 60 * MIB, 80 * MIB))) == []
    assert leaf.guard.level.rank == 0 and leaf.guard.pressure.peak_bytes == 90 * MIB
    assert kinds(leaf.sample(70)) == ["LevelChanged", "ThresholdExceeded", "Prepare"]
    assert leaf.guard.level is MemoryState.CRITICAL


def test_only_what_is_named_changes() -> None:
    """The number of samples and the grace, one without the other."""
    leaf = Leaf()
    thresholds = leaf.guard.pressure.thresholds
    leaf.send(Reconfigured(critical_samples=1))
    assert (leaf.guard.policy.critical_samples, leaf.guard.policy.critical_grace) == (1, 60.0)
    leaf.send(Reconfigured(critical_grace=0.0))
    assert (leaf.guard.policy.critical_samples, leaf.guard.policy.critical_grace) == (1, 0.0)
    assert leaf.guard.pressure.thresholds == thresholds
    assert kinds(leaf.sample(250))[-1] == "Restart"
    with pytest.raises(InvalidPolicy):
        leaf.send(Reconfigured(critical_samples=0))
