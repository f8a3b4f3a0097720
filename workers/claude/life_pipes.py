"""The pipes of one life of a program that is talked to in lines: ours of them never block."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import anyio

from .dialogue_news import Line

READ: Final = 64 * 1024
"""Bytes that are read at a time."""

LONGEST: Final = 256 << 20
"""Bytes of a line; a longer one is left out, so that what never ends one costs no more memory."""


class WholeLines:
    """Chunks to lines, without a copy for each chunk.

    Attributes:
        rest: What has come after the end of the last line.
        lost: How long the lines were that were too long, since somebody looked.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self.rest, self.lost = bytearray(), list[int]()
        self._longest, self._over = longest, 0

    def take(self, chunk: bytes) -> list[bytes]:
        """The lines that have ended with this chunk, without their ends."""
        end = chunk.rfind(b"\n")
        if end < 0:
            self._keep(chunk)
            return []
        begin = 0
        if self._over:
            begin = chunk.index(b"\n") + 1
            self.lost.append(self._over + begin - 1)
            self._over = 0
        lines = (bytes(self.rest) + chunk[begin:end] if self.rest else chunk[begin:end]).split(b"\n") if begin <= end else []
        self.rest = bytearray()
        self._keep(chunk[end + 1 :])
        return lines

    def _keep(self, part: bytes) -> None:
        if self._over or len(self.rest) + len(part) > self._longest:
            self._over += len(self.rest) + len(part)
            self.rest = bytearray()
        else:
            self.rest += part


class LifePipes:
    """Both pipes of a life. Closed by whoever hears of its end.

    Attributes:
        generation: The life's number.
        stdin: What the process gets as its standard input.
        stdout: What it gets as its standard output.
        lines: What it writes, a line at a time.
        tasks: End the tasks that use our ends.
    """

    def __init__(self, generation: int, stdin: int, writer: int, reader: int, stdout: int) -> None:
        self.generation, self.stdin, self.stdout = generation, stdin, stdout
        self.lines = WholeLines()
        self.tasks: list[Callable[[], object]] = []
        self._writer, self._reader = writer, reader
        self._parts: deque[memoryview] = deque()
        self._given: deque[tuple[Line, int]] = deque()
        self._end = self._written = 0  # bytes that it was given, and those that are in its pipe
        self._is_shut = False
        self.unwritten = 0

    @classmethod
    def open(cls, generation: int) -> LifePipes:
        """Make them.

        Raises:
            OSError: Out of descriptors.
        """
        stdin, writer = os.pipe()
        try:
            reader, stdout = os.pipe()
        except OSError:
            os.close(stdin)
            os.close(writer)
            raise
        if sys.platform != "win32":
            os.set_blocking(writer, False)
            os.set_blocking(reader, False)
        return cls(generation, stdin, writer, reader, stdout)

    def given(self) -> None:
        """The process has its ends. Of its input we keep that too: it tells what was not read, also when ours is closed."""
        self.stdout = _closed(self.stdout)

    def give(self, lines: tuple[Line, ...]) -> None:
        """Write these lines, now or when it takes them."""
        for line in lines:
            data = line.data + b"\n"
            self._end += len(data)
            self._given.append((line, self._end))
            self._parts.append(memoryview(data))
            self.unwritten += len(data)
        self._flush()

    def shut(self) -> None:
        """Nothing more is written: its input ends after the last line."""
        self._is_shut = True
        self._flush()

    async def write(self) -> bool:
        """Wait until it takes something, and write that; False when the pipes are closed.

        **Cancellation:** at any time.
        """
        try:
            await anyio.wait_writable(self._writer)
        except anyio.ClosedResourceError:
            return False
        self._flush()
        return True

    async def read(self) -> bytes:
        """Wait for what it writes; nothing at its end.

        **Cancellation:** at any time; nothing is lost.
        """
        while self._reader >= 0:
            try:
                return os.read(self._reader, READ)
            except BlockingIOError:
                try:
                    await anyio.wait_readable(self._reader)
                except anyio.ClosedResourceError:
                    return b""
        return b""

    def left(self) -> Iterator[bytes]:
        """It is dead: what it has left in its pipe. A stranger may hold that, and is not waited for."""
        count = _held(self._reader)
        while count > 0:
            try:
                chunk = os.read(self._reader, min(count, READ))
            except BlockingIOError:
                return
            if not chunk:
                return
            count -= len(chunk)
            yield chunk

    def unread(self) -> tuple[Line, ...]:
        """It is dead: the lines that it cannot have read to their ends."""
        read = self._written - _held(self.stdin)
        return tuple(line for line, end in self._given if end > read)

    def close_output(self) -> None:
        """Nobody reads it any more. May be called again."""
        self._reader = _closed(self._reader)

    def close(self) -> None:
        """Give everything back. May be called again."""
        for task in self.tasks:
            task()
        self.tasks = []
        self.stdin, self.stdout = _closed(self.stdin), _closed(self.stdout)
        self.close_output()
        self._writer = _closed(self._writer)
        self._parts.clear()
        self.unwritten = 0

    def _flush(self) -> None:
        while self._parts and self._writer >= 0:
            part = self._parts[0]
            try:
                count = os.write(self._writer, part)
            except BlockingIOError:
                break
            self._written += count
            self.unwritten -= count
            if count < len(part):
                self._parts[0] = part[count:]
            else:
                self._parts.popleft()
        if len(self._given) > 16:
            read = self._written - _held(self.stdin)
            while self._given and self._given[0][1] <= read:
                self._given.popleft()
        if self._is_shut and not self._parts:
            self._writer = _closed(self._writer)


def _held(descriptor: int) -> int:
    """How many bytes are in a pipe; 0 where that cannot be told."""
    if descriptor < 0 or sys.platform == "win32":
        return 0
    else:
        import fcntl
        import termios

        try:
            return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
        except OSError:
            return 0


def _closed(descriptor: int) -> int:
    """Close a descriptor if it is one, and whoever waits for it stops waiting."""
    if descriptor >= 0:
        anyio.notify_closing(descriptor)
        os.close(descriptor)
    return -1
