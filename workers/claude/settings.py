"""The settings with which a life of Claude Code is started: our hooks, beside whatever the user's own settings say."""

from __future__ import annotations

import json
import os
import shlex
from typing import Any, Final

PROMPTED: Final = "UserPromptSubmit"
STOPPED: Final = "Stop"
USED: Final = "PreToolUse"
STARTED: Final = "SessionStart"
BACKGROUND: Final = "StopWithTasks"
"""What our hook says when a turn has ended and tasks in the background go on."""

LIMIT: Final = 5
"""Seconds that a hook of ours may take; it takes the start of a shell."""

LARGEST: Final = 4 << 20
"""Bytes of settings that are read."""


class SettingsUnreadable(Exception):
    """The user's own settings, which cannot be merged with ours."""


def with_hooks(given: tuple[str, ...], directory: str, pipe: str, life: str) -> dict[str, Any]:
    """What a life is to be given as settings.

    Args:
        given: What the user gave as ``--settings``: files or JSON texts. The program takes one of several, the newest builds the last.
        directory: Where a relative file is.
        pipe: Where our hooks write.
        life: The words that their lines begin with.

    Raises:
        SettingsUnreadable: What was given is not what the program could read.
    """
    settings = loaded(given[-1], directory) if given else {}
    theirs = settings.get("hooks", {})
    if not isinstance(theirs, dict) or not all(isinstance(groups, list) for groups in theirs.values()):
        raise SettingsUnreadable("its hooks are no lists by event")
    ours = hooks(pipe, life)
    merged = {**theirs, **{event: [*theirs.get(event, []), *groups] for event, groups in ours.items()}}
    return {**settings, "hooks": merged}


def loaded(given: str, directory: str) -> dict[str, Any]:
    """The settings that a value of ``--settings`` names or is.

    Raises:
        SettingsUnreadable: There is no such file, or it holds no settings.
    """
    text = given
    if not given.lstrip().startswith("{"):
        path = os.path.join(directory, given)
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read(LARGEST)
        except (OSError, ValueError) as error:
            raise SettingsUnreadable(f"{path} cannot be read: {error}") from error
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsUnreadable(f"no JSON: {error}") from error
    if not isinstance(settings, dict):
        raise SettingsUnreadable("no object")
    return settings


def hooks(pipe: str, life: str) -> dict[str, list[dict[str, Any]]]:
    """Our hooks, by event: each a few words for a shell that starts nothing but what is built into it, except where it reads.

    Opened for reading and writing, a named pipe never waits for somebody to read it. What fails is not the agent's affair: the hook
    says nothing and is content. Only events that 1.0 and later know: 2.0 ignores all settings that name another one.
    """
    to = f"2>/dev/null 1<>{shlex.quote(pipe)} || :"
    begin = f"{life} "
    say = {event: f"printf '%s\\n' {shlex.quote(begin + event)} {to}" for event in (PROMPTED, USED)}
    say[STARTED] = f"IFS= read -r told; printf '%s\\n' {shlex.quote(f'{begin}{STARTED} ')}\"$told\" {to}"
    # a quotation mark within a text is escaped, so this is never found in what somebody has said
    running = f"case $(cat) in *'\"background_tasks\":[{{'*) ended={BACKGROUND};; *) ended={STOPPED};; esac"
    say[STOPPED] = f"{running}; printf '%s\\n' {shlex.quote(begin)}\"$ended\" {to}"
    made: dict[str, list[dict[str, Any]]] = {}
    for event, command in say.items():
        group: dict[str, Any] = {"hooks": [{"type": "command", "command": command, "timeout": LIMIT}]}
        made[event] = [{"matcher": "*", **group} if event == USED else group]
    return made
