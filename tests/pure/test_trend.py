"""Forecasts of memory: what grows is foreseen, what does not is left alone, whenever the samples come."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.policy.errors import InvalidPolicy
from workers.policy.trend import Forecast, Trend, Windows, growth, slope, step, time_to

MIB = 1024 * 1024
WINDOWS = Windows()
YOUNG = WINDOWS.long
pauses = st.lists(st.floats(min_value=0.1, max_value=30.0), min_size=1, max_size=40).filter(lambda pauses: sum(pauses) >= len(pauses))


def follow(samples: list[tuple[float, int | None]], windows: Windows = WINDOWS) -> Trend:
    trend = Trend(windows)
    for at, total in samples:
        trend = step(trend, total, at)
    return trend


def times(pauses: list[float], end: float = 1000.0, begin: float = 0.0) -> list[float]:
    """Times with these pauses between them, again and again."""
    found, cycle = [begin], itertools.cycle(pauses)
    while found[-1] < begin + end:
        found.append(found[-1] + next(cycle))
    return found


def forecast(trend: Trend, threshold: int) -> Forecast:
    found = time_to(trend, threshold, trend.recent[-1][0])
    assert found is not None
    return found


@given(pauses, st.floats(min_value=0.001, max_value=50.0), st.integers(0, 1 << 40), st.floats(min_value=0.0, max_value=1e7))
def test_a_line_is_foreseen_exactly(pauses: list[float], rate_mib: float, base: int, begin: float) -> None:
    """However irregular the samples and whenever they began: full confidence, and the time to within a percent."""
    rate = rate_mib * MIB
    at = times(pauses, begin=begin)
    trend = follow([(when, base + int(rate * (when - begin))) for when in at])

    found = forecast(trend, trend.recent[-1][1] + int(rate * 100))
    assert found.seconds == pytest.approx(100, rel=0.01)
    assert found.bytes_per_second == pytest.approx(rate, rel=0.01)
    assert found.confidence == pytest.approx(1.0, abs=0.01)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=60), pauses, st.booleans())
def test_what_never_rises_is_never_foreseen(totals: list[int], pauses: list[float], constant: bool) -> None:
    """A constant and a falling series have no forecast, at no time and for no threshold."""
    at = times(pauses)
    falling = sorted((totals * (len(at) // len(totals) + 1))[: len(at)], reverse=True)
    trend = Trend()
    for when, total in zip(at, falling, strict=True):
        trend = step(trend, totals[0] if constant else total, when)
        if when > YOUNG:
            assert time_to(trend, total + 1, when) is None


@given(
    st.lists(st.tuples(st.floats(min_value=1e-6, max_value=100.0), st.integers(0, 1 << 50)), max_size=400),
    st.integers(4, 12),
    st.integers(4, 12),
)
def test_memory_is_bounded(steps: list[tuple[float, int]], points: int, buckets: int) -> None:
    """Whatever comes, and however fast: so many samples and lows, all of them within their windows, in the order of time."""
    windows = Windows(60.0, points, 120.0, buckets)
    trend, now = Trend(windows), 0.0
    for pause, total in steps:
        now += pause
        trend = step(trend, total, now)
        assert len(trend.recent) <= points + 2
        assert len(trend.lows) <= buckets + 1
        assert trend.recent[-1] == (now, total)
        for series, window in ((trend.recent, windows.short), (trend.lows, windows.long)):
            moments = [when for when, _ in series]
            assert moments == sorted(set(moments))
            assert moments[0] >= now - window


def test_fast_samples_are_thinned() -> None:
    """Ten a second fill the windows with no more points than one in seven seconds, spread over the whole of it."""
    trend = follow([(at / 10, at) for at in range(10_000)])

    assert WINDOWS.points <= len(trend.recent) <= WINDOWS.points + 2
    assert trend.recent[-1][0] - trend.recent[0][0] > WINDOWS.short * 0.9
    assert len(trend.lows) in (WINDOWS.buckets, WINDOWS.buckets + 1)


@given(st.lists(st.one_of(st.none(), st.integers(0, 1 << 40)), max_size=100))
def test_unknown_samples_change_nothing(totals: list[int | None]) -> None:
    """With unknown samples in between, the trend is that of the known ones."""
    samples = [(float(place), total) for place, total in enumerate(totals)]

    assert follow(samples) == follow([(at, total) for at, total in samples if total is not None])


def test_a_sample_that_is_not_later_changes_nothing() -> None:
    """Two samples at one time have no slope; the first one stands."""
    trend = follow([(1.0, 5), (2.0, 6)])

    assert step(trend, 900, 2.0) == step(trend, 900, 1.5) == trend


@given(
    st.lists(
        st.tuples(st.floats(min_value=-1e6, max_value=1e6), st.integers(0, 1 << 40)), min_size=2, max_size=25, unique_by=lambda it: it[0]
    )
)
def test_the_slope_is_theil_and_sens(points: list[tuple[float, int]]) -> None:
    """The median over all pairs, and the share of rising less that of falling ones, counted one by one."""
    ordered = tuple(sorted(points))
    rates = [(later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in itertools.combinations(ordered, 2)]
    rate, tau = slope(ordered)

    assert rate == statistics.median(rates)
    assert tau == pytest.approx(sum((rate > 0) - (rate < 0) for rate in rates) / len(rates))


def test_wild_samples_do_not_move_a_forecast() -> None:
    """One sample in ten that is anything at all leaves the rate as it is."""
    rng = random.Random(7)
    samples = [(float(at), rng.randrange(1 << 40) if at % 10 == 3 else 50 * MIB + at * MIB // 5) for at in range(900)]

    assert forecast(follow([*samples]), 1 << 42).bytes_per_second == pytest.approx(MIB / 5, rel=0.05)


def saw(at: float, floor: float) -> int:
    """Garbage for 50 seconds, then a collection down to a floor that rises by `floor` MiB a second."""
    return int((100 + floor * at + 40 * (at % 50) / 50) * MIB)


def test_a_saw_tooth_is_no_leak() -> None:
    """Garbage that is collected is growth for the short window now and then, and never for the lows."""
    trend = Trend()
    for at in range(0, 1800, 3):
        trend = step(trend, saw(at, 0.0), float(at))
        found = time_to(trend, 160 * MIB, float(at))
        assert found is None or found.seconds > 300


def test_a_saw_tooth_on_a_rising_floor_is_a_leak() -> None:
    """The rate is the floor's, and the time is that of the next tooth's tip, not of the floor."""
    trend = follow([(float(at), saw(at, 0.2)) for at in range(0, 1001, 2)])

    found = forecast(trend, 500 * MIB)
    assert found.bytes_per_second == pytest.approx(0.2 * MIB, rel=0.1)
    tip = next(at for at in range(1000, 9000) if saw(at, 0.2) >= 500 * MIB)
    assert found.seconds == pytest.approx(tip - 1000, rel=0.1)


def test_a_step_is_no_growth() -> None:
    """One allocation, however large, is over when it is over."""
    trend = Trend()
    for at in range(0, 2000, 5):
        total = (100 if at < 900 else 500) * MIB + at % 7
        trend = step(trend, total, float(at))
        found = time_to(trend, 600 * MIB, float(at))
        assert found is None or found.seconds > 3600


def test_a_warm_up_is_not_foreseen() -> None:
    """What grows for five minutes and then stops is left alone: nothing is said before a life is twelve minutes old."""
    trend = Trend()
    for at in range(0, 2000, 5):
        trend = step(trend, min(at, 300) * MIB, float(at))
        assert time_to(trend, 315 * MIB, float(at)) is None


def test_nothing_is_said_of_a_young_life() -> None:
    """The first forecast comes when the life has lasted long enough, and not later."""
    trend, at = Trend(), 0.0
    while (found := growth(trend)) is None:
        at += 5.0
        trend = step(trend, int(at * MIB), at)
    assert found.at - 5.0 == pytest.approx(YOUNG)


def test_after_a_time_without_samples_half_a_window_must_be_seen_again() -> None:
    """What was before a long gap says nothing of what is now."""
    trend = follow([(float(at), at * MIB) for at in range(0, 1000, 5)])
    at = 5000.0
    while time_to(trend, 1 << 42, at) is None:
        at += 5.0
        trend = step(trend, int(at * MIB), at)
    assert at - 5000 == pytest.approx(WINDOWS.long / 2, abs=10)


def test_time_that_passed_since_the_last_sample_counts() -> None:
    """Later, less is left; at the threshold nothing is."""
    trend = follow([(float(at), at * MIB) for at in range(0, 1001, 5)])
    soon, later = time_to(trend, 1100 * MIB, 1000.0), time_to(trend, 1100 * MIB, 1040.0)

    assert soon is not None and later is not None
    assert soon.seconds == pytest.approx(100, rel=0.01)
    assert later.seconds == pytest.approx(60, rel=0.01)
    assert forecast(trend, 900 * MIB).seconds == 0.0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"short": 0.0}, "short"),
        ({"short": 800.0}, "short"),
        ({"short": math.nan}, "short"),
        ({"long": math.inf}, "short"),
        ({"points": 3}, "points"),
        ({"buckets": 201}, "buckets"),
        ({"buckets": True}, "buckets"),
        ({"points": 10.0}, "points"),
    ],
)
def test_absurd_windows_are_refused(change: dict[str, float], field: str) -> None:
    """A window out of range is refused with the name of the field."""
    with pytest.raises(InvalidPolicy) as caught:
        Windows(**change)  # type: ignore[arg-type]
    assert caught.value.field == field
