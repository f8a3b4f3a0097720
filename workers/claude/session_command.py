"""The command of a session: what has to be among its words so that it can be talked with in lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from supervisor import InvalidField

from .recognition import ClaudeCommand, recognised

_NEEDED: Final = (("--print", None), ("--input-format", "stream-json"), ("--output-format", "stream-json"), ("--verbose", None))


def session_command(argv: Sequence[str], environ: Mapping[str, str], directory: str) -> ClaudeCommand:
    """The command of a session, with what it needs beyond what was given. Blocks for a few calls of the file system.

    Args:
        argv: A command of Claude Code without a prompt.
        environ: Its environment.
        directory: Where it is started, absolute.

    Raises:
        InvalidField: It is no Claude Code, says something by itself, or asks for other formats.
    """
    words: object = argv
    if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) and word for word in words):
        raise InvalidField("argv", words, 'a command and its arguments, as ["claude"]', where="ClaudeSession")
    found = recognised(tuple(argv), environ, directory)
    if found is None:
        raise InvalidField("argv", list(argv), "a command of Claude Code that holds a conversation", where="ClaudeSession")
    if found.arguments.prompt:
        raise InvalidField("argv", list(argv), "a command without a prompt: send() says what is to be said", where="ClaudeSession")
    missing: list[str] = []
    for name, value in _NEEDED:
        given = found.arguments.values(name)
        if value is not None and given and given[-1] != value:
            raise InvalidField("argv", list(argv), f"{name} {value}, or nothing of it", where="ClaudeSession")
        if not found.arguments.has(name):
            missing += [name] if value is None else [name, value]
    if missing:
        # before the user's own words: one of those may take all that follow
        found = recognised((*found.program, *missing, *found.arguments), environ, directory)
        assert found is not None
    return found
