"""Linux's /proc as a source of `HealthMetrics`."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from supervisor import ProcessId, identify

from ..config.host import memory_of_groups
from ..policy.host import HostSeen
from .metrics import LeafMetrics, Stall, Subject

assert sys.platform != "win32", "/proc is Linux's"

PROC: Final = "/proc"


def memory(proc: str = PROC) -> HostSeen:
    """How much memory is left: of the machine, or of the narrowest control group around us where that has less of its own."""
    about = _meminfo(proc)
    total, available = about.get("MemTotal"), about.get("MemAvailable")
    for limit, used in memory_of_groups(proc):
        if total is None or limit < total:
            left = max(0, limit - used)
            # the machine can have even less
            total, available = limit, left if available is None else min(left, available)
    return HostSeen(available, total, stall("memory", proc).full)


def stall(name: str, proc: str = PROC) -> Stall:
    """The stalls of a resource; unknown where the kernel does not tell them."""
    return _stall(f"{proc}/pressure/{name}")


def _stall(file: str) -> Stall:
    shares: dict[str, float] = {}
    for line in _read(file).splitlines():
        kind, *fields = line.split()
        for field in fields:
            if field.startswith("avg10="):
                shares[kind] = round(float(field[6:]) / 100, 4)
    return Stall(shares.get("some"), shares.get("full"))


def host(proc: str = PROC) -> dict[str, Any]:
    """The fields of `HealthMetrics` that are about the host, and ``cpu_times``: (busy, all) seconds of all processors since boot."""
    import resource

    about, seen = _meminfo(proc), memory(proc)
    received, sent = _network(proc)
    load = _read(f"{proc}/loadavg").split()
    files = _read(f"{proc}/sys/fs/file-nr").split()
    known = len(load) >= 4
    return {
        "cpu_times": _cpu_times(proc),
        "load": (float(load[0]), float(load[1]), float(load[2])) if known else None,
        "uptime": _number(_read(f"{proc}/uptime")),
        "memory_total_bytes": seen.total_bytes,
        "memory_available_bytes": seen.available_bytes,
        "swap_total_bytes": about.get("SwapTotal"),
        "swap_free_bytes": about.get("SwapFree"),
        "received_bytes": received,
        "sent_bytes": sent,
        "open_files": int(files[0]) - int(files[1]) if len(files) == 3 else None,
        "open_files_limit": int(files[2]) if len(files) == 3 else None,
        "threads": int(load[3].partition("/")[2]) if known else None,
        "threads_limit": _whole(_read(f"{proc}/sys/kernel/threads-max")),
        "own_open_files": _fullness(proc, os.getpid(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        "stall_cpu": stall("cpu", proc),
        "stall_memory": stall("memory", proc),
        "stall_io": stall("io", proc),
    }


def leaf(subject: Subject, proc: str = PROC) -> tuple[LeafMetrics, dict[ProcessId, float]]:
    """A leaf, and the processor time of each of its processes; one that has ended meanwhile is left out."""
    times: dict[ProcessId, float] = {}
    threads = files = 0
    fullest: float | None = None
    hidden = False
    for process in subject.members:
        fields = _read(f"{proc}/{process.pid}/stat").rpartition(") ")[2].split()
        if len(fields) < 20 or identify(process.pid) != process:
            continue
        times[process] = (int(fields[11]) + int(fields[12])) / _TICKS
        threads += int(fields[17])
        count = _count(proc, process.pid)
        if count is None:
            hidden = True  # another user's: how many it has open is not ours to know
            continue
        files += count
        limit = _file_limit(proc, process.pid)
        if limit:
            fullest = max(fullest or 0.0, count / limit)
    if not times:
        return LeafMetrics(subject.name), times
    spent = sum(times.values())
    return (
        LeafMetrics(
            subject.name,
            len(times),
            cpu_seconds=round(spent, 3),
            threads=threads,
            open_files=None if hidden else files,
            fullest=fullest,
            stall_memory=Stall() if subject.group is None else _stall(f"{subject.group}/memory.pressure"),
        ),
        times,
    )


_TICKS: Final = os.sysconf("SC_CLK_TCK")


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _meminfo(proc: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in _read(f"{proc}/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name in ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree"):
            found[name] = int(rest.split()[0]) * 1024
    return found


def _cpu_times(proc: str) -> tuple[float, float] | None:
    fields = _read(f"{proc}/stat").partition("\n")[0].split()
    if len(fields) < 6 or fields[0] != "cpu":
        return None
    # the guests' time is in that of user and nice already
    times = [int(field) / _TICKS for field in fields[1:9]]
    idle = times[3] + times[4]
    return sum(times) - idle, sum(times)


def _network(proc: str) -> tuple[int | None, int | None]:
    counts = []
    for line in _read(f"{proc}/net/dev").splitlines()[2:]:
        name, _, rest = line.partition(":")
        fields = rest.split()
        if name.strip() != "lo" and len(fields) >= 9:
            counts.append((int(fields[0]), int(fields[8])))
    return (sum(one[0] for one in counts), sum(one[1] for one in counts)) if counts else (None, None)


def _count(proc: str, pid: int) -> int | None:
    try:
        return len(os.listdir(f"{proc}/{pid}/fd"))
    except OSError:
        return None


def _file_limit(proc: str, pid: int) -> int | None:
    for line in _read(f"{proc}/{pid}/limits").splitlines():
        if line.startswith("Max open files"):
            return _whole(line.split()[3])
    return None


def _fullness(proc: str, pid: int, limit: int) -> float | None:
    count = _count(proc, pid)
    return None if count is None or limit <= 0 else count / limit


def _whole(text: str) -> int | None:
    return int(text) if text.strip().isdigit() else None


def _number(text: str) -> float | None:
    fields = text.split()
    return float(fields[0]) if fields else None
