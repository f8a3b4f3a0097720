"""What limits and a cgroup add to the start of a forked worker, and for how long a command's start beside it waits meanwhile."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import anyio

from supervisor import ChildSpec, DynamicSupervisor, Launch, Limits, Restart, cgroup_support, command, worker

from .figures import Effort, Figure, Peer, Summary

PAUSE = 0.3
"""Seconds between starts: the fork server has a fork in reserve again by then, and nobody has just been moved between cgroups."""
MOMENT = 0.002
"""Seconds after which a worker whose start was asked for is on its way into its cgroup."""
OWN: dict[str, Any] = {"limits": Limits(nofile=1024, nice=1)}
ENCLOSED: dict[str, Any] = {"cgroup": "always"}


def measure(effort: Effort) -> list[Figure]:
    if cgroup_support().tracking is None:
        return []
    plain, own, enclosed, alone, beside = anyio.run(partial(start_in_turns, effort.pick(50, 15, 2)), backend="trio")
    without = Peer("without any", plain)
    return [
        Figure("a fork with limits of its own", "ms", own, (without,)),
        Figure("a fork in a cgroup of its own", "ms", enclosed, (without,)),
        Figure("a command, while a fork goes to its cgroup", "ms", beside, (Peer("alone", alone),)),
    ]


async def start_in_turns(rounds: int) -> tuple[Summary, ...]:
    """Milliseconds of a fork's start without limits, with, and in a cgroup; and of a command's in a cgroup, alone and beside a fork."""
    samples: tuple[list[float], ...] = ([], [], [], [], [])
    async with DynamicSupervisor("root") as root:
        await start(root, forked())
        for _ in range(rounds):
            for fields, times in zip(({}, OWN, ENCLOSED), samples, strict=False):
                await anyio.sleep(PAUSE)
                times.append(await start(root, forked(**fields)))
            await anyio.sleep(PAUSE)
            samples[3].append(await start(root, command("sleep", "60")))
            await anyio.sleep(PAUSE)
            async with anyio.create_task_group() as group:
                group.start_soon(start, root, forked(**ENCLOSED))
                await anyio.sleep(MOMENT)
                samples[4].append(await start(root, command("sleep", "60")))
    return tuple(map(Summary.of, samples))


def forked(**fields: Any) -> Launch:
    return worker("benchmarks.idle_worker:main", start_method="fork_server", **fields)


async def start(root: DynamicSupervisor, launch: Launch) -> float:
    began = time.perf_counter()
    child = await root.start_child(ChildSpec("child", launch, restart=Restart.TEMPORARY))
    taken = (time.perf_counter() - began) * 1000
    await root.terminate_child(child.id)
    return taken
