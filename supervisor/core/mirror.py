"""A supervisor that runs in another process: what that process says of its state. `core.image` makes a state of it again.

Said is what the supervisor's calls can show: flags, lifecycle, rows, retries and budgets, each when it changes, and of a row the fields
that have. Jobs and mailboxes stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from .budget import Budget
from .event import jsonable
from .exits import Exit
from .launch import ChildType
from .ports import Handle, Ticket
from .spec import ChildSpec, SupervisorFlags
from .state import Child, Lifecycle, Phase, State
from .term import NotPortable, decode, encode, trimmed
from .value import Value, evolve
from .wire import FrameTooLarge, Mirrored, pack

ATTEMPTS: Final = 1000
"""Attempts of one window that are told one by one; those before them count until the oldest of these is out of the window. And retries: the
soonest."""
ROWS: Final = 100
_TEXT: Final = 1000
FIELDS: Final[dict[str, Any]] = {
    "flags": SupervisorFlags,
    "lifecycle": Lifecycle,
    "positions": int,
    "retries": tuple[tuple[float, str], ...],
}
BUDGETS: Final = ("crash", "cycle")
ROW: Final[dict[str, Any]] = {
    "spec": ChildSpec,
    "position": int,
    "phase": Phase,
    "generation": int,
    "pid": int | None,
    "since": float,
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
    fields = {name: encode(getattr(new, name)) for name in FIELDS if old is None or getattr(old, name) is not getattr(new, name)}
    if "retries" in fields:
        fields["retries"] = encode(new.retries[:ATTEMPTS])
    for name in BUDGETS:
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
    for first in range(0, len(rows) or 1, ROWS):
        more = first + ROWS < len(rows)
        yield Mirrored(new.path, ahead, rows[first : first + ROWS], {} if more else fields, more=more, fresh=old is None and not first)


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
            yield pack(evolve(message, rows=[[id, _abridged(row)]], fields={}, more=True))
            yield from frames(evolve(message, rows=[], fresh=False))
        elif len(message.fields) > 1:
            for name, value in message.fields.items():
                yield from frames(evolve(message, fields={name: value}, more=True))
                message = evolve(message, fresh=False)
            yield pack(evolve(message, fields={}))
        else:
            # the budget of a supervisor with thousands of children whose attempts are not decided yet
            yield pack(evolve(message, fields={name: [*value[:-1], {}] for name, value in message.fields.items() if name in BUDGETS}))


def _row(before: Child | None, after: Child) -> dict[str, Any]:
    row = {}
    for name in ROW:
        value = getattr(after, name)
        if before is None or getattr(before, name) is not value:
            row[name] = _encoded_exit(value) if name == "exit" else encode(_without_launch(value) if name == "spec" else value)
    return row


def _encoded_exit(exit: Exit | None) -> Any:
    try:
        return encode(exit)
    except NotPortable:
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
