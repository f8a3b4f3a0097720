"""The circuit: closed, open, half-open."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.breaker import CLOSED, Breaker, Circuit, CircuitState
from supervisor.core.errors import InvalidField

POLICY = Breaker(3, 10.0)


def test_failures_in_a_row_open_it() -> None:
    """One fewer does not; `failures` are counted through."""
    circuit = CLOSED
    for count in (1, 2):
        circuit = circuit.failed(POLICY, 5.0)
        assert circuit == Circuit(failures=count)
        assert circuit.state(5.0) is CircuitState.CLOSED
    circuit = circuit.failed(POLICY, 5.0)

    assert circuit == Circuit(failures=3, reopens=15.0)


def test_a_success_forgets_failures() -> None:
    """Only failures in a row count."""
    assert Circuit(failures=2).succeeded() == CLOSED
    assert Circuit(failures=5, reopens=1.0, trial=True).succeeded() == CLOSED


def test_time_alone_leads_from_open_to_half_open() -> None:
    """At `reopens`, that moment included."""
    circuit = CLOSED.trip(POLICY, 5.0)

    assert circuit.state(5.0) is CircuitState.OPEN
    assert circuit.state(14.99) is CircuitState.OPEN
    assert circuit.state(15.0) is CircuitState.HALF_OPEN
    assert not circuit.permits(14.99)
    assert circuit.permits(15.0)
    assert CLOSED.permits(0.0)


def test_half_open_admits_exactly_one_trial() -> None:
    """An attempt spends it; a trial that was cut short gives it back."""
    circuit = CLOSED.trip(POLICY, 5.0)
    tried = circuit.attempt(15.0)

    assert tried == Circuit(failures=0, reopens=15.0, trial=True)
    assert not tried.permits(15.0)
    assert not tried.permits(1e9)
    assert tried.released() == circuit
    assert CLOSED.attempt(3.0) is CLOSED
    assert circuit.attempt(14.0) is circuit


def test_a_failed_trial_opens_it_again_at_once() -> None:
    """However few failures there were."""
    circuit = Circuit(failures=0, reopens=15.0, trial=True).failed(POLICY, 20.0)

    assert circuit == Circuit(failures=1, reopens=30.0, trial=False)


def test_a_trip_keeps_the_count() -> None:
    """Opening by hand counts no failure, and spends no trial."""
    assert Circuit(failures=2, reopens=1.0, trial=True).trip(POLICY, 7.0) == Circuit(failures=2, reopens=17.0)


@given(st.lists(st.tuples(st.sampled_from(["attempt", "succeed", "fail", "trip"]), st.floats(0, 20)), max_size=50))
def test_from_any_history_time_alone_brings_a_trial(history: list[tuple[str, float]]) -> None:
    """There is a way out of every state: an open circuit is half-open at `reopens`, and permits one attempt then."""
    circuit, now = CLOSED, 0.0
    for what, seconds in history:
        now += seconds
        match what:
            case "attempt" if circuit.permits(now):
                circuit = circuit.attempt(now)
            case "succeed":
                circuit = circuit.succeeded()
            case "fail":
                circuit = circuit.failed(POLICY, now)
            case "trip":
                circuit = circuit.trip(POLICY, now)
    if circuit.state(now) is CircuitState.OPEN:
        assert circuit.reopens is not None
        assert not circuit.trial
        assert circuit.permits(circuit.reopens)
        assert not circuit.attempt(circuit.reopens).permits(circuit.reopens)
    assert circuit.trial <= (circuit.state(now) is CircuitState.HALF_OPEN)


WRONG: tuple[object, ...] = ("1", None, True, [])


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("failures", {"failures": 0}),
        ("failures", {"failures": True}),
        ("failures", {"failures": 1.0}),
        ("reset", {"reset": 0}),
        ("reset", {"reset": math.inf}),
        ("reset", {"reset": math.nan}),
        *((field, {field: value}) for field in ("failures", "reset") for value in WRONG),
    ],
)
def test_illegal_fields_are_named(field: str, fields: dict[str, Any]) -> None:
    """With their value and what was expected."""
    with pytest.raises(InvalidField, match=f"^breaker: {field} = "):
        Breaker(**fields)


def test_the_defaults() -> None:
    """Three failures in a row, half an hour; one failure is the least."""
    assert (Breaker().failures, Breaker().reset) == (3, 1800.0)
    Breaker(1, 0.001)
