"""Which captured state is meant: by its id, a part of one, or the newest that can be used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .index import Listing, StateEntry, listing
from .store import StateStore

LATEST: Final = "latest"
SHORTEST: Final = 4
"""Characters of an id that may stand for it."""


class NoSuchState(LookupError):
    """No state is meant, or it could be several; the text says which."""


def listings(store: StateStore, keys: Iterable[str]) -> list[Listing]:
    """The states of several projects.

    Raises:
        OSError: A directory cannot be read.
    """
    return [listing(store, key) for key in keys]


def newest_first(entries: Iterable[StateEntry], agent: str | None = None) -> list[StateEntry]:
    """States by age, of one agent or of all."""
    return sorted(
        (entry for entry in entries if agent in (None, entry.agent)), key=lambda entry: (entry.time, entry.state_id), reverse=True
    )


def chosen(store: StateStore, key: str, name: str, agent: str | None = None) -> StateEntry:
    """The state that is meant. Blocks.

    Args:
        store: Where the states are.
        key: The project's key.
        name: The state's id, the beginning or the end of one, of any project; or ``latest``: the newest of this project that can be used.
        agent: Only states of this agent; None is all.

    Raises:
        NoSuchState: There is none, or it could be several.
        OSError: A directory cannot be read.
    """
    if name == LATEST:
        usable = [entry for entry in newest_first(listing(store, key).entries, agent) if entry.fault is None]
        if not usable:
            raise NoSuchState("no state of this project can be used")
        return usable[0]
    entries = newest_first((entry for found in listings(store, store.keys()) for entry in found.entries), agent)
    found = [entry for entry in entries if entry.state_id == name]
    if not found and len(name) >= SHORTEST:
        found = [entry for entry in entries if entry.state_id.startswith(name) or entry.state_id.endswith(name)]
    if not found:
        raise NoSuchState(f"no state is called {name[:60]!r}")
    if len(found) > 1:
        raise NoSuchState(f"{len(found)} states are called {name[:60]!r}; write more of the id")
    return found[0]
