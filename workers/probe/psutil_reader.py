"""psutil: for hosts without /proc, and where /proc hides what is needed. Imported only when it is chosen.

Resident less shared memory where the system tells both (Linux); private memory on Windows; elsewhere resident memory, which
counts what processes share once for each of them.
"""

from __future__ import annotations

from typing import Any, Final

import psutil

from supervisor import ProcessId, identify

from .reader import PSUTIL, MemorySample, ProcessMemory, Strays


class PsutilReader:
    """See `MemoryReader`. A refresh reads the parents of all processes of the host."""

    name: Final = PSUTIL
    refresh_period: Final = 5.0

    def __init__(self, root: ProcessId, strays: Strays | None = None) -> None:
        self._root = root
        self._strays = strays
        self._members: dict[int, tuple[ProcessId, psutil.Process]] = {}
        self._gone = False

    def read(self, now: float, refresh: bool = True) -> MemorySample | None:
        """See `MemoryReader.read`."""
        if self._gone:
            return None
        if not self._members:
            self._admit(self._root.pid)
            member = self._members.get(self._root.pid)
            if member is None or member[0] != self._root:
                self.close()
                return None
            refresh = True
        if refresh:
            self._refresh()
        sizes = []
        for pid, (process, handle) in list(self._members.items()):
            size = _size(handle)
            if size is not None:
                sizes.append(ProcessMemory(process, size))
            elif pid == self._root.pid:
                self.close()
                return None
            else:
                del self._members[pid]
        return MemorySample(now, sum(size.bytes for size in sizes), tuple(sizes), PSUTIL)

    def close(self) -> None:
        """See `MemoryReader.close`."""
        self._gone = True
        self._members.clear()

    def _refresh(self) -> None:
        if self._strays is not None:
            for pid in self._strays():
                self._admit(pid)
        below: set[int] = set()
        for pid, (_, handle) in list(self._members.items()):
            if pid in below:
                continue  # the whole host was read for the member above it
            try:
                for child in handle.children(recursive=True):
                    below.add(child.pid)
                    self._admit(child.pid)
            except psutil.NoSuchProcess:
                continue  # the reading that follows drops it
            except psutil.AccessDenied as error:
                raise PermissionError(str(error)) from error

    def _admit(self, pid: int) -> None:
        if pid in self._members:
            return
        try:
            handle = psutil.Process(pid)
        except psutil.NoSuchProcess:
            return
        process = identify(pid)
        if process is not None and handle.is_running():
            self._members[pid] = process, handle


def _size(handle: psutil.Process) -> int | None:
    """Bytes of one process; None when it is gone or a zombie."""
    try:
        if not handle.is_running() or handle.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        info: Any = handle.memory_info()
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied as error:
        raise PermissionError(str(error)) from error
    if hasattr(info, "shared"):
        return max(0, int(info.rss) - int(info.shared))
    return int(getattr(info, "private", info.rss))
