"""Linux's /proc: one kept descriptor on `statm` for each member of the tree.

Resident minus shared pages is the anonymous memory, what the end of the tree gives back, for about 2 us a process. A kept
descriptor follows exec, reads zeros once the process is a zombie and fails once it is reaped: it can never read a recycled pid.
Membership is refreshed through the `children` files of all threads, so its cost depends on the tree alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Final

import attrs

from supervisor import Entity, ProcessId, identify

from .reader import PROCFS, MemorySample, ProcessMemory, Strays

KEPT: Final = 256
"""Descriptors kept at most, fewer where the limit of open files is low; members beyond are opened for each reading."""

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
_GONE: Final = (FileNotFoundError, ProcessLookupError)

assert sys.platform != "win32", "/proc is Linux's"


@attrs.define(repr=False, eq=False)
class _Member(Entity):
    process: ProcessId
    fd: int | None
    raw: bytes = b""
    memory: ProcessMemory | None = None


class ProcfsReader:
    """See `MemoryReader`. A member stays one until its end, also when its parent dies and it is handed to another."""

    name: Final = PROCFS
    refresh_period: Final = 1.0

    def __init__(self, root: ProcessId, strays: Strays | None = None, *, kept: int | None = None) -> None:
        self._root = root
        self._strays = strays
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._free = _affordable() if kept is None else kept
        self._members: dict[int, _Member] = {}
        self._sizes: tuple[ProcessMemory, ...] = ()
        self._total = 0
        self.is_closed = False

    def read(self, now: float, refresh: bool = True) -> MemorySample | None:
        """See `MemoryReader.read`."""
        sizes = self.members(refresh)
        return None if sizes is None else MemorySample(now, self._total, sizes, PROCFS)

    def members(self, refresh: bool = False) -> tuple[ProcessMemory, ...] | None:
        """The members as in a sample, the same object as the last time if nothing has changed; None when the root is gone.

        Raises:
            OSError: See `MemoryReader.read`.
        """
        if self.is_closed:
            return None
        if not self._members:
            member = self._admit(self._root.pid)
            if member is None or member.process != self._root:
                self.close()
                return None
            refresh = True
        sizes = self._walk() if refresh else self._known()
        if sizes is None:
            self.close()
        elif sizes is not self._sizes:
            self._sizes, self._total = sizes, sum([size.bytes for size in sizes])
        return sizes

    def admit(self, pids: Iterable[int]) -> None:
        """Take in members that somebody else has found.

        Raises:
            OSError: Out of descriptors.
        """
        if self._members:  # before that there is no root, and no telling whether it is the one
            for pid in pids:
                if pid not in self._members:
                    self._admit(pid)

    def close(self) -> None:
        """See `MemoryReader.close`."""
        self.is_closed = True
        for pid in list(self._members):
            self._drop(pid)

    def _known(self) -> tuple[ProcessMemory, ...] | None:
        # most are idle, and then their lines are the same as before: a comparison costs less than to read them
        ended: list[int] = []
        changed = len(self._members) != len(self._sizes)
        for pid, member in self._members.items():
            memory = member.memory
            found = self._memory(member)
            if found is None:
                if pid == self._root.pid:
                    return None
                ended.append(pid)
            changed = changed or found is not memory
        for pid in ended:
            self._drop(pid)
        if not changed:
            return self._sizes
        return tuple([member.memory for member in self._members.values() if member.memory is not None])

    def _walk(self) -> tuple[ProcessMemory, ...] | None:
        waiting = list(self._members)
        seen = set(waiting)
        if self._strays is not None:
            _extend(waiting, seen, self._strays())
        sizes = []
        for pid in waiting:  # grows while it is walked
            member = self._members.get(pid) or self._admit(pid)
            if member is None:
                continue
            children = _children(pid)
            # read after listing: a member that still lives now is the one whose children were listed
            memory = self._memory(member)
            if memory is not None:
                sizes.append(memory)
                _extend(waiting, seen, children)
            elif pid == self._root.pid:
                return None
            else:
                self._drop(pid)
        found = tuple(sizes)
        return self._sizes if found == self._sizes else found

    def _admit(self, pid: int) -> _Member | None:
        fd = None
        if self._free > 0:
            try:
                fd = os.open(b"/proc/%d/statm" % pid, _FLAGS)
            except _GONE:
                return None
        try:
            process = identify(pid)
        except BaseException:
            if fd is not None:
                os.close(fd)
            raise
        if process is None:
            if fd is not None:
                os.close(fd)
            return None
        if fd is not None:
            self._free -= 1
        member = self._members[pid] = _Member(process, fd)
        return member

    def _drop(self, pid: int) -> None:
        member = self._members.pop(pid)
        if member.fd is not None:
            os.close(member.fd)
            self._free += 1

    def _memory(self, member: _Member) -> ProcessMemory | None:
        """Of one process, the same object if nothing has changed; None when it is gone or a zombie."""
        try:
            if member.fd is not None:
                data = os.pread(member.fd, 128, 0)
                if data == member.raw:
                    return member.memory
            else:
                data = _read(b"/proc/%d/statm" % member.process.pid)
                if identify(member.process.pid) != member.process:
                    return None
        except _GONE:
            return None
        fields = data.split(None, 3)
        if len(fields) < 3:
            return None
        if fields[0] == b"0":
            size = self._size_by_threads(member.process.pid)
        else:
            size = max(0, int(fields[1]) - int(fields[2])) * self._page
            member.raw = data  # not those zeros: its threads can still grow
        if size is None:
            member.memory = None
        elif member.memory is None or member.memory.bytes != size:
            member.memory = ProcessMemory(member.process, size)
        return member.memory

    def _size_by_threads(self, pid: int) -> int | None:
        """A leader that ended before its other threads shows nothing itself; they share its memory."""
        try:
            for thread in os.listdir(b"/proc/%d/task" % pid):
                fields = _read(b"/proc/%d/task/%b/statm" % (pid, thread)).split(None, 3)
                if len(fields) >= 3 and fields[0] != b"0":
                    return max(0, int(fields[1]) - int(fields[2])) * self._page
        except _GONE:
            return None
        return None


def _children(pid: int) -> list[int]:
    found: list[int] = []
    tasks = b"/proc/%d/task/" % pid
    try:
        threads = os.listdir(tasks)
    except _GONE:
        return found
    for thread in threads:
        # a walk is these three calls, once for each thread of the tree: nothing else belongs in here
        try:
            fd = os.open(tasks + thread + b"/children", _FLAGS)
        except _GONE:
            continue
        try:
            data = os.read(fd, 4096)
            while len(data) >= 4000 and (more := os.read(fd, 4096)):
                data += more
        except _GONE:
            continue
        finally:
            os.close(fd)
        if data:
            found += [int(child) for child in data.split()]
    return found


def _read(path: bytes) -> bytes:
    fd = os.open(path, _FLAGS)
    try:
        data = os.read(fd, 4096)
        if len(data) < 4000:
            return data
        parts = [data]
        while data := os.read(fd, 4096):
            parts.append(data)
        return b"".join(parts)
    finally:
        os.close(fd)


def _extend(waiting: list[int], seen: set[int], pids: Iterable[int]) -> None:
    for pid in pids:
        if pid not in seen:
            seen.add(pid)
            waiting.append(pid)


def _affordable() -> int:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return KEPT if soft == resource.RLIM_INFINITY else max(0, min(KEPT, soft // 8))
