"""Raw reads of Linux's /proc: bytes in, numbers out, None for a process that is gone."""

from __future__ import annotations

import os
import sys
import time
from typing import Final, NamedTuple

LINUX: Final = sys.platform == "linux"

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
_DEAD: Final = (b"Z", b"X", b"x")
_KERNEL_THREAD: Final = 0x00200000
_EXITING: Final = 0x00000004
_EXEC_LOOKS: Final = 20
_EXEC_PAUSE: Final = 0.0002


class Stat(NamedTuple):
    """The fields of /proc/PID/stat that identify and place a process.

    `created` is the start time in clock ticks since boot; `group` and `session` are process group and session ids.
    """

    pid: int
    state: bytes
    parent: int
    group: int
    session: int
    threads: int
    created: int

    @property
    def dead(self) -> bool:
        """Whether nothing of the process runs any more; a leader that ended before its other threads is a zombie in name only."""
        return self.state in _DEAD and self.threads <= 1


def read_bytes(path: str, enough: int = 65536) -> bytes | None:
    """A whole file of /proc; None when its process is gone or may not be read.

    Args:
        path: The file.
        enough: Size of one read in bytes. A first read that leaves room in the kernel's 4 KiB page is taken as the whole.

    Raises:
        OSError: Out of descriptors or memory.
    """
    try:
        fd = os.open(path, _FLAGS)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    try:
        data = os.read(fd, enough)
        if len(data) < 4000:
            return data
        parts = [data]
        while data := os.read(fd, enough):
            parts.append(data)
        return b"".join(parts)
    except (ProcessLookupError, PermissionError):
        return None
    finally:
        os.close(fd)


class KeptFile:
    """A small file of the kernel's that is read again and again: a third of the price when it stays open.

    What it says is always of the moment of reading. Reading after `close` opens it again.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    def read(self) -> bytes | None:
        """The whole file; None when it cannot be read.

        Raises:
            OSError: Out of descriptors or memory.
        """
        if sys.platform == "win32":
            return None
        if self._fd < 0:
            try:
                self._fd = os.open(self.path, _FLAGS)
            except (FileNotFoundError, PermissionError):
                return None
        data = os.pread(self._fd, 65536, 0)
        while more := os.pread(self._fd, 65536, len(data)) if len(data) >= 4000 else b"":
            data += more
            if len(more) < 4000:
                break
        return data

    def close(self) -> None:
        """Give back the descriptor. May be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_stat(pid: int) -> Stat | None:
    """The process of that id, zombies included; None when there is none."""
    data = read_bytes(f"/proc/{pid}/stat", 2048)
    if not data:
        return None
    # the name may hold blanks and parentheses; the last parenthesis ends it
    fields = data[data.rfind(b")") + 2 :].split(b" ", 20)
    return Stat(pid, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[17]), int(fields[19]))


def read_children(pid: int, threads: int = 2) -> list[int]:
    """The live and dead children of all threads of a process, as far as they stand still; empty when it is gone.

    Args:
        pid: The process.
        threads: How many threads it has, if known; one saves a directory listing.
    """
    if threads == 1:
        data = read_bytes(f"/proc/{pid}/task/{pid}/children")
        return [int(child) for child in data.split()] if data else []
    try:
        names = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
    found: list[int] = []
    for name in names:
        if data := read_bytes(f"/proc/{pid}/task/{name}/children"):
            found += [int(child) for child in data.split()]
    return found


def read_environment(pid: int) -> bytes:
    """The environment a process was started with, NUL-terminated entries; empty when there is none or it cannot be read.

    In the middle of an exec a process has none yet; it is looked at again then, for a few milliseconds at most.
    """
    for _ in range(_EXEC_LOOKS):
        data = read_bytes(f"/proc/{pid}/environ", 16384)
        if data is None or data or not _in_exec(pid):
            return data or b""
        time.sleep(_EXEC_PAUSE)
    return b""


def _in_exec(pid: int) -> bool:
    """Whether a process is between its old program and its new one: it has memory, but no environment in it, not even an empty one."""
    data = read_bytes(f"/proc/{pid}/stat", 2048)
    if not data:
        return False
    fields = data[data.rfind(b")") + 2 :].split()
    return fields[0] not in _DEAD and not int(fields[6]) & _KERNEL_THREAD and fields[48] == b"0"


def is_ending(pid: int) -> bool:
    """Whether a process has begun to end and is not dead yet: it runs no instruction any more, and shows neither memory nor environment."""
    data = read_bytes(f"/proc/{pid}/stat", 2048)
    if not data:
        return False
    fields = data[data.rfind(b")") + 2 :].split(b" ", 7)
    return fields[0] not in _DEAD and bool(int(fields[6]) & _EXITING)


def own_session() -> int:
    """The id of the session that we are in; where there are none (Windows), of ourselves."""
    if sys.platform == "win32":
        return os.getpid()
    return os.getsid(0)


def all_pids() -> list[int]:
    """Every process that /proc shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
