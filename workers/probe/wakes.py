"""What the kernel tells of leaves between two sweeps: crossings of the levels, pauses at the limit, a shortage of the host's memory.

Each word is confirmed by reading what counts. One that comes a little before the crossing is followed by looks every two
milliseconds for a moment; one for nothing takes the marks of that leaf away for a while (`policy/arming.py`). Marks are set by one
task, in a thread, one leaf at a time.
"""

from __future__ import annotations

import math
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from supervisor import Entity

from ..policy.arming import Marks, Patience, disappointed, has_drifted, is_near, is_spent, marks
from ..policy.pressure import MemoryState, classify

if sys.platform == "linux":
    import resource

    from .alarm import Alarm
    from .crossings import Word, crossings

if TYPE_CHECKING:
    from .ports import Crossings
    from .worker import Sweep, Watch

CHASE: Final = 0.05
STEP: Final = 0.002
"""For how long, and how often, a leaf is looked at that is about to cross: seconds."""

BIRTH: Final = 0.05
"""Seconds from the start of a life until the kernel is asked to tell of it."""

SETTLE: Final = 0.1
"""How often, in seconds, a leaf above a level is looked at that was not judged yet."""

PRESSURE_PAUSE: Final = 2.0
"""Seconds between two sweeps because of the host's pressure."""

_PRICE: Final = 8
"""Descriptors that a leaf takes for this."""

assert sys.platform == "linux", "epoll and cgroups are Linux's"


@attrs.define(repr=False, eq=False)
class Source(Entity):
    """The source of one leaf.

    Attributes:
        armed: What it was asked to tell; None while it has no marks.
        wanted: What it is to be asked next; None when nothing is.
        setting: Whether that is being done, in a thread that uses its descriptors.
        doomed: Whether it is to be closed after that.
        at: When to look next because of a word that was not confirmed; infinite when none is open.
        until: Until when such looks go on; after that it gets its marks again.
    """

    watch: Watch
    crossings: Crossings
    armed: Marks | None = None
    wanted: Marks | None = None
    setting: bool = False
    doomed: bool = False
    patience: Patience = Patience()
    at: float = math.inf
    until: float = -math.inf


class KernelWakes:
    """See `Wakes`."""

    def __init__(self, sweep: Sweep) -> None:
        """Begin without leaves.

        Raises:
            OSError: No descriptors.
        """
        self._sweep = sweep
        self._alarm = Alarm()
        self._sources: dict[int, Source] = {}
        self._by_fd: dict[int, Source] = {}
        self._queue: list[Source] = []
        self._queued = anyio.Event()
        self._room = _room()
        self._pressed = -math.inf

    def opened(self, watch: Watch) -> None:
        """See `Wakes`. Without descriptors to spare a leaf is looked at by the intervals alone, and cannot be held at a limit."""
        life = watch.life
        if not life.has_group or len(self._sources) >= self._room:
            return
        with suppress(OSError):
            life.prepare_hold()
            if (found := crossings(life.memory)) is not None:
                # marks cost a thread some time, which a command that is over at once can do without; its limit is set already
                self._sources[id(watch)] = Source(watch, found, at=anyio.current_time() + BIRTH)

    def closed(self, watch: Watch) -> None:
        """See `Wakes`."""
        source = self._sources.pop(id(watch), None)
        if source is not None:
            self._disarm(source)
            source.doomed = True
            if not source.setting:
                source.crossings.close()

    def sampled(self, watch: Watch, total_bytes: int, now: float) -> None:
        """See `Wakes`. Here marks that have drifted are set anew."""
        source = self._sources.get(id(watch))
        if source is None or source.setting or source.wanted is not None or now < source.patience.not_before:
            return
        with suppress(OSError):  # it has just ended
            charged = source.crossings.charged()
            if source.armed is None or has_drifted(source.armed, total_bytes, charged):
                self._want(source, total_bytes, charged)

    def look(self, now: float) -> float:
        """See `Wakes`."""
        soonest = math.inf
        for source in list(self._sources.values()):
            if source.at <= now:
                self._look(source, now)
            soonest = min(soonest, source.at)
        return soonest

    async def run(self) -> None:
        """See `Wakes`.

        **Cancellation:** at any time; a thread that sets marks is waited for.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._set_marks)
            while True:
                fds, pressed = await self._alarm.wait()
                now = anyio.current_time()
                for fd in fds:
                    if (source := self._by_fd.get(fd)) is not None:
                        self._heard(source, now)
                if pressed and now - self._pressed >= PRESSURE_PAUSE:
                    self._pressed = now
                    self._sweep.desk.strained()
                    for leaf in self._sweep.desk.leaves:
                        # what has just started says nothing yet
                        if not leaf.is_fresh and leaf.due < math.inf:
                            self._sweep.sample(leaf, now)

    def close(self) -> None:
        """See `Wakes`."""
        for source in list(self._sources.values()):
            self.closed(source.watch)
        self._alarm.close()

    def _heard(self, source: Source, now: float) -> None:
        try:
            word = source.crossings.heard()
        except OSError:
            self._disarm(source)  # the cgroup is gone: whoever ended is reported elsewhere
            return
        if word is Word.PAUSED:
            self._sweep.sample(source.watch.leaf, now, paused=True)
            return
        source.until = now + CHASE
        self._look(source, now)
        if source.at < math.inf:
            self._sweep.desk.wake(source.at)

    def _look(self, source: Source, now: float) -> None:
        """Read what counts: pass it on if it has crossed, look again if it is about to, and let the marks be if not."""
        source.at = math.inf
        if source.watch.leaf.is_fresh and source.armed is None:
            with suppress(OSError):  # it has just ended
                # all of it may count: a mark that comes too early is confirmed by a look, one that comes too late is not
                self._want(source, charged := source.crossings.charged(), charged)
            return
        total = self._confirm(source, now)
        if total is None:
            return
        thresholds = source.watch.leaf.thresholds
        if source.armed is None:
            self.sampled(source.watch, total, now)  # it has waited long enough for its marks
        elif now < source.until and is_near(thresholds, total):
            source.at = now + STEP
        elif source.watch.leaf.is_fresh and total >= thresholds.warning_bytes:
            source.at = now + SETTLE  # what it crosses until it is judged for the first time was not told
        elif not self._is_above(source, total) or self._is_spent(source, total):
            source.patience = disappointed(source.patience, now)
            source.at = source.patience.not_before
            self._disarm(source)

    def _confirm(self, source: Source, now: float) -> int | None:
        """Pass on what counts if that is a higher level; else the total, and None as well when there is none."""
        watch, leaf = source.watch, source.watch.leaf
        if watch.life.is_stopping:
            return None
        try:
            taken = self._sweep.read(watch, now, refresh=False)
        except OSError:
            self._sweep.sample(leaf, now)  # which says so
            return None
        if taken is None:
            return None
        # a life that has not settled has no level, whatever the one before it had: what it loads says nothing, unless that is an emergency
        before = MemoryState.CRITICAL if leaf.is_fresh else leaf.level
        if classify(leaf.thresholds, taken.total_bytes, None if leaf.is_fresh else before).rank > before.rank:
            watch.life.told(taken)
            return None
        return taken.total_bytes

    def _is_above(self, source: Source, total: int) -> bool:
        """Whether it was not for nothing: the leaf is above a mark, and has been."""
        leaf = source.watch.leaf
        return leaf.level.rank > 0 and total >= leaf.thresholds.leave_bytes(leaf.level)

    @staticmethod
    def _is_spent(source: Source, total: int) -> bool:
        """Whether the next level would be reached unheard."""
        try:
            return source.armed is not None and is_spent(source.armed, total, source.crossings.charged())
        except OSError:  # it has just ended
            return False

    def _want(self, source: Source, total: int, charged: int) -> None:
        source.wanted = marks(source.watch.leaf.thresholds, total, charged)
        self._queue.append(source)
        self._queued.set()

    async def _set_marks(self) -> None:
        limiter = anyio.CapacityLimiter(1)
        while True:
            await self._queued.wait()
            self._queued = anyio.Event()
            while self._queue:
                source = self._queue.pop(0)
                if source.wanted is not None and not source.doomed:
                    await self._set(source, source.wanted, limiter)

    async def _set(self, source: Source, wanted: Marks, limiter: anyio.CapacityLimiter) -> None:
        source.setting = True
        fd = -1
        try:
            fd = await anyio.to_thread.run_sync(source.crossings.prepare, wanted.charges, limiter=limiter)
        except OSError:
            source.doomed = True  # the cgroup is gone, or the kernel has no more of them: the intervals are left
        finally:
            source.setting, source.wanted = False, None
            if source.doomed:
                if fd >= 0:
                    os.close(fd)
                source.crossings.close()
        if source.doomed:
            self._sources.pop(id(source.watch), None)
            return
        self._unwatch(source)
        source.crossings.arm(fd)
        try:
            self._alarm.add(fd, source.crossings.mask)
        except OSError:  # the user has as many watches as he may
            source.crossings.close()
            self._sources.pop(id(source.watch), None)
            return
        self._by_fd[fd] = source
        source.armed = wanted
        self._confirm(source, anyio.current_time())  # what was crossed while they were set was not told
        source.watch.life.armed(source.crossings.name)

    def _unwatch(self, source: Source) -> None:
        if source.armed is not None:
            source.armed = None
            source.watch.life.armed("")
        if source.crossings.fd >= 0 and self._by_fd.pop(source.crossings.fd, None) is not None:
            self._alarm.remove(source.crossings.fd)

    def _disarm(self, source: Source) -> None:
        self._unwatch(source)
        source.crossings.disarm()


def _room() -> int:
    """How many leaves get this: a quarter of the descriptors that this process may have is for it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft // 4 // _PRICE
