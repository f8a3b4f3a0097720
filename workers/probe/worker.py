"""The probe: one sweep over all leaves that are due, one sample each, and nothing decided here."""

from __future__ import annotations

import math
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import anyio
import attrs

from supervisor import CallError, ProcessId

from ..event import CaptureFailed, MonitoringDegraded
from ..policy import decide
from ..policy.pressure import MemoryState
from ..state.files import StateWriteFailed
from .choice import ReaderChain, open_reader
from .host import available_bytes
from .reader import MemorySample, NoReader, ProcessMemory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anyio.abc import TaskStatus

    from ..ledger import Leaf, Ledger
    from .hold import Cgroup, LeafHold

SLACK: Final = 8
"""A sample may be taken sooner by this part of its interval, when another leaf is looked at anyway: so a thousand leaves soon share a few
wake-ups."""

BLIND_PAUSE: Final = 5.0
"""Seconds, at most, until somebody tries to read again what could not be read."""

OVERDUE: Final = 1.0
"""Seconds after which a leaf whose hold is over is let go here, because whoever decides has not done it."""


@runtime_checkable
class Watchable(Protocol):
    """The handle of a life whose memory can be read: a command's, or that of a process which was attached to."""

    @property
    def process_id(self) -> ProcessId:
        """The root process."""

    @property
    def group(self) -> Cgroup | None:
        """Its control group; None when it has none of its own."""

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to end."""

    def adopted(self) -> tuple[ProcessId, ...]:
        """Members that descend from us and no longer from the root."""

    def remember(self, members: Iterable[ProcessId]) -> None:
        """Take in which members were seen."""


@attrs.define(eq=False)
class Watch:
    """What is open for one life of a leaf."""

    leaf: Leaf
    command: Watchable
    generation: int
    reader: ReaderChain
    hold: LeafHold | None = None
    refreshed: float = -math.inf
    seen: tuple[ProcessMemory, ...] = ()
    members: list[ProcessId] = attrs.field(factory=list)


class Wakes(Protocol):
    """What the kernel tells between two sweeps."""

    def opened(self, watch: Watch) -> None:
        """A life is watched."""

    def closed(self, watch: Watch) -> None:
        """It no longer is."""

    def sampled(self, watch: Watch, total_bytes: int, now: float) -> None:
        """Its memory was read."""

    def look(self, now: float) -> float:
        """Do what is due, and say when something will be again."""

    async def run(self) -> None:
        """Wait for the kernel, until cancelled."""

    def close(self) -> None:
        """Give everything back."""


async def probe(ledger: Ledger, *, task_status: TaskStatus[None]) -> None:
    """Sample every leaf when it is due, or when the kernel says that it has grown, until cancelled.

    **Cancellation:** at any time; descriptors are closed, and a leaf that is held is let go.
    """
    sweep = Sweep(ledger)
    failure: Exception | None = None
    try:
        async with anyio.create_task_group() as tasks:
            try:
                if sweep.wakes is not None:
                    tasks.start_soon(sweep.wakes.run)
                task_status.started()
                await sweep.run()
            except Exception as error:  # raised again below, where no task group wraps it
                failure = error
            tasks.cancel_scope.cancel()
    finally:
        sweep.close()
    if failure is not None:
        raise failure


class Sweep:
    """All leaves, looked at together."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.watches: dict[str, Watch] = {}
        self.wakes = _wakes(self)

    async def run(self) -> None:
        """Look at who is due, again and again.

        **Cancellation:** at any time.
        """
        ledger = self.ledger
        while True:
            now = anyio.current_time()
            soonest = math.inf
            while ledger.parted:
                self._part(ledger.parted.pop())
            for leaf in ledger.leaves:
                if leaf.stirred:
                    self._attend(leaf)
                if leaf.due - leaf.slack <= now:
                    self.sample(leaf, now)
                if leaf.due < soonest:
                    soonest = leaf.due
            if self.wakes is not None:
                soonest = min(soonest, self.wakes.look(now))
            await ledger.looked(min(soonest, self._let_go(now)))

    def sample(self, leaf: Leaf, now: float, *, paused: bool = False) -> None:
        """Take one sample of a leaf and pass it on; a leaf that does not run is looked at again when it starts.

        Args:
            leaf: Whose.
            now: The time it will bear.
            paused: The kernel says that it stands at its limit.
        """
        pause = self.ledger.pause(leaf, now)
        leaf.due, leaf.slack = now + pause, min(pause / SLACK, 1.0)
        try:
            watch = self.watching(leaf)
            taken = None if watch is None else self.read(watch, now)
        except (OSError, NoReader) as error:  # the boundary where readers that fail become an unknown sample
            leaf.due = min(leaf.due, now + BLIND_PAUSE)
            self.ledger.tell(leaf, decide.Unread(str(error)))
            return
        if watch is None or taken is None:
            leaf.due = math.inf
            return
        self.told(watch, taken, paused=paused)
        if self.wakes is not None:
            self.wakes.sampled(watch, taken.total_bytes, now)

    def read(self, watch: Watch, now: float, *, refresh: bool = True) -> MemorySample | None:
        """Read the memory of a leaf; new members are looked for when that is due, unless nobody wants to know them.

        Raises:
            OSError: No reader works.
        """
        refresh = refresh and now - watch.refreshed >= watch.reader.refresh_period
        taken = watch.reader.read(now, refresh)
        if refresh:
            watch.refreshed = now
        if watch.reader.changes:
            self._changed(watch)
        return taken

    def told(self, watch: Watch, taken: MemorySample, *, paused: bool = False) -> None:
        """Pass a sample on."""
        leaf = watch.leaf
        if taken.processes is not watch.seen or leaf.unrecorded:
            watch.seen = taken.processes
            members = [member.process for member in taken.processes]
            if members != watch.members or leaf.unrecorded:
                watch.members = members
                watch.command.remember(members)
                recorded(self.ledger, leaf, members)
        leaf.saw(taken)
        paused = paused or (watch.hold is not None and watch.hold.is_paused)
        available = None
        if taken.total_bytes >= leaf.guard.pressure.thresholds.emergency_bytes or leaf.guard.level is MemoryState.EMERGENCY:
            available = available_bytes()
        self.ledger.tell(leaf, decide.Sampled(taken.total_bytes, watch.generation, paused, available))

    def watching(self, leaf: Leaf) -> Watch | None:
        """What is open for the leaf's present life, opened if it is a new one; None when it does not run, or is being stopped.

        What is left of a tree that is being stopped says nothing of the memory it needed.
        """
        watch = self.watches.get(leaf.name)
        if watch is not None and watch.command.is_stopping:
            if watch.hold is not None:
                with suppress(OSError):  # it is gone already
                    watch.hold.release()  # nobody looks at it any more, and it has to be able to end
        elif watch is not None and not leaf.stirred:
            return watch
        command, generation = self._running(leaf)
        if watch is not None and watch.command is not command:
            self._close(self.watches.pop(leaf.name))
            watch = None
        if watch is None and isinstance(command, Watchable):
            watch = self._open(leaf, command, generation)
        leaf.stirred = False
        return watch

    def close(self) -> None:
        """Give everything back; leaves that are held are let go."""
        for watch in self.watches.values():
            self._close(watch)
        if self.wakes is not None:
            self.wakes.close()

    def _attend(self, leaf: Leaf) -> None:
        """Give back what is open for a life that is over, and open what there is for a new one.

        Its first sample can wait until it has settled, but the kernel is to hold it at its limit from its start.
        """
        with suppress(OSError, NoReader):  # its first sample says so
            self.watching(leaf)

    def _part(self, leaf: Leaf) -> None:
        """Give back what is open for a leaf that is no longer there; another one may have its name by now."""
        watch = self.watches.get(leaf.name)
        if watch is not None and watch.leaf is leaf:
            self._close(self.watches.pop(leaf.name))

    def _running(self, leaf: Leaf) -> tuple[object, int]:
        """The handle of a leaf's present life and its number; None when it does not run, or is being stopped."""
        try:
            above, id = self.ledger.above(leaf), leaf.path[-1]
            child = above.which_child(id)
            return (above.handle(id), child.generation) if child.state == "running" else (None, 0)
        except CallError:
            return None, 0  # its supervisor is not up, so neither is it

    def _open(self, leaf: Leaf, command: Watchable, generation: int) -> Watch:
        group = command.group
        memory = None if group is None else group.memory
        reader = open_reader(command.process_id, lambda: [process.pid for process in command.adopted()], memory)
        watch = self.watches[leaf.name] = Watch(leaf, command, generation, reader)
        leaf.reader = reader.name
        if self.wakes is not None and not self.ledger.run.dry_run:
            self.wakes.opened(watch)
            leaf.hold = watch.hold
        return watch

    def _close(self, watch: Watch) -> None:
        watch.leaf.hold, watch.leaf.events = None, ""
        watch.reader.close()
        if self.wakes is not None:
            self.wakes.closed(watch)
        if watch.hold is not None:
            watch.hold.close()

    def _changed(self, watch: Watch) -> None:
        leaf, changes = watch.leaf, watch.reader.changes
        watch.reader.changes = []
        leaf.reader = watch.reader.name
        for change in changes:
            if change.before is not None:  # else it was blind, and the decision says that it is not any more
                event = MonitoringDegraded(leaf.path, False, change.reason, change.before, change.after, generation=watch.generation)
                self.ledger.emit(event)

    def _let_go(self, now: float) -> float:
        """Release who was to be released and was not, because health failed; when the next one is due."""
        soonest = math.inf
        for watch in self.watches.values():
            hold = watch.hold
            if hold is not None and hold.until is not None:
                if now >= hold.until + OVERDUE:
                    with suppress(OSError):  # tried again at the next sweep
                        hold.release()
                else:
                    soonest = min(soonest, hold.until + OVERDUE)
        return soonest


def recorded(ledger: Ledger, leaf: Leaf, members: list[ProcessId]) -> None:
    """Write down what would be left behind if we were killed now; that this fails is said once."""
    if leaf.claim is None or leaf.not_owned:
        return  # what is not ours to end is not left behind by us either
    try:
        leaf.claim.record(members)
        leaf.unrecorded = False
    except StateWriteFailed as error:
        if not leaf.unrecorded:
            ledger.emit(CaptureFailed(leaf.path, "the record of the run's processes", str(error), generation=leaf.guard.generation))
        leaf.unrecorded = True


def _wakes(sweep: Sweep) -> Wakes | None:
    if sys.platform == "linux" and sweep.ledger.listens:
        from .wakes import KernelWakes

        with suppress(OSError):  # no descriptors: there are the intervals
            return KernelWakes(sweep)
    return None
