"""A channel: a bounded queue of records, and a few programs at a time that are run for them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import ClassVar, Final

import anyio
import attrs

from supervisor import Event, EventsLost, Record

from ..event import NotificationFailed

QUEUE: Final = 256
"""Records that wait at most; what comes when so many do is lost, and told as `events_lost` before the next one."""

LAST_WORDS: Final = 5.0
"""Seconds that the last events may take to be told when the run is over."""

ROOT: Final = ("guardian",)


class Channel:
    """What is told of records, one program for each.

    Args:
        name: What a failure is told as.
        tell: Tells of one record, and says what went wrong, or None.
        emit: Publishes the event of a failure: one for each stretch of failures.
        wants: Which records are told at all.
        concurrency: Programs that run at once; with one, records are told in order.

    Attributes:
        lost: Records that found the queue full.
        trouble: What went wrong the last time; None when nothing did.
        silent: Whether failures are no events any more, because the last event has been.
        patience: Seconds for which it is waited at the end, as far as the others leave them.
    """

    patience: ClassVar[float] = LAST_WORDS

    def __init__(
        self,
        name: str,
        tell: Callable[[Record], Awaitable[str | None]],
        emit: Callable[[Event], object],
        *,
        wants: Callable[[Record], bool] = lambda record: True,
        concurrency: int = 1,
    ) -> None:
        self.name, self.lost = name, 0
        self.trouble: str | None = None
        self.silent = False
        self._tell, self._emit, self._wants, self._concurrency = tell, emit, wants, concurrency
        self._waiting: deque[Record] = deque()
        self._missing: tuple[int, int] | None = None
        self._news = anyio.Event()
        self._idle = anyio.Event()
        self._running = 0

    def offer(self, record: Record) -> None:
        """A sink of the tree's bus: take a record, if there is room."""
        event = record.event
        if (isinstance(event, NotificationFailed) and event.channel == self.name) or not self._wants(record):
            return  # told by the channel that has failed, it would only fail again
        room = 1 if self._missing is None else 2
        if len(self._waiting) + room > QUEUE:
            self.lost += 1
            self._missing = (record.seq if self._missing is None else self._missing[0], record.seq)
            return
        if self._missing is not None:
            first, last = self._missing
            self._missing = None
            self._waiting.append(attrs.evolve(record, seq=last, event=EventsLost(event.path[:1], first=first, last=last)))
        self._waiting.append(record)
        self._news.set()

    async def run(self) -> None:
        """Tell what is offered, until cancelled.

        **Cancellation:** at any time; the programs that run are killed.
        """
        limit = anyio.Semaphore(self._concurrency)
        async with anyio.create_task_group() as tasks:
            while True:
                await limit.acquire()
                while not self._waiting:
                    await self._news.wait()
                    self._news = anyio.Event()
                self._running += 1
                tasks.start_soon(self._told, self._waiting.popleft(), limit)

    async def _told(self, record: Record, limit: anyio.Semaphore) -> None:
        try:
            trouble = await self._tell(record)
            if trouble is not None and self.trouble is None and not self.silent:
                self._emit(NotificationFailed(ROOT, self.name, trouble))
            self.trouble = trouble
        finally:
            self._running -= 1
            limit.release()
            if self.is_idle:
                self._idle.set()
                self._idle = anyio.Event()

    @property
    def is_idle(self) -> bool:
        """Whether everything that was offered has been told."""
        return not self._waiting and not self._running

    @property
    def said(self) -> str:
        """For a summary: what was lost, or still waits when it is over, and what is wrong; empty when all is well."""
        missing = self.lost + len(self._waiting)
        lost = [f"{missing} events lost"] if missing else []
        return "; ".join([*lost, *([self.trouble] if self.trouble is not None else [])])

    async def drained(self) -> None:
        """Wait until everything that was offered has been told.

        **Cancellation:** at any time, without effect.
        """
        while not self.is_idle:
            await self._idle.wait()


@asynccontextmanager
async def serving(channels: Iterable[Channel], hurried: Callable[[], Awaitable[None]], patience: float = LAST_WORDS) -> AsyncIterator[None]:
    """Run channels while the block lasts, and a little longer, so that its last events are told.

    Args:
        channels: Which.
        hurried: Returns when nobody wants to wait any more.
        patience: Seconds for which the last events may be told after the block.

    **Cancellation:** the programs that run are killed.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        for channel in channels:
            tasks.start_soon(channel.run)
        try:
            yield
        except Exception as error:  # raised again below, where no task group wraps it
            failure = error
        for channel in channels:
            channel.silent = True
        with anyio.move_on_after(patience):
            await _drained(channels, hurried)
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _drained(channels: Iterable[Channel], hurried: Callable[[], Awaitable[None]]) -> None:
    async with anyio.create_task_group() as tasks:

        async def leave() -> None:
            await hurried()
            tasks.cancel_scope.cancel()

        tasks.start_soon(leave)
        for channel in channels:
            with anyio.move_on_after(channel.patience):
                await channel.drained()
        tasks.cancel_scope.cancel()
