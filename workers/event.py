"""The guardian's events; the tree's own are in `supervisor`. Names and fields are the contract of the event stream."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from supervisor import Event

from .policy.health import Health
from .policy.ladder import DegradationMode
from .policy.pressure import MemoryState

MIB = 1024 * 1024


@attrs.frozen(repr=False, eq=False)
class MonitoringStarted(Event):
    """The memory of this leaf is watched from now on, by `reader`."""

    name: ClassVar[str] = "monitoring_started"
    reader: str = ""
    warning_bytes: int = 0
    critical_bytes: int = 0
    emergency_bytes: int = 0


@attrs.frozen(repr=False, eq=False)
class MonitoringStopped(Event):
    """It no longer is; `samples` is how many were taken."""

    name: ClassVar[str] = "monitoring_stopped"
    samples: int = 0
    peak_bytes: int | None = None


@attrs.frozen(repr=False, eq=False)
class MonitoringDegraded(Event):
    """Memory cannot be read (`blind`), or can be again, or another reader than before reads it.

    `before` and `after` are readers, ``from`` and ``to`` in the event stream; None where none works.
    """

    name: ClassVar[str] = "monitoring_degraded"
    blind: bool = False
    reason: str = ""
    before: str | None = None
    after: str | None = None

    def as_data(self) -> dict[str, Any]:
        """Its fields, under the names of the event stream."""
        return {"blind": self.blind, "reason": self.reason, "from": self.before, "to": self.after}


@attrs.frozen(repr=False, eq=False)
class LeafHeld(Event):
    """Nothing of the leaf runs, for `seconds` at most, so that its state can be captured; `way` says how: ``freeze``, ``limit``."""

    name: ClassVar[str] = "leaf_held"
    way: str = ""
    seconds: float = 0.0
    total_bytes: int = 0
    memory_mb: float = 0.0


@attrs.frozen(repr=False, eq=False)
class LeafReleased(Event):
    """A leaf that was held goes on."""

    name: ClassVar[str] = "leaf_released"
    reason: str = ""


@attrs.frozen(repr=False, eq=False)
class ToolEnded(Event):
    """A part of the leaf's tree was ended because it held the memory that made a restart due; the leaf itself goes on.

    `role` is ``tool`` or ``mcp``, `what` its name (``name`` in the event stream), `pid` that of its first process; `held_bytes` is what it
    had, `freed_bytes` how much of that is given back. `how` is ``terminated`` when all of it ended at SIGTERM, ``killed`` when some of it
    had to be, ``left`` when some of it could not be.
    """

    name: ClassVar[str] = "tool_ended"
    role: str = ""
    what: str = ""
    pid: int = 0
    held_bytes: int = 0
    freed_bytes: int = 0
    how: str = ""
    reason: str = ""

    def as_data(self) -> dict[str, Any]:
        """Its fields, under the names of the event stream."""
        sizes = {"held_bytes": self.held_bytes, "freed_bytes": self.freed_bytes}
        return {"role": self.role, "name": self.what, "pid": self.pid, **sizes, "how": self.how, "reason": self.reason}


@attrs.frozen(repr=False, eq=False)
class MemoryLevelChanged(Event):
    """The level of the leaf's whole tree changed. What is foreseen is told as in `MemoryWarning`."""

    name: ClassVar[str] = "memory_level_changed"
    old: MemoryState = MemoryState.NORMAL
    new: MemoryState = MemoryState.NORMAL
    total_bytes: int = 0
    memory_mb: float = 0.0
    forecast_level: MemoryState | None = None
    forecast_seconds: float | None = None
    forecast_confidence: float | None = None
    growth_bytes_per_second: float | None = None


@attrs.frozen(repr=False, eq=False)
class MemoryFloorChanged(Event):
    """A restart showed what the leaf weighs from the start, and thresholds moved above that; or it weighs less again (None)."""

    name: ClassVar[str] = "memory_floor_changed"
    floor_bytes: int | None = None
    warning_bytes: int = 0
    critical_bytes: int = 0
    emergency_bytes: int = 0


@attrs.frozen(repr=False, eq=False)
class MemoryThresholdExceeded(Event):
    """The total passed a threshold on its way up."""

    name: ClassVar[str] = "memory_threshold_exceeded"
    level: MemoryState = MemoryState.WARNING
    total_bytes: int = 0
    threshold_bytes: int = 0
    memory_mb: float = 0.0


@attrs.frozen(repr=False, eq=False)
class MemoryWarning(Event):
    """For the user: memory is above normal, or will soon be critical, and the guardian prepares.

    Where it is foreseen with confidence (0 to 1) that memory reaches critical, or emergency when it is critical already:
    which level, in how many seconds, and how fast memory grows; else all four are None.
    """

    name: ClassVar[str] = "memory_warning"
    message: str = ""
    memory_mb: float = 0.0
    forecast_level: MemoryState | None = None
    forecast_seconds: float | None = None
    forecast_confidence: float | None = None
    growth_bytes_per_second: float | None = None


@attrs.frozen(repr=False, eq=False)
class RestartInitiated(Event):
    """A controlled restart was admitted and begins; `attempt_number` counts within the window. Memory is None when it is unknown."""

    name: ClassVar[str] = "restart_initiated"
    reason: str = ""
    memory_mb: float | None = 0.0
    attempt_number: int = 0
    level: MemoryState = MemoryState.CRITICAL
    urgent: bool = False


@attrs.frozen(repr=False, eq=False)
class RestartCompleted(Event):
    """The new life is up and below critical; `seconds` from `RestartInitiated` to its first sample. Memory is None when it is unknown."""

    name: ClassVar[str] = "restart_completed"
    reason: str = ""
    memory_mb: float | None = 0.0
    attempt_number: int = 0
    seconds: float = 0.0


@attrs.frozen(repr=False, eq=False)
class RestartFailed(Event):
    """A restart that was admitted did not help, or did not come up."""

    name: ClassVar[str] = "restart_failed"
    reason: str = ""
    memory_mb: float | None = None


STOPPED: Final = "it is stopped"
"""What is `wanted` where a leaf that may not be restarted is ended for good, because the host runs out of memory."""


@attrs.frozen(repr=False, eq=False)
class RestartRefused(Event):
    """A restart was wanted and is not done; the leaf is left alone, or, if `wanted` is `STOPPED`, ended.

    `retry_in` seconds, None when time alone does not help.
    """

    name: ClassVar[str] = "restart_refused"
    reason: str = ""
    retry_in: float | None = None
    wanted: str = ""


@attrs.frozen(repr=False, eq=False)
class DegradationChanged(Event):
    """The mode changed, and why."""

    name: ClassVar[str] = "degradation_changed"
    old: DegradationMode = DegradationMode.NORMAL
    new: DegradationMode = DegradationMode.NORMAL
    reason: str = ""


@attrs.frozen(repr=False, eq=False)
class HealthChanged(Event):
    """The verdict about the host changed; `reasons` say in words what is wrong with it now, the worst first."""

    name: ClassVar[str] = "health_changed"
    old: Health = Health.HEALTHY
    new: Health = Health.HEALTHY
    reasons: tuple[str, ...] = ()


@attrs.frozen(repr=False, eq=False)
class HostMemoryChanged(Event):
    """How short of memory the host is changed. `stall` is the share of the time in which everything waited for memory; None is unknown."""

    name: ClassVar[str] = "host_memory_changed"
    old: MemoryState = MemoryState.NORMAL
    new: MemoryState = MemoryState.NORMAL
    reason: str = ""
    available_bytes: int | None = None
    total_bytes: int | None = None
    stall: float | None = None


@attrs.frozen(repr=False, eq=False)
class NotificationFailed(Event):
    """Somebody could not be told: `channel` is ``hook``, ``hooks``, ``desktop``, ``signal``, ``mode_file`` or ``status_line``.

    Said once until it works again. ``hook`` is the user's command for events, ``hooks`` are those of Claude Code.
    """

    name: ClassVar[str] = "notification_failed"
    channel: str = ""
    reason: str = ""


@attrs.frozen(repr=False, eq=False)
class StateCaptured(Event):
    """A snapshot is on disk."""

    name: ClassVar[str] = "state_captured"
    state_id: str = ""
    file: str = ""
    reason: str = ""
    seconds: float = 0.0


@attrs.frozen(repr=False, eq=False)
class CaptureFailed(Event):
    """No snapshot was written; earlier ones are untouched. With a `part`, one was written that lacks it: ``journal``, ``conversation``."""

    name: ClassVar[str] = "capture_failed"
    reason: str = ""
    cause: str = ""
    part: str = ""


@attrs.frozen(repr=False, eq=False)
class RunFinished(Event):
    """The run is over; `source` says who decided: the command, a signal, restart protection, or a fault of ours."""

    name: ClassVar[str] = "run_finished"
    exit_code: int = 0
    source: str = "command"


def mib(total_bytes: int) -> float:
    """Bytes as MiB, to a tenth."""
    return round(total_bytes / MIB, 1)
