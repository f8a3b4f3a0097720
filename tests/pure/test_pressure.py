"""Memory levels: hysteresis, several levels at once, unknown samples, and how soon to look again."""

from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workers.policy.errors import InvalidPolicy, ThresholdOrder
from workers.policy.pressure import (
    GROWTH_WINDOW,
    LEVELS,
    RISES,
    SAMPLES,
    Intervals,
    MemoryState,
    Pressure,
    Thresholds,
    classify,
    growth,
    interval,
    step,
)

NORMAL, WARNING, CRITICAL, EMERGENCY = LEVELS
LIMITS = Thresholds(1000, 2000, 3000, leave_ratio=0.1)

totals = st.integers(min_value=0, max_value=4000)


@st.composite
def thresholds(draw: st.DrawFn) -> Thresholds:
    bounds = sorted(draw(st.sets(st.integers(min_value=1, max_value=10**13), min_size=3, max_size=3)))
    return Thresholds(bounds[0], bounds[1], bounds[2], draw(st.floats(min_value=0, max_value=0.99)))


def run(
    series: list[int | None], limits: Thresholds = LIMITS, every: float = 1.0
) -> tuple[Pressure, list[tuple[MemoryState, MemoryState]]]:
    pressure, changes = Pressure(limits), []
    for index, total in enumerate(series):
        pressure, change = step(pressure, total, index * every)
        if change is not None:
            changes.append((change.old, change.new))
    return pressure, changes


def test_levels_are_ranked() -> None:
    """The levels are ordered from normal to emergency, and reaching includes the level itself."""
    assert [level.rank for level in LEVELS] == [0, 1, 2, 3]
    assert [level.value for level in LEVELS] == ["normal", "warning", "critical", "emergency"]
    assert CRITICAL.reaches(CRITICAL)
    assert CRITICAL.reaches(WARNING)
    assert not WARNING.reaches(CRITICAL)


@pytest.mark.parametrize(
    ("bounds", "pair"),
    [
        ((2, 1, 3), ("warning", "critical")),
        ((1, 1, 3), ("warning", "critical")),
        ((1, 3, 2), ("critical", "emergency")),
        ((1, 2, 2), ("critical", "emergency")),
    ],
)
def test_thresholds_out_of_order_name_the_pair(bounds: tuple[int, int, int], pair: tuple[str, str]) -> None:
    """Thresholds that do not rise strictly are refused with the names and values of the pair."""
    with pytest.raises(ThresholdOrder, match=f"{pair[0]} = .* must be below {pair[1]} = ") as caught:
        Thresholds(*bounds)
    assert (caught.value.lower, caught.value.upper) == pair


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"warning_bytes": 0}, "warning_bytes"),
        ({"critical_bytes": -1}, "critical_bytes"),
        ({"emergency_bytes": 3e3}, "emergency_bytes"),
        ({"warning_bytes": True}, "warning_bytes"),
        ({"leave_ratio": 1.0}, "leave_ratio"),
        ({"leave_ratio": -0.01}, "leave_ratio"),
        ({"leave_ratio": math.nan}, "leave_ratio"),
    ],
)
def test_absurd_thresholds_are_refused(change: dict[str, object], field: str) -> None:
    """A threshold is a positive whole number of bytes and the leave ratio lies from 0 to below 1; the error names the field."""
    fields = {"warning_bytes": 1000, "critical_bytes": 2000, "emergency_bytes": 3000} | change
    with pytest.raises(InvalidPolicy) as caught:
        Thresholds(**fields)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_a_level_is_entered_at_its_threshold() -> None:
    """A level begins exactly at its threshold, not one byte before."""
    assert [classify(LIMITS, total) for total in (0, 999, 1000, 1999, 2000, 2999, 3000, 10**9)] == [
        NORMAL, NORMAL, WARNING, WARNING, CRITICAL, CRITICAL, EMERGENCY, EMERGENCY
    ]  # fmt: skip


def test_a_level_is_left_only_below_its_band() -> None:
    """A level is held down to its threshold less the leave ratio and left below that."""
    assert [classify(LIMITS, total, CRITICAL) for total in (1800, 1799, 900, 899)] == [CRITICAL, WARNING, WARNING, NORMAL]
    assert [classify(LIMITS, total, EMERGENCY) for total in (2700, 2699, 1800, 1799)] == [EMERGENCY, CRITICAL, CRITICAL, WARNING]


def test_a_trembling_value_changes_the_level_once() -> None:
    """A value that trembles around a threshold within the band changes the level once, not on every sample."""
    _, changes = run([990, 1005, 995, 1010, 950, 1001, 901] * 20)
    assert changes == [(NORMAL, WARNING)]


def test_several_levels_at_once_are_one_change() -> None:
    """A jump over several levels, up or down, is one change from the old to the new level."""
    _, changes = run([10, 3500, 10])
    assert changes == [(NORMAL, EMERGENCY), (EMERGENCY, NORMAL)]


def test_levels_change_in_order_on_a_climb() -> None:
    """A climb passes all levels in order, and the way back too."""
    climb: list[int | None] = list(range(0, 4000, 50))
    _, changes = run(climb + climb[::-1])
    up = [(NORMAL, WARNING), (WARNING, CRITICAL), (CRITICAL, EMERGENCY)]
    assert changes == up + [(new, old) for old, new in reversed(up)]


def test_an_unknown_sample_changes_nothing_but_is_counted() -> None:
    """A sample of None leaves level, history and peak alone and is counted; a known one ends its run."""
    before, _ = run([1500, 1600])
    after, change = step(*((before, None, 9.0)))
    assert change is None
    assert attrs.evolve(after, unknown=0, unknown_run=0) == before
    after, _ = step(after, None, 10.0)
    assert (after.unknown, after.unknown_run, after.known) == (2, 2, 2)
    after, _ = step(after, 1600, 11.0)
    assert (after.unknown, after.unknown_run, after.known) == (2, 0, 3)


def test_a_new_life_is_judged_without_hysteresis() -> None:
    """After a restart the first sample sets the level as if there had been none; the second has hysteresis again."""
    pressure, _ = run([2500])
    pressure = pressure.renewed()
    assert (pressure.level, pressure.total_bytes, growth(pressure, 1.0)) == (CRITICAL, None, 0.0)
    pressure, change = step(pressure, 1900, 2.0)
    assert change is not None
    assert (change.old, change.new) == (CRITICAL, WARNING)
    pressure, _ = step(pressure, 950, 3.0)
    assert pressure.level is WARNING


def test_a_new_life_keeps_the_peak() -> None:
    """The peak is that of all lives; the samples are those of one."""
    pressure, _ = run([100, 2500, 300])
    after, _ = step(pressure.renewed(), 50, 9.0)
    assert (after.peak_bytes, after.samples) == (2500, ((9.0, 50),))


@given(thresholds(), st.lists(st.one_of(st.none(), st.integers(min_value=0, max_value=2 * 10**13)), max_size=60))
def test_a_change_always_crosses_the_margin(limits: Thresholds, series: list[int | None]) -> None:
    """Up only at a threshold, down only below a leave mark; no change without a new level; the level fits its total."""
    pressure = Pressure(limits)
    for at, total in enumerate(series):
        before = pressure
        pressure, change = step(before, total, float(at))
        if change is None:
            assert pressure.level is before.level
            continue
        assert total is not None
        assert change.old is before.level
        assert change.new is pressure.level
        assert change.old is not change.new
        if change.is_rise:
            assert total >= limits.enter_bytes(change.new)
        else:
            assert total < limits.leave_bytes(change.old)
        if total >= limits.enter_bytes(EMERGENCY):
            assert pressure.level is EMERGENCY
        if total < limits.leave_bytes(WARNING):
            assert pressure.level is NORMAL


@given(thresholds(), st.lists(totals, min_size=2, max_size=40))
def test_a_rising_series_never_lowers_the_level(limits: Thresholds, series: list[int]) -> None:
    """The level is monotone in a monotone series."""
    pressure, rank = Pressure(limits), 0
    for at, total in enumerate(sorted(series)):
        pressure, _ = step(pressure, total, float(at))
        assert pressure.level.rank >= rank
        rank = pressure.level.rank


@given(st.lists(totals, max_size=10), totals)
def test_a_constant_value_settles_in_one_step(series: list[int], total: int) -> None:
    """A constant input changes the level at most with its first sample."""
    pressure, _ = run(list(series))
    pressure, _ = step(pressure, total, 100.0)
    for at in range(5):
        pressure, change = step(pressure, total, 101.0 + at)
        assert change is None


@given(st.lists(st.tuples(st.floats(min_value=0, max_value=100), totals), max_size=200))
def test_history_is_bounded(series: list[tuple[float, int]]) -> None:
    """However many samples there are, the state does not grow."""
    pressure, now = Pressure(LIMITS), 0.0
    for pause, total in series:
        now += pause
        pressure, _ = step(pressure, total, now)
        assert len(pressure.samples) <= SAMPLES
        assert len(pressure.rises) <= RISES
    known = [total for _, total in series]
    assert [total for _, total in pressure.samples] == known[-SAMPLES:]
    assert pressure.peak_bytes == max(known, default=None)


def test_the_last_samples_are_kept() -> None:
    """Exactly the last `SAMPLES` totals are kept, with their times."""
    pressure, _ = run(list(range(3 * SAMPLES)))
    assert pressure.samples == tuple((float(index), index) for index in range(2 * SAMPLES, 3 * SAMPLES))


@given(st.lists(st.tuples(st.floats(min_value=0.01, max_value=50), totals), min_size=1, max_size=RISES))
def test_growth_is_the_fastest_rise_of_the_window(series: list[tuple[float, int]]) -> None:
    """The remembered growth is the fastest between two neighbours within the window, and nothing older."""
    pressure, now, rates = Pressure(LIMITS), 0.0, []
    before: int | None = None
    for pause, total in series:
        elapsed = (now + pause) - now
        assume(elapsed > 0)
        now += pause
        if before is not None:
            rates.append((now, (total - before) / elapsed))
        before = total
        pressure, _ = step(pressure, total, now)
    expected = max((rate for at, rate in rates if now - at <= GROWTH_WINDOW and rate > 0), default=0.0)
    assert growth(pressure, now) == pytest.approx(expected)
    assert growth(pressure, now + GROWTH_WINDOW + 51) == 0.0


def test_growth_forgets_only_when_it_is_old() -> None:
    """A burst is remembered for the window, also when many slower rises follow."""
    pressure, _ = step(Pressure(LIMITS), 0, 0.0)
    pressure, _ = step(pressure, 500, 1.0)
    for index in range(100):
        pressure, _ = step(pressure, 500 + index, 2.0 + index)
    assert growth(pressure, 101.0) == 500.0
    assert growth(pressure, 1.0 + GROWTH_WINDOW) == 500.0
    assert growth(pressure, 1.1 + GROWTH_WINDOW) < 500.0


def test_a_full_memory_of_rises_errs_towards_looking_sooner() -> None:
    """More falling rises than are remembered: the remembered growth is never below the true one."""
    pressure, total, now = Pressure(LIMITS), 0, 0.0
    rates = [1000 - index for index in range(2 * RISES)]
    pressure, _ = step(pressure, total, now)
    for rate in rates:
        now += 1.0
        total += rate
        pressure, _ = step(pressure, total, now)
    for later in (now, now + 100, now + GROWTH_WINDOW - 5, now + GROWTH_WINDOW):
        true = max((rate for index, rate in enumerate(rates) if later - (index + 1) <= GROWTH_WINDOW), default=0)
        assert growth(pressure, later) >= true


def test_two_samples_at_one_time_are_no_growth() -> None:
    """Without time between two samples there is no rate, and no division by zero."""
    pressure, _ = step(Pressure(LIMITS), 0, 1.0)
    pressure, _ = step(pressure, 500, 1.0)
    assert growth(pressure, 1.0) == 0.0


@pytest.mark.parametrize(("total", "seconds"), [(10, 30.0), (1500, 15.0), (2500, 5.0), (3500, 1.0)])
def test_each_level_has_its_interval(total: int, seconds: float) -> None:
    """A steady leaf is looked at once in its level's interval."""
    pressure, _ = run([total, total])
    assert interval(pressure, Intervals(), 1.0) == seconds


def test_fast_growth_shortens_the_interval() -> None:
    """The next look comes no later than the fastest recent growth needs to the next level, whatever the level."""
    pressure, _ = run([0, 100])
    assert interval(pressure, Intervals(), 1.0) == 9.0
    pressure, _ = run([1000, 1500])
    assert interval(pressure, Intervals(), 1.0) == 1.0
    pressure, _ = run([2000, 2500])
    assert interval(pressure, Intervals(), 1.0) == 1.0


def test_growth_never_lengthens_the_interval() -> None:
    """Slow growth leaves the level's interval as it is."""
    pressure, _ = run([0, 1])
    assert interval(pressure, Intervals(), 1.0) == 30.0


def test_the_interval_has_a_floor() -> None:
    """However fast the growth and however near the next level, the minimum holds; so it does in an emergency."""
    pressure, _ = run([0, 999])
    assert interval(pressure, Intervals(minimum=0.25), 1.0) == 0.25
    pressure, _ = run([2000, 3500])
    assert interval(pressure, Intervals(minimum=0.25), 1.0) == 1.0


def test_the_band_is_no_next_level() -> None:
    """Inside the band below its own level, a leaf is timed against the next level and not against its own threshold."""
    pressure, _ = run([1000, 2000, 1900])
    assert pressure.level is CRITICAL
    assert interval(pressure, Intervals(), 2.0) == pytest.approx(1.1)


def test_old_growth_no_longer_shortens_the_interval() -> None:
    """Once the burst is older than the window the level's interval is back."""
    pressure, _ = run([0, 500])
    assert interval(pressure, Intervals(), 1.0 + GROWTH_WINDOW) == 1.0
    assert interval(pressure, Intervals(), 1.1 + GROWTH_WINDOW) == 30.0


@given(st.lists(st.tuples(st.floats(min_value=0.001, max_value=60), totals), max_size=30))
def test_the_interval_is_bounded(series: list[tuple[float, int]]) -> None:
    """The interval lies between the minimum and that of the level."""
    pressure, now, intervals = Pressure(LIMITS), 0.0, Intervals()
    for pause, total in series:
        now += pause
        pressure, _ = step(pressure, total, now)
        assert intervals.minimum <= interval(pressure, intervals, now) <= intervals.of(pressure.level)


@pytest.mark.parametrize("field", ["normal", "warning", "critical", "emergency", "minimum"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_absurd_intervals_are_refused(field: str, value: float) -> None:
    """An interval is a positive, finite number of seconds; the error names the field."""
    with pytest.raises(InvalidPolicy) as caught:
        Intervals(**{field: value})
    assert caught.value.field == field
