"""psutil as a source of `HealthMetrics`, for hosts without /proc. Imported only there: it costs megabytes."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import psutil

from supervisor import ProcessId, identify

from ..policy.host import HostSeen
from .metrics import LeafMetrics, Subject


def memory() -> HostSeen:
    """How much memory the machine has left; nobody tells of stalls here."""
    about = psutil.virtual_memory()
    return HostSeen(int(about.available), int(about.total), None)


def host() -> dict[str, Any]:
    """See `linux.host`."""
    times, about, swap = psutil.cpu_times(), psutil.virtual_memory(), psutil.swap_memory()
    idle = times.idle + getattr(times, "iowait", 0.0)
    every = sum(getattr(times, name) for name in ("user", "system", "idle", "nice", "iowait", "irq", "softirq") if hasattr(times, name))
    counters = [one for name, one in psutil.net_io_counters(pernic=True).items() if not name.startswith("lo")]
    return {
        "cpu_times": (every - idle, every),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "uptime": max(0.0, time.time() - psutil.boot_time()),
        "memory_total_bytes": int(about.total),
        "memory_available_bytes": int(about.available),
        "swap_total_bytes": int(swap.total),
        "swap_free_bytes": int(swap.free),
        "received_bytes": sum(one.bytes_recv for one in counters) if counters else None,
        "sent_bytes": sum(one.bytes_sent for one in counters) if counters else None,
        "own_open_files": _own_open_files(),
    }


def leaf(subject: Subject) -> tuple[LeafMetrics, dict[ProcessId, float]]:
    """See `linux.leaf`."""
    times: dict[ProcessId, float] = {}
    threads, files = 0, 0
    for process in subject.members:
        try:
            handle = psutil.Process(process.pid)
            spent, count = handle.cpu_times(), handle.num_threads()
            opened = _open_files(handle)
        except psutil.Error:
            continue
        if identify(process.pid) == process:
            times[process] = spent.user + spent.system
            threads, files = threads + count, files + opened
    if not times:
        return LeafMetrics(subject.name), times
    return LeafMetrics(subject.name, len(times), cpu_seconds=round(sum(times.values()), 3), threads=threads, open_files=files), times


def _open_files(handle: psutil.Process) -> int:
    count: int = handle.num_fds() if hasattr(handle, "num_fds") else handle.num_handles()  # type: ignore[attr-defined,unused-ignore]
    return count


def _own_open_files() -> float | None:
    if sys.platform == "win32":
        return None  # it has no such limit
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _open_files(psutil.Process()) / limit if limit > 0 else None
