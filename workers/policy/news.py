"""What the decision about a leaf hears of: the values that `decide.step` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from supervisor import Value

from .pressure import Thresholds

if TYPE_CHECKING:
    from .attribution import Attribution
    from .guard import Policy


@attrs.frozen(repr=False, eq=False)
class Sampled(Value):
    """The memory of the leaf's whole tree was read.

    Attributes:
        held: Whether the kernel has paused the leaf at the limit that was set for it.
        host_available: Bytes that the host can still give; None when nobody has looked.
        attribution: Which part of the tree holds them; None when nobody has looked.
        exact: Whether it is the answer to `effects.Look`: the latest sample once more, as of now, with what each part holds of it.
    """

    total_bytes: int
    generation: int
    held: bool = False
    host_available: int | None = None
    attribution: Attribution | None = None
    exact: bool = False


@attrs.frozen(repr=False, eq=False)
class Unread(Value):
    """It could not be read."""

    reason: str


@attrs.frozen(repr=False, eq=False)
class LeafStarted(Value):
    """A life of the leaf is up; it is idle, or works on what it was started for."""

    generation: int
    idle: bool = True


@attrs.frozen(repr=False, eq=False)
class LeafExited(Value):
    """A life of the leaf is over."""

    generation: int


@attrs.frozen(repr=False, eq=False)
class IdleChanged(Value):
    """A turn of the leaf began or ended."""

    idle: bool


@attrs.frozen(repr=False, eq=False)
class HostShort(Value):
    """The host is short of memory, and of all leaves this one is to be restarted at its next idle moment; empty: not any more."""

    reason: str = ""


@attrs.frozen(repr=False, eq=False)
class RestartAdmitted(Value):
    """Protection admitted a controlled restart; `attempt` counts within its window."""

    attempt: int


@attrs.frozen(repr=False, eq=False)
class RestartRefused(Value):
    """Protection refused one; `retry_in` seconds until it may admit one, None when it cannot say."""

    reason: str
    retry_in: float | None = None


@attrs.frozen(repr=False, eq=False)
class RestartPostponed(Value):
    """A cooldown is not over."""

    remaining: float


@attrs.frozen(repr=False, eq=False)
class RestartWithdrawn(Value):
    """The restart that was asked for still waited for its turn, and is `void` by now: if one is due, it is asked for anew."""


@attrs.frozen(repr=False, eq=False)
class RestartDone(Value):
    """The new life is up."""

    generation: int


@attrs.frozen(repr=False, eq=False)
class RestartBroken(Value):
    """The restart was admitted and failed, or could not even be asked for."""

    reason: str


@attrs.frozen(repr=False, eq=False)
class ToolsEnded(Value):
    """The tools that an `EndTools` named are gone, as far as the kernel can end them."""


@attrs.frozen(repr=False, eq=False)
class Prepared(Value):
    """The capture that a `Prepare` asked for has ended. A failure changes nothing: the restart itself captures again."""

    ok: bool


@attrs.frozen(repr=False, eq=False)
class Reconfigured(Value):
    """Other thresholds, or another way to decide, from now on; None leaves it as it is. The next sample is judged by them."""

    thresholds: Thresholds | None = None
    policy: Policy | None = None


@attrs.frozen(repr=False, eq=False)
class Tick(Value):
    """The time that `next_wake` named has come."""


Event = (
    Sampled
    | Unread
    | LeafStarted
    | LeafExited
    | IdleChanged
    | HostShort
    | RestartAdmitted
    | RestartRefused
    | RestartPostponed
    | RestartWithdrawn
    | RestartDone
    | RestartBroken
    | Prepared
    | ToolsEnded
    | Reconfigured
    | Tick
)
