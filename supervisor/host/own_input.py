"""Our own standard input, read without ever waiting, and without making it not blocking for those who share it."""

from __future__ import annotations

import os
import socket
import stat
import sys
from contextlib import suppress


class OwnInput:
    """One of our own descriptors, to be read: a pipe, a socket, a file or a device that is no terminal.

    Args:
        number: Its descriptor.

    Attributes:
        fd: What becomes readable after a `BlockingIOError`.

    Raises:
        OSError: It is closed, or out of descriptors.
    """

    def __init__(self, number: int = 0) -> None:
        self._socket: socket.socket | None = None
        self._asks = False
        mode = os.fstat(number).st_mode
        if stat.S_ISFIFO(mode) and sys.platform == "linux":
            # not blocking is a property of an opened file, so it takes another one of the same pipe
            with suppress(OSError):  # no /proc, or a pipe of somebody else's
                self.fd = os.open(f"/proc/self/fd/{number}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                return
        self._asks = not stat.S_ISREG(mode) and not stat.S_ISSOCK(mode)
        self.fd = os.dup(number)
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=self.fd)

    def read(self, most: int) -> bytes:
        """What has come, at most so many bytes; nothing at the end.

        Raises:
            BlockingIOError: Nothing has come since.
            OSError: It cannot be read.
        """
        if self._socket is not None:
            return self._socket.recv(most, getattr(socket, "MSG_DONTWAIT", 0))
        if self._asks:
            import select

            if not select.select((self.fd,), (), (), 0)[0]:
                raise BlockingIOError
        return os.read(self.fd, most)

    def close(self) -> None:
        """Give back what it holds; the descriptor itself stays open. May be called again."""
        if self._socket is not None:
            self._socket.close()
        elif self.fd >= 0:
            os.close(self.fd)
        self.fd, self._socket = -1, None
