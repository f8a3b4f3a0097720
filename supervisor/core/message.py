"""What goes into the machine and what comes out of it.

Inputs are news and requests; effects are orders to the interpreter. Both name a child by id and, where a life is meant, by
generation: news about a life that is over changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from .event import Event
from .exits import Exit
from .spec import ChildSpec
from .value import Value

# ---------------------------------------------------------------- inputs


@attrs.frozen(repr=False, eq=False)
class Boot(Value):
    """Start all children, in order."""


@attrs.frozen(repr=False, eq=False)
class Acknowledged(Value):
    """A child is up. `value` is what it acknowledged with."""

    id: str
    generation: int
    pid: int | None = None
    value: object = attrs.field(default=None, eq=False)


@attrs.frozen(repr=False, eq=False)
class Declined(Value):
    """A child declined to start: OTP's ``ignore``."""

    id: str
    generation: int


@attrs.frozen(repr=False, eq=False)
class Ended(Value):
    """A life is over; before its acknowledgement this is a failed start."""

    id: str
    generation: int
    exit: Exit


@attrs.frozen(repr=False, eq=False)
class Extend(Value):
    """A life asks for time: whoever waits for its start or for its end waits at least this many seconds from now."""

    id: str
    generation: int
    seconds: float


@attrs.frozen(repr=False, eq=False)
class Tick(Value):
    """Time has passed; sent when `wake_at` is due."""


@attrs.frozen(repr=False, eq=False)
class Stop(Value):
    """Stop all children and finish with this exit: the parent asks, or the owner leaves."""

    exit: Exit


@attrs.frozen(repr=False, eq=False)
class Hurry(Value):
    """As `Stop`, and kill instead of asking."""

    exit: Exit


@attrs.frozen(repr=False, eq=False)
class StartChild(Value):
    """Add a child at the end of the start order and start it."""

    spec: ChildSpec


@attrs.frozen(repr=False, eq=False)
class TerminateChild(Value):
    """Stop a child, or cancel its restart, and leave it down."""

    id: str


@attrs.frozen(repr=False, eq=False)
class RestartChild(Value):
    """Start a child that is not running."""

    id: str


@attrs.frozen(repr=False, eq=False)
class DeleteChild(Value):
    """Forget a child that is not running."""

    id: str


@attrs.frozen(repr=False, eq=False)
class CycleChild(Value):
    """Stop and start a running child, if the budget for controlled restarts admits it."""

    id: str
    reason: str = ""


@attrs.frozen(repr=False, eq=False)
class Reconfigure(Value):
    """New flags, and new specifications for the present and for further children; nothing is started or stopped.

    `flags` are the fields of `SupervisorFlags` that change, by name: what the others are is known when the request is served.
    """

    flags: Mapping[str, Any]
    specs: tuple[ChildSpec, ...]


@attrs.frozen(repr=False, eq=False)
class ResetBudgets(Value):
    """Forget all restarts, cooldowns and failures; a child that waited for one of them is restarted now."""


Request = StartChild | TerminateChild | RestartChild | DeleteChild | CycleChild | Reconfigure | ResetBudgets


@attrs.frozen(repr=False, eq=False)
class Call(Value):
    """A request; the answer is a `Reply` with the same `ref`."""

    ref: int
    request: Request


@attrs.frozen(repr=False, eq=False)
class Judge(Value):
    """Somebody who knows says whether the controlled restart that began this life helped; a success may be taken back."""

    id: str
    generation: int
    success: bool


Input = Boot | Acknowledged | Declined | Ended | Extend | Tick | Stop | Hurry | Call | Judge

# ---------------------------------------------------------------- effects


@attrs.frozen(repr=False, eq=False)
class LaunchChild(Value):
    """Start this life."""

    id: str
    generation: int


@attrs.frozen(repr=False, eq=False)
class AskChild(Value):
    """Ask this life to end."""

    id: str
    generation: int


@attrs.frozen(repr=False, eq=False)
class KillChild(Value):
    """Insist that this life ends."""

    id: str
    generation: int


@attrs.frozen(repr=False, eq=False)
class AbandonChild(Value):
    """Give this life up: it did not end when it was killed."""

    id: str
    generation: int


@attrs.frozen(repr=False, eq=False)
class ForgetChild(Value):
    """The specification of this child is gone from the table."""

    id: str


@attrs.frozen(repr=False, eq=False)
class Reply(Value):
    """The answer to a call: a value, or an error to be raised at the caller; `id` is the child's that the call was about."""

    ref: int
    value: object = attrs.field(default=None, eq=False)
    error: Exception | None = attrs.field(default=None, eq=False)
    id: str = ""


@attrs.frozen(repr=False, eq=False)
class Emit(Value):
    """Publish an event."""

    event: Event


@attrs.frozen(repr=False, eq=False)
class Ready(Value):
    """All children are up: the supervisor's own acknowledgement."""


@attrs.frozen(repr=False, eq=False)
class Finish(Value):
    """All children are gone, and so is the supervisor. `error` is what its owner is to be told, if anything."""

    exit: Exit
    error: Exception | None = attrs.field(eq=False)


Effect = LaunchChild | AskChild | KillChild | AbandonChild | ForgetChild | Reply | Emit | Ready | Finish
