"""What the guardian does about the memory of one leaf: `step(guard, event, now) -> (guard, effects)`.

Whoever interprets the effects owes the machine one promise: each `Restart` is answered by exactly one of `RestartRefused`,
`RestartPostponed`, `RestartWithdrawn`, `RestartBroken` and `RestartDone`; a `RestartAdmitted` may come before the last two. The same
events about a restart that somebody else asked for are welcome, so that the machine does not act across it. And each `Look` is answered
at once by an exact `Sampled`: nothing else follows from the event that asked for it, but from that.
"""

from __future__ import annotations

import math
from typing import Final

from supervisor import evolve

from . import blindness, ending, holding
from .effects import (
    Blinded,
    Completed,
    Degrade,
    Effect,
    Failed,
    FloorChanged,
    LevelChanged,
    Look,
    Prepare,
    Refused,
    Restart,
    Sighted,
    ThresholdExceeded,
    WouldRestart,
)
from .guard import Guard, Phase, Policy, watch
from .ladder import Cause, DegradationMode, Ladder, ModeChange, degrade, recover
from .news import (
    Event,
    HostShort,
    IdleChanged,
    LeafExited,
    LeafStarted,
    Prepared,
    Reconfigured,
    RestartAdmitted,
    RestartBroken,
    RestartDone,
    RestartPostponed,
    RestartRefused,
    RestartWithdrawn,
    Sampled,
    Tick,
    ToolsEnded,
    Unread,
)
from .outlook import Outlook, in_words, look_ahead
from .pressure import MemoryState, again
from .pressure import step as feel
from .probation import Probation, floor_of, observe, raised, said
from .text import mib as _mib

__all__ = [
    "BROKEN_PAUSE",
    "RETRY_PAUSE",
    "Event",
    "Guard",
    "HostShort",
    "IdleChanged",
    "LeafExited",
    "LeafStarted",
    "Phase",
    "Policy",
    "Prepared",
    "Reconfigured",
    "RestartAdmitted",
    "RestartBroken",
    "RestartDone",
    "RestartPostponed",
    "RestartRefused",
    "RestartWithdrawn",
    "Sampled",
    "Tick",
    "ToolsEnded",
    "Unread",
    "is_void",
    "next_wake",
    "restart_at",
    "step",
    "watch",
]

RETRY_PAUSE: Final = 0.1
BROKEN_PAUSE: Final = 1.0


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
        case LeafStarted(generation, idle):
            guard = _started(guard, generation, now, idle)
        case LeafExited(generation):
            guard = _exited(guard, generation, effects)
        case HostShort(reason) if guard.alive and guard.phase is Phase.WATCHING:
            guard = _pressed(guard, reason, now)
        case IdleChanged(idle):
            guard = evolve(guard, idle=idle)
        case Reconfigured():
            guard = _reconfigured(guard, event)
        case RestartAdmitted():
            guard = _admitted(guard, effects)
        case RestartRefused() if guard.phase is Phase.ASKED:
            guard = _refused(guard, event, now, effects)
        case RestartPostponed(remaining) if guard.phase is Phase.ASKED:
            guard = evolve(guard, phase=Phase.WATCHING, not_before=now + max(remaining, RETRY_PAUSE))
        case RestartWithdrawn() if guard.phase is Phase.ASKED:
            guard = evolve(guard, phase=Phase.WATCHING)
        case RestartDone(generation) if guard.phase in (Phase.ASKED, Phase.RESTARTING):
            guard = _done(guard, generation, now, effects)
        case RestartBroken(reason) if guard.phase in (Phase.ASKED, Phase.RESTARTING):
            effects.append(Failed(reason))
            guard = evolve(guard, phase=Phase.WATCHING, critical_run=0, due_since=None, pressed="", not_before=now + BROKEN_PAUSE)
            guard = evolve(guard, outlook=guard.outlook.anew())
        case _:
            pass
    guard = ending.step(blindness.noted(guard, event, now), event)
    if guard.attribution is not None and guard.needs_restart and not (guard.blind or guard.pressure.fresh):
        if isinstance(event, Sampled) and event.exact:
            guard = ending.act(guard, now, effects)
        elif _asks(guard, now) or ending.culprits_of(guard, now):
            effects.append(Look())
            return guard, tuple(effects)
    guard = holding.step(guard, event, now, effects)
    return _act(guard, now, effects), tuple(effects)


def next_wake(guard: Guard) -> float | None:
    """When a `Tick` is needed if nothing else happens before; None: not at all."""
    return min((at for at in (restart_at(guard), holding.wake(guard), blindness.wake(guard)) if at is not None), default=None)


def restart_at(guard: Guard) -> float | None:
    """When a restart that is due for the leaf's memory is asked for; None: when something else happens first, or none is due."""
    return None if guard.blocked or not _wants_restart(guard) else _moment(guard)


def is_void(guard: Guard, asked: Restart, now: float) -> bool:
    """Whether a restart that was asked for and has not begun is not to be done like that any more."""
    if guard.phase is not Phase.ASKED:
        return False
    if not guard.alive or (guard.level is MemoryState.EMERGENCY and not asked.urgent):
        return True
    return not guard.blind and (guard.due_since is None or now < _moment(guard))


def _sampled(guard: Guard, sample: Sampled, now: float, effects: list[Effect]) -> Guard:
    if sample.generation != guard.generation or not guard.alive:
        return guard
    if guard.blind:
        effects.append(Sighted())
    pressure, change = (again if sample.exact else feel)(guard.pressure, sample.total_bytes, now)
    level = pressure.level
    if change is not None:
        effects.append(LevelChanged(change.old, level, sample.total_bytes))
        if change.is_rise:
            effects.append(ThresholdExceeded(level, sample.total_bytes, pressure.thresholds.enter_bytes(level)))
    outlook = guard.outlook if sample.exact else look_ahead(guard.outlook, pressure, guard.policy.prediction_horizon, now)
    run = guard.critical_run + (not sample.exact) if level.reaches(MemoryState.CRITICAL) else 0
    guard = evolve(guard, pressure=pressure, outlook=outlook, critical_run=run, blind=False)
    due = (now if guard.due_since is None else guard.due_since) if guard.needs_restart or guard.pressed else None
    reported = _still_reported(guard)
    if due != guard.due_since or reported is not guard.reported:
        guard = evolve(guard, due_since=due, reported=reported)
    first = guard.phase is Phase.JUDGING
    if first:
        guard = _up(guard, sample.total_bytes, effects)
    guard = _judged(guard, sample.total_bytes, now, effects, first=first)
    if level is MemoryState.NORMAL and not guard.pressed:
        prepared = guard.prepared and outlook.is_foreseen
        if guard.blocked or prepared is not guard.prepared:
            guard = evolve(guard, blocked=False, prepared=prepared)
        guard = _recovered(guard, "memory is back to normal", effects)
    elif guard.ladder.asked_by(Cause.RESTART_REFUSED) is not None:
        guard = _degraded(guard, "restarts are still refused", effects)
    return guard


def _up(guard: Guard, total_bytes: int, effects: list[Effect]) -> Guard:
    if total_bytes < guard.pressure.thresholds.critical_bytes:
        effects.append(Completed(total_bytes))
    return evolve(guard, phase=Phase.WATCHING)


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
        guard = evolve(guard, floor_bytes=floor, pressure=evolve(guard.pressure, thresholds=thresholds))
    return guard if probation is guard.probation else evolve(guard, probation=probation)


def _unread(guard: Guard, reason: str, now: float, effects: list[Effect]) -> Guard:
    if not guard.alive:
        return guard
    if not guard.blind:
        effects.append(Blinded(reason))
    elif guard.phase is Phase.JUDGING:
        effects.append(Completed(None))  # nobody can say more of it
        guard = evolve(guard, phase=Phase.WATCHING)
    pressure, _ = feel(guard.pressure, None, now)
    return evolve(guard, pressure=pressure, blind=True)


def _started(guard: Guard, generation: int, now: float, idle: bool = True) -> Guard:
    if guard.generation is not None and generation <= guard.generation:
        return guard
    return evolve(
        guard,
        generation=generation,
        alive=True,
        idle=idle,
        pressure=guard.pressure.renewed(),
        outlook=Outlook(),
        critical_run=0,
        due_since=None,
        prepared=False,
        reported=None,
        pressed="",
        probation=Probation(now),
    )


def _exited(guard: Guard, generation: int, effects: list[Effect]) -> Guard:
    if generation != guard.generation:
        return guard
    guard = evolve(guard, alive=False, critical_run=0, due_since=None, pressed="")
    if guard.phase is Phase.JUDGING:
        effects.append(Failed("the new life ended before its memory was known"))
        guard = evolve(guard, phase=Phase.WATCHING)
    return guard


def _reconfigured(guard: Guard, wanted: Reconfigured) -> Guard:
    policy = guard.policy if wanted.policy is None else wanted.policy
    configured = guard.configured if wanted.thresholds is None else wanted.thresholds
    pressure = evolve(guard.pressure, thresholds=raised(configured, guard.floor_bytes))
    return evolve(guard, policy=policy, configured=configured, pressure=pressure)


def _admitted(guard: Guard, effects: list[Effect]) -> Guard:
    return _recovered(evolve(guard, phase=Phase.RESTARTING, not_before=None, blocked=False), "a restart was admitted", effects)


def _refused(guard: Guard, event: RestartRefused, now: float, effects: list[Effect]) -> Guard:
    effects.append(Refused(event.reason, event.retry_in))
    later = None if event.retry_in is None else now + max(event.retry_in, RETRY_PAUSE)
    guard = evolve(guard, phase=Phase.WATCHING, not_before=later, blocked=later is None)
    guard = _pressed(guard, "", now)  # whoever pressed looks for another leaf
    return _degraded(guard, event.reason, effects)


def _pressed(guard: Guard, reason: str, now: float) -> Guard:
    """A restart is due for a reason that is not its own, or no longer for that."""
    due = guard.due_since if guard.due_since is not None else now
    return evolve(guard, pressed=reason, due_since=due if reason or (guard.needs_restart and guard.due_since is not None) else None)


def _done(guard: Guard, generation: int, now: float, effects: list[Effect]) -> Guard:
    guard = _started(guard, generation, now)
    if not guard.alive:
        effects.append(Failed("the new life ended at once"))
        return evolve(guard, phase=Phase.WATCHING)
    probation = evolve(guard.probation or Probation(now), controlled=True)
    return evolve(guard, phase=Phase.JUDGING, probation=probation)


def _degraded(guard: Guard, reason: str, effects: list[Effect]) -> Guard:
    mode = DegradationMode.EMERGENCY if guard.level is MemoryState.EMERGENCY else DegradationMode.READ_ONLY
    return _moved(guard, *degrade(guard.ladder, mode, Cause.RESTART_REFUSED), reason, effects)


def _recovered(guard: Guard, reason: str, effects: list[Effect]) -> Guard:
    if guard.ladder.asked_by(Cause.RESTART_REFUSED) is None:
        return guard
    return _moved(guard, *recover(guard.ladder, Cause.RESTART_REFUSED), reason, effects)


def _moved(guard: Guard, ladder: Ladder, change: ModeChange | None, reason: str, effects: list[Effect]) -> Guard:
    if change is not None:
        effects.append(Degrade(change.new, reason, change.old))
    return guard if ladder == guard.ladder else evolve(guard, ladder=ladder)


def _act(guard: Guard, now: float, effects: list[Effect]) -> Guard:
    """Restart or prepare, if the state after the event calls for it."""
    if blindness.is_due(guard, now):
        return _request(guard, blindness.reason(guard, now), False, None, effects)
    if not guard.alive or guard.phase is not Phase.WATCHING or guard.pressure.fresh:
        return guard
    if guard.level is MemoryState.NORMAL and not guard.outlook.is_foreseen and not guard.pressed:
        return guard
    if _asks(guard, now):
        return _ask(guard, effects)
    if not guard.prepared and not guard.policy.dry_run:
        soon = in_words(guard.outlook)
        itself = f"memory is at {_mib(guard.pressure.total_bytes)}, {guard.level.value}{soon and f'; {soon}'}"
        effects.append(Prepare(guard.pressed or itself))
        return evolve(guard, prepared=True)
    return guard


def _asks(guard: Guard, now: float) -> bool:
    """Whether a restart is asked for now."""
    return _wants_restart(guard) and not guard.blocked and now >= _moment(guard) and not guard.pressure.fresh


def _wants_restart(guard: Guard) -> bool:
    if guard.ending.under_way:
        return False  # what it is due for may be gone in a moment
    return guard.alive and guard.phase is Phase.WATCHING and guard.due_since is not None and not _is_reported(guard)


def _still_reported(guard: Guard) -> MemoryState | None:
    """What a dry run has said, as long as it is about what is so now. What it said at level normal was not about its memory."""
    said = guard.reported
    if said is None or guard.pressed:
        return said
    return said if said is not MemoryState.NORMAL and guard.level.reaches(said) else None


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
    grew = "" if guard.attribution is None or not guard.attribution.words else f"; {guard.attribution.words}"
    reason = guard.pressed or f"memory is at {_mib(total)}, {level.value} ({bound}){why}{grew}"
    return _request(guard, reason, urgent, total, effects)


def _request(guard: Guard, reason: str, urgent: bool, total: int | None, effects: list[Effect]) -> Guard:
    level = guard.level
    if guard.policy.dry_run:
        effects.append(WouldRestart(reason, urgent, level, total))
        return evolve(guard, reported=min(level, MemoryState.CRITICAL, key=lambda level: level.rank))
    effects.append(Restart(reason, urgent, level, total))
    return evolve(guard, phase=Phase.ASKED)
