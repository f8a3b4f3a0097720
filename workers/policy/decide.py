"""What the guardian does about the memory of one leaf: `step(guard, event, now) -> (guard, effects)`.

Whoever interprets the effects owes the machine one promise: each `Restart` is answered by exactly one of `RestartRefused`,
`RestartPostponed`, `RestartBroken` and `RestartDone`; a `RestartAdmitted` may come before the last two. The same events about a
restart that somebody else asked for are welcome, so that the machine does not act across it.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

import attrs

from supervisor import Value

from .effects import (
    Blinded,
    Completed,
    Degrade,
    Effect,
    Failed,
    FloorChanged,
    LevelChanged,
    Prepare,
    Refused,
    Restart,
    Sighted,
    ThresholdExceeded,
    WouldRestart,
)
from .errors import InvalidPolicy
from .ladder import Cause, DegradationMode, Ladder, ModeChange, degrade, recover
from .news import (
    Event,
    IdleChanged,
    LeafExited,
    LeafStarted,
    ModeRequested,
    Prepared,
    Reconfigured,
    RestartAdmitted,
    RestartBroken,
    RestartDone,
    RestartPostponed,
    RestartRefused,
    Sampled,
    Tick,
    Unread,
)
from .outlook import Outlook, in_words, look_ahead
from .pressure import MemoryState, Pressure, Thresholds
from .pressure import step as feel
from .probation import Probation, floor_of, observe, raised, said
from .text import mib as _mib

__all__ = [
    "BROKEN_PAUSE",
    "RETRY_PAUSE",
    "Event",
    "Guard",
    "IdleChanged",
    "LeafExited",
    "LeafStarted",
    "ModeRequested",
    "Phase",
    "Policy",
    "Prepared",
    "Reconfigured",
    "RestartAdmitted",
    "RestartBroken",
    "RestartDone",
    "RestartPostponed",
    "RestartRefused",
    "Sampled",
    "Tick",
    "Unread",
    "next_wake",
    "step",
    "watch",
]

RETRY_PAUSE: Final = 0.1
BROKEN_PAUSE: Final = 1.0


@attrs.frozen(repr=False, eq=False)
class Policy(Value):
    """How the guardian decides.

    Attributes:
        critical_samples: Consecutive known samples at level critical or worse that make a restart due, >= 1.
        critical_grace: Seconds for which a due restart waits for an idle moment.
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
    stability_period: float = 30.0
    ineffective_window: float = 300.0
    prediction_horizon: float = 120.0

    def __attrs_post_init__(self) -> None:
        if type(self.critical_samples) is not int or self.critical_samples < 1:
            raise InvalidPolicy("critical_samples", self.critical_samples, "an integer >= 1")
        for name in ("critical_grace", "stability_period", "ineffective_window", "prediction_horizon"):
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
        configured: The thresholds that were asked for; those in force are the pressure's.
        floor_bytes: What the leaf weighs from the start, where that is above its warning; None where it is not, or is not known.
        outlook: What is foreseen of this life.
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
    configured: Thresholds = attrs.field(default=attrs.Factory(lambda guard: guard.pressure.thresholds, takes_self=True))
    floor_bytes: int | None = None
    outlook: Outlook = Outlook()

    @property
    def level(self) -> MemoryState:
        """The level of the leaf's memory."""
        return self.pressure.level

    @property
    def mode(self) -> DegradationMode:
        """The rung of the ladder the leaf is on."""
        return self.ladder.mode

    @property
    def is_under_way(self) -> bool:
        """Whether a restart has been asked for and is not yet judged."""
        return self.phase is not Phase.WATCHING


def watch(policy: Policy, thresholds: Thresholds) -> Guard:
    """The guard of a leaf that has not started yet."""
    return Guard(policy, Pressure(thresholds))


def step(guard: Guard, event: Event, now: float) -> tuple[Guard, tuple[Effect, ...]]:
    """Take one event at `now`.

    Returns:
        The new state, and what is to be done, in order.
    """
    effects: list[Effect] = []
    match event:
        case Sampled():
            guard = _sampled(guard, event, now, effects)
        case Unread(reason):
            guard = _unread(guard, reason, now, effects)
        case LeafStarted(generation):
            guard = _started(guard, generation, now)
        case LeafExited(generation):
            guard = _exited(guard, generation, effects)
        case IdleChanged(idle):
            guard = attrs.evolve(guard, idle=idle)
        case ModeRequested(mode, reason):
            asked = recover(guard.ladder, Cause.REQUEST) if mode is DegradationMode.NORMAL else degrade(guard.ladder, mode, Cause.REQUEST)
            guard = _moved(guard, *asked, reason, effects)
        case Reconfigured():
            guard = _reconfigured(guard, event)
        case RestartAdmitted():
            guard = _admitted(guard, effects)
        case RestartRefused() if guard.phase is Phase.ASKED:
            guard = _refused(guard, event, now, effects)
        case RestartPostponed(remaining) if guard.phase is Phase.ASKED:
            guard = attrs.evolve(guard, phase=Phase.WATCHING, not_before=now + max(remaining, RETRY_PAUSE))
        case RestartDone(generation) if guard.phase in (Phase.ASKED, Phase.RESTARTING):
            guard = _done(guard, generation, now, effects)
        case RestartBroken(reason) if guard.phase in (Phase.ASKED, Phase.RESTARTING):
            effects.append(Failed(reason))
            guard = attrs.evolve(guard, phase=Phase.WATCHING, critical_run=0, due_since=None, not_before=now + BROKEN_PAUSE)
            guard = attrs.evolve(guard, outlook=guard.outlook.anew())
        case _:
            pass
    return _act(guard, now, effects), tuple(effects)


def next_wake(guard: Guard) -> float | None:
    """When a `Tick` is needed if nothing else happens before; None: not at all."""
    if guard.blocked or not _wants_restart(guard):
        return None
    return _moment(guard)


def _sampled(guard: Guard, sample: Sampled, now: float, effects: list[Effect]) -> Guard:
    if sample.generation != guard.generation or not guard.alive:
        return guard
    if guard.blind:
        effects.append(Sighted())
    pressure, change = feel(guard.pressure, sample.total_bytes, now)
    level = pressure.level
    if change is not None:
        effects.append(LevelChanged(change.old, level, sample.total_bytes))
        if change.is_rise:
            effects.append(ThresholdExceeded(level, sample.total_bytes, pressure.thresholds.enter_bytes(level)))
    outlook = look_ahead(guard.outlook, pressure, guard.policy.prediction_horizon, now)
    critical = level.reaches(MemoryState.CRITICAL)
    run = guard.critical_run + 1 if critical else 0
    # what is foreseen at level normal is prepared for, no more
    foreseen = outlook.is_foreseen and level is not MemoryState.NORMAL
    wanted = level is MemoryState.EMERGENCY or run >= guard.policy.critical_samples or foreseen
    due = (now if guard.due_since is None else guard.due_since) if wanted else None
    reported = guard.reported if guard.reported is not None and level.reaches(guard.reported) else None
    guard = attrs.evolve(guard, pressure=pressure, outlook=outlook, critical_run=run, due_since=due, blind=False, reported=reported)
    first = guard.phase is Phase.JUDGING
    if first:
        guard = _up(guard, sample.total_bytes, effects)
    guard = _judged(guard, sample.total_bytes, now, effects, first=first)
    if level is MemoryState.NORMAL:
        prepared = guard.prepared and outlook.is_foreseen
        guard = _recovered(attrs.evolve(guard, blocked=False, prepared=prepared), "memory is back to normal", effects)
    elif guard.ladder.asked_by(Cause.RESTART_REFUSED) is not None:
        guard = _degraded(guard, "restarts are still refused", effects)
    return guard


def _up(guard: Guard, total_bytes: int, effects: list[Effect]) -> Guard:
    if total_bytes < guard.pressure.thresholds.critical_bytes:
        effects.append(Completed(total_bytes))
    return attrs.evolve(guard, phase=Phase.WATCHING)


def _judged(guard: Guard, total_bytes: int, now: float, effects: list[Effect], *, first: bool) -> Guard:
    """What the sample says of the restart that began this life, and of what the leaf weighs."""
    if guard.probation is None:
        return guard
    trial, policy = guard.probation, guard.policy
    # what is critical at its first sample has not helped, however small the window
    ages = {"stability": policy.stability_period, "window": math.inf if first else policy.ineffective_window}
    probation, judgement = observe(trial, total_bytes, guard.level, guard.pressure.thresholds, now=now, **ages)
    if judgement is not None:
        effects.append(said(judgement, probation, total_bytes, guard.pressure.thresholds, now))
    floor = floor_of(trial, probation, guard.configured, guard.floor_bytes)
    if floor != guard.floor_bytes:
        thresholds = raised(guard.configured, floor)
        effects.append(FloorChanged(floor, thresholds))
        guard = attrs.evolve(guard, floor_bytes=floor, pressure=attrs.evolve(guard.pressure, thresholds=thresholds))
    return attrs.evolve(guard, probation=probation)


def _unread(guard: Guard, reason: str, now: float, effects: list[Effect]) -> Guard:
    if not guard.alive:
        return guard
    if not guard.blind:
        effects.append(Blinded(reason))
    pressure, _ = feel(guard.pressure, None, now)
    return attrs.evolve(guard, pressure=pressure, blind=True)


def _started(guard: Guard, generation: int, now: float) -> Guard:
    if guard.generation is not None and generation <= guard.generation:
        return guard
    return attrs.evolve(
        guard,
        generation=generation,
        alive=True,
        idle=True,
        pressure=guard.pressure.renewed(),
        outlook=Outlook(),
        critical_run=0,
        due_since=None,
        prepared=False,
        reported=None,
        probation=Probation(now),
    )


def _exited(guard: Guard, generation: int, effects: list[Effect]) -> Guard:
    if generation != guard.generation:
        return guard
    guard = attrs.evolve(guard, alive=False, critical_run=0, due_since=None)
    if guard.phase is Phase.JUDGING:
        effects.append(Failed("the new life ended before its memory was known"))
        guard = attrs.evolve(guard, phase=Phase.WATCHING)
    return guard


def _reconfigured(guard: Guard, wanted: Reconfigured) -> Guard:
    policy = guard.policy
    if wanted.critical_samples is not None:
        policy = attrs.evolve(policy, critical_samples=wanted.critical_samples)
    if wanted.critical_grace is not None:
        policy = attrs.evolve(policy, critical_grace=wanted.critical_grace)
    configured = guard.configured if wanted.thresholds is None else wanted.thresholds
    pressure = attrs.evolve(guard.pressure, thresholds=raised(configured, guard.floor_bytes))
    return attrs.evolve(guard, policy=policy, configured=configured, pressure=pressure)


def _admitted(guard: Guard, effects: list[Effect]) -> Guard:
    return _recovered(attrs.evolve(guard, phase=Phase.RESTARTING, not_before=None, blocked=False), "a restart was admitted", effects)


def _refused(guard: Guard, event: RestartRefused, now: float, effects: list[Effect]) -> Guard:
    effects.append(Refused(event.reason, event.retry_in))
    later = None if event.retry_in is None else now + max(event.retry_in, RETRY_PAUSE)
    guard = attrs.evolve(guard, phase=Phase.WATCHING, not_before=later, blocked=later is None)
    return _degraded(guard, event.reason, effects)


def _done(guard: Guard, generation: int, now: float, effects: list[Effect]) -> Guard:
    guard = _started(guard, generation, now)
    if not guard.alive:
        effects.append(Failed("the new life ended at once"))
        return attrs.evolve(guard, phase=Phase.WATCHING)
    probation = attrs.evolve(guard.probation or Probation(now), controlled=True)
    return attrs.evolve(guard, phase=Phase.JUDGING, probation=probation)


def _degraded(guard: Guard, reason: str, effects: list[Effect]) -> Guard:
    mode = DegradationMode.EMERGENCY if guard.level is MemoryState.EMERGENCY else DegradationMode.READ_ONLY
    return _moved(guard, *degrade(guard.ladder, mode, Cause.RESTART_REFUSED), reason, effects)


def _recovered(guard: Guard, reason: str, effects: list[Effect]) -> Guard:
    return _moved(guard, *recover(guard.ladder, Cause.RESTART_REFUSED), reason, effects)


def _moved(guard: Guard, ladder: Ladder, change: ModeChange | None, reason: str, effects: list[Effect]) -> Guard:
    if change is not None:
        effects.append(Degrade(change.new, reason, change.old))
    return attrs.evolve(guard, ladder=ladder)


def _act(guard: Guard, now: float, effects: list[Effect]) -> Guard:
    """Restart or prepare, if the state after the event calls for it."""
    if not guard.alive or guard.phase is not Phase.WATCHING or guard.pressure.fresh:
        return guard
    if guard.level is MemoryState.NORMAL and not guard.outlook.is_foreseen:
        return guard
    if _wants_restart(guard) and not guard.blocked and now >= _moment(guard):
        return _ask(guard, effects)
    if not guard.prepared and not guard.policy.dry_run:
        soon = in_words(guard.outlook)
        effects.append(Prepare(f"memory is at {_mib(guard.pressure.total_bytes)}, {guard.level.value}{soon and f'; {soon}'}"))
        return attrs.evolve(guard, prepared=True)
    return guard


def _wants_restart(guard: Guard) -> bool:
    return guard.alive and guard.phase is Phase.WATCHING and guard.due_since is not None and not _is_reported(guard)


def _is_reported(guard: Guard) -> bool:
    """A dry run says once that it is foreseen, and once that it is so."""
    return guard.reported is not None and (guard.reported is MemoryState.CRITICAL or not guard.level.reaches(MemoryState.CRITICAL))


def _moment(guard: Guard) -> float:
    """The earliest time at which a due restart may be asked for: never before protection allows, and between turns if it can wait."""
    assert guard.due_since is not None
    waits = not guard.idle and guard.level is not MemoryState.EMERGENCY
    moment = guard.due_since + guard.policy.critical_grace if waits else guard.due_since
    return moment if guard.not_before is None else max(moment, guard.not_before)


def _ask(guard: Guard, effects: list[Effect]) -> Guard:
    total, level = guard.pressure.total_bytes, guard.level
    assert total is not None
    urgent = level is MemoryState.EMERGENCY
    bound = _mib(guard.pressure.thresholds.enter_bytes(level))
    if urgent:
        why = ""
    elif guard.critical_run >= guard.policy.critical_samples:
        why = f" over {guard.critical_run} samples"
    else:
        why = f": {in_words(guard.outlook)}"
    reason = f"memory is at {_mib(total)}, {level.value} ({bound}){why}"
    if guard.policy.dry_run:
        effects.append(WouldRestart(reason, urgent, level, total))
        return attrs.evolve(guard, reported=min(level, MemoryState.CRITICAL, key=lambda level: level.rank))
    effects.append(Restart(reason, urgent, level, total))
    return attrs.evolve(guard, phase=Phase.ASKED)
