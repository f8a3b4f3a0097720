"""Where a Ctrl-C may strike.

Without a handler of the program's own, trio lets `KeyboardInterrupt` strike between any two instructions of whatever task happens to
run. What keeps the books of the tree must not be cut in the middle: code that is marked here has the interrupt wait for the program's
main task, as `trio.lowlevel.enable_ki_protection` does. On asyncio only a second interrupt strikes like that, and nothing can be marked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_marks: list[tuple[Callable[..., Any], bool]] = []


def interrupts_wait(function: F) -> F:
    """Have interrupts wait while this function, or what it calls, runs."""
    _marks.append((function, True))
    return function


def interrupts_strike(function: F) -> F:
    """Have interrupts strike in what this function calls, for it is the user's."""
    _marks.append((function, False))
    return function


def apply_marks() -> None:
    """Tell trio of the marks, if it is there and has not been told; also holds for calls that are under way."""
    if _marks and "trio" in sys.modules:
        import trio

        for function, waits in _marks:
            (trio.lowlevel.enable_ki_protection if waits else trio.lowlevel.disable_ki_protection)(function)
        _marks.clear()
