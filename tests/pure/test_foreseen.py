"""The decision about a leaf whose memory is foreseen to be critical: what is done early, and what never is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulated import GROWING, STEADY, trace
from workers.policy import effects as fx
from workers.policy.decide import (
    BROKEN_PAUSE,
    Event,
    IdleChanged,
    LeafExited,
    LeafStarted,
    Policy,
    RestartAdmitted,
    RestartBroken,
    RestartDone,
    Sampled,
    Tick,
    Unread,
    next_wake,
    step,
    watch,
)
from workers.policy.outlook import SUSTAINED, Outlook, in_words, look_ahead, roughly
from workers.policy.pressure import LEVELS, Pressure, Thresholds
from workers.policy.pressure import step as feel
from workers.policy.trend import Forecast

NORMAL, WARNING, CRITICAL, EMERGENCY = LEVELS
MIB = 1024 * 1024
LIMITS = Thresholds(100 * MIB, 200 * MIB, 300 * MIB)


class Leaf:
    """Feeds a guard a sample every five seconds."""

    def __init__(self, policy: Policy | None = None, limits: Thresholds = LIMITS) -> None:
        self.policy = policy or Policy(prediction_horizon=60.0)
        self.generation, self.now = 1, 0.0
        self.guard = watch(self.policy, limits)
        self.send(LeafStarted(1))

    def send(self, event: Event) -> list[fx.Effect]:
        self.guard, effects = step(self.guard, event, self.now)
        return list(effects)

    def run(self, total: Callable[[float], float], until: float) -> Iterator[tuple[float, fx.Effect]]:
        """Samples of `total` (MiB by seconds), up to `until`."""
        while self.now < until:
            self.now += 5.0
            for effect in self.send(Sampled(int(total(self.now) * MIB), self.generation)):
                yield self.now, effect


def line(at: float) -> float:
    """Warning at 800 s, critical at 1800 s, emergency at 2800 s."""
    return 20 + at / 10


def of(kind: type[fx.Effect], told: Iterator[tuple[float, fx.Effect]]) -> list[tuple[float, fx.Effect]]:
    return [(at, effect) for at, effect in told if isinstance(effect, kind)]


def test_an_idle_leaf_is_restarted_before_it_is_critical() -> None:
    """At warning, when critical comes within the horizon by several forecasts in a row; the reason says when and how fast."""
    leaf = Leaf()
    ((at, restart),) = of(fx.Restart, leaf.run(line, 1790))

    assert 1800 - 60 <= at <= 1800 - 60 + SUSTAINED + 10
    assert isinstance(restart, fx.Restart)
    assert (restart.urgent, restart.level) == (False, WARNING)
    assert restart.reason == "memory is at 195.5 MiB, warning (100.0 MiB): reaches critical in about 40 s (+0.1 MiB/s)"


def test_without_a_horizon_nothing_is_foreseen() -> None:
    """Horizon 0 turns it off: the same leaf is left alone until it has been critical for long enough."""
    leaf = Leaf(Policy(prediction_horizon=0.0))
    ((at, restart),) = of(fx.Restart, leaf.run(line, 1900))

    assert (at, leaf.guard.outlook) == (1810, Outlook())
    assert isinstance(restart, fx.Restart) and restart.reason.endswith("critical (200.0 MiB) over 3 samples")


def test_at_level_normal_it_is_prepared_for_and_no_more() -> None:
    """With a warning that is close to critical, the capture comes while the level is normal, once; the restart waits for warning."""
    leaf = Leaf(limits=Thresholds(198 * MIB, 200 * MIB, 300 * MIB))
    told = [(at, effect) for at, effect in leaf.run(line, 1795) if isinstance(effect, fx.Prepare | fx.Restart)]

    (first, prepare), (second, restart) = told
    assert isinstance(prepare, fx.Prepare)
    assert prepare.reason.startswith("memory is at 195.5 MiB, normal; reaches critical in about ")
    assert isinstance(restart, fx.Restart) and restart.level is WARNING
    assert first < 1780 <= second


def test_a_busy_leaf_is_restarted_between_turns() -> None:
    """What is foreseen waits for the end of the turn, and for the grace at the longest, as a sustained critical does."""
    leaf = Leaf()
    list(leaf.run(line, 1700))
    leaf.send(IdleChanged(idle=False))
    assert of(fx.Restart, leaf.run(line, 1780)) == []
    due = leaf.guard.due_since
    assert due is not None and next_wake(leaf.guard) == due + leaf.policy.critical_grace
    waiting = leaf.guard
    assert [type(effect) for effect in leaf.send(IdleChanged(idle=True))] == [fx.Restart]
    leaf.guard, leaf.now = waiting, due + leaf.policy.critical_grace
    assert [type(effect) for effect in leaf.send(Tick())] == [fx.Restart]


def test_a_forecast_that_no_longer_holds_takes_its_restart_back() -> None:
    """Memory that fell while the leaf was busy is no reason any more when its turn ends."""
    leaf = Leaf()
    list(leaf.run(line, 1700))
    leaf.send(IdleChanged(idle=False))
    list(leaf.run(line, 1780))
    assert leaf.guard.due_since is not None
    list(leaf.run(lambda at: 130, 1800))
    assert leaf.guard.due_since is None
    assert leaf.send(IdleChanged(idle=True)) == []


def test_a_foreseen_emergency_does_not_wait_for_more_samples() -> None:
    """A leaf that is critical and will be in an emergency soon is restarted before the samples that critical needs are there."""
    leaf = Leaf(Policy(critical_samples=10_000, prediction_horizon=60.0, dry_run=True))
    told = of(fx.WouldRestart, leaf.run(line, 2790))

    (early, foretold), (late, soon) = told
    assert isinstance(foretold, fx.WouldRestart) and isinstance(soon, fx.WouldRestart)
    assert early < 1800 < 2735 <= late
    assert soon.reason.startswith("memory is at ") and ", critical (200.0 MiB): reaches emergency in about " in soon.reason


def test_a_dry_run_says_once_that_it_is_foreseen_and_once_that_it_is_so() -> None:
    """It neither prepares nor restarts, and does not repeat itself."""
    leaf = Leaf(Policy(prediction_horizon=60.0, dry_run=True))
    told = [(at, effect) for at, effect in leaf.run(line, 2500) if not isinstance(effect, fx.LevelChanged | fx.ThresholdExceeded)]

    assert [type(effect) for _, effect in told] == [fx.WouldRestart, fx.WouldRestart]
    assert [at < 1800 for at, _ in told] == [True, False]


def test_a_new_life_is_foreseen_nothing_of() -> None:
    """Its trend begins anew: the same growth, restarts nothing for its first twelve minutes."""
    leaf = Leaf()
    list(leaf.run(line, 1790))
    assert leaf.guard.is_under_way
    for event in (RestartAdmitted(1), LeafExited(1), LeafStarted(2), RestartDone(2)):
        leaf.send(event)
    assert leaf.guard.outlook == Outlook()
    leaf.generation, began = 2, leaf.now
    fast = leaf.run(lambda at: 150 + (at - began) / 16, began + 710)
    assert of(fx.Restart, fast) == []
    assert leaf.guard.outlook.forecast is None


def test_a_broken_restart_is_foreseen_anew() -> None:
    """After a restart that failed, several forecasts are needed again, not one."""
    leaf = Leaf()
    list(leaf.run(line, 1765))
    assert leaf.guard.is_under_way
    leaf.send(RestartBroken("start failed"))
    ((at, _),) = of(fx.Restart, leaf.run(line, 1795))
    assert at >= 1765 + SUSTAINED > 1765 + BROKEN_PAUSE


def test_unknown_samples_neither_count_nor_break_the_forecast() -> None:
    """Blind for a moment, the guardian forgets nothing and adds nothing."""
    leaf = Leaf()
    list(leaf.run(line, 1750))
    before = leaf.guard.outlook
    leaf.send(Unread("gone"))
    assert leaf.guard.outlook == before
    assert len(of(fx.Restart, leaf.run(line, 1790))) == 1


@pytest.mark.parametrize("family", STEADY)
def test_what_does_not_grow_is_never_acted_upon(family: str) -> None:
    """Plateaus, waves, saw teeth, warm-ups, steps: with critical a little above the highest total, nothing is foreseen."""
    for number in range(100, 104):
        samples = trace(family, number).samples
        peak = max(total for _, total in samples)
        pressure, outlook = Pressure(Thresholds(peak * 8 // 10, peak * 21 // 20, peak * 2)), Outlook()
        for at, total in samples:
            pressure, _ = feel(pressure, total, at)
            outlook = look_ahead(outlook, pressure, 120.0, at)
            assert not outlook.is_foreseen, f"{family} {number} at {at}"


@pytest.mark.parametrize("family", GROWING)
def test_what_grows_is_foreseen(family: str) -> None:
    """Of each family that grows, most are foreseen at least a minute ahead."""
    ahead = []
    for number in range(100, 104):
        samples = trace(family, number).samples
        low, high = samples[0][1], max(total for _, total in samples)
        critical = low + (high - low) * 85 // 100
        crossed = next(at for at, total in samples if total >= critical)
        pressure, outlook = Pressure(Thresholds(critical * 8 // 10, critical, critical * 2)), Outlook()
        for at, total in samples:
            if at >= crossed:
                break
            pressure, _ = feel(pressure, total, at)
            outlook = look_ahead(outlook, pressure, 120.0, at)
            if outlook.is_foreseen:
                ahead.append(crossed - at)
                break
    assert len([seconds for seconds in ahead if seconds >= 60]) >= 3, ahead


@given(
    st.lists(st.tuples(st.floats(min_value=0.1, max_value=30.0), st.integers(0, 150)), min_size=1, max_size=200), st.integers(0, 1 << 30)
)
def test_falling_memory_is_never_due(falls: list[tuple[float, int]], grown: int) -> None:
    """However it falls or stays, and however far above warning it is: due is only what is critical."""
    limits = Thresholds(1 * MIB, 2 << 30, 3 << 30)
    guard, now, total = watch(Policy(), limits), 0.0, grown
    guard, _ = step(guard, LeafStarted(1), now)
    for pause, fall in itertools.chain(falls, [(30.0, 0)] * 40):
        now += pause
        total = max(0, total - fall)
        guard, effects = step(guard, Sampled(total, 1), now)
        assert guard.due_since is None
        assert not [effect for effect in effects if isinstance(effect, fx.Restart)]


def outlook(seconds: float, rate_mib: float, confidence: float = 0.9) -> Outlook:
    return Outlook(level=CRITICAL, forecast=Forecast(200 * MIB, seconds, rate_mib * MIB, confidence))


def test_forecasts_are_told_in_words() -> None:
    """No more exactly than they are; one that is not confident is not told."""
    assert in_words(outlook(38.2, 12.34)) == "reaches critical in about 40 s (+12.3 MiB/s)"
    assert in_words(outlook(3.0, 0.05)) == "reaches critical at any moment (+3.0 MiB/min)"
    assert in_words(outlook(38.2, 12.34, 0.6)) == in_words(outlook(7 * 3600, 12.34)) == in_words(Outlook()) == ""
    assert [roughly(seconds) for seconds in (5, 89, 90, 5399, 5400, 10_000, 1e7)] == [
        "in about 10 s",
        "in about 90 s",
        "in about 2 min",
        "in about 90 min",
        "in about 2 h",
        "in about 3 h",
        "in about months",
    ]


def test_far_below_a_threshold_nothing_is_evaluated() -> None:
    """Where memory would have to double, there is no forecast; from half of the threshold on there is."""
    leaf = Leaf()
    list(leaf.run(lambda at: at / 10, 995))
    assert leaf.guard.outlook.forecast is None
    list(leaf.run(lambda at: at / 10, 1000))
    assert leaf.guard.outlook.forecast is not None


def test_the_next_level_is_looked_at_with_a_fresh_eye() -> None:
    """Even with a horizon that reaches both, the confirmation of emergency begins when the leaf is critical."""
    leaf = Leaf(Policy(critical_samples=10_000, prediction_horizon=5000.0, dry_run=True))
    list(leaf.run(line, 1795))
    assert leaf.guard.outlook.since is not None and leaf.guard.outlook.since < 1100
    list(leaf.run(line, 1800))
    assert (leaf.guard.outlook.level, leaf.guard.outlook.since) == (EMERGENCY, 1800)


def test_another_level_is_confirmed_anew() -> None:
    """What was foreseen of critical does not count for emergency; in an emergency nothing is left to foresee."""
    leaf = Leaf(Policy(critical_samples=10_000, prediction_horizon=60.0))
    leaf.send(IdleChanged(idle=False))
    list(leaf.run(line, 1795))
    assert leaf.guard.outlook.is_foreseen
    list(leaf.run(line, 1800))
    assert leaf.guard.level is CRITICAL and leaf.guard.outlook.level is EMERGENCY
    assert not leaf.guard.outlook.is_foreseen
    list(leaf.run(line, 2800))
    assert (leaf.guard.level, leaf.guard.outlook.level, leaf.guard.outlook.forecast) == (EMERGENCY, None, None)
