"""How a command says that it is up: a newline, a line of its output, or an answer to a question that we ask again and again."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import anyio
import attrs

from ..core.errors import InvalidField, is_duration
from ..core.value import Value
from ..host.spawn import acknowledgement_pipe
from .interrupts import interrupts_strike
from .running import RunningCommand


@attrs.frozen(repr=False, eq=False)
class ReadyLine(Value):
    """Up once a line of its output matches; see `line`."""

    pattern: str

    def __attrs_post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except (re.error, TypeError) as error:
            raise InvalidField("ready", self.pattern, f"a regular expression ({error})", where="command") from None

    def __str__(self) -> str:
        return f"line:{self.pattern}"


@attrs.frozen(repr=False, eq=False)
class ReadyProbe(Value):
    """Up once a function says so; see `probe`."""

    function: Callable[[], Awaitable[object]]
    interval: float = 0.5

    def __attrs_post_init__(self) -> None:
        if not callable(self.function):
            raise InvalidField("ready", self.function, "an async function", where="command")
        if not is_duration(self.interval) or not 0 < self.interval < float("inf"):
            raise InvalidField("interval", self.interval, "seconds > 0", where="probe")

    def __str__(self) -> str:
        return "probe"


Ready = Literal["spawn", "fd", "notify"] | str | ReadyLine | ReadyProbe
"""When a command counts as started; see `command`. A string is ``spawn``, ``fd``, ``notify`` or ``line:REGEX``."""

WAYS: Final = '"spawn", "fd", "notify", "line:REGEX", line(...) or probe(...)'


def line(pattern: str) -> ReadyLine:
    """Up once a whole line of standard output or standard error matches: ``ready=line(r"listening on port [0-9]+")``.

    Args:
        pattern: A regular expression that is searched for in each line, which is decoded as UTF-8 and has lost its line end. Of a line
            longer than 64 KiB only so much is looked at.

    Raises:
        InvalidField: It is no regular expression.
    """
    return ReadyLine(pattern)


def probe(function: Callable[[], Awaitable[object]], *, interval: float = 0.5) -> ReadyProbe:
    """Up once an async function returns something true.

    Args:
        function: Called without arguments when the command was spawned and then again and again. What it raises is a failed attempt; the
            last error is the cause of the `StartFailed` when `start_timeout` is over.
        interval: Seconds between the end of one attempt and the next.

    Raises:
        InvalidField: No function, or an interval that is not above 0.

    **Cancellation:** the function is cancelled when the command ends.
    """
    return ReadyProbe(function, interval)


def readiness(ready: Ready) -> Ready:
    """The same, with ``line:REGEX`` taken apart.

    Raises:
        InvalidField: There is no such way to be ready.
    """
    if isinstance(ready, str) and ready.startswith("line:"):
        return ReadyLine(ready.removeprefix("line:"))
    if ready in ("spawn", "fd", "notify") or isinstance(ready, ReadyLine | ReadyProbe):
        return ready
    raise InvalidField("ready", ready, WAYS, where="command")


class LineReadiness:
    """A line of the output: whatever reads the outputs shows it each line of them.

    Attributes:
        found: Whether one has matched.
    """

    def __init__(self, ready: ReadyLine) -> None:
        self.found = False
        self._search = re.compile(ready.pattern).search
        self._life: RunningCommand | None = None

    def look(self, line: str) -> bool:
        """Look at a line; whether it has been found by now."""
        if not self.found and self._search(line):
            self.found = True
            if self._life is not None:
                self._life.acknowledge()
        return self.found

    async def run(self, life: RunningCommand) -> None:
        """The outputs are read already, and what was found in them before this counts."""
        self._life = life
        if self.found:
            life.acknowledge()

    def conclude(self, life: RunningCommand) -> None:
        """Nothing: the outputs are read to their end, after this."""

    def close(self) -> None:
        """Nothing: it holds nothing."""


@attrs.define
class Newline:
    """A newline on an inherited descriptor: s6's notification-fd.

    Attributes:
        reader: Our end of the pipe; None once it is closed.
        writer: The command's end, ours to close after the spawn.
    """

    reader: int | None
    writer: int

    @classmethod
    def open(cls) -> Newline:
        """Make the pipe.

        Raises:
            OSError: Out of descriptors, or Windows.
        """
        return cls(*acknowledgement_pipe())

    async def run(self, life: RunningCommand) -> None:
        """Wait for the newline; as in s6 the pipe is closed then."""
        while self.reader is not None:
            await anyio.wait_readable(self.reader)
            self.conclude(life)

    def conclude(self, life: RunningCommand) -> None:
        """Read what is there; the command may have said it with its last breath."""
        if self._said():
            self.close()
            life.acknowledge()

    def close(self) -> None:
        """Give back the descriptor."""
        if self.reader is not None:
            reader, self.reader = self.reader, None
            os.close(reader)

    def _said(self) -> bool:
        """Whether a newline is there to be read. A pipe that nobody can write to any more is closed."""
        while self.reader is not None:
            try:
                data = os.read(self.reader, 4096)
            except BlockingIOError:
                return False
            if b"\n" in data:
                return True
            if not data:
                self.close()
        return False


@attrs.define(eq=False)
class Probe:
    """Asks a function until it says that the command is up."""

    spec: ReadyProbe

    async def run(self, life: RunningCommand) -> None:
        """Ask, and wait, and ask again."""
        while True:
            try:
                if await self._ask():
                    life.acknowledge()
                    return
            except Exception as error:  # the boundary where a probe's failure becomes the reason why a start takes long
                life.trouble = error
            else:
                life.trouble = None
            await anyio.sleep(self.spec.interval)

    @interrupts_strike
    async def _ask(self) -> object:
        return await self.spec.function()

    def conclude(self, life: RunningCommand) -> None:
        """Nothing: who is dead is not up."""

    def close(self) -> None:
        """Nothing: it holds nothing."""
