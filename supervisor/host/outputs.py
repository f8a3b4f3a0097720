"""Where the output of a process goes that is read here: a pipe to read it from, files that are rotated, and our own streams.

Nothing here waits: whoever does not take bytes now raises `BlockingIOError`.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
from contextlib import suppress
from typing import Final, Protocol

import attrs

from .spawn import acknowledgement_pipe

LARGE_PIPE: Final = 256 * 1024
"""Bytes of a pipe whose contents are passed on as they are. All large pipes of a user without privileges share 64 MiB, after
which the kernel gives out tiny ones.
"""
_LINE: Final = 4096
"""Bytes of a line up to which it is never divided among two files, where a tenth of a file is that long."""
_AT_ONCE: Final = 512
"""Bytes that a pipe which is ready takes without waiting: POSIX's least ``PIPE_BUF``."""


def output_pipe(*, large: bool) -> tuple[int, int]:
    """A pipe for what a process writes: our end, which never blocks, and its end.

    Args:
        large: Whether it should hold more than usual, where the system allows it.

    Raises:
        OSError: Out of descriptors, or Windows, where a pipe cannot be waited for.
    """
    reader, writer = acknowledgement_pipe()
    if large and sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # the user has too many already
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, LARGE_PIPE)
    return reader, writer


def waiting_bytes(reader: int) -> int:
    """How many bytes are in a pipe now."""
    if sys.platform == "win32":
        return 0
    else:
        import fcntl
        import termios

        return int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), sys.byteorder)


class Writer(Protocol):
    """Takes bytes, and never waits for it."""

    @property
    def name(self) -> str:
        """What it writes to, for a person."""

    @property
    def fd(self) -> int | None:
        """What becomes writable after a `BlockingIOError`."""

    def write(self, data: bytes) -> int:
        """Take a beginning of `data` that is not empty.

        Returns:
            How many bytes.

        Raises:
            BlockingIOError: It takes nothing now.
            OSError: It could not be written; the next call tries again.
        """

    def close(self) -> None:
        """Give back what it holds. May be called again."""


@attrs.define(eq=False)
class AppendedFile:
    """A file that is appended to and, when it is full, renamed: to ``NAME.1``, which was renamed to ``NAME.2`` before, and so on.

    It is opened when there is something to write, created with the permissions `mode`, and opened anew after a failure. It never
    grows beyond `max_bytes`, which None does not bound, and divides no line that is not very long; what is no regular file is
    never renamed. A rotation that is interrupted loses nothing, and is done again.

    Attributes:
        name: Its path.
        backups: How many renamed files are kept.
    """

    name: str
    max_bytes: int | None = None
    backups: int = 0
    mode: int = 0o600
    fd: int | None = attrs.field(default=None, init=False)
    _size: int = attrs.field(default=0, init=False)
    _line_ended: bool = attrs.field(default=True, init=False)

    def write(self, data: bytes) -> int:
        """See `Writer.write`."""
        try:
            fd = self._open() if self.fd is None else self.fd
            while self.max_bytes is not None and (share := self._share(data)) < len(data):
                if share:
                    data = data[:share]
                    break
                fd = self._rotate()
            count = os.write(fd, data)
        except BlockingIOError:
            raise
        except OSError:
            self.close()  # another file may be there when it is opened again, or another disk
            raise
        self._size += count
        self._line_ended = data[count - 1] == 10
        return count

    def close(self) -> None:
        """See `Writer.close`."""
        if self.fd is not None:
            fd, self.fd = self.fd, None
            os.close(fd)

    def _open(self) -> int:
        # not blocking, for a FIFO that nobody reads
        flags = (
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
        )
        self.fd = fd = os.open(self.name, flags, self.mode)
        about = os.fstat(fd)
        self._size, self._line_ended = about.st_size, True
        if not stat.S_ISREG(about.st_mode):
            self.max_bytes = None
        return fd

    def _share(self, data: bytes) -> int:
        """How much of `data` still goes to the present file: 0 when another one is due."""
        assert self.max_bytes is not None
        room = self.max_bytes - self._size
        if len(data) <= room and (data[-1] == 10 or len(data) <= room - min(_LINE, self.max_bytes // 10)):
            return len(data)  # its last line has ended, or will find its end here
        if room <= 0:
            return 0
        share = data.rfind(b"\n", 0, room) + 1
        if share or (self._line_ended and self._size):
            return share
        return min(room, len(data))  # a line that is too long for its file

    def _rotate(self) -> int:
        self.close()
        with suppress(FileNotFoundError):  # somebody took it away
            if self.backups:
                numbers = range(1, self.backups + 1)
                # up to the first gap: one that was interrupted made it, and must not push out another file when it is done again
                gap = next((number for number in numbers if not os.path.lexists(f"{self.name}.{number}")), self.backups)
                for number in range(gap, 1, -1):
                    os.replace(f"{self.name}.{number - 1}", f"{self.name}.{number}")
                os.replace(self.name, f"{self.name}.1")
            else:
                os.unlink(self.name)
        return self._open()


class OwnStream:
    """One of our own standard streams, written to without ever waiting, and without making it not blocking for those who share it.

    Args:
        number: Its descriptor.
    """

    def __init__(self, number: int) -> None:
        self.name = {1: "standard output", 2: "standard error"}.get(number, f"descriptor {number}")
        self.fd: int | None = None
        self._number = number
        self._socket: socket.socket | None = None
        self._at_once: int | None = None

    def write(self, data: bytes | memoryview) -> int:
        """See `Writer.write`."""
        fd = self._open() if self.fd is None else self.fd
        if self._socket is not None:
            return self._socket.send(data, getattr(socket, "MSG_DONTWAIT", 0))
        if self._at_once is not None:
            import select

            if not select.select((), (fd,), (), 0)[1]:
                raise BlockingIOError
            data = data[: self._at_once]
        return os.write(fd, data)

    def close(self) -> None:
        """See `Writer.close`; the stream itself stays open."""
        if self._socket is not None:
            self._socket.close()
        elif self.fd is not None:
            os.close(self.fd)
        self.fd = self._socket = None

    def _open(self) -> int:
        number, mode = self._number, os.fstat(self._number).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            if sys.platform == "linux":
                # not blocking is a property of an opened file, so it takes another one of the same pipe or terminal
                with suppress(OSError):  # no /proc, or a terminal of somebody else's
                    self.fd = os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
                    return self.fd
            self._at_once = _AT_ONCE
        fd = os.dup(number)
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=fd)
        self.fd = fd
        return fd
