"""Whether the kernel's out-of-memory killer was at work, told from its counters before and after."""

from __future__ import annotations

import os
import sys

import attrs

from .procstat import read_bytes


@attrs.frozen
class OomKills:
    """How many processes the out-of-memory killer has killed: of our own cgroup, and of the host. None: not told."""

    cgroup: int | None = None
    host: int | None = None


def oom_kills() -> OomKills:
    """The counters now."""
    if sys.platform != "linux":
        return OomKills()
    global _counter_file
    if _counter_file is None:
        _counter_file = _find_counter_file()
    if _counter_file:
        return OomKills(cgroup=_field(_counter_file, b"oom_kill"))
    return OomKills(host=_field("/proc/vmstat", b"oom_kill"))


def was_out_of_memory(before: OomKills, after: OomKills) -> bool | None:
    """Whether a process that was killed in between was the out-of-memory killer's; None when that cannot be told.

    A kill in our cgroup is taken for this one; one somewhere on the host may have been another's.
    """
    if before.cgroup is not None and after.cgroup is not None:
        return after.cgroup > before.cgroup
    if before.host is not None and after.host is not None and after.host == before.host:
        return False
    return None


_counter_file: str | None = None


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
            if _field(file, b"oom_kill") is not None:
                return file
    return ""


def _field(file: str, name: bytes) -> int | None:
    for line in (read_bytes(file) or b"").splitlines():
        key, _, value = line.partition(b" ")
        if key == name:
            return int(value)
    return None
