"""How well memory is foreseen, over recorded traces and simulated ones: the guardian's own estimator, and each of its two halves alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter_ns
from typing import Final

import attrs

from workers.policy.outlook import CONFIDENT, Outlook, look_ahead
from workers.policy.pressure import MemoryState, Pressure, Thresholds
from workers.policy.pressure import step as feel
from workers.policy.trend import Forecast, Point, Trend, slope, time_to
from workers.policy.trend import step as follow

from .figures import Effort, Figure, Peer, Summary, at_most
from .simulated import simulated
from .traces import Trace, recorded

HORIZON: Final = 120.0
"""The default of ``monitoring.prediction_horizon``."""
AHEAD: Final = 60.0
"""Seconds before the crossing at which it must be foreseen."""
SHARES: Final = (0.6, 0.75, 0.9)
"""Of what a growing trace grows by: where critical is put."""
ABOVE: Final = (1.1, 1.2, 1.3)
"""Times the highest total of a steady trace: where critical is put. Five percent below a threshold is still within its band."""
EARLIEST: Final = 840.0
"""Crossings before this are left out: forecasts begin at twelve minutes, and look two minutes ahead."""
SCORED: Final = (30.0, 300.0)
"""Seconds before the crossing between which forecasts are compared with what happened."""

Estimator = Callable[[Trend, int, float], Forecast | None]


@attrs.frozen
class Case:
    """A trace, where critical is, and when it is reached; None: never."""

    trace: Trace
    critical_bytes: int
    crossed: float | None


@attrs.define
class Score:
    """How an estimator did.

    Attributes:
        errors: Percent of the time that was left, of each confident forecast.
        missed: Crossings that were not foreseen a minute ahead.
        alarms: Steady traces of which a crossing was foreseen.
    """

    errors: list[float] = attrs.field(factory=list)
    crossings: int = 0
    missed: list[str] = attrs.field(factory=list)
    steady: int = 0
    alarms: list[str] = attrs.field(factory=list)


def measure(effort: Effort) -> list[Figure]:
    strides = effort.pick((1, 6), (2, 6), (30,))
    sets: dict[str, list[Trace]] = {}
    for trace in recorded()[:: effort.pick(1, 1, 9)]:
        sets.setdefault(trace.name.partition("/")[0], []).extend(thinned(trace, every) for every in strides)
    sets["simulated"] = simulated(effort.pick(25, 8, 1))
    return [*(figure for name, traces in sets.items() for figure in scores(name, traces)), *costs(sets["compressed"], effort)]


def scores(name: str, traces: Sequence[Trace]) -> list[Figure]:
    """The figures of one set of traces."""
    cases = [case for trace in traces for case in cases_of(trace)]
    ours = score(cases, None)
    alone = {"slope of the short window alone": score(cases, short_alone), "slope of the lows alone": score(cases, lows_alone)}

    def share(part: Sequence[str], whole: int) -> Summary:
        return Summary.of([100 * len(part) / max(1, whole)])

    return [
        Figure(
            f"error of the time left, {name}",
            "%",
            Summary.of(ours.errors or [0.0]),
            tuple(Peer(other, Summary.of(its.errors or [0.0])) for other, its in alone.items()),
            at_most(25, "%"),
        ),
        Figure(
            f"not foreseen a minute ahead, of {ours.crossings} {name}",
            "%",
            share(ours.missed, ours.crossings),
            tuple(Peer(other, share(its.missed, its.crossings)) for other, its in alone.items()),
            at_most(15, "%"),
        ),
        Figure(
            f"false alarms, of {ours.steady} {name}",
            "%",
            share(ours.alarms, ours.steady),
            tuple(Peer(other, share(its.alarms, its.steady)) for other, its in alone.items()),
            at_most(0, "%"),
        ),
    ]


def thinned(trace: Trace, every: int) -> Trace:
    """The same life, looked at less often."""
    return attrs.evolve(trace, name=f"{trace.name} every {every}", samples=trace.samples[::every])


def cases_of(trace: Trace) -> Iterator[Case]:
    """Where critical is put for a trace."""
    totals = [total for _, total in trace.samples]
    # the very first samples are of a program that has loaded nothing yet
    low, high = totals[min(5, len(totals) - 1)], max(totals)
    if not trace.grows:
        yield from (Case(trace, int(high * times), None) for times in ABOVE)
        return
    for part in SHARES:
        critical = int(low + (high - low) * part)
        crossed = next(at for at, total in trace.samples if total >= critical)
        if crossed >= EARLIEST:
            yield Case(trace, critical, crossed)


def score(cases: Sequence[Case], estimator: Estimator | None) -> Score:
    """How an estimator does; None is the guardian's own."""
    result = Score()
    for case in cases:
        alarm, errors = foreseen(case, estimator)
        result.errors += errors
        if case.crossed is None:
            result.steady += 1
            result.alarms += [case.trace.name] if alarm is not None else []
        else:
            result.crossings += 1
            result.missed += [case.trace.name] if alarm is None or case.crossed - alarm < AHEAD else []
    return result


def foreseen(case: Case, estimator: Estimator | None) -> tuple[float | None, list[float]]:
    """When critical was first foreseen, as the guardian would act upon it, and the errors of the forecasts in percent."""
    critical = case.critical_bytes
    pressure = Pressure(Thresholds(critical * 4 // 5, critical, critical * 6 // 5))
    outlook, trend, alarm, errors = Outlook(), Trend(), None, []
    for at, total in case.trace.samples:
        if case.crossed is not None and at >= case.crossed:
            break
        pressure, _ = feel(pressure, total, at)
        if estimator is None:
            outlook = look_ahead(outlook, pressure, HORIZON, at)
        else:
            trend = follow(trend, total, at)
            outlook = told(outlook, estimator(trend, critical, at), at)
        if alarm is None and outlook.is_foreseen:
            alarm = at
        if outlook.sure is not None and case.crossed is not None and SCORED[0] <= (left := case.crossed - at) <= SCORED[1]:
            errors.append(min(500.0, 100 * abs(outlook.sure.seconds - left) / left))
    return alarm, errors


def told(outlook: Outlook, forecast: Forecast | None, now: float) -> Outlook:
    """Another estimator's forecast, confirmed as the guardian's own are."""
    if forecast is None or forecast.confidence < CONFIDENT or forecast.seconds > HORIZON:
        return Outlook(level=MemoryState.CRITICAL, forecast=forecast)
    since = now if outlook.since is None else outlook.since
    return Outlook(level=MemoryState.CRITICAL, forecast=forecast, since=since, until=now)


def short_alone(trend: Trend, threshold: int, now: float) -> Forecast | None:
    """Theil and Sen's slope of the short window, and nothing else."""
    return _alone(trend, trend.recent, threshold)


def lows_alone(trend: Trend, threshold: int, now: float) -> Forecast | None:
    """The slope of the lows of the long window, and nothing else."""
    return _alone(trend, trend.lows, threshold)


def _alone(trend: Trend, points: tuple[Point, ...], threshold: int) -> Forecast | None:
    if trend.since is None or len(points) < 5 or points[-1][0] - trend.since < trend.windows.long:
        return None
    rate, rising = slope(points)
    if rate <= 0:
        return None
    now = points[-1][0]
    here = statistics.median(total - rate * (at - now) for at, total in points)
    # they have no second voice to be confident by; what rises at all is taken for growth
    return Forecast(threshold, max(0.0, (threshold - here) / rate), rate, 1.0 if rising > 0 else 0.0)


def costs(traces: Sequence[Trace], effort: Effort) -> list[Figure]:
    """What one sample and one forecast cost, on growing traces: there both slopes are needed."""
    steps: list[float] = []
    forecasts: list[float] = []
    for trace in [trace for trace in traces if trace.grows][: effort.pick(20, 8, 1)]:
        trend = Trend()
        for at, total in trace.samples:
            began = perf_counter_ns()
            trend = follow(trend, total, at)
            between = perf_counter_ns()
            time_to(trend, total * 2, at)
            steps.append((between - began) / 1000)
            if at - trace.samples[0][0] > trend.windows.long:
                forecasts.append((perf_counter_ns() - between) / 1000)
    return [
        Figure("one sample taken", "us", Summary.of(steps)),
        Figure("one forecast", "us", Summary.of(forecasts), target=at_most(1000, "us")),
    ]
