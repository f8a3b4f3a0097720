"""The probe in a process of its own: the sweep, and a proxy of the desk that is in the process of the ledger.

What the sweep has read goes there in calls, one at a time, with all that has come up meanwhile. What it has to know comes in calls from
there, and only when it has changed.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import anyio
import attrs

from supervisor import ProcessId, call, serve

from ..policy.pressure import MemoryState, Thresholds
from .choice import ReaderChange
from .doze import Doze
from .messages import LIMIT, WEIGHT, Armed, Began, Changed, Ended, Heard, Judged, Opened, Order, Report, Sampled, Strained, Unread, ahead
from .reader import MemorySample, ProcessMemory
from .worker import sweeping

if TYPE_CHECKING:
    from anyio.abc import TaskStatus


async def sweep(desk: tuple[str, ...], listens: bool, acts: bool, *, task_status: TaskStatus[None]) -> None:
    """Sweep for the desk at this path of the tree, until cancelled; see `probe`.

    Args:
        desk: The child that serves it.
        listens: See `Desk.listens`.
        acts: See `Desk.acts`.
        task_status: Told that it sweeps.

    Raises:
        CallError: The desk is gone.

    **Cancellation:** at any time; descriptors are closed.
    """
    proxy = ProxyDesk(desk, listens, acts)
    serve("told", proxy.told)
    await sweeping(proxy, task_status.started, proxy.attend, proxy.report)


@attrs.define(eq=False)
class ProxyLeaf:
    """See `Watched`; here each life is a leaf of its own."""

    number: int
    thresholds: Thresholds
    level: MemoryState
    is_fresh: bool
    pause: float
    due: float
    slack: float = 0.0
    stirred: bool = True
    life: ProxyLife | None = None

    @property
    def name(self) -> str:
        """See `Watched.name`."""
        return str(self.number)


@attrs.define(eq=False)
class ProxyLife:
    """See `Life`: it is told by reports."""

    desk: ProxyDesk
    leaf: ProxyLeaf
    root: ProcessId
    memory: str | None
    has_group: bool
    stray: list[int] = attrs.field(factory=list)
    seen: tuple[ProcessMemory, ...] | None = None

    @property
    def is_stopping(self) -> bool:
        """Not known here: the desk drops what was read of one that is."""
        return False

    def strays(self) -> list[int]:
        """See `Life.strays`."""
        return self.stray

    def opened(self, reader: str) -> None:
        """See `Life.opened`."""
        self.desk.put(Opened(self.leaf.number, reader))

    def prepare_hold(self) -> None:
        """See `Life.prepare_hold`; that there are no descriptors is known there."""
        self.desk.put(Heard(self.leaf.number))

    def told(self, taken: MemorySample, *, paused: bool = False) -> None:
        """See `Life.told`."""
        members: list[int] | None = None
        if taken.processes is not self.seen:
            self.seen, members = taken.processes, []
            for member in taken.processes[:LIMIT]:
                members += (member.process.pid, member.process.created, member.bytes)
        self.desk.put(Sampled(self.leaf.number, taken.at + ahead(), taken.total_bytes, taken.reader, paused, members))

    def changed(self, change: ReaderChange) -> None:
        """See `Life.changed`."""
        self.desk.put(Changed(self.leaf.number, change.before, change.after, change.reason))

    def armed(self, events: str) -> None:
        """See `Life.armed`."""
        self.desk.put(Armed(self.leaf.number, events))

    def let_end(self) -> None:
        """See `Life.let_end`: the desk does it."""

    def close(self) -> None:
        """See `Life.close`: the desk has said so."""


class ProxyDesk:
    """See `Desk`."""

    def __init__(self, path: tuple[str, ...], listens: bool, acts: bool) -> None:
        self._path = path
        self.listens, self.acts = listens, acts
        self._leaves: dict[int, ProxyLeaf] = {}
        self._parted: list[ProxyLeaf] = []
        self._reports: deque[Report] = deque()
        self._reported = anyio.Event()
        self._doze = Doze()

    # ------------------------------------------------------------ what the sweep asks

    @property
    def leaves(self) -> list[ProxyLeaf]:
        """See `Desk.leaves`."""
        return list(self._leaves.values())

    def parted(self) -> ProxyLeaf | None:
        """See `Desk.parted`."""
        return self._parted.pop() if self._parted else None

    def pause(self, leaf: ProxyLeaf, now: float) -> float:
        """See `Desk.pause`."""
        return leaf.pause

    def living(self, leaf: ProxyLeaf) -> ProxyLife | None:
        """See `Desk.living`."""
        return leaf.life

    def unread(self, leaf: ProxyLeaf, reason: str) -> None:
        """See `Desk.unread`."""
        self.put(Unread(leaf.number, reason))

    def strained(self) -> None:
        """See `Desk.strained`."""
        self.put(Strained())

    def wake(self, at: float) -> None:
        """See `Desk.wake`."""
        self._doze.wake(at)

    async def looked(self, until: float) -> None:
        """See `Desk.looked`.

        **Cancellation:** at any time, without effect.
        """
        await self._doze.until(until)

    def let_go(self, now: float) -> float:
        """See `Desk.let_go`: the desk does that itself."""
        return math.inf

    # ------------------------------------------------------------ what crosses

    def put(self, report: Report) -> None:
        """Bring something to the desk."""
        self._reports.append(report)
        self._reported.set()

    async def attend(self) -> None:
        """Be known at the desk; never returns.

        Raises:
            CallError: It is gone.
        """
        await call(self._path, "attend", timeout=math.inf)

    async def report(self) -> None:
        """Bring the desk what there is, as soon as it has taken what was brought before.

        Raises:
            CallError: It is gone.
        """
        while True:
            await self._reported.wait()
            self._reported = anyio.Event()
            while self._reports:
                await call(self._path, "reported", self._some(), timeout=math.inf)

    def told(self, orders: list[Order]) -> None:
        """Served: what the desk has to say."""
        shift = ahead()
        for order in orders:
            if isinstance(order, Began):
                self._begin(order, shift)
            elif isinstance(order, Ended):
                if (leaf := self._leaves.pop(order.life, None)) is not None:
                    self._parted.append(leaf)
                    self.wake(-math.inf)
            elif (leaf := self._leaves.get(order.life)) is None:
                continue  # said before its end, and overtaken by it
            elif isinstance(order, Judged):
                self._judge(leaf, order, shift)
            elif leaf.life is not None:
                leaf.life.stray = order.pids

    def _begin(self, order: Began, shift: float) -> None:
        if order.life not in self._leaves:  # else said again, because our answer came too late
            told = order.judged
            leaf = ProxyLeaf(order.life, told.thresholds, told.level, told.fresh, told.pause, math.inf)
            leaf.life = ProxyLife(self, leaf, ProcessId(order.pid, order.created), order.memory, order.group)
            self._leaves[order.life] = leaf
        self._judge(self._leaves[order.life], order.judged, shift)

    def _judge(self, leaf: ProxyLeaf, told: Judged, shift: float) -> None:
        leaf.thresholds, leaf.level, leaf.is_fresh = told.thresholds, told.level, told.fresh
        leaf.pause, leaf.due = told.pause, math.inf if told.due is None else told.due - shift
        self.wake(leaf.due)

    def _some(self) -> list[Report]:
        """As many reports as fit into a message."""
        some: list[Report] = []
        weight = 0
        while self._reports and weight < WEIGHT:
            report = self._reports.popleft()
            weight += 10 + (len(report.members or ()) if isinstance(report, Sampled) else 0)
            some.append(report)
        return some
