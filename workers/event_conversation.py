"""The events of a conversation that a leaf is in, with their words: most leaves have none."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Final

import attrs

from supervisor import Event, Line, Tone, Words


class How(Enum):
    """How a life gets into its conversation."""

    NEW = "new"
    RESUMED = "resumed"
    FORKED = "forked"
    """With a copy of its own, because somebody else is in it."""
    AS_GIVEN = "as_given"
    """As the command says itself."""


_HOW: Final = {
    How.NEW: "begins the conversation",
    How.RESUMED: "goes on with the conversation",
    How.FORKED: "goes on with a copy of the conversation",
    How.AS_GIVEN: "is in the conversation that its command says",
}


def _cut(event: ConversationCut) -> Line:
    said = []
    if event.prompts:
        again = f", {event.resent} of which are said again" if event.resent else ""
        said.append(f"{len(event.prompts)} of your prompts got no answer{again}")
    if event.torn_bytes:
        said.append(f"{event.torn_bytes} bytes of a line that was not written to its end")
    if event.dropped:
        said.append(f"{event.dropped} of your answers to what it had asked")
    return Line(f"what its end cut: {'; '.join(said)}", Tone.BAD)


def _conversation(event: ConversationStarted) -> Line:
    named = f" {event.session_id}" if event.session_id is not None else ""
    cut = "; its last turn was cut" if event.cut else ""
    blind = f"; its turns are not known and no mode restricts it: {event.unheard}" if event.unheard else ""
    return Line(f"{_HOW[event.how]}{named}{cut}{blind}", Tone.BAD if event.cut or event.unheard else Tone.PLAIN)


_SAID: Final = {
    "SessionStart": "is in its conversation",
    "UserPromptSubmit": "begins a turn",
    "Stop": "has ended its turn",
}


def _hook(event: ClaudeHook) -> Line:
    said = f"uses {event.tool or 'a tool'}" if event.hook == "PreToolUse" else _SAID.get(event.hook, f"says {event.hook}")
    background = ", and tasks go on in the background" if event.background else ""
    missed = f"; {event.missed} hooks before it are not told" if event.missed else ""
    return Line(f"{said}{background}{missed}", Tone.PLAIN)


@attrs.frozen(repr=False, eq=False)
class ClaudeHook(Event):
    """A hook of Claude Code was called: `hook` is its name there.

    `tool` is the tool that is about to be used, where hooks say so; `background` whether tasks go on after the end of a turn. `missed` is
    how many hooks since the last such event are no events, because there were too many.
    """

    name: ClassVar[str] = "claude_hook"
    words: ClassVar[Words] = staticmethod(_hook)
    hook: str = ""
    tool: str | None = None
    session_id: str | None = None
    background: bool = False
    missed: int = 0


@attrs.frozen(repr=False, eq=False)
class ConversationStarted(Event):
    """A life of the leaf was started, with these words about its conversation.

    `session_id` is None while only the program knows it. `cut` says that the life before ended in the middle of a turn, `unheard` why the
    turns of this life will not be known, and why no mode restricts it; empty when they will, and one does.
    """

    name: ClassVar[str] = "conversation_started"
    words: ClassVar[Words] = staticmethod(_conversation)
    how: How = How.NEW
    session_id: str | None = None
    cut: bool = False
    unheard: str = ""


def _hooks(event: HooksChanged) -> Line:
    if not event.unheard:
        return Line("its turns are known again, and its mode restricts it", Tone.GOOD)
    return Line(f"its hooks do not run: they tell nothing of its turns and no mode restricts it: {event.unheard}", Tone.BAD)


@attrs.frozen(repr=False, eq=False)
class HooksChanged(Event):
    """Hooks of the leaf were turned off while it ran, or do not run in it, or do again: `unheard` says why; empty where they do."""

    name: ClassVar[str] = "hooks_changed"
    words: ClassVar[Words] = staticmethod(_hooks)
    unheard: str = ""


@attrs.frozen(repr=False, eq=False)
class ConversationCut(Event):
    """A life that was talked to in lines ended, and this went with it.

    `prompts` are the beginnings of those that it had been given and had not answered, as lines; `resent` of them go to the next life.
    `torn_bytes` is what it had written of a line that has no end. `dropped` counts the answers to what it had asked.
    """

    name: ClassVar[str] = "conversation_cut"
    words: ClassVar[Words] = staticmethod(_cut)
    prompts: tuple[str, ...] = ()
    resent: int = 0
    torn_bytes: int = 0
    dropped: int = 0
