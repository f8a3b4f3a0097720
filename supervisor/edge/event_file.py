"""The event stream as a file of JSON Lines: every record whole, at once, and without ever raising into the tree."""

from __future__ import annotations

import math
import os
import stat
import time
import weakref
from collections.abc import Callable
from typing import Any

import attrs

from ..core.event import EventsLost, Record
from ..core.exits import describe
from .redactor import NOTHING, Redactor
from .usage import Fault, UsageError

VERSION = 1


def record_data(record: Record) -> dict[str, Any]:
    """A record as JSON data, in the one shape that all readers of events see."""
    return {
        "v": VERSION,
        "run": record.run,
        "seq": record.seq,
        "time": utc(record.time),
        "monotonic": round(record.monotonic, 6),
        "event": record.event.name,
        "path": list(record.event.path),
        "generation": record.event.generation,
        "data": record.event.as_data(),
    }


def encoded(record: Record, redactor: Redactor = NOTHING) -> bytes:
    """A record as one line of JSON, in ASCII, with its newline; made once for all who ask for the latest record.

    Args:
        record: It.
        redactor: Takes secrets out of the event's own fields.
    """
    global _latest
    if _latest is None or _latest[0]() is not record or _latest[1] is not redactor:
        data = record_data(record)
        line = as_line(data)
        if redactor.suspects(line):
            line = as_line({**data, "data": redactor.data(data["data"])})
        _latest = (weakref.ref(record), redactor, line)
    return _latest[2]


_latest: tuple[weakref.ref[Record], Redactor, bytes] | None = None


def as_line(data: object) -> bytes:
    """JSON data as one line, in ASCII, with its newline. What JSON cannot say (NaN, infinity) is null: unknown."""
    import json

    try:
        line = json.dumps(data, allow_nan=False, separators=(",", ":"))
    except ValueError:
        line = json.dumps(_finite(data), allow_nan=False, separators=(",", ":"))
    return line.encode("ascii") + b"\n"


def utc(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with microseconds."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{micros:06d}Z"


class EventFile:
    """An open event file.

    A record that cannot be written is counted, not raised. After a line of which only a part was written, the rest of that line
    comes first. The first record that gets through again is preceded by ``events_lost`` with the range that is missing; that
    line has the number of the last record it stands for, so numbers only ever grow.

    Attributes:
        path: As it was given.
        lost: Records that were not written, since the file was opened.
        failure: Why the last write failed, for a person; None when it did not.
    """

    def __init__(self, path: str, *, redactor: Redactor = NOTHING, write: Callable[[int, bytes], int] = os.write) -> None:
        """Open or create the file (0600) for appending.

        Args:
            path: A file, a FIFO with a reader or a terminal; never created above what exists.
            redactor: Takes secrets out of events. Of an event that it cannot redact nothing is written.
            write: As `os.write`.

        Raises:
            UsageError: It cannot be opened.
        """
        self.path = path
        self.lost = 0
        self.failure: str | None = None
        self._write, self._redactor = write, redactor
        self._missing: tuple[int, int] | None = None
        # not blocking, so that a FIFO whose reader sleeps loses events and does not stall the tree
        flags = (
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
        )
        try:
            self._fd: int | None = os.open(path, flags, 0o600)
        except (OSError, ValueError) as error:
            raise UsageError([Fault("--events", f"{path!r} cannot be opened: {_reason(error)}")]) from None
        # a line torn by an earlier run is ended, so that ours begins on its own
        self._rest = b"\n" if _ends_torn(path, self._fd) else b""

    @staticmethod
    def fault(path: str) -> Fault | None:
        """What would keep the file from being opened, as far as can be seen without creating it."""
        directory = os.path.dirname(path) or "."
        if not path or os.path.isdir(path):
            return Fault("--events", f"{path!r} is no file")
        if not os.path.isdir(directory):
            return Fault("--events", f"the directory {directory!r} is not there")
        if not os.access(path if os.path.lexists(path) else directory, os.W_OK):
            return Fault("--events", f"{path!r} cannot be written by this user")
        return None

    def write(self, record: Record) -> bool:
        """Append a record; False when it was lost."""
        if self._fd is None:
            return False
        try:
            written = self._deliver(record)
        except Exception as error:  # a full disk, or an event that JSON cannot say: neither may reach the tree
            self.failure = _reason(error)
            written = False
        if not written:
            self.lost += 1
            self._missing = (self._missing[0] if self._missing else record.seq, record.seq)
        return written

    def close(self) -> None:
        """Write what is left of a torn line, if that is possible now, and close the file. May be called again."""
        if self._fd is not None:
            try:
                self._flush()
            except OSError as error:
                self.failure = _reason(error)
            os.close(self._fd)
            self._fd = None

    def _deliver(self, record: Record) -> bool:
        line = encoded(record, self._redactor)
        if not self._flush():
            return False
        if self._missing is not None:
            first, last = self._missing
            notice = attrs.evolve(record, seq=last, event=EventsLost(record.event.path[:1], first=first, last=last))
            self._append(encoded(notice))
            # what was begun will be finished, so it counts as said
            self._missing = None
            if self._rest:
                return False
        self._append(line)
        return True

    def _flush(self) -> bool:
        if self._rest:
            rest, self._rest = self._rest, b""
            try:
                self._append(rest)
            except OSError:
                self._rest = rest
                raise
        return not self._rest

    def _append(self, line: bytes) -> None:
        """Write a line with one call; what did not fit is the rest that comes first next time."""
        assert self._fd is not None
        count = self._write(self._fd, line)
        self.failure = None
        if count < len(line):
            self._rest = line[count:]
            self.failure = "a line was written in part"


def _ends_torn(path: str, fd: int) -> bool:
    about = os.fstat(fd)
    if not stat.S_ISREG(about.st_mode) or about.st_size == 0:
        return False
    try:
        with open(path, "rb") as stream:
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) != b"\n"
    except OSError:
        # may be written but not read: nobody can tell
        return False


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or describe(error)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
