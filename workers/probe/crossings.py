"""The kernel's word that a leaf's memory has crossed a mark, or that the leaf was paused at its limit: one source for each leaf.

Version 1 counts up an eventfd at each mark, in either direction. To set marks waits for a grace period of the kernel's, some ten
milliseconds, so it is done in a thread; all marks of a leaf share one eventfd with the word that it ran into its limit.
Version 2 has no marks but `memory.high`, at which it slows the leaf down and says so in `memory.events`.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .ports import Crossings

_FLAGS: Final = getattr(os, "O_CLOEXEC", 0)


class Word(Enum):
    """What was told."""

    CROSSED = "crossed"
    """A mark was crossed, or something else was charged: look."""

    PAUSED = "paused"
    """The leaf stands at its limit and does nothing until that is raised."""


assert sys.platform == "linux", "cgroups are Linux's"


class Thresholds1:
    """Version 1: `cgroup.event_control`."""

    name: Final = "threshold"
    mask: Final = select.EPOLLIN

    def __init__(self, directory: str) -> None:
        """Begin without marks.

        Raises:
            OSError: The cgroup is gone, or there are no descriptors.
        """
        self._directory = directory
        self.fd = -1
        self._usage = os.open(f"{directory}/memory.usage_in_bytes", os.O_RDONLY | _FLAGS)
        try:
            self._oom = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | _FLAGS)
        except BaseException:
            os.close(self._usage)
            raise

    def charged(self) -> int:
        """See `Crossings.charged`."""
        return int(os.pread(self._usage, 64, 0))

    def prepare(self, charges: Sequence[int]) -> int:
        """See `Crossings.prepare`."""
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            # an event lives as long as its eventfd, and needs neither of the other two for that
            register = os.open(f"{self._directory}/cgroup.event_control", os.O_WRONLY | _FLAGS)
            try:
                os.write(register, b"%d %d" % (fd, self._oom))
                for charge in charges:
                    os.write(register, b"%d %d %d" % (fd, self._usage, charge))
            finally:
                os.close(register)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def arm(self, fd: int) -> None:
        """See `Crossings.arm`."""
        self.disarm()
        self.fd = fd

    def heard(self) -> Word:
        """See `Crossings.heard`."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            pass
        return Word.PAUSED if b"under_oom 1" in os.pread(self._oom, 256, 0) else Word.CROSSED

    def disarm(self) -> None:
        """See `Crossings.disarm`."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def close(self) -> None:
        """See `Crossings.close`."""
        self.disarm()
        for fd in (self._usage, self._oom):
            if fd >= 0:
                os.close(fd)
        self._usage = self._oom = -1


class High2:
    """Version 2: `memory.high` at the next mark, `memory.events` when it is reached; until it is raised the leaf is slowed down there."""

    name: Final = "high"
    mask: Final = select.EPOLLPRI

    def __init__(self, directory: str) -> None:
        """Begin without marks.

        Raises:
            OSError: The cgroup is gone, or there are no descriptors.
        """
        self._directory = directory
        self.fd = -1
        self._limited = False
        self._usage = os.open(f"{directory}/memory.current", os.O_RDONLY | _FLAGS)

    def charged(self) -> int:
        """See `Crossings.charged`."""
        return int(os.pread(self._usage, 64, 0))

    def prepare(self, charges: Sequence[int]) -> int:
        """See `Crossings.prepare`."""
        fd = os.open(f"{self._directory}/memory.events", os.O_RDONLY | _FLAGS)
        try:
            os.pread(fd, 4096, 0)  # until it is read it has nothing new to say
            now = self.charged()
            self._limit(next((charge for charge in charges if charge > now), None))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def arm(self, fd: int) -> None:
        """See `Crossings.arm`."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = fd

    def heard(self) -> Word:
        """See `Crossings.heard`."""
        os.pread(self.fd, 4096, 0)
        return Word.CROSSED  # who is slowed down is not paused

    def disarm(self) -> None:
        """See `Crossings.disarm`."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self._limited:
            try:
                self._limit(None)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    raise

    def close(self) -> None:
        """See `Crossings.close`."""
        try:
            self.disarm()
        finally:
            if self._usage >= 0:
                os.close(self._usage)
            self._usage = -1

    def _limit(self, charge: int | None) -> None:
        self._limited = charge is not None
        fd = os.open(f"{self._directory}/memory.high", os.O_WRONLY | _FLAGS)
        try:
            os.write(fd, b"max" if charge is None else b"%d" % charge)
        finally:
            os.close(fd)


def crossings(directory: str | None) -> Crossings | None:
    """What tells of a leaf that is counted in this cgroup; None where nothing does.

    Raises:
        OSError: No descriptors.
    """
    if directory is None:
        return None
    try:
        if os.path.exists(f"{directory}/memory.high"):
            return High2(directory)
        if os.access(f"{directory}/cgroup.event_control", os.W_OK):
            return Thresholds1(directory)
    except FileNotFoundError:
        return None  # it has just ended
    return None
