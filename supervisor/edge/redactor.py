"""How an application keeps secrets out of what leaves the process; the launcher knows what to do by functions only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from ..core.value import Value


def _same(value: Any) -> Any:
    return value


def _never(line: bytes) -> bool:
    return False


@attrs.frozen(repr=False, eq=False)
class Redactor(Value):
    """Takes secrets out of whatever is written or shown; this one leaves everything as it is.

    Attributes:
        text: A text without its secrets.
        data: JSON data without theirs; those that were given are not changed.
        suspects: Whether JSON data, given as one line of ASCII, may hold a secret. Called for every event, so it should cost little.
    """

    text: Callable[[str], str] = _same
    data: Callable[[Any], Any] = _same
    suspects: Callable[[bytes], bool] = _never

    def line(self, data: Any) -> bytes:
        """JSON data as one line, in ASCII, with its newline, and without secrets."""
        from .event_file import as_line

        line = as_line(data)
        return as_line(self.data(data)) if self.suspects(line) else line


NOTHING: Final = Redactor()
"""Where nobody redacts."""
