"""Whether a value is a secret rather than a word, a name, a number or a place where one would be written; pure and without a dictionary."""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections import Counter
from math import log2
from typing import Final

ENTROPY_BITS: Final = 3.0
"""Bits a character: what hexadecimal digits drawn at random have from 16 of them on, and words of as many letters have not."""

LONGEST_CHECKED: Final = 512
"""Bytes of a value that are looked at."""

_DIGIT: Final = re.compile(rb"[0-9]")
_LETTER: Final = re.compile(rb"[A-Za-z]")
_CODE: Final = re.compile(rb"[(){}\[\]|*\s]|::|->")
_PLACEHOLDER: Final = re.compile(
    rb"\$[{(]|<|%[(]|\.{3}|x{4}|\*{3}|[#?-]{3}|example|placeholder|change.?me|your|redacted|dummy|insert|replace|_here|todo", re.IGNORECASE
)
_PLACEHOLDER_START: Final = re.compile(rb"[$<%{(!&?#:=>/~.,@-]")
_PLACE: Final = re.compile(rb"~?/|\.{1,2}/|[a-z][a-z0-9+.-]*://|[A-Za-z]:\\", re.IGNORECASE)
_FILE: Final = re.compile(
    rb"\.(?:py|js|ts|tsx|jsx|json|jsonl|toml|ya?ml|txt|md|rst|html?|css|pem|crt|key|go|rs|rb|sh|c|h|cpp|java|cfg|ini|lock|gz)$",
    re.IGNORECASE,
)
_IDENTIFIER: Final = re.compile(rb"[A-Za-z]*[0-9]{0,3}(?:[_.:/-]+[A-Za-z]*[0-9]{0,3})*")
_PARTED: Final = re.compile(rb"_*[A-Za-z][A-Za-z0-9]*(?:[_.$]+[A-Za-z][A-Za-z0-9]*)+")
_TELLING: Final = re.compile(rb"passw|secret|token|credential|api.?key", re.IGNORECASE)
_NOTHING: Final = frozenset({b"", b"0", b"1", b"true", b"false", b"yes", b"no", b"on", b"off", b"none", b"null", b"nil", b"undefined"})


def entropy(value: bytes) -> float:
    """Shannon's entropy of a value, in bits a byte."""
    count = len(value)
    return -sum(number / count * log2(number / count) for number in Counter(value).values()) if count else 0.0


def is_mixed(value: bytes) -> bool:
    """Whether it has letters and digits, or capitals inside and small letters."""
    if _LETTER.search(value) is None:
        return False
    return _DIGIT.search(value) is not None or (not value[1:].islower() and not value.isupper())


def has_digits(value: bytes) -> bool:
    """Whether it has two digits at least: a name of several words seldom has."""
    return len(_DIGIT.findall(value[:LONGEST_CHECKED])) >= 2


def is_credentials(value: bytes) -> bool:
    """Whether it is a user and a password in Base64, as for ``Basic``."""
    try:
        return b":" in a2b_base64(value, strict_mode=True)
    except ValueError:
        return False


def is_placeholder(value: bytes) -> bool:
    """Whether it stands for a value: a reference to one, an example, an empty one."""
    value = value[:LONGEST_CHECKED]
    return (
        value.lower() in _NOTHING
        or _PLACEHOLDER_START.match(value) is not None
        or _PLACEHOLDER.search(value) is not None
        or len(set(value)) == 1
    )


def is_place(value: bytes) -> bool:
    """Whether it is a path, an address or the name of a file."""
    return _PLACE.match(value) is not None or _FILE.search(value[-16:]) is not None


def is_password(value: bytes, *, quoted: bool) -> bool:
    """Whether a value beside a word that says password is one, and no word, variable or call.

    Args:
        value: It.
        quoted: Whether it stood in quotes: without, it may be code.
    """
    if len(value) < 6 or is_placeholder(value) or is_place(value) or _TELLING.search(value) is not None:
        return False
    if _CODE.search(value) is not None:
        return False
    if _LETTER.search(value) is None or (_DIGIT.search(value) is None and value.isalnum()):
        return False
    plain = re.fullmatch(rb"[A-Za-z_.:/-]+", value) is not None
    return not plain if quoted else not plain and _PARTED.fullmatch(value) is None


def is_random(value: bytes, *, quoted: bool) -> bool:
    """Whether a value beside a telling word looks drawn at random: by its length, its digits and its entropy.

    Args:
        value: It.
        quoted: As of `is_password`.
    """
    value = value[:LONGEST_CHECKED]
    if not quoted and (b"." in value or b"$" in value) and _PARTED.fullmatch(value) is not None:
        return False
    if len(value) < 12 or is_placeholder(value) or is_place(value) or _CODE.search(value) is not None or _LETTER.search(value) is None:
        return False
    bits = entropy(value)
    if not has_digits(value):
        return len(value) >= 24 and bits >= 4.0 and is_mixed(value) and _PARTED.fullmatch(value) is None
    if _IDENTIFIER.fullmatch(value) is not None:
        return False
    return bits >= ENTROPY_BITS - (0.4 if len(value) < 16 else 0.0)
