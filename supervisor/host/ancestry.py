"""Whether another process belongs to what this one supervises: by descent, by cgroup, or by the mark in its environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Final

from .cgroup.run import PREFIX
from .identity import ProcessId, is_alive
from .marker import carries, run_token, value_in
from .procstat import read_bytes, read_environment, read_stat

_CLIMBS: Final = 20
"""How often the way up is tried again when somebody on it ends meanwhile."""


def is_ours(process: ProcessId) -> bool | None:
    """Whether a process is inside of what this process has started, however it was daemonised or handed on since.

    It is, when it descends from this process (to which orphans come back where it is a child-subreaper), when it or one of its ancestors is
    in a cgroup of one of our lives, or when one of them was started with the mark of one of our lives. This process itself is not.

    Returns:
        None when it cannot be told: the process is gone, or may not be looked at.

    Raises:
        OSError: Out of descriptors.
    """
    for _ in range(_CLIMBS):
        found = _is_ours(process.pid)
        # asked last: only now does what was read hold for this process and not for a later one of its number
        if not is_alive(process):
            return None
        if found is not None:
            return found
    return None


def _is_ours(pid: int) -> bool | None:
    own = os.getpid()
    if pid == own:
        return False
    for ancestor in _upwards(pid):
        if ancestor is None:
            return None
        if ancestor == own or _bears_our_mark(ancestor):
            return True
    return False


def _upwards(pid: int) -> Iterator[int | None]:
    """The process and its ancestors up to whom orphans are given; None when one of them is gone before its parent is known."""
    if sys.platform == "linux":
        passed: set[int] = set()
        while pid > 0 and pid not in passed:
            passed.add(pid)
            yield pid
            stat = read_stat(pid)
            if stat is None:
                yield None
                return
            pid = stat.parent
    else:
        from . import portable

        yield from portable.upwards(pid)


def _bears_our_mark(pid: int) -> bool:
    token = run_token()
    if sys.platform != "linux":
        from . import portable

        return carries(portable.life_of(pid), token)
    group = f"/{PREFIX}{token}".encode()
    for line in (read_bytes(f"/proc/{pid}/cgroup") or b"").splitlines():
        path = line.split(b":", 2)[2]
        if path.endswith(group) or group + b"/" in path:
            return True
    return carries(value_in(read_environment(pid)), token)
