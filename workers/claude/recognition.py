"""Whether a command is Claude Code, and where in it the program ends and its arguments begin."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from typing import Final

import attrs

from supervisor import Value

from .arguments import Arguments

_NAMES: Final = frozenset({"claude", "claude.exe", "claude.cmd"})
_INTERPRETERS: Final = frozenset({"node", "nodejs", "bun", "node.exe", "bun.exe"})
_RUNNERS: Final = frozenset({"npx", "bunx", "npx.cmd"})
_SCRIPTS: Final = frozenset({"cli.js", "cli.mjs", "cli-wrapper.cjs"})
_PACKAGE: Final = re.compile(r"@anthropic-ai/claude-code(?:@[\w.^~-]+)?")
_WITH_VALUE: Final = frozenset({"-r", "--require", "--import", "--loader", "-C", "--conditions", "--env-file"})


@attrs.frozen(repr=False, eq=False)
class ClaudeCommand(Value):
    """A command line of Claude Code.

    Attributes:
        program: The words that start it: the program itself, or an interpreter with its own options and the script.
        arguments: What follows.
    """

    program: tuple[str, ...]
    arguments: Arguments


def recognised(argv: tuple[str, ...], environ: Mapping[str, str], directory: str) -> ClaudeCommand | None:
    """Take a command line of Claude Code apart; None for any other command, and for what holds no conversation.

    Known are a program called ``claude``, the script of its package under an interpreter or by itself, and ``npx`` with the package's
    name. Blocks for a few calls of the file system.

    Args:
        argv: The command.
        environ: Its environment.
        directory: Where it is started, absolute.
    """
    length = _length(argv, environ, directory)
    if length is None:
        return None
    found = ClaudeCommand(argv[:length], Arguments.of(argv[length:]))
    return found if found.arguments.is_conversation else None


def _length(argv: tuple[str, ...], environ: Mapping[str, str], directory: str) -> int | None:
    name = os.path.basename(argv[0]).lower()
    if name in _NAMES:
        return 1
    if name in _RUNNERS:
        return next((index + 1 for index, word in enumerate(argv) if _PACKAGE.fullmatch(word)), None)
    if name in _INTERPRETERS:
        script = _script(argv)
        return script + 1 if script is not None and _is_ours(os.path.join(directory, argv[script])) else None
    # by another name: a link to it, such as a package manager makes
    found = shutil.which(argv[0], path=environ.get("PATH")) if os.sep not in argv[0] else os.path.join(directory, argv[0])
    return 1 if found is not None and _is_ours(found) else None


def _script(argv: tuple[str, ...]) -> int | None:
    """Where the script is that an interpreter runs."""
    at = 1
    while at < len(argv):
        word = argv[at]
        if not word.startswith("-"):
            return at
        at += 2 if word in _WITH_VALUE else 1
    return None


def _is_ours(path: str) -> bool:
    real = os.path.realpath(path)
    parts = real.replace("\\", "/").split("/")
    name, within = parts[-1], parts[-3:-1]
    return (name in _SCRIPTS and within[-1:] == ["claude-code"]) or (name.startswith("claude") and "claude-code" in " ".join(parts[-3:-1]))
