"""A supervisor that runs in another process: what that process says of its state, and the state that is made of it here.

Said is what the supervisor's calls can show: flags, lifecycle, rows, retries and budgets, each when it changes, and of a row the fields
that have. Jobs and mailboxes stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
from rpds import HashTrieMap

from .breaker import Circuit
from .budget import FRESH, Budget
from .errors import Path
from .event import ChildStatus, Event, jsonable
from .exits import Exit
from .fifo import Queue
from .intensity import Window
from .ports import ChildType, Handle, Ticket
from .spec import ChildSpec, SupervisorFlags
from .state import Child, Lifecycle, Phase, State
from .term import NotPortable, decode, encode, trimmed
from .value import Value, evolve
from .wire import FrameTooLarge, Mirrored, pack

ATTEMPTS: Final = 1000
"""Attempts of one window that are told one by one; those before them count until the oldest of these is out of the window."""
_ROWS: Final = 100
_TEXT: Final = 1000
_FIELDS: Final[dict[str, Any]] = {"flags": SupervisorFlags, "lifecycle": Lifecycle, "positions": int, "retries": tuple}
_BUDGETS: Final = ("crash", "cycle")
_ROW: Final[dict[str, Any]] = {
    "spec": ChildSpec,
    "position": int,
    "phase": Phase,
    "generation": int,
    "pid": int | None,
    "since": float | int,
    "restarts": int,
    "exit": Exit | None,
}


@attrs.frozen(repr=False, eq=False)
class Elsewhere(Value):
    """The launch of a child of a supervisor in another process, as far as it is known here: it can be described, not launched."""

    type: ChildType
    kill_timeout: float
    described: Mapping[str, Any]

    def launch(self, ticket: Ticket) -> Handle:
        """It is started where its supervisor is.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"{'/'.join(ticket.path)}: what another process starts cannot be started here")

    def describe(self) -> dict[str, Any]:
        """What its own `describe` says."""
        return dict(self.described)


# ---------------------------------------------------------------- there


def news(old: State | None, new: State, ahead: float) -> Iterator[Mirrored]:
    """What somebody who knows `old` has to be told of `new`, the next one; None knows nothing. Nothing when nothing shows.

    `ahead` is what the clock of the state's times is ahead of ``time.monotonic``, in seconds.
    """
    fields = {name: encode(getattr(new, name)) for name in _FIELDS if old is None or getattr(old, name) is not getattr(new, name)}
    for name in _BUDGETS:
        if old is None or getattr(old, name) is not getattr(new, name):
            fields[name] = _told(getattr(new, name))
    rows: list[Any] = []
    for id in dict.fromkeys(new.children if old is None else new.touched):
        before, after = None if old is None else old.children.get(id), new.children.get(id)
        if after is None:
            rows.append([id, None])
        elif before is not after and (row := _row(before, after)):
            rows.append([id, row])
    if not fields and not rows:
        return
    for first in range(0, len(rows) or 1, _ROWS):
        more = first + _ROWS < len(rows)
        yield Mirrored(new.path, ahead, rows[first : first + _ROWS], {} if more else fields, more=more, fresh=old is None and not first)


def frames(message: Mirrored) -> Iterator[bytes]:
    """The message in frames that can cross: in several, or without what is too large for any."""
    try:
        yield pack(message)
    except FrameTooLarge:
        rows = message.rows
        if len(rows) > 1:
            half = len(rows) // 2
            yield from frames(evolve(message, rows=rows[:half], fields={}, more=True))
            yield from frames(evolve(message, rows=rows[half:], fresh=False))
        elif rows:
            [[id, row]] = rows
            yield pack(evolve(message, rows=[[id, _abridged(row)]]))


def _row(before: Child | None, after: Child) -> dict[str, Any]:
    row = {}
    for name in _ROW:
        value = getattr(after, name)
        if before is None or getattr(before, name) is not value:
            row[name] = _encoded_exit(value) if name == "exit" else encode(_without_launch(value) if name == "spec" else value)
    return row


def _encoded_exit(exit: Exit | None) -> Any:
    try:
        return encode(exit)
    except (NotPortable, RecursionError):
        assert exit is not None
        return encode(evolve(exit, term=str(exit.term)))


def _without_launch(spec: ChildSpec) -> ChildSpec:
    start = spec.start
    return evolve(spec, start=Elsewhere(start.type, float(start.kill_timeout), jsonable(start.describe())))


def _abridged(row: dict[str, Any]) -> dict[str, Any]:
    """Without the exception of the exit, all but the end of its reason, and what the launch says of itself."""
    row = dict(row)
    if row.get("exit") is not None:
        exit: Exit = decode(row["exit"])
        row["exit"] = encode(evolve(exit, exception=None, output=(), reason=trimmed(exit.reason, _TEXT)))
    if "spec" in row:
        spec: ChildSpec = decode(row["spec"])
        row["spec"] = encode(evolve(spec, start=Elsewhere(spec.start.type, spec.start.kill_timeout, {})))
    return row


def _told(budget: Budget) -> list[Any]:
    times, window = list(budget.window.times), budget.window
    if len(times) > ATTEMPTS:
        times = times[-ATTEMPTS:]
    return [times, window.size, budget.streak, budget.ready_at, encode(budget.circuit), dict(budget.pending)]


# ---------------------------------------------------------------- here


class Image:
    """The supervisors of another process, as that has told of them.

    Attributes:
        states: The present ones, by path; one that has finished is none.
        ahead: See `news`; by path as well, for some may be in a process further down.
    """

    def __init__(self) -> None:
        self.states: dict[Path, State] = {}
        self.ahead: dict[Path, float] = {}
        self._begun: dict[Path, State] = {}
        self._said: dict[Path, ChildStatus] = {}

    def take(self, message: Mirrored) -> None:
        """Follow a change.

        Raises:
            ValueError: It is none, or not of anything that is known; nothing has changed.
        """
        path = message.path
        known = State(path, SupervisorFlags()) if message.fresh else self._begun.pop(path, None) or self.states.get(path)
        if known is None:
            raise ValueError(f"{'/'.join(path)} is not known")
        try:
            state = _followed(known, message)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"no change of a supervisor: {error}") from error
        if message.fresh:
            self._said = {of: said for of, said in self._said.items() if of[:-1] != path}
        for id, _ in message.rows:
            before, after = known.children.get(id), state.children.get(id)
            if after is None:
                self._said.pop((*path, id), None)
            if before is not None and before.spec.type is ChildType.SUPERVISOR and not _goes_on(before, after):
                self._forget((*path, id))
        if message.more:
            self._begun[path] = state
        elif state.lifecycle is Lifecycle.FINISHED:
            self._forget(path)
        else:
            self.states[path], self.ahead[path] = state, message.ahead

    def hear(self, event: Event) -> None:
        """Note what a command says of itself."""
        if isinstance(event, ChildStatus) and event.path[:-1] in self.states and event.path[-1] in self.states[event.path[:-1]].children:
            self._said[event.path] = event

    def status(self, path: Path) -> str | None:
        """What the present life of a child says of itself; None when it has said nothing."""
        said, state = self._said.get(path), self.states.get(path[:-1])
        child = None if state is None else state.children.get(path[-1])
        if said is None or child is None or not child.is_live or child.generation != said.generation:
            return None
        return said.status or None

    def _forget(self, top: Path) -> None:
        """It is over, and whatever was below it: its process may not have lived to say so."""
        for path in [path for path in self.states if path[: len(top)] == top]:
            del self.states[path], self.ahead[path]
        self._said = {path: said for path, said in self._said.items() if path[: len(top)] != top}


def _goes_on(before: Child, after: Child | None) -> bool:
    return after is not None and after.is_live and after.generation == before.generation


def _followed(state: State, message: Mirrored) -> State:
    children = state.children
    for id, row in message.rows:
        if row is None:
            children = children.discard(id)
            continue
        fields = {name: _checked(decode(value), _ROW[name]) for name, value in row.items()}
        present = children.get(id)
        child = Child(**fields) if present is None else evolve(present, **fields)
        if child.spec.id != id:
            raise ValueError(f"{id!r} is not the id of its specification")
        children = children.insert(id, child)
    changes: dict[str, Any] = {}
    for name, value in message.fields.items():
        changes[name] = _budget(value) if name in _BUDGETS else _checked(decode(value), _FIELDS[name])
    if any(len(retry) != 2 or retry[1] not in children for retry in changes.get("retries", ())):
        raise ValueError("a retry of nobody")
    return evolve(state, children=children, touched=(), **changes)


def _budget(told: Any) -> Budget:
    times, size, streak, ready_at, circuit, pending = told
    times = [float(_checked(time, float | int)) for time in times]
    if _checked(size, int) < len(times) or (size and not times):
        raise ValueError(f"{size} attempts are not {len(times)}")
    window = Window(Queue([*times[:1] * (size - len(times)), *times]), size)
    for id, generation in pending.items():
        _checked(id, str), _checked(generation, int)
    return evolve(
        FRESH,
        window=window,
        streak=_checked(streak, int),
        ready_at=float(_checked(ready_at, float | int)),
        circuit=_checked(decode(circuit), Circuit),
        pending=HashTrieMap(pending),
    )


def _checked(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{value!r:.80} is no {kind}")
    return value
