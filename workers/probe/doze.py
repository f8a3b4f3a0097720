"""How a sweep sleeps."""

from __future__ import annotations

import math

import anyio


class Doze:
    """A sleep that somebody may cut short, because something is due sooner."""

    def __init__(self) -> None:
        self._until = -math.inf
        self._early = anyio.Event()

    def wake(self, at: float) -> None:
        """Something is due at `at`; whoever sleeps past that is woken now."""
        if at < self._until:
            self._early.set()

    async def until(self, at: float) -> None:
        """Sleep until `at`, or until it is woken.

        **Cancellation:** at any time, without effect.
        """
        self._until = at
        with anyio.CancelScope(deadline=at):
            await self._early.wait()
        self._until = -math.inf
        self._early = anyio.Event()
