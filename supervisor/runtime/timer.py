"""One task per tree that wakes the machines when they asked for it; it does not exist until one asks."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

import anyio
import anyio.lowlevel


class Sleeper(Protocol):
    """Whoever asked to be woken. `armed` is the one time that counts; older entries in the heap are void."""

    armed: float

    def wake(self) -> None:
        """The time has come."""


class Timer:
    """Wakes sleepers at or after their time, one event loop turn at the earliest."""

    def __init__(self, clock: Callable[[], float], spawn: Callable[[Timer], object]) -> None:
        self._clock, self._spawn = clock, spawn
        self._heap: list[tuple[float, int, Sleeper]] = []
        self._count = 0
        self._scope: anyio.CancelScope | None = None
        self._running = self._closed = False

    def arm(self, sleeper: Sleeper, at: float) -> None:
        """Wake `sleeper` at `at`, monotonic seconds, instead of when it asked before; ``math.inf`` for never."""
        sleeper.armed = at
        if at == math.inf or self._closed:
            return
        self._count += 1
        self._prune()
        heappush(self._heap, (at, self._count, sleeper))
        if not self._running:
            self._running = True
            self._spawn(self)
        elif self._scope is not None and at < self._scope.deadline:
            self._scope.deadline = at

    def close(self) -> None:
        """End the task."""
        self._closed = True
        if self._scope is not None:
            self._scope.cancel()

    async def run(self) -> None:
        """The task: sleep until the soonest time, wake who is due, again."""
        while not self._closed:
            self._prune()
            with anyio.CancelScope(deadline=self._heap[0][0] if self._heap else math.inf) as self._scope:
                await anyio.sleep_forever()
            self._scope = None
            # due sleepers are taken first: one that asks again for "now" waits for the next turn of the loop
            now = self._clock()
            due: list[Sleeper] = []
            while self._heap and self._heap[0][0] <= now:
                at, _, sleeper = heappop(self._heap)
                if sleeper.armed == at:
                    sleeper.armed = math.inf
                    due.append(sleeper)
            for sleeper in due:
                sleeper.wake()

    def _prune(self) -> None:
        while self._heap and self._heap[0][2].armed != self._heap[0][0]:
            heappop(self._heap)
