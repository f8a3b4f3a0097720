"""Holding a leaf: nothing of it runs, it gets no signal for that and its shell sees nothing of it.

    freeze   its cgroup is frozen, at once, when the guardian says so
    limit    version 1: at a limit beyond emergency the kernel lets it wait instead of killing in it, whether the guardian is quick
             enough or not; version 2 slows it down there (`memory.high`, see `crossings.High2`)

Where there is no cgroup a leaf is not held: SIGSTOP is seen by its shell and by its parents, and takes the terminal from it.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..policy.pressure import Thresholds
    from .ports import Cgroup

LEEWAY: Final = 32 << 20
"""Bytes beyond emergency, at least, at which the kernel holds a leaf that the guardian was too slow for."""

_NO_LIMIT: Final = b"-1"
_GONE: Final = (errno.ENOENT, errno.ENODEV)


def leeway(thresholds: Thresholds) -> int:
    """Bytes beyond emergency at which the kernel holds a leaf, and that one gets which is asked to end: a 32nd of emergency."""
    return max(LEEWAY, thresholds.emergency_bytes // 32)


class LeafHold:
    """What can be done to one life of a leaf.

    Attributes:
        until: When a hold is over at the latest, monotonic; None when the leaf is not held.
    """

    def __init__(self, group: Cgroup | None) -> None:
        """For a life in this cgroup, or in none.

        Raises:
            OSError: No descriptors.
        """
        self._group = group
        self._freezes = group is not None and group.can_freeze
        self._limit = self._killer = -1
        self._set: int | None = None
        self._kills = True
        self._second = False
        self.until: float | None = None
        memory = None if group is None else group.memory
        if memory is not None and os.access(f"{memory}/memory.high", os.W_OK):
            self._second = True
        elif memory is not None and os.access(f"{memory}/memory.oom_control", os.W_OK):
            # kept: without descriptors nobody could be let go
            self._limit = os.open(f"{memory}/memory.limit_in_bytes", os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
            try:
                self._killer = os.open(f"{memory}/memory.oom_control", os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
            except BaseException:
                os.close(self._limit)
                raise

    @property
    def ways(self) -> tuple[str, ...]:
        """How this leaf can be held: ``freeze``; ``limit``, or ``high`` in version 2; or not at all."""
        slows = ("limit",) if self._limit >= 0 else ("high",) if self._second else ()
        return (*(("freeze",) if self._freezes else ()), *slows)

    @property
    def is_armed(self) -> bool:
        """Whether the kernel would hold it at a limit, or cannot."""
        return self._limit < 0 or not self._kills

    @property
    def is_paused(self) -> bool:
        """Whether the kernel has paused it at the limit."""
        return self._killer >= 0 and not self._kills and b"under_oom 1" in _get(self._killer)

    def arm(self, thresholds: Thresholds) -> None:
        """Have the kernel hold it when it has so much more than emergency; page cache gives way before that. Not while it is held.

        Raises:
            OSError: The kernel does not want to.
        """
        if self._limit < 0 or self.until is not None:
            return
        counts, besides = self._charged()
        if counts >= thresholds.emergency_bytes:
            return
        charge = thresholds.emergency_bytes + leeway(thresholds) + besides
        if self._set is None or self._kills or abs(self._set - charge) > LEEWAY // 4:
            self._allow(charge, kills=False)

    def hold(self, until: float) -> bool:
        """Hold it now; whether that can be done.

        Raises:
            OSError: No descriptors.
        """
        held = self._freezes and self._group is not None and self._group.freeze()
        if held or self.is_paused:
            self.until = until
        return self.until is not None

    def release(self) -> None:
        """Let it go on, as far as it will.

        Raises:
            OSError: It cannot be told.
        """
        self.until = None
        self._allow(None, kills=True)
        self._write2("memory.high", "max")
        self._thaw()

    def let_end(self, thresholds: Thresholds) -> None:
        """Let it go on to end in order; it gets a little memory more for that, and what needs still more is killed.

        Raises:
            OSError: It cannot be told.
        """
        more = leeway(thresholds)
        if self._limit >= 0:
            self._allow(int(_read(self._of("memory.usage_in_bytes"))) + more, kills=True)
        elif self._second:
            self._write2("memory.max", str(int(_read(self._of("memory.current"))) + more))
            self._write2("memory.high", "max")
        self.until = None
        self._thaw()

    def cap(self, thresholds: Thresholds) -> None:
        """Have the kernel kill in it beyond emergency, because nobody sees any more how much it has.

        Raises:
            OSError: The kernel does not want to.
        """
        # where it was armed, the charge is known, and no descriptor is needed
        charge = thresholds.emergency_bytes + leeway(thresholds) if self._set is None else self._set
        self._allow(charge, kills=True)
        self._write2("memory.max", str(charge))

    def uncap(self) -> None:
        """Undo `cap`, unless it was armed since: it can be seen again.

        Raises:
            OSError: It cannot be told.
        """
        if self._kills:
            self._allow(None, kills=True)
        self._write2("memory.max", "max")

    def close(self) -> None:
        """Let it go on, and give back the descriptors. May be called again."""
        try:
            if self._limit >= 0 or self._second or self.until is not None:
                self.release()
        except OSError as error:
            if error.errno not in _GONE:
                raise
        finally:
            for fd in (self._limit, self._killer):
                if fd >= 0:
                    os.close(fd)
            self._limit = self._killer = -1

    def _allow(self, charge: int | None, *, kills: bool) -> None:
        if self._limit < 0 or (charge, kills) == (self._set, self._kills):
            return
        # a higher limit first, or the killer would be let loose on one who is to go on
        _put(self._limit, _NO_LIMIT if charge is None else b"%d" % charge)
        self._set = charge
        if kills != self._kills:
            _put(self._killer, b"0" if kills else b"1")
            self._kills = kills

    def _charged(self) -> tuple[int, int]:
        """Bytes that count, and bytes that do not and cannot be taken from it: shared memory, and the kernel's own."""
        stat = dict(line.split() for line in _read(self._of("memory.stat")).splitlines() if line.startswith("total_"))
        counts, cache, shared = (int(stat[f"total_{name}"]) for name in ("rss", "cache", "shmem"))
        return counts, max(0, int(_read(self._of("memory.usage_in_bytes"))) - counts - cache + shared)

    def _write2(self, name: str, value: str) -> None:
        if self._second:
            fd = os.open(self._of(name), os.O_WRONLY | getattr(os, "O_CLOEXEC", 0))
            try:
                os.write(fd, value.encode())
            finally:
                os.close(fd)

    def _of(self, name: str) -> str:
        return f"{None if self._group is None else self._group.memory}/{name}"

    def _thaw(self) -> None:
        if self._group is not None and self._group.is_frozen:
            self._group.thaw()


def _put(fd: int, value: bytes) -> None:
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, value)


def _get(fd: int) -> bytes:
    os.lseek(fd, 0, os.SEEK_SET)
    return os.read(fd, 256)


def _read(file: str) -> str:
    with open(file, "rb", buffering=0) as stream:
        return stream.read(8192).decode()
