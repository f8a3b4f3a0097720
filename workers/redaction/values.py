"""Redaction of JSON data, names and values alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .names import Telling, counts, names_secret, tells
from .text import KEY_NAME, MARK, is_mark, is_nothing, redact_arguments, redact_environment, redact_text

DEEPEST: Final = 200
"""Levels of lists and objects within each other; what is deeper is cut off and marked."""

TOO_DEEP: Final = "[redacted: too-deep]"
_ENVIRONMENTS: Final = frozenset({"env", "environ", "environment"})
_NAMES: Final = ("name", "key", "Name", "Key")
_VALUES: Final = ("value", "Value")


def redact_value(value: Any) -> Any:
    """JSON data without secrets: strings by their look, and what a name says is one as a whole.

    An object under ``env``, ``environ`` or ``environment`` is read as an environment, a list of strings with options as arguments, and
    ``{"name": ..., "value": ...}`` as a name and its value. Names that become the same are told apart by a number. Tuples become lists;
    what is no JSON is left as it is. The data that were given are not changed.
    """
    return _value(value, 0)


def _value(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if depth >= DEEPEST:
        return TOO_DEEP
    if isinstance(value, Mapping):
        return _object(value, depth)
    if all(isinstance(item, str) for item in value) and any(item.startswith("-") for item in value):
        return list(redact_arguments(value))
    return [_value(item, depth + 1) for item in value]


def _object(data: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
    redacted: dict[Any, Any] = {}
    said = next((redact_text(data[name]) for name in _NAMES if isinstance(data.get(name), str)), None)
    for name, value in data.items():
        kept = name if not isinstance(name, str) else redact_text(name)
        if kept != name:
            told, number = kept, 2
            while kept in redacted or kept in data:
                kept = f"{told} {number}"
                number += 1
        redacted[kept] = _member(kept, value, said, depth)
    return redacted


def _member(name: Any, value: Any, said: str | None, depth: int) -> Any:
    if not isinstance(name, str):
        return _value(value, depth + 1)
    if name in _ENVIRONMENTS and isinstance(value, Mapping) and all(isinstance(item, str) for pair in value.items() for item in pair):
        return redact_environment(value)
    about = said if said is not None and name in _VALUES else name
    return _under(about, value, depth)


def _under(name: str, value: Any, depth: int) -> Any:
    """What stands under a name."""
    name = MARK.sub("", name)  # what was a secret says nothing of another
    telling = tells(name)
    if telling is None and not (name.isupper() and names_secret(name)):
        return _value(value, depth + 1)
    if isinstance(value, str):
        if is_nothing(value) or is_mark(value) or (value.isdecimal() and counts(name)):
            return value
        looked = redact_text(value)
        return looked if is_mark(looked) else KEY_NAME
    if isinstance(value, int | float) and not isinstance(value, bool) and telling is Telling.PASSWORD:
        return KEY_NAME
    if isinstance(value, list | tuple) and depth < DEEPEST:
        return [_under(name, item, depth + 1) for item in value]
    return _value(value, depth + 1)
