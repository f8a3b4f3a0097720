"""argparse, with its complaints as usage errors and without the imports that a run does not need."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any, NoReturn

from .usage import UsageError


def columns() -> int:
    """How many a line of help may have."""
    given = os.environ.get("COLUMNS", "")
    try:
        width = int(given) if given.isascii() and given.isdigit() else os.get_terminal_size().columns
    except OSError:
        width = 80
    return max(width, 40) - 2


class Formatter(argparse.HelpFormatter):
    """argparse's, told its width: it makes one for each option, and to ask for the width it would import shutil and its compressors."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{**more, "width": columns()})


class Parser(argparse.ArgumentParser):
    """argparse, with its complaints as usage errors.

    Attributes:
        after: Makes what follows the options in the help, as it stands, for so many columns; None for nothing.
    """

    after: Callable[[int], str] | None = None

    def format_help(self) -> str:
        """The whole help."""
        said = super().format_help()
        return said if self.after is None else f"{said}\n{self.after(columns())}\n"

    def error(self, message: str) -> NoReturn:
        """Complain by raising.

        Raises:
            UsageError: Always.
        """
        raise UsageError([f"{message}; see {self.prog} --help"])

    @property
    def option_strings(self) -> list[str]:
        """All options."""
        return list(self._option_string_actions)


def joined_values(words: list[str]) -> list[str]:
    """A negative value is joined to its option, for argparse would take it for an option of its own."""
    joined: list[str] = []
    for word in words:
        if word[:1] == "-" and word[1:2].isdigit() and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def takes_next(parser: Parser, words: list[str]) -> bool:
    """Whether the next word would be the value of an option rather than a word of its own."""
    try:
        parser.parse_known_args(words)
    except UsageError:
        return True
    return False
