"""What is known of the states of a project without reading each: a file that can be lost at any time, for it is made again from the states.

An entry of it counts only while the file it is about is the one that was read: of the same inode, size, and times of change. What is
encrypted is never in it, and what is damaged is looked at each time.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor import Value

from .files import StateWriteFailed, read_private, write_atomic
from .model import CompleteState, canonical
from .store import SEALED, StateStore, StateUnreadable, captured_at, state_id_of

NAME: Final = "index.json"
LARGEST: Final = 4 * 1024 * 1024
"""Bytes of an index beyond which it is made anew."""

_FORMAT: Final = 1


@attrs.frozen(repr=False, eq=False)
class StateEntry(Value):
    """One state file; what is not known is None.

    Attributes:
        state_id: Its id.
        key: The key of the project that it is kept under.
        path: The file.
        size_bytes: What it takes on disk.
        time: When it was captured, in seconds since the epoch.
        agent: Whose state it is.
        reason: Why it was captured.
        level: The memory level then.
        working_directory: The project.
        session_id: The conversation.
        segment: The segment of the transcript's journal that it needs.
        fault: Why it cannot be used; None when it can.
    """

    state_id: str
    key: str
    path: Path
    size_bytes: int
    time: float
    agent: str | None = None
    reason: str | None = None
    level: str | None = None
    working_directory: str | None = None
    session_id: str | None = None
    segment: int | None = None
    fault: str | None = None


@attrs.frozen(repr=False, eq=False)
class Listing(Value):
    """The states of a project.

    Attributes:
        entries: Oldest first.
        unkept: Why the index could not be written, which costs time at the next listing and nothing else; None when it was, or need not be.
    """

    entries: tuple[StateEntry, ...]
    unkept: StateWriteFailed | None = None


def listing(store: StateStore, key: str) -> Listing:
    """The states of a project, from the index as far as it holds; the index is made good. Blocks.

    Args:
        store: Where they are.
        key: The project's key.

    Raises:
        OSError: The directory cannot be read; one that is not there has no states.
    """
    place = store.state_dir / key / NAME
    known = read_index(place)
    told: dict[str, dict[str, Any]] = {}
    entries: list[StateEntry] = []
    for path in store.files(key):
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            continue  # removed since it was named
        mark = [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
        row = known.get(path.name)
        if row is None or row["file"] != mark:
            row, entry = _looked_at(store, key, path, found.st_size)
            if entry is None:
                continue
            entries.append(entry)
        else:
            entries.append(_entry(key, path, found.st_size, row))
        if row is not None and not path.name.endswith(SEALED):
            told[path.name] = {**row, "file": mark}
    unkept = None
    if told != known:
        try:
            # it need not survive a loss of power: it would be made again
            write_atomic(place, canonical({"format": _FORMAT, "states": told}), durable=False)
        except StateWriteFailed as error:
            unkept = error
    return Listing(tuple(entries), unkept)


def read_index(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of an index by file name; none at all where it is missing or anything is wrong with it.

    Each has `file` (inode, bytes, and the two times of its last change), `time`, `segment`, and the texts of a `StateEntry` or None.
    """
    try:
        data = json.loads(read_private(path, LARGEST))
        if data["format"] != _FORMAT:
            return {}
        return {name: _row(row) for name, row in data["states"].items() if state_id_of(name) is not None}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


_TEXTS: Final = ("agent", "reason", "level", "working_directory", "session_id")


def _row(row: Any) -> dict[str, Any]:
    mark, time = row["file"], row["time"]
    if not (isinstance(mark, list) and len(mark) == 4 and all(type(number) is int for number in mark)):
        raise ValueError("no mark of a file")
    if type(time) is not float:
        raise ValueError("no time")
    texts = {name: row[name] for name in _TEXTS}
    if not all(text is None or isinstance(text, str) for text in texts.values()):
        raise ValueError("no text")
    segment = row["segment"]
    if segment is not None and type(segment) is not int:
        raise ValueError("no segment")
    return {"file": mark, "time": time, "segment": segment, **texts}


def _looked_at(store: StateStore, key: str, path: Path, size_bytes: int) -> tuple[dict[str, Any] | None, StateEntry | None]:
    """The row of a state file and its entry, from the file itself; no row when it cannot be used, no entry when it is gone."""
    state_id = state_id_of(path.name)
    assert state_id is not None
    try:
        row = _told(store.load(path))
    except StateUnreadable as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None, None
        try:
            at = captured_at(state_id)
        except ValueError:
            at = os.lstat(path).st_mtime
        return None, StateEntry(state_id, key, path, size_bytes, at, fault=error.reason)
    return row, _entry(key, path, size_bytes, row)


def _told(state: CompleteState) -> dict[str, Any]:
    session, segment = (state.conversation or {}).get("session_id"), (state.journal or {}).get("segment")
    return {
        "time": float(state.metadata.time),
        "agent": state.metadata.agent,
        "reason": state.restart.reason,
        "level": state.restart.level,
        "working_directory": state.project.working_directory,
        "session_id": session if isinstance(session, str) else None,
        "segment": segment if type(segment) is int else None,
    }


def _entry(key: str, path: Path, size_bytes: int, row: dict[str, Any]) -> StateEntry:
    state_id = state_id_of(path.name)
    assert state_id is not None
    return StateEntry(state_id, key, path, size_bytes, row["time"], segment=row["segment"], **{name: row[name] for name in _TEXTS})
