"""The probe: one sweep over all leaves that are due, one sample each, and nothing decided here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio
import attrs

from supervisor import CallError, ProcessId, RunningCommand

from ..event import CaptureFailed
from ..policy import decide
from ..state.files import StateWriteFailed
from .reader import MemoryReader, NoReader, open_reader

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from ..ledger import Leaf, Ledger


@attrs.define(eq=False)
class Watch:
    """The reader of one life of a leaf."""

    command: RunningCommand
    generation: int
    reader: MemoryReader


async def probe(ledger: Ledger, *, task_status: TaskStatus[None]) -> None:
    """Sample every leaf when it is due, until cancelled.

    **Cancellation:** at any time; descriptors are closed.
    """
    watches: dict[str, Watch] = {}
    task_status.started()
    try:
        while True:
            now = anyio.current_time()
            for leaf in ledger.leaves:
                if leaf.due <= now:
                    sample(ledger, leaf, watches, now)
            await ledger.looked(min((leaf.due for leaf in ledger.leaves), default=math.inf))
    finally:
        for watch in watches.values():
            watch.reader.close()


def sample(ledger: Ledger, leaf: Leaf, watches: dict[str, Watch], now: float) -> None:
    """Take one sample of a leaf and pass it on; a leaf that does not run is looked at again when it starts."""
    leaf.due = now + ledger.pause(leaf, now)
    try:
        watch = watching(ledger, leaf, watches)
        taken = watch.reader.read(now) if watch is not None else None
    except (OSError, NoReader) as error:  # the boundary where a reader that fails becomes an unknown sample
        ledger.tell(leaf, decide.Unread(str(error)))
        return
    if watch is None or taken is None:
        leaf.due = math.inf
        return
    members = [member.process for member in taken.processes]
    watch.command.remember(members)
    leaf.saw(taken)
    recorded(ledger, leaf, members)
    ledger.tell(leaf, decide.Sampled(taken.total_bytes, watch.generation))


def recorded(ledger: Ledger, leaf: Leaf, members: list[ProcessId]) -> None:
    """Write down what would be left behind if we were killed now; that this fails is said once."""
    if leaf.claim is None:
        return
    try:
        leaf.claim.record(members)
        leaf.unrecorded = False
    except StateWriteFailed as error:
        if not leaf.unrecorded:
            ledger.emit(CaptureFailed(leaf.path, "the record of the run's processes", str(error), generation=leaf.guard.generation))
        leaf.unrecorded = True


def watching(ledger: Ledger, leaf: Leaf, watches: dict[str, Watch]) -> Watch | None:
    """The reader of the leaf's present life, opened if it is a new one; None when it does not run, or is being stopped.

    What is left of a tree that is being stopped says nothing of the memory it needed.
    """
    watch = watches.get(leaf.name)
    command: object = None
    generation = 0
    try:
        above, id = ledger.above(leaf), leaf.path[-1]
        child = above.which_child(id)
        if child.state == "running":
            command, generation = above.handle(id), child.generation
        if watch is not None and watch.command is command:
            return watch
    except CallError:
        pass  # its supervisor is not up, so neither is it
    if watch is not None:
        watches.pop(leaf.name).reader.close()
        watch = None
    if isinstance(command, RunningCommand):
        reader = open_reader(command.process_id, lambda: [process.pid for process in command.adopted()])
        watch = watches[leaf.name] = Watch(command, generation, reader)
        leaf.reader = reader.name
    return watch
