"""The command of a session: what has to be among its words so that it can be talked with in lines."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Final

from supervisor import ChildSpec, InvalidField, SupervisorRef, command

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


def check_options(
    name: Any, cwd: Any, env: Any, supervisor: Any, restart: Any, grace: Any, shutdown: Any, stderr: Any, state_dir: Any, on_notice: Any
) -> None:
    """Refuse what a session cannot be made with; see `ClaudeSession`.

    Raises:
        InvalidField: An argument has an illegal value.
    """
    if not isinstance(name, str) or not name:
        raise InvalidField("name", name, "a non-empty string", where="ClaudeSession")
    # which look at all that is theirs
    ChildSpec(name, command("claude", env=env, cwd=cwd, stderr=stderr), restart=restart, shutdown=shutdown)
    if isinstance(grace, bool) or not isinstance(grace, int | float) or not grace >= 0:
        raise InvalidField("grace", grace, "seconds >= 0 or math.inf", where="ClaudeSession")
    if supervisor is not None and not isinstance(supervisor, SupervisorRef):
        raise InvalidField("supervisor", supervisor, "a supervisor, or None for one of its own", where="ClaudeSession")
    path = os.fspath(state_dir) if isinstance(state_dir, PathLike) else state_dir
    if path is not None and (not isinstance(path, str) or not path or "\0" in path):
        raise InvalidField("state_dir", state_dir, "a path, or None", where="ClaudeSession")
    if on_notice is not None and not callable(on_notice):
        raise InvalidField("on_notice", on_notice, "a function, or None", where="ClaudeSession")
