"""States for tests: what a guardian would have captured, with made-up values."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.state.model import (
    CompleteState,
    MemoryPoint,
    PastRestart,
    ProcessSnapshot,
    ProjectState,
    RestartState,
    StateMetadata,
)
from workers.state.store import StateStore, new_state_id

SESSION = "0b5e2f2a-1111-4222-8333-123456789abc"
VERSION_1 = Path(__file__).parent / "data" / "state-version-1.json.gz"
"""Written by the program when the format's version was 1."""


def captured(
    project: Path | str,
    *,
    age: float = 0.0,
    now: float | None = None,
    agent: str = "claude",
    reason: str = "memory is critical: 15.0 GiB",
    cwd: Path | str | None = None,
    environment: Mapping[str, str] | None = None,
    argv: tuple[str, ...] = ("claude", "--print"),
    conversation: dict[str, Any] | None = None,
    journal: dict[str, Any] | None = None,
    branch: str = "main",
) -> CompleteState:
    """A state of a project that was captured `age` seconds ago."""
    at = (time.time() if now is None else now) - age
    return CompleteState(
        ProcessSnapshot(
            42,
            4711,
            argv,
            dict({"PATH": "/bin"} if environment is None else environment),
            str(project if cwd is None else cwd),
            3,
            12.5,
            (MemoryPoint(1.0, 5), MemoryPoint(0.5, 15 << 30)),
            15 << 30,
            "critical",
        ),
        ProjectState(str(project), "abcdef0123456789", branch, ("a.py", "b.py"), 2),
        RestartState(reason, "critical", 15 << 30, 2, (PastRestart(at - 60.0, "memory", "controlled"),)),
        StateMetadata(new_state_id(at), at, agent, ("guardian", "agents", agent, "leaf"), "run", "host", {"memory-guardian": "0.1.0"}),
        conversation,
        journal,
    )


def saved(store: StateStore, project: Path | str, **more: Any) -> Path:
    """A state of a project on disk."""
    return store.save(project, captured(project, **more))
