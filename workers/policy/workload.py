"""What is kept of a leaf's memory over all its lives, for thresholds that fit it (`suggestion.py`).

A histogram of time by level in steps of five percent, the peak of the first minutes of the latest lives, and how fast memory grew.
It is bounded, however long the guardian runs.
"""

from __future__ import annotations

import math
from typing import Final

import attrs

from supervisor import Value

STEP: Final = math.log(1.05)
LEAST_BYTES: Final = 1 << 20
"""Everything below is one bucket."""
LONGEST_PAUSE: Final = 60.0
"""A sample stands for the time since the last one, at most this: what was between is not known."""
STARTING: Final = 120.0
"""Seconds from the first sample of a life in which its peak is what a new life needs."""
LIVES: Final = 16
"""How many lives' first peaks are kept."""


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
