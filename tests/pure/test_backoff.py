"""Pauses that grow."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.backoff import Backoff
from supervisor.core.errors import InvalidField

BACKOFFS = st.builds(
    lambda initial, multiplier, factor, jitter: Backoff(initial, multiplier, initial * factor, jitter),
    st.floats(0.001, 1e3),
    st.floats(1, 10),
    st.floats(1, 1e4),
    st.floats(0, 1),
)
ATTEMPTS = st.integers(0, 10_000)
UNIT = st.floats(0, 1, exclude_max=True)


def test_the_defaults_double_from_a_second_to_a_minute() -> None:
    """1, 2, 4 ... 60, 60."""
    assert [Backoff().delay(attempt) for attempt in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (Backoff(1.0, 2.0, 4.0), [1, 2, 4, 4]),
        (Backoff(3.0, 1.0, 5.0), [3, 3, 3, 3]),
        (Backoff(3.0, 2.0, 3.0), [3, 3, 3, 3]),
        (Backoff(0.25, 2.0, 1.0), [0.25, 0.5, 1, 1]),
        (Backoff(0.25, 2.0, 60.0), [0.25, 0.5, 1, 2]),
        (Backoff(5e-324, 2.0, 60.0), [5e-324, 1e-323, 2e-323, 4e-323]),
        (Backoff(0.0, 2.0, 5.0), [0, 0, 0, 0]),
        (Backoff(0.0, 2.0, 0.0), [0, 0, 0, 0]),
    ],
)
def test_pauses_by_hand(backoff: Backoff, expected: list[float]) -> None:
    """Growth, a constant pause, a cap that is reached exactly, and none."""
    assert [backoff.delay(attempt) for attempt in range(4)] == expected


def test_jitter_is_placed_by_the_number_that_is_passed_in() -> None:
    """0 is the least, 0.5 the middle; the cap holds for the whole."""
    backoff = Backoff(10.0, 2.0, 22.0, 0.5)

    assert backoff.delay(0, 0.0) == 5.0
    assert backoff.delay(0, 0.5) == 10.0
    assert backoff.delay(0, 0.75) == 12.5
    assert backoff.delay(1, 0.25) == 15.0
    assert backoff.delay(1, 0.9) == 22.0
    assert backoff.delay(0) == 10.0


@given(BACKOFFS, ATTEMPTS, UNIT)
def test_pauses_stay_within_cap_and_jitter(backoff: Backoff, attempt: int, u: float) -> None:
    """Whatever the attempt: finite, no more than the maximum, within the jitter of the pause without it."""
    delay, middle = backoff.delay(attempt, u), backoff.delay(attempt)

    assert 0 <= delay <= backoff.maximum
    assert delay >= middle * (1 - backoff.jitter) * (1 - 1e-9)
    assert delay <= middle * (1 + backoff.jitter) * (1 + 1e-9)


@given(BACKOFFS, ATTEMPTS)
def test_pauses_never_shrink(backoff: Backoff, attempt: int) -> None:
    """Each pause is at least the one before it."""
    assert backoff.delay(attempt + 1) >= backoff.delay(attempt) * (1 - 1e-9)


@given(BACKOFFS.filter(lambda backoff: backoff.multiplier >= 1.001))
def test_growing_pauses_reach_the_cap(backoff: Backoff) -> None:
    """With a multiplier above 1 the maximum is reached, and without overflow."""
    assert backoff.delay(10**9) == backoff.maximum


def test_a_vast_range_does_not_overflow() -> None:
    """What grows beyond all floats is beyond every cap."""
    assert Backoff(5e-324, 2.0, 1e308).delay(1000) == 5e-324 * 2.0**1000
    assert Backoff(5e-324, 2.0, 1e308).delay(1080) == 1e308
    assert Backoff(1e308, 2.0, 1e308, 1.0).delay(5, 0.0) == 0.0
    assert Backoff(multiplier=2).delay(10**9) == 60.0


def test_no_pause_stays_no_pause() -> None:
    """However many attempts there were, and wherever the jitter would place it."""
    assert Backoff(0.0, 2.0, 5.0, 1.0).delay(10**9, 0.9) == 0.0


WRONG: tuple[object, ...] = ("1", None, True, [])


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("initial", {"initial": -1.0}),
        ("initial", {"initial": math.inf}),
        ("initial", {"initial": math.nan}),
        ("multiplier", {"multiplier": 0.99}),
        ("multiplier", {"multiplier": math.inf}),
        ("maximum", {"maximum": 0.5}),
        ("maximum", {"maximum": math.inf}),
        ("jitter", {"jitter": -0.1}),
        ("jitter", {"jitter": 1.1}),
        *((field, {field: value}) for field in ("initial", "multiplier", "maximum", "jitter") for value in WRONG),
    ],
)
def test_illegal_fields_are_named(field: str, fields: dict[str, Any]) -> None:
    """With their value and what was expected."""
    with pytest.raises(InvalidField, match=f"^backoff: {field} = ") as error:
        Backoff(**fields)
    assert error.value.field == field
    assert error.value.where == "backoff"


def test_the_least_and_the_greatest_legal_values() -> None:
    """The borders themselves are legal."""
    Backoff(0.0, 1.0, 0.0, 0.0)
    Backoff(5.0, 1.0, 5.0, 1.0)
    with pytest.raises(InvalidField, match=r"expected seconds >= initial \(5\)"):
        Backoff(5.0, 1.0, 4.0)
