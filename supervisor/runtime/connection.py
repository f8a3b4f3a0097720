"""The worker's end of its socket."""

from __future__ import annotations

import socket
import threading
from collections import deque
from typing import Final

import anyio

from ..core import wire
from ..leaf.link import AT_ONCE

_NO_WAIT: Final = getattr(socket, "MSG_DONTWAIT", 0)
"""Of `recv`; Windows has no such flag, and no workers."""


class Connection:
    """The worker's end of the socket.

    What is sent is on its way when `send` returns, from any thread; it waits while the supervisor does not read. Receiving never waits.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._frames = wire.Frames()
        self._lock = threading.RLock()
        self._queue: deque[bytes] = deque()
        self._sending = self.broken = False

    def fileno(self) -> int:
        """Its number."""
        return self._socket.fileno()

    def send(self, message: wire.Message) -> None:
        """Send a message; when nobody is there any more it is dropped.

        Raises:
            FrameTooLarge: It is too long.
        """
        self.send_frame(wire.pack(message))

    def send_frame(self, frame: bytes) -> None:
        """As `send`, of a message that is a frame already."""
        with self._lock:
            self._queue.append(frame)
            if self._sending:
                return  # a signal handler, in the middle of another message, which is followed by this one
            self._sending = True
            try:
                while self._queue and not self.broken:
                    self._socket.sendall(self._queue.popleft())
            except ConnectionError:
                self.broken = True
            finally:
                self._sending = False

    def close(self) -> None:
        """Close it; what is sent from now on is dropped."""
        self.broken = True
        self._socket.close()

    def first(self) -> wire.Message | None:
        """Wait for the first message; None when nobody is there any more."""
        while (message := self.next()) is None:
            if not self._fill(0):
                return None
        return message

    def next(self) -> wire.Message | None:
        """The next message that has come whole."""
        frame = self._frames.next()
        return None if frame is None else wire.unpack(frame, rich=True)

    async def fill(self) -> bool:
        """Wait until more has come; False at the end."""
        while True:
            await anyio.wait_readable(self._socket)
            try:
                return self._fill(_NO_WAIT)
            except BlockingIOError:
                continue

    def _fill(self, flags: int) -> bool:
        try:
            data = self._socket.recv(AT_ONCE, flags)
        except ConnectionError:
            return False
        self._frames.feed(data)
        return bool(data)
