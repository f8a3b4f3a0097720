"""The event bus: every event is numbered, written to the sinks at once, and offered to bounded subscriptions.

Publishing never waits: a subscriber that is too slow loses its oldest events and is told which.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType

import anyio

from ..core.errors import InvalidField, is_count
from ..core.event import Event, EventsLost, Record

Sink = Callable[[Record], object]


class Subscription:
    """Records, oldest first; an async iterator within ``async with``. Ends when the tree has ended and all was read.

    Attributes:
        lost: How many records this subscriber has lost so far.
    """

    def __init__(self, bus: Bus, capacity: int) -> None:
        self._bus, self._capacity = bus, capacity
        self._records: deque[Record] = deque()
        self._gap: tuple[int, int] | None = None
        self._waiting: anyio.Event | None = None
        self._closed = False
        self.lost = 0

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bus.unsubscribe(self)
        self.close()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Record:
        """The next record.

        **Cancellation:** safe; no record is lost by it.
        """
        while not self._records:
            if self._closed:
                raise StopAsyncIteration
            if self._waiting is None:
                self._waiting = anyio.Event()
            await self._waiting.wait()
        if self._gap is not None:
            first, last = self._gap
            self._gap = None
            return self._bus.record(EventsLost((), first=first, last=last), last)
        return self._records.popleft()

    def offer(self, record: Record) -> None:
        """Take a record, at the price of the oldest one when full."""
        if len(self._records) >= self._capacity:
            oldest = self._records.popleft().seq
            self._gap = (self._gap[0] if self._gap else oldest, oldest)
            self.lost += 1
        self._records.append(record)
        self._wake()

    def close(self) -> None:
        """No more records come."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None


class Bus:
    """Numbers events and hands them out. `clock` gives monotonic seconds.

    Attributes:
        seq: The number of the latest event.
        faults: What sinks have raised.
    """

    def __init__(self, run: str, clock: Callable[[], float], sinks: Iterable[Sink] = ()) -> None:
        self.run, self._clock, self._began = run, clock, clock()
        self._subscriptions: tuple[Subscription, ...] = ()
        self._sinks = tuple(sinks)
        self.seq = 0
        self.faults: list[Exception] = []

    def publish(self, event: Event) -> None:
        """Number the event and hand it out."""
        self.seq += 1
        if not self._sinks and not self._subscriptions:
            return
        record = self.record(event, self.seq)
        for sink in self._sinks:
            try:
                sink(record)
            except Exception as error:  # the boundary that keeps a faulty sink from the tree; the error leaves its block at the end
                self._sinks = tuple(other for other in self._sinks if other is not sink)
                self.faults.append(error)
        for subscription in self._subscriptions:
            subscription.offer(record)

    def record(self, event: Event, seq: int) -> Record:
        """The event as it travels."""
        return Record(self.run, seq, self._clock() - self._began, time.time(), event)

    def add_sink(self, sink: Sink) -> None:
        """Call `sink` with every record from now on, on the publishing task; it must return soon. One that raises is taken off."""
        self._sinks = (*self._sinks, sink)

    def subscribe(self, capacity: int) -> Subscription:
        """A new subscription; see `Subscription`.

        Raises:
            InvalidField: `capacity` is no count of at least 1.
        """
        if not is_count(capacity, least=1):
            raise InvalidField("capacity", capacity, "an integer >= 1", where="subscribe")
        subscription = Subscription(self, capacity)
        self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Offer it nothing more."""
        self._subscriptions = tuple(other for other in self._subscriptions if other is not subscription)

    def close(self) -> None:
        """The tree has ended."""
        for subscription in self._subscriptions:
            subscription.close()
