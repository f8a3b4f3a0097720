"""Many commands as children: their start and stop, what an idle one weighs and costs, and the stop of one big tree of processes."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import anyio

from supervisor import ChildSpec, DynamicSupervisor, Supervisor, command

from .figures import Effort, Figure, Peer, Summary

IDLE: Final = ("sleep", "600")
NAMES: Final = ("start", "stop", "stop at once", "bare start", "bare stop", "weight", "cpu", "tree", "group")
_NURSERY: Final = """
import os, signal, sys
for number in range(int(sys.argv[1]) - 1):
    if os.fork() == 0:
        signal.pause()
sys.stdout.write("up\\n")
sys.stdout.flush()
signal.pause()
"""


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    most, rounds = effort.pick(1000, 1000, 10), effort.pick(3, 1, 1)
    for backend in ("trio", "asyncio"):
        samples: dict[str, list[float]] = {name: [] for name in NAMES}
        for _ in range(rounds):
            bare_children(most, samples)
            samples["weight"].append(weight_in_fresh_memory(most, backend))
            anyio.run(our_children, most, effort.pick(20.0, 5.0, 0.1), samples, backend=backend)
            for _ in range(effort.pick(5, 3, 1)):
                bare_tree(effort.pick(100, 100, 5), samples)
                anyio.run(our_tree, effort.pick(100, 100, 5), samples, backend=backend)
        took = {name: Summary.of(values) for name, values in samples.items()}
        loop = "loop of Popen and pidfd"
        bare_stop, in_group = Peer("SIGTERM to all, then wait", took["bare stop"]), Peer("killpg and wait for its root", took["group"])
        figures += [
            Figure(f"start of {most:,}, each, {backend}", "us", took["start"], (Peer(loop, took["bare start"]),)),
            Figure(f"stop of {most:,}, each, {backend}", "us", took["stop"], (bare_stop,)),
            Figure(f"stop of {most:,} dynamic ones, each, {backend}", "us", took["stop at once"], (bare_stop,)),
            Figure(f"memory of an idle one, {backend}", "KiB", took["weight"]),
            Figure(f"CPU with {most:,} idle ones, {backend}", "% of a core", took["cpu"]),
            Figure(f"stop of a tree of 100 processes, {backend}", "ms", took["tree"], (in_group,)),
        ]
    return figures


async def our_children(count: int, idle: float, samples: dict[str, list[float]]) -> None:
    """Start them, let them idle, stop them all at once."""
    specs = [ChildSpec(f"child-{number}", command(*IDLE, stdin="null")) for number in range(count)]
    began = time.perf_counter()
    root = Supervisor("root", specs)
    async with root:
        samples["start"].append((time.perf_counter() - began) / count * 1e6)
        await anyio.sleep(0.5)
        used, then = time.process_time(), time.perf_counter()
        await anyio.sleep(idle)
        samples["cpu"].append((time.process_time() - used) / (time.perf_counter() - then) * 100)
        began = time.perf_counter()
    samples["stop"].append((time.perf_counter() - began) / count * 1e6)
    async with DynamicSupervisor("root") as dynamic:
        for spec in specs:
            await dynamic.start_child(spec)
        began = time.perf_counter()
    samples["stop at once"].append((time.perf_counter() - began) / count * 1e6)


def weight_in_fresh_memory(count: int, backend: str) -> float:
    """KiB of an idle one, in an interpreter whose memory holds nothing yet that could be used again."""
    words = [sys.executable, "-c", f"from benchmarks.command_children import *; anyio.run(weigh, {count}, backend={backend!r})"]
    return float(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)


async def weigh(count: int) -> None:
    """Print the KiB of an idle one, after a first one that has brought along what all need."""
    specs = [ChildSpec(f"child-{number}", command(*IDLE, stdin="null")) for number in range(count)]
    async with DynamicSupervisor("root") as root:
        await root.start_child(ChildSpec("first", command(*IDLE, stdin="null")))
        gc.collect()
        before = resident()
        for spec in specs:
            await root.start_child(spec)
        gc.collect()
        print((resident() - before) / count / 1024)


def bare_children(count: int, samples: dict[str, list[float]]) -> None:
    """The floor of `our_children`."""
    began = time.perf_counter()
    processes = [subprocess.Popen(IDLE, stdin=subprocess.DEVNULL, start_new_session=True) for _ in range(count)]
    pidfds = [os.pidfd_open(process.pid) for process in processes]
    samples["bare start"].append((time.perf_counter() - began) / count * 1e6)
    began = time.perf_counter()
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()
    samples["bare stop"].append((time.perf_counter() - began) / count * 1e6)
    for pidfd in pidfds:
        os.close(pidfd)


async def our_tree(count: int, samples: dict[str, list[float]]) -> None:
    """A root with many children, of which none hears its parent's end."""
    reader, writer = os.pipe()
    try:
        leaf = command(sys.executable, "-I", "-S", "-c", _NURSERY, str(count), stdin="null", stdout=f"/dev/fd/{writer}")
        async with Supervisor("root", [ChildSpec("tree", leaf)]):
            await anyio.wait_readable(reader)
            await anyio.sleep(0.1)
            began = time.perf_counter()
        samples["tree"].append((time.perf_counter() - began) * 1e3)
    finally:
        os.close(reader)
        os.close(writer)


def bare_tree(count: int, samples: dict[str, list[float]]) -> None:
    """The same tree, where all that belong to it are known to be in one group."""
    words = [sys.executable, "-I", "-S", "-c", _NURSERY, str(count)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        select.select([process.stdout], [], [], 20)
        time.sleep(0.1)
        began = time.perf_counter()
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        samples["group"].append((time.perf_counter() - began) * 1e3)


def resident() -> int:
    """Bytes of our own that are in memory."""
    fields = Path("/proc/self/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
