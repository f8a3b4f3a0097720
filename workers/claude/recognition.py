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
_PLAIN_NODE: Final = frozenset({"cli.js", "cli.mjs"})
_SCRIPTS: Final = _PLAIN_NODE | {"cli-wrapper.cjs"}
_PACKAGE: Final = re.compile(r"@anthropic-ai/claude-code(?:@[\w.^~-]+)?")
_WITH_VALUE: Final = frozenset({"-r", "--require", "--import", "--loader", "-C", "--conditions", "--env-file"})


@attrs.frozen(repr=False, eq=False)
class ClaudeCommand(Value):
    """A command line of Claude Code.

    Attributes:
        program: The words that start it: the program itself, or an interpreter with its own options and the script.
        arguments: What follows.
        is_plain_node: Whether it is a build that is a script of Node's, as all were up to 2.0.77.
    """

    program: tuple[str, ...]
    arguments: Arguments
    is_plain_node: bool = False

    @property
    def settings(self) -> tuple[str, ...]:
        """The value of ``--settings`` that the program takes of several: those builds the first, the others the last; none without."""
        given = self.arguments.values("--settings")
        return given[:1] if self.is_plain_node else given[-1:]


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
    found = ClaudeCommand(argv[:length], Arguments.of(argv[length:]), _is_plain_node(argv[:length], environ, directory))
    return found if found.arguments.is_conversation else None


def _length(argv: tuple[str, ...], environ: Mapping[str, str], directory: str) -> int | None:
    name = os.path.basename(argv[0]).lower()
    if name in _NAMES:
        return 1
    if name in _RUNNERS:
        return _run(argv)
    if name in _INTERPRETERS:
        script = _script(argv)
        return script + 1 if script is not None and _is_ours(os.path.join(directory, argv[script])) else None
    # by another name: a link to it, such as a package manager makes
    found = _place(argv[0], environ, directory)
    return 1 if found is not None and _is_ours(found) else None


def _run(argv: tuple[str, ...]) -> int | None:
    """Where the program ends that a runner of packages starts: at the package, or at the command of one that an option names."""
    names_package = False
    for index, word in enumerate(argv[1:], start=1):
        option, _, value = word.partition("=")
        if option == "--package" and _PACKAGE.fullmatch(value):
            names_package = True
        elif _PACKAGE.fullmatch(word):
            if argv[index - 1] not in ("-p", "--package"):
                return index + 1
            names_package = True
        elif names_package and not word.startswith("-"):
            return index + 1 if word in _NAMES else None
    return None


def _is_plain_node(program: tuple[str, ...], environ: Mapping[str, str], directory: str) -> bool:
    """Whether the program, or the script of an interpreter, is the whole of an old build, by the name of its file."""
    *before, last = program
    place = os.path.join(directory, last) if before else _place(last, environ, directory)
    return place is not None and os.path.basename(os.path.realpath(place)) in _PLAIN_NODE


def _place(program: str, environ: Mapping[str, str], directory: str) -> str | None:
    """Where a program is; None where it is not found."""
    return os.path.join(directory, program) if os.sep in program else shutil.which(program, path=environ.get("PATH"))


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
