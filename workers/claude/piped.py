"""The prompt that a program is given through its standard input: read once, and told to each life that begins anew."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from typing import Final

import anyio
import anyio.lowlevel

from supervisor import Exit, Handle, Launch, Ticket

from .life_ticket import LifeTicket

LARGEST: Final = 64 << 20
"""Bytes of a prompt that are kept for a later life; of a longer one that gets none."""


def is_piped() -> bool:
    """Whether our own standard input can be read for somebody else: it is open, and no terminal."""
    if sys.platform == "win32":
        return False
    try:
        return not os.isatty(0) and not stat.S_ISDIR(os.fstat(0).st_mode)
    except OSError:
        return False


class PipedPrompt:
    """What comes through our standard input for lives that read all of it and then answer. One event loop's own."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._began = 0  # how many bytes of the beginning were not kept
        self._ended = False
        self._read = 0  # by the present life
        self._news = anyio.Event()

    async def feed(self, chunk: bytes) -> None:
        """More of it; waits while a longer prompt than is kept has not been read.

        **Cancellation:** it was not taken.
        """
        while len(self._data) >= LARGEST and self._read < self._began + len(self._data):
            await self._news.wait()
        if len(self._data) >= LARGEST:
            self._began += len(self._data)
            self._data.clear()
        self._data += chunk
        self._stir()

    def close(self) -> None:
        """That was all of it."""
        self._ended = True
        self._stir()

    def begin(self, made: Callable[[int | str], Launch], ticket: Ticket, *, anew: bool) -> Handle:
        """Start a life.

        Args:
            made: Makes what starts it, of its standard input.
            ticket: Of the life.
            anew: Whether it is told the prompt; one that goes on with a conversation was told.

        Raises:
            OSError: As of the launch, or out of descriptors.
        """
        if not anew or self._began:
            return made("null").launch(ticket)
        reader, writer = os.pipe()
        ends: list[Callable[[], object]] = []

        def over(exit: Exit) -> None:
            for end in ends:
                end()
            closed()

        def closed() -> None:
            nonlocal writer
            if writer >= 0:
                anyio.notify_closing(writer)
                os.close(writer)
            writer = -1

        async def tell() -> None:
            self._read = 0
            while writer >= 0 and (self._read < self._began + len(self._data) or not self._ended):
                part = bytes(self._data[self._read - self._began : self._read - self._began + 65536])
                try:
                    if part:
                        self._read += os.write(writer, part)
                        self._stir()
                        await anyio.lowlevel.checkpoint()
                    else:
                        await self._news.wait()
                except BlockingIOError:
                    try:
                        await anyio.wait_writable(writer)
                    except anyio.ClosedResourceError:
                        return
                except BrokenPipeError:
                    break  # it wants no more of it
            self._read = self._began + len(self._data)
            self._stir()
            closed()

        if sys.platform != "win32":
            os.set_blocking(writer, False)
        try:
            handle = made(reader).launch(LifeTicket(ticket, over))
        except BaseException:  # also an interrupt: nobody else has it
            closed()
            raise
        finally:
            os.close(reader)
        ends.append(ticket.spawn(tell, f"input of {'/'.join(ticket.path)}").cancel)
        return handle

    def _stir(self) -> None:
        self._news.set()
        self._news = anyio.Event()
