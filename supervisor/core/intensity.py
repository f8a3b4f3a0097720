"""OTP's restart intensity: a sliding window over the times of past restarts."""

from __future__ import annotations

import math

import attrs

from .fifo import EMPTY_QUEUE, Queue
from .value import Value


@attrs.frozen(repr=False, eq=False)
class Window(Value):
    """The restarts that still count. Source: `add_restart/1` and `can_restart/4` of OTP's ``supervisor.erl``.

    A restart at time t counts until t + period, inclusive, as in OTP; times are float seconds where OTP rounds to whole ones.

    Attributes:
        times: Of the restarts, oldest first.
        size: How many they are. Where more, as of a window in another process, those without a time count until the oldest is out.
    """

    times: Queue[float] = EMPTY_QUEUE
    size: int = 0

    def pruned(self, period: float, now: float) -> Window:
        """Without the restarts that are out of the window at `now`. Amortised constant time."""
        times, size = self.times, self.size
        while size and times.peek() + period < now:
            times = times.dequeue()
            size = min(size - 1, len(times))
        return self if size == self.size else Window(times, size)

    def record(self, now: float) -> Window:
        """With one more restart, at `now`; times never decrease."""
        return Window(self.times.enqueue(now), self.size + 1)

    def admits(self, intensity: int) -> bool:
        """Whether one more restart stays within `intensity`; prune first."""
        return self.size < intensity

    def frees(self, period: float) -> float | None:
        """The first moment at which the oldest restart no longer counts; None for an empty window."""
        return math.nextafter(self.times.peek() + period, math.inf) if self.size else None


EMPTY = Window()
