"""Whether the kernel's out-of-memory killer was at work, told from its counters before and after."""

from __future__ import annotations

import math
import os
import sys
import time
from typing import TYPE_CHECKING, Final

import attrs

from ..core.value import Value
from .cgroup.layout import read_layout
from .procstat import KeptFile, read_bytes

if TYPE_CHECKING:
    from .cgroup.group import Group


@attrs.frozen(repr=False, eq=False)
class OomKills(Value):
    """How many processes the out-of-memory killer has killed: of our own cgroup, of the host, and of a life's cgroup. None: not told."""

    cgroup: int | None = None
    host: int | None = None
    life: int | None = None


def oom_kills(group: Group | None = None, *, recent: float = 0.0) -> OomKills:
    """The counters now; that of a life's cgroup alone, where it has one that counts.

    Args:
        group: The cgroup of a life.
        recent: Seconds: what was read less long ago, and not of a life's cgroup, is as good.
    """
    if sys.platform != "linux":
        return OomKills()
    if group is not None and (life := group.oom_kills()) is not None:
        return OomKills(life=life)
    global _counter, _latest
    now = time.monotonic()
    if recent and now - _latest[0] < recent:
        return _latest[1]
    if _counter is None:
        file = _find_counter_file()
        _counter = (KeptFile(file or "/proc/vmstat"), bool(file))
    kept, ours = _counter
    count = _field(kept.read(), b"oom_kill")
    _latest = now, OomKills(cgroup=count) if ours else OomKills(host=count)
    return _latest[1]


def close() -> None:
    """Give back the descriptor that is kept between readings."""
    if _counter is not None:
        _counter[0].close()


def was_out_of_memory(before: OomKills, after: OomKills) -> bool | None:
    """Whether a process that was killed in between was the out-of-memory killer's; None when that cannot be told.

    A kill in our cgroup is taken for this one; one somewhere on the host may have been another's.
    """
    if after.life is not None:
        return after.life > (before.life or 0)
    if before.cgroup is not None and after.cgroup is not None:
        return after.cgroup > before.cgroup
    if before.host is not None and after.host is not None and after.host == before.host:
        return False
    return None


_counter: tuple[KeptFile, bool] | None = None
_latest = (-math.inf, OomKills())
_LAYOUT: Final = ("mountinfo", "cgroup")


def _find_counter_file() -> str:
    """Our cgroup's file with the counter, of version 2 or 1; empty without one."""
    hierarchies = read_layout(*((read_bytes(f"/proc/self/{name}") or b"").decode(errors="surrogateescape") for name in _LAYOUT))
    for hierarchy in hierarchies:
        if hierarchy.version == 2 or "memory" in hierarchy.controllers:
            name = "memory.events" if hierarchy.version == 2 else "memory.oom_control"
            for directory in (hierarchy.directory, hierarchy.mount):
                file = os.path.join(directory, name)
                if _field(read_bytes(file), b"oom_kill") is not None:
                    return file
    return ""


def _field(text: bytes | None, name: bytes) -> int | None:
    for line in (text or b"").splitlines():
        key, _, value = line.partition(b" ")
        if key == name:
            return int(value)
    return None
