"""Reads a transcript that may be large, torn, damaged, or written to at this moment; its cost is what is asked for, not the file.

A transcript is a file of lines that only grows. A last line without its newline is torn, or not finished yet: it is not read.
Everything here blocks; call it in a worker thread or in a process of its own.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final

import attrs

from supervisor import Value

from .excerpt import line, paragraphs
from .record import LONGEST, Kind, Record, parsed

BLOCK: Final = 256 * 1024
FARTHEST: Final = 32 * 1024 * 1024
"""Bytes from the end within which recent messages are looked for."""

_ABOUT: Final = 160
_TOOLS: Final = 20


class TranscriptUnreadable(Exception):
    """A transcript that cannot be read.

    Attributes:
        path: The file.
        reason: Why, for a person.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"cannot read the transcript {path}: {reason}")

    def __reduce__(self) -> tuple[type[TranscriptUnreadable], tuple[Path, str]]:
        return type(self), (self.path, self.reason)


@attrs.frozen(repr=False, eq=False)
class Message(Value):
    """A message as people would quote it.

    Attributes:
        role: user, assistant, or tool for what a tool gave back.
        text: Its text, or its beginning.
        time: When, as it is written there.
        uuid: The record's.
        tools: The names of the tools that are called, the first twenty.
    """

    role: str
    text: str
    time: str | None = None
    uuid: str | None = None
    tools: tuple[str, ...] = ()


@contextlib.contextmanager
def opened(path: Path | str) -> Iterator[FileIO]:
    """Open a transcript for reading, unbuffered; it is neither a link nor anything but a file, so opening it never waits.

    Raises:
        TranscriptUnreadable: It is gone, no regular file, or must not be read; or reading it in the block failed.
    """
    path = Path(path)
    try:
        # getattr: Windows has none of them
        flags = [getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY")]
        fd = os.open(path, os.O_RDONLY | sum(flags))
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise TranscriptUnreadable(path, "it is no regular file")
            with FileIO(fd, "rb", closefd=False) as file:
                yield file
        finally:
            os.close(fd)
    except OSError as error:
        raise TranscriptUnreadable(path, error.strerror or str(error)) from error


def tail(path: Path | str, count: int, limit_bytes: int) -> tuple[Message, ...]:
    """The last messages between a person and the agent, the oldest first.

    Only as much is read as they take, and at most `FARTHEST` bytes.

    Args:
        path: The transcript.
        count: How many messages.
        limit_bytes: Bytes of UTF-8 that their texts have together; a text has at most a quarter of it.

    Raises:
        TranscriptUnreadable: The file cannot be read.
    """
    found: list[Message] = []
    room = limit_bytes
    with opened(path) as file:
        if count > 0:
            for written in reversed_lines(file, FARTHEST):
                message = message_of(parsed(written), limit_bytes // 4)
                if message is None:
                    continue
                room -= len(message.text.encode())
                if room < 0:
                    break
                found.append(message)
                if len(found) >= count:
                    break
    return tuple(reversed(found))


def message_of(record: Record, limit: int) -> Message | None:
    """The record as a message whose text has at most `limit` bytes; None where it is no part of the conversation."""
    if record.is_side:
        return None
    tools = tuple(line(call.name, _ABOUT) for call in record.calls[:_TOOLS])
    if record.kind is Kind.PROMPT:
        role, text = "user", paragraphs(record.text, limit)
    elif record.kind is Kind.ANSWER and (record.text.strip() or tools):
        role, text = "assistant", paragraphs(record.text, limit)
    elif record.kind is Kind.RESULT:
        role, text = "tool", paragraphs("\n".join(result.text for result in record.results), limit)
    else:
        return None
    return Message(role, text, record.time, record.uuid, tools)


def end_of_lines(file: FileIO, before: int | None = None) -> int:
    """Where the last whole line ends, of those that end before some offset: without one, the size without a torn line at its end."""
    end = file.seek(0, os.SEEK_END)
    if before is not None:
        end = min(end, before)
    while end > 0:
        begin = max(0, end - BLOCK)
        newline = _read(file, begin, end).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0


def lines(file: FileIO, begin: int, end: int, *, block_size: int = BLOCK, longest: int = LONGEST) -> Iterator[bytes]:
    """The lines between two offsets at which lines begin, without their newlines; empty ones are left out.

    Of a line that is longer than `longest` only the first part comes, still longer than that: memory is bounded.
    """
    pieces: list[bytes] = []
    held = 0
    while begin < end:
        block = _read(file, begin, min(begin + block_size, end))
        if not block:
            return  # it was truncated meanwhile
        begin += len(block)
        first, *rest = block.split(b"\n")
        if held <= longest:
            pieces.append(first)
            held += len(first)
        if rest:
            if held:
                yield b"".join(pieces)
            *whole, last = rest
            yield from filter(None, whole)
            pieces, held = [last], len(last)
    # behind the last newline there is nothing, unless the file was truncated


def reversed_lines(file: FileIO, farthest: int, *, block_size: int = BLOCK, longest: int = LONGEST) -> Iterator[bytes]:
    """The whole lines of a file, the last one first, as far as they begin within the last `farthest` bytes.

    Of a line that is longer than `longest` only its first part comes, as from `lines`.
    """
    at = end_of_lines(file)
    first = max(0, at - farthest)
    pieces: list[bytes] = []  # of the line whose beginning is still to come, the last one first
    held = 0
    at -= 1  # without the last newline
    while at > first:
        begin = max(first, at - block_size)
        block = _read(file, begin, at)
        if len(block) < at - begin:
            return  # it was truncated meanwhile
        at = begin
        *whole, last = reversed(block.split(b"\n"))
        for piece in whole:
            pieces.append(piece)
            yield from _joined(pieces)
            pieces, held = [], 0
        pieces.append(last)
        held += len(last)
        while held - len(pieces[0]) > longest:
            # too long already: its end is not needed
            held -= len(pieces.pop(0))
    if first == 0:
        yield from _joined(pieces)


def _joined(pieces: list[bytes]) -> Iterator[bytes]:
    if any(pieces):
        yield b"".join(reversed(pieces))


def _read(file: FileIO, begin: int, end: int) -> bytes:
    file.seek(begin)
    return file.read(end - begin) or b""
