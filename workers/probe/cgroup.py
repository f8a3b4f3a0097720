"""The kernel's own count of a leaf's memory, from the memory controller of its cgroup.

What is counted is anonymous memory, swapped out or not: what the end of the tree gives back, the same that the other readers count, so
that a takeover moves no level. Page cache, shared memory and tmpfs are not in it, and a page that is shared since a fork is in it
once. The kernel's memory for the tree (page tables, sockets) is left out: no other reader can see it.

The count covers who has left the tree and stayed in the cgroup. Who has left the *cgroup* is charged elsewhere, so this reader fails
then, and the one of /proc takes over.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

from supervisor import ProcessId, is_alive

from .reader import CGROUP2, MemorySample, ProcessMemory, Strays, again

LOOK_AROUND: Final = 30.0
"""Seconds between walks of the tree, for members that are not in the cgroup; in between its list of members is read alone."""

if sys.platform != "win32":
    from .procfs import ProcfsReader

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE)

assert sys.platform != "win32", "cgroups are Linux's"


class CgroupReader:
    """See `MemoryReader`. Out of descriptors the total is still right; the members are those that were known before."""

    # a thousand leaves are not in the processor's caches: each object less is
    __slots__ = ("_account", "_directory", "_fd", "_last", "_looked", "_seen", "_total", "_tree", "_usage", "name")
    refresh_period: Final = 5.0

    def __init__(self, name: str, root: ProcessId, directory: str, strays: Strays | None = None) -> None:
        self.name: Final = name
        self._directory = directory
        self._tree = ProcfsReader(root, strays)
        self._account = Account2(directory) if name == CGROUP2 else Account1(directory)
        self._looked = float("-inf")
        self._usage: bytes = b""
        self._seen: tuple[ProcessMemory, ...] = ()
        self._last: MemorySample | None = None
        self._total = 0
        self._fd = -1

    def read(self, now: float, refresh: bool = True) -> MemorySample | None:
        """See `MemoryReader.read`.

        Raises:
            OSError: It cannot be read now, or a member of the tree has left the cgroup.
        """
        if refresh or not self._seen:
            if self._tree.is_closed:
                return None
            self._account.open()
            self._fd = self._account.usage
            members = self._refreshed(now)
        elif os.pread(self._fd, 64, 0) == self._usage and self._last is not None:
            # nothing was charged or given back, but for what the kernel charges in advance: of an idle leaf this is the only look
            return again(self._last, now)
        else:
            members = self._tree.members()
        if members is None:
            self.close()
            return None
        usage = os.pread(self._fd, 64, 0)
        # of an idle tree neither has changed, and the third file is the dearest
        if members is not self._seen or usage != self._usage:
            self._total = self._account.total()
            self._usage, self._seen = usage, members
        self._last = MemorySample(now, self._total, members, self.name)
        return self._last

    def close(self) -> None:
        """See `MemoryReader.close`."""
        self._tree.close()
        self._account.close()
        self._fd = -1
        self._seen = ()

    def _refreshed(self, now: float) -> tuple[ProcessMemory, ...] | None:
        try:
            around = now - self._looked >= LOOK_AROUND
            if around:
                members = self._tree.members(refresh=True)
                pids = pids_in(self._directory)
            else:
                pids = pids_in(self._directory)
                self._tree.admit(pids)
                members = self._tree.members()
        except OSError as error:
            if error.errno in _EXHAUSTED and self._seen:
                return self._tree.members()
            raise
        if members is None:
            return None
        gone = [member.process for member in members if member.process.pid not in pids]
        if gone and (left := [process for process in gone if is_alive(process)]):
            raise OSError(errno.EXDEV, f"process {left[0].pid} has left the cgroup, where its memory is not counted any more")
        if around:
            self._looked = now
            self._tree.admit(pids)
            members = self._tree.members()
        return members


class Account1:
    """The files of version 1; `usage` is the descriptor of the one that says all that is charged to the cgroup."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._stat = -1
        self.usage = -1

    def open(self) -> None:
        """Open them, once.

        Raises:
            OSError: One cannot be.
        """
        if self.usage < 0:
            self._stat = _open(self._stat, f"{self._directory}/memory.stat")
            self.usage = _open(self.usage, f"{self._directory}/memory.usage_in_bytes")

    def total(self) -> int:
        """Bytes that count."""
        data = os.pread(self._stat, 8192, 0)
        return _field(data, b"\ntotal_rss ") + _field(data, b"\ntotal_swap ")

    def close(self) -> None:
        """Give back the descriptors."""
        for fd in (self._stat, self.usage):
            if fd >= 0:
                os.close(fd)
        self._stat = self.usage = -1


class Account2:
    """The files of version 2, likewise."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._stat = -1
        self.usage = -1
        self._swap = -1

    def open(self) -> None:
        """Open them, once.

        Raises:
            OSError: One cannot be.
        """
        if self.usage < 0:
            self._stat = _open(self._stat, f"{self._directory}/memory.stat")
            if os.path.exists(f"{self._directory}/memory.swap.current"):  # not where swap is not accounted
                self._swap = _open(self._swap, f"{self._directory}/memory.swap.current")
            self.usage = _open(self.usage, f"{self._directory}/memory.current")

    def total(self) -> int:
        """Bytes that count."""
        swapped = int(os.pread(self._swap, 64, 0)) if self._swap >= 0 else 0
        return _field(b"\n" + os.pread(self._stat, 8192, 0), b"\nanon ") + swapped

    def close(self) -> None:
        """Give back the descriptors."""
        for fd in (self._stat, self.usage, self._swap):
            if fd >= 0:
                os.close(fd)
        self._stat = self.usage = self._swap = -1


def pids_in(directory: str) -> set[int]:
    """Who is in a cgroup and below it; zombies are not always told.

    Raises:
        OSError: It cannot be read.
    """
    found = _pids(directory)
    if os.stat(directory).st_nlink > 2:  # the kernel counts the directories in a directory
        with os.scandir(directory) as entries:
            inner = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for each in inner:
            try:
                found |= pids_in(each)
            except FileNotFoundError:
                continue  # removed meanwhile
    return found


def _pids(directory: str) -> set[int]:
    fd = os.open(f"{directory}/cgroup.procs", _FLAGS)
    try:
        data = os.read(fd, 65536)
        while len(data) >= 4000 and (more := os.read(fd, 65536)):
            data += more
    finally:
        os.close(fd)
    return {int(pid) for pid in data.split()}


def _open(fd: int, path: str) -> int:
    return fd if fd >= 0 else os.open(path, _FLAGS)


def _field(data: bytes, name: bytes) -> int:
    at = data.find(name)
    if at < 0:
        raise OSError(errno.ENODATA, f"the kernel does not tell {name.decode().strip()}")
    end = data.find(b"\n", at + 1)
    return int(data[at + len(name) : end if end > 0 else None])
