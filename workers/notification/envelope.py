"""An event of ours as Claude MPM's monitor takes it: one of its types and subtypes, with the event itself inside. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

METRIC: Final = ("performance", "metric")
STATUS: Final = ("system", "status")
CLAUDE: Final = ("claude", "status")
STARTED: Final = ("claude", "started")
STOPPED: Final = ("claude", "stopped")
ERROR: Final = ("error", "occurred")

_OF_NAMES: Final = {
    METRIC: (
        "memory_level_changed memory_warning memory_threshold_exceeded memory_floor_changed leaf_held leaf_released host_memory_changed "
        "oom_killed"
    ),
    CLAUDE: (
        "restart_initiated restart_completed child_restarted restart_deferred conversation_started degradation_changed state_captured "
        "state_restored"
    ),
    ERROR: (
        "restart_failed restart_refused capture_failed supervisor_gave_up child_start_failed child_unresponsive monitoring_degraded "
        "notification_failed notification_ignored output_failed events_lost sentry_lost cgroup_unavailable configuration_rejected"
    ),
}
_KINDS: Final = {name: kind for kind, names in _OF_NAMES.items() for name in names.split()}
_LIVES: Final = {"child_started": STARTED, "child_exited": STOPPED, "child_terminated": STOPPED}
LEAF: Final = "leaf"


def kind_of(name: str, path: tuple[str, ...]) -> tuple[str, str]:
    """Its type and subtype there. What it has no word for is the system's status.

    Args:
        name: Of the event.
        path: What it is about; of lives only a leaf's are Claude's.
    """
    if name in _LIVES and path[-1:] == (LEAF,):
        return _LIVES[name]
    return _KINDS.get(name, STATUS)


def is_worth(name: str, path: tuple[str, ...]) -> bool:
    """Whether a dashboard should show it: Claude Code's own hooks tell it of turns, and how our workers come and go is nobody's affair."""
    return name != "claude_hook" and (name not in _LIVES or path[-1:] == (LEAF,))


def envelope(told: Mapping[str, Any], session_id: str | None = None, cwd: str | None = None) -> dict[str, Any]:
    """What is posted.

    Args:
        told: The event as in the event stream, without secrets.
        session_id: The conversation that it is about.
        cwd: Where the agent works.

    Returns:
        JSON data. The monitor looks for the names of its own fields in the innermost ``data``, so ours are one level further in, under
        ``details``.
    """
    kind, subtype = kind_of(told["event"], tuple(told["path"]))
    inner: dict[str, Any] = {
        "name": told["event"],
        "run": told["run"],
        "seq": told["seq"],
        "path": "/".join(told["path"]),
        "generation": told["generation"],
        "details": told["data"],
    }
    outer: dict[str, Any] = {
        "event": "mpm_event",
        "source": "system",
        "type": kind,
        "subtype": subtype,
        "timestamp": told["time"],
        "data": inner,
    }
    about = {"session_id": session_id, "cwd": cwd, "correlation_id": told["run"]}
    outer |= {key: value for key, value in about.items() if value is not None}
    return {"namespace": "system", "event": "claude_event", "data": outer}
