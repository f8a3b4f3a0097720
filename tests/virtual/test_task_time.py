# ruff: noqa: PT012 (what leaves a block is the claim, and the block is the test)
"""When things happen to tasks: time limits of streams, and the time that stopping takes."""

from __future__ import annotations

import math

import anyio
import pytest

from supervisor import ChildUnresponsive, OnTimeout, TaskExited, TaskSupervisor, TaskTimeout
from tests.play import Play, watched

pytestmark = pytest.mark.anyio


def since(start: float) -> float:
    return round(anyio.current_time() - start, 6)


async def sleep(seconds: float) -> float:
    await anyio.sleep(seconds)
    return seconds


async def deaf(seconds: float) -> float:
    """Ignore everything for some time."""
    with anyio.CancelScope(shield=True):
        await anyio.sleep(seconds)
    return seconds


@pytest.mark.parametrize(("most", "took"), [(1, 60.0), (2, 40.0), (3, 30.0)])
async def test_so_many_at_a_time(most: int, took: float) -> None:
    """Three tasks of 10, 20 and 30 seconds take as long as the concurrency says."""
    start = anyio.current_time()
    async with TaskSupervisor("root") as root, root.async_stream([10.0, 20.0, 30.0], sleep, max_concurrency=most) as results:
        assert [result async for result in results] == [10.0, 20.0, 30.0]
    assert since(start) == took


async def test_a_task_that_takes_too_long_is_an_error() -> None:
    """After `timeout` seconds for that task alone; the others are stopped."""
    start = anyio.current_time()
    async with TaskSupervisor("root") as root:
        with pytest.raises(TaskTimeout) as caught:
            async with root.async_stream([4.0, 4.0, 6.0, 1.0], sleep, max_concurrency=2, timeout=5.0) as results:
                async for result in results:
                    assert result == 4.0
        assert since(start) == 9.0
        assert (caught.value.timeout, caught.value.exit.reason) == (5.0, "timeout")
        assert isinstance(caught.value, TimeoutError)
        assert root.count_children().specs == 0


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_task_that_takes_too_long_may_be_an_outcome(ordered: bool) -> None:
    """It is stopped, and its place is free for the next."""
    start = anyio.current_time()
    outcomes = []
    async with TaskSupervisor("root") as root:
        async with root.async_stream_nolink(
            [math.inf, 1.0, math.inf, 2.0], sleep, max_concurrency=1, ordered=ordered, timeout=5.0, on_timeout=OnTimeout.KILL_TASK
        ) as results:
            async for outcome in results:
                outcomes.append((outcome.input, outcome.exit.reason, since(start)))
                if outcome.input == math.inf:
                    with pytest.raises(TaskTimeout):
                        outcome.result()
                else:
                    assert outcome.result() == outcome.input
        assert root.count_children().specs == 0
    assert outcomes == [(math.inf, "timeout", 5.0), (1.0, "normal", 6.0), (math.inf, "timeout", 11.0), (2.0, "normal", 13.0)]


async def test_a_task_that_is_deaf_is_given_up_in_a_bounded_time() -> None:
    """Asked at 5 s, killed at 8, given up at 9 and reported; the stream goes on."""
    play = Play(patience=10_000.0)
    start = anyio.current_time()
    root = TaskSupervisor("root")
    watch = watched(root, play)
    async with root:
        async with root.async_stream_nolink(
            [60.0, 1.0], deaf, max_concurrency=1, timeout=5.0, on_timeout=OnTimeout.KILL_TASK, shutdown=3.0
        ) as results:
            outcomes = [(outcome.exit.reason, since(start)) async for outcome in results]
        assert outcomes == [("timeout", 9.0), ("normal", 10.0)]
        assert [event.waited for event in watch.of(ChildUnresponsive)] == [4.0]
        assert root.abandoned == 1
    assert since(start) == 60.0


async def test_the_end_of_a_stream_stops_all_at_once() -> None:
    """Tasks that need a second each are stopped in one, not one after the other."""
    gone: list[float] = []

    async def slow(_item: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1.0)
                gone.append(since(start))

    start = anyio.current_time()
    async with TaskSupervisor("root") as root:
        with anyio.move_on_after(10.0):
            async with root.async_stream(range(8), slow, max_concurrency=8) as results:
                await anext(results)
        assert gone == [11.0] * 8
        assert since(start) == 11.0
        await anyio.lowlevel.checkpoint()
        assert root.count_children().specs == 0


async def test_a_cancelled_waiter_does_not_wait_for_its_task() -> None:
    """A linked task is asked, the waiter leaves, and the supervisor serves others meanwhile."""
    start = anyio.current_time()
    async with TaskSupervisor("root") as root:
        run = await root.async_(deaf, 20.0)
        with anyio.move_on_after(1.0):
            await run.result()
        assert since(start) == 1.0
        assert await (await root.async_(sleep, 1.0)) == 1.0
        assert since(start) == 2.0
        assert await run == 20.0


async def test_a_task_that_outlives_its_shutdown_is_given_up() -> None:
    """`shutdown` asks, waits so long and a second more, and is over; so is the result."""
    start = anyio.current_time()
    async with TaskSupervisor("root") as root:
        run = await root.async_nolink(deaf, 20.0, shutdown=2.0)
        await run.shutdown()
        assert since(start) == 3.0
        with pytest.raises(TaskExited):
            await run
    assert since(start) == 20.0
