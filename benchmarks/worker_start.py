"""`start_child` of a worker until it has acknowledged: by the fork server, alone and in a row, and in a fresh interpreter.

Its module, a small one in a small package, is imported by each worker, or once by the server.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Literal

import anyio

from supervisor import ChildSpec, DynamicSupervisor, Restart, worker

from .figures import Effort, Figure, Peer, Summary, at_most

PAUSE = 0.3
"""Seconds between starts that come alone: the fork server has a fork in reserve again by then."""


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    for backend in ("trio", "asyncio"):
        for preload in (True, False):
            alone, row, fresh = anyio.run(partial(start_in_turns, effort.pick(100, 30, 2), preload), backend=backend)
            peer = Peer("a fresh interpreter", fresh)
            where = f"on {backend}, {'preloaded, ' if preload else ''}"
            figures.append(Figure(f"{where}one at a time", "ms", alone, (peer,), at_most(4, "ms")))
            figures.append(Figure(f"{where}without a pause", "ms", row, (peer,)))
    return figures


async def start_in_turns(rounds: int, preload: bool) -> tuple[Summary, Summary, Summary]:
    """Milliseconds of a start: with a fork in reserve, without, and in a fresh interpreter."""
    alone: list[float] = []
    row: list[float] = []
    fresh: list[float] = []
    async with DynamicSupervisor("root") as root:
        await start(root, "fork_server", preload)
        for _ in range(rounds):
            await anyio.sleep(PAUSE)
            alone.append(await start(root, "fork_server", preload))
            row.append(await start(root, "fork_server", preload))
            fresh.append(await start(root, "fresh", preload))
    return Summary.of(alone), Summary.of(row), Summary.of(fresh)


async def start(root: DynamicSupervisor, method: Literal["fork_server", "fresh"], preload: bool) -> float:
    launch = worker("benchmarks.idle_worker:main", start_method=method, preload=preload)
    spec = ChildSpec("worker", launch, restart=Restart.TEMPORARY)
    began = time.perf_counter()
    child = await root.start_child(spec)
    taken = (time.perf_counter() - began) * 1000
    await root.terminate_child(child.id)
    return taken
