"""What is said to Claude MPM's monitor: one HTTP request on a connection of its own, and the question who it is.

The request is made over anyio's TCP streams, which can be cancelled at any moment: an HTTP client of the standard library would need a
thread that cannot. Of the answer the status line alone is of interest.
"""

from __future__ import annotations

import json
import os
from typing import Final

import anyio
import anyio.abc

from supervisor import EventsLost, Record, encoded

from ..redactor import REDACTOR
from .envelope import envelope
from .place import MonitorPlace

SERVICE: Final = "claude-mpm-monitor"
"""What it answers when it is asked who it is."""

_LONGEST_ANSWER: Final = 64 * 1024


class Refused(Exception):
    """It did not take what it was given."""


BROKEN: Final = (OSError, anyio.BrokenResourceError, anyio.EndOfStream, Refused)
"""What becomes of a request that fails."""


async def is_there(place: MonitorPlace) -> bool:
    """Whether what listens at a place says that it is a monitor.

    Raises:
        OSError, anyio.EndOfStream, anyio.BrokenResourceError, Refused: It says nothing that can be understood.

    **Cancellation:** at any time; the connection is closed.
    """
    status, answer = await request(place, "GET", "/health")
    return status == 200 and is_monitor(answer)


async def post(place: MonitorPlace, record: Record, session: str | None, cwd: str | None) -> None:
    """Post one record, without secrets.

    Raises:
        OSError, anyio.EndOfStream, anyio.BrokenResourceError, Refused: It was not taken.

    **Cancellation:** at any time; the connection is closed.
    """
    body = json.dumps(envelope(json.loads(encoded(record, REDACTOR)), session, cwd)).encode()
    status, _ = await request(place, "POST", place.path, body)
    if not 200 <= status < 300:
        raise Refused(f"status {status}")


def why(error: Exception, limit: float) -> str:
    """What went wrong, for a person; `limit` is the time that a request may take."""
    if isinstance(error, TimeoutError):
        return f"no answer within {limit:g} s"
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
        raise Refused("what answers there speaks no HTTP")
    while whole and len(taken) < _LONGEST_ANSWER:
        try:
            taken += await stream.receive()
        except anyio.EndOfStream:
            break
    return int(status), taken.partition(b"\r\n\r\n")[2]
