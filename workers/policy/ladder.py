"""The degradation ladder: what each mode turns off, and what asks for a mode.

Every cause asks for one rung; the mode is the highest that is asked for. Taking a cause back takes its rung back, so every
rung is reversible and no cause can undo another's. With a cooldown a rung is left only after nobody asked for it for that long, so that
a cause which comes and goes is one change and not many.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

import attrs

from supervisor import Value

from .pressure import MemoryState


class DegradationMode(Enum):
    """How much of the ordinary service is left."""

    NORMAL = "normal"
    WARNING = "warning"
    READ_ONLY = "read_only"
    EMERGENCY = "emergency"

    @property
    def rank(self) -> int:
        """0 for normal to 3 for emergency."""
        return _RANK[self]


_RANK: Final = {mode: rank for rank, mode in enumerate(DegradationMode)}


class Activity(Enum):
    """What a mode can turn off. The first three are the guardian's own; the others are the leaf's, which its adapter is told of."""

    LONG_INTERVALS = "long_intervals"
    """Looking at the leaf as seldom as at level normal; see `LONGEST`."""
    PREFETCH = "prefetch"
    """Capturing state ahead of a restart. The restart itself always captures."""
    NEW_AGENTS = "new_agents"
    """Taking in further agents; within the leaf, starting subagents."""
    WRITE_TOOLS = "write_tools"
    """The leaf's tools that change something."""
    NEW_TURNS = "new_turns"
    """Beginning something new at all."""


_WARNING: Final = frozenset({Activity.LONG_INTERVALS, Activity.PREFETCH, Activity.NEW_AGENTS})

TURNED_OFF: Final[Mapping[DegradationMode, frozenset[Activity]]] = MappingProxyType(
    {
        DegradationMode.NORMAL: frozenset(),
        DegradationMode.WARNING: _WARNING,
        DegradationMode.READ_ONLY: _WARNING | {Activity.WRITE_TOOLS},
        DegradationMode.EMERGENCY: frozenset(Activity),
    }
)
"""What each mode turns off; a higher rung always turns off more."""

LONGEST: Final[Mapping[DegradationMode, MemoryState]] = MappingProxyType(
    {
        DegradationMode.NORMAL: MemoryState.NORMAL,
        DegradationMode.WARNING: MemoryState.WARNING,
        DegradationMode.READ_ONLY: MemoryState.WARNING,
        DegradationMode.EMERGENCY: MemoryState.CRITICAL,
    }
)
"""The level as whose leaf a leaf in each mode is looked at, at least."""


class Cause(Enum):
    """What can ask for a degradation."""

    RESTART_REFUSED = "restart_refused"
    RESTART_FAILED = "restart_failed"
    MEMORY = "memory"
    CAPTURE_FAILED = "capture_failed"
    HEALTH = "health"
    HOST = "host"
    REQUEST = "request"


def asked_by_memory(level: MemoryState) -> DegradationMode | None:
    """The rung that the memory of a leaf asks for. At warning there is nothing to be turned off: that is when things are prepared."""
    if level is MemoryState.EMERGENCY:
        return DegradationMode.READ_ONLY
    return DegradationMode.WARNING if level is MemoryState.CRITICAL else None


@attrs.frozen(repr=False, eq=False)
class ModeChange(Value):
    """The mode went from `old` to `new`."""

    old: DegradationMode
    new: DegradationMode


@attrs.frozen(repr=False, eq=False)
class Ladder(Value):
    """Who asks for which mode: at most one mode for each cause.

    Attributes:
        asked: What is asked for now.
        leaving: What was asked for, and until when it stays nevertheless, monotonic.
    """

    asked: frozenset[tuple[Cause, DegradationMode]] = frozenset()
    leaving: frozenset[tuple[Cause, DegradationMode, float]] = frozenset()

    @property
    def mode(self) -> DegradationMode:
        """The highest rung that is asked for, or was until a moment ago."""
        rungs = [mode for _, mode in self.asked] + [mode for _, mode, _ in self.leaving]
        return max(rungs, key=lambda mode: mode.rank, default=DegradationMode.NORMAL)

    @property
    def settles_at(self) -> float | None:
        """When `settle` has something to do next; None: never, unless something is asked."""
        return min((until for _, _, until in self.leaving), default=None)

    def asked_by(self, cause: Cause) -> DegradationMode | None:
        """The rung that `cause` asks for; None when it asks for none."""
        return next((mode for asking, mode in self.asked if asking is cause), None)

    def causes(self) -> tuple[Cause, ...]:
        """Because of whom the mode is what it is: those that ask for it, else those that did."""
        mode = self.mode
        asking = {cause for cause, wanted in self.asked if wanted is mode} or {cause for cause, wanted, _ in self.leaving if wanted is mode}
        return tuple(cause for cause in Cause if cause in asking)

    def permits(self, activity: Activity, *, besides: Cause | None = None) -> bool:
        """Whether the mode leaves `activity` on; the mode that it would be without `besides`, if that is given."""
        if besides is None:
            return permits(self.mode, activity)
        return permits(_without(self, besides).mode, activity)


def permits(mode: DegradationMode, activity: Activity) -> bool:
    """Whether a mode leaves `activity` on."""
    return activity not in TURNED_OFF[mode]


def degrade(
    ladder: Ladder, mode: DegradationMode, cause: Cause, *, now: float = 0.0, cooldown: float = 0.0
) -> tuple[Ladder, ModeChange | None]:
    """`cause` asks for `mode` from now on, whatever it asked for before; a higher rung it asked for stays for `cooldown` seconds."""
    asked = frozenset((asking, wanted) for asking, wanted in ladder.asked if asking is not cause) | {(cause, mode)}
    return _moved(ladder, Ladder(asked, _left(ladder, cause, mode.rank, now, cooldown)))


def recover(ladder: Ladder, cause: Cause, *, now: float = 0.0, cooldown: float = 0.0) -> tuple[Ladder, ModeChange | None]:
    """`cause` asks for nothing any more; its rung stays for `cooldown` seconds."""
    asked = frozenset((asking, wanted) for asking, wanted in ladder.asked if asking is not cause)
    return _moved(ladder, Ladder(asked, _left(ladder, cause, DegradationMode.NORMAL.rank, now, cooldown)))


def forget(ladder: Ladder, cause: Cause) -> tuple[Ladder, ModeChange | None]:
    """What `cause` asked for is void, at once: what it was about is no more."""
    return _moved(ladder, _without(ladder, cause))


def settle(ladder: Ladder, now: float) -> tuple[Ladder, ModeChange | None]:
    """Leave the rungs that nobody has asked for for as long as their cooldown."""
    return _moved(ladder, Ladder(ladder.asked, frozenset(rung for rung in ladder.leaving if rung[2] > now)))


def _without(ladder: Ladder, cause: Cause) -> Ladder:
    asked = frozenset(rung for rung in ladder.asked if rung[0] is not cause)
    return Ladder(asked, frozenset(rung for rung in ladder.leaving if rung[0] is not cause))


def _left(ladder: Ladder, cause: Cause, rank: int, now: float, cooldown: float) -> frozenset[tuple[Cause, DegradationMode, float]]:
    """What stays although it is not asked for: of one cause a rung only once, for as long as the latest one."""
    before = ladder.asked_by(cause)
    if before is None or before.rank <= rank or cooldown <= 0:
        return ladder.leaving
    return frozenset(rung for rung in ladder.leaving if rung[:2] != (cause, before)) | {(cause, before, now + cooldown)}


def _moved(before: Ladder, after: Ladder) -> tuple[Ladder, ModeChange | None]:
    return after, None if after.mode is before.mode else ModeChange(before.mode, after.mode)
