"""The degradation ladder: what each mode turns off, and what asks for a mode.

Every cause asks for one rung; the mode is the highest that is asked for. Taking a cause back takes its rung back, so every
rung is reversible and no cause can undo another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

import attrs

from supervisor import Value


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
    """What a mode can turn off."""

    PREFETCH = "prefetch"
    CONTROLLED_RESTARTS = "controlled_restarts"
    WRITE_TOOLS = "write_tools"
    NEW_AGENTS = "new_agents"
    NEW_TURNS = "new_turns"


TURNED_OFF: Final[Mapping[DegradationMode, frozenset[Activity]]] = MappingProxyType(
    {
        DegradationMode.NORMAL: frozenset(),
        DegradationMode.WARNING: frozenset({Activity.PREFETCH}),
        # monitoring only: the guardian goes on watching and reporting, and acts no more until protection admits again
        DegradationMode.READ_ONLY: frozenset({Activity.PREFETCH, Activity.CONTROLLED_RESTARTS, Activity.WRITE_TOOLS, Activity.NEW_AGENTS}),
        DegradationMode.EMERGENCY: frozenset(Activity),
    }
)
"""What each mode turns off; a higher rung always turns off more."""


class Cause(Enum):
    """What can ask for a degradation."""

    RESTART_REFUSED = "restart_refused"
    MEMORY = "memory"
    CAPTURE_FAILED = "capture_failed"
    HEALTH = "health"
    REQUEST = "request"


@attrs.frozen(repr=False, eq=False)
class ModeChange(Value):
    """The mode went from `old` to `new`."""

    old: DegradationMode
    new: DegradationMode


@attrs.frozen(repr=False, eq=False)
class Ladder(Value):
    """Who asks for which mode: at most one mode for each cause."""

    asked: frozenset[tuple[Cause, DegradationMode]] = frozenset()

    @property
    def mode(self) -> DegradationMode:
        """The highest rung that is asked for."""
        return max((mode for _, mode in self.asked), key=lambda mode: mode.rank, default=DegradationMode.NORMAL)

    def asked_by(self, cause: Cause) -> DegradationMode | None:
        """The rung that `cause` asks for; None when it asks for none."""
        return next((mode for asking, mode in self.asked if asking is cause), None)

    def permits(self, activity: Activity) -> bool:
        """Whether the mode leaves `activity` on."""
        return activity not in TURNED_OFF[self.mode]


def degrade(ladder: Ladder, mode: DegradationMode, cause: Cause) -> tuple[Ladder, ModeChange | None]:
    """`cause` asks for `mode` from now on, whatever it asked for before."""
    return _moved(ladder, Ladder(_without(ladder, cause) | {(cause, mode)}))


def recover(ladder: Ladder, cause: Cause) -> tuple[Ladder, ModeChange | None]:
    """`cause` asks for nothing any more."""
    return _moved(ladder, Ladder(_without(ladder, cause)))


def _without(ladder: Ladder, cause: Cause) -> frozenset[tuple[Cause, DegradationMode]]:
    return frozenset(pair for pair in ladder.asked if pair[0] is not cause)


def _moved(before: Ladder, after: Ladder) -> tuple[Ladder, ModeChange | None]:
    return after, None if after.mode is before.mode else ModeChange(before.mode, after.mode)
