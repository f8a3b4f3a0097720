"""One stream of a command: read from its pipe a chunk at a time, and passed on before the next chunk is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import anyio
import anyio.lowlevel

from ..core.event import OutputFailed, OutputLine, OutputResumed
from ..core.exits import describe
from ..core.lines import LineSplitter, Tail
from ..core.ports import Ticket
from ..host.outputs import Writer, waiting_bytes

READ: Final = 64 * 1024
"""Bytes that are read at a time: what a pipe usually holds, and less than what the allocator asks the kernel for each time."""
LINES: Final = 64
"""Lines that are passed on before others have their turn."""
LAST_LINES: Final = 2048
"""The same where somebody waits for the end: whoever stops a tree of floods waits for one after the other."""
RETRY: Final = 1.0
"""Seconds after which a file that failed is tried again."""
LONGEST_LINE: Final = 64 * 1024
"""Bytes of a line that is searched; what is longer is cut, so that a command which never writes a newline costs no memory."""
GRACE: Final = 0.5
"""Seconds in which a full pipe of ours has to take what the dead have left behind."""


class Source:
    """Which stream of which life: what makes the events about it."""

    def __init__(self, ticket: Ticket, stream: str) -> None:
        self.stream = stream
        self._ticket, self._path, self._generation = ticket, ticket.path, ticket.generation

    def line(self, text: str, truncated: bool) -> OutputLine:
        """A line of it."""
        return OutputLine(self._path, self.stream, text, truncated, generation=self._generation)

    def say(self, line: OutputLine) -> None:
        """Publish a line."""
        self._ticket.emit(line)

    def failed(self, target: str, error: Exception, lost: int) -> None:
        """Say that it is lost."""
        reason = (error.strerror if isinstance(error, OSError) else None) or describe(error)
        number = error.errno if isinstance(error, OSError) else None
        self._ticket.emit(OutputFailed(self._path, self.stream, target, reason, number, lost, generation=self._generation))

    def resumed(self, target: str, lost: int) -> None:
        """Say that it is lost no more."""
        self._ticket.emit(OutputResumed(self._path, self.stream, target, lost, generation=self._generation))


class Route:
    """Where chunks go; this one only drains.

    Attributes:
        busy: Whether something of the last chunk has still to be passed on.
    """

    busy = False

    def take(self, chunk: bytes) -> None:
        """Take a chunk, as a whole. Only when it is not `busy`."""

    def work(self, lines: int = LINES) -> int | None:
        """Pass on some of it, so many lines at most; a descriptor is the answer when that has to become writable first."""
        return None

    def finish(self) -> None:
        """Nothing more comes: pass on what is left, or say that it is lost. May be called again."""

    def close(self) -> None:
        """Give back what it holds. May be called again."""


class ToWriter(Route):
    """To a file or one of our own streams. While that fails everything is dropped, and once in a while it is tried again."""

    def __init__(self, source: Source, writer: Writer) -> None:
        self.busy = False
        self._source, self._writer = source, writer
        self._rest = b""
        self._failure: OSError | None = None
        self._lost = self._told = 0  # bytes since it failed, and those of them that were said
        self._again = 0.0

    def take(self, chunk: bytes) -> None:
        """See `Route.take`."""
        self._rest, self.busy = chunk, True

    def work(self, lines: int = LINES) -> int | None:
        """See `Route.work`."""
        if self._failure is not None and anyio.current_time() < self._again:
            self._drop()
            return None
        try:
            count = self._writer.write(self._rest)
        except OSError as error:
            if isinstance(error, BlockingIOError) and self._writer.fd is not None:
                return self._writer.fd
            first, self._failure = self._failure is None, error
            self._again = anyio.current_time() + RETRY
            self._drop()
            if first:
                self._tell(error)
            return None
        if self._failure is not None:
            self._source.resumed(self._writer.name, self._lost)
            self._failure, self._lost, self._told = None, 0, 0
        self._rest = self._rest[count:]
        self.busy = bool(self._rest)
        return None

    def finish(self) -> None:
        """See `Route.finish`."""
        if self.busy:
            self._failure = self._failure or TimeoutError(f"took nothing for {GRACE:g} s")
            self._drop()
        if self._failure is not None and self._lost > self._told:
            self._tell(self._failure)
        self._failure, self._lost, self._told = None, 0, 0

    def close(self) -> None:
        """See `Route.close`."""
        self._writer.close()

    def _drop(self) -> None:
        self._lost += len(self._rest)
        self._rest, self.busy = b"", False

    def _tell(self, error: OSError) -> None:
        self._told = self._lost
        self._source.failed(self._writer.name, error, self._lost)


class ToFunction(Route):
    """To a function, a chunk at a time. One that raises is not called again."""

    def __init__(self, source: Source, function: Callable[[bytes], object]) -> None:
        self._source = source
        self._function: Callable[[bytes], object] | None = function

    def take(self, chunk: bytes) -> None:
        """See `Route.take`."""
        if self._function is not None:
            try:
                self._function(chunk)
            except Exception as error:  # the boundary where a fault of a sink becomes an event; the command must go on
                self._source.failed(name_of(self._function), error, len(chunk))
                self._function = None


class ToLines(Route):
    """Line by line to a function, or as events. A function that raises is not called again."""

    def __init__(self, source: Source, limit: int, function: Callable[[OutputLine], object] | None) -> None:
        self.busy = False
        self._source, self._splitter = source, LineSplitter(limit)
        self._function: Callable[[OutputLine], object] | None = function or source.say

    def take(self, chunk: bytes) -> None:
        """See `Route.take`."""
        if self._function is not None:
            self._splitter.feed(chunk)
            self.busy = True

    def work(self, lines: int = LINES) -> int | None:
        """See `Route.work`."""
        for line in self._splitter.take(lines):
            self._pass(*line)
        self.busy = self._splitter.busy and self._function is not None
        return None

    def finish(self) -> None:
        """See `Route.finish`."""
        for line in self._splitter.finish():
            self._pass(*line)

    def _pass(self, text: str, truncated: bool) -> None:
        if self._function is not None:
            try:
                self._function(self._source.line(text, truncated))
            except Exception as error:  # the boundary where a fault of a sink becomes an event; the command must go on
                self._source.failed(name_of(self._function), error, len(text.encode()))
                self._function = None


class Searched(Route):
    """To another route, and looked through for a line on the way; at most `LONGEST_LINE` bytes of each."""

    def __init__(self, route: Route, look: Callable[[str], bool]) -> None:
        self.busy = False
        self._route, self._look = route, look
        self._splitter: LineSplitter | None = LineSplitter(LONGEST_LINE)

    def take(self, chunk: bytes) -> None:
        """See `Route.take`."""
        if self._splitter is not None:
            self._splitter.feed(chunk)
        self._route.take(chunk)
        self.busy = self._splitter is not None or self._route.busy

    def work(self, lines: int = LINES) -> int | None:
        """See `Route.work`."""
        full = self._route.work(lines) if self._route.busy else None
        if self._splitter is not None and any(self._look(line.text) for line in self._splitter.take(lines)):
            self._splitter = None
        searching = self._splitter is not None and self._splitter.busy
        self.busy = searching or self._route.busy
        return None if searching else full

    def finish(self) -> None:
        """See `Route.finish`; a line without an end is none."""
        self._route.finish()

    def close(self) -> None:
        """See `Route.close`."""
        self._route.close()


class Pump:
    """Reads one pipe to its end, or until the tree of the command is gone.

    Attributes:
        reader: Our end of the pipe; None once it is closed.
        tail: The last lines; None when nobody wants them.
    """

    def __init__(self, reader: int, route: Route, tail: Tail | None) -> None:
        self.reader: int | None = reader
        self.tail = tail
        self._route = route

    async def run(self) -> None:
        """Read and pass on, one chunk a turn of the event loop.

        **Cancellation:** at any time; `drain` goes on where it left off.
        """
        while self.reader is not None:
            if self._route.busy:
                await self._pass_on()
            elif self._read(READ):
                await anyio.lowlevel.checkpoint()
            else:
                await anyio.wait_readable(self.reader)

    async def drain(self) -> None:
        """Nobody of the tree writes any more: take what is in the pipe, and wait for no end of it, since a stranger may hold it."""
        until = anyio.current_time() + GRACE
        if await self._flush(until) and self.reader is not None:
            left = waiting_bytes(self.reader)
            while left > 0 and (count := self._read(min(left, READ))):
                left -= count
                if not await self._flush(until):
                    break
        self._route.finish()

    def close(self) -> None:
        """Give back the descriptors."""
        self._close_reader()
        self._route.close()

    def _read(self, most: int) -> int:
        """Take a chunk, and begin to pass it on. The answer is its size: 0 when there is none, at the end of the pipe 1."""
        assert self.reader is not None
        try:
            chunk = os.read(self.reader, most)
        except BlockingIOError:
            return 0
        if not chunk:
            self._close_reader()
            self._route.finish()
            return 1
        if self.tail is not None:
            self.tail.feed(chunk)
        self._route.take(chunk)
        if self._route.busy:
            self._route.work()
        return len(chunk)

    async def _pass_on(self) -> None:
        full = self._route.work()
        if full is None:
            await anyio.lowlevel.checkpoint()
        else:
            await anyio.wait_writable(full)

    async def _flush(self, until: float) -> bool:
        """Pass on what was read; False when a pipe of ours did not take it in time."""
        with anyio.CancelScope() as scope:
            while self._route.busy:
                full = self._route.work(LAST_LINES)
                if full is None:
                    await anyio.lowlevel.checkpoint()
                else:
                    scope.deadline = until
                    await anyio.wait_writable(full)
                    scope.deadline = float("inf")
        return not scope.cancelled_caught

    def _close_reader(self) -> None:
        if self.reader is not None:
            reader, self.reader = self.reader, None
            os.close(reader)


def name_of(function: Callable[..., object]) -> str:
    """A function, for a person."""
    return f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', None) or repr(function)}"
