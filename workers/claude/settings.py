"""The settings with which a life of Claude Code is started: our hooks, beside whatever the user's own settings say."""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from ..degradation.adapter import WHY

PROMPTED: Final = "UserPromptSubmit"
STOPPED: Final = "Stop"
USED: Final = "PreToolUse"
STARTED: Final = "SessionStart"
BACKGROUND: Final = "StopWithTasks"
"""What our hook says when a turn has ended and tasks in the background go on."""

_CHANGE: Final = (
    "Write|Edit|MultiEdit|NotebookEdit|Bash|PowerShell|Monitor|REPL|Eval|JavaScript|Tmux|EnterWorktree|ExitWorktree|"
    "Skill|SlashCommand|CronCreate|CronDelete|mcp__.*"
)
CHANGING: Final = f"^(?:{_CHANGE})$"
"""The tools that can change something, for a search: without its ends it would find TodoWrite, too. What a subagent uses is looked at like
that as well; those that only read, and those that only start subagents, are not among them. A skill can have lines for a shell in it
that run as it is read, without a hook; a schedule is a file of the project."""

MCP: Final = "mcp"
"""What our hook calls a tool of any MCP server."""

TOOLS: Final = (
    *("Bash", "PowerShell", "Monitor", "Task", "Agent", "Read", "Write", "Edit", "MultiEdit", "NotebookEdit"),
    *("Glob", "Grep", "WebFetch", "WebSearch", "Skill", "Workflow", "ToolSearch"),
)
"""Tools whose name our hook says; each has a hook of its own, because to read the name from what a hook is told takes longer."""

TOLD: Final = frozenset((*TOOLS, MCP))
"""All that it may say of a tool; of one that is not among them it says that there is one."""

_RARE: Final = f"^(?!({'|'.join(TOOLS)})$).*$"
_OTHERS: Final = f"^(?!({'|'.join(TOOLS)})$|mcp__).*$"

_MORE: Final = "In a shell, memory-guardian status says more."
_READ_ONLY: Final = (
    "memory-guardian: this session is read-only for now",
    f": no tool may change anything. Go on with what only reads, or say what is left to do; it is lifted when that is over. {_MORE}",
)
_EMERGENCY: Final = (
    "memory-guardian: this session takes no new prompts for now",
    f". Nothing is lost: the conversation is kept, and goes on when that is over, or with claude --resume. {_MORE}",
)
_WARNING: Final = (
    "memory-guardian: this session is to be spared for now",
    ", and may be restarted between two turns. Start no subagents or tasks in the background that are not needed, read in small pieces.",
)
"""Words around the reason, which stands in parentheses."""

_DOUBT: Final = "memory-guardian: the mode of this session cannot be read, so no tool may change anything."

MANAGED_FILES: Final = 100
"""Files beside the first one that are read."""

_MANAGED: Final = {
    "darwin": "/Library/Application Support/ClaudeCode",
    "win32": os.path.join(os.environ.get("PROGRAMFILES", "C:\\Program Files"), "ClaudeCode"),
}
MANAGED: Final = Path(_MANAGED.get(sys.platform, "/etc/claude-code"))
"""Where an organization's settings are, which can have the program run no hooks but its own."""

LIMIT: Final = 5
"""Seconds that a hook of ours may take; it takes the start of a shell."""

GUARD_LIMIT: Final = 600
"""Seconds that one may take that refuses: the program runs the tool when they are over, also on a machine that swaps."""
_HEAD: Final = 4096
_TOOL: Final = '\'"tool_name":"\''

LARGEST: Final = 4 << 20
"""Bytes of settings that are read."""


class SettingsUnreadable(Exception):
    """The user's own settings, which cannot be merged with ours."""


def with_hooks(
    given: tuple[str, ...],
    directory: str,
    pipe: str,
    life: str,
    mode: str | None = None,
    told: str | None = None,
    *,
    tools: bool = False,
) -> dict[str, Any]:
    """What a life is to be given as settings.

    Args:
        given: What the user gave as ``--settings``: files or JSON texts, of which the last counts.
        directory: Where a relative file is.
        pipe: Where our hooks write.
        life: The words that their lines begin with.
        mode: The file with the leaf's mode, which our hooks enforce; None where there is none.
        told: The file with what it is told as it begins its conversation, as a hook prints it; None for nothing.
        tools: Whether they say of the rarer tools and those of MCP servers, too, which one is used, for what it costs to read that.

    Raises:
        SettingsUnreadable: What was given is not what the program could read, or has it run no hooks.
    """
    settings = loaded(given[-1], directory) if given and given[-1].strip() else {}
    if settings.get("disableAllHooks") is True:
        raise SettingsUnreadable("its settings say disableAllHooks")
    theirs = settings.get("hooks", {})
    if not isinstance(theirs, dict) or not all(isinstance(groups, list) for groups in theirs.values()):
        raise SettingsUnreadable("its hooks are no lists by event")
    ours = hooks(pipe, life, mode, tools=tools)
    if told is not None:
        # with the first prompt: what is told at the start does not reach the model of 2.0.77
        once = shlex.quote(f"{told}.once")
        ours[PROMPTED].append(_group(f"mv {shlex.quote(told)} {once} 2>/dev/null && cat {once} || :", None))
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
            # the program takes no pipe either, and opening one would wait for whoever writes
            with open(path, encoding="utf-8", opener=_at_once) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise SettingsUnreadable(f"{path} is no file")
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


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def managed_files(directory: Path = MANAGED) -> tuple[Path, ...]:
    """The files of an organization's settings that may be there. Blocks."""
    try:
        more = sorted(path for path in (directory / "managed-settings.d").glob("[!.]*.json"))[:MANAGED_FILES]
    except OSError:
        more = []
    return (directory / "managed-settings.json", *more)


def off_switch(places: Iterable[Path], managed: Path = MANAGED) -> str | None:
    """Which of some settings files has the program run no hooks of ours, if one does. Blocks.

    Args:
        places: The files.
        managed: Where an organization's are.
    """
    for place in places:
        try:
            settings = loaded(os.fspath(place), os.sep)
        except SettingsUnreadable:
            continue  # not there, or the program's to complain about
        for word in ("disableAllHooks", *(("allowManagedHooksOnly",) if place.is_relative_to(managed) else ())):
            if settings.get(word) is True:
                return f"{place} says {word}"
    return None


def hooks(pipe: str, life: str, mode: str | None = None, *, tools: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Our hooks, by event: each a few words for a shell that starts nothing but what is built into it, except where it reads.

    Opened for reading and writing, a named pipe never waits for somebody to read it. What fails while telling is not the agent's affair:
    the hook says nothing and is content. What guards is not: a tool that can change something is refused on any doubt. The mode is read at
    each call, so it takes effect on a program that runs. Only events that 1.0 and later know: 2.0 ignores all settings that name another.
    """
    to = f"2>/dev/null 1<>{shlex.quote(pipe)} || :"
    begin = f"{life} "
    say = {event: f"printf '%s\\n' {shlex.quote(begin + event)} {to}" for event in (PROMPTED, USED)}
    say[STARTED] = f"IFS= read -r told; printf '%s\\n' {shlex.quote(f'{begin}{STARTED} ')}\"$told\" {to}"
    # a quotation mark within a text is escaped, so this is never found in what somebody has said
    running = f"case $(cat) in *'\"background_tasks\":[{{'*) ended={BACKGROUND};; *) ended={STOPPED};; esac"
    say[STOPPED] = f"{running}; printf '%s\\n' {shlex.quote(begin)}\"$ended\" {to}"
    if tools:
        # its name comes before what it is given, which can be long, and a quotation mark within a text is escaped
        named = f"told=$(head -c {_HEAD}); case $told in *{_TOOL}*) told=${{told#*{_TOOL}}}; told=${{told%%'\"'*}};; *) told=;; esac"
        say[USED] = f"{named}; printf '%s\\n' {shlex.quote(f'{begin}{USED} ')}\"$told\" {to}"
    if mode is not None:
        # a prompt that is refused begins no turn
        refused = _because(mode, _refuse(_EMERGENCY, lambda reason: {"decision": "block", "reason": reason}))
        warned = _because(mode, f"printf '%s%s%s\\n' {shlex.quote(_WARNING[0])} \"$why\" {shlex.quote(_WARNING[1])}")
        say[PROMPTED] = f"{_cases(mode, {'emergency': refused, 'warning|read_only': warned})}; {say[PROMPTED]}"
    made: dict[str, list[dict[str, Any]]] = {}
    for event, command in say.items():
        made[event] = [_group(command, None if event != USED else _RARE if tools else _OTHERS)]
    # one of them alone runs for each call
    for word, matcher in (*((tool, tool) for tool in TOOLS), *(() if tools else ((MCP, "mcp__.*"),))):
        made[USED].append(_group(f"printf '%s\\n' {shlex.quote(f'{begin}{USED} {word}')} {to}", matcher))
    if mode is not None:
        doubt = f"printf '%s\\n' {shlex.quote(_DOUBT)} >&2; exit 2"
        allowed = {"normal|warning": "exit 0", "read_only|emergency": _because(mode, _refuse(_READ_ONLY, _denied)), "*": doubt}
        made[USED].append(_group(_cases(mode, allowed), CHANGING, GUARD_LIMIT))
    return made


def _group(command: str, matcher: str | None, limit: int = LIMIT) -> dict[str, Any]:
    group: dict[str, Any] = {"hooks": [{"type": "command", "command": command, "timeout": limit}]}
    return group if matcher is None else {"matcher": matcher, **group}


def _cases(mode: str, cases: Mapping[str, str]) -> str:
    arms = " ".join(f"{word}) {what};;" for word, what in cases.items())
    # of a pipe nothing is read: that could wait until the program has no more patience, and runs the tool
    file = shlex.quote(mode)
    return f"mode=; [ -f {file} ] && read -r mode 2>/dev/null <{file}; case $mode in {arms} esac"


def _because(mode: str, command: str) -> str:
    """A command that has the reason of the mode in ``$why``, in parentheses; nothing where there is none that a JSON text can hold."""
    file = shlex.quote(f"{mode}{WHY}")
    read = f'why=; [ -f {file} ] && read -r why 2>/dev/null <{file}; case $why in *[[:cntrl:]\\"\\\\]*) why=;; ?*) why=" ($why)";; esac'
    return f"{read}; {command}"


def _denied(reason: str) -> dict[str, Any]:
    return {"hookSpecificOutput": {"hookEventName": USED, "permissionDecision": "deny", "permissionDecisionReason": reason}}


def _refuse(words: tuple[str, str], answer: Callable[[str], dict[str, Any]]) -> str:
    """Refuse, and say why.

    The newest builds, which tell their hooks their pid, show the words of an answer alone; to those of a refusal by exit code they add the
    hook's source. 2.0.77 forgets the words of an answer when another hook ends later.
    """
    before, after = json.dumps(answer("\0".join(words))).split("\\u0000")
    plain, told = (f"printf '%s%s%s\\n' {shlex.quote(one)} \"$why\" {shlex.quote(two)}" for one, two in (words, (before, after)))
    return f'if [ "$CLAUDE_PID" ]; then {told} && exit 0; else {plain} >&2; fi; exit 2'
