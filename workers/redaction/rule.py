"""What one kind of secret looks like: literals that every one of them holds, and a pattern that is tried where one of these stands.

Patterns are of bytes (UTF-8), are matched at a place and never searched for, and repeat only classes of characters, so that the time is
linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final

import attrs

from supervisor import Value

WORD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
"""What tokens are made of: one begins where none of these stands before it."""

ALNUM: Final = WORD[:-2]
NAME: Final = WORD + b"."
UPPER: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

Check = Callable[["re.Match[bytes]", bytes], bool]


@attrs.frozen(repr=False, eq=False)
class Rule(Value):
    """One kind of secret.

    Attributes:
        kind: What its mark says.
        keywords: Lower case; each match holds one of these, in any case, where `pattern` says.
        pattern: Tried where a match would begin. The group ``s`` is the secret; without one all of it is.
        edge: Whether nothing of `WORD` may stand before it.
        joined: Whether, for all that, it may follow a dash, an underline or an escape of a URL: its look alone says what it is, as
            part of a name too.
        lead: What may stand between the beginning of a match and its keyword.
        reach: At most so many bytes of `lead`.
        check: Says of a match and its secret whether it is one.
        tail: A class of characters that go on with a secret which has no known end; for those that do not fit into a piece of a stream.
        any_case: Whether the case of letters does not matter.
    """

    kind: str
    keywords: tuple[bytes, ...]
    pattern: bytes
    edge: bool = True
    joined: bool = False
    lead: bytes = b""
    reach: int = 0
    check: Check | None = None
    tail: bytes = rb"[A-Za-z0-9_-]*"
    any_case: bool = False


@cache
def compiled(rule: Rule) -> re.Pattern[bytes]:
    """The pattern of a rule, made when it is first needed."""
    return re.compile(rule.pattern, re.IGNORECASE if rule.any_case else 0)


@cache
def tail_of(rule: Rule) -> re.Pattern[bytes]:
    """The pattern of what goes on with a secret."""
    return re.compile(rule.tail, re.DOTALL)
