"""Tasks as children: start of many, crash and restart of one, and what an idle one weighs, beside bare task groups."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import trio

from supervisor import ChildSpec, Restart, Supervisor, task

from .figures import Effort, Figure, Peer, Summary

Start = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]
Group = Callable[[], AbstractAsyncContextManager[Start]]


@asynccontextmanager
async def anyio_group() -> AsyncIterator[Start]:
    async with anyio.create_task_group() as tasks:
        yield tasks.start_soon
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def trio_nursery() -> AsyncIterator[Start]:
    async with trio.open_nursery() as nursery:
        yield nursery.start_soon
        nursery.cancel_scope.cancel()


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    many, siblings = effort.pick((1000, 999), (1000, 999), (10, 9))
    rounds = effort.pick(15, 7, 1)
    crashes = effort.pick(400, 200, 3)
    for backend in ("trio", "asyncio"):
        run = partial(anyio.run, backend=backend)
        groups = {"anyio task group": anyio_group}
        if backend == "trio":
            groups = {"trio nursery": trio_nursery, **groups}
        ours, bare = run(partial(start_many, groups, many, rounds))
        figures.append(Figure(f"start of {many:,}, each, {backend}", "us", ours, peers(bare)))
        alone, crowded, bare = run(partial(crash, groups, siblings, crashes))
        figures.append(Figure(f"crash to restart, {backend}", "us", alone, peers(bare)))
        figures.append(Figure(f"crash to restart, {siblings:,} siblings, {backend}", "us", crowded, (Peer("no siblings", alone),)))
        ours, bare = run(partial(weigh, groups, many))
        figures.append(Figure(f"memory of an idle one, {backend}", "KiB", ours, peers(bare)))
    return figures


def peers(summaries: dict[str, Summary]) -> tuple[Peer, ...]:
    return tuple(Peer(name, summary) for name, summary in summaries.items())


async def start_many(groups: Mapping[str, Group], count: int, rounds: int) -> tuple[Summary, dict[str, Summary]]:
    """Microseconds for each of many children, until the last one's first line has run."""
    ours: list[float] = []
    bare: dict[str, list[float]] = {name: [] for name in groups}
    for number in range(rounds + 1):
        line_up = LineUp(count)
        specs = [ChildSpec(str(place), task(line_up.run)) for place in range(count)]
        gc.collect()
        began = time.perf_counter_ns()
        async with Supervisor("root", specs):
            await line_up.complete.wait()
            taken = (time.perf_counter_ns() - began) / 1000 / count
        if number:
            ours.append(taken)
        for name, group in groups.items():
            line_up = LineUp(count)
            gc.collect()
            began = time.perf_counter_ns()
            async with group() as start:
                for _ in range(count):
                    start(line_up.run)
                await line_up.complete.wait()
                taken = (time.perf_counter_ns() - began) / 1000 / count
            if number:
                bare[name].append(taken)
    return Summary.of(ours), {name: Summary.of(samples) for name, samples in bare.items()}


class LineUp:
    """Tasks that wait for ever, and an event that is set when the last one has begun to."""

    def __init__(self, count: int) -> None:
        self.missing, self.complete = count, anyio.Event()

    async def run(self) -> None:
        self.missing -= 1
        if not self.missing:
            self.complete.set()
        await anyio.sleep_forever()


class Crasher:
    """A task that fails when it is told to, and notes when, and when its next life begins."""

    def __init__(self) -> None:
        self.crashed = 0
        self.samples: list[float] = []
        self.told, self.up = anyio.Event(), anyio.Event()

    async def run(self) -> None:
        now = time.perf_counter_ns()
        if self.crashed:
            self.samples.append((now - self.crashed) / 1000)
        self.told = anyio.Event()
        self.up.set()
        await self.told.wait()
        self.crashed = time.perf_counter_ns()
        raise RuntimeError("told to")

    async def again(self) -> None:
        self.up = anyio.Event()
        self.told.set()
        await self.up.wait()


async def crash(groups: Mapping[str, Group], siblings: int, crashes: int) -> tuple[Summary, Summary, dict[str, Summary]]:
    """Microseconds from the line that raises to the first line of the next life: alone, among siblings, and bare."""
    bare: dict[str, Summary] = {}
    flags: dict[str, Any] = {"intensity": 2 * crashes + 10, "period": 3600.0}
    idle = [ChildSpec(str(place), task(anyio.sleep_forever)) for place in range(siblings)]
    alone, crowded = Crasher(), Crasher()
    async with (
        Supervisor("root", [ChildSpec("crasher", task(alone.run), restart=Restart.PERMANENT)], **flags),
        Supervisor("root", [*idle, ChildSpec("crasher", task(crowded.run), restart=Restart.PERMANENT)], **flags),
    ):
        for name, group in groups.items():
            crasher = Crasher()
            async with group() as start:
                start(partial(respawning, crasher, start))
                await in_turns([alone, crowded, crasher], crashes // len(groups))
            bare[name] = warm(crasher)
    return warm(alone), warm(crowded), bare


async def respawning(crasher: Crasher, start: Start) -> None:
    """The least that a task group needs to restart a task."""
    try:
        await crasher.run()
    except RuntimeError:
        start(partial(respawning, crasher, start))


async def in_turns(crashers: list[Crasher], times: int) -> None:
    await anyio.wait_all_tasks_blocked()
    for _ in range(times + 1):
        for crasher in crashers:
            await crasher.again()


def warm(crasher: Crasher) -> Summary:
    return Summary.of(crasher.samples[max(1, len(crasher.samples) // 20) :])


async def weigh(groups: Mapping[str, Group], count: int) -> tuple[Summary, dict[str, Summary]]:
    """KiB of Python memory for each of many idle children, specifications included."""
    bare: dict[str, Summary] = {}
    tracemalloc.start()
    try:
        for name, group in groups.items():
            before = weight()
            async with group() as start:
                for _ in range(count):
                    start(anyio.sleep_forever)
                await anyio.wait_all_tasks_blocked()
                bare[name] = each(weight() - before, count)
        before = weight()
        specs = [ChildSpec(str(place), task(anyio.sleep_forever)) for place in range(count)]
        async with Supervisor("root", specs):
            await anyio.wait_all_tasks_blocked()
            ours = each(weight() - before, count)
    finally:
        tracemalloc.stop()
    return ours, bare


def weight() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def each(total_bytes: int, count: int) -> Summary:
    return Summary.of([total_bytes / 1024 / count])
