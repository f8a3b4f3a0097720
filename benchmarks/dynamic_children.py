"""Tasks that are started one by one by `start_child`, and stopped all at once, beside bare task groups and OTP's ``simple_one_for_one``."""

from __future__ import annotations

import time
from functools import partial

import anyio

from supervisor import ChildSpec, DynamicSupervisor, task

from .figures import Effort, Figure
from .otp import otp
from .task_children import in_erlang
from .tasks import BACKENDS, Group, Lap, LineUp, Way, groups, laps, ours_and_peers


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    count = effort.pick(10000, 10000, 10)
    with otp() as erlang:
        for backend in BACKENDS:
            ways: dict[str, Way] = {"ours": supervised}
            ways |= {f"{name}, await start": partial(unsupervised, group) for name, group in groups(backend).items()}
            if erlang is not None:
                ways[f"{erlang.name}, simple_one_for_one"] = partial(in_erlang, erlang, kind="dynamic")
            starts, stops = anyio.run(laps, ways, count, effort.pick(5, 1, 1), backend=backend)
            figures.append(Figure(f"start of {count:,}, each, {backend}", "us", *ours_and_peers(starts)))
            figures.append(Figure(f"stop of {count:,}, each, {backend}", "us", *ours_and_peers(stops)))
    return figures


async def supervised(count: int) -> Lap:
    """Until the last one's first line has run, and until the block is left."""
    line_up = LineUp(count)
    spec = ChildSpec("child", task(line_up.run))
    began = time.perf_counter_ns()
    async with DynamicSupervisor("root") as root:
        for _ in range(count):
            await root.start_child(spec)
        await line_up.complete.wait()
        up = time.perf_counter_ns()
    return Lap.of(began, up, count)


async def unsupervised(group: Group, count: int) -> Lap:
    line_up = LineUp(count)
    began = time.perf_counter_ns()
    async with group() as tasks:
        for _ in range(count):
            await tasks.start(line_up.acknowledge)
        await line_up.complete.wait()
        up = time.perf_counter_ns()
        tasks.cancel_scope.cancel()
    return Lap.of(began, up, count)
