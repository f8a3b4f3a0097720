"""Where a command's output goes when it is read here: to rotating files, line by line to the event stream, to a function."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from os import PathLike
from typing import Final

import attrs

from ..core.errors import InvalidField, is_count
from ..core.event import OutputLine
from ..core.lines import Tail
from ..core.ports import Ticket
from ..core.value import Value
from ..host.outputs import AppendedFile, OwnStream, output_pipe
from ..host.spawn import Redirect
from .pump import Pump, Route, Searched, Source, ToFunction, ToLines, ToWriter

TAIL: Final = 20
"""Lines that are kept of what is read anyway."""


@attrs.frozen(repr=False, eq=False)
class RotatingFile(Value):
    """Output to a file that is renamed when it is full: to ``PATH.1``, which was renamed to ``PATH.2`` before, and so on.

    No file grows beyond `max_bytes`, no line of less than 4 KiB (or a tenth of a file) is divided. When a file cannot be opened, written or
    renamed, an `OutputFailed` says so once, the command goes on, and what it writes is lost until it works again: `OutputResumed`.

    Attributes:
        path: The file; relative to our working directory. No two streams may have the same, but those of one command may.
        max_bytes: Bytes of one file, at least 1.
        backups: How many renamed files are kept; with 0 a full file is deleted.
        mode: The permissions of the files, as of ``os.open``.

    Raises:
        InvalidField: A field has an illegal value.
    """

    path: str | PathLike[str]
    max_bytes: int = 10 * 1024 * 1024
    backups: int = 5
    mode: int = 0o600

    def __attrs_post_init__(self) -> None:
        where = "RotatingFile"
        if not is_path(self.path):
            raise InvalidField("path", self.path, "the path of a file", where=where)
        if not is_count(self.max_bytes, least=1):
            raise InvalidField("max_bytes", self.max_bytes, "bytes, at least 1", where=where)
        if not is_count(self.backups):
            raise InvalidField("backups", self.backups, "an integer >= 0", where=where)
        if not is_count(self.mode) or self.mode > 0o777:
            raise InvalidField("mode", self.mode, "permissions from 0 to 0o777", where=where)


@attrs.frozen(repr=False, eq=False)
class Lines(Value):
    """Output line by line, as `OutputLine` events on the tree's bus, or to a function.

    The bytes are UTF-8; U+FFFD takes the place of what is none. A line ends with a line feed, before which carriage returns are dropped;
    within a line a carriage return begins it anew, so that of a progress bar only the last state is a line, once it has ended.

    Attributes:
        sink: Called with each `OutputLine` on the event loop's thread, in place of the bus; it must return soon. One that raises is
            reported with `OutputFailed` and not called again; the command goes on.
        limit: Bytes of a line that are kept, at least 1; the rest of a longer one is left out, and it is marked `truncated`.

    Raises:
        InvalidField: A field has an illegal value.
    """

    sink: Callable[[OutputLine], object] | None = None
    limit: int = attrs.field(default=8192, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.sink is not None:
            check_function("sink", self.sink, where="Lines")
        if not is_count(self.limit, least=1):
            raise InvalidField("limit", self.limit, "bytes, at least 1", where="Lines")


Target = Redirect | RotatingFile | Lines | Callable[[bytes], object]
"""Where an output of a command may go; a function is called with each chunk of bytes, as `Lines.sink` is with each line."""


def is_path(value: object) -> bool:
    """Whether a value is a path that the system could know."""
    path = os.fspath(value) if isinstance(value, PathLike) else value
    return isinstance(path, str) and bool(path) and "\0" not in path


def check_function(field: str, value: object, *, where: str) -> None:
    """Refuse what cannot be called with something, at once.

    Raises:
        InvalidField: It is no function, or an async one.
    """
    if not callable(value) or inspect.iscoroutinefunction(value) or isinstance(value, type):
        raise InvalidField(field, value, "a function that is no coroutine function", where=where)


def check_target(field: str, value: object) -> None:
    """Refuse what is no `Target`.

    Raises:
        InvalidField: It is none.
    """
    if isinstance(value, str | PathLike):
        if not is_path(value):
            raise InvalidField(field, value, "a path that is not empty and has no NUL", where="command")
    elif not isinstance(value, RotatingFile | Lines):
        if not callable(value):
            raise InvalidField(field, value, '"inherit", "null", a path, RotatingFile, Lines or a function', where="command")
        check_function(field, value, where="command")


@attrs.define(eq=False)
class Output:
    """The outputs of one life that are read here.

    Attributes:
        stdout: What the process is to be given as its standard output: a descriptor where it is read here.
        stderr: The same for standard error.
        pumps: What reads them.
    """

    stdout: Redirect | int
    stderr: Redirect | int
    pumps: list[Pump] = attrs.field(factory=list)
    _writers: list[int] = attrs.field(factory=list)

    @classmethod
    def open(
        cls,
        ticket: Ticket,
        stdout: Target | int,
        stderr: Target | int,
        tail: int | None = None,
        *,
        look: Callable[[str], bool] | None = None,
        on_terminal: bool = False,
    ) -> Output:
        """Make the pipes.

        Args:
            ticket: Of the life: what the events go to.
            stdout: Where its output goes to in the end.
            stderr: Where its errors go to; ``"stdout"`` for the same.
            tail: Lines of each stream that are kept. A number above 0 has files and inherited streams read here as well, and passed on;
                None is 20 of what is read anyway.
            look: Called with each line of either stream until it answers True; it must not raise. It too has everything read here.
            on_terminal: Whether the process has the terminal: then what it inherits stays its own.

        Raises:
            OSError: Out of descriptors, or Windows, where a pipe cannot be waited for.
        """
        if isinstance(stdout, RotatingFile) and isinstance(stderr, RotatingFile) and os.fspath(stdout.path) == os.fspath(stderr.path):
            stderr = "stdout"  # one file has one writer
        everything = bool(tail) or look is not None
        count = TAIL if tail is None else tail
        output = cls("inherit", "stdout")
        try:
            output.stdout = output._stream(ticket, "stdout", stdout, count, look, everything, on_terminal)
            if stderr != "stdout":
                output.stderr = output._stream(ticket, "stderr", stderr, count, look, everything, on_terminal)
        except BaseException:  # also an interrupt: one stream may be there already
            output.close()
            raise
        return output

    def spawned(self) -> None:
        """The process has its ends: close ours of them, or the pipes never end. May be called again."""
        while self._writers:
            os.close(self._writers.pop())

    async def drain(self) -> None:
        """The whole tree is gone, so nobody writes any more: take in what is left."""
        for pump in self.pumps:
            await pump.drain()

    def tail(self) -> tuple[str, ...]:
        """The last lines, those of standard error after those of standard output."""
        return tuple(line for pump in self.pumps if pump.tail is not None for line in pump.tail.lines())

    def close(self) -> None:
        """Give back all descriptors."""
        self.spawned()
        for pump in self.pumps:
            pump.close()

    def _stream(
        self,
        ticket: Ticket,
        name: str,
        target: Target | int,
        tail: int,
        look: Callable[[str], bool] | None,
        everything: bool,
        on_terminal: bool,
    ) -> Redirect | int:
        if isinstance(target, int):
            return target
        if isinstance(target, str | PathLike) and (not everything or target == "null" or (target == "inherit" and on_terminal)):
            return target
        source = Source(ticket, name)
        large = True
        route: Route
        if isinstance(target, RotatingFile):
            route = ToWriter(source, AppendedFile(os.fspath(target.path), target.max_bytes, target.backups, target.mode))
        elif target == "inherit":
            route, large = ToWriter(source, OwnStream(2 if name == "stderr" else 1)), False
        elif isinstance(target, str | PathLike):
            route = ToWriter(source, AppendedFile(os.fspath(target)))
        elif isinstance(target, Lines):
            # a pipe full of short lines takes longest: what is in it when the command has died is to be published before its end is
            route, large = ToLines(source, target.limit, target.sink), False
        else:
            route = ToFunction(source, target)
        reader, writer = output_pipe(large=large)
        self._writers.append(writer)
        self.pumps.append(Pump(reader, route if look is None else Searched(route, look), Tail(tail) if tail else None))
        return writer
