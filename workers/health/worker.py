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
from ..policy.pressure import interval
from .restart import requested, restart

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus

SETTLING: Final = 0.5
"""Seconds from a start to the first sample: what a process weighs before it has loaded anything says nothing."""


async def health(ledger: Ledger, *, task_status: TaskStatus[None]) -> None:
    """Decide, until cancelled.

    **Cancellation:** at any time; a restart that was asked for goes on in the supervisor, its outcome is then unknown here.
    """
    async with anyio.create_task_group() as tasks:
        for leaf in ledger.leaves:
            if leaf.guard.phase in (decide.Phase.ASKED, decide.Phase.RESTARTING):
                # whoever carried it out went with this worker's last life
                decided(ledger, leaf, decide.RestartBroken("the health worker was restarted meanwhile"), tasks)
        tasks.start_soon(serve_requests, ledger, tasks)
        task_status.started()
        while True:
            wakes = [decide.next_wake(leaf.guard) for leaf in ledger.leaves]
            with anyio.CancelScope(deadline=min((at for at in wakes if at is not None), default=math.inf)) as waiting:
                news = await ledger.news.get()
                decided(ledger, news.leaf, news.event, tasks)
            if waiting.cancelled_caught:
                for leaf in ledger.leaves:
                    decided(ledger, leaf, decide.Tick(), tasks)


def decided(ledger: Ledger, leaf: Leaf, event: decide.Event, tasks: TaskGroup) -> None:
    """Take one event about one leaf, and do what follows from it."""
    now = anyio.current_time()
    leaf.guard, wanted = decide.step(leaf.guard, event, now)
    if isinstance(event, decide.IdleChanged | decide.LeafStarted | decide.LeafExited):
        ledger.turned()
    elif isinstance(event, decide.Reconfigured):
        ledger.look(leaf, now)
    if isinstance(event, decide.Sampled):
        # from the sample on, as the probe reckons: while the interval stays the same, it need not be woken to be told so
        since = now if leaf.sample is None else leaf.sample.at
        ledger.look(leaf, since + interval(leaf.guard.pressure, ledger.intervals, now))
        ledger.on_sample()
    elif isinstance(event, decide.LeafStarted):
        ledger.look(leaf, now + SETTLING)
    for effect in wanted:
        perform(ledger, leaf, effect, tasks)


async def serve_requests(ledger: Ledger, tasks: TaskGroup) -> None:
    """Carry out the restarts that somebody asks for."""
    while True:
        tasks.start_soon(requested, ledger, await ledger.restarts.get())


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
            request = CaptureRequest(leaf, reason)
            ledger.captures.put(request)
            tasks.start_soon(prepared, ledger, request)
        case effects.Restart():
            tasks.start_soon(restart, ledger, leaf, effect)
        case effects.WouldRestart(reason=reason):
            ledger.emit(RestartRefused(path, "dry run: decide and report, never act", None, reason, generation=generation))
        case effects.Refused(reason=reason, retry_in=retry_in):
            ledger.emit(RestartRefused(path, reason, retry_in, leaf.restart_reason, generation=generation))
        case effects.Completed(total_bytes=total):
            began = leaf.restarting_since
            seconds = 0.0 if began is None else round(anyio.current_time() - began, 3)
            ledger.emit(RestartCompleted(path, leaf.restart_reason, mib(total), leaf.attempt, seconds, generation=generation))
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
        case effects.Degrade():
            leaf.mode = effect.mode
            ledger.modes.put(ModeRequest(leaf, effect))
        case effects.Blinded(reason=reason):
            ledger.emit(MonitoringDegraded(path, True, reason, generation=generation))
        case effects.Sighted():
            ledger.emit(MonitoringDegraded(path, False, "memory can be read again", generation=generation))


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
    with anyio.move_on_after(ledger.run.config.monitoring.capture_timeout):
        await request.done.wait()
    ledger.tell(request.leaf, decide.Prepared(request.ok))
