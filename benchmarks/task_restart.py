"""Crash of a task to its next life: one now and then, with few and with many siblings, and many in a row."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import anyio

from supervisor import ChildSpec, Restart, Supervisor, task

from .figures import Effort, Figure, Peer, Summary, at_most_times
from .otp import QUIET, Otp, otp
from .tasks import BACKENDS, Group, groups, ours_and_peers

OFTEN: Final = 10**9
"""An intensity that nothing here reaches."""

Block = Callable[[int], Awaitable[list[float]]]
"""So many crashes one after the other: microseconds to the first line of the next life, each."""


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    siblings = effort.pick((0, 99, 999), (0, 99, 999), (0, 2, 9))
    with otp() as erlang:
        for backend in BACKENDS:
            run = partial(anyio.run, backend=backend)
            bare = groups(backend)
            taken = run(partial(now_and_then, bare, erlang, siblings, effort.pick(40, 15, 2), effort.pick(50, 40, 2)))
            figures += by_siblings(taken, siblings, erlang, backend)
            rounds, block = effort.pick(20, 10, 2), effort.pick(500, 500, 2)
            taken = run(partial(in_one_window, erlang, rounds, block))
            beside = () if erlang is None else (Peer(killed(erlang), taken["killed"]),)
            target = at_most_times(1, beside[0]) if beside else None
            figures.append(Figure(f"crash to restart, {rounds * block:,} in one window, {backend}", "us", taken["ours"], beside, target))
            for times in effort.pick((1000, 10000), (1000, 10000), (5, 10)):
                rates = run(partial(in_a_row, bare, erlang, times, effort.pick(5, 3, 1)))
                figures.append(Figure(f"restarts a second, {times:,} in a row, {backend}", "/s", *ours_and_peers(rates)))
    return figures


def by_siblings(taken: Mapping[str, Summary], siblings: tuple[int, ...], erlang: Otp | None, backend: str) -> list[Figure]:
    """The figure without siblings beside Erlang's and the floors, and the others beside it."""
    figures: list[Figure] = []
    floors = tuple(Peer(name, taken[name]) for name in groups(backend))
    alone = taken[f"{siblings[0]}"]
    for count in siblings:
        same: tuple[Peer, ...] = ()
        if erlang is not None:
            same = (Peer(killed(erlang), taken[f"killed {count}"]), Peer(f"{erlang.name}, exit of its own", taken[f"failed {count}"]))
        if count == 0:
            target = at_most_times(1, same[0]) if same else None
            figures.append(Figure(f"crash to restart, {backend}", "us", alone, (*same, *floors), target))
        else:
            beside = Peer("no siblings", alone)
            name = f"crash to restart, {count:,} siblings, {backend}"
            figures.append(Figure(name, "us", taken[f"{count}"], (beside, *same), at_most_times(1.25, beside)))
    return figures


def killed(erlang: Otp) -> str:
    return f"{erlang.name}, exit(Pid, kill)"


class Crasher:
    """A task that fails when it is told to, and notes when, and when its next life begins."""

    def __init__(self) -> None:
        self.crashed = 0
        self.samples: list[float] = []
        self.told, self.up = anyio.Event(), anyio.Event()

    async def run(self) -> None:
        now = time.perf_counter_ns()
        self.samples.append((now - self.crashed) / 1000)
        self.told = anyio.Event()
        self.up.set()
        await self.told.wait()
        self.crashed = time.perf_counter_ns()
        raise RuntimeError("told to")

    async def block(self, times: int) -> list[float]:
        """See `Block`; one more goes before and does not count."""
        for _ in range(times + 1):
            self.up = anyio.Event()
            self.told.set()
            await self.up.wait()
        return self.samples[-times:]

    def spec(self) -> ChildSpec:
        return ChildSpec("crasher", task(self.run), restart=Restart.PERMANENT)


async def now_and_then(
    bare: Mapping[str, Group], erlang: Otp | None, siblings: tuple[int, ...], rounds: int, times: int
) -> dict[str, Summary]:
    """Few crashes within a second, by who crashes: ours by siblings, the bare ones by name, Erlang's by way and siblings."""
    blocks: dict[str, Block] = {}
    idle = [ChildSpec(str(place), task(anyio.sleep_forever)) for place in range(max(siblings))]
    async with AsyncExitStack() as stack:
        for name, group in bare.items():
            tasks = await stack.enter_async_context(group())
            stack.callback(tasks.cancel_scope.cancel)
            crasher = Crasher()
            tasks.start_soon(respawning, crasher.run, tasks.start_soon)
            blocks[name] = crasher.block
        for count in siblings:
            crasher = Crasher()
            await stack.enter_async_context(Supervisor("root", [*idle[:count], crasher.spec()], intensity=OFTEN, period=1.0))
            blocks[f"{count}"] = crasher.block
            if erlang is not None:
                erlang.ask("open", count, count, 1)
                stack.callback(erlang.ask, "close", count)
                blocks[f"killed {count}"] = partial(in_erlang, erlang, "kill", count)
                blocks[f"failed {count}"] = partial(in_erlang, erlang, "fail", count)
        return await in_turns(blocks, rounds, times)


async def in_one_window(erlang: Otp | None, rounds: int, times: int) -> dict[str, Summary]:
    """So many crashes that all still count when the last one comes."""
    crasher = Crasher()
    blocks: dict[str, Block] = {"ours": crasher.block}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Supervisor("root", [crasher.spec()], intensity=OFTEN, period=3600.0))
        if erlang is not None:
            erlang.ask("open", "window", 0, 3600)
            stack.callback(erlang.ask, "close", "window")
            blocks["killed"] = partial(in_erlang, erlang, "kill", "window")
        return await in_turns(blocks, rounds, times, warm_up=False)


async def in_turns(blocks: Mapping[str, Block], rounds: int, times: int, *, warm_up: bool = True) -> dict[str, Summary]:
    samples: dict[str, list[float]] = {name: [] for name in blocks}
    await anyio.wait_all_tasks_blocked()
    for number in range(rounds + warm_up):
        for name, block in blocks.items():
            await anyio.sleep(QUIET)
            taken = await block(times)
            if number or not warm_up:
                samples[name] += taken
    return {name: Summary.of(values) for name, values in samples.items()}


async def in_erlang(erlang: Otp, way: str, name: object, times: int) -> list[float]:
    return erlang.microseconds(way, name, times)


async def respawning(run: Callable[[], Awaitable[None]], start: Callable[..., Any]) -> None:
    """The least that a task group needs to restart a task."""
    try:
        await run()
    except RuntimeError:
        start(respawning, run, start)


class Relapsing:
    """A task that crashes as soon as it is up, so many times."""

    def __init__(self, times: int) -> None:
        self.left, self.recovered = times, anyio.Event()

    async def run(self) -> None:
        if self.left:
            self.left -= 1
            raise RuntimeError("relapsed")
        self.recovered.set()
        await anyio.sleep_forever()


async def in_a_row(bare: Mapping[str, Group], erlang: Otp | None, times: int, rounds: int) -> dict[str, Summary]:
    """Restarts a second of one child that crashes back to back, from the start of its supervisor on."""
    rates: dict[str, list[float]] = {}

    def note(name: str, nanoseconds: int) -> None:
        rates.setdefault(name, []).append(times * 1e9 / nanoseconds)

    for _ in range(rounds):
        child = Relapsing(times)
        began = time.perf_counter_ns()
        spec = ChildSpec("relapsing", task(child.run), restart=Restart.PERMANENT)
        async with Supervisor("root", [spec], intensity=OFTEN, period=3600.0):
            await child.recovered.wait()
            note("ours", time.perf_counter_ns() - began)
        if erlang is not None:
            note(f"{erlang.name}, supervisor", erlang.ask("relapse", times)[0])
        for name, group in bare.items():
            child = Relapsing(times)
            began = time.perf_counter_ns()
            async with group() as tasks:
                tasks.start_soon(respawning, child.run, tasks.start_soon)
                await child.recovered.wait()
                note(name, time.perf_counter_ns() - began)
                tasks.cancel_scope.cancel()
    return {name: Summary.of(values) for name, values in rates.items()}
