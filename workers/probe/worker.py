"""The probe: one sweep over all leaves that are due, one sample each, and nothing decided here."""

from __future__ import annotations

import math
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
import attrs

from supervisor import Entity

from .choice import ReaderChain, open_reader
from .reader import MemorySample, NoReader

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from anyio.abc import TaskStatus

    from ..ledger import Ledger
    from .ports import Desk, Life, Wakes, Watched

SLACK: Final = 8
"""A sample may be taken sooner by this part of its interval, when another leaf is looked at anyway: so a thousand leaves soon share a few
wake-ups."""

BLIND_PAUSE: Final = 5.0
"""Seconds, at most, until somebody tries to read again what could not be read."""


@attrs.define(repr=False, eq=False)
class Watch(Entity):
    """What is open for one life of a leaf."""

    life: Life
    reader: ReaderChain
    refreshed: float = -math.inf

    @property
    def leaf(self) -> Watched:
        """Whose life it is."""
        return self.life.leaf


async def probe(ledger: Ledger, *, task_status: TaskStatus[None]) -> None:
    """Sample every leaf when it is due, or when the kernel says that it has grown, until cancelled.

    **Cancellation:** at any time; descriptors are closed, and a leaf that is held is let go.
    """
    from .desk import LedgerDesk

    await sweeping(LedgerDesk(ledger), task_status.started)


async def sweeping(desk: Desk, started: Callable[[], object], *beside: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Sweep for a desk.

    Args:
        desk: Says which leaves there are, and gets the samples.
        started: Called once all is ready.
        beside: Run along with the sweep.

    **Cancellation:** at any time; descriptors are closed.
    """
    sweep = Sweep(desk)
    failure: Exception | None = None
    try:
        async with anyio.create_task_group() as tasks:
            try:
                if sweep.wakes is not None:
                    tasks.start_soon(sweep.wakes.run)
                for one in beside:
                    tasks.start_soon(one)
                started()
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

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.watches: dict[str, Watch] = {}
        self.wakes = _wakes(self)

    async def run(self) -> None:
        """Look at who is due, again and again.

        **Cancellation:** at any time.
        """
        desk = self.desk
        while True:
            now = anyio.current_time()
            soonest = math.inf
            while (parted := desk.parted()) is not None:
                self._part(parted)
            for leaf in desk.leaves:
                if leaf.stirred:
                    self._attend(leaf)
                if leaf.due - leaf.slack <= now:
                    self.sample(leaf, now)
                if leaf.due < soonest:
                    soonest = leaf.due
            if self.wakes is not None:
                soonest = min(soonest, self.wakes.look(now))
            await desk.looked(min(soonest, desk.let_go(now)))

    def sample(self, leaf: Watched, now: float, *, paused: bool = False) -> None:
        """Take one sample of a leaf and pass it on; a leaf that does not run is looked at again when it starts.

        Args:
            leaf: Whose.
            now: The time it will bear.
            paused: The kernel says that it stands at its limit.
        """
        pause = self.desk.pause(leaf, now)
        leaf.due, leaf.slack = now + pause, min(pause / SLACK, 1.0)
        try:
            watch = self.watching(leaf)
            taken = None if watch is None else self.read(watch, now)
        except (OSError, NoReader) as error:  # the boundary where readers that fail become an unknown sample
            leaf.due = min(leaf.due, now + BLIND_PAUSE)
            self.desk.unread(leaf, str(error))
            return
        if watch is None or taken is None:
            leaf.due = math.inf
            return
        watch.life.told(taken, paused=paused)
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
            changes, watch.reader.changes = watch.reader.changes, []
            for change in changes:
                watch.life.changed(change)
        return taken

    def watching(self, leaf: Watched) -> Watch | None:
        """What is open for the leaf's present life, opened if it is a new one; None when it does not run, or is being stopped.

        What is left of a tree that is being stopped says nothing of the memory it needed.
        """
        watch = self.watches.get(leaf.name)
        if watch is not None and watch.life.is_stopping:
            watch.life.let_end()  # nobody looks at it any more
        elif watch is not None and not leaf.stirred:
            return watch
        life = self.desk.living(leaf)
        if watch is not None and watch.life is not life:
            self._close(self.watches.pop(leaf.name))
            watch = None
        if watch is None and life is not None:
            watch = self._open(leaf, life)
        leaf.stirred = False
        return watch

    def close(self) -> None:
        """Give everything back."""
        for watch in self.watches.values():
            self._close(watch)
        if self.wakes is not None:
            self.wakes.close()

    def _attend(self, leaf: Watched) -> None:
        """Give back what is open for a life that is over, and open what there is for a new one.

        Its first sample can wait until it has settled, but the kernel is to hold it at its limit from its start.
        """
        with suppress(OSError, NoReader):  # its first sample says so
            self.watching(leaf)

    def _part(self, leaf: Any) -> None:
        """Give back what is open for a leaf that is no longer there; another one may have its name by now."""
        watch = self.watches.get(leaf.name)
        if watch is not None and watch.leaf is leaf:
            self._close(self.watches.pop(leaf.name))

    def _open(self, leaf: Watched, life: Life) -> Watch:
        reader = open_reader(life.root, life.strays, life.memory)
        watch = self.watches[leaf.name] = Watch(life, reader)
        life.opened(reader.name)
        if self.wakes is not None and self.desk.acts:
            self.wakes.opened(watch)
        return watch

    def _close(self, watch: Watch) -> None:
        watch.reader.close()
        if self.wakes is not None:
            self.wakes.closed(watch)
        watch.life.close()


def _wakes(sweep: Sweep) -> Wakes | None:
    if sys.platform == "linux" and sweep.desk.listens:
        from .wakes import KernelWakes

        with suppress(OSError):  # no descriptors: there are the intervals
            return KernelWakes(sweep)
    return None
