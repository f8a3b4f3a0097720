"""What the guardian's events are to a person: one line each, the status line, and the summary."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from supervisor import (
    TREE_WORDS,
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    Event,
    Line,
    StartFailed,
    Summary,
    Tone,
    Words,
    duration,
    format_bytes,
)

from .event import (
    MIB,
    CaptureFailed,
    DegradationChanged,
    HealthChanged,
    HostMemoryChanged,
    LeafHeld,
    LeafReleased,
    MemoryFloorChanged,
    MemoryLevelChanged,
    MemoryThresholdExceeded,
    MemoryWarning,
    MonitoringDegraded,
    MonitoringStarted,
    MonitoringStopped,
    NotificationFailed,
    RestartCompleted,
    RestartFailed,
    RestartInitiated,
    RestartRefused,
    RunFinished,
    StateCaptured,
    ToolEnded,
)
from .ledger import Leaf, Ledger
from .policy.health import Health
from .policy.ladder import DegradationMode
from .policy.outlook import in_words
from .policy.pressure import MemoryState

LISTED: Final = 10
"""Restarts that the summary tells one by one."""

TONES = {
    MemoryState.NORMAL: Tone.GOOD,
    MemoryState.WARNING: Tone.WARNING,
    MemoryState.CRITICAL: Tone.BAD,
    MemoryState.EMERGENCY: Tone.BAD,
}

MEANS = {
    DegradationMode.NORMAL: "back to normal",
    DegradationMode.WARNING: "looked at more often, no new agents",
    DegradationMode.READ_ONLY: "it should change nothing more until this is over",
    DegradationMode.EMERGENCY: "it should begin nothing new: save your work, and end it when you can",
}


def subject(path: tuple[str, ...]) -> str:
    """An agent's name for its leaf, nothing for the guardian itself, the path for anything else."""
    if path[1:2] == ("agents",) and len(path) > 2:
        return path[2]
    return "/".join(path[1:])


def _started(event: MonitoringStarted) -> Line:
    marks = (event.warning_bytes, event.critical_bytes, event.emergency_bytes)
    return Line("watched: warning {}, critical {}, emergency {}".format(*map(format_bytes, marks)))


def _level(event: MemoryLevelChanged) -> Line:
    return Line(f"memory {format_bytes(event.total_bytes)}: {event.old.value} -> {event.new.value}", TONES[event.new])


def _floor(event: MemoryFloorChanged) -> Line:
    marks = "warning {}, critical {}".format(*map(format_bytes, (event.warning_bytes, event.critical_bytes)))
    if event.floor_bytes is None:
        return Line(f"lighter again: {marks}", Tone.GOOD)
    return Line(f"weighs {format_bytes(event.floor_bytes)} from the start, so a restart frees nothing below: {marks} now", Tone.WARNING)


def _initiated(event: RestartInitiated) -> Line:
    return Line(f"restarting (number {event.attempt_number} in this window): {event.reason}", Tone.WARNING)


def _completed(event: RestartCompleted) -> Line:
    memory = "unknown" if event.memory_mb is None else format_bytes(int(event.memory_mb * MIB))
    return Line(f"restart done after {duration(event.seconds)}: memory {memory}", Tone.GOOD)


def _failed(event: RestartFailed) -> Line:
    what = "the restart failed" if event.memory_mb is None else "the restart did not help"
    return Line(f"{what}: {event.reason}", Tone.BAD)


def _refused(event: RestartRefused) -> Line:
    wanted = f" ({event.wanted})" if event.wanted else ""
    again = f"; may be possible in {duration(event.retry_in)}" if event.retry_in is not None else ""
    return Line(f"not restarted{wanted}: {event.reason}{again}", Tone.BAD)


def _degraded(event: DegradationChanged) -> Line:
    tone = Tone.GOOD if event.new is DegradationMode.NORMAL else Tone.BAD
    return Line(f"mode {event.new.value} ({MEANS[event.new]}): {event.reason}", tone)


def _sight(event: MonitoringDegraded) -> Line:
    if event.blind:
        return Line(f"memory cannot be read: {event.reason}", Tone.BAD)
    if event.before is None:
        return Line("memory can be read again", Tone.GOOD)
    return Line(f"memory is read by {event.after} now, not by {event.before}: {event.reason}", Tone.WARNING)


def _held(event: LeafHeld) -> Line:
    return Line(f"held for {duration(event.seconds)} at most, at {format_bytes(event.total_bytes)}, to capture its state", Tone.WARNING)


def _released(event: LeafReleased) -> Line:
    return Line(f"goes on: {event.reason}")


def _tool(event: ToolEnded) -> Line:
    what = f"{'MCP server' if event.role == 'mcp' else 'tool'} {event.what}".rstrip()
    how = {"terminated": "ended", "killed": "killed"}.get(event.how, "could NOT be ended")
    who = f"{what} (process {event.pid}) was {how}" if event.how != "left" else f"{what} (process {event.pid}) {how}"
    return Line(f"{who}, the session goes on: {event.reason}; {format_bytes(event.freed_bytes)} freed", Tone.WARNING)


def _health(event: HealthChanged) -> Line:
    tone = {Health.HEALTHY: Tone.GOOD, Health.DEGRADED: Tone.WARNING, Health.UNHEALTHY: Tone.BAD}[event.new]
    why = f": {'; '.join(event.reasons)}" if event.reasons else ""
    return Line(f"the host is {event.new.value}, it was {event.old.value}{why}", tone)


def _leaf_or_failure(event: Event, words: Words) -> Line | None:
    """What the tree says of a leaf, and of the guardian's own workers only what is wrong."""
    if event.path[-1:] == ("leaf",) or (isinstance(event, ChildExited) and not event.expected and not event.exit.is_clean):
        return words(event)
    return None


def _start_failed(event: ChildStartFailed) -> Line | None:
    """A restart that failed. A first start is told of as the fault that ends the run; a supervisor's says again what its child's said."""
    if event.generation == 1 or isinstance(event.exit.exception, StartFailed):
        return None
    return TREE_WORDS[ChildStartFailed](event)


WORDS: dict[type[Event], Words] = {
    ChildStartFailed: _start_failed,
    **{kind: partial(_leaf_or_failure, words=TREE_WORDS[kind]) for kind in (ChildStarted, ChildExited)},
    MonitoringStarted: _started,
    # what other lines have said already
    **dict.fromkeys((MonitoringStopped, MemoryThresholdExceeded, RunFinished), lambda event: None),
    MemoryLevelChanged: _level,
    MemoryFloorChanged: _floor,
    MemoryWarning: lambda event: Line(f"{event.message}: preparing for a restart", Tone.WARNING),
    RestartInitiated: _initiated,
    RestartCompleted: _completed,
    RestartFailed: _failed,
    RestartRefused: _refused,
    DegradationChanged: _degraded,
    HealthChanged: _health,
    HostMemoryChanged: lambda event: Line(f"{event.reason}: {event.old.value} -> {event.new.value}", TONES[event.new]),
    NotificationFailed: lambda event: Line(f"{event.channel}: {event.reason}", Tone.WARNING),
    StateCaptured: lambda event: Line(f"state captured in {duration(event.seconds)}: {event.state_id}"),
    CaptureFailed: lambda event: Line(f"{event.part or 'state'} NOT captured: {event.cause}", Tone.BAD),
    MonitoringDegraded: _sight,
    LeafHeld: _held,
    LeafReleased: _released,
    ToolEnded: _tool,
}


def status(leaf: Leaf) -> str:
    """One leaf in a few words, for the status line."""
    pressure = leaf.guard.pressure
    total = "?" if pressure.total_bytes is None else format_bytes(pressure.total_bytes)
    mode = "" if leaf.mode is DegradationMode.NORMAL else f", {leaf.mode.value}"
    soon = in_words(leaf.guard.outlook)
    return f"{leaf.name}: {total} of {format_bytes(pressure.thresholds.critical_bytes)}, {pressure.level.value}{mode}{soon and f', {soon}'}"


def summary_rows(ledger: Ledger, summary: Summary) -> list[tuple[str, str | None]]:
    """How long, how many restarts and why, peak memory, thresholds that look wrong, how each leaf ended, where its state is."""
    rows: list[tuple[str, str | None]] = [row for row in summary.rows() if row[0] != "restarts"]
    for leaf in ledger.leaves:
        of = f" of {leaf.name}" if len(ledger.leaves) > 1 else ""
        peak = leaf.guard.pressure.peak_bytes
        rows.append((f"restarts{of}", str(len(leaf.restarts))))
        if len(leaf.restarts) > LISTED:
            rows.append(("", f"... the last {LISTED}:"))
        for note in leaf.restarts[-LISTED:]:
            clock = time.strftime("%H:%M:%S", time.localtime(note.time))
            rows.append(("", f"{clock} {'controlled' if note.controlled else 'after a failure'}: {note.reason}"))
        rows.append((f"peak memory{of}", None if peak is None else format_bytes(peak)))
        suggestion = ledger.suggestion(leaf)
        if suggestion is not None and (wrong := suggestion.summary()) is not None:
            rows.append((f"thresholds{of}", wrong))
        rows.append((f"end{of}", leaf.exit.reason if leaf.exit is not None else None))
        rows.append((f"state{of}", leaf.state_file or "nothing was captured"))
    return rows
