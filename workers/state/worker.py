"""The state worker: has captured what is asked for, one after the other, and says what became of it.

What a capture costs it does not pay: gathering, redaction, journal, compression and writing are another process's (apart.py, archive.py),
which is there from the first capture on, until nothing was captured for a while. That one may be killed, hang or take too long: it costs
the capture, which has failed then, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from supervisor import CallError, StartFailed, WorkerFailed, describe, identify

from ..event import CaptureFailed, StateCaptured
from ..ledger import SpentRequest
from ..policy.pressure import MemoryState
from .files import StateWriteFailed

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus

    from supervisor import ProcessId

    from ..ledger import CaptureRequest, Leaf, Ledger
    from .apart import Archiving
    from .messages import Captured, CaptureOrder, Place
    from .model import PastRestart
    from .subject import Subject

IDLE: Final = 60.0
"""Seconds without a capture after which the process that captures is ended, if all is calm: it has some 30 MB."""

HISTORY: Final = 100
"""The last restarts that go into a state."""

PROCESSES: Final = 100
"""Processes of a tree that are looked at, the root first."""

FOLDING: Final = 1.0
"""Seconds for folding a conversation at most, and a third of what the capture may take; what is left is done after it."""


async def state(ledger: Ledger, *, task_status: TaskStatus[None]) -> None:
    """Serve capture requests, until cancelled.

    **Cancellation:** at any time; what is on disk is whole.
    """
    async with anyio.create_task_group() as tasks:
        desk = StateDesk(ledger, tasks)
        task_status.started()
        await desk.run()


class StateDesk:
    """Takes requests from the ledger, in their order, and brings back what became of them."""

    def __init__(self, ledger: Ledger, tasks: TaskGroup) -> None:
        self._ledger, self._tasks = ledger, tasks
        self._archive: Archiving | None = None
        self._under_way = 0

    async def run(self) -> None:
        """Serve; never returns.

        **Cancellation:** at any time.
        """
        while True:
            request: CaptureRequest | SpentRequest | None = None
            with anyio.move_on_after(IDLE if self._archive is not None else float("inf")):
                request = await self._ledger.captures.get()
            if isinstance(request, SpentRequest):
                await kept(self._ledger, request.leaf)
            elif request is not None:
                await self._serve(request)
            elif self._archive is not None and not self._under_way and self._is_calm:
                await self._archive.leave()
                self._archive = None

    @property
    def _is_calm(self) -> bool:
        """Whether no leaf may need to be captured soon, and at once: the start of the process takes half a second."""
        return all(leaf.level is MemoryState.NORMAL for leaf in self._ledger.leaves)

    async def _serve(self, request: CaptureRequest) -> None:
        """Capture once, or say why not. One that takes too long goes on, and nobody waits for it."""
        ledger = self._ledger
        if not ledger.run.config.persist_state or ledger.run.dry_run:
            request.ok = True
            request.done.set()
            return
        if self._archive is None:
            # imported at the first capture: most guardians never come to one
            from .apart import archiving

            self._archive = archiving(ledger)
        patience = patience_of(ledger, request.leaf)
        self._under_way += 1
        self._tasks.start_soon(self._capture, request, self._archive, patience)
        with anyio.move_on_after(patience):
            await request.done.wait()
        if not request.done.is_set():
            failed(ledger, request, f"it took longer than {patience:g} s")
            request.overdue = True
            request.done.set()
            self._tasks.start_soon(self._archive.checked)

    async def _capture(self, request: CaptureRequest, archive: Archiving, patience: float) -> None:
        ledger, leaf, generation = self._ledger, request.leaf, request.leaf.guard.generation
        began = anyio.current_time()
        try:
            answer = await archive.capture(order_of(ledger, request, patience))
            if answer.path is None:
                failed(ledger, request, answer.cause)
            else:
                request.ok, leaf.state_file = True, answer.path
                self._tell(request, answer, round(anyio.current_time() - began, 3), generation)
        except (CallError, StartFailed, WorkerFailed) as error:
            failed(ledger, request, f"the process that captures has failed: {error}")
        except Exception as error:  # this worker's own fault, which ends it: whoever waits hears that nothing was captured
            failed(ledger, request, describe(error))
            raise
        finally:
            self._under_way -= 1
            request.done.set()
        if request.ok:
            await tidied(ledger, leaf, archive)

    def _tell(self, request: CaptureRequest, answer: Captured, seconds: float, generation: int | None) -> None:
        path = request.leaf.path
        self._ledger.emit(
            StateCaptured(path, answer.state_id or "", answer.path or "", request.reason, seconds, generation=generation),
        )
        for fault in answer.faults:
            self._ledger.emit(CaptureFailed(path, request.reason, fault.cause, fault.part, generation=generation))


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


def patience_of(ledger: Ledger, leaf: Leaf) -> float:
    """Seconds that a capture of a leaf may take."""
    monitoring = ledger.run.config.monitoring
    return monitoring.emergency_capture_timeout if leaf.guard.level is MemoryState.EMERGENCY else monitoring.capture_timeout


def place_of(ledger: Ledger, leaf: Leaf) -> Place:
    """Where the states of a leaf are kept."""
    from .messages import Place

    return Place(ledger.run.state_dir, leaf.agent.command.working_directory, ledger.run.config.encryption.key)


def order_of(ledger: Ledger, request: CaptureRequest, patience: float) -> CaptureOrder:
    """What is to be captured for a request."""
    from .git import LIMIT
    from .messages import CaptureOrder

    leaf = request.leaf
    attempt = leaf.attempt if leaf.restarting_since is not None else None
    # in an emergency git may not take what the whole capture has
    git_limit = 0.5 if leaf.guard.level is MemoryState.EMERGENCY else LIMIT
    place = place_of(ledger, leaf)
    return CaptureOrder(place, subject(ledger, leaf), request.reason, attempt, past(leaf), git_limit, min(FOLDING, patience / 3))


async def tidied(ledger: Ledger, leaf: Leaf, archive: Archiving) -> None:
    """Remove the states of a leaf's project that are not to be kept any more; nobody waits for it, and what came of it is told."""
    from ..event_state import StatesPruned
    from .messages import PruneOrder, Removed

    try:
        done = await archive.prune(PruneOrder(place_of(ledger, leaf), ledger.run.config.state))
    except (CallError, StartFailed, WorkerFailed) as error:
        done = Removed(failed=(str(error),))
    if done.state_ids or done.failed:
        ledger.emit(StatesPruned(leaf.path, done.state_ids, done.freed_bytes, done.failed, generation=leaf.guard.generation))


def failed(ledger: Ledger, request: CaptureRequest, cause: str) -> None:
    """Say that nothing was captured, unless whoever asked waited no longer and has said so."""
    request.cause = cause
    if not request.overdue:
        leaf = request.leaf
        ledger.emit(CaptureFailed(leaf.path, request.reason, cause, generation=leaf.guard.generation))


def subject(ledger: Ledger, leaf: Leaf) -> Subject:
    """What is known of a leaf without asking the system."""
    from .subject import Subject

    now, pressure, sample = anyio.current_time(), leaf.guard.pressure, leaf.sample
    child = ledger.child(leaf)
    members: tuple[ProcessId, ...] = () if sample is None else tuple(member.process for member in sample.processes[:PROCESSES])
    root = None if child is None or child.pid is None else identify(child.pid)
    if root is not None and members[:1] != (root,):
        members = (root,)  # nothing was sampled of this life yet
    return Subject(
        agent=leaf.name,
        argv=leaf.agent.command.argv,
        working_directory=leaf.agent.command.working_directory,
        path=leaf.path,
        run=ledger.tree.run_id if ledger.tree is not None else None,
        process=members[0] if members else None,
        generation=leaf.guard.generation,
        uptime=None if child is None else child.uptime,
        samples=tuple((round(now - at, 3), total_bytes) for at, total_bytes in leaf.history),
        peak_bytes=pressure.peak_bytes,
        level=pressure.level.value,
        processes=members,
        last_exit=None if leaf.exit is None else leaf.exit.reason,
        session=leaf.session,
        transcript=leaf.transcript,
    )


def past(leaf: Leaf) -> tuple[PastRestart, ...]:
    """The restarts so far, the last ones."""
    from .model import PastRestart

    return tuple(
        PastRestart(note.time, note.reason, "controlled" if note.controlled else "after a failure") for note in leaf.restarts[-HISTORY:]
    )
