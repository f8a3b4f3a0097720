"""The status line of Claude Code: the user's own, as it is, and what the guardian has to say below it.

The program runs a command, gives it JSON on its standard input and shows what it prints below the prompt. Ours is a few words for the shell
that the program starts anyway: it runs the user's command in that same shell, with the same input, and reads one line from a file, which
costs no further process. Where that file is empty or gone, the user's command alone decides what is shown and how it ends.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from .settings import SettingsUnreadable, loaded

KEY: Final = "statusLine"
COMMAND: Final = "command"

INTERVAL: Final = 5
"""Seconds after which the newest builds look again by themselves, where the user has no status line that this would run more often."""

SOURCES: Final = ("user", "project", "local")
"""What the program calls the settings files that it reads, in the order of `Continuation.settings_files`; later ones win."""


def theirs(files: Iterable[tuple[str, Path]], sources: tuple[str, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """The status line that the user has configured, by the program's precedence: a later one wins, key by key. Blocks.

    Args:
        files: The settings files with their sources, the one that wins last.
        sources: The values of ``--setting-sources``; empty for all.
        given: The settings of ``--settings``, which win over all files.
    """
    read = {source for value in sources for source in value.split(",")} if sources else set(SOURCES)
    found: dict[str, Any] = {}
    for source, file in files:
        if source in read:
            try:
                settings = loaded(os.fspath(file), os.sep)
            except SettingsUnreadable:
                continue  # not there, or the program's to complain about
            found |= _of(settings)
    return found | _of(given)


def with_status_line(settings: Mapping[str, Any], own: Mapping[str, Any], words: Path) -> dict[str, Any]:
    """Settings with our status line around the user's.

    Args:
        settings: What the life is given; what they say of a status line, but for its command, stays.
        own: The user's status line, see `theirs`; empty for none.
        words: The file with what the guardian has to say.
    """
    if KEY in settings and not isinstance(settings[KEY], Mapping):
        return dict(settings)  # the program's to complain about
    command = own.get(COMMAND)
    command = command if isinstance(command, str) and command.strip() else ""
    line: dict[str, Any] = {**_of(settings), "type": COMMAND, COMMAND: around(command, words)}
    if not command:
        # the files may say more of it, which the program takes together with this
        line.setdefault("refreshInterval", INTERVAL)
    return {**settings, KEY: line}


def around(command: str, words: Path) -> str:
    """The command of our status line.

    Nothing to say: the user's command has the shell to itself. Something to say: it follows what that prints, on a line of its own, and
    stands alone where that fails, as the program then shows nothing of it.
    """
    read = f"mg_words=; IFS= read -r mg_words 2>/dev/null <{shlex.quote(os.fspath(words))}"
    tell = "printf '%s\\n'"
    if not command:
        return f'{read}; case $mg_words in ?*) {tell} "$mg_words";; esac'
    run = f"eval {shlex.quote(command)}"
    both = f'mg_own=$({run}) || mg_own=; {tell} ${{mg_own:+"$mg_own"}} "$mg_words"'
    return f"{read}; case $mg_words in '') {run};; *) {both};; esac"


def _of(settings: Mapping[str, Any]) -> dict[str, Any]:
    line = settings.get(KEY)
    return dict(line) if isinstance(line, Mapping) else {}
