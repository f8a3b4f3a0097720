"""The run's own standard input and output, passed on to and from whichever life of the program is up."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from supervisor import NoProc, OutputFailed, OwnInput, OwnStream, describe

from .adapter import ClaudeAdapter
from .life_pipes import READ, WholeLines
from .piped import PipedPrompt
from .stream import ClaudeStream

if TYPE_CHECKING:
    from supervisor import StopRequest

    from ..ledger import Leaf, Ledger

LAST_WORDS: Final = 2.0
"""Seconds in which a reader has to take what is left when the run was asked to stop; else it may take as long as it likes."""


@asynccontextmanager
async def relaying(ledger: Ledger, stop: StopRequest) -> AsyncIterator[None]:
    """Pass on while the block lasts, and then what is left of the output.

    Args:
        ledger: Its first leaf has the input and the output, if that is talked to in lines or was given its prompt through a pipe.
        stop: Says when nobody wants to wait any more.

    **Cancellation:** what is left is lost.
    """
    leaf = ledger.leaves[0]
    adapter = leaf.adapter
    stream, piped = (adapter.input.stream, adapter.input.piped) if isinstance(adapter, ClaudeAdapter) else (None, None)
    if stream is None and piped is None:
        yield
        return
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        written = anyio.Event()
        if stream is not None:
            tasks.start_soon(_read_lines, stream)
            tasks.start_soon(_write, ledger, leaf, stream, written)
        elif piped is not None:
            written.set()
            tasks.start_soon(_read_prompt, piped)
        try:
            yield
        except Exception as error:  # raised again below, where no task group wraps it
            failure = error
        if stream is not None:
            stream.finish()
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(_leave, stop, waiting.cancel_scope)
            await written.wait()
            waiting.cancel_scope.cancel()
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _leave(stop: StopRequest, scope: anyio.CancelScope) -> None:
    await stop.wait()
    with anyio.move_on_after(LAST_WORDS):
        await stop.wait_hurried()
    scope.cancel()


async def _read_lines(stream: ClaudeStream) -> None:
    lines = WholeLines()
    async with aclosing(_chunks()) as chunks:
        async for chunk in chunks:
            for line in lines.take(chunk):
                await stream.feed(line)
    if lines.rest:
        await stream.feed(bytes(lines.rest))
    stream.close_input()


async def _read_prompt(piped: PipedPrompt) -> None:
    async with aclosing(_chunks()) as chunks:
        async for chunk in chunks:
            await piped.feed(chunk)
    piped.close()


async def _chunks() -> AsyncGenerator[bytes, None]:
    """What comes through our standard input; one that cannot be read has ended."""
    try:
        source = OwnInput(0)
    except OSError:
        return
    try:
        while True:
            try:
                chunk = source.read(READ)
            except BlockingIOError:
                await anyio.wait_readable(source.fd)
                continue
            except OSError:
                return
            if not chunk:
                return
            await anyio.lowlevel.checkpoint()
            yield chunk
    finally:
        source.close()


async def _write(ledger: Ledger, leaf: Leaf, stream: ClaudeStream, written: anyio.Event) -> None:
    writer = OwnStream(1)
    try:
        while True:
            with memoryview(b"\n".join((*await stream.receive(), b""))) as data:
                at = 0
                while at < len(data):
                    try:
                        at += writer.write(data[at:])
                    except BlockingIOError:
                        assert writer.fd is not None
                        await anyio.wait_writable(writer.fd)
    except anyio.EndOfStream:
        return
    except OSError as error:
        # whoever read has gone: the program hears of it as it would without us
        stream.deafen()
        reason = error.strerror or describe(error)
        with suppress(NoProc):
            ledger.emit(OutputFailed(leaf.path, "stdout", writer.name, reason, error.errno, 0, generation=leaf.guard.generation))
    finally:
        writer.close()
        written.set()
