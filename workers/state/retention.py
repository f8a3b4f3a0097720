"""How long states are kept: which ones are too old or too many, decided without looking; and their removal."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Collection, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from supervisor import Value

from .files import SUFFIX as TEMPORARY
from .files import StateWriteFailed, sync_directory
from .index import StateEntry, listing
from .store import SEALED, StateStore, StateUnreadable, state_id_of

if TYPE_CHECKING:
    from ..config import StateConfig

ABANDONED: Final = 3600.0
"""Seconds after which a temporary file is no longer somebody's who is just writing it."""


class Surplus(Enum):
    """Why a state is not kept."""

    AGE = "age"
    COUNT = "count"
    SIZE = "size"


@attrs.frozen(repr=False, eq=False)
class Retention(Value):
    """What is kept of each project; None is no limit.

    Attributes:
        max_age: Seconds since the capture.
        max_count: How many states.
        max_bytes: What they take together.
    """

    max_age: float | None = 7 * 86400.0
    max_count: int | None = 100
    max_bytes: int | None = 1 << 30


@attrs.frozen(repr=False, eq=False)
class Pruned(Value):
    """What became of the states of one project.

    Attributes:
        key: The project.
        removed: The states that are gone, or would be, and why; oldest first.
        kept: The others, oldest first.
        journal_bytes: What the journals have freed.
        leftovers: What killed writers left behind and is gone, or would be.
        failed: What could not be removed.
    """

    key: str
    removed: tuple[tuple[StateEntry, Surplus], ...] = ()
    kept: tuple[StateEntry, ...] = ()
    journal_bytes: int = 0
    leftovers: tuple[Path, ...] = ()
    failed: tuple[StateWriteFailed, ...] = ()

    @property
    def freed_bytes(self) -> int:
        """What the removed states and the parts of journals took."""
        return sum(entry.size_bytes for entry, _ in self.removed) + self.journal_bytes


def retention_of(config: StateConfig) -> Retention:
    """What a configuration keeps; its zeros are no limits."""
    days, states, size = config.max_age_days, config.max_states, config.max_size.amount_bytes
    return Retention(days * 86400.0 or None, states or None, size or None)


def surplus(entries: Sequence[StateEntry], retention: Retention, now: float, spared: Collection[str] = ()) -> dict[str, Surplus]:
    """Which states are not kept, and why, by id.

    The newest are kept, as far as they fit: when one is too many, so are all older ones. What is spared is kept in any case, and counts.

    Args:
        entries: Those of one project.
        retention: The limits.
        now: Seconds since the epoch.
        spared: Ids of states that stay in any case.
    """
    count = sum(entry.state_id in spared for entry in entries)
    size = sum(entry.size_bytes for entry in entries if entry.state_id in spared)
    too_many: dict[str, Surplus] = {}
    ended: Surplus | None = None
    for entry in sorted(entries, key=lambda entry: (entry.time, entry.state_id), reverse=True):
        if entry.state_id in spared:
            continue
        if ended is None and retention.max_age is not None and now - entry.time > retention.max_age:
            ended = Surplus.AGE
        if ended is None and retention.max_count is not None and count + 1 > retention.max_count:
            ended = Surplus.COUNT
        if ended is None and retention.max_bytes is not None and size + entry.size_bytes > retention.max_bytes:
            ended = Surplus.SIZE
        if ended is not None:
            too_many[entry.state_id] = ended
            continue
        count += 1
        size += entry.size_bytes
    return too_many


def last_good(store: StateStore, entries: Sequence[StateEntry]) -> frozenset[str]:
    """The states that are never removed: of each agent of a project the newest one that can be read just now.

    Where none can, the newest of all; and the newest of the encrypted ones that cannot, whose key may come back.
    """
    newest_first = sorted(entries, key=lambda entry: (entry.time, entry.state_id), reverse=True)
    spared: dict[str | None, str] = {}
    for entry in newest_first:
        if entry.fault is None and entry.agent not in spared and _is_good(store, entry):
            spared[entry.agent] = entry.state_id
    closed = [entry.state_id for entry in newest_first if entry.fault is not None and entry.path.name.endswith(SEALED)]
    newest = [] if spared else [entry.state_id for entry in newest_first]
    return frozenset([*spared.values(), *closed[:1], *newest[:1]])


def prune(store: StateStore, key: str, retention: Retention, *, now: float | None = None, dry_run: bool = False) -> Pruned:
    """Remove the states of a project that are not to be kept, the oldest first, and of journals what no state needs any more. Blocks.

    Never the last good state of an agent.

    Killed at any moment, it leaves states that are whole. Safe beside others that save, read and prune.

    Args:
        store: Where they are.
        key: The project's key.
        retention: The limits.
        now: Seconds since the epoch; None is the present.
        dry_run: Remove nothing, only say.

    Raises:
        OSError: The directory cannot be read.
    """
    now = clock.time() if now is None else now
    directory = store.state_dir / key
    entries = listing(store, key).entries
    too_many = surplus(entries, retention, now, last_good(store, entries))
    removed: list[tuple[StateEntry, Surplus]] = []
    kept: list[StateEntry] = []
    failed: list[StateWriteFailed] = []
    for entry in entries:
        why = too_many.get(entry.state_id)
        error = None if why is None or dry_run else _removed(entry.path)
        if error is not None:
            failed.append(error)
        if why is None or error is not None:
            kept.append(entry)
        else:
            removed.append((entry, why))
    leftovers: list[Path] = []
    for path in _abandoned(directory, now):
        error = None if dry_run else _removed(path)
        if error is None:
            leftovers.append(path)
        else:
            failed.append(error)
    if (removed or leftovers) and not dry_run:
        try:
            sync_directory(directory)
        except OSError as error:
            failed.append(StateWriteFailed(directory, error))
        listing(store, key)  # the index forgets them
    freed = 0
    if not dry_run:
        from .journals import prune_journals

        freed, more = prune_journals(store, key, kept, now)
        failed += more
    return Pruned(key, tuple(removed), tuple(kept), freed, tuple(leftovers), tuple(failed))


def _is_good(store: StateStore, entry: StateEntry) -> bool:
    try:
        store.load(entry.path)
    except StateUnreadable:
        return False
    return True


def _removed(path: Path) -> StateWriteFailed | None:
    """Why a file could not be removed; None when it is gone."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return StateWriteFailed(path, error)
    return None


def _abandoned(directory: Path, now: float) -> list[Path]:
    """Temporary files of states and of the index whose writers must be gone."""
    found: list[Path] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                stem = entry.name[1:].removesuffix(TEMPORARY).rpartition(".")[0]
                ours = entry.name.startswith(".") and entry.name.endswith(TEMPORARY) and (state_id_of(stem) or stem == "index.json")
                if ours and now - entry.stat(follow_symlinks=False).st_mtime > ABANDONED:
                    found.append(Path(entry.path))
    except FileNotFoundError:
        return found
    return sorted(found)
