"""What a transcript on disk says of a conversation: whether it can be gone on with, and whether its last turn has been answered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Final

from ..state.record import Kind, Record, parsed
from ..state.transcript import TranscriptUnreadable, end_of_lines, lines, opened, reversed_lines
from .dialogue_news import as_object

FIRST: Final = 4 << 20
"""Bytes of a transcript's beginning within which its first prompt is."""

LAST: Final = 8 << 20
"""Bytes of its end within which its last message is."""

_QUEUE: Final = b'"queue-operation"'
_BEGINNING: Final = 200
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
            if has_talk(lines(file, 0, min(FIRST, end_of_lines(file)))):
                return OnDisk.TALK
    except TranscriptUnreadable:
        return OnDisk.USED  # there, and not ours to judge: never given to a second one
    return OnDisk.USED


def has_talk(written: Iterable[bytes]) -> bool:
    """Whether somebody talks in some lines of a transcript; what subagents say is no conversation, and is not resumed."""
    return any(record.kind in _SAID and not record.is_side for record in map(parsed, written))


def is_answered(transcript: Path | None, since: float) -> bool:
    """Whether the last thing that was said ends the turn, and no prompt waits for the next one. Blocks.

    What ends a turn is an answer that calls no tool, a failure, or an interruption. The newest builds write down which prompts wait.

    Args:
        transcript: The file; None when there is none.
        since: When the turn began, in seconds since the epoch: what was said before is no answer to it.
    """
    if transcript is None:
        return False
    last: Record | None = None
    waiting, counts = 0, True
    try:
        with opened(transcript) as file:
            for line in reversed_lines(file, LAST):
                if _QUEUE in line[:_BEGINNING]:
                    moved = _moved(line, since) if counts else None
                    counts, waiting = moved is not None, waiting + (moved or 0)
                elif last is None:
                    record = parsed(line)
                    if not record.is_side and record.kind in (*_SAID, Kind.INTERRUPTION):
                        last = record
                        if not _ends(record) or _time(record) < since:
                            return False
                if last is not None and not counts:
                    break
    except TranscriptUnreadable:
        return False
    return last is not None and waiting <= 0


def is_open(transcript: Path | None, since: float) -> bool:
    """Whether something was written since some time, and the last thing that was said has no answer yet. Blocks.

    Args:
        transcript: The file; None when there is none.
        since: In seconds since the epoch.
    """
    try:
        written = 0.0 if transcript is None else transcript.stat().st_mtime
    except OSError:
        return False
    return written >= since and on_disk(transcript) is OnDisk.TALK and not is_answered(transcript, 0.0)


def _moved(line: bytes, since: float) -> int | None:
    """By how many the prompts that wait became more; None where that was before the turn, or where none that came before it waits."""
    record = as_object(line)
    if record is None or _written(record.get("timestamp")) < since:
        return None
    operation = record.get("operation")
    return None if operation == "popAll" else 1 if operation == "enqueue" else -1


def _ends(record: Record) -> bool:
    return record.kind is Kind.INTERRUPTION or (record.kind is Kind.ANSWER and not record.calls)


def _time(record: Record) -> float:
    return _written(record.time)


def _written(time: object) -> float:
    """When a record says that it was written, in seconds since the epoch; 0 where it does not."""
    try:
        return datetime.fromisoformat(str(time)).timestamp()
    except ValueError:
        return 0.0
