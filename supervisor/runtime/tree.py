"""What all supervisors of one tree share: the task group, the clock, the timer, the bus."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
from anyio.abc import TaskGroup

from .bus import Bus
from .timer import Timer


class Tree:
    """Lives inside ``async with Supervisor(...)``.

    Attributes:
        clock: Monotonic seconds of the event loop, virtual where the loop's are.
        abandoned: Children that were given up because they did not end when killed.
    """

    def __init__(self, tasks: TaskGroup, *, run: str | None = None) -> None:
        self._tasks = tasks
        self.clock: Callable[[], float] = anyio.current_time
        self.bus = Bus(run or uuid.uuid4().hex, self.clock)
        self.timer = Timer(self.clock, lambda timer: self.spawn(timer.run, "supervisor timer"))
        self.abandoned = 0
        self._random = random.Random()

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> anyio.CancelScope:
        """Run a task that only the returned scope cancels."""
        scope = anyio.CancelScope(shield=True)
        self._tasks.start_soon(_within, scope, run, name=name)
        return scope

    def seed(self) -> int:
        """A fresh seed for the jitter of one supervisor."""
        return self._random.getrandbits(64)

    def close(self) -> None:
        """All supervisors have finished: end the timer and the subscriptions."""
        self.timer.close()
        self.bus.close()


async def _within(scope: anyio.CancelScope, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with scope:
        await run()
