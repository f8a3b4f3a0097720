"""What the decision about a leaf hears of: the values that `decide.step` takes."""

from __future__ import annotations

import attrs


@attrs.frozen
class Sampled:
    """The memory of the leaf's whole tree was read."""

    total_bytes: int
    generation: int


@attrs.frozen
class Unread:
    """It could not be read."""

    reason: str


@attrs.frozen
class LeafStarted:
    """A life of the leaf is up."""

    generation: int


@attrs.frozen
class LeafExited:
    """A life of the leaf is over."""

    generation: int


@attrs.frozen
class IdleChanged:
    """A turn of the leaf began or ended."""

    idle: bool


@attrs.frozen
class RestartAdmitted:
    """Protection admitted a controlled restart; `attempt` counts within its window."""

    attempt: int


@attrs.frozen
class RestartRefused:
    """Protection refused one; `retry_in` seconds until it may admit one, None when it cannot say."""

    reason: str
    retry_in: float | None = None


@attrs.frozen
class RestartPostponed:
    """A cooldown is not over."""

    remaining: float


@attrs.frozen
class RestartDone:
    """The new life is up."""

    generation: int


@attrs.frozen
class RestartBroken:
    """The restart was admitted and failed, or could not even be asked for."""

    reason: str


@attrs.frozen
class Prepared:
    """The capture that a `Prepare` asked for has ended. A failure changes nothing: the restart itself captures again."""

    ok: bool


@attrs.frozen
class Tick:
    """The time that `next_wake` named has come."""


Event = (
    Sampled
    | Unread
    | LeafStarted
    | LeafExited
    | IdleChanged
    | RestartAdmitted
    | RestartRefused
    | RestartPostponed
    | RestartDone
    | RestartBroken
    | Prepared
    | Tick
)
