"""One memory check of a tree of five processes with seven threads each, with few and with many other processes on the host."""

from __future__ import annotations

import os

import psutil

from supervisor import identify
from workers.probe import open_reader

from .figures import Effort, Figure, Peer, Summary, at_most, at_most_times, interleaved
from .programs import bystanders, family

THREADS = 7
"""As node has."""


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    walks: list[Summary] = []
    with family(effort.pick(THREADS, THREADS, 2)) as root:
        few, many = effort.pick((200, 2000), (200, 2000), (2, 4))
        for others in (few, many):
            with bystanders(others):
                taken = check(root, effort, psutil_times=1 if others >= 1000 else 5)
            walks.append(taken["walk"])
            figures += [
                Figure(
                    f"fresh walk of the tree, {others:,} others",
                    "us",
                    taken["walk"],
                    (Peer("psutil: children, memory_info", taken["psutil"]),),
                    at_most(300, "us"),
                ),
                Figure(
                    f"known members, {others:,} others",
                    "us",
                    taken["known"],
                    (Peer("bare pread, parse", taken["bare"]), Peer("psutil: kept objects, memory_info", taken["psutil known"])),
                    at_most(25, "us"),
                ),
            ]
    beside = Peer(f"{few:,} others", walks[0])
    figures.append(Figure(f"fresh walk, {many:,} others", "us", walks[1], (beside,), at_most_times(1.25, beside)))
    return figures


def check(root: int, effort: Effort, psutil_times: int) -> dict[str, Summary]:
    """Microseconds of one check, in each of the ways."""
    process = identify(root)
    assert process is not None
    reader = open_reader(process)
    members = reader.read(0.0)
    assert members is not None
    assert len(members.processes) == 5, members
    pids = [member.process.pid for member in members.processes]
    kept = [psutil.Process(pid) for pid in pids]
    descriptors = [os.open(f"/proc/{pid}/statm", os.O_RDONLY) for pid in pids]
    page = os.sysconf("SC_PAGE_SIZE")

    def bare() -> int:
        total = 0
        for fd in descriptors:
            fields = os.pread(fd, 128, 0).split(None, 3)
            total += (int(fields[1]) - int(fields[2])) * page
        return total

    def by_psutil() -> int:
        top = psutil.Process(root)
        return sum(info.rss - info.shared for info in (one.memory_info() for one in [top, *top.children(recursive=True)]))

    try:
        assert bare() == members.total_bytes
        rounds = effort.pick(40, 20, 2)
        return interleaved(
            {
                "walk": (lambda: reader.read(0.0), 25),
                "known": (lambda: reader.read(0.0, refresh=False), 50),
                "bare": (bare, 50),
                "psutil": (by_psutil, psutil_times),
                "psutil known": (lambda: sum(one.memory_info().rss for one in kept), 20),
            },
            rounds,
        )
    finally:
        reader.close()
        for fd in descriptors:
            os.close(fd)
