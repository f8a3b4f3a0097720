"""What listens for the word that a command is up: a newline, a line of its output, or an answer to a question that we ask again and again.

Imported for the first command that says so; most are up as soon as they run.
"""

from __future__ import annotations

import os
import re

import anyio
import attrs

from ..host.spawn import acknowledgement_pipe
from .interrupts import interrupts_strike
from .readiness import ReadyLine, ReadyProbe
from .running import RunningCommand


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
