"""Descriptors kept in reserve, so that whoever has to be found and killed still is when this process has none left."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_COUNT: Final = 3
"""The most that one look at a process, or one signal to it, opens at the same time, and one more."""
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE)
_held: list[int] = []


def hold() -> None:
    """Take what is missing in the reserve, as far as it can be had."""
    try:
        while len(_held) < _COUNT:
            _held.append(os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
    except OSError:
        return  # when there are some again


def release() -> None:
    """Give the reserve back."""
    while _held:
        os.close(_held.pop())


def with_reserve(call: Callable[P, T]) -> Callable[P, T]:
    """Have a call that runs out of descriptors tried once more, with those of the reserve to use.

    It must not wait: whatever else opens files meanwhile would take them.

    Raises:
        OSError: From the call, when that is not enough either.
    """

    def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except OSError as error:
            if error.errno not in _EXHAUSTED or not _held:
                raise
        release()
        try:
            return call(*args, **kwargs)
        finally:
            hold()

    return tried
