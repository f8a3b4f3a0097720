"""Where the keywords of the rules stand in a text: one pass of an Aho-Corasick automaton with the extra `redact`, else one pass a keyword.

What is redacted is the same with both, so that only the time differs.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final

from .rule import Rule
from .shapes import SHAPES
from .tokens import TOKENS

RULES: Final[tuple[Rule, ...]] = (*TOKENS, *SHAPES)
"""All rules; where two hide the same, the first one gives the kind."""

Hit = tuple[int, tuple[int, ...]]
"""A place in a text, and the rules, by number, of which a keyword stands there."""

SHORT: Final = 2048
"""Bytes."""

Finder = Callable[[bytes], list[Hit]]


_Keywords = tuple[tuple[bytes, ...], tuple[tuple[int, ...], ...]]

_RUN: Final = re.compile(rb"[A-Za-z0-9_.~:/+=@-]{15,}")
"""What every secret that is told by a prefix is within; nothing of `TOKENS` is shorter, or of other characters."""


def _table(numbers: Iterable[int]) -> _Keywords:
    """All keywords of rules, and of each the rules that have it."""
    rules: dict[bytes, list[int]] = {}
    for number in numbers:
        for keyword in RULES[number].keywords:
            rules.setdefault(keyword, []).append(number)
    return tuple(rules), tuple(map(tuple, rules.values()))


@cache
def _tables() -> tuple[_Keywords, _Keywords]:
    return _table(range(len(TOKENS))), _table(range(len(TOKENS), len(RULES)))


def find_plain(text: bytes) -> list[Hit]:
    """All keywords at which a rule can match, in order of their places, by the means of Python itself."""
    tokens, shapes = _tables()
    text = text.lower()
    found = _finds(text, shapes)
    # most of a text is words, and no token: its keywords are looked for in long runs alone
    runs, starts, places, size = [], [], [], 0
    for run in _RUN.finditer(text):
        starts.append(size)
        places.append(run.start())
        runs.append(run[0])
        size += len(run[0]) + 1
    if runs:
        for at, rules in _finds(b"\n".join(runs), tokens):
            index = bisect_right(starts, at) - 1
            found.append((places[index] + at - starts[index], rules))
    found.sort()
    return found


def _finds(text: bytes, table: _Keywords) -> list[Hit]:
    find = text.find
    found: list[Hit] = []
    for keyword, rules in zip(*table, strict=True):
        at = find(keyword)
        while at >= 0:
            found.append((at, rules))
            at = find(keyword, at + 1)
    return found


@cache
def automaton() -> Finder | None:
    """The same by an automaton; None where there is none."""
    try:
        import ahocorasick_rs
    except ImportError:
        return None
    keywords, rules = _table(range(len(RULES)))
    matches = ahocorasick_rs.BytesAhoCorasick(keywords, implementation=ahocorasick_rs.Implementation.DFA).find_matches_as_indexes

    def by_automaton(text: bytes) -> list[Hit]:
        found = [(start, rules[number]) for number, start, _ in matches(text.lower(), overlapping=True)]
        found.sort()
        return found

    return by_automaton


def find(text: bytes) -> list[Hit]:
    """By what is faster; a short text is not worth the automaton, which takes a megabyte."""
    if len(text) < SHORT:
        return find_plain(text)
    by_automaton = automaton()
    return find_plain(text) if by_automaton is None else by_automaton(text)


def engine_in_use() -> str:
    """``"automaton"`` or ``"plain"``."""
    return "plain" if automaton() is None else "automaton"
