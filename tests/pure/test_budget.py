"""The restart budget: intensity, backoff and circuit behind one question."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.backoff import Backoff
from supervisor.core.breaker import CLOSED, Breaker, Circuit, CircuitState
from supervisor.core.budget import ADMITTED, FRESH, Admitted, Budget, Refused, Wait
from supervisor.core.intensity import EMPTY
from supervisor.core.spec import SupervisorFlags


def policy(**flags: Any) -> SupervisorFlags:
    return SupervisorFlags(**{"intensity": 2, "period": 10.0, **flags})


def spend(budget: Budget, flags: SupervisorFlags, *times: float) -> Budget:
    """Admitted attempts for the child `a`, one at each time."""
    for generation, now in enumerate(times, 2):
        budget, verdict = budget.admit("a", generation, flags, now)
        assert verdict is ADMITTED
    return budget


def test_it_admits_up_to_the_intensity_within_the_period() -> None:
    """Then it says what was spent, and when the oldest attempt no longer counts."""
    budget = spend(FRESH, policy(), 1.0, 4.0)

    refused = Refused("2 restarts within 10 s, 2 allowed", math.nextafter(11.0, math.inf))
    assert budget.verdict(policy(), 5.0) == refused
    assert budget.admit("b", 2, policy(), 5.0) == (budget, refused)
    assert budget.verdict(policy(), math.nextafter(11.0, math.inf)) == Admitted()
    assert policy(intensity=0).intensity == 0
    assert FRESH.verdict(policy(intensity=0), 0.0) == Refused("0 restarts within 10 s, 0 allowed", None)


def test_an_attempt_is_recorded_with_all_that_follows() -> None:
    """Window, streak, end of the cooldown, and the life that has to prove it."""
    flags = policy(backoff=Backoff(3.0, 2.0, 100.0))
    budget, verdict = FRESH.admit("a", 2, flags, 7.0)

    assert verdict is ADMITTED
    assert (list(budget.window.times), budget.streak, budget.ready_at, budget.circuit) == ([7.0], 1, 10.0, CLOSED)
    assert dict(budget.pending) == {"a": 2}
    later, _ = budget.admit("b", 5, flags, 20.0)
    assert (list(later.window.times), later.streak, later.ready_at) == ([20.0], 2, 26.0)
    assert dict(later.pending) == {"a": 2, "b": 5}


def test_without_backoff_there_is_no_cooldown() -> None:
    """A pause of nothing leaves the old end alone, and nothing is pending where nothing depends on it."""
    budget = spend(FRESH, policy(), 7.0)
    assert budget.ready_at == -math.inf
    assert len(budget.pending) == 0
    zero = spend(Budget(ready_at=3.0), policy(backoff=Backoff(0.0, 1.0, 5.0)), 7.0)
    assert zero.ready_at == 3.0
    assert dict(spend(FRESH, policy(breaker=Breaker()), 7.0).pending) == {"a": 2}


def test_the_jitter_is_passed_through() -> None:
    """The number places the cooldown; without one it is in the middle."""
    flags = policy(backoff=Backoff(10.0, 1.0, 100.0, 0.5))
    assert FRESH.admit("a", 2, flags, 0.0, 0.0)[0].ready_at == 5.0
    assert FRESH.admit("a", 2, flags, 0.0)[0].ready_at == 10.0


def test_inside_a_cooldown_it_waits() -> None:
    """Until its end, that moment excluded."""
    flags = policy(backoff=Backoff(3.0, 2.0, 100.0))
    budget = spend(FRESH, flags, 7.0)

    assert budget.verdict(flags, 9.9) == Wait(10.0)
    assert budget.verdict(flags, 10.0) is ADMITTED


def test_the_window_is_judged_at_the_end_of_the_cooldown() -> None:
    """Refused is only what would be refused then; else it waits."""
    flags = policy(intensity=1, period=5.0, backoff=Backoff(8.0, 1.0, 100.0))
    budget = spend(FRESH, flags, 0.0)
    assert budget.verdict(flags, 1.0) == Wait(8.0)

    longer = policy(intensity=1, period=9.0, backoff=Backoff(8.0, 1.0, 100.0))
    assert isinstance(budget.verdict(longer, 1.0), Refused)


def test_success_ends_the_streak_and_closes_the_circuit_but_gives_nothing_back() -> None:
    """What was spent within the window stays spent; of a stranger nothing is learned."""
    flags = policy(breaker=Breaker(3, 50.0))
    budget = attrs.evolve(spend(FRESH, flags, 1.0), circuit=Circuit(failures=2))

    assert budget.succeeded("b") is budget
    held = budget.succeeded("a")
    assert (held.streak, held.circuit, len(held.pending), held.window) == (0, CLOSED, 0, budget.window)
    assert held.succeeded("a") is held


def test_failures_open_the_circuit_and_the_circuit_replaces_the_window() -> None:
    """Open: refused until `reopens`; one trial then; its failure opens again, its success gives a full budget."""
    flags = policy(intensity=9, breaker=Breaker(2, 50.0))
    budget = spend(FRESH, flags, 1.0).failed("a", flags, 2.0)
    assert budget.circuit == Circuit(failures=1)
    assert list(budget.window.times) == [1.0]
    assert budget.failed("a", flags, 2.0) is budget
    budget = spend(budget, flags, 3.0).failed("a", flags, 4.0)
    assert budget.circuit == Circuit(failures=2, reopens=54.0)
    assert budget.window == EMPTY
    assert budget.verdict(flags, 53.9) == Refused("the circuit of the breaker is open after repeated failures", 54.0)

    trial = spend(budget, flags, 54.0)
    assert trial.verdict(flags, 60.0) == Refused("the one trial of the half-open breaker is under way", None)
    again = trial.failed("a", flags, 60.0)
    assert again.circuit == Circuit(failures=3, reopens=110.0)
    held = trial.succeeded("a")
    assert (held.circuit, held.window, len(held.pending)) == (CLOSED, EMPTY, 0)


def test_a_trial_ignores_the_window_but_not_the_cooldown() -> None:
    """Half-open admits one whatever the intensity is; a pause is a pause."""
    half_open = Budget(circuit=Circuit(failures=2, reopens=5.0), ready_at=8.0)
    flags = policy(intensity=0, breaker=Breaker())

    assert half_open.verdict(flags, 7.0) == Wait(8.0)
    assert half_open.verdict(flags, 8.0) is ADMITTED


def test_a_trial_makes_older_attempts_irrelevant() -> None:
    """Only its own life decides; and when the circuit opens, no older life can close it."""
    flags = policy(intensity=9, breaker=Breaker(2, 50.0))
    budget = spend(FRESH, flags, 1.0)
    budget, _ = budget.admit("b", 2, flags, 1.0)
    tripped = budget.tripped(flags, 2.0)
    assert tripped.circuit == Circuit(failures=0, reopens=52.0)
    assert (len(tripped.pending), tripped.window) == (0, EMPTY)
    assert tripped.tripped(flags, 3.0) is tripped
    half = attrs.evolve(tripped, pending=budget.pending)
    trial, _ = half.admit("a", 3, flags, 52.0)
    assert dict(trial.pending) == {"a": 3}

    opened = attrs.evolve(budget, circuit=Circuit(failures=1)).failed("a", flags, 5.0)
    assert len(opened.pending) == 0


def test_a_half_open_circuit_can_be_tripped_again() -> None:
    """With or without a trial; without a breaker there is nothing to trip."""
    flags = policy(breaker=Breaker(2, 50.0))
    half_open = Budget(circuit=Circuit(failures=2, reopens=5.0, trial=True))

    assert half_open.tripped(flags, 6.0).circuit == Circuit(failures=2, reopens=56.0)
    assert half_open.tripped(policy(), 6.0) is half_open


def test_without_a_breaker_a_failure_only_ends_the_suspense() -> None:
    """The streak goes on."""
    flags = policy(backoff=Backoff())
    budget = spend(FRESH, flags, 1.0)
    failed = budget.failed("a", flags, 2.0)

    assert (failed.circuit, failed.streak, failed.window, len(failed.pending)) == (CLOSED, 1, budget.window, 0)


def test_a_voided_attempt_gives_the_trial_back() -> None:
    """It is spent all the same; of a stranger nothing is learned."""
    flags = policy(breaker=Breaker(2, 50.0))
    trial = spend(Budget(circuit=Circuit(failures=2, reopens=5.0)), flags, 6.0)

    assert trial.voided("b") is trial
    voided = trial.voided("a")
    assert (voided.circuit, len(voided.pending)) == (Circuit(failures=2, reopens=5.0), 0)
    assert voided.verdict(flags, 6.0) is ADMITTED
    assert list(voided.window.times) == [6.0]


def test_a_new_policy_keeps_what_it_can_judge() -> None:
    """A backoff its cooldown and streak, a breaker its circuit, either of them the attempts; neither of them only what was spent."""
    budget = Budget(EMPTY.record(1.0), 3, 9.0, Circuit(failures=1), FRESH.pending.insert("a", 2))

    assert budget.under(policy(backoff=Backoff(), breaker=Breaker())) == budget
    assert budget.under(policy(backoff=Backoff())) == attrs.evolve(budget, circuit=CLOSED)
    assert budget.under(policy(breaker=Breaker())) == attrs.evolve(budget, ready_at=-math.inf)
    assert budget.under(policy()) == Budget(budget.window, 3)


def test_left() -> None:
    """Attempts that the window still admits; never less than none."""
    flags = policy()
    assert FRESH.left(flags, 0.0) == 2
    budget = spend(FRESH, flags, 1.0, 2.0)
    assert budget.left(flags, 2.0) == 0
    assert budget.left(flags, 11.5) == 1
    assert budget.left(policy(intensity=1), 2.0) == 0


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["admit", "admit", "succeeded", "failed", "voided", "tripped"]), st.sampled_from("ab"), st.floats(0, 30)),
    max_size=60,
)
POLICIES = st.builds(
    SupervisorFlags,
    intensity=st.integers(0, 4),
    period=st.sampled_from([1.0, 20.0]),
    backoff=st.none() | st.builds(Backoff, st.just(2.0), st.just(2.0), st.just(9.0), st.sampled_from([0.0, 0.5])),
    breaker=st.none() | st.builds(Breaker, st.integers(1, 3), st.sampled_from([5.0, 40.0])),
)


@given(POLICIES, OPERATIONS, st.floats(0, 1, exclude_max=True))
def test_any_history_keeps_the_promises(flags: SupervisorFlags, history: list[tuple[str, str, float]], u: float) -> None:
    """Never over the intensity while closed, cooldowns respected, one trial at a time, `until` always in the future."""
    budget, now, last = FRESH, 0.0, -math.inf
    for number, (what, id, seconds) in enumerate(history):
        now += seconds
        before = budget
        if what == "admit":
            closed = budget.circuit.state(now) is CircuitState.CLOSED
            budget, verdict = budget.admit(id, number, flags, now, u)
            match verdict:
                case Admitted():
                    assert not before.circuit.trial
                    assert not closed or budget.window.size <= flags.intensity
                    least = flags.backoff.initial * (1 - flags.backoff.jitter) if flags.backoff else 0.0
                    assert now >= last + least
                    last = now
                case Wait(until=until):
                    assert budget is before
                    assert now < until
                    assert not isinstance(budget.verdict(flags, until), Wait)
                case Refused(until=until):
                    assert budget is before
                    assert until is None or until > now
        elif what in ("succeeded", "voided"):
            budget = getattr(budget, what)(id)
        elif what == "failed":
            budget = budget.failed(id, flags, now)
        else:
            budget = budget.tripped(flags, now)
        assert budget.circuit.trial <= (budget.circuit.state(now) is CircuitState.HALF_OPEN)
        assert not budget.circuit.trial or len(budget.pending) == 1


@pytest.mark.parametrize("now", [0.0, 5.0])
def test_asking_changes_nothing(now: float) -> None:
    """A verdict is a pure question."""
    budget = spend(FRESH, policy(), 0.0)
    assert budget.verdict(policy(), now) == budget.verdict(policy(), now)
