"""Where the journals of a project's transcripts are, putting a transcript back from a captured state, and how long journals are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from supervisor import Value

from .files import StateWriteFailed
from .journal import Journal, Mark
from .model import CompleteState, StateInvalid
from .restore import RestoreRefused, conversation_of, is_session, transcript_target

if TYPE_CHECKING:
    from .index import StateEntry
    from .store import StateStore

PLACE: Final = "journals"
UNTOUCHED: Final = 86400.0
"""Seconds after the last capture before which a journal that no state needs is left alone: its state may be about to be written."""


@attrs.frozen(repr=False, eq=False)
class RestoredTranscript(Value):
    """A transcript that was put back.

    Attributes:
        path: The transcript.
        kept: Where the one that was replaced is; None where nothing had to be kept.
    """

    path: Path
    kept: Path | None


def journal_of(store: StateStore, key: str, session_id: str) -> Journal:
    """The journal of a conversation's transcript.

    Raises:
        StateInvalid: The id is none.
    """
    if not is_session(session_id):
        raise StateInvalid(f"{session_id[:60]!r} is no id of a conversation")
    return Journal(store.state_dir / key / PLACE / session_id, store.seal)


def mark_of(data: Mapping[str, object]) -> Mark:
    """A mark from a captured state.

    Raises:
        StateInvalid: It is none.
    """
    values = {}
    for field in attrs.fields(Mark):
        value = data.get(field.name)
        wanted = str if field.name.endswith("_hash") else int
        if type(value) is not wanted or (isinstance(value, int) and value < 0):
            raise StateInvalid(f"the mark of the transcript's journal is damaged: {field.name} is {value!r:.60}")
        values[field.name] = value
    return Mark(**values)  # type: ignore[arg-type]  # looked at just now


def restore_transcript(
    store: StateStore, key: str, state: CompleteState, roots: tuple[str, ...], *, force: bool = False
) -> RestoredTranscript:
    """Put the transcript of a state back where it was, as it was, bit by bit. Nobody may be writing to it. Blocks.

    Args:
        store: Where the state and the journal are.
        key: The project's key.
        state: The state.
        roots: The directories below which the agent keeps its transcripts, see `transcript_roots`.
        force: Also over a transcript that has records of its own.

    Raises:
        RestoreRefused: The state has no transcript, or its place is none that may be written to.
        StateInvalid: The journal does not have that moment; or the transcript that is there has records that would be lost
            (`TranscriptIsNewer`). What is there is untouched.
        StateWriteFailed: It could not be written; what is there is untouched.
    """
    target = Path(transcript_target(state, roots))
    told = conversation_of(state)
    if told is None or told.mark is None:
        raise RestoreRefused(state.metadata.state_id, "its transcript was not journalled")
    mark = mark_of(told.mark)
    try:
        os.makedirs(target.parent, 0o700, exist_ok=True)
    except OSError as error:
        raise StateWriteFailed(target, error) from error
    return RestoredTranscript(target, journal_of(store, key, told.session_id).restore(mark, target, force))


def prune_journals(store: StateStore, key: str, kept: Sequence[StateEntry], now: float) -> tuple[int, tuple[StateWriteFailed, ...]]:
    """Remove what no state that is kept needs of the journals of a project: segments, and journals untouched for a day. Blocks.

    Nothing goes while any state cannot be read, for that may be the one that needs it.

    Args:
        store: Where they are.
        key: The project's key.
        kept: The states that are left.
        now: Seconds since the epoch.

    Returns:
        The bytes that were freed, and what could not be removed.
    """
    place = store.state_dir / key / PLACE
    if any(entry.fault is not None for entry in kept) or place.is_symlink() or not place.is_dir():
        return 0, ()
    freed, failed = 0, []
    for session_id in sorted(filter(is_session, os.listdir(place))):
        directory = place / session_id
        needed = [Mark(entry.segment) for entry in kept if entry.session_id == session_id and entry.segment is not None]
        try:
            if needed:
                freed += journal_of(store, key, session_id).prune(needed)
            elif not any(entry.session_id == session_id for entry in kept) and now - _touched(directory) > UNTOUCHED:
                freed += _size(directory)
                shutil.rmtree(directory)
        except StateWriteFailed as error:
            failed.append(error)
        except OSError as error:
            failed.append(StateWriteFailed(directory, error))
    return freed, tuple(failed)


def _touched(directory: Path) -> float:
    with os.scandir(directory) as found:
        return max([os.lstat(directory).st_mtime, *(entry.stat(follow_symlinks=False).st_mtime for entry in found)])


def _size(directory: Path) -> int:
    with os.scandir(directory) as found:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in found)
