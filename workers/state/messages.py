"""What crosses between the state worker and the process that captures for it: values alone."""

from __future__ import annotations

import attrs

from supervisor import Value

from ..config import StateConfig
from .model import PastRestart
from .subject import Subject


@attrs.frozen(repr=False, eq=False)
class Place(Value):
    """Where the states of a leaf's project are kept.

    Attributes:
        state_dir: The state directory.
        project: The project's directory.
        key: Where the keys are with which they are encrypted; empty for none.
    """

    state_dir: str
    project: str
    key: str = ""


@attrs.frozen(repr=False, eq=False)
class CaptureOrder(Value):
    """Capture a leaf.

    Attributes:
        place: Where to.
        subject: What is known of it.
        reason: Why.
        attempt: The number of the restart within its window, when one is the reason.
        history: The restarts before.
        git_limit: Seconds that git may take.
        fold_limit: Seconds that what is new of a conversation may be folded for; what is left is folded after the capture.
    """

    place: Place
    subject: Subject
    reason: str
    attempt: int | None
    history: tuple[PastRestart, ...]
    git_limit: float
    fold_limit: float


@attrs.frozen(repr=False, eq=False)
class Fault(Value):
    """A part of a state that could not be captured, `journal` or `conversation`, and why."""

    part: str
    cause: str


@attrs.frozen(repr=False, eq=False)
class Captured(Value):
    """What became of it.

    Attributes:
        state_id: The state; None where there is none.
        path: Its file.
        cause: Why there is none.
        faults: What it lacks.
    """

    state_id: str | None = None
    path: str | None = None
    cause: str = ""
    faults: tuple[Fault, ...] = ()


@attrs.frozen(repr=False, eq=False)
class PruneOrder(Value):
    """Remove what is not to be kept any longer."""

    place: Place
    kept: StateConfig


@attrs.frozen(repr=False, eq=False)
class Removed(Value):
    """What became of that: the ids of states that are gone, the bytes that were freed, and what could not be removed."""

    state_ids: tuple[str, ...] = ()
    freed_bytes: int = 0
    failed: tuple[str, ...] = ()
