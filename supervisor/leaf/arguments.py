"""What the arguments of launches have to be, where several take the same."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Final

from ..core.errors import InvalidField, is_duration

WORD: Final = "text without NUL that this system can encode"


def is_word(value: object) -> bool:
    """Whether the system can be given this text."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def check_environment(env: object, *, where: str) -> None:
    """Refuse what can be no additions to an environment.

    Raises:
        InvalidField: That names the first of them.
    """
    if not isinstance(env, Mapping):
        raise InvalidField("env", env, "variables and their values", where=where)
    for name, value in env.items():
        if not is_word(name) or not name or "=" in name or not (value is None or is_word(value)):
            raise InvalidField("env", {name: value}, "variable names without =, and text without NUL, or None, as values", where=where)


def check_path(name: str, value: object, *, where: str) -> None:
    """Refuse what can be no path, or word that stands for one.

    Raises:
        InvalidField: It is none.
    """
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not path or not is_word(path):
        raise InvalidField(name, value, f"a path: {WORD}", where=where)


def is_descriptor(value: object) -> bool:
    """Whether a value is the number of a descriptor."""
    return type(value) is int and value >= 0


def check_kill_timeout(value: object, *, where: str) -> None:
    """Refuse what is no time after a kill.

    Raises:
        InvalidField: It is none.
    """
    if not is_duration(value) or value == 0:
        raise InvalidField("kill_timeout", value, "seconds > 0 or math.inf", where=where)


def check_kwargs(kwargs: object, *, where: str) -> None:
    """Refuse what can be no arguments by name; None is none.

    Raises:
        InvalidField: It is something else.
    """
    if kwargs is not None and not (isinstance(kwargs, Mapping) and all(isinstance(name, str) for name in kwargs)):
        raise InvalidField("kwargs", kwargs, "arguments by name", where=where)


def check_watchdog(period: float | None, *, where: str) -> None:
    """Refuse what is no time of silence, nor None.

    Raises:
        InvalidField: It is neither.
    """
    if period is not None and not (is_duration(period) and 0 < period < math.inf):
        raise InvalidField("watchdog", period, "seconds > 0, or None for no watchdog", where=where)
