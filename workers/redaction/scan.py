"""One pass over a text: matches of the rules, what of them is secret, and the text with marks in place of that.

What is a mark already is a wall: no match goes across it or begins or ends at it. So a match in redacted text would have been one before,
and redacting twice changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

import attrs

from supervisor import Value

from .engine import RULES, Finder, find
from .rule import WORD, Rule, compiled, tail_of

MARK: Final = re.compile(rb"\[redacted: [a-z0-9-]{1,40}\]")
_BEGIN: Final = b"[redacted: "
_ESCAPED: Final = b"nrt"
_BACKSLASH: Final = 0x5C
_COLORED: Final = 0x6D
_COLOR: Final = re.compile(rb"(?:\x1b|\\u001[bB]|\\x1[bB]|\\033|\\e)\[[0-9;:]{0,20}m\Z")


@attrs.frozen(repr=False, eq=False)
class Secret(Value):
    """Something to hide: bytes from `start` to `end`, found by a match that goes from `first` to `last`.

    Attributes:
        number: Of its rule.
    """

    start: int
    end: int
    first: int
    last: int
    number: int

    @property
    def rule(self) -> Rule:
        """What it was found by, and its kind."""
        return RULES[self.number]


def mark(kind: str) -> bytes:
    """What stands in place of a secret."""
    return b"[redacted: " + kind.encode("ascii") + b"]"


def marks_in(text: bytes) -> list[tuple[int, int]]:
    """Where marks stand in a text."""
    return [found.span() for found in MARK.finditer(text)] if _BEGIN in text else []


def secrets_in(text: bytes, begin: int = 0, *, find: Finder = find) -> list[Secret]:
    """The secrets of a text, in order and apart from each other.

    Args:
        text: UTF-8.
        begin: Keywords before it are none; what is before it is looked at all the same.
        find: The engine.
    """
    hits = find(text)
    if not hits:
        return []
    walls = marks_in(text)
    found: list[Secret] = []
    done: dict[int, tuple[int, int]] = {}
    wall, left, right, size = 0, 0, walls[0][0] if walls else len(text), len(text)
    for at, numbers in hits:
        while wall < len(walls) and at >= walls[wall][0]:
            left = walls[wall][1]
            wall += 1
            right = walls[wall][0] if wall < len(walls) else size
        if at < begin or at < left:
            continue
        for number in numbers:
            span = done.get(number)
            if span is not None and span[0] <= at < span[1]:
                continue
            secret = _tried(text, at, number, left, right, size)
            if secret is not None:
                found.append(secret)
                done[number] = secret.start, secret.end
    return _apart(found) if len(found) > 1 else found


def _tried(text: bytes, at: int, number: int, left: int, right: int, size: int) -> Secret | None:
    """The match of a rule whose keyword stands at a place between two walls."""
    rule = RULES[number]
    first = at
    if rule.lead:
        lead, least = _members(rule.lead), max(left, at - rule.reach)
        while first > least and text[first - 1] in lead and not _is_escape(text, first):
            first -= 1
    if first == left and left:
        return None
    if rule.edge and first and text[first - 1] in _WORD and not _is_escape(text, first) and not (rule.joined and _is_joint(text, first)):
        return None
    found = compiled(rule).match(text, first, right)
    if found is None:
        return None
    start, end = _span(found)
    last = found.end()
    if last <= at or (rule.check is not None and not rule.check(found, text[start:end])):
        return None
    if last == end and rule.tail:
        # a pattern is bounded, so that what fails costs little; what has not failed is hidden to its end
        last = end = _end(tail_of(rule), text, end, right)
    if last == right and right != size:
        return None
    # never a part of a character
    while start and text[start] & 0xC0 == 0x80:
        start -= 1
    while end < size and text[end] & 0xC0 == 0x80:
        end += 1
    return Secret(start, end, first, max(last, end), number)


def redacted(text: bytes, secrets: Iterable[Secret], begin: int = 0, end: int | None = None) -> bytes:
    """A text from `begin` to `end`, with marks in place of its secrets."""
    pieces: list[bytes] = []
    for secret in secrets:
        pieces += text[begin : secret.start], mark(secret.rule.kind)
        begin = secret.end
    pieces.append(text[begin:end])
    return b"".join(pieces)


def _apart(found: list[Secret]) -> list[Secret]:
    """Secrets that overlap as one, of the kind of the first rule among them."""
    found.sort(key=lambda secret: (secret.start, secret.number))
    apart: list[Secret] = []
    for secret in found:
        if not apart or secret.start >= apart[-1].end:
            apart.append(secret)
            continue
        before = apart[-1]
        apart[-1] = Secret(
            before.start,
            max(before.end, secret.end),
            min(before.first, secret.first),
            max(before.last, secret.last),
            min(before.number, secret.number),
        )
    return apart


def _end(tail: re.Pattern[bytes], text: bytes, end: int, right: int) -> int:
    more = tail.match(text, end, right)
    return end if more is None else more.end()


def _span(found: re.Match[bytes]) -> tuple[int, int]:
    groups = found.re.groupindex
    if "s" in groups and found.start("s") >= 0:
        return found.span("s")
    return found.span("t") if "t" in groups else found.span()


def _is_escape(text: bytes, at: int) -> bool:
    """Whether what stands before a place is the end of an escaped line or tab, as in JSON, or what gives a terminal its colors."""
    if at >= 2 and text[at - 1] in _ESCAPED and text[at - 2] == _BACKSLASH:
        return True
    return at >= 3 and text[at - 1] == _COLORED and _COLOR.search(text, max(0, at - 32), at) is not None


def _is_joint(text: bytes, at: int) -> bool:
    """Whether what stands before a place only joins it to a name: an underline, a single dash, or a byte as a URL has it."""
    if text[at - 1] in b"-_":
        return text[at - 2 : at] != b"--"  # which is the end of a block, or begins an option
    return at >= 3 and text[at - 3] == _PERCENT and all(byte in _HEX for byte in text[at - 2 : at])


_PERCENT: Final = 0x25
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
_WORD: Final = frozenset(WORD)


@cache
def _members(letters: bytes) -> frozenset[int]:
    return frozenset(letters)
