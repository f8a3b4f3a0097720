"""asyncio's event loop in virtual time."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock begins at 0 and jumps to the next deadline whenever nothing is ready."""

    def __init__(self) -> None:
        self._now = 0.0
        self._idle: list[asyncio.Future[float]] = []
        self._holds = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    async def idle(self) -> float:
        """Wait until nothing is ready; the seconds until the next deadline, ``math.inf`` when there is none."""
        future: asyncio.Future[float] = self.create_future()
        self._idle.append(future)
        return await future

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As always; what is due in all eternity (``sleep_forever``) is no deadline to jump to."""
        if when == math.inf:
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    async def shutdown_default_executor(self, *timeout: Any) -> None:
        """As always, in real time: threads are waited for here."""
        self._holds += 1
        try:
            await super().shutdown_default_executor(*timeout)  # Python 3.12 gives it a timeout
        finally:
            self._holds -= 1

    def nothing_is_ready(self) -> bool:
        """Let those go on who waited for this moment, else jump; False when there is nothing to jump to."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        when = scheduled[0].when() if scheduled else math.inf
        if self._idle:
            waiting, self._idle = self._idle, []
            for future in waiting:
                if not future.done():
                    future.set_result(when - self._now)
            return True
        if when == math.inf or self._holds:
            return False
        self._now = max(self._now, when)
        # the loop runs what is due before now + resolution: that must be later than now, also in a year
        self._clock_resolution = max(1e-9, 2 * math.ulp(self._now))
        return True


class _Selector(selectors.DefaultSelector):
    """Polls; a real wait is only for what no clock can bring."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0) or self._loop.nothing_is_ready():
            return ready
        return super().select(timeout)
