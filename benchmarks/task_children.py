"""Tasks as children: start and stop of few and of many, and what an idle one weighs, beside bare task groups and OTP's supervisor."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Mapping
from functools import partial

import anyio

from supervisor import ChildSpec, Supervisor, task

from .figures import Effort, Figure, Summary, at_most_above, at_most_times
from .otp import Otp, otp
from .tasks import BACKENDS, Group, Lap, LineUp, Way, groups, laps, ours_and_peers, peers


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    counts = effort.pick({1: (20, 20), 1000: (15, 1), 10000: (5, 1)}, {1: (10, 20), 1000: (5, 1), 10000: (1, 1)}, {1: (1, 2), 10: (1, 1)})
    most = max(counts)
    with otp() as erlang:
        for backend in BACKENDS:
            bare = groups(backend)
            ways: dict[str, Way] = {"ours": supervised, **{name: partial(unsupervised, group) for name, group in bare.items()}}
            if erlang is not None:
                ways[f"{erlang.name}, supervisor"] = partial(in_erlang, erlang)
            for count, (rounds, times) in counts.items():
                starts, stops = anyio.run(laps, ways, count, rounds, times, backend=backend)
                ours, beside = ours_and_peers(starts)
                target = at_most_times(3, beside[0]) if count == most else None
                figures.append(Figure(f"start of {count:,}, each, {backend}", "us", ours, beside, target))
                if count == most:
                    figures.append(Figure(f"stop of {count:,}, each, {backend}", "us", *ours_and_peers(stops)))
            ours, weights = anyio.run(weigh, bare, most, backend=backend)
            if erlang is not None:
                weights[f"{erlang.name}, supervisor"] = each(erlang.ask("weigh", "static", most)[0], most)
            beside = peers(weights)
            figures.append(Figure(f"memory of an idle one, {backend}", "KiB", ours, beside, at_most_above(6, "KiB", beside[0])))
    return figures


async def supervised(count: int) -> Lap:
    """Until the last one's first line has run, and until the block is left."""
    line_up = LineUp(count)
    specs = [ChildSpec(str(place), task(line_up.run)) for place in range(count)]
    began = time.perf_counter_ns()
    async with Supervisor("root", specs):
        await line_up.complete.wait()
        up = time.perf_counter_ns()
    return Lap.of(began, up, count)


async def unsupervised(group: Group, count: int) -> Lap:
    line_up = LineUp(count)
    began = time.perf_counter_ns()
    async with group() as tasks:
        for _ in range(count):
            tasks.start_soon(line_up.run)
        await line_up.complete.wait()
        up = time.perf_counter_ns()
        tasks.cancel_scope.cancel()
    return Lap.of(began, up, count)


async def in_erlang(erlang: Otp, count: int, kind: str = "static") -> Lap:
    return Lap(erlang.microseconds("start", kind, count)[0] / count, erlang.microseconds("stop")[0] / count)


async def weigh(bare: Mapping[str, Group], count: int) -> tuple[Summary, dict[str, Summary]]:
    """KiB of Python memory for each of many idle children, specifications included."""
    weights: dict[str, Summary] = {}
    # what it imports at its first call is no child's
    await anyio.wait_all_tasks_blocked()
    tracemalloc.start()
    try:
        for name, group in bare.items():
            before = weight()
            async with group() as tasks:
                for _ in range(count):
                    tasks.start_soon(anyio.sleep_forever)
                await anyio.wait_all_tasks_blocked()
                weights[name] = each(weight() - before, count)
                tasks.cancel_scope.cancel()
        before = weight()
        specs = [ChildSpec(str(place), task(anyio.sleep_forever)) for place in range(count)]
        async with Supervisor("root", specs):
            await anyio.wait_all_tasks_blocked()
            ours = each(weight() - before, count)
    finally:
        tracemalloc.stop()
    return ours, weights


def weight() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def each(total_bytes: int, count: int) -> Summary:
    return Summary.of([total_bytes / 1024 / count])
