"""The desk: where the sweep learns which leaves live, and where it brings what it has read.

The sweep reads and waits for the kernel, and nothing else; what follows from a sample (the ledger, the record of the run, the limit that
holds a leaf) is done at the desk. So the sweep can be in a process of its own: there `proxy.py` stands for the desk.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import attrs

from supervisor import CallError, Entity, ProcessId, RunningCommand

from ..event import CaptureFailed, MonitoringDegraded
from ..ledger import Leaf, Ledger
from ..policy import decide
from ..policy.pressure import MemoryState
from ..state.files import StateWriteFailed
from .hold import LeafHold
from .host import available_bytes

if TYPE_CHECKING:
    from ..policy.attribution import Attribution
    from .choice import ReaderChange
    from .parts import LeafParts
    from .ports import Cgroup
    from .reader import MemorySample, ProcessMemory

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


@attrs.define(repr=False, eq=False)
class LedgerLife(Entity):
    """See `Life`, in the process that has the ledger."""

    ledger: Ledger
    leaf: Leaf
    command: Watchable
    generation: int
    hold: LeafHold | None = None
    seen: tuple[ProcessMemory, ...] = ()
    members: list[ProcessId] = attrs.field(factory=list)

    @property
    def root(self) -> ProcessId:
        """See `Life.root`."""
        return self.command.process_id

    @property
    def memory(self) -> str | None:
        """See `Life.memory`."""
        group = self.command.group
        return None if group is None else group.memory

    @property
    def has_group(self) -> bool:
        """See `Life.has_group`."""
        return self.command.group is not None

    @property
    def is_stopping(self) -> bool:
        """See `Life.is_stopping`."""
        return self.command.is_stopping

    def strays(self) -> list[int]:
        """See `Life.strays`."""
        return [process.pid for process in self.command.adopted()]

    def opened(self, reader: str) -> None:
        """See `Life.opened`."""
        self.leaf.reader = reader

    def prepare_hold(self) -> None:
        """See `Life.prepare_hold`."""
        if self.hold is None:
            self.leaf.hold = self.hold = LeafHold(self.command.group)
        self.hold.arm(self.leaf.thresholds)

    def told(self, taken: MemorySample, *, paused: bool = False) -> None:
        """See `Life.told`."""
        leaf, hold = self.leaf, self.hold
        if taken.processes is not self.seen or leaf.unrecorded:
            self.seen = taken.processes
            members = [member.process for member in taken.processes]
            if members != self.members or leaf.unrecorded:
                self.members = members
                self.command.remember(members)
                recorded(self.ledger, leaf, members)
        attribution = None
        if leaf.parts is not None and (taken.total_bytes >= leaf.thresholds.warning_bytes or leaf.parts.is_waiting or leaf.level.rank):
            attribution = self._looked(leaf.parts, taken)
        leaf.saw(taken)
        paused = paused or (hold is not None and hold.is_paused)
        available = None
        if taken.total_bytes >= leaf.thresholds.emergency_bytes or leaf.level is MemoryState.EMERGENCY:
            available = available_bytes()
        self.ledger.tell(leaf, decide.Sampled(taken.total_bytes, self.generation, paused, available, attribution))
        if hold is not None and not hold.is_armed and taken.total_bytes < leaf.thresholds.emergency_bytes:
            with suppress(OSError):  # a limit that cannot be set leaves the rest as it is
                hold.arm(leaf.thresholds)

    def _looked(self, parts: LeafParts, taken: MemorySample) -> Attribution | None:
        """The parts of its tree, where that is ours; None where nobody can tell them now: the level counts without."""
        leaf = self.leaf
        if not isinstance(self.command, RunningCommand):
            return None
        at_once = leaf.level is not MemoryState.EMERGENCY and taken.total_bytes >= leaf.thresholds.emergency_bytes
        try:
            return parts.look(self.command, taken.at, sample=taken, earlier=leaf.sample, was_normal=leaf.was_normal, at_once=at_once)
        except OSError:
            return None  # no descriptors

    def changed(self, change: ReaderChange) -> None:
        """See `Life.changed`."""
        self.leaf.reader = change.after
        if change.before is not None:  # else it was blind, and the decision says that it is not any more
            path, generation = self.leaf.path, self.generation
            self.ledger.emit(MonitoringDegraded(path, False, change.reason, change.before, change.after, generation=generation))

    def armed(self, events: str) -> None:
        """See `Life.armed`."""
        self.leaf.events = events
        if events and self.hold is not None and self.hold.is_armed:
            with suppress(OSError):  # the limit stays where it was
                self.hold.arm(self.leaf.thresholds)

    def let_end(self) -> None:
        """See `Life.let_end`."""
        if self.hold is not None:
            with suppress(OSError):  # it is gone already
                self.hold.release()

    def close(self) -> None:
        """See `Life.close`. Who is held is let go."""
        self.leaf.hold, self.leaf.events = None, ""
        hold, self.hold = self.hold, None
        if hold is not None:
            hold.close()


class LedgerDesk:
    """See `Desk`, in the process that has the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lives: dict[str, LedgerLife] = {}

    @property
    def leaves(self) -> list[Leaf]:
        """See `Desk.leaves`."""
        return self._ledger.leaves

    @property
    def listens(self) -> bool:
        """See `Desk.listens`."""
        return self._ledger.listens

    @property
    def acts(self) -> bool:
        """See `Desk.acts`."""
        return not self._ledger.run.dry_run

    def parted(self) -> Leaf | None:
        """See `Desk.parted`."""
        leaf = self._ledger.parted.pop() if self._ledger.parted else None
        if leaf is not None and (life := self._lives.get(leaf.name)) is not None and life.leaf is leaf:
            del self._lives[leaf.name]
        return leaf

    def pause(self, leaf: Leaf, now: float) -> float:
        """See `Desk.pause`."""
        return self._ledger.pause(leaf, now)

    def living(self, leaf: Leaf) -> LedgerLife | None:
        """See `Desk.living`."""
        command, generation = self._running(leaf)
        life = self._lives.get(leaf.name)
        if life is not None and command is life.command and life.leaf is leaf:
            return life
        if not isinstance(command, Watchable):
            self._lives.pop(leaf.name, None)
            return None
        life = self._lives[leaf.name] = LedgerLife(self._ledger, leaf, command, generation)
        return life

    def _running(self, leaf: Leaf) -> tuple[object, int]:
        """The handle of a leaf's present life and its number; None when it does not run, or is being stopped."""
        try:
            above, id = self._ledger.above(leaf), leaf.path[-1]
            child = above.which_child(id)
            return (above.handle(id), child.generation) if child.state == "running" else (None, 0)
        except CallError:
            return None, 0  # its supervisor is not up, so neither is it

    def unread(self, leaf: Leaf, reason: str) -> None:
        """See `Desk.unread`."""
        self._ledger.tell(leaf, decide.Unread(reason))

    def strained(self) -> None:
        """See `Desk.strained`."""
        self._ledger.strained()

    def wake(self, at: float) -> None:
        """See `Desk.wake`."""
        self._ledger.wake(at)

    async def looked(self, until: float) -> None:
        """See `Desk.looked`.

        **Cancellation:** at any time.
        """
        await self._ledger.looked(until)

    def let_go(self, now: float) -> float:
        """See `Desk.let_go`: health has failed to do it."""
        soonest = math.inf
        for life in self._lives.values():
            hold = life.hold
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
