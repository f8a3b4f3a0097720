"""What follows from the decision about a leaf: its effects, carried out. Imported with the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from .restart import restart

if TYPE_CHECKING:
    from anyio.abc import TaskGroup


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
        case effects.Look():
            from .afresh import looked_afresh  # here: as for `end_tools`
            from .worker import fold

            fold(ledger, leaf, looked_afresh(ledger, leaf, anyio.current_time()), tasks)
        case effects.EndTools():
            from .tools import end_tools  # here: most leaves have no tools

            tasks.start_soon(end_tools, ledger, leaf, effect)
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
