"""What is looked at for the health of a host and of its leaves. A look asks nobody outside of this machine, and connects to nothing.

On Linux everything comes from /proc; elsewhere psutil reads what it can (`portable`). What cannot be read is None, never zero.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

import attrs

from supervisor import ProcessId, Value

from ..policy.verdict import Reading, Share, Space


@attrs.frozen(repr=False, eq=False)
class DiskSpace(Value):
    """One file system.

    Attributes:
        what: What of ours is on it.
        path: A path on it.
        total_bytes: Its size; None when it does not answer, as a network file system whose server is gone.
        free_bytes: What this user can still write.
    """

    what: str
    path: str
    total_bytes: int | None = None
    free_bytes: int | None = None


@attrs.frozen(repr=False, eq=False)
class Stall(Value):
    """Pressure stall information of one resource: the share of the last ten seconds, 0 to 1, in which some, or all, waited for it."""

    some: float | None = None
    full: float | None = None


@attrs.frozen(repr=False, eq=False)
class LeafMetrics(Value):
    """One leaf's whole tree of processes.

    Attributes:
        name: The agent's.
        processes: How many were read.
        cpu: Processors kept busy since the last look: 1.5 is one and a half; None at the first.
        cpu_seconds: Processor time of the processes that are there now.
        threads: How many.
        open_files: Descriptors of all.
        fullest: The share of its own limit, 0 to 1, that the process nearest to it has open.
        memory_bytes: What it held when its memory was read last.
        uptime: Seconds since its present life was started.
        stall_memory: Its waiting for memory, where it has a control group of version 2.
    """

    name: str
    processes: int = 0
    cpu: float | None = None
    cpu_seconds: float | None = None
    threads: int | None = None
    open_files: int | None = None
    fullest: float | None = None
    memory_bytes: int | None = None
    uptime: float | None = None
    stall_memory: Stall = Stall()


@attrs.frozen(repr=False, eq=False)
class HealthMetrics(Value):
    """One look. Ratios are 0 to 1.

    Attributes:
        at: When, monotonic.
        cpu: Share of all processors that was busy since the last look; None at the first.
        cores: How many there are.
        load: The load averages of 1, 5 and 15 minutes.
        uptime: Seconds since the machine started.
        memory_total_bytes: What programs here can have: of the machine, or of the container around us where that is less.
        memory_available_bytes: What of it they can still have without swapping.
        swap_total_bytes: Of the machine.
        swap_free_bytes: Of the machine.
        disks: The file systems that matter, each once.
        received_bytes: Over all network interfaces but the loopback one, since the machine started.
        sent_bytes: Likewise.
        open_files: Of the whole machine.
        open_files_limit: How many it allows.
        threads: Of the whole machine.
        threads_limit: How many it allows.
        own_open_files: Share of its own limit that this process has open.
        stall_cpu: Waiting for processors.
        stall_memory: Waiting for memory.
        stall_io: Waiting for disks.
        leaves: The leaves that run.
    """

    at: float
    cpu: float | None = None
    cores: int | None = None
    load: tuple[float, float, float] | None = None
    uptime: float | None = None
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None
    disks: tuple[DiskSpace, ...] = ()
    received_bytes: int | None = None
    sent_bytes: int | None = None
    open_files: int | None = None
    open_files_limit: int | None = None
    threads: int | None = None
    threads_limit: int | None = None
    own_open_files: float | None = None
    stall_cpu: Stall = Stall()
    stall_memory: Stall = Stall()
    stall_io: Stall = Stall()
    leaves: tuple[LeafMetrics, ...] = ()

    def readings(self) -> tuple[Reading, ...]:
        """What of it is judged."""
        return (
            Share("cpu", "cpu", self.cpu),
            Share("memory", "memory", _used(self.memory_available_bytes, self.memory_total_bytes)),
            *(Space(disk.what, disk.total_bytes, disk.free_bytes) for disk in self.disks),
            Share("open files of the host", "open_files", _share(self.open_files, self.open_files_limit)),
            Share("open files of the guardian", "open_files", self.own_open_files),
            Share("threads of the host", "threads", _share(self.threads, self.threads_limit)),
            *(Share(f"open files of {leaf.name}", "open_files", leaf.fullest) for leaf in self.leaves),
        )


@attrs.frozen(repr=False, eq=False)
class Subject(Value):
    """A leaf that is to be looked at: the agent's name, its processes, and the directory of its control group."""

    name: str
    members: tuple[ProcessId, ...]
    group: str | None = None


class Looker:
    """Looks, and remembers of the last look what shares of time are reckoned from. Blocks: for a thread of its own."""

    def __init__(self) -> None:
        self._cpu: tuple[float, float] | None = None
        self._leaves: dict[str, tuple[float, dict[ProcessId, float]]] = {}

    def look(self, now: float, subjects: Sequence[Subject] = ()) -> HealthMetrics:
        """Everything but the disks, which may not answer."""
        if sys.platform == "linux":
            from . import linux as source
        else:
            from . import portable as source
        host = source.host()
        seen = self._busy(host.pop("cpu_times"))
        known, self._leaves = self._leaves, {}
        leaves = []
        for subject in subjects:
            leaf, times = source.leaf(subject)
            before, self._leaves[subject.name] = known.get(subject.name), (now, times)
            if before is not None and now > before[0] and leaf.cpu_seconds is not None:
                # of a process that is new all its time counts, of one that is gone none
                spent = sum(seconds - before[1].get(process, 0.0) for process, seconds in times.items())
                leaf = attrs.evolve(leaf, cpu=max(0.0, spent) / (now - before[0]))
            leaves.append(leaf)
        return HealthMetrics(now, cpu=seen, cores=os.cpu_count(), leaves=tuple(leaves), **host)

    def _busy(self, times: tuple[float, float] | None) -> float | None:
        before, self._cpu = self._cpu, times
        if times is None or before is None or times[1] <= before[1]:
            return None
        return min(1.0, max(0.0, (times[0] - before[0]) / (times[1] - before[1])))


def disk_space(paths: Iterable[tuple[str, str]]) -> tuple[DiskSpace, ...]:
    """The file systems of some paths, each once; of a path that is not there, that of the nearest directory above it.

    Args:
        paths: What is there, and where. Blocks for as long as one of them does not answer.
    """
    found: dict[object, DiskSpace] = {}
    for what, path in paths:
        device, total, free = _space(path)
        if device in found:
            before = found[device]
            found[device] = attrs.evolve(before, what=f"{before.what}, {what}")
        else:
            found[device if device is not None else what] = DiskSpace(what, path, total, free)
    return tuple(found.values())


def _space(path: str) -> tuple[int | None, int | None, int | None]:
    at = path
    while not os.path.exists(at) and os.path.dirname(at) != at:
        at = os.path.dirname(at)
    try:
        device = os.stat(at).st_dev
        if sys.platform == "win32":
            import shutil

            usage = shutil.disk_usage(at)
            return device, usage.total, usage.free
        about = os.statvfs(at)
    except OSError:
        return None, None, None
    # as df: what is reserved for the super-user is neither ours to use nor free
    free = about.f_bavail * about.f_frsize
    return device, (about.f_blocks - about.f_bfree) * about.f_frsize + free, free


def _share(used: int | None, limit: int | None) -> float | None:
    return None if used is None or not limit else used / limit


def _used(available: int | None, total: int | None) -> float | None:
    return None if available is None or not total else 1 - available / total
