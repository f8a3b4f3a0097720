"""What the decision about a leaf asks for: values, carried out by an interpreter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from supervisor import Value

from .ladder import DegradationMode
from .pressure import MemoryState, Thresholds

if TYPE_CHECKING:
    from .attribution import Part


@attrs.frozen(repr=False, eq=False)
class LevelChanged(Value):
    """Say that the level changed."""

    old: MemoryState
    new: MemoryState
    total_bytes: int


@attrs.frozen(repr=False, eq=False)
class ThresholdExceeded(Value):
    """Say that the total passed the threshold of `level` on its way up; of several passed at once, the highest."""

    level: MemoryState
    total_bytes: int
    threshold_bytes: int


@attrs.frozen(repr=False, eq=False)
class Prepare(Value):
    """Capture in the background and tell the user; once for each excursion above normal."""

    reason: str


@attrs.frozen(repr=False, eq=False)
class Restart(Value):
    """Ask the supervisor for a controlled restart now; `urgent`: the leaf may be in the middle of a turn and may not wait."""

    reason: str
    urgent: bool
    level: MemoryState
    total_bytes: int | None


@attrs.frozen(repr=False, eq=False)
class WouldRestart(Value):
    """A dry run says what it would have asked for; once for each time above critical."""

    reason: str
    urgent: bool
    level: MemoryState
    total_bytes: int | None


@attrs.frozen(repr=False, eq=False)
class Completed(Value):
    """The restart helped: the new life is up and below critical; `total_bytes` is None when the restart was for want of sight."""

    total_bytes: int | None


@attrs.frozen(repr=False, eq=False)
class Ineffective(Value):
    """The restart did not help: the new life is at critical again, or was never below warning. Counts as a failed attempt."""

    reason: str
    total_bytes: int


@attrs.frozen(repr=False, eq=False)
class Helped(Value):
    """The restart was a success: the life it began has been up for long enough, and is below critical."""


@attrs.frozen(repr=False, eq=False)
class FloorChanged(Value):
    """What the leaf weighs from the start is above its warning, or is no longer: thresholds follow; None when it is no longer."""

    floor_bytes: int | None
    thresholds: Thresholds


@attrs.frozen(repr=False, eq=False)
class Failed(Value):
    """The restart failed."""

    reason: str


@attrs.frozen(repr=False, eq=False)
class Refused(Value):
    """Say that protection refused a restart."""

    reason: str
    retry_in: float | None


@attrs.frozen(repr=False, eq=False)
class Degrade(Value):
    """Go to another rung of the degradation ladder; back to normal included."""

    mode: DegradationMode
    reason: str
    old: DegradationMode = DegradationMode.NORMAL


@attrs.frozen(repr=False, eq=False)
class Blinded(Value):
    """Say that memory cannot be read any more."""

    reason: str


@attrs.frozen(repr=False, eq=False)
class Sighted(Value):
    """Say that memory can be read again."""


@attrs.frozen(repr=False, eq=False)
class Hold(Value):
    """Let the leaf do nothing until it is released or stopped, `seconds` at most: its state is captured meanwhile."""

    seconds: float
    total_bytes: int


@attrs.frozen(repr=False, eq=False)
class Release(Value):
    """Let a leaf that was held go on."""

    reason: str


@attrs.frozen(repr=False, eq=False)
class Stop(Value):
    """End the leaf for good: it may not be restarted, and the host is about to run out of memory."""

    reason: str


@attrs.frozen(repr=False, eq=False)
class Look(Value):
    """Look at the parts of the tree before anything else: what was seen of them is some samples old, and something is decided on it."""


@attrs.frozen(repr=False, eq=False)
class EndTools(Value):
    """End these parts of the tree in place of a restart; `urgent`: at once, without asking them first."""

    parts: tuple[Part, ...]
    reason: str
    urgent: bool
    level: MemoryState
    total_bytes: int


Effect = (
    LevelChanged
    | ThresholdExceeded
    | Prepare
    | Restart
    | WouldRestart
    | Completed
    | Helped
    | FloorChanged
    | Ineffective
    | Failed
    | Refused
    | Degrade
    | Blinded
    | Sighted
    | Hold
    | Release
    | Stop
    | Look
    | EndTools
)
