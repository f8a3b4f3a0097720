"""When the memory of a leaf will reach a threshold, if it goes on as it does.

Two robust estimators must agree that it grows, and the slower of the two counts:

- the median of the slopes of all pairs of samples within a short window (Theil, "A rank-invariant method of linear and
  polynomial regression analysis", 1950; Sen, "Estimates of the regression coefficient based on Kendall's tau", J. Am. Stat. Assoc. 63,
  1968), which up to 29 % of wild samples cannot move;
- the same slope of the lowest sample of each bucket of a long window. What a garbage collector leaves behind, the trough of its saw
  tooth, is what the program holds; what lies above it is garbage that nobody has collected yet, and says nothing of a leak.

Either alone is often wrong: the first takes the rising side of a tooth or a warm-up for a leak, the second sees an old step for as long
as its window lasts. Windows are of time, since samples come every 0.1 to 30 seconds; memory and time of an evaluation are bounded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import combinations
from typing import Final

import attrs

from supervisor import Value

from .errors import InvalidPolicy

LEAST: Final = 5
"""Samples, and buckets, without which there is no forecast."""
RISING: Final = 0.2
"""Kendall's tau of the short window from which it counts as rising."""
NOISE: Final = 0.75
"""How far the upper edge may be above the line, in parts of what the short window grows by: a tip far above it was an exception."""

Point = tuple[float, int]
"""Monotonic seconds and bytes."""


@attrs.frozen(repr=False, eq=False)
class Windows(Value):
    """How far a trend looks back.

    Attributes:
        short: Seconds of the window whose samples are taken as they are.
        points: Into how many slots it is divided, >= 4; of samples that come closer, the last one of each slot is kept.
        long: Seconds of the window of which only the lowest sample of each bucket is kept, at least as long.
        buckets: How many there are, >= 4.

    Raises:
        InvalidPolicy: A field is out of range.
    """

    short: float = 240.0
    points: int = 32
    long: float = 720.0
    buckets: int = 18

    def __attrs_post_init__(self) -> None:
        if not 0 < self.short <= self.long < float("inf"):
            raise InvalidPolicy("short", self.short, f"seconds > 0 and at most long ({self.long})")
        for name in ("points", "buckets"):
            count = getattr(self, name)
            if type(count) is not int or not 4 <= count <= 200:
                raise InvalidPolicy(name, count, "an integer from 4 to 200")


@attrs.frozen(repr=False, eq=False)
class Trend(Value):
    """What is remembered of the samples of one life.

    Attributes:
        recent: The short window, oldest first.
        lows: The lowest sample of each bucket of the long window, oldest first; the last bucket is not over yet.
        bucket: The number of the last bucket.
        since: When the first sample of the life was taken; None before that.
    """

    windows: Windows = Windows()
    recent: tuple[Point, ...] = ()
    lows: tuple[Point, ...] = ()
    bucket: int = 0
    since: float | None = None


@attrs.frozen(repr=False, eq=False)
class Growth(Value):
    """How memory grows.

    Attributes:
        bytes_per_second: How fast, > 0.
        at: The time of the last sample.
        edge_bytes: Where the upper edge of the series is then, garbage and noise included: the line through the samples, moved up to the
            one furthest above it, though not by more than `NOISE` allows. It is what reaches a threshold first.
        confidence: 0 to 1: how steadily the lows rise (Kendall's tau), less up to a half where the two slopes differ.
    """

    bytes_per_second: float
    at: float
    edge_bytes: float
    confidence: float


@attrs.frozen(repr=False, eq=False)
class Forecast(Value):
    """A threshold will be reached.

    Attributes:
        threshold_bytes: Which one.
        seconds: From now, >= 0; 0 when it is reached already.
        bytes_per_second: How fast memory grows, > 0.
        confidence: 0 to 1; see `Growth`.
    """

    threshold_bytes: int
    seconds: float
    bytes_per_second: float
    confidence: float


def step(trend: Trend, total_bytes: int | None, now: float) -> Trend:
    """Take one sample; None is an unknown one, and so is one that is not later than the last: they change nothing."""
    recent, windows = trend.recent, trend.windows
    if total_bytes is None or (recent and now <= recent[-1][0]):
        return trend
    point = (now, total_bytes)
    slot = windows.short / windows.points
    crowded = len(recent) > 1 and recent[-1][0] - recent[-2][0] < slot
    recent = (*(recent[:-1] if crowded else recent), point)
    gone = now - windows.short
    first = 0
    while recent[first][0] < gone:
        first += 1
    lows, bucket = trend.lows, int(now * windows.buckets // windows.long)
    if not lows or bucket != trend.bucket:
        lows = (*lows, point)
    elif total_bytes <= lows[-1][1]:
        lows = (*lows[:-1], point)
    gone = now - windows.long
    oldest = 0
    while lows[oldest][0] < gone:
        oldest += 1
    return Trend(windows, recent[first:], lows[oldest:], bucket, now if trend.since is None else trend.since)


def growth(trend: Trend) -> Growth | None:
    """How memory grows; None: it does not, or too little is known to say."""
    recent, lows, windows = trend.recent, trend.lows, trend.windows
    if trend.since is None or len(recent) < LEAST or len(lows) < LEAST:
        return None
    # a program that starts is busy growing, and most of them stop; after a time without samples, half of the window will do
    if recent[-1][0] - trend.since < windows.long or recent[-1][0] - lows[0][0] < windows.long / 2:
        return None
    # the lows first: most leaves do not grow, and these are fewer
    slow, steady = slope(lows)
    if slow <= 0 or steady <= 0:
        return None
    fast, rising = slope(recent)
    if fast <= 0 or rising < RISING:
        return None
    at = recent[-1][0]
    offsets = sorted([total - fast * (when - at) for when, total in recent])
    line, tip = _median(offsets), offsets[-1]
    rate, faster = (slow, fast) if slow < fast else (fast, slow)
    return Growth(rate, at, min(tip, line + NOISE * rate * windows.short), steady * (1 + rate / faster) / 2)


def time_to(trend: Trend, threshold_bytes: int, now: float) -> Forecast | None:
    """When the threshold will be reached; None: memory does not grow, or too little is known to say.

    Args:
        trend: The samples so far.
        threshold_bytes: What is to be reached.
        now: Monotonic seconds, not before the last sample.
    """
    found = growth(trend)
    if found is None or now - found.at > trend.windows.short:
        return None
    left = (threshold_bytes - found.edge_bytes) / found.bytes_per_second - (now - found.at)
    return Forecast(threshold_bytes, max(0.0, left), found.bytes_per_second, found.confidence)


def slope(points: tuple[Point, ...]) -> tuple[float, float]:
    """Theil and Sen's slope in bytes per second, and Kendall's tau: of all pairs, the share that rises less the share that falls."""
    slopes = sorted([(after - before) / (later - earlier) for (earlier, before), (later, after) in combinations(points, 2)])
    falling, not_rising = bisect_left(slopes, 0.0), bisect_right(slopes, 0.0)
    return _median(slopes), (len(slopes) - not_rising - falling) / len(slopes)


def _median(ordered: list[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
