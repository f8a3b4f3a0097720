"""The latest events of a run as lines of JSON, within a bound of bytes; every reader keeps its own place, so that none costs memory."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

from ...core.event import EventsLost, Record
from ..redactor import NOTHING, Redactor

if TYPE_CHECKING:
    import anyio

KEPT_BYTES: Final = 1 << 20
FRESH: Final = 64
"""Records that are kept as they are: most runs have few events and no reader, and spend nothing on the lines."""


class Ring:
    """The latest events; of those that are not there any more it is known how many there were.

    Args:
        kept_bytes: The lines kept are at most so long, all together; the latest one is always kept.
        redactor: Takes secrets out of the lines.

    Attributes:
        last: The number of the latest event, 0 before the first.
        run: The run's id; empty before the first event.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES, redactor: Redactor = NOTHING) -> None:
        self.last = 0
        self.run = ""
        self._kept_bytes, self._redactor = kept_bytes, redactor
        self._fresh: deque[Record] = deque()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._waiting: anyio.Event | None = None
        self._stamp: tuple[float, float, tuple[str, ...]] = (0.0, 0.0, ())

    def keep(self, record: Record) -> None:
        """Take the next record; a sink of the tree's bus."""
        self.last, self.run = record.seq, record.run
        self._stamp = (record.monotonic, record.time, record.event.path[:1])
        self._fresh.append(record)
        if len(self._fresh) > FRESH:
            self._encode_oldest()
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None

    @property
    def first(self) -> int:
        """The number of the oldest event that is still here; one more than `last` when there is none."""
        return self.last - len(self._lines) - len(self._fresh) + 1

    def after(self, seq: int, most_bytes: int) -> tuple[list[bytes], int]:
        """The events after one.

        Args:
            seq: The number of the last event that the reader has.
            most_bytes: No more lines than fit into this, but one at least.

        Returns:
            Lines with their newlines, and the number of the last event that they tell of. Where events are not there any more the first
            line is an ``events_lost``, whose number is that of the last one it stands for.
        """
        while self._fresh:
            self._encode_oldest()
        lines: list[bytes] = []
        first = self.first
        if seq + 1 < first:
            lines.append(self._notice(seq + 1, first - 1))
            seq = first - 1
        size = 0
        for line in islice(self._lines, seq + 1 - first, None):
            if size and size + len(line) > most_bytes:
                break
            lines.append(line)
            size += len(line)
            seq += 1
        return lines, seq

    async def more(self, seq: int) -> None:
        """Wait until there is an event after one.

        **Cancellation:** at any time, without effect.
        """
        import anyio

        while self.last <= seq:
            if self._waiting is None:
                self._waiting = anyio.Event()
            await self._waiting.wait()

    def _encode_oldest(self) -> None:
        from ..event_file import encoded

        line = encoded(self._fresh.popleft(), self._redactor)
        self._lines.append(line)
        self._bytes += len(line)
        while self._bytes > self._kept_bytes and len(self._lines) > 1:
            self._bytes -= len(self._lines.popleft())

    def _notice(self, first: int, last: int) -> bytes:
        from ..event_file import as_line, record_data

        monotonic, time, root = self._stamp
        return as_line(record_data(Record(self.run, last, monotonic, time, EventsLost(root, first=first, last=last))))
