"""What the decision about one leaf remembers, and how it is to decide."""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

import attrs

from supervisor import Value

from .errors import InvalidPolicy
from .holding import UNHELD, Holding
from .ladder import DegradationMode, Ladder
from .outlook import Outlook
from .pressure import MemoryState, Pressure, Thresholds
from .probation import Probation

_DURATIONS: Final = (
    "critical_grace",
    "hold_for",
    "blind_restart_after",
    "stability_period",
    "ineffective_window",
    "prediction_horizon",
)


@attrs.frozen(repr=False, eq=False)
class Policy(Value):
    """How the guardian decides.

    Attributes:
        critical_samples: Consecutive known samples at level critical or worse that make a restart due, >= 1.
        critical_grace: Seconds for which a due restart waits for an idle moment.
        hold_for: Seconds for which a leaf in an emergency is held at most; 0 for never.
        host_reserve: Bytes: a leaf in an emergency that may not be restarted is stopped when the host has less; 0 for never.
        blind_restart_after: Seconds without a known sample after which a restart is due; 0 for never.
        dry_run: Decide and report, never act.
        stability_period: Seconds after which a restart is judged by the memory of the life that it began.
        ineffective_window: Seconds within which that life may not be critical again.
        prediction_horizon: Seconds ahead: a restart is due as well when critical, or emergency at level critical, is foreseen within
            them; 0 foresees nothing.

    Raises:
        InvalidPolicy: A field is out of range.
    """

    critical_samples: int = 3
    critical_grace: float = 120.0
    dry_run: bool = False
    hold_for: float = 0.0
    host_reserve: int = 0
    blind_restart_after: float = 0.0
    stability_period: float = 30.0
    ineffective_window: float = 300.0
    prediction_horizon: float = 120.0

    def __attrs_post_init__(self) -> None:
        if type(self.critical_samples) is not int or self.critical_samples < 1:
            raise InvalidPolicy("critical_samples", self.critical_samples, "an integer >= 1")
        if not 0 <= self.host_reserve < math.inf:
            raise InvalidPolicy("host_reserve", self.host_reserve, "bytes >= 0")
        for name in _DURATIONS:
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidPolicy(name, getattr(self, name), "seconds >= 0")


class Phase(Enum):
    """Where the restart of the leaf is."""

    WATCHING = "watching"
    """None is under way."""
    ASKED = "asked"
    """The supervisor was asked and has not answered."""
    RESTARTING = "restarting"
    """Protection admitted it."""
    JUDGING = "judging"
    """The new life is up; its first sample says whether the restart helped."""


@attrs.frozen(repr=False, eq=False)
class Guard(Value):
    """The state of the decision about one leaf. Times are monotonic seconds.

    Attributes:
        generation: The life that is watched; None before the first.
        alive: Whether that life has not been reported as ended.
        idle: Whether the leaf is between turns; a leaf that reports no turns is always idle.
        critical_run: Consecutive known samples of this life at level critical or worse.
        due_since: When a restart became due; None when none is.
        not_before: No request before this time: protection said so.
        blocked: Protection refused and could not say for how long: no request until the level was normal.
        prepared: Whether this excursion above normal has been prepared for.
        reported: The level at which a dry run has said what it would do, at most critical; None: it has not about this excursion.
        blind: Whether the last sample was unknown.
        probation: What is known of the present life since it began; None before the first.
        pressed: Why a restart is due whatever its own memory; empty when none is.
        configured: The thresholds that were asked for; those in force are the pressure's.
        floor_bytes: What the leaf weighs from the start, where that is above its warning; None where it is not, or is not known.
        outlook: What is foreseen of this life.
        blind_since: Since when this life cannot be seen; None when it can.
        holding: What is remembered of holding it.
    """

    policy: Policy
    pressure: Pressure
    ladder: Ladder = Ladder()
    phase: Phase = Phase.WATCHING
    generation: int | None = None
    alive: bool = False
    idle: bool = True
    critical_run: int = 0
    due_since: float | None = None
    not_before: float | None = None
    blocked: bool = False
    prepared: bool = False
    reported: MemoryState | None = None
    blind: bool = False
    probation: Probation | None = None
    pressed: str = ""
    configured: Thresholds = attrs.field(default=attrs.Factory(lambda guard: guard.pressure.thresholds, takes_self=True))
    floor_bytes: int | None = None
    outlook: Outlook = Outlook()
    blind_since: float | None = None
    holding: Holding = UNHELD

    @property
    def level(self) -> MemoryState:
        """The level of the leaf's memory."""
        return self.pressure.level

    @property
    def mode(self) -> DegradationMode:
        """The rung of the ladder the leaf is on."""
        return self.ladder.mode

    @property
    def needs_restart(self) -> bool:
        """Whether its own memory makes a restart due."""
        if self.level is MemoryState.EMERGENCY or self.critical_run >= self.policy.critical_samples:
            return True
        return self.outlook.is_foreseen and self.level is not MemoryState.NORMAL  # at level normal it is prepared for, no more

    def is_restart_due(self, now: float) -> bool:
        """Whether a restart is due and may be asked for, or is under way, so that no turn should begin."""
        if self.phase in (Phase.ASKED, Phase.RESTARTING):
            return True
        if not self.alive or self.due_since is None or self.blocked or self.policy.dry_run or self.phase is not Phase.WATCHING:
            return False
        return self.not_before is None or now >= self.not_before

    @property
    def is_under_way(self) -> bool:
        """Whether a restart has been asked for and is not yet judged."""
        return self.phase is not Phase.WATCHING


def watch(policy: Policy, thresholds: Thresholds) -> Guard:
    """The guard of a leaf that has not started yet."""
    return Guard(policy, Pressure(thresholds))
