"""Children that do what a test tells them to do, and a log of what they did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import attrs
from anyio.abc import TaskStatus

from supervisor import Breaker, ChildSpec, Event, GiveUp, Record, Supervisor, task

E = TypeVar("E", bound=Event)

PATIENCE = 10.0
"""Seconds after which something that should happen in real time has not."""


class Crash(Exception):
    """What a child raises when it is told to crash."""


@attrs.define
class Play:
    """The director: it makes children, tells them what to do, and hears what they do.

    Attributes:
        log: What happened, oldest first: ``start a``, ``up a`` (it acknowledges), ``asked a`` (it was cancelled), ``end a``.
        lives: How often each child was started.
        refusals: For a child's id, what its next starts raise, in order.
        overlap: Children that had two lives at once; there must be none.
        patience: Seconds after which something that should happen has not.
    """

    log: list[str] = attrs.field(factory=list)
    lives: Counter[str] = attrs.field(factory=Counter)
    refusals: dict[str, list[BaseException]] = attrs.field(factory=dict)
    overlap: list[str] = attrs.field(factory=list)
    patience: float = PATIENCE
    _alive: Counter[str] = attrs.field(factory=Counter)
    _orders: dict[str, BaseException | None] = attrs.field(factory=dict)
    _opened: set[str] = attrs.field(factory=set)
    _news: list[anyio.Event] = attrs.field(factory=list)

    def child(
        self, id: str, *, gate: bool = False, takes: float = 0.0, stubborn: bool = False, kill_timeout: float = 1.0, **fields: Any
    ) -> ChildSpec:
        """Make the specification of a child.

        Args:
            id: Of the child.
            gate: It acknowledges only once `open` was called, for each life anew.
            takes: Seconds that it takes to end when it is asked to.
            stubborn: Its first life does not end when it is asked to, but when `tell` or `crash` say so, at the latest after `patience`.
            kill_timeout: Of its launch.
            fields: Of the `ChildSpec`.
        """
        launch = task(self._run, id, gate=gate, takes=takes, stubborn=stubborn)
        return ChildSpec(id, attrs.evolve(launch, kill_timeout=kill_timeout), **fields)

    def tell(self, id: str) -> None:
        """Let the child return."""
        self._order(id, None)

    def crash(self, id: str, error: BaseException | None = None) -> None:
        """Let the child raise `error`, a `Crash` where there is none."""
        self._order(id, error or Crash(id))

    def refuse(self, id: str, *errors: BaseException) -> None:
        """Let the next starts of the child fail with these errors, or decline with `Ignore`."""
        self.refusals.setdefault(id, []).extend(errors)

    def open(self, id: str) -> None:
        """Let a gated child acknowledge."""
        self._opened.add(id)
        self.note(f"open {id}")

    def note(self, line: str) -> None:
        """Write into the log, and wake who waits for news."""
        self.log.append(line)
        self.wake()

    def wake(self) -> None:
        """Let everybody look again at what they wait for."""
        news, self._news = self._news, []
        for event in news:
            event.set()

    async def news(self) -> None:
        """Wait until something happens."""
        event = anyio.Event()
        self._news.append(event)
        await event.wait()

    async def saw(self, line: str, times: int = 1) -> None:
        """Wait until a line is in the log that often."""
        await self.until(lambda: self.log.count(line) >= times, f"{line!r} is in the log {times} times")

    async def rest(self) -> None:
        """Wait to be cancelled, as the body of a block whose tree is about to end."""
        await self.until(lambda: False, "cancelled")

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait until a condition holds; it is looked at whenever something happens."""
        with anyio.move_on_after(self.patience):
            while not condition():
                await self.news()
            return
        raise AssertionError(f"never: {what or condition}; the log: {self.log}")

    def take(self) -> list[str]:
        """Return the log and begin a new one."""
        log, self.log = self.log, []
        return log

    def _order(self, id: str, order: BaseException | None) -> None:
        assert self._alive[id], f"{id} does not run: {self.log}"
        self._orders[id] = order
        self.wake()

    async def _run(self, id: str, *, gate: bool, takes: float, stubborn: bool, task_status: TaskStatus[int]) -> None:
        self.lives[id] += 1
        self._alive[id] += 1
        if self._alive[id] > 1:
            self.overlap.append(id)
        self._orders.pop(id, None)
        self._opened.discard(id)
        self.note(f"start {id}")
        try:
            if self.refusals.get(id):
                raise self.refusals[id].pop(0)
            while gate and id not in self._opened:
                await self._ordered(id, opened=True)
            self.note(f"up {id}")
            task_status.started(self.lives[id])
            await self._ordered(id)
        except anyio.get_cancelled_exc_class():
            self.note(f"asked {id}")
            if takes or stubborn:
                with anyio.CancelScope(shield=True):
                    if takes:
                        await anyio.sleep(takes)
                    if stubborn and self.lives[id] == 1:
                        with anyio.move_on_after(self.patience):
                            await self._ordered(id)
            raise
        finally:
            self._alive[id] -= 1
            self.note(f"end {id}")

    async def _ordered(self, id: str, *, opened: bool = False) -> None:
        while id not in self._orders:
            if opened and id in self._opened:
                return
            await self.news()
        order = self._orders.pop(id)
        if order is not None:
            raise order


@attrs.define
class Watch:
    """Every record of a tree, through a sink.

    Attributes:
        records: Oldest first.
    """

    play: Play
    records: list[Record] = attrs.field(factory=list)

    def __call__(self, record: Record) -> None:
        self.records.append(record)
        self.play.wake()

    @property
    def lines(self) -> list[str]:
        """The events as ``name id``, or ``name`` for those of the root itself."""
        return [" ".join((record.event.name, *record.event.path[-1:][: len(record.event.path) - 1])) for record in self.records]

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind."""
        return [record.event for record in self.records if isinstance(record.event, kind)]

    def take(self) -> list[str]:
        """Return the lines and begin anew."""
        lines = self.lines
        self.records.clear()
        return lines


def watched(root: Supervisor, play: Play) -> Watch:
    """Watch a tree that has not been entered yet."""
    watch = Watch(play)
    root.add_sink(watch)
    return watch


async def in_retry_loop(play: Play, root: Supervisor, id: str) -> None:
    """Let a child's restart wait for a cooldown that outlasts the test."""
    play.crash(id)
    await play.until(lambda: root.which_child(id).state == "restarting")


def holding(play: Play, *ids: str, **flags: Any) -> Supervisor:
    """Make a supervisor that holds after the first failure, so that the child stays in its retry loop."""
    root = Supervisor("root", [play.child(id) for id in ids], intensity=0, breaker=Breaker(), on_give_up=GiveUp.HOLD, **flags)
    watched(root, play)
    return root
