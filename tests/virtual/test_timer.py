"""The timer that all supervisors of a tree share."""

from __future__ import annotations

import math

import anyio
import anyio.lowlevel
import attrs
import pytest

from supervisor.runtime.timer import Timer

pytestmark = pytest.mark.anyio


@attrs.define(eq=False)
class Dozing:
    """A sleeper that writes down when it was woken."""

    armed: float = math.inf
    woken: list[float] = attrs.field(factory=list)

    def wake(self) -> None:
        self.woken.append(anyio.current_time())


@attrs.define(eq=False)
class Eager(Dozing):
    """A sleeper that asks again for the present moment each time, five times."""

    timer: Timer | None = None

    def wake(self) -> None:
        Dozing.wake(self)
        if len(self.woken) < 5 and self.timer is not None:
            self.timer.arm(self, anyio.current_time())


async def test_each_sleeper_is_woken_once_at_the_time_it_asked_for_last() -> None:
    """Earlier, later, never: only what was asked for last counts."""
    sooner, later, never, twice = Dozing(), Dozing(), Dozing(), Dozing()
    async with anyio.create_task_group() as tasks:
        timer = Timer(anyio.current_time, lambda timer: tasks.start_soon(timer.run))
        start = anyio.current_time()
        timer.arm(later, start + 5)
        timer.arm(later, start + 50)
        timer.arm(sooner, start + 100)
        await anyio.sleep(1)
        timer.arm(sooner, start + 2)
        timer.arm(never, start + 10)
        timer.arm(never, math.inf)
        timer.arm(twice, start + 20)
        timer.arm(twice, math.inf)
        timer.arm(twice, start + 20)
        await anyio.sleep(1000)
        timer.close()
    assert [[at - start for at in one.woken] for one in (sooner, later, never, twice)] == [[2], [50], [], [20]]


async def test_those_that_are_due_together_are_woken_in_the_order_in_which_they_asked() -> None:
    """Also those that are overdue."""
    order: list[int] = []

    @attrs.define(eq=False)
    class Numbered:
        number: int
        armed: float = math.inf

        def wake(self) -> None:
            order.append(self.number)

    async with anyio.create_task_group() as tasks:
        timer = Timer(anyio.current_time, lambda timer: tasks.start_soon(timer.run))
        for number in range(5):
            timer.arm(Numbered(number), anyio.current_time() + 1)
        timer.arm(Numbered(5), anyio.current_time() - 1)
        await anyio.sleep(2)
        timer.close()
    assert order == [5, 0, 1, 2, 3, 4]


async def test_who_asks_for_now_again_and_again_lets_others_run_between() -> None:
    """A sleeper is woken one turn of the event loop later at the earliest."""
    turns = 0
    done = anyio.Event()

    async def count() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        timer = Timer(anyio.current_time, lambda timer: tasks.start_soon(timer.run))
        eager = Eager(timer=timer)
        tasks.start_soon(count)
        timer.arm(eager, anyio.current_time())
        while len(eager.woken) < 5:
            await anyio.lowlevel.checkpoint()
        done.set()
        timer.close()
    assert turns >= 5


async def test_times_that_no_longer_count_are_forgotten() -> None:
    """A timer that is set anew with every start and stop of ten thousand children stays small."""
    sleeper = Dozing()
    async with anyio.create_task_group() as tasks:
        timer = Timer(anyio.current_time, lambda timer: tasks.start_soon(timer.run))
        for number in range(10_000):
            timer.arm(sleeper, anyio.current_time() + 1000 + number)
            timer.arm(sleeper, math.inf)
        assert len(timer._heap) <= 2
        timer.close()
    assert sleeper.woken == []


async def test_a_closed_timer_wakes_nobody() -> None:
    """After `close` its task ends, and asking changes nothing."""
    sleeper = Dozing()
    async with anyio.create_task_group() as tasks:
        timer = Timer(anyio.current_time, lambda timer: tasks.start_soon(timer.run))
        timer.arm(sleeper, anyio.current_time() + 1)
        await anyio.lowlevel.checkpoint()
        timer.close()
    timer.arm(sleeper, anyio.current_time())
    await anyio.sleep(10)
    assert sleeper.woken == []
