"""Gathers the state of a leaf: from what its guardian knows, from /proc, from git, and from its conversation."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import anyio
import anyio.to_thread
import attrs

from ..redaction import redact_arguments, redact_environment, redact_text
from .following import Followed
from .git import LIMIT, GitStatus, git_status
from .looking import Seen, look
from .model import CompleteState, MemoryPoint, PastRestart, ProcessSnapshot, ProjectState, RestartState, StateMetadata
from .store import new_state_id
from .subject import Subject as Subject

__all__ = ["Subject", "capture"]


async def capture(
    subject: Subject,
    reason: str,
    *,
    attempt: int | None = None,
    history: tuple[PastRestart, ...] = (),
    git_limit: float = LIMIT,
    follow: Callable[[Seen], Followed] | None = None,
) -> CompleteState:
    """Gather the state of a leaf; secrets are gone from it when this returns. Nothing of it blocks the event loop.

    Args:
        subject: What is known already.
        reason: Why it is captured.
        attempt: The number of the restart within its window, when one is the reason.
        history: The restarts before.
        git_limit: Seconds that git may take.
        follow: Captures the conversation, in a thread, beside git; None: it is left out. See `Conversations.follow`.

    **Cancellation:** ends git and leaves; where the conversation is being read, once that is over. No state has been written.
    """
    git: GitStatus | None = None

    async def ask_git() -> None:
        nonlocal git
        git = await git_status(subject.working_directory, git_limit)

    def read() -> tuple[Seen, Followed]:
        seen = look(subject)
        return seen, Followed() if follow is None else follow(seen)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_git)
        seen, followed = await anyio.to_thread.run_sync(read)
    now = time.time()
    process = ProcessSnapshot(
        pid=None if subject.process is None else subject.process.pid,
        created=None if subject.process is None else subject.process.created,
        argv=redact_arguments(subject.argv),
        environment=dict(_redacted(tuple(seen.environment.items()))),
        cwd=seen.cwd or seen.working_directory,
        generation=subject.generation,
        uptime=subject.uptime,
        memory=tuple(MemoryPoint(age, total_bytes) for age, total_bytes in subject.samples),
        peak_bytes=subject.peak_bytes,
        level=subject.level,
        limits=seen.limits,
        last_exit=None if subject.last_exit is None else redact_text(subject.last_exit),
    )
    open_files = None if seen.open_files is None else tuple(map(redact_text, seen.open_files))
    project = ProjectState(seen.working_directory, open_files=open_files)
    if git is not None:
        branch = None if git.branch is None else redact_text(git.branch)
        dirty_files = tuple(map(redact_text, git.dirty_files))
        project = ProjectState(seen.working_directory, git.head, branch, dirty_files, git.dirty_count, open_files)
    total_bytes = subject.samples[-1][1] if subject.samples else None
    past = tuple(attrs.evolve(one, reason=redact_text(one.reason), outcome=redact_text(one.outcome)) for one in history)
    return CompleteState(
        process,
        project,
        RestartState(redact_text(reason), subject.level, total_bytes, attempt, past),
        StateMetadata(new_state_id(now), now, subject.agent, subject.path, subject.run, seen.host, {**seen.versions, **followed.versions}),
        followed.conversation,
        followed.journal,
    )


@lru_cache(maxsize=4)
def _redacted(environment: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """An environment without its secrets; a life has the same one at each capture."""
    return redact_environment(dict(environment))
