"""What the program itself says: lines to standard output and standard error, where a reader that has gone is no traceback."""

from __future__ import annotations

import os
import sys
from typing import Final

from ..core.text import printable

FAULT: Final = 70


class Unwritten(Exception):
    """Standard output took no more."""

    def __init__(self, error: OSError) -> None:
        self.error = error
        super().__init__(str(error))


def printable_lines(text: str) -> str:
    """A text of several lines without other control characters."""
    return "\n".join(printable(line) for line in text.split("\n"))


def complain(text: str) -> None:
    """Lines to standard error."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"{printable_lines(text)}\n")
            sys.stderr.flush()
        except OSError:
            # nobody can be told any more
            pass


def say(text: str) -> None:
    """Lines to standard output.

    Raises:
        Unwritten: It takes no more.
    """
    try:
        print(printable_lines(text), flush=True)
    except OSError as error:
        raise Unwritten(error) from None


def flushed(code: int) -> int:
    """Flush standard output here, where a reader that has gone or a full disk is no traceback; returns the exit code."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return unwritten(error, code)
    return code


def unwritten(error: OSError, code: int) -> int:
    """The exit code when not everything could be written: a reader that has seen enough is no fault."""
    # what is left in the buffer would be tried again, and fail again, when the interpreter ends
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    if isinstance(error, BrokenPipeError):
        return code
    complain(f"standard output: {error.strerror}")
    return code or FAULT
