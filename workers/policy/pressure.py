"""Memory levels with hysteresis, and how soon to look again.

A level is entered at its threshold and left only clearly below it, so a value that trembles around a threshold changes the
level once. Nothing here reads a clock or memory.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

import attrs

from supervisor import Value, evolve

from .errors import InvalidPolicy, ThresholdOrder

SAMPLES: Final = 32
RISES: Final = 16
GROWTH_WINDOW: Final = 120.0


class MemoryState(Enum):
    """The level of a leaf's memory."""

    NORMAL = "normal"
    WARNING = "warning"
    CRITICAL = "critical"
    EMERGENCY = "emergency"

    rank: int
    """0 for normal to 3 for emergency."""

    def __init__(self, value: str) -> None:
        self.rank = len(type(self).__members__)  # kept: it is asked for twenty times a sample

    def reaches(self, other: MemoryState) -> bool:
        """Whether this level is `other` or a worse one."""
        return self.rank >= other.rank


LEVELS: Final = tuple(MemoryState)


@attrs.frozen(repr=False, eq=False)
class Thresholds(Value):
    """Where the levels begin.

    Attributes:
        warning_bytes: Total from which the level is warning, > 0.
        critical_bytes: Total from which it is critical, above `warning_bytes`.
        emergency_bytes: Total from which it is emergency, above `critical_bytes`.
        leave_ratio: Ratio 0 to below 1: a level is left only below its threshold * (1 - leave_ratio).

    Raises:
        InvalidPolicy: A threshold is no positive number of bytes, or `leave_ratio` is out of range.
        ThresholdOrder: Two neighbours are equal or the wrong way round.
    """

    warning_bytes: int
    critical_bytes: int
    emergency_bytes: int
    leave_ratio: float = 0.05

    def __attrs_post_init__(self) -> None:
        for name in ("warning_bytes", "critical_bytes", "emergency_bytes"):
            value = getattr(self, name)
            if type(value) is not int or value <= 0:
                raise InvalidPolicy(name, value, "a whole number of bytes > 0")
        if not 0 <= self.leave_ratio < 1:
            raise InvalidPolicy("leave_ratio", self.leave_ratio, "a ratio from 0 to below 1")
        for lower, upper in (("warning", "critical"), ("critical", "emergency")):
            below, above = getattr(self, f"{lower}_bytes"), getattr(self, f"{upper}_bytes")
            if below >= above:
                raise ThresholdOrder(lower, below, upper, above)

    def enter_bytes(self, level: MemoryState) -> int:
        """The total at which `level` begins; 0 for normal."""
        return (0, self.warning_bytes, self.critical_bytes, self.emergency_bytes)[level.rank]

    def leave_bytes(self, level: MemoryState) -> float:
        """The total below which `level` is left; 0 for normal."""
        return self.enter_bytes(level) * (1 - self.leave_ratio)


@attrs.frozen(repr=False, eq=False)
class Intervals(Value):
    """Seconds between two samples, by level; `minimum` bounds what fast growth can ask for.

    Raises:
        InvalidPolicy: One of them is no positive, finite number of seconds.
    """

    normal: float = 30.0
    warning: float = 15.0
    critical: float = 5.0
    emergency: float = 1.0
    minimum: float = 0.1

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            if not 0 < value < math.inf:
                raise InvalidPolicy(field.name, value, "seconds > 0")

    def of(self, level: MemoryState) -> float:
        """The interval of `level`."""
        return (self.normal, self.warning, self.critical, self.emergency)[level.rank]


@attrs.frozen(repr=False, eq=False)
class LevelChange(Value):
    """The level went from `old` to `new`, perhaps over several levels at once."""

    old: MemoryState
    new: MemoryState
    total_bytes: int
    at: float

    @property
    def is_rise(self) -> bool:
        """Whether it became worse."""
        return self.new.rank > self.old.rank


@attrs.frozen(repr=False, eq=False)
class Pressure(Value):
    """What is known of the memory of one leaf.

    Attributes:
        thresholds: Where the levels begin.
        level: The level now.
        samples: The last known totals as (time, bytes), oldest first, at most `SAMPLES`.
        rises: The fastest growths of the last `GROWTH_WINDOW` seconds as (time, bytes per second), fastest first.
        peak_bytes: The highest total of all lives; None before the first.
        known: How many samples were known.
        unknown: How many were not.
        unknown_run: How many were not since the last known one.
        fresh: Whether the next known sample belongs to a life that has no level yet: it is judged without hysteresis.
    """

    thresholds: Thresholds
    level: MemoryState = MemoryState.NORMAL
    samples: tuple[tuple[float, int], ...] = ()
    rises: tuple[tuple[float, float], ...] = ()
    peak_bytes: int | None = None
    known: int = 0
    unknown: int = 0
    unknown_run: int = 0
    fresh: bool = True

    @property
    def total_bytes(self) -> int | None:
        """The last known total of this life; None before its first."""
        return self.samples[-1][1] if self.samples else None

    def renewed(self) -> Pressure:
        """For a new life: the level stays until its first sample, what it was derived from is forgotten."""
        return evolve(self, samples=(), rises=(), unknown_run=0, fresh=True)


def step(pressure: Pressure, total_bytes: int | None, now: float) -> tuple[Pressure, LevelChange | None]:
    """Take one sample; None is an unknown one: it is counted and changes nothing else.

    Returns:
        The new state, and the change of level if there was one.
    """
    if total_bytes is None:
        return evolve(pressure, unknown=pressure.unknown + 1, unknown_run=pressure.unknown_run + 1), None
    level = classify(pressure.thresholds, total_bytes, None if pressure.fresh else pressure.level)
    after = evolve(
        pressure,
        level=level,
        samples=(*pressure.samples[1 - SAMPLES :], (now, total_bytes)),
        rises=_rises(pressure, total_bytes, now),
        peak_bytes=max(total_bytes, pressure.peak_bytes or 0),
        known=pressure.known + 1,
        unknown_run=0,
        fresh=False,
    )
    return after, None if level is pressure.level else LevelChange(pressure.level, level, total_bytes, now)


def again(pressure: Pressure, total_bytes: int, now: float) -> tuple[Pressure, LevelChange | None]:
    """Take the latest sample once more, a moment later: it counts in its place, and no growth is made of the moment between.

    Returns:
        The new state, and the change of level if there was one.
    """
    level = classify(pressure.thresholds, total_bytes, pressure.level)
    after = evolve(
        pressure,
        level=level,
        samples=(*pressure.samples[:-1], (now, total_bytes)),
        peak_bytes=max(total_bytes, pressure.peak_bytes or 0),
    )
    return after, None if level is pressure.level else LevelChange(pressure.level, level, total_bytes, now)


def classify(thresholds: Thresholds, total_bytes: int, held: MemoryState | None = None) -> MemoryState:
    """The level of a total, for a leaf whose level was `held` until now; None: it had none, so there is no hysteresis."""
    for level in reversed(LEVELS):
        if total_bytes >= thresholds.enter_bytes(level):
            return level
        if held is not None and held.reaches(level) and total_bytes >= thresholds.leave_bytes(level):
            return level
    return MemoryState.NORMAL


def growth(pressure: Pressure, now: float) -> float:
    """The fastest growth between two samples within the last `GROWTH_WINDOW` seconds, in bytes per second; 0 when there was none."""
    return max((rate for at, rate in pressure.rises if now - at <= GROWTH_WINDOW), default=0.0)


def interval(pressure: Pressure, intervals: Intervals, now: float) -> float:
    """Seconds from a sample to the next one.

    The level's own interval, or less: the time that the fastest recent growth needs from the last total to the next level,
    but never below ``intervals.minimum``.
    """
    pause = intervals.of(pressure.level)
    rate, total = growth(pressure, now), pressure.total_bytes
    if rate > 0 and total is not None and pressure.level is not MemoryState.EMERGENCY:
        # the next level, not the next threshold: crossing the own level's threshold again, out of its band, changes nothing
        above = pressure.thresholds.enter_bytes(LEVELS[pressure.level.rank + 1])
        pause = min(pause, (above - total) / rate)
    return max(pause, intervals.minimum)


def _rises(pressure: Pressure, total_bytes: int, now: float) -> tuple[tuple[float, float], ...]:
    """A sliding maximum: whatever is older and slower than a newer rise can never be the fastest again."""
    if not pressure.samples:
        return ()
    before, seconds = pressure.samples[-1][1], now - pressure.samples[-1][0]
    kept = [(at, rate) for at, rate in pressure.rises if now - at <= GROWTH_WINDOW]
    if seconds > 0 and total_bytes > before:
        rate = (total_bytes - before) / seconds
        while kept and kept[-1][1] <= rate:
            kept.pop()
        if len(kept) == RISES:
            # full: the slowest remembered one is remembered longer, which errs towards looking sooner
            rate = max(rate, kept.pop()[1])
        kept.append((now, rate))
    return tuple(kept)
