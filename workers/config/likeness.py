"""Whether a command may be Claude Code: a cheap look, so that what knows it is loaded for nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .model import CommandConfig

_NAME = "claude"
_WORDS = 3
"""Words behind the first that may be the script of an interpreter; more are arguments."""


def may_be_claude(command: CommandConfig, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a word of a command has the program's name in it, or is a link to what has.

    Blocks for a few calls of the file system.

    Args:
        command: The command.
        environ: What it inherits.
    """
    if any(_NAME in word.lower() for word in command.argv):
        return True
    first, *others = command.argv
    directories = [command.working_directory]
    if os.path.basename(first) == first:
        directories = command.env.get("PATH", environ.get("PATH", os.defpath)).split(os.pathsep)
    return any(_is_named(directory, first) for directory in directories) or any(
        _is_named(command.working_directory, word) for word in others[:_WORDS] if not word.startswith("-")
    )


def _is_named(directory: str, word: str) -> bool:
    path = os.path.join(directory, word)
    return (os.path.islink(path) or word.endswith(("js", "cjs"))) and _NAME in os.path.realpath(path).lower()
