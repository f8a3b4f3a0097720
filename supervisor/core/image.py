"""The supervisors of another process, as that has told of them with `core.mirror`.

It may have lost its way: nothing that it says is believed before its types are checked, and what is kept of it is bounded.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

import attrs
from rpds import HashTrieMap

from .breaker import Circuit
from .budget import FRESH, Budget
from .errors import Path
from .event import ChildStatus, Event
from .fifo import Queue
from .fits import fits
from .intensity import Window
from .launch import ChildType
from .mirror import BUDGETS, FIELDS, ROW, ROWS, Elsewhere
from .spec import SupervisorFlags
from .state import Child, Lifecycle, State
from .term import decode
from .value import Value, evolve
from .wire import Mirrored

IMAGE_SIZE: Final = 128 << 20
"""What an image may hold, in bytes of what was said: more than a hundred thousand children."""
EACH: Final = 1024
"""Bytes that a child and a supervisor count at least."""

_HEAVY: Final = ("spec", "exit")
_CHECKS: Final = {name: fits(kind) for name, kind in {**FIELDS, **ROW}.items()}
_TOLD: Final = fits(tuple[list[float], int, int, float, Circuit, dict[str, int]])


@attrs.frozen(repr=False, eq=False)
class Change(Value):
    """What was said of one supervisor, understood.

    Attributes:
        rows: The fields that have changed, by the child's id; None when it was forgotten.
        fields: Those of the `State` itself.
        sizes: The bytes in which something large was said, by the child's id, empty for the supervisor itself, and the field.
    """

    message: Mirrored
    rows: dict[str, dict[str, Any] | None]
    fields: dict[str, Any]
    sizes: dict[tuple[str, str], int]


def understood(message: Mirrored) -> Change:
    """What a message says.

    Raises:
        Exception: It makes no sense.
    """
    if not math.isfinite(message.ahead) or len(message.rows) > ROWS:
        raise ValueError(f"{len(message.rows)} rows, {message.ahead} s ahead")
    rows: dict[str, dict[str, Any] | None] = {}
    sizes: dict[tuple[str, str], int] = {}
    for id, row in message.rows:
        if not isinstance(id, str) or id in rows:
            raise ValueError(f"{id!r:.80} is no id, or comes twice")
        rows[id] = None if row is None else {name: _checked(name, decode(value)) for name, value in row.items()}
        for name in _HEAVY if row is not None else ():
            if name in row:
                sizes[id, name] = len(json.dumps(row[name])) + len(id)
    fields = {}
    for name, value in message.fields.items():
        fields[name] = _budget(value) if name in BUDGETS else _checked(name, decode(value))
        sizes["", name] = len(json.dumps(value))
    return Change(message, rows, fields, sizes)


class Image:
    """The supervisors of another process, as that has told of them.

    Attributes:
        states: The present ones, by path; one that has finished is none.
        ahead: See `news`; by path as well, for some may be in a process further down.
    """

    def __init__(self, size: int = IMAGE_SIZE) -> None:
        self.states: dict[Path, State] = {}
        self.ahead: dict[Path, float] = {}
        self._begun: dict[Path, State] = {}
        self._said: dict[Path, dict[str, ChildStatus]] = {}
        self._room = size
        self._sizes: dict[Path, dict[tuple[str, str], int]] = {}

    def take(self, message: Mirrored | Change) -> None:
        """Follow a change.

        Raises:
            ValueError: It is none, or not of anything that is known, or more than an image may hold; nothing has changed but the room.
        """
        try:
            change = message if isinstance(message, Change) else understood(message)
            self._take(change.message, change)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"no change of a supervisor: {error}") from error

    def hear(self, event: Event) -> None:
        """Note what a command says of itself."""
        if isinstance(event, ChildStatus) and event.path:
            path, id = event.path[:-1], event.path[-1]
            if path in self.states and id in self.states[path].children:
                self._weigh(path, {(id, "status"): len(event.status)})
                self._said.setdefault(path, {})[id] = event

    def status(self, path: Path) -> str | None:
        """What the present life of a child says of itself; None when it has said nothing."""
        said, state = self._said.get(path[:-1], {}).get(path[-1]), self.states.get(path[:-1])
        child = None if state is None else state.children.get(path[-1])
        if said is None or child is None or not child.is_live or child.generation != said.generation:
            return None
        return said.status or None

    def _take(self, message: Mirrored, change: Change) -> None:
        path = message.path
        known = State(path, SupervisorFlags()) if message.fresh else self._begun.get(path) or self.states.get(path)
        if known is None:
            raise ValueError(f"{'/'.join(path)} is not known")
        state = _followed(known, change)
        if message.fresh:
            self._release(path)
            self._said.pop(path, None)
        self._begun.pop(path, None)
        self._weigh(path, {("", ""): EACH + sum(map(len, path)), **{(id, ""): EACH for id in change.rows}, **change.sizes})
        for id in change.rows:
            before, after = known.children.get(id), state.children.get(id)
            if after is None:
                self._unsay(path, id)
                self._release(path, id)
            if before is not None and before.spec.type is ChildType.SUPERVISOR and not _goes_on(before, after):
                self._forget((*path, id))
        if message.more:
            self._begun[path] = state
        elif state.lifecycle is Lifecycle.FINISHED:
            self._forget(path)
        else:
            self.states[path], self.ahead[path] = state, message.ahead

    def _unsay(self, path: Path, id: str) -> None:
        said = self._said.get(path, {})
        said.pop(id, None)
        if not said:
            self._said.pop(path, None)

    def _weigh(self, path: Path, sizes: dict[tuple[str, str], int]) -> None:
        held = self._sizes.setdefault(path, {})
        for key, size in sizes.items():
            if size <= EACH and key[1]:
                size = 0  # it counts as a part of its row
            self._room += held.pop(key, 0) - size
            if size:
                held[key] = size
        if self._room < 0:
            raise ValueError("more supervisors and children than an image may hold")

    def _release(self, path: Path, id: str | None = None) -> None:
        held = self._sizes.get(path, {})
        keys = list(held) if id is None else [(id, name) for name in ("", *_HEAVY, "status")]
        self._room += sum(held.pop(key, 0) for key in keys)
        if not held:
            self._sizes.pop(path, None)

    def _forget(self, top: Path) -> None:
        """It is over, and whatever was below it: its process may not have lived to say so."""
        for path in [path for path in self._sizes if path[: len(top)] == top]:
            self._release(path)
            for known in (self.states, self.ahead, self._begun, self._said):
                known.pop(path, None)


def _goes_on(before: Child, after: Child | None) -> bool:
    return after is not None and after.is_live and after.generation == before.generation


def _followed(state: State, change: Change) -> State:
    children = state.children
    for id, fields in change.rows.items():
        if fields is None:
            children = children.discard(id)
            continue
        present = children.get(id)
        child = Child(**fields) if present is None else evolve(present, **fields)
        if child.spec.id != id:
            raise ValueError(f"{id!r:.80} is not the id of its specification")
        children = children.insert(id, child)
    if any(id not in children for _, id in change.fields.get("retries", ())):
        raise ValueError("a retry of nobody")
    return evolve(state, children=children, touched=(), **change.fields)


def _budget(told: Any) -> Budget:
    times, size, streak, ready_at, circuit, pending = told
    told = (times, size, streak, ready_at, decode(circuit), pending)
    if not _TOLD(told) or size < len(times) or (size and not times):
        raise ValueError(f"no budget: {told!r:.80}")
    window = Window(Queue([float(time) for time in times]), size)
    return evolve(FRESH, window=window, streak=streak, ready_at=float(ready_at), circuit=told[4], pending=HashTrieMap(pending))


def _checked(name: str, value: Any) -> Any:
    if not _CHECKS[name](value) or (name == "spec" and type(value.start) is not Elsewhere):
        raise ValueError(f"{name} is {value!r:.80}")
    return value
