"""What is done about a leaf whose memory cannot be read."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from workers.policy import effects as fx
from workers.policy.decide import (
    Event,
    IdleChanged,
    LeafExited,
    LeafStarted,
    Phase,
    Policy,
    RestartAdmitted,
    RestartDone,
    RestartPostponed,
    RestartRefused,
    Sampled,
    Tick,
    Unread,
    next_wake,
    step,
    watch,
)
from workers.policy.errors import InvalidPolicy
from workers.policy.pressure import MemoryState, Thresholds

MIB = 1 << 20
LIMITS = Thresholds(100 * MIB, 200 * MIB, 300 * MIB)
POLICY = Policy(critical_grace=60.0, blind_restart_after=100.0)


class Leaf:
    """Feeds events to a guard and keeps what it asks for."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.guard = watch(policy, LIMITS)
        self.now = 0.0
        self.send(LeafStarted(1))

    def send(self, event: Event, *, after: float = 1.0) -> list[fx.Effect]:
        self.now += after
        self.guard, effects = step(self.guard, event, self.now)
        return list(effects)


REASON = "memory could not be read for 100 s"


def test_it_is_restarted_after_the_time_that_was_said() -> None:
    """Counted from the first reading that failed, at an idle moment; how much it has is unknown, not zero."""
    leaf = Leaf()
    leaf.send(Sampled(50 * MIB, 1))
    assert leaf.send(Unread("no descriptors")) == [fx.Blinded("no descriptors")]
    since = leaf.now
    assert leaf.send(Unread("no descriptors")) == []
    assert next_wake(leaf.guard) == since + 100.0
    assert leaf.send(Tick(), after=98.0) == []
    assert leaf.send(Tick()) == [fx.Restart(REASON, False, MemoryState.NORMAL, None)]
    assert leaf.send(Unread("no descriptors")) == []


def test_by_default_it_is_not() -> None:
    """The user has to want it."""
    leaf = Leaf(Policy())
    leaf.send(Unread("x"))
    assert next_wake(leaf.guard) is None and leaf.send(Tick(), after=1e6) == []


def test_to_see_again_forgets_it() -> None:
    """The time begins anew with the next failure."""
    leaf = Leaf()
    leaf.send(Unread("x"))
    assert leaf.send(Sampled(50 * MIB, 1), after=99.0) == [fx.Sighted()]
    assert next_wake(leaf.guard) is None
    leaf.send(Unread("x"))
    assert next_wake(leaf.guard) == leaf.now + 100.0


def test_a_turn_is_waited_for() -> None:
    """But not for longer than the grace."""
    leaf = Leaf()
    leaf.send(IdleChanged(idle=False))
    leaf.send(Unread("x"))
    assert next_wake(leaf.guard) == leaf.now + 160.0
    assert leaf.send(Tick(), after=110.0) == []
    assert [type(effect) for effect in leaf.send(IdleChanged(idle=True))] == [fx.Restart]


def test_the_next_life_has_its_own_time() -> None:
    """It is as blind as the one before: ready is all that can be said of it, and the next restart comes as late as the first."""
    leaf = Leaf()
    leaf.send(Unread("x"))
    leaf.send(Tick(), after=100.0)
    leaf.send(RestartAdmitted(1))
    leaf.send(LeafExited(1))
    leaf.send(LeafStarted(2))
    started = leaf.now
    leaf.send(RestartDone(2))
    assert leaf.guard.phase is Phase.JUDGING
    assert leaf.send(Unread("x")) == [fx.Completed(None)]
    assert next_wake(leaf.guard) == started + 100.0
    assert [type(effect) for effect in leaf.send(Tick(), after=started + 100.0 - leaf.now)] == [fx.Restart]


def test_a_restart_for_memory_whose_first_reading_fails_is_judged_by_the_next() -> None:
    """One failure is not blindness for ever."""
    leaf = Leaf()
    leaf.send(Sampled(310 * MIB, 1))
    leaf.send(RestartAdmitted(1))
    leaf.send(LeafExited(1))
    leaf.send(LeafStarted(2))
    leaf.send(RestartDone(2))
    assert leaf.send(Unread("x")) == [fx.Blinded("x")]
    assert [type(effect) for effect in leaf.send(Sampled(50 * MIB, 2))] == [fx.Sighted, fx.LevelChanged, fx.Completed]


def test_a_restart_that_was_due_before_says_what_was_known() -> None:
    """It is for the memory that was seen, so it comes with that, whether it can be seen at this moment or not."""
    leaf = Leaf()
    for _ in range(3):
        leaf.send(Sampled(250 * MIB, 1))
    leaf.send(RestartPostponed(10.0))
    leaf.send(Unread("no descriptors"))
    (asked,) = leaf.send(Tick(), after=10.0)
    reason = "memory is at 250.0 MiB, critical (200.0 MiB) over 3 samples"
    assert asked == fx.Restart(reason, False, MemoryState.CRITICAL, 250 * MIB)


@pytest.mark.parametrize("answer", [RestartRefused("no", 30.0), RestartPostponed(30.0)])
def test_protection_has_the_last_word(answer: Event) -> None:
    """A refusal is kept until its time is over; one without a time until it can be seen again."""
    leaf = Leaf()
    leaf.send(Unread("x"))
    leaf.send(Tick(), after=100.0)
    leaf.send(answer)
    assert next_wake(leaf.guard) == leaf.now + 30.0
    assert [type(effect) for effect in leaf.send(Tick(), after=30.0)] == [fx.Restart]
    assert fx.Restart not in [type(effect) for effect in leaf.send(RestartRefused("never", None))]
    assert next_wake(leaf.guard) is None


def test_a_dry_run_says_so_once() -> None:
    """And does nothing."""
    leaf = Leaf(attrs.evolve(POLICY, dry_run=True))
    leaf.send(Unread("x"))
    assert leaf.send(Tick(), after=100.0) == [fx.WouldRestart(REASON, False, MemoryState.NORMAL, None)]
    assert leaf.send(Tick(), after=100.0) == [] and next_wake(leaf.guard) is None


def test_a_dry_run_still_says_what_it_sees_afterwards() -> None:
    """What it said about not seeing is no word about memory that is critical later."""
    leaf = Leaf(attrs.evolve(POLICY, dry_run=True))
    leaf.send(Sampled(50 * MIB, 1))
    leaf.send(Unread("no descriptors"))
    assert leaf.send(Tick(), after=100.0) == [fx.WouldRestart(REASON, False, MemoryState.NORMAL, None)]
    assert leaf.guard.reported is MemoryState.NORMAL
    leaf.send(Sampled(150 * MIB, 1))
    assert leaf.guard.reported is None
    leaf.send(Unread("no descriptors"))
    leaf.send(Tick(), after=100.0)
    told = [effect for _ in range(3) for effect in leaf.send(Sampled(250 * MIB, 1))]
    assert isinstance(told[-1], fx.WouldRestart) and told[-1].level is MemoryState.CRITICAL


def test_one_that_has_ended_is_not_restarted_for_it() -> None:
    """Nobody is there to be seen."""
    leaf = Leaf()
    leaf.send(Unread("x"))
    leaf.send(LeafExited(1))
    assert next_wake(leaf.guard) is None


@pytest.mark.parametrize("name", ["hold_for", "host_reserve", "blind_restart_after"])
def test_policies_are_checked(name: str) -> None:
    """Negative amounts and those without end are refused by name."""
    for value in (-1, float("inf"), float("nan")):
        given: dict[str, Any] = {name: value}
        with pytest.raises(InvalidPolicy, match=name):
            attrs.evolve(Policy(), **given)
