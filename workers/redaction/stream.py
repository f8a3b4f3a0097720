"""Redaction of a text that comes in pieces, in constant memory: what comes out is what the whole text would have become."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from .rule import tail_of
from .scan import Secret, mark, marks_in, redacted, secrets_in
from .shapes import LONGEST_HEAD

HOLD: Final = 2 * LONGEST_HEAD
"""Bytes at the end of what has come that are not decided yet: a match that begins before them is a match whatever comes."""

PIECE: Final = 1 << 18
"""Bytes that are gathered before they are looked at; memory is a few times as much."""

CONTEXT: Final = 256
"""Bytes before a place that matches after it may look back to."""


class TextRedactor:
    """Redacts a text piece by piece.

    The pieces may be cut anywhere, inside a character or a secret. A secret that is longer than what is held, such as a key block without
    an end, is dropped as far as its kind of text goes, and never kept. Values of which entropy decides are judged by their first 512 bytes.

    Args:
        hold: Bytes that are held back; less than `HOLD` may miss what is longer.
        piece: Bytes that are looked at at once.
    """

    def __init__(self, *, hold: int = HOLD, piece: int = PIECE) -> None:
        self._hold, self._piece = hold, piece
        self._text = b""
        self._more: list[bytes] = []
        self._size = 0
        self._begin = 0
        self._tail: re.Pattern[bytes] | None = None

    def feed(self, data: bytes) -> bytes:
        """Take the next piece of the text; returns what is decided by now, which may be nothing."""
        self._more.append(data)
        self._size += len(data)
        if self._size < self._hold + self._piece:
            return b""
        return self._decided(last=False)

    def finish(self) -> bytes:
        """The text is complete; returns the rest. The next piece begins another text."""
        rest = self._decided(last=True)
        self._text, self._begin, self._tail = b"", 0, None
        return rest

    def _decided(self, *, last: bool) -> bytes:
        text = self._text + b"".join(self._more)
        begin = self._begin
        self._more, self._size = [], 0
        if self._tail is not None:
            tail = self._tail.match(text, begin)
            begin = tail.end() if tail is not None else begin
            if begin == len(text) and not last:
                return self._keep(text, begin, b"")
            self._tail = None
        found = secrets_in(text, begin)
        if last:
            return redacted(text, found, begin)
        cut = _cut(text, found, begin, max(begin, len(text) - self._hold))
        if cut is not None:
            return self._keep(text, cut, redacted(text, (one for one in found if one.end <= cut), begin, cut))
        # one match from the beginning to where nothing is decided: longer than anything that is no secret
        secret = found[0]
        self._tail = tail_of(secret.rule)
        out = text[begin : secret.start] + mark(secret.rule.kind)
        return self._keep(text, len(text), out)

    def _keep(self, text: bytes, begin: int, out: bytes) -> bytes:
        start = max(0, begin - CONTEXT)
        self._text, self._begin = text[start:], begin - start
        self._size = len(text) - begin
        return out


def redact_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A text in pieces, redacted; the pieces that come out are others."""
    redactor = TextRedactor()
    for chunk in chunks:
        if out := redactor.feed(chunk):
            yield out
    if out := redactor.finish():
        yield out


def _cut(text: bytes, found: list[Secret], begin: int, cut: int) -> int | None:
    """The last place up to `cut` that is inside of no match, mark or character; None where there is none after `begin`."""
    spans = [(one.first, one.last) for one in found] + marks_in(text)
    moved = True
    while moved:
        moved = False
        while cut > begin and cut < len(text) and text[cut] & 0xC0 == 0x80:
            cut -= 1
        for first, last in spans:
            if first < cut < last:
                cut, moved = first, True
    if cut > begin:
        return cut
    # nothing before it: after the match that is in the way, if its end is known
    ends = [one.last for one in found if one.first <= begin < one.last]
    return max(ends) if ends and max(ends) < len(text) else None
