"""What Claude MPM's monitor is told: the kinds that it knows, and fields that it finds by its own rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.notification.envelope import CLAUDE, ERROR, METRIC, STARTED, STATUS, STOPPED, envelope, is_worth, kind_of

LEAF = ("guardian", "agents", "claude", "leaf")
TYPES = {
    "hook",
    "system",
    "session",
    "file",
    "connection",
    "memory",
    "git",
    "todo",
    "ticket",
    "agent",
    "error",
    "performance",
    "claude",
    "test",
    "code",
    "tool",
    "subagent",
}
"""All types that its normalizer knows."""


def told(name: str, path: tuple[str, ...] = LEAF, data: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "v": 1,
        "run": "5f1c",
        "seq": 17,
        "time": "2026-01-02T03:04:05.678901Z",
        "monotonic": 1.0,
        "event": name,
        "path": list(path),
        "generation": 2,
        "data": data or {},
    }


def unwrapped(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The outer and the innermost data, as the monitor's own handler finds them."""
    outer = inner = body["data"]
    while isinstance(inner.get("data"), dict):
        inner = inner["data"]
    return outer, inner


@pytest.mark.parametrize(
    ("name", "path", "kind"),
    [
        ("memory_threshold_exceeded", LEAF, METRIC),
        ("memory_level_changed", LEAF, METRIC),
        ("child_started", LEAF, STARTED),
        ("child_exited", LEAF, STOPPED),
        ("child_terminated", LEAF, STOPPED),
        ("restart_completed", LEAF, CLAUDE),
        ("conversation_started", LEAF, CLAUDE),
        ("restart_failed", LEAF, ERROR),
        ("events_lost", ("guardian",), ERROR),
        ("health_changed", ("guardian",), STATUS),
        ("run_finished", ("guardian",), STATUS),
        ("one_of_a_later_version", ("guardian",), STATUS),
    ],
)
def test_kinds(name: str, path: tuple[str, ...], kind: tuple[str, str]) -> None:
    """Each is one of the monitor's own."""
    assert kind_of(name, path) == kind
    assert kind[0] in TYPES


def test_what_is_not_told() -> None:
    """Turns, of which Claude MPM's own hooks tell, and our workers' lives; what fails is told, whatever it is."""
    assert not is_worth("claude_hook", LEAF)
    assert not is_worth("child_started", ("guardian", "services", "state"))
    assert is_worth("child_started", LEAF)
    assert is_worth("supervisor_gave_up", ("guardian", "services"))


def test_the_envelope() -> None:
    """As in the monitor's own documents, with the event inside."""
    body = envelope(told("restart_initiated", data={"reason": "memory", "memory_mb": 512.3}), "some-session", "/project")
    assert body == {
        "namespace": "system",
        "event": "claude_event",
        "data": {
            "event": "mpm_event",
            "source": "system",
            "type": "claude",
            "subtype": "status",
            "timestamp": "2026-01-02T03:04:05.678901Z",
            "data": {
                "name": "restart_initiated",
                "run": "5f1c",
                "seq": 17,
                "path": "guardian/agents/claude/leaf",
                "generation": 2,
                "details": {"reason": "memory", "memory_mb": 512.3},
            },
            "session_id": "some-session",
            "cwd": "/project",
            "correlation_id": "5f1c",
        },
    }
    assert "session_id" not in envelope(told("restart_initiated"))["data"]


OURS = ("source", "session_id", "sessionId", "cwd", "working_directory", "type", "subtype", "timestamp", "correlation_id", "data")


@given(st.dictionaries(st.sampled_from([*OURS, "reason"]), st.text() | st.dictionaries(st.sampled_from(OURS), st.text())))
def test_nothing_of_an_event_is_taken_for_a_field_of_the_monitors(data: dict[str, Any]) -> None:
    """Whatever the fields of an event are called, the monitor finds ours where it looks, and the event as a whole."""
    outer, inner = unwrapped(json.loads(json.dumps(envelope(told("run_finished", data=data), "s", "/p"))))
    assert not set(OURS) & set(inner)
    assert inner["details"] == data
    assert (outer["source"], outer["session_id"], outer["cwd"]) == ("system", "s", "/p")
