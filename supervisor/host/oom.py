"""Whether the kernel's out-of-memory killer was at work, told from its counters before and after."""

from __future__ import annotations

import os
import sys

import attrs

from ..core.value import Value
from .procstat import KeptFile, read_bytes


@attrs.frozen(repr=False, eq=False)
class OomKills(Value):
    """How many processes the out-of-memory killer has killed: of our own cgroup, and of the host. None: not told."""

    cgroup: int | None = None
    host: int | None = None


def oom_kills() -> OomKills:
    """The counters now."""
    if sys.platform != "linux":
        return OomKills()
    global _counter
    if _counter is None:
        file = _find_counter_file()
        _counter = (KeptFile(file or "/proc/vmstat"), bool(file))
    kept, ours = _counter
    count = _field(kept.read(), b"oom_kill")
    return OomKills(cgroup=count) if ours else OomKills(host=count)


def close() -> None:
    """Give back the descriptor that is kept between readings."""
    if _counter is not None:
        _counter[0].close()


def was_out_of_memory(before: OomKills, after: OomKills) -> bool | None:
    """Whether a process that was killed in between was the out-of-memory killer's; None when that cannot be told.

    A kill in our cgroup is taken for this one; one somewhere on the host may have been another's.
    """
    if before.cgroup is not None and after.cgroup is not None:
        return after.cgroup > before.cgroup
    if before.host is not None and after.host is not None and after.host == before.host:
        return False
    return None


_counter: tuple[KeptFile, bool] | None = None


def _find_counter_file() -> str:
    """Our cgroup's file with the counter, of version 2 or 1; empty without one."""
    mounts: dict[str, tuple[str, str]] = {}
    for line in (read_bytes("/proc/self/mountinfo") or b"").decode(errors="surrogateescape").splitlines():
        fields, _, tail = line.partition(" - ")
        words, kind = fields.split(), tail.split()
        if kind and kind[0] == "cgroup2":
            mounts.setdefault("", (words[3], words[4]))
        elif kind and kind[0] == "cgroup" and "memory" in kind[-1].split(","):
            mounts.setdefault("memory", (words[3], words[4]))
    for line in (read_bytes("/proc/self/cgroup") or b"").decode(errors="surrogateescape").splitlines():
        _, controllers, path = line.split(":", 2)
        key = "memory" if "memory" in controllers.split(",") else controllers
        if key not in mounts:
            continue
        root, mount = mounts[key]
        # in a container the mount shows only a part of the hierarchy
        inside = path[len(root) :] if root != "/" and path.startswith(root) else path
        for directory in (mount + inside, mount):
            file = os.path.join(directory, "memory.oom_control" if key else "memory.events")
            if _field(read_bytes(file), b"oom_kill") is not None:
                return file
    return ""


def _field(text: bytes | None, name: bytes) -> int | None:
    for line in (text or b"").splitlines():
        key, _, value = line.partition(b" ")
        if key == name:
            return int(value)
    return None
