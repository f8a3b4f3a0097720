"""Which processes belong together: the tree below a process, and the processes that carry a marker.

On Linux the tree is read from the `children` files of all threads: a child is listed under the thread that forked it. The cost
depends on the tree alone, not on how many processes the host has.
"""

from __future__ import annotations

import os
import sys

from .identity import ProcessId
from .marker import carries, value_in
from .procstat import Stat, all_pids, read_children, read_environment, read_stat


def walk(root: int) -> list[ProcessId]:
    """The live processes of a tree, parents before their children, the root first; empty when the root is gone.

    A process that vanishes meanwhile is left out, and so are zombies.
    """
    return scan(root)[0]


def scan(root: int) -> tuple[list[ProcessId], list[ProcessId]]:
    """The live processes of a tree as `walk` gives them, and the dead ones below them that nobody has reaped yet."""
    if sys.platform != "linux":
        from . import portable

        return portable.walk(root), []
    stat = read_stat(root)
    if stat is None or stat.dead:
        return [], []
    if not has_children_files():
        return _scan_by_parents(stat)
    found = [ProcessId(root, stat.created)]
    dead: list[ProcessId] = []
    threads = [stat.threads]
    seen = {root}
    for index, parent in enumerate(found):  # grows while it is walked
        for pid in read_children(parent.pid, threads[index]):
            if pid in seen:
                continue
            seen.add(pid)
            stat = read_stat(pid)
            # another parent: the pid was recycled, or its parent died this instant and it now hangs below its reaper
            if stat is None or stat.parent != parent.pid:
                continue
            if stat.dead:
                dead.append(ProcessId(pid, stat.created))
            else:
                found.append(ProcessId(pid, stat.created))
                threads.append(stat.threads)
    return found, dead


def descendants(root_pid: int) -> list[int]:
    """The pids of all live descendants of a process, parents before their children, without the process itself."""
    return [process.pid for process in walk(root_pid)[1:]]


def snapshot(root: ProcessId) -> tuple[ProcessId, ...]:
    """The live processes of this very process's tree, the root first; empty when the root is gone."""
    members = walk(root.pid)
    return tuple(members) if members and members[0] == root else ()


def marked(marker: str) -> tuple[ProcessId, ...]:
    """The live processes of this host whose first environment carries a marker, never ourselves.

    Args:
        marker: The marker of a life, or a run token for all lives of a run.

    Processes whose environment may not be read are left out. The whole of /proc is read: not for a hot path.
    """
    if sys.platform != "linux":
        from . import portable

        return tuple(process for process, value in portable.environments() if carries(value, marker))
    own = os.getpid()
    found = []
    for pid in all_pids():
        # the identity first: a marker read afterwards can only be that of this process or of a successor, seen below
        if pid == own or (stat := read_stat(pid)) is None or stat.dead:
            continue
        if carries(value_in(read_environment(pid)), marker):
            process = ProcessId(pid, stat.created)
            again = read_stat(pid)
            if again is not None and again.created == process.created:
                found.append(process)
    return tuple(found)


def has_children_files() -> bool:
    """Whether this kernel lists children in /proc (CONFIG_PROC_CHILDREN); looked up once."""
    global _children_files
    if _children_files is None:
        own = os.getpid()
        _children_files = os.path.exists(f"/proc/{own}/task/{own}/children")
    return _children_files


_children_files: bool | None = None


def _scan_by_parents(root: Stat) -> tuple[list[ProcessId], list[ProcessId]]:
    by_parent: dict[int, list[Stat]] = {}
    for pid in all_pids():
        if (stat := read_stat(pid)) is not None:
            by_parent.setdefault(stat.parent, []).append(stat)
    found: list[Stat] = [root]
    dead: list[Stat] = []
    for parent in found:  # grows while it is walked; taken out, so that a torn reading cannot make a circle
        for stat in by_parent.pop(parent.pid, ()):
            (dead if stat.dead else found).append(stat)
    return [ProcessId(stat.pid, stat.created) for stat in found], [ProcessId(stat.pid, stat.created) for stat in dead]
