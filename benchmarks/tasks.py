"""What the benchmarks of tasks share: bare task groups as the floor, tasks that wait, and laps of many of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeAlias

import anyio
import attrs
import trio
from anyio.abc import TaskGroup, TaskStatus

from .figures import Peer, Summary
from .otp import QUIET

Group: TypeAlias = Callable[[], AbstractAsyncContextManager[TaskGroup | trio.Nursery]]
BACKENDS: Final = ("trio", "asyncio")


def groups(backend: str) -> dict[str, Group]:
    """The bare task groups of a backend; the first one is what targets refer to."""
    bare: dict[str, Group] = {"anyio task group": anyio.create_task_group}
    return {**bare, "trio nursery": trio.open_nursery} if backend == "trio" else bare


def peers(summaries: Mapping[str, Summary]) -> tuple[Peer, ...]:
    return tuple(Peer(name, summary) for name, summary in summaries.items())


class LineUp:
    """Tasks that wait for ever, and an event that is set when the last one has begun to."""

    def __init__(self, count: int) -> None:
        self.missing, self.complete = count, anyio.Event()

    async def run(self) -> None:
        self.missing -= 1
        if not self.missing:
            self.complete.set()
        await anyio.sleep_forever()

    async def acknowledge(self, *, task_status: TaskStatus[None]) -> None:
        """As `run`, for who waits until it is up."""
        task_status.started()
        await self.run()


@attrs.frozen
class Lap:
    """One start and one stop of many, microseconds each."""

    start: float
    stop: float

    @classmethod
    def of(cls, began: int, up: int, count: int) -> Lap:
        """A lap that ends now; moments are nanoseconds of ``time.perf_counter_ns``."""
        return cls((up - began) / 1000 / count, (time.perf_counter_ns() - up) / 1000 / count)


Way: TypeAlias = Callable[[int], Awaitable[Lap]]
"""Starts so many and stops them."""


async def laps(ways: Mapping[str, Way], count: int, rounds: int, times: int = 1) -> tuple[dict[str, Summary], dict[str, Summary]]:
    """Run all ways in turns, so many laps each time, and one round before it counts: starts and stops, microseconds each, by way."""
    taken: dict[str, list[Lap]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            gc.collect()
            await anyio.sleep(QUIET)
            run = [await way(count) for _ in range(times)]
            if number:
                taken[name] += run
    return (
        {name: Summary.of([lap.start for lap in run]) for name, run in taken.items()},
        {name: Summary.of([lap.stop for lap in run]) for name, run in taken.items()},
    )


def ours_and_peers(summaries: Mapping[str, Summary], ours: str = "ours") -> tuple[Summary, tuple[Peer, ...]]:
    """One way apart from the others."""
    rest: dict[str, Any] = dict(summaries)
    return rest.pop(ours), peers(rest)
