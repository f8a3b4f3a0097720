"""Events to Claude MPM's monitor: one HTTP request for each, one at a time, within its time; one that is gone is left alone for a while.

The request is made over anyio's TCP streams, which can be cancelled at any moment: an HTTP client of the standard library would need a
thread that cannot. Of the answer the status line alone is of interest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Final

import anyio
import anyio.abc

from supervisor import Event, EventsLost, Record, encoded

from ..redactor import REDACTOR
from .channel import Channel
from .envelope import envelope, is_worth
from .place import MonitorPlace

TIMEOUT: Final = 2.0
"""Seconds that one request may take, as Claude MPM's own hooks have it."""

LONGEST_PAUSE: Final = 60.0
"""Seconds for which a monitor that is gone is left alone at most; 1 after the first failure, and twice as long after each further one."""

SERVICE: Final = "claude-mpm-monitor"
"""What it answers when it is asked who it is."""

_LONGEST_ANSWER: Final = 64 * 1024


class _Refused(Exception):
    """It did not take what it was given."""


class MonitorChannel(Channel):
    """The channel to a monitor.

    Args:
        place: Where it is.
        emit: Publishes the event of a failure.
        about: The conversation and the working directory that a path is about, each None where there is none.
    """

    patience = TIMEOUT

    def __init__(
        self,
        place: MonitorPlace,
        emit: Callable[[Event], object],
        about: Callable[[tuple[str, ...]], tuple[str | None, str | None]],
    ) -> None:
        super().__init__("monitor", self._post, emit, wants=self._is_wanted)
        self._place, self._about = place, about
        self._known = place.is_configured
        self._nobody = False
        self._failures, self._again = 0, 0.0
        self._unsaid: tuple[int, int] | None = None

    def _is_wanted(self, record: Record) -> bool:
        return not self._nobody and is_worth(record.event.name, record.event.path)

    async def _post(self, record: Record) -> str | None:
        if self._place.trouble:
            self._lose(record)
            return self._place.trouble
        if anyio.current_time() < self._again:
            self._lose(record)
            return self.trouble
        try:
            with anyio.fail_after(TIMEOUT):
                if not await self._is_one():
                    return None
                if self._unsaid is not None:
                    await self._tell_monitor(lost(record, *self._unsaid))
                    self._unsaid = None
                await self._tell_monitor(record)
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, _Refused) as error:
            self._lose(record)
            self._again = anyio.current_time() + min(LONGEST_PAUSE, 2.0 ** min(self._failures, 10))
            self._failures += 1
            return f"{self._place.url}: {why(error)}"
        self._failures = 0
        return None

    async def _is_one(self) -> bool:
        """Whether a monitor is there: one that was not configured says so itself, or is told nothing at all."""
        if not self._known:
            status, answer = await request(self._place, "GET", "/health")
            self._known = status == 200 and is_monitor(answer)
            if not self._known:
                self._nobody = True
                self._waiting.clear()
        return self._known

    async def _tell_monitor(self, record: Record) -> None:
        told = json.loads(encoded(record, REDACTOR))
        body = json.dumps(envelope(told, *self._about(record.event.path))).encode()
        status, _ = await request(self._place, "POST", self._place.path, body)
        if not 200 <= status < 300:
            raise _Refused(f"status {status}")

    def _lose(self, record: Record) -> None:
        """One that is lost is counted, and before the next one that arrives the monitor is told which are missing."""
        event = record.event
        first, last = (event.first, event.last) if isinstance(event, EventsLost) else (record.seq, record.seq)
        self.lost += 0 if isinstance(event, EventsLost) else 1  # those were counted when they found no room
        self._unsaid = (first if self._unsaid is None else min(first, self._unsaid[0]), last)


def why(error: Exception) -> str:
    """What went wrong, for a person."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    if isinstance(error, OSError):
        cause = error.__cause__  # anyio's own sums up what went wrong with each address
        found = cause if isinstance(cause, OSError) else error
        return (str(found) if found.errno is None or found.errno < 0 else os.strerror(found.errno)).lower()
    return str(error) or "it broke off"


def lost(record: Record, first: int, last: int) -> Record:
    """The record that says which records are missing, before another one."""
    return Record(record.run, last, record.time, record.monotonic, EventsLost(record.event.path[:1], first=first, last=last))


def is_monitor(answer: bytes) -> bool:
    """Whether an answer is that of a monitor to the question who it is."""
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("service") == SERVICE


async def request(place: MonitorPlace, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """One request on a connection of its own.

    Returns:
        The status, and of the body of a GET the first 64 KiB.

    Raises:
        OSError: No connection.
        anyio.EndOfStream: It broke off.
        anyio.BrokenResourceError: Likewise.

    **Cancellation:** at any time; the connection is closed.
    """
    head = f"{method} {path} HTTP/1.1\r\nHost: {place.host}:{place.port}\r\nConnection: close\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    async with await anyio.connect_tcp(place.host, place.port) as stream:
        await stream.send(head.encode() + b"\r\n" + body)
        return await _answer(stream, whole=method == "GET")


async def _answer(stream: anyio.abc.ByteReceiveStream, *, whole: bool) -> tuple[int, bytes]:
    """Its status, and its body up to its end where that is wanted."""
    taken = b""
    while b"\r\n" not in taken and len(taken) < _LONGEST_ANSWER:
        taken += await stream.receive()
    version, _, rest = taken.partition(b" ")
    status = rest[:3]
    if not (version.startswith(b"HTTP/1.") and status.isdigit()):
        raise _Refused("what answers there speaks no HTTP")
    while whole and len(taken) < _LONGEST_ANSWER:
        try:
            taken += await stream.receive()
        except anyio.EndOfStream:
            break
    return int(status), taken.partition(b"\r\n\r\n")[2]
