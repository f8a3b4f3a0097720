"""Which thresholds the observed workload asks for, and why.

A `Workload` is what is kept of all lives: a histogram of time by level in steps of five percent, the peak of the first minutes of the
latest lives, and how fast memory grew. It is bounded, however long the guardian runs.
"""

from __future__ import annotations

import math
from typing import Any, Final

import attrs

from supervisor import Value, format_bytes

from .outlook import about
from .pressure import MemoryState, Thresholds

STEP: Final = math.log(1.05)
LEAST_BYTES: Final = 1 << 20
"""Everything below is one bucket."""
LONGEST_PAUSE: Final = 60.0
"""A sample stands for the time since the last one, at most this: what was between is not known."""
STARTING: Final = 120.0
"""Seconds from the first sample of a life in which its peak is what a new life needs."""
LIVES: Final = 16
"""How many lives' first peaks are kept."""
OBSERVED: Final = 300.0
"""Seconds that must have been observed before anything is suggested."""
SAMPLES: Final = 10
SHARES: Final = {MemoryState.WARNING: 0.7, MemoryState.CRITICAL: 0.8, MemoryState.EMERGENCY: 0.9}
"""Shares of the limit that no suggestion goes beyond."""
ROOMY: Final = 0.65
"""Share of the limit up to which a leak is given room, since each restart costs a turn."""
APART: Final = 3600.0
"""Seconds between two restarts of a leaking leaf that are worth that room."""
TOO_OFTEN: Final = 600.0
"""Seconds between two restarts below which the configured critical looks wrong."""
NOTICE: Final = 300.0
"""Seconds from warning to critical that a growing leaf should have: to capture, and to find an idle moment."""


@attrs.frozen(repr=False, eq=False)
class Workload(Value):
    """What was observed of a leaf, over all its lives.

    Attributes:
        histogram: Seconds by bucket, in the order of the buckets; bucket n begins at 1.05 ** n MiB.
        peak_bytes: The highest total.
        starts: The highest total of the first `STARTING` seconds of the latest `LIVES` lives, oldest first; the last one may go on.
        samples: How many there were.
        growth: The fastest lasting growth in bytes per second, of confident forecasts and of lives that were restarted for their memory;
            0 when there was none.
        born: When the first sample of this life was taken; None before that.
        last: The last sample of this life as (time, bytes); None before the first.
    """

    histogram: tuple[tuple[int, float], ...] = ()
    peak_bytes: int = 0
    starts: tuple[int, ...] = ()
    samples: int = 0
    growth: float = 0.0
    born: float | None = None
    last: tuple[float, int] | None = None

    @property
    def seconds(self) -> float:
        """How long it was observed."""
        return math.fsum(seconds for _, seconds in self.histogram)

    @property
    def start_bytes(self) -> int:
        """What a new life needs at once: the highest of the first peaks; 0 when there was no life."""
        return max(self.starts, default=0)

    def renewed(self) -> Workload:
        """A new life begins with the next sample."""
        return attrs.evolve(self, born=None, last=None)

    def outgrew(self) -> Workload:
        """This life is about to be restarted for its memory: what it grew by since its first minutes, it grew by lastingly."""
        if self.born is None or self.last is None or self.last[0] - self.born <= STARTING:
            return self
        return attrs.evolve(self, growth=max(self.growth, (self.last[1] - self.starts[-1]) / (self.last[0] - self.born)))

    def saw(self, total_bytes: int, now: float, growth: float = 0.0) -> Workload:
        """Take a known sample, and the growth that a confident forecast goes by at present, if there is one."""
        born = now if self.born is None else self.born
        starts = self.starts
        if self.born is None:
            starts = (*starts[1 - LIVES :], total_bytes)
        elif now - born <= STARTING:
            starts = (*starts[:-1], max(starts[-1], total_bytes))
        stands_for = 0.0 if self.last is None else min(LONGEST_PAUSE, max(0.0, now - self.last[0]))
        return Workload(
            _added(self.histogram, _bucket(total_bytes), stands_for),
            max(self.peak_bytes, total_bytes),
            starts,
            self.samples + 1,
            max(self.growth, growth),
            born,
            (now, total_bytes),
        )

    def percentile(self, share: float) -> int:
        """The total that was not exceeded in `share` (0 to 1) of the time, to five percent; 0 when nothing is known."""
        left = share * self.seconds
        for bucket, seconds in self.histogram:
            left -= seconds
            if left <= 0:
                return min(self.peak_bytes, int(LEAST_BYTES * math.exp((bucket + 1) * STEP)))
        return self.peak_bytes


@attrs.frozen(repr=False, eq=False)
class Suggestion(Value):
    """Thresholds, and why.

    Attributes:
        thresholds: What is suggested.
        configured: What is configured.
        reasons: Why, a sentence each.
        faults: What is wrong with the configured ones, a sentence each; empty: nothing is.
    """

    thresholds: Thresholds
    configured: Thresholds
    reasons: tuple[str, ...]
    faults: tuple[str, ...]

    def lines(self) -> list[str]:
        """For a person: the three thresholds, then why, then what is wrong with the configured ones."""
        rows = [
            f"{level.value:<10}{format_bytes(self.thresholds.enter_bytes(level)):>12}"
            f"   (configured: {format_bytes(self.configured.enter_bytes(level))})"
            for level in _LEVELS
        ]
        return [*rows, *(f"because {reason}" for reason in self.reasons), *(f"as configured, {fault}" for fault in self.faults)]

    def as_data(self) -> dict[str, Any]:
        """For a program: sizes in bytes."""
        return {
            "suggested": {f"{level.value}_bytes": self.thresholds.enter_bytes(level) for level in _LEVELS},
            "configured": {f"{level.value}_bytes": self.configured.enter_bytes(level) for level in _LEVELS},
            "reasons": list(self.reasons),
            "faults": list(self.faults),
        }

    def summary(self) -> str | None:
        """One line about thresholds that look wrong; None when they do not."""
        if not self.faults:
            return None
        marks = ", ".join(f"{level.value} {format_bytes(self.thresholds.enter_bytes(level))}" for level in _LEVELS)
        return f"{self.faults[0]}; suggested: {marks}"


def suggest(workload: Workload, configured: Thresholds, limit_bytes: int | None = None) -> Suggestion | None:
    """What the thresholds should be.

    Args:
        workload: What was observed.
        configured: What is configured.
        limit_bytes: How much memory this host, or its control group, has; None when that is not known.

    Returns:
        None when too little was observed: less than `OBSERVED` seconds, or fewer than `SAMPLES` samples.
    """
    if workload.samples < SAMPLES or workload.seconds < OBSERVED:
        return None
    start, half, most = workload.start_bytes, workload.percentile(0.5), workload.percentile(0.99)
    seen = (
        f"half of the time it needs up to {format_bytes(half)}, 99 % of it up to {format_bytes(most)}, "
        f"and {format_bytes(workload.peak_bytes)} at most"
    )
    reasons = [seen, f"a new life needs {format_bytes(start)} in its first two minutes"]
    if workload.growth > 0:
        warning, critical, emergency = _leaking(workload, start, half, limit_bytes, reasons)
    else:
        # what it needs now and then is no leak: the peak is to fit below warning
        warning = max(start, workload.peak_bytes) * 5 // 4
        critical, emergency = warning * 5 // 4, warning * 3 // 2
        reasons.append("no lasting growth was seen, so warning is 25 % above its peak")
    suggested = _within(warning, critical, emergency, limit_bytes, reasons)
    return Suggestion(suggested, configured, tuple(reasons), tuple(_faults(workload, configured, limit_bytes)))


def _leaking(workload: Workload, start: int, half: int, limit_bytes: int | None, reasons: list[str]) -> tuple[int, int, int]:
    rate = workload.growth
    room = int(start + rate * APART)
    if limit_bytes is not None:
        room = min(room, int(limit_bytes * ROOMY))
    notice = int(rate * NOTICE)
    # the median of a leaking leaf says how long it leaked; what a new life needs is the floor
    critical = max(start * 3 // 2 + notice, room)
    warning = max(start * 5 // 4, min(critical - notice, critical * 4 // 5))
    emergency = critical + max(critical // 5, int(rate * NOTICE / 2))
    every = (critical - start) / rate
    reasons.append(
        f"it grows by up to {format_bytes(int(rate * 60))} a minute: critical gives it about {about(every)} between two restarts, "
        f"and warning comes at least {about((critical - warning) / rate)} earlier"
    )
    return warning, critical, emergency


def _within(warning: int, critical: int, emergency: int, limit_bytes: int | None, reasons: list[str]) -> Thresholds:
    """In order, and below the limit."""
    wanted = dict(zip(_LEVELS, (warning, critical, emergency), strict=True))
    if limit_bytes is not None:
        most = {level: max(3, int(limit_bytes * SHARES[level])) for level in _LEVELS}
        if any(wanted[level] > most[level] for level in _LEVELS):
            reasons.append(
                f"this host has {format_bytes(limit_bytes)}, of which {SHARES[MemoryState.EMERGENCY]:.0%} is the most for emergency"
            )
            wanted = {level: min(wanted[level], most[level]) for level in _LEVELS}
    low = max(1, wanted[MemoryState.WARNING])
    middle = max(low + 1, wanted[MemoryState.CRITICAL])
    return Thresholds(low, middle, max(middle + 1, wanted[MemoryState.EMERGENCY]))


def _faults(workload: Workload, configured: Thresholds, limit_bytes: int | None) -> list[str]:
    """The gravest first."""
    faults = []
    start, half = workload.start_bytes, workload.percentile(0.5)
    critical = configured.critical_bytes
    if start >= critical:
        faults.append(
            f"critical ({format_bytes(critical)}) is no more than a new life needs ({format_bytes(start)}): a restart cannot help"
        )
    elif workload.growth > 0 and (every := (critical - start) / workload.growth) < TOO_OFTEN:
        faults.append(f"critical ({format_bytes(critical)}) leaves a new life about {about(every)} until the next restart")
    if limit_bytes is not None and configured.emergency_bytes > limit_bytes:
        faults.append(
            f"emergency ({format_bytes(configured.emergency_bytes)}) is above all the memory there is ({format_bytes(limit_bytes)})"
        )
    if half >= configured.warning_bytes and start < critical:
        faults.append(f"warning ({format_bytes(configured.warning_bytes)}) is passed half of the time ({format_bytes(half)})")
    return faults


_LEVELS: Final = (MemoryState.WARNING, MemoryState.CRITICAL, MemoryState.EMERGENCY)


def _bucket(total_bytes: int) -> int:
    return max(0, int(math.log(total_bytes / LEAST_BYTES) / STEP)) if total_bytes > LEAST_BYTES else 0


def _added(histogram: tuple[tuple[int, float], ...], bucket: int, seconds: float) -> tuple[tuple[int, float], ...]:
    """With `seconds` more in one bucket; the order is kept."""
    if seconds <= 0:
        return histogram
    place = 0
    while place < len(histogram) and histogram[place][0] < bucket:
        place += 1
    if place < len(histogram) and histogram[place][0] == bucket:
        return (*histogram[:place], (bucket, histogram[place][1] + seconds), *histogram[place + 1 :])
    return (*histogram[:place], (bucket, seconds), *histogram[place:])
