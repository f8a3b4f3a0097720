"""What a transcript on disk says of a conversation: whether it can be gone on with, and whether its last turn has been answered."""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Final

from ..state.record import Kind, Record, parsed
from ..state.transcript import TranscriptUnreadable, end_of_lines, lines, opened, reversed_lines

FIRST: Final = 4 << 20
"""Bytes of a transcript's beginning within which its first prompt is."""

LAST: Final = 8 << 20
"""Bytes of its end within which its last message is."""

_SAID: Final = frozenset({Kind.PROMPT, Kind.ANSWER, Kind.RESULT, Kind.COMPACTED})
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


class OnDisk(Enum):
    """What there is of a conversation."""

    NOTHING = "nothing"
    """No file; its id can be given to a new one."""
    USED = "used"
    """A file in which nobody has said anything: the program neither resumes it nor takes its id again."""
    TALK = "talk"
    """A conversation."""


def is_id(text: str) -> bool:
    """Whether a text is the id of a conversation, and not its name or a term to look for."""
    return _UUID.fullmatch(text) is not None


def on_disk(transcript: Path | None) -> OnDisk:
    """What there is of a conversation. Blocks; its cost is the part before its first prompt.

    Args:
        transcript: The file; None when there is none.
    """
    if transcript is None:
        return OnDisk.NOTHING
    try:
        with opened(transcript) as file:
            for line in lines(file, 0, min(FIRST, end_of_lines(file))):
                if parsed(line).kind in _SAID:
                    return OnDisk.TALK
    except TranscriptUnreadable:
        return OnDisk.USED  # there, and not ours to judge: never given to a second one
    return OnDisk.USED


def is_answered(transcript: Path | None, since: float) -> bool:
    """Whether the last thing that was said is an answer that calls no tool, or a failure or interruption that ended the turn. Blocks.

    Args:
        transcript: The file; None when there is none.
        since: When the turn began, in seconds since the epoch: what was said before is no answer to it.
    """
    if transcript is None:
        return False
    try:
        with opened(transcript) as file:
            for line in reversed_lines(file, LAST):
                record = parsed(line)
                if record.is_side or record.kind not in (*_SAID, Kind.INTERRUPTION):
                    continue
                return _ends(record) and _time(record) >= since
    except TranscriptUnreadable:
        return False
    return False


def _ends(record: Record) -> bool:
    return record.kind is Kind.INTERRUPTION or (record.kind is Kind.ANSWER and not record.calls)


def _time(record: Record) -> float:
    try:
        return datetime.fromisoformat(record.time or "").timestamp()
    except ValueError:
        return 0.0
