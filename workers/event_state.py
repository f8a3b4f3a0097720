"""The events of captured states that are used or removed, with their words: many runs never have one."""

from __future__ import annotations

from typing import ClassVar

import attrs

from supervisor import Event, Line, Tone, Words, format_bytes


def _pruned(event: StatesPruned) -> Line:
    count = len(event.removed)
    said = f"{count} old {'state' if count == 1 else 'states'} removed, {format_bytes(event.freed_bytes)}"
    return Line(f"{said}; NOT all could be" if event.failed else said, Tone.BAD if event.failed else Tone.PLAIN, event.failed)


def _restored(event: StateRestored) -> Line:
    withheld = f"; set again where it is needed: {', '.join(event.withheld)}" if event.withheld else ""
    return Line(f"starts from the state {event.state_id}{withheld}", Tone.GOOD)


@attrs.frozen(repr=False, eq=False)
class StatesPruned(Event):
    """States of the leaf's project were not to be kept any longer; `failed` says which could not be removed, and why."""

    name: ClassVar[str] = "states_pruned"
    words: ClassVar[Words] = staticmethod(_pruned)
    removed: tuple[str, ...] = ()
    freed_bytes: int = 0
    failed: tuple[str, ...] = ()


@attrs.frozen(repr=False, eq=False)
class StateRestored(Event):
    """The leaf starts from a captured state; `withheld` are variables that were not in it, for they were secrets.

    `session_id` is the conversation's, None where none was captured.
    """

    name: ClassVar[str] = "state_restored"
    words: ClassVar[Words] = staticmethod(_restored)
    state_id: str = ""
    file: str = ""
    working_directory: str = ""
    session_id: str | None = None
    withheld: tuple[str, ...] = ()
