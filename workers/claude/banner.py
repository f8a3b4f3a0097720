"""What a person who sits at Claude Code should know: one line while it is so, for the status line, and one about a new life. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from supervisor import format_bytes

from ..event_conversation import How
from ..policy import decide
from ..policy.ladder import DegradationMode
from ..policy.outlook import in_words
from ..policy.pressure import MemoryState

if TYPE_CHECKING:
    from ..leaf import Leaf

NAME: Final = "memory-guardian"
LONGEST: Final = 240
"""Characters of a line."""

_MODES: Final = {
    DegradationMode.WARNING: "",
    DegradationMode.READ_ONLY: "read-only",
    DegradationMode.EMERGENCY: "no new prompts",
}
_ON: Final = {
    How.RESUMED: "The conversation goes on.",
    How.FORKED: "It goes on with a copy of the conversation, because somebody else is in that.",
    How.NEW: "It begins a conversation.",
    How.AS_GIVEN: "",
}


def line(
    guard: decide.Guard,
    now: float,
    clock: Callable[[float], str],
    *,
    mode: DegradationMode = DegradationMode.NORMAL,
    reason: str = "",
    typed: bool = False,
) -> str:
    """How a leaf is, where that is not well: its mode, its memory, what will be done about it and when, and why; else empty.

    Args:
        guard: The decision about it.
        now: The time, monotonic.
        clock: Tells a person which time it will be in so many seconds: the line is read later than it is written.
        mode: Its mode.
        reason: Why that is so.
        typed: Whether it counts as busy because keys are pressed.
    """
    mode_said = _MODES.get(mode, "")
    said = [mode_said] if mode_said else []
    coming = _coming(guard, now, clock, typed=typed) if guard.alive else ""
    if guard.alive and guard.blind:
        said.append("its memory cannot be read")
    elif guard.alive and (guard.level is not MemoryState.NORMAL or guard.due_since is not None):
        said.append(f"{_memory(guard)}{coming and f': {coming}'}")
    elif coming:
        said.append(coming)
    if mode_said and reason:
        said.append(reason)  # last, because a narrow terminal cuts it off
    return _short(f"{NAME}: {'; '.join(said)}") if said else ""


def _memory(guard: decide.Guard) -> str:
    pressure = guard.pressure
    total = "?" if pressure.total_bytes is None else format_bytes(pressure.total_bytes)
    soon = in_words(guard.outlook)
    return f"memory {total} of {format_bytes(pressure.thresholds.critical_bytes)}{soon and f', {soon}'}"


def _coming(guard: decide.Guard, now: float, clock: Callable[[float], str], *, typed: bool) -> str:
    """What happens next to a leaf whose restart is due."""
    if guard.is_under_way and guard.phase is not decide.Phase.JUDGING:
        return "it is being restarted"
    if guard.due_since is None or guard.policy.dry_run:
        return ""
    if guard.blocked:
        return "it may not be restarted"  # the mode says why
    at = decide.restart_at(guard)
    if at is None or at <= now:
        return ""
    latest = clock(at - now)
    if guard.not_before is not None and at <= guard.not_before:
        return f"restart at {latest}"
    when = "when no more keys are pressed" if typed else "at the end of this turn"
    return f"restart {when}, by {latest}"


def notice(why: str, how: How, *, cut: bool, goes_on: bool) -> str:
    """What a new life has to tell its user.

    Args:
        why: Why the one before is over.
        how: How it gets into its conversation.
        cut: Whether that one ended in the middle of a turn.
        goes_on: Whether this one is told to go on with it.
    """
    said = [f"{_short(f'{NAME}: {why}')}.", _ON[how]]
    if cut and goes_on:
        said.append("The turn that was under way was cut, and is gone on with.")
    elif cut:
        said.append("The turn that was under way was cut, and what its last tool did may be half done: say what to go on with.")
    return " ".join(filter(None, said))


def why(leaf: Leaf) -> str:
    """Why the life of a leaf before its next one is over."""
    if leaf.restarting_since is not None:
        return f"restarted: {leaf.restart_reason}"
    return f"started again: {leaf.exit.reason if leaf.exit is not None else 'on request'}"


def _short(text: str) -> str:
    """A text as one line that is safe on a terminal: what it quotes may hold anything."""
    return textwrap.shorten("".join(char if char.isprintable() else " " for char in text), LONGEST, placeholder=" ...")
