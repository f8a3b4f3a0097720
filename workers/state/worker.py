"""The state worker: captures what is asked for, one after the other, and says what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from supervisor import describe

from ..event import CaptureFailed, StateCaptured
from ..ledger import SpentRequest
from ..policy.pressure import MemoryState
from .files import StateWriteFailed

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import TaskStatus

    from ..config import GuardianRun
    from ..ledger import CaptureRequest, Leaf, Ledger
    from .capture import Subject
    from .model import CompleteState, PastRestart
    from .store import StateStore


async def state(ledger: Ledger, *, task_status: TaskStatus[None]) -> None:
    """Serve capture requests, until cancelled.

    **Cancellation:** at any time; what is on disk is whole.
    """
    task_status.started()
    while True:
        request = await ledger.captures.get()
        if isinstance(request, SpentRequest):
            await kept(ledger, request.leaf)
            continue
        try:
            await served(ledger, request)
        except Exception as error:  # this worker's own fault, which ends it: whoever waits hears that nothing was captured
            failed(ledger, request, describe(error))
            raise
        finally:
            request.done.set()
        if request.ok and ledger.run.config.persist_state:
            await tidied(ledger, request.leaf)


async def kept(ledger: Ledger, leaf: Leaf) -> None:
    """Write down what restart protection has spent; that this fails is said once."""
    if leaf.record is None or not leaf.is_unkept:
        return
    spent = ledger.spent(leaf)
    try:
        await anyio.to_thread.run_sync(leaf.record.save, spent)
        leaf.kept, leaf.unkept = spent, False
    except StateWriteFailed as error:
        if not leaf.unkept:
            ledger.emit(CaptureFailed(leaf.path, "the record of restart protection", str(error), generation=leaf.guard.generation))
        leaf.unkept = True


async def served(ledger: Ledger, request: CaptureRequest) -> None:
    """Capture once, or say why not; whoever has given up waiting has said so already."""
    leaf, generation = request.leaf, request.leaf.guard.generation
    if not ledger.run.config.persist_state:
        request.ok = True
        return
    began = anyio.current_time()
    # imported at the first capture: most guardians never come to one, and half a megabyte of theirs is saved
    from .capture import capture
    from .git import LIMIT
    from .keys import KeyUnavailable
    from .model import StateInvalid

    attempt = leaf.attempt if leaf.restarting_since is not None else None
    try:
        # in an emergency git may not take what the whole capture has
        patience = 0.5 if leaf.guard.level is MemoryState.EMERGENCY else LIMIT
        captured = await capture(subject(ledger, leaf), request.reason, attempt=attempt, history=past(leaf), git_limit=patience)
        # abandoned when the tree ends: what it leaves is a temporary file at worst
        path = await anyio.to_thread.run_sync(saved, ledger.run, leaf.agent.command.working_directory, captured, abandon_on_cancel=True)
    except (KeyUnavailable, StateWriteFailed, StateInvalid, OSError) as error:
        failed(ledger, request, str(error))
        return
    request.ok = True
    leaf.state_file = str(path)
    seconds = round(anyio.current_time() - began, 3)
    ledger.emit(StateCaptured(leaf.path, captured.metadata.state_id, str(path), request.reason, seconds, generation=generation))


def store_of(run: GuardianRun) -> StateStore:
    """Where the states of a run are kept, encrypted where that is configured. Blocks: a keyring may be asked.

    Raises:
        KeyUnavailable: There is no key where the configuration says.
    """
    from .seal import seal_of
    from .store import StateStore

    return StateStore(run.state_dir, seal_of(run.config.encryption))


def saved(run: GuardianRun, project: str, captured: CompleteState) -> Path:
    """Save a state; see `store_of` and `StateStore.save`."""
    return store_of(run).save(project, captured)


async def tidied(ledger: Ledger, leaf: Leaf) -> None:
    """Remove the states of a leaf's project that are not to be kept any more; nobody waits for it, and what came of it is told."""
    from ..event_state import StatesPruned
    from .files import project_key
    from .keys import KeyUnavailable
    from .retention import Pruned, prune, retention_of

    run, key = ledger.run, project_key(leaf.agent.command.working_directory)
    failed: tuple[str, ...] = ()
    try:
        done = await anyio.to_thread.run_sync(lambda: prune(store_of(run), key, retention_of(run.config.state)), abandon_on_cancel=True)
        failed = tuple(map(str, done.failed))
    except (KeyUnavailable, OSError) as error:
        done, failed = Pruned(key), (str(error),)
    if done.removed or failed:
        removed = tuple(entry.state_id for entry, _ in done.removed)
        ledger.emit(StatesPruned(leaf.path, removed, done.freed_bytes, failed, generation=leaf.guard.generation))


def failed(ledger: Ledger, request: CaptureRequest, cause: str) -> None:
    """Say that nothing was captured, unless whoever asked waited no longer and has said so."""
    request.cause = cause
    if not request.overdue:
        leaf = request.leaf
        ledger.emit(CaptureFailed(leaf.path, request.reason, cause, generation=leaf.guard.generation))


def subject(ledger: Ledger, leaf: Leaf) -> Subject:
    """What is known of a leaf without asking the system."""
    from .capture import Subject

    now, pressure, sample = anyio.current_time(), leaf.guard.pressure, leaf.sample
    child = ledger.child(leaf)
    return Subject(
        agent=leaf.name,
        argv=leaf.agent.command.argv,
        working_directory=leaf.agent.command.working_directory,
        path=leaf.path,
        run=ledger.tree.run_id if ledger.tree is not None else None,
        process=sample.processes[0].process if sample is not None and sample.processes else None,
        generation=leaf.guard.generation,
        uptime=None if child is None else child.uptime,
        samples=tuple((round(now - at, 3), total_bytes) for at, total_bytes in leaf.history),
        peak_bytes=pressure.peak_bytes,
        level=pressure.level.value,
    )


def past(leaf: Leaf) -> tuple[PastRestart, ...]:
    """The restarts so far."""
    from .model import PastRestart

    return tuple(PastRestart(note.time, note.reason, "controlled" if note.controlled else "after a failure") for note in leaf.restarts)
