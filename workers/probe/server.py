"""The desk for a sweep in another process: it serves the reports, and says what has changed.

What that process says is checked like anything that a worker says, and once more here where that is not enough. It can be killed, hang
or say nothing at any time: the leaves are let off the kernel's limits that it had set and nobody would raise, an event says that nothing
is read, and its next life is told everything anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from supervisor import CallTimeout, NoProc, ProcessId, call, serve

from ..event import MonitoringDegraded
from .choice import ReaderChange
from .desk import LedgerDesk, LedgerLife
from .messages import WEIGHT, Armed, Began, Ended, Heard, Judged, Opened, Order, Report, Sampled, Strained, Strays, Unread, ahead
from .reader import MemorySample, ProcessMemory
from .worker import BLIND_PAUSE

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from ..ledger import Leaf, Ledger

SILENCE: Final = 5.0
"""Seconds after which a sample that was due is missed."""

PATIENCE: Final = 5.0
"""Seconds for the other process to take what it is told."""

PERIOD: Final = 1.0
"""Seconds between two looks for samples that are missed and for holds that are over."""

STRAYS_PERIOD: Final = 5.0
"""Seconds after which strays are looked for although the tree has not changed."""

_CLOSE: Final = 0.001


async def desk(ledger: Ledger, peer: tuple[str, ...], *, task_status: TaskStatus[None]) -> None:
    """Serve the desk to the sweep at a path of the tree, until cancelled.

    **Cancellation:** at any time; a leaf that is held is let go.
    """
    server = DeskServer(ledger, peer)
    serve("attend", server.attend)
    serve("reported", server.reported)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.mind)
            task_status.started()
            await server.run()
    finally:
        server.close()


@attrs.define(eq=False)
class Served:
    """One life that is read elsewhere.

    Attributes:
        number: Its number.
        life: What is open for it here.
        told: What the other process was told last; None when it does not know of this life.
        strays: Its strays, as of `looked`.
        told_strays: Which of them it was told of.
        looked: When they were looked for.
        expected: When it takes the next sample if it is told nothing else.
        gap: Whether it was said that nothing is read, because the process is gone.
        missed: Whether the decision was told so, because a sample is missed.
    """

    number: int
    life: LedgerLife
    told: Judged | None = None
    strays: list[int] = attrs.field(factory=list)
    told_strays: list[int] = attrs.field(factory=list)
    looked: float = -math.inf
    expected: float = math.inf
    gap: bool = False
    missed: bool = False

    @property
    def leaf(self) -> Leaf:
        """Whose life it is."""
        return self.life.leaf

    def look(self, now: float) -> None:
        """Look for strays."""
        self.strays, self.looked = list(self.life.strays()), now


class DeskServer:
    """See `desk`."""

    def __init__(self, ledger: Ledger, peer: tuple[str, ...]) -> None:
        self._ledger, self._peer = ledger, peer
        self._desk = LedgerDesk(ledger)
        self._lives: dict[int, Served] = {}
        self._named: dict[str, Served] = {}
        self._ended: list[int] = []
        self._numbers = 0
        self._session: object = None
        self._changed = anyio.Event()
        self._stirred: set[Leaf] = set()
        self._doubtful: dict[int, Served] = {}
        for leaf in ledger.leaves:
            leaf.stirred = True  # whatever an earlier life of this worker had open
        ledger.on_stir = self._stirred_by

    async def run(self) -> None:
        """Follow the ledger.

        **Cancellation:** at any time.
        """
        self._stirred.update(self._desk.leaves)
        while True:
            while (parted := self._desk.parted()) is not None:
                if (served := self._named.get(parted.name)) is not None and served.leaf is parted:
                    self._end(served)
            # of a thousand leaves one is looked at a thousand times a second
            stirred, self._stirred = self._stirred, set()
            for leaf in stirred:
                if leaf.stirred and not leaf.gone:
                    self._stir(leaf)
                if (served := self._named.get(leaf.name)) is not None:
                    self._doubtful[served.number] = served
            self._changed.set()
            await self._desk.looked(math.inf)

    async def mind(self) -> None:
        """Let go who is held for too long, and miss the samples that do not come.

        **Cancellation:** at any time.
        """
        while True:
            now = anyio.current_time()
            self._desk.let_go(now)
            for served in self._lives.values():
                if served.missed or served.leaf.due == math.inf:
                    continue
                if now >= served.leaf.due + SILENCE:
                    served.missed = True
                    self._desk.unread(served.leaf, f"no sample for {SILENCE:g} s: the probe's process does not answer")
            await anyio.sleep(PERIOD)

    def close(self) -> None:
        """Give everything back; leaves that are held are let go."""
        self._ledger.on_stir = lambda leaf: None
        for served in list(self._lives.values()):
            self._end(served)

    # ------------------------------------------------------------ served

    async def attend(self) -> None:
        """Served: the other process is there, until this is cancelled; it is told everything, and then what has changed."""
        session = self._session = object()
        self._ended.clear()
        self._forget()
        try:
            while self._session is session:
                self._changed = anyio.Event()
                for orders in _parts(list(self._orders())):
                    try:
                        await call(self._peer, "told", orders, timeout=PATIENCE)
                    except CallTimeout:
                        # it hangs, which is for the watchdog; should it go on it is told again
                        self._forget()
                        self._ended += [order.life for order in orders if isinstance(order, Ended)]
                        self._changed.set()
                        break
                await self._changed.wait()
        finally:
            if self._session is session:
                self._session = None
                self._lost()

    def reported(self, reports: list[Report]) -> None:
        """Served: what the other process has read. What is said of a life that is over is not heard.

        Raises:
            TypeError: It is no report.
            ValueError: No sample looks like that.
        """
        shift, now = ahead(), anyio.current_time()
        for report in reports:
            if not isinstance(report, Report):
                raise TypeError(f"no report: {report!r:.80}")
            if isinstance(report, Strained):
                self._desk.strained()
            elif (served := self._lives.get(report.life)) is None:
                continue
            elif isinstance(report, Sampled):
                self._sampled(served, report, min(now, report.at - shift), now)
            elif isinstance(report, Unread):
                served.leaf.due = served.expected = now + min(self._desk.pause(served.leaf, now), BLIND_PAUSE)
                served.missed = served.gap = False  # the decision says when there is something again
                self._desk.unread(served.leaf, report.reason)
            elif isinstance(report, Opened):
                served.life.opened(report.reader)
            elif isinstance(report, Heard):
                with suppress(OSError):  # no descriptors: it is not held
                    served.life.prepare_hold()
            elif isinstance(report, Armed):
                served.life.armed(report.events)
            else:
                served.life.changed(ReaderChange(report.before, report.after, report.reason))

    def _sampled(self, served: Served, report: Sampled, at: float, now: float) -> None:
        life, leaf = served.life, served.leaf
        if report.total_bytes < 0 or not math.isfinite(report.at):
            raise ValueError(f"no sample: {report!r:.200}")
        processes = life.seen if report.members is None else _members(report.members)
        if life.is_stopping:
            life.let_end()  # what is left of it says nothing of the memory it needed
            return
        leaf.due = at + self._desk.pause(leaf, now)
        if served.told is not None:
            served.expected = at + served.told.pause
        if served.gap and not served.missed:
            event = MonitoringDegraded(leaf.path, False, "the probe's process is back", None, report.reader, generation=life.generation)
            self._ledger.emit(event)
        served.gap = served.missed = False
        life.told(MemorySample(at, report.total_bytes, processes, report.reader), paused=report.paused)
        if report.members is not None or now >= served.looked + STRAYS_PERIOD:
            served.look(now)
            if served.strays != served.told_strays:
                self._doubtful[served.number] = served
                self._changed.set()

    # ------------------------------------------------------------ what is to be told

    def _orders(self) -> Iterator[Order]:
        """What the other process does not know; it counts as told."""
        shift, now = ahead(), anyio.current_time()
        ended, self._ended = self._ended, []
        for number in ended:
            yield Ended(number)
        doubtful, self._doubtful = self._doubtful, {}
        for served in doubtful.values():
            leaf, life, told = served.leaf, served.life, served.told
            pause = self._desk.pause(leaf, now)
            if (
                told is None
                or (leaf.due != served.expected and abs(leaf.due - served.expected) > _CLOSE)
                or (told.pause, told.level, told.fresh) != (pause, leaf.level, leaf.is_fresh)
                or told.thresholds != leaf.thresholds
            ):
                due = None if leaf.due == math.inf else max(leaf.due, now) + shift
                judged = served.told = Judged(served.number, due, pause, leaf.level, leaf.thresholds, leaf.is_fresh)
                served.expected = leaf.due
                root = life.root
                yield judged if told else Began(served.number, root.pid, root.created, life.memory, life.has_group, judged)
            if served.strays != served.told_strays:
                served.told_strays = served.strays
                yield Strays(served.number, served.strays)

    def _forget(self) -> None:
        for served in self._lives.values():
            served.told, served.told_strays = None, []
        self._doubtful = dict(self._lives)

    def _lost(self) -> None:
        """The other process is gone, with the marks that it had set and whatever it was about to say."""
        for served in self._lives.values():
            leaf, life = served.leaf, served.life
            life.armed("")
            if life.hold is not None and life.hold.until is None:
                life.let_end()  # nobody would see that it stands at its limit
            if leaf.watched and not (served.gap or served.missed):
                served.gap = True
                with suppress(NoProc):  # the tree is gone, and whoever would be told with it
                    reason = "the probe's process is gone; another one is started"
                    self._ledger.emit(MonitoringDegraded(leaf.path, True, reason, leaf.reader or None, None, generation=life.generation))

    # ------------------------------------------------------------ lives

    def _stirred_by(self, leaf: Leaf) -> None:
        self._stirred.add(leaf)

    def _stir(self, leaf: Leaf) -> None:
        leaf.stirred = False
        life, served = self._desk.living(leaf), self._named.get(leaf.name)
        if served is not None and served.life is not life:
            self._end(served)
        if life is None:
            leaf.due = math.inf  # it is looked at again when it starts
        elif served is None or served.life is not life:
            self._numbers += 1
            served = self._named[leaf.name] = self._lives[self._numbers] = Served(self._numbers, life)
            now = anyio.current_time()
            leaf.due = max(leaf.due, now)
            served.look(now)

    def _end(self, served: Served) -> None:
        del self._lives[served.number]
        self._doubtful.pop(served.number, None)
        if self._named.get(served.leaf.name) is served:
            del self._named[served.leaf.name]
        self._ended.append(served.number)
        served.life.close()


def _members(numbers: list[int]) -> tuple[ProcessMemory, ...]:
    if len(numbers) % 3 or any(number < 0 for number in numbers):
        raise ValueError(f"no members: {numbers!r:.80}")
    threes = zip(*[iter(numbers)] * 3, strict=True)
    return tuple(ProcessMemory(ProcessId(pid, created), size) for pid, created, size in threes)


def _parts(orders: list[Order]) -> Iterator[list[Order]]:
    """As many as fit into a message each; one of these takes some thirty values."""
    at_once = WEIGHT // 40
    for start in range(0, len(orders), at_once):
        yield orders[start : start + at_once]
