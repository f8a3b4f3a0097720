"""How a command says that it is up."""

from __future__ import annotations

import os

import anyio
import attrs

from ..host.spawn import acknowledgement_pipe
from .running import RunningCommand


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

    async def drain(self, life: RunningCommand) -> None:
        """Nothing: who is dead is not up."""

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
