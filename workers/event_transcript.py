"""The events of transcripts that were damaged and of conversations that were lost, with their words: most runs never have one."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Final

import attrs

from supervisor import Event, Line, Tone, Words, format_bytes


class Trouble(Enum):
    """What is wrong with a transcript."""

    MISSING = "missing"
    SILENT = "silent"
    """Nobody talks in it: it is empty, full of zeros, or no line of it can be read."""
    TORN = "torn"
    """Its last line has no end."""
    SHORT = "short"
    """It ends before its journal does."""
    REFUSED = "refused"
    """The program does not resume it."""


class Repair(Enum):
    """What was done about it."""

    ENDED = "ended"
    """The last line was whole: its end was added."""
    CUT = "cut"
    """The last line was left out."""
    RESTORED = "restored"
    """What the journal has was put back; what is newer stayed."""
    SIFTED = "sifted"
    """Lines that no program could read were left out."""


_TROUBLE: Final = {
    Trouble.MISSING: "was missing",
    Trouble.SILENT: "had nothing in it that could be read",
    Trouble.TORN: "was torn in its last line",
    Trouble.SHORT: "was shorter than its journal",
    Trouble.REFUSED: "could not be resumed",
}
_REPAIR: Final = {
    Repair.ENDED: "that line was whole and is ended now",
    Repair.CUT: "that line is cut off",
    Repair.RESTORED: "it is put back from the journal",
    Repair.SIFTED: "lines that cannot be read are taken out",
}


def _repaired(event: TranscriptRepaired) -> Line:
    kept = f"; what was there: {event.kept}" if event.kept else ""
    lost = f", {format_bytes(event.cut_bytes)} of it" if event.how is Repair.CUT else ""
    return Line(f"the transcript of {event.session_id} {_TROUBLE[event.trouble]}: {_REPAIR[event.how]}{lost}{kept}", Tone.WARNING)


def _damaged(event: TranscriptDamaged) -> Line:
    return Line(f"the transcript of {event.session_id} {_TROUBLE[event.trouble]}, and is not repaired: {event.reason}", Tone.BAD)


def _lost(event: ConversationLost) -> Line:
    told = "which is told what is known of it" if event.is_told else f"which knows nothing of it{_because(event.untold)}"
    again = "" if event.trouble in (Trouble.MISSING, Trouble.SILENT) else f"; claude --resume {event.session_id} tries it again"
    return Line(f"the conversation {event.session_id} {_TROUBLE[event.trouble]}: a new one begins, {told}{again}", Tone.BAD)


def _large(event: TranscriptLarge) -> Line:
    said = f"the transcript of {event.session_id} has {format_bytes(event.size_bytes)}"
    return Line(f"{said}: to go on with it takes more memory, and more time, from the start; /clear begins a new one", Tone.WARNING)


def _because(why: str) -> str:
    return f" ({why})" if why else ""


@attrs.frozen(repr=False, eq=False)
class TranscriptRepaired(Event):
    """A transcript was repaired before a life went on with it.

    `kept` is where what was replaced or cut off is; None where nothing is lost. `cut_bytes` were cut off, `size_bytes` it has now.
    """

    name: ClassVar[str] = "transcript_repaired"
    words: ClassVar[Words] = staticmethod(_repaired)
    session_id: str = ""
    file: str = ""
    trouble: Trouble = Trouble.TORN
    how: Repair = Repair.CUT
    cut_bytes: int = 0
    size_bytes: int = 0
    kept: str | None = None


@attrs.frozen(repr=False, eq=False)
class TranscriptDamaged(Event):
    """A transcript is damaged and could not be repaired, and is as it was; the life starts all the same."""

    name: ClassVar[str] = "transcript_damaged"
    words: ClassVar[Words] = staticmethod(_damaged)
    session_id: str = ""
    file: str = ""
    trouble: Trouble = Trouble.TORN
    reason: str = ""


@attrs.frozen(repr=False, eq=False)
class ConversationLost(Event):
    """A conversation cannot be gone on with: the life begins a new one.

    `is_told` says whether that is told what is known of the old one, `untold` why not.
    """

    name: ClassVar[str] = "conversation_lost"
    words: ClassVar[Words] = staticmethod(_lost)
    session_id: str = ""
    trouble: Trouble = Trouble.REFUSED
    is_told: bool = False
    untold: str = ""


@attrs.frozen(repr=False, eq=False)
class TranscriptLarge(Event):
    """A life goes on with a conversation whose transcript is so large that this costs memory. Said once of a conversation."""

    name: ClassVar[str] = "transcript_large"
    words: ClassVar[Words] = staticmethod(_large)
    session_id: str = ""
    file: str = ""
    size_bytes: int = 0
