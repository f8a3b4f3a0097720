"""A leaf in an emergency is held until its state is captured, never longer than said, and never twice for the same emergency."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from workers.policy import effects as fx
from workers.policy.decide import (
    Event,
    Guard,
    LeafExited,
    LeafStarted,
    Policy,
    Prepared,
    RestartAdmitted,
    RestartBroken,
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
from workers.policy.pressure import Thresholds

MIB = 1 << 20
LIMITS = Thresholds(100 * MIB, 200 * MIB, 300 * MIB, leave_ratio=0.1)
POLICY = Policy(critical_samples=3, critical_grace=60.0, hold_for=2.0, host_reserve=1000 * MIB)


class Leaf:
    """Feeds events to a guard and keeps what it asks for."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.guard: Guard = watch(policy, LIMITS)
        self.now = 0.0
        self.send(LeafStarted(1))

    def send(self, event: Event, *, after: float = 0.1) -> list[fx.Effect]:
        self.now += after
        self.guard, effects = step(self.guard, event, self.now)
        return list(effects)

    def sample(self, mib: int, *, held: bool = False, available: int | None = None, after: float = 0.1) -> list[fx.Effect]:
        return self.send(Sampled(mib * MIB, self.guard.generation or 0, held, None if available is None else available * MIB), after=after)


def kinds(effects: list[fx.Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def test_an_emergency_is_held_before_its_restart_is_asked_for() -> None:
    """Hold, then the restart, which captures."""
    leaf = Leaf()
    assert kinds(leaf.sample(310)) == ["LevelChanged", "ThresholdExceeded", "Hold", "Restart"]
    assert leaf.guard.holding.until == leaf.now + 2.0


@pytest.mark.parametrize("answer", [RestartRefused("no"), RestartRefused("no", 900.0), RestartPostponed(900.0)], ids=repr)
def test_who_was_refused_before_the_emergency_is_captured_in_it(answer: Event) -> None:
    """Restarts were refused while it was critical, and it was captured at warning: what has come since is captured while it is held."""
    leaf = Leaf()
    leaf.sample(150)
    leaf.send(Prepared(True))
    for _ in range(3):
        leaf.sample(250)
    leaf.send(answer)
    emergency = leaf.sample(310)
    assert [kind for kind in kinds(emergency) if kind != "Degrade"] == ["LevelChanged", "ThresholdExceeded", "Hold", "Prepare"]
    assert leaf.sample(320) == []
    assert leaf.send(Prepared(True)) == [fx.Release("its state was captured")]
    assert leaf.sample(330) == []


def test_nothing_less_than_an_emergency_is_held() -> None:
    """A critical leaf may go on with its turn."""
    leaf = Leaf()
    assert "Hold" not in kinds([effect for _ in range(5) for effect in leaf.sample(250)])


def test_a_dry_run_holds_nothing() -> None:
    """It decides and reports, and never acts."""
    leaf = Leaf(attrs.evolve(POLICY, dry_run=True))
    assert "Hold" not in kinds(leaf.sample(310)) and next_wake(leaf.guard) is None


def test_a_hold_ends_with_the_life() -> None:
    """The new one is not held, and nobody releases what is gone."""
    leaf = Leaf()
    leaf.sample(310)
    leaf.send(RestartAdmitted(1))
    assert leaf.send(LeafExited(1)) == []
    assert leaf.send(LeafStarted(2)) + leaf.send(RestartDone(2)) == []
    assert leaf.guard.holding.until is None and not leaf.guard.holding.spent
    assert kinds(leaf.sample(50)) == ["LevelChanged", "Completed"]


def test_a_capture_that_takes_too_long_does_not_prolong_it() -> None:
    """It is released by the time that was said, though nothing else happens."""
    leaf = Leaf()
    leaf.sample(310)
    leaf.send(RestartAdmitted(1))
    admitted = leaf.now
    assert next_wake(leaf.guard) == admitted + 2.0
    assert leaf.send(Tick(), after=1.9) == []
    assert leaf.send(Tick()) == [fx.Release("it was held for 2 s")]
    assert kinds(leaf.sample(320)) == [] and next_wake(leaf.guard) is None


def test_one_that_may_not_be_restarted_is_captured_and_goes_on() -> None:
    """It was prepared for at warning already; the emergency is captured all the same, and then it is released."""
    leaf = Leaf()
    assert "Prepare" in kinds(leaf.sample(150))
    leaf.send(Prepared(ok=True))
    assert kinds(leaf.sample(310))[-2:] == ["Hold", "Restart"]
    assert kinds(leaf.send(RestartRefused("the budget is spent", 100.0))) == ["Refused", "Degrade", "Prepare"]
    assert leaf.send(Prepared(ok=True)) == [fx.Release("its state was captured")]
    assert leaf.sample(330) == []


def test_one_whose_restart_has_to_wait_is_captured_and_goes_on() -> None:
    """A cooldown is longer than anybody should be held."""
    leaf = Leaf()
    leaf.sample(310)
    assert kinds(leaf.send(RestartPostponed(30.0))) == ["Prepare"]
    assert leaf.send(Prepared(ok=False)) == [fx.Release("its state could not be captured")]
    assert kinds(leaf.sample(330, after=31.0)) == ["Restart"]


def test_falling_below_emergency_releases() -> None:
    """Somebody else has freed what it held."""
    leaf = Leaf()
    leaf.sample(310)
    leaf.send(RestartRefused("no", 100.0))
    assert fx.Release("its memory is below emergency") in leaf.sample(250)
    assert kinds(leaf.sample(310))[-2:] == ["Hold", "Prepare"]  # and the next emergency is another one


def test_one_that_the_kernel_paused_without_an_emergency_goes_on() -> None:
    """At its limit with shared memory, which does not count."""
    assert Leaf().sample(50, held=True) == [fx.Release("its memory is below emergency")]


def test_one_that_was_held_before_is_not_left_paused() -> None:
    """It runs into its limit again after its release."""
    leaf = Leaf()
    leaf.sample(310)
    leaf.send(RestartRefused("no", 100.0))
    leaf.send(Tick(), after=2.0)
    assert leaf.sample(350, held=True) == [fx.Release("it was held before")]


def test_one_that_may_not_be_restarted_is_stopped_before_the_host_runs_out() -> None:
    """Once, and only when the host is short; unknown is not short."""
    leaf = Leaf()
    leaf.sample(310)
    leaf.send(RestartRefused("the circuit is open", None))
    leaf.send(Tick(), after=2.0)
    assert leaf.sample(320, available=1001) == [] == leaf.sample(330)
    reason = "the host has 999 MiB of memory left, less than its reserve of 1000 MiB"
    assert leaf.sample(340, available=999) == [fx.Stop(reason)]
    assert leaf.sample(350, available=998) == []


def test_one_that_may_be_restarted_is_not_stopped() -> None:
    """Its restart is under way, and gives back the same."""
    leaf = Leaf()
    assert "Stop" not in kinds(leaf.sample(310, available=1))
    leaf.send(RestartAdmitted(1))
    assert "Stop" not in kinds(leaf.sample(320, available=1))


class Holds(RuleBasedStateMachine):
    """In every order of events: a hold is followed by a release or the end of the life, within its time once somebody looks."""

    @initialize(hold_for=st.sampled_from([0.0, 2.0]))
    def begin(self, hold_for: float) -> None:
        self.leaf = Leaf(attrs.evolve(POLICY, hold_for=hold_for))
        self.generation, self.held = 1, False

    def take(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, fx.Hold):
                assert not self.held
                self.held = True
            elif isinstance(effect, fx.Release):
                self.held = False

    @rule(
        mib=st.sampled_from([50, 150, 250, 310]), held=st.booleans(), after=st.floats(0.01, 3.0), available=st.sampled_from([None, 1, 2000])
    )
    def sample(self, mib: int, held: bool, after: float, available: int | None) -> None:
        self.take(self.leaf.sample(mib, held=held, after=after, available=available))

    @rule(
        event=st.sampled_from(
            [
                RestartAdmitted(1),
                RestartRefused("no", 5.0),
                RestartRefused("no"),
                RestartPostponed(3.0),
                RestartBroken("x"),
                Prepared(True),
                Unread("x"),
            ]
        )
    )
    def hear(self, event: Event) -> None:
        self.take(self.leaf.send(event))

    @rule()
    def restart(self) -> None:
        self.take(self.leaf.send(LeafExited(self.generation)))
        assert self.leaf.guard.holding.until is None
        self.held = False
        self.generation += 1
        self.take(self.leaf.send(LeafStarted(self.generation)))
        self.take(self.leaf.send(RestartDone(self.generation)))

    @rule()
    def wait(self) -> None:
        at = next_wake(self.leaf.guard)
        if at is not None and at > self.leaf.now:
            self.take(self.leaf.send(Tick(), after=at - self.leaf.now))

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "leaf"):
            until = self.leaf.guard.holding.until
            assert (until is not None) == self.held
            assert until is None or (until > self.leaf.now and (next_wake(self.leaf.guard) or 0) <= until)


TestHolds = Holds.TestCase
TestHolds.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
