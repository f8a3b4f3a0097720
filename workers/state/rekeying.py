"""Encrypts what is kept again, under the key that encrypts now: what was plain, and what an older key closed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from supervisor import Value

from .files import StateWriteFailed
from .following import DIGEST
from .journals import PLACE, journal_of
from .model import StateInvalid
from .restore import is_session
from .store import StateUnreadable

if TYPE_CHECKING:
    from .store import StateStore


@attrs.frozen(repr=False, eq=False)
class Rekeyed(Value):
    """What became of the states and journals of a project.

    Attributes:
        states: How many states were encrypted again.
        segments: How many segments of journals were.
        failed: What could not be, with the reason; it is as it was, so a key that opens it must stay.
    """

    states: int
    segments: int
    failed: tuple[str, ...]


def rekey(store: StateStore, key: str) -> Rekeyed:
    """Encrypt all that is kept of a project again, file by file; may be interrupted and repeated. Blocks.

    Args:
        store: Where it is, with the keys.
        key: The project's key.
    """
    states, segments = 0, 0
    failed: list[str] = []
    for path in store.files(key):
        try:
            states += store.reseal(path)
        except (StateUnreadable, StateWriteFailed) as error:
            failed.append(str(error))
    place = store.state_dir / key / PLACE
    if place.is_symlink() or not place.is_dir():
        return Rekeyed(states, segments, tuple(failed))
    for session_id in sorted(filter(is_session, os.listdir(place))):
        try:
            changed = journal_of(store, key, session_id).reseal()
            segments += changed
            if changed:
                _forget(place / session_id / DIGEST)
        except (StateInvalid, StateWriteFailed) as error:
            failed.append(f"the journal of {session_id}: {error}")
    return Rekeyed(states, segments, tuple(failed))


def _forget(path: Path) -> None:
    """Remove a digest: the next capture folds it again from the transcript."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StateWriteFailed(path, error) from error
