"""One memory check of a tree of five processes, alone and among many others on the host; one sweep over many leaves of one process."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable

import anyio
import psutil

from supervisor import ChildSpec, RunningCommand, Supervisor, command, identify
from workers.probe import ReaderChain, open_reader

from .figures import Effort, Figure, Peer, Summary, at_most, at_most_times, interleaved, per_item
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
    for leaves in effort.pick((1, 10, 100, 1000), (1, 10, 100, 1000), (1, 2)):
        figures += anyio.run(sweeps, leaves, effort, backend="trio")
    return figures


async def sweeps(leaves: int, effort: Effort) -> list[Figure]:
    """What it takes to look at so many leaves once, each a process that does nothing, by what counts it here and by /proc."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    specs = [ChildSpec(f"leaf-{number}", command("sleep", "600", stdin="null", cgroup="memory", sentry=False)) for number in range(leaves)]
    figures: list[Figure] = []
    async with Supervisor("root", specs) as root:
        running = [handle for spec in specs if isinstance(handle := root.handle(spec.id), RunningCommand)]
        counted = [open_reader(leaf.process_id, None, None if leaf.group is None else leaf.group.memory) for leaf in running]
        walked = [open_reader(leaf.process_id) for leaf in running]
        rounds = effort.pick(60, 30, 2)
        name = f"{leaves:,} {'leaf' if leaves == 1 else 'leaves'}"
        try:
            taken: dict[str, Callable[[], object]] = {
                "known": lambda: swept(counted, refresh=False),
                "refresh": lambda: swept(counted, refresh=True),
                "known, /proc": lambda: swept(walked, refresh=False),
                "refresh, /proc": lambda: swept(walked, refresh=True),
            }
            each = per_item(taken, leaves, rounds)
            reader = counted[0].name
            target = at_most(2.5 + 20, "us")
            figures += [
                Figure(f"{name}, known members, each, {reader}", "us", each["known"], (Peer("/proc", each["known, /proc"]),), target),
                Figure(f"{name}, fresh members, each, {reader}", "us", each["refresh"], (Peer("/proc", each["refresh, /proc"]),)),
            ]
            if leaves == effort.pick(1000, 1000, 2):
                files = [os.open(f"/proc/{leaf.pid}/statm", os.O_RDONLY) for leaf in running]
                ways = (lambda: swept(counted, refresh=False), lambda: swept(walked, refresh=False), lambda: bare(files))
                shares = [[await share(way, effort) for way in ways] for _ in range(effort.pick(5, 3, 1))]
                ours, proc, floor = (Summary.of(found) for found in zip(*shares, strict=True))
                for fd in files:
                    os.close(fd)
                peers = (Peer("bare pread of statm", floor), Peer("/proc", proc))
                figures.append(Figure(f"{name}, once a second, known members", "% CPU", ours, peers, at_most(0.4, "% CPU")))
        finally:
            for one in (*counted, *walked):
                one.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return figures


def swept(readers: list[ReaderChain], *, refresh: bool) -> None:
    """Look at all of them."""
    for reader in readers:
        if reader.read(0.0, refresh) is None:
            raise AssertionError("a leaf has ended")


def bare(files: list[int]) -> None:
    """Read one file for each of them and do nothing with it."""
    for file in files:
        os.pread(file, 128, 0)


async def share(look: Callable[[], object], effort: Effort) -> float:
    """Percent of a processor for a look at all of them each second."""
    seconds = effort.pick(5, 3, 1)
    began = time.process_time()
    for _ in range(seconds):
        await anyio.sleep(1)
        look()
    return 100 * (time.process_time() - began) / seconds


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
