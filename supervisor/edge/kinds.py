"""What a key of a configuration may hold. Nothing is coerced: the text "5" is not the number 5."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Generic, TypeVar

import attrs

from ..core.value import Value
from .sizes import Size, parse_size
from .usage import did_you_mean, quote

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

LONGEST_SECONDS = 10 * 366 * 86400.0
LARGEST_INTEGER = 10**9


@attrs.frozen(repr=False, eq=False)
class Kind(Value, Generic[T]):
    """One kind of value.

    Attributes:
        expected: What is expected, for a person: ``"an integer >= 1"``.
        accept: The value, checked and in its final type; raises ValueError with a whole sentence. Its own result is accepted again.
        written: Whether a text from the environment or an option is the value itself; else it is read as TOML.
    """

    expected: str
    accept: Callable[[object], T]
    written: bool = False


def integer(minimum: int = 0, maximum: int = LARGEST_INTEGER) -> Kind[int]:
    """A whole number from `minimum` to `maximum`."""
    expected = f"an integer >= {minimum}"

    def accept(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise ValueError(f"expected {expected}, got {quote(value)}")
        if value > maximum:
            raise ValueError(f"expected an integer <= {maximum}, got {quote(value)}")
        return value

    return Kind(expected, accept)


def number(minimum: float = 0.0, maximum: float = math.inf, *, above: bool = False, of: str = "a number") -> Kind[float]:
    """A finite number from `minimum` to `maximum`, or above `minimum`; an integer will do."""
    expected = f"{of} {'>' if above else '>='} {minimum:g}"

    def accept(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or (value <= minimum if above else value < minimum):
            raise ValueError(f"expected {expected}, got {quote(value)}")
        # compared before it is converted: an integer may be too large for a float
        if value > maximum:
            raise ValueError(f"expected {of} <= {maximum:g}, got {quote(value)}")
        if not math.isfinite(value):
            raise ValueError(f"expected {expected}, got {value}")
        return float(value)

    return Kind(expected, accept)


def seconds(minimum: float = 0.0, *, above: bool = False) -> Kind[float]:
    """Seconds, at most ten years."""
    return number(minimum, LONGEST_SECONDS, above=above, of="seconds")


def boolean() -> Kind[bool]:
    """True or false; 0 and 1 are numbers."""

    def accept(value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"expected true or false, got {quote(value)}")
        return value

    return Kind("true or false", accept)


def text(*, empty: bool = True, check: Callable[[str], str | None] | None = None, expected: str = "a string") -> Kind[str]:
    """A string without NUL; `check` gives what is wrong with it, or None."""

    def accept(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"expected {expected}, got {quote(value)}")
        if "\0" in value:
            raise ValueError(f"expected {expected} without a NUL character, got {quote(value)}")
        if not empty and not value.strip():
            raise ValueError(f"expected {expected}, got an empty string")
        wrong = check(value) if check else None
        if wrong:
            raise ValueError(wrong)
        return value

    return Kind(expected, accept, written=True)


def word(words: type[E]) -> Kind[E]:
    """One of the values of an enumeration."""
    known = [str(member.value) for member in words]
    expected = f"one of {', '.join(known)}"

    def accept(value: object) -> E:
        if isinstance(value, words):
            return value
        if isinstance(value, str) and value in known:
            return words(value)
        raise ValueError(f"expected {expected}, got {quote(value)}{did_you_mean(value, known) if isinstance(value, str) else ''}")

    return Kind(expected, accept, written=True)


def size(*, zero: bool = False) -> Kind[Size]:
    """A size with a unit, a share in per cent, or a bare number of MiB."""
    return Kind("a size", lambda value: parse_size(value, zero=zero), written=True)


def words(*, empty: bool = True, first: str = "item") -> Kind[tuple[str, ...]]:
    """A list of strings, such as an argv; `first` is what the first one is called when it must not be empty."""
    expected = "a list of strings"

    def accept(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            remedy = f"; write [{', '.join(map(quote, value.split()[:4]))}]" if isinstance(value, str) and value.strip() else ""
            raise ValueError(f"expected {expected}, got {quote(value)}{remedy}")
        for index, item in enumerate(value):
            if not isinstance(item, str) or "\0" in item:
                raise ValueError(f"expected {expected} without NUL characters, got {quote(item)} at [{index}]")
        if not empty and not (value and value[0].strip()):
            raise ValueError(f"expected a list that begins with a {first}, got {quote(value) if not value else 'an empty ' + first}")
        return tuple(value)

    return Kind(expected, accept)


_VARIABLE = re.compile(r"[^=\0]+")


def variables() -> Kind[Mapping[str, str]]:
    """A table of environment variables."""

    def accept(value: object) -> Mapping[str, str]:
        if not isinstance(value, Mapping):
            raise ValueError(f"expected a table of strings, got {quote(value)}")
        for name, item in value.items():
            if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
                raise ValueError(f"expected the name of a variable, got {quote(name)}")
            if not isinstance(item, str) or "\0" in item:
                raise ValueError(f"expected a string without NUL characters for {quote(name)}, got {quote(item)}")
        return dict(value)

    return Kind("a table of strings", accept)
