"""Health: folds samples and news of each leaf into its level, and carries out what the decision asks for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import anyio

from supervisor import CallError

from ..event import (
    MemoryFloorChanged,
    MemoryLevelChanged,
    MemoryThresholdExceeded,
    MemoryWarning,
    MonitoringDegraded,
    RestartCompleted,
    RestartFailed,
    RestartRefused,
    mib,
)
from ..ledger import CaptureRequest, Leaf, Ledger, ModeRequest
from ..policy import decide, effects
from ..policy.ladder import Activity, Cause, DegradationMode
from .holding import hold, limited, release, stop
from .restart import requested, restart
from .turns import Turns

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus

SETTLING: Final = 0.5
"""Seconds from a start to the first sample: what a process weighs before it has loaded anything says nothing."""


async def health(ledger: Ledger, *, task_status: TaskStatus[None]) -> None:
    """Decide, until cancelled.

    **Cancellation:** at any time; a restart that was asked for goes on in the supervisor, its outcome is then unknown here.
    """
    ledger.turns = Turns(ledger)  # whoever had a turn, or waited for one, went with this worker's last life
    async with anyio.create_task_group() as tasks:
        for leaf in ledger.leaves:
            if leaf.guard.phase in (decide.Phase.ASKED, decide.Phase.RESTARTING):
                # whoever carried it out went with this worker's last life
                decided(ledger, leaf, decide.RestartBroken("the health worker was restarted meanwhile"), tasks)
        tasks.start_soon(serve_requests, ledger, tasks)
        task_status.started()
        wakes = wakes_of(ledger)
        while True:
            with anyio.CancelScope(deadline=min(wakes.values(), default=math.inf)) as waiting:
                news = await ledger.news.get()
            while not waiting.cancelled_caught:
                decided(ledger, news.leaf, news.event, tasks)
                # of a thousand leaves few ever wait for a time
                wakes.pop(news.leaf.name, None)
                if news.leaf.gone:  # and another one may have its name
                    wakes = wakes_of(ledger)
                elif (at := decide.next_wake(news.leaf.guard)) is not None:
                    wakes[news.leaf.name] = at
                try:
                    news = ledger.news.take()  # to wait for each of a thousand samples costs as much as to decide
                except anyio.WouldBlock:
                    break
            if waiting.cancelled_caught:
                for leaf in ledger.leaves:
                    decided(ledger, leaf, decide.Tick(), tasks)
                wakes = wakes_of(ledger)
            ledger.turns.grant()  # what one sweep saw is known: the largest of it goes first


def wakes_of(ledger: Ledger) -> dict[str, float]:
    """Who waits for a time, and for which."""
    return {leaf.name: at for leaf in ledger.leaves if (at := decide.next_wake(leaf.guard)) is not None}


def decided(ledger: Ledger, leaf: Leaf, event: decide.Event, tasks: TaskGroup) -> None:
    """Take one event about one leaf, and do what follows from it; nothing follows for one that is no longer there."""
    if leaf.gone:
        return
    now = anyio.current_time()
    leaf.guard, wanted = decide.step(leaf.guard, event, now)
    if isinstance(event, decide.IdleChanged | decide.LeafStarted | decide.LeafExited):
        ledger.turned()
    elif isinstance(event, decide.Reconfigured):
        ledger.look(leaf, now)
    if isinstance(event, decide.Sampled):
        # from the sample on, as the probe reckons: while the interval stays the same, it need not be woken to be told so
        since = now if leaf.sample is None else leaf.sample.at
        ledger.look(leaf, since + ledger.pause(leaf, now))
        ledger.on_sample()
    elif isinstance(event, decide.LeafStarted):
        ledger.look(leaf, now + SETTLING)
    elif isinstance(event, decide.Unread):
        limited(leaf, blind=True)  # each life anew
    for effect in wanted:
        perform(ledger, leaf, effect, tasks)
    turn = None if ledger.turns is None or leaf.guard.phase is not decide.Phase.ASKED else ledger.turns.waiting(leaf)
    if ledger.turns is not None and turn is not None and turn.wanted is not None and decide.is_void(leaf.guard, turn.wanted, now):
        ledger.turns.withdraw(turn)
        decided(ledger, leaf, decide.RestartWithdrawn(), tasks)


async def serve_requests(ledger: Ledger, tasks: TaskGroup) -> None:
    """Carry out the restarts that somebody asks for."""
    while True:
        request = await ledger.restarts.get()
        assert ledger.turns is not None
        tasks.start_soon(requested, ledger, request, ledger.turns.join(request.leaf))
        ledger.turns.grant()


def perform(ledger: Ledger, leaf: Leaf, effect: effects.Effect, tasks: TaskGroup) -> None:
    """Carry out one effect of the decision."""
    path, generation = leaf.path, leaf.guard.generation
    match effect:
        case effects.LevelChanged(old=old, new=new, total_bytes=total):
            ledger.emit(MemoryLevelChanged(path, old, new, total, mib(total), **foreseen(leaf), generation=generation))
        case effects.ThresholdExceeded(level=level, total_bytes=total, threshold_bytes=threshold):
            ledger.emit(MemoryThresholdExceeded(path, level, total, threshold, mib(total), generation=generation))
        case effects.Prepare(reason=reason):
            total = leaf.guard.pressure.total_bytes or 0
            ledger.emit(MemoryWarning(path, reason, mib(total), **foreseen(leaf), generation=generation))
            # its memory is what this is for, so it does not turn it off; and a leaf is held for nothing else
            if leaf.guard.holding.until is not None or leaf.ladder.permits(Activity.PREFETCH, besides=Cause.MEMORY):
                request = CaptureRequest(leaf, reason)
                ledger.captures.put(request)
                tasks.start_soon(prepared, ledger, request)
        case effects.Restart():
            assert ledger.turns is not None
            tasks.start_soon(restart, ledger, leaf, effect, ledger.turns.join(leaf, effect))
        case effects.WouldRestart(reason=reason):
            ledger.emit(RestartRefused(path, "dry run: decide and report, never act", None, reason, generation=generation))
        case effects.Refused(reason=reason, retry_in=retry_in):
            ledger.emit(RestartRefused(path, reason, retry_in, leaf.restart_reason, generation=generation))
        case effects.Completed(total_bytes=total):
            began = leaf.restarting_since
            seconds = 0.0 if began is None else round(anyio.current_time() - began, 3)
            memory_mb = None if total is None else mib(total)
            ledger.emit(RestartCompleted(path, leaf.restart_reason, memory_mb, leaf.attempt, seconds, generation=generation))
            leaf.restarting_since = None
        case effects.Helped():
            judged(ledger, leaf, success=True)
        case effects.FloorChanged(floor_bytes=floor, thresholds=limits):
            marks = limits.warning_bytes, limits.critical_bytes, limits.emergency_bytes
            ledger.emit(MemoryFloorChanged(path, floor, *marks, generation=generation))
        case effects.Ineffective(reason=reason, total_bytes=total):
            failed(ledger, leaf, reason, mib(total))
        case effects.Failed(reason=reason):
            failed(ledger, leaf, reason, None)
        case effects.Degrade(mode=mode, reason=reason):
            ledger.modes.put(ModeRequest(leaf, Cause.RESTART_REFUSED, None if mode is DegradationMode.NORMAL else mode, reason))
        case effects.Blinded(reason=reason):
            ledger.emit(MonitoringDegraded(path, True, reason, leaf.reader or None, None, generation=generation))
        case effects.Sighted():
            ledger.emit(MonitoringDegraded(path, False, "memory can be read again", None, leaf.reader, generation=generation))
            limited(leaf, blind=False)
        case effects.Hold():
            hold(ledger, leaf, effect)
        case effects.Release(reason=reason):
            release(ledger, leaf, reason)
        case effects.Stop(reason=reason):
            tasks.start_soon(stop, ledger, leaf, reason)


def foreseen(leaf: Leaf) -> dict[str, Any]:
    """What events say of the forecast; nothing where there is no confident one."""
    outlook = leaf.guard.outlook
    forecast = outlook.sure
    if forecast is None:
        return {}
    return {
        "forecast_level": outlook.level,
        "forecast_seconds": round(forecast.seconds, 1),
        "forecast_confidence": round(forecast.confidence, 2),
        "growth_bytes_per_second": round(forecast.bytes_per_second),
    }


def failed(ledger: Ledger, leaf: Leaf, reason: str, memory_mb: float | None) -> None:
    """A restart that was admitted did not help: restart protection is told, it counts as a failure."""
    ledger.emit(RestartFailed(leaf.path, reason, memory_mb, generation=leaf.guard.generation))
    leaf.restarting_since = None
    judged(ledger, leaf, success=False)


def judged(ledger: Ledger, leaf: Leaf, *, success: bool) -> None:
    """Tell restart protection whether the restart that began the present life helped."""
    generation = leaf.guard.generation
    if generation is None:
        return
    try:
        ledger.above(leaf).judge(leaf.path[-1], generation, success=success)
    except CallError:
        return  # the supervisor above it is gone
    ledger.count(leaf)


async def prepared(ledger: Ledger, request: CaptureRequest) -> None:
    """Wait for a capture in the background and tell the decision how it went."""
    ok = await ledger.captured(request, ledger.run.config.monitoring.capture_timeout)
    ledger.tell(request.leaf, decide.Prepared(ok))
