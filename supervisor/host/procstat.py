"""Raw reads of Linux's /proc: bytes in, numbers out, None for a process that is gone."""

from __future__ import annotations

import os
import sys
from typing import Final, NamedTuple

LINUX: Final = sys.platform == "linux"

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
_DEAD: Final = (b"Z", b"X", b"x")


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
    """The environment a process was started with, NUL-terminated entries; empty when it cannot be read."""
    return read_bytes(f"/proc/{pid}/environ", 131072) or b""


def all_pids() -> list[int]:
    """Every process that /proc shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
