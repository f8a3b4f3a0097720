"""State files of every format version there was, as data of the present one.

    1   the first one; `conversation` was free-form
    2   `conversation`, where there is one, names its session and its transcript; `journal` is the transcript's mark

Within a version fields are only ever added. A version that changes what a field means gets a number of its own, and here the step that
makes the next version's data of it; the steps follow each other, so that a file of any age is read by the same program.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from .model import FORMAT_VERSION, StateInvalid

OLDEST: Final = 1
DEEPEST: Final = 64
"""Levels of nesting beyond which data are not believed; a state has seven."""
MOST_VALUES: Final = 2_000_000
"""Values beyond which JSON is not even parsed: each costs memory, whatever little it takes in the text."""


def parsed(text: bytes) -> dict[str, Any]:
    """The object in a JSON text from an unknown hand, in memory that its size bounds.

    Args:
        text: UTF-8; its length is the caller's to bound.

    Raises:
        StateInvalid: It is no JSON, no object, nested more deeply than `DEEPEST`, or of more than `MOST_VALUES` values.
    """
    if sum(map(text.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise StateInvalid(f"it holds more than {MOST_VALUES} values")
    try:
        data = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise StateInvalid(f"it is nested more than {DEEPEST} levels deep") from None
    except UnicodeDecodeError as error:
        raise StateInvalid(f"it is no UTF-8: {error.reason} at byte {error.start}") from None
    except ValueError as error:
        raise StateInvalid(f"it is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise StateInvalid("it is no JSON object")
    if _is_deep(data):
        raise StateInvalid(f"it is nested more than {DEEPEST} levels deep")
    return data


def upgraded(data: dict[str, Any], version: int) -> dict[str, Any]:
    """Data of an older version as data of the present one; the argument stays as it is.

    Args:
        data: A whole state that its own checksum vouches for.
        version: Its format version, from `OLDEST` to `FORMAT_VERSION`.
    """
    for number in range(version, FORMAT_VERSION):
        data = STEPS[number](data)
        data = {**data, "metadata": {**data["metadata"], "format_version": number + 1}}
    return data


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _is_deep(data: object) -> bool:
    """Whether data are nested too deeply, told without recursion."""
    level: list[object] = [data]
    for _ in range(DEEPEST):
        inner: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inner.extend(value.values())
            elif isinstance(value, list):
                inner.extend(value)
        if not inner:
            return False
        level = inner
    return True


def _from_1(data: dict[str, Any]) -> dict[str, Any]:
    """Of a free-form conversation only what names it is understood."""
    told = data.get("conversation")
    names = {name: told.get(name) for name in ("session_id", "transcript")} if isinstance(told, dict) else {}
    known = bool(names) and all(isinstance(value, str) for value in names.values())
    return {**data, "conversation": names if known else None}


STEPS: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {1: _from_1}
"""By version: what makes the next one of it."""
