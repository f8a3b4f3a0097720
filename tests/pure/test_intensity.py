"""OTP's sliding window."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.intensity import EMPTY, Window

PERIODS = st.floats(0.001, 1e6)
STEPS = st.lists(st.floats(0, 1e5), max_size=40)


def test_an_empty_window_admits_up_to_the_intensity() -> None:
    """Intensity 0 admits nothing."""
    assert not EMPTY.admits(0)
    assert EMPTY.admits(1)
    assert not EMPTY.record(0.0).admits(1)
    assert EMPTY.record(0.0).admits(2)


def test_an_empty_window_frees_nothing() -> None:
    """There is no moment to wait for."""
    assert EMPTY.frees(5.0) is None


def test_a_restart_counts_for_its_period_inclusive() -> None:
    """At t + period it still counts, a moment later it does not."""
    window = EMPTY.record(10.0)

    assert window.pruned(5.0, 15.0).size == 1
    assert window.pruned(5.0, math.nextafter(15.0, math.inf)).size == 0
    assert window.frees(5.0) == math.nextafter(15.0, math.inf)


def test_pruning_that_removes_nothing_is_free() -> None:
    """The same value comes back."""
    window = EMPTY.record(10.0).record(11.0)

    assert window.pruned(5.0, 15.0) is window
    assert EMPTY.pruned(5.0, 15.0) is EMPTY
    assert list(window.pruned(5.0, 15.5).times) == [11.0]


@given(PERIODS, STEPS)
def test_the_window_holds_exactly_the_recent_restarts(period: float, steps: list[float]) -> None:
    """An independent list of all times agrees at every moment, and the window never holds more than that."""
    now, all_times, window = 0.0, [], Window()
    for seconds in steps:
        now += seconds
        window = window.pruned(period, now).record(now)
        all_times.append(now)
        recent = [time for time in all_times if time + period >= now]
        assert list(window.times) == recent
        assert window.size == len(recent)


@given(PERIODS, STEPS.filter(bool))
def test_the_window_frees_a_place_exactly_when_it_says(period: float, steps: list[float]) -> None:
    """One float earlier it is as full as now."""
    now, window = 0.0, Window()
    for seconds in steps:
        now += seconds
        window = window.record(now)
    window = window.pruned(period, now)
    at = window.frees(period)

    assert at is not None
    assert window.pruned(period, math.nextafter(at, -math.inf)).size == window.size
    assert window.pruned(period, at).size < window.size
