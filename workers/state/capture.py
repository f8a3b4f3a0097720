"""Gathers the state of a leaf: from what its guardian knows, from /proc, and from git; nothing of it blocks the event loop."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.to_thread
import attrs

from supervisor import ProcessId, Value, identify

from ..redaction import redact_arguments, redact_environment, redact_text
from .git import LIMIT, git_status
from .model import CompleteState, MemoryPoint, PastRestart, ProcessSnapshot, ProjectState, RestartState, StateMetadata
from .store import new_state_id


@attrs.frozen(repr=False, eq=False)
class Subject(Value):
    """What a guardian knows of a leaf without asking the system; what it does not know is None.

    Attributes:
        agent: The agent's name.
        argv: The command as it was started.
        working_directory: Where it was started.
        path: Its path in the tree.
        run: The run it belongs to.
        process: Its root process.
        environment: What it was started with; None: what /proc tells.
        generation: The number of its life.
        uptime: Seconds since that life was up.
        samples: The last totals as (seconds before the capture, bytes), oldest first.
        peak_bytes: The highest total of all lives.
        level: The memory level.
    """

    agent: str
    argv: tuple[str, ...]
    working_directory: str
    path: tuple[str, ...] = ()
    run: str | None = None
    process: ProcessId | None = None
    environment: Mapping[str, str] | None = None
    generation: int | None = None
    uptime: float | None = None
    samples: tuple[tuple[float, int], ...] = ()
    peak_bytes: int | None = None
    level: str | None = None


async def capture(
    subject: Subject, reason: str, *, attempt: int | None = None, history: tuple[PastRestart, ...] = (), git_limit: float = LIMIT
) -> CompleteState:
    """Gather the state of a leaf; secrets are gone from it when this returns.

    Args:
        subject: What is known already.
        reason: Why it is captured.
        attempt: The number of the restart within its window, when one is the reason.
        history: The restarts before.
        git_limit: Seconds that git may take.

    **Cancellation:** leaves at once and ends git; nothing has been written.
    """
    seen = await anyio.to_thread.run_sync(_look, subject)
    git = await git_status(seen.working_directory, git_limit)
    now = time.time()
    process = ProcessSnapshot(
        pid=None if subject.process is None else subject.process.pid,
        created=None if subject.process is None else subject.process.created,
        argv=redact_arguments(subject.argv),
        environment=redact_environment(seen.environment),
        cwd=seen.cwd or seen.working_directory,
        generation=subject.generation,
        uptime=subject.uptime,
        memory=tuple(MemoryPoint(age, total_bytes) for age, total_bytes in subject.samples),
        peak_bytes=subject.peak_bytes,
        level=subject.level,
    )
    project = ProjectState(seen.working_directory)
    if git is not None:
        dirty_files = tuple(map(redact_text, git.dirty_files))
        branch = None if git.branch is None else redact_text(git.branch)
        project = ProjectState(seen.working_directory, git.head, branch, dirty_files, git.dirty_count)
    total_bytes = subject.samples[-1][1] if subject.samples else None
    past = tuple(attrs.evolve(one, reason=redact_text(one.reason), outcome=redact_text(one.outcome)) for one in history)
    return CompleteState(
        process,
        project,
        RestartState(redact_text(reason), subject.level, total_bytes, attempt, past),
        StateMetadata(new_state_id(now), now, subject.agent, subject.path, subject.run, seen.host, seen.versions),
    )


@attrs.frozen(repr=False, eq=False)
class _Seen(Value):
    working_directory: str
    environment: Mapping[str, str]
    cwd: str | None
    host: str
    versions: dict[str, str]


def _look(subject: Subject) -> _Seen:
    pid = None if subject.process is None else subject.process.pid
    environment, cwd = subject.environment, None
    if pid is not None:
        cwd = _link(f"/proc/{pid}/cwd")
        if environment is None:
            environment = _environment(f"/proc/{pid}/environ")
        if identify(pid) != subject.process:
            # it ended while it was read: what was read may be another's
            environment, cwd = subject.environment, None
    return _Seen(os.path.realpath(subject.working_directory), environment or {}, cwd, platform.node(), _versions())


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _environment(path: str) -> dict[str, str]:
    try:
        entries = Path(path).read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in entries if entry)
    return {name: value for name, sign, value in pairs if sign}


def _versions() -> dict[str, str]:
    from importlib import metadata

    try:
        own = metadata.version("memory-guardian")
    except metadata.PackageNotFoundError:
        own = "unknown"
    return {"memory-guardian": own, "python": platform.python_version(), "system": f"{platform.system()} {platform.release()}"}
