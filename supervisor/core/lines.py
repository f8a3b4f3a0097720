"""Bytes to lines, in bounded memory and alike however the bytes arrive; and the last lines of a stream."""

from __future__ import annotations

import codecs
from typing import Final, NamedTuple

BYTES_A_LINE: Final = 400
"""What `Tail` keeps for each of its lines, on average."""


class Line(NamedTuple):
    """One line without its end; `truncated` where it was longer than the limit and its rest was left out."""

    text: str
    truncated: bool = False


class LineSplitter:
    r"""Lines of what a program writes: UTF-8, and where it is none, U+FFFD in place of what cannot be decoded.

    A line ends with ``\n`` or ``\r\n``. A lone ``\r`` begins the line anew, as on a terminal: of a progress bar only the last state
    counts. At most one chunk and `limit` bytes are held.

    Args:
        limit: Bytes of a line that are kept, at least 1.
    """

    __slots__ = ("_at", "_begun", "_chunk", "_kept", "_over", "_return", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._chunk, self._at = b"", 0
        # whether a line has begun, and of it: the first bytes, whether there were more, and whether the last one was a carriage return
        self._begun, self._kept, self._over, self._return = False, bytearray(), False, False

    @property
    def busy(self) -> bool:
        """Whether there are bytes that `take` has not seen."""
        return self._at < len(self._chunk)

    def feed(self, chunk: bytes) -> None:
        """Hand over bytes. Only when it is not `busy`."""
        self._chunk, self._at = chunk, 0

    def take(self, most: int) -> list[Line]:
        """The next lines that have ended, at most so many; fewer only when all bytes were seen."""
        chunk, at, lines = self._chunk, self._at, list[Line]()
        for _ in range(most):
            end = chunk.find(b"\n", at)
            if end < 0:
                self._keep(chunk[at:])
                self._chunk, self._at = b"", 0
                break
            line, at = chunk[at:end], end + 1
            if self._begun:
                self._keep(line)
                lines.append(self._end())
            elif len(line) > self.limit or b"\r" in line:
                lines.append(self._whole(line))
            else:
                lines.append(Line(line.decode("utf-8", "replace")))
            self._at = at
        return lines

    def finish(self) -> list[Line]:
        """The line that has begun and has no end, if there is one. Only when it is not `busy`."""
        return [self._end()] if self._begun else []

    def _whole(self, line: bytes) -> Line:
        line = line.rstrip(b"\r")
        line = line[line.rfind(b"\r") + 1 :]
        if len(line) > self.limit:
            return Line(_cut(line[: self.limit]), truncated=True)
        return Line(line.decode("utf-8", "replace"))

    def _keep(self, part: bytes) -> None:
        written = part.rstrip(b"\r")
        if written:
            anew = written.rfind(b"\r") + 1
            if self._return or anew:
                self._kept.clear()
                self._over = False
            room = self.limit - len(self._kept)
            self._over = self._over or len(written) - anew > room
            self._kept += written[anew : anew + room]
            self._return = False
        if len(written) < len(part):
            self._return = True
        self._begun = self._begun or bool(part)

    def _end(self) -> Line:
        line = Line(_cut(bytes(self._kept)), truncated=True) if self._over else Line(self._kept.decode("utf-8", "replace"))
        self._begun, self._kept, self._over, self._return = False, bytearray(), False, False
        return line


class Tail:
    """The last lines of a stream; what is fed is only copied, and looked at when somebody asks.

    Args:
        lines: How many, at least 1. They get `BYTES_A_LINE` bytes each on average: fewer are kept where they are longer.
    """

    __slots__ = ("_count", "_cut", "_kept", "_most")

    def __init__(self, lines: int) -> None:
        self._count, self._most = lines, lines * BYTES_A_LINE
        self._kept, self._cut = bytearray(), False

    def feed(self, chunk: bytes) -> None:
        """Take in bytes."""
        kept = self._kept
        if len(chunk) > self._most:
            kept[:] = chunk[-self._most :]
            self._cut = True
        else:
            kept += chunk
            if len(kept) > 2 * self._most:  # not each time, for small chunks
                del kept[: -self._most]
                self._cut = True

    def lines(self) -> tuple[str, ...]:
        """The last lines, the oldest first, the last one whether it has ended or not; as `LineSplitter` makes them."""
        data, cut = bytes(self._kept[-self._most :]), self._cut or len(self._kept) > self._most
        splitter = LineSplitter(self._most)
        splitter.feed(data)
        lines = [line.text for line in (*splitter.take(len(data) + 1), *splitter.finish())]
        if cut and len(lines) > 1:
            del lines[0]  # its beginning is gone
        return tuple(lines[-self._count :])


def _cut(data: bytes) -> str:
    """The text of the beginning of a line; a character that the cut went through is left out."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data)
