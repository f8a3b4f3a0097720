# ruff: noqa: PT012, SIM117 (what leaves a block is the claim, and the block is the test)
"""A function over many items, a bounded number of them at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, cast

import anyio
import attrs
import pytest

from supervisor import (
    ExitKind,
    InvalidField,
    MaxChildren,
    NoProc,
    OnTimeout,
    TaskExited,
    TaskSupervisor,
)
from tests.play import Crash, Play

pytestmark = pytest.mark.anyio


@attrs.define
class Kitchen:
    """A function whose calls end when they are told to, and what is known of them.

    Attributes:
        taken: Items that were taken out of the iterable.
        begun: Items whose calls have begun.
        most: How many calls there were at once at most.
    """

    play: Play = attrs.field(factory=Play)
    taken: list[int] = attrs.field(factory=list)
    begun: list[int] = attrs.field(factory=list)
    running: set[int] = attrs.field(factory=set)
    most: int = 0
    _told: set[int] = attrs.field(factory=set)

    def items(self, number: int | None = None) -> Iterator[int]:
        """The first numbers, or all of them."""
        for item in itertools.count() if number is None else range(number):
            self.taken.append(item)
            yield item

    async def cook(self, item: int) -> str:
        self.begun.append(item)
        self.running.add(item)
        self.most = max(self.most, len(self.running))
        self.play.wake()
        try:
            await self.play.until(lambda: item in self._told)
        finally:
            self.running.remove(item)
            self.play.wake()
        if item == 13:
            raise Crash(item)
        return f"dish {item}"

    def tell(self, *items: int) -> None:
        self._told.update(items)
        self.play.wake()

    async def tell_once_begun(self, item: int) -> None:
        await self.play.until(lambda: item in self.begun)
        self.tell(item)

    async def ended(self, item: int) -> None:
        await self.play.until(lambda: item not in self.running)


async def test_results_come_in_the_order_of_their_items() -> None:
    """Whoever is first; the later ones wait."""
    kitchen = Kitchen()
    async with TaskSupervisor("root") as root, root.async_stream(kitchen.items(4), kitchen.cook, max_concurrency=4) as dishes:
        results: list[str] = []
        async with anyio.create_task_group() as group:

            async def read() -> None:
                results.extend([dish async for dish in dishes])

            group.start_soon(read)
            await kitchen.play.until(lambda: len(kitchen.begun) == 4)
            for item in (3, 1, 2):
                kitchen.tell(item)
                await kitchen.ended(item)
            await anyio.wait_all_tasks_blocked()
            assert results == []
            kitchen.tell(0)
    assert results == [f"dish {item}" for item in range(4)]


async def test_results_may_come_as_they_are_there() -> None:
    """Not ordered, the first to end is the first to be read, also of those that wait to be read."""
    kitchen = Kitchen()
    async with (
        TaskSupervisor("root") as root,
        root.async_stream(kitchen.items(4), kitchen.cook, max_concurrency=4, ordered=False) as dishes,
    ):
        async with anyio.create_task_group() as group:
            group.start_soon(kitchen.tell_once_begun, 2)
            assert await anext(dishes) == "dish 2"
        await kitchen.play.until(lambda: len(kitchen.begun) == 4)
        for item in (3, 0, 1):
            kitchen.tell(item)
            await kitchen.ended(item)
            await anyio.wait_all_tasks_blocked()
        assert [dish async for dish in dishes] == ["dish 3", "dish 0", "dish 1"]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_than_so_many_are_under_way(most: int, ordered: bool) -> None:
    """Items are taken as results are read, also of an endless iterable: what is done and not read counts as under way."""
    kitchen = Kitchen()
    kitchen.tell(*range(1000))
    async with TaskSupervisor("root") as root:
        async with root.async_stream(kitchen.items(), kitchen.cook, max_concurrency=most, ordered=ordered) as dishes:
            assert kitchen.taken == []
            for number in range(10):
                assert (await anext(dishes)).startswith("dish")
                await anyio.wait_all_tasks_blocked()
                assert len(kitchen.taken) <= number + most
        assert kitchen.most <= most
        assert root.count_children().specs == 0


@pytest.mark.parametrize("end", ["break", "error", "cancelled"])
async def test_who_stops_reading_leaves_nothing_behind(end: str) -> None:
    """The end of the block stops what runs and waits for it; the supervisor and its other tasks go on."""
    kitchen = Kitchen()
    kitchen.tell(0)
    async with TaskSupervisor("root") as root:
        other = await root.async_nolink(anyio.sleep_forever)
        dishes = root.async_stream(kitchen.items(), kitchen.cook, max_concurrency=3)
        with anyio.CancelScope() as scope:
            try:
                async with dishes:
                    async for dish in dishes:
                        assert dish == "dish 0"
                        await kitchen.play.until(lambda: len(kitchen.begun) == 3)
                        if end == "break":
                            break
                        if end == "error":
                            raise Crash
                        scope.cancel()
            except Crash:
                pass
        assert kitchen.running == set()
        assert root.count_children().specs == 1 and other.exit is None
        with pytest.raises(RuntimeError, match="async with"):
            await anext(dishes)


async def test_the_first_failure_is_raised_and_ends_the_stream() -> None:
    """In its place in the order, as itself."""
    kitchen = Kitchen()
    kitchen.tell(*range(13), 13)
    results = []
    async with TaskSupervisor("root") as root:
        with pytest.raises(Crash):
            async with root.async_stream(range(100), kitchen.cook, max_concurrency=5) as dishes:
                async for dish in dishes:
                    results.append(dish)  # noqa: PERF401 (those before the failure are the claim)
        assert results == [f"dish {item}" for item in range(13)]
        assert kitchen.running == set() and root.count_children().specs == 0


async def test_failures_may_be_outcomes() -> None:
    """Without the link every item has one: its result, its own exception, or the news that it was stopped."""
    kitchen = Kitchen()
    kitchen.tell(12, 13, 15)
    outcomes = {}
    async with TaskSupervisor("root") as root:
        async with root.async_stream_nolink([12, 13, 14, 15], kitchen.cook, max_concurrency=4, ordered=False) as dishes:
            async for outcome in dishes:
                outcomes[outcome.input] = outcome
                if len(outcomes) == 3:
                    await root.terminate_child(next(info.id for info in root.which_children()))
    assert {item: outcome.exit.kind for item, outcome in outcomes.items()} == {
        12: ExitKind.NORMAL,
        13: ExitKind.ABNORMAL,
        14: ExitKind.SHUTDOWN,
        15: ExitKind.NORMAL,
    }
    assert outcomes[12].result() == "dish 12"
    with pytest.raises(Crash):
        outcomes[13].result()
    with pytest.raises(TaskExited):
        outcomes[14].result()


async def test_a_cancelled_reader_loses_no_result() -> None:
    """Reading goes on where it was left."""
    kitchen = Kitchen()
    async with TaskSupervisor("root") as root, root.async_stream(range(3), kitchen.cook, max_concurrency=2) as dishes:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(anext, dishes)
                await kitchen.play.until(lambda: len(kitchen.begun) == 2)
                scope.cancel()
        kitchen.tell(0, 1, 2)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(dishes)
        assert [dish async for dish in dishes] == ["dish 0", "dish 1", "dish 2"]


async def test_a_stream_can_be_too_much_for_its_supervisor() -> None:
    """`max_children` is an error here as anywhere, and what was started is stopped."""
    kitchen = Kitchen()
    async with TaskSupervisor("root", max_children=2) as root:
        with pytest.raises(MaxChildren):
            async with root.async_stream(range(5), kitchen.cook, max_concurrency=3, ordered=False) as dishes:
                await anext(dishes)
        assert root.count_children().specs == 0
        await root.start_child(anyio.sleep_forever)


async def test_a_supervisor_that_stops_ends_its_streams() -> None:
    """Its tasks have no results any more, and no others can be started."""
    kitchen = Kitchen()
    errors: list[Exception] = []

    async def read(root: TaskSupervisor) -> None:
        for _ in range(2):
            try:
                async with root.async_stream(range(5), kitchen.cook, max_concurrency=2) as dishes:
                    await anext(dishes)
            except (TaskExited, NoProc) as error:
                errors.append(error)

    async with anyio.create_task_group() as group, TaskSupervisor("root") as root:
        group.start_soon(read, root)
        await kitchen.play.until(lambda: len(kitchen.begun) == 2)
    assert [type(error) for error in errors] == [TaskExited, NoProc]


async def test_a_stream_within_a_task_of_the_same_supervisor() -> None:
    """Stopping the task that reads stops what it started, and neither waits for the other."""
    kitchen = Kitchen()
    async with TaskSupervisor("root") as root:

        async def outer() -> None:
            async with root.async_stream(kitchen.items(), kitchen.cook, max_concurrency=2) as dishes:
                await anext(dishes)

        run = await root.async_nolink(outer)
        await kitchen.play.until(lambda: len(kitchen.begun) == 2)
        await run.shutdown()
        assert kitchen.running == set()
        await anyio.wait_all_tasks_blocked()
        assert root.count_children().specs == root.abandoned == 0


async def test_a_stream_that_ends_while_the_supervisor_is_busy() -> None:
    """What has not been launched by then never is, and is not waited for."""
    kitchen = Kitchen()
    play = Play()
    async with TaskSupervisor("root") as root, anyio.create_task_group() as group:
        group.start_soon(root.start_child, play.child("gate", gate=True))
        await play.saw("start gate")
        with anyio.CancelScope() as scope:
            async with root.async_stream(range(5), kitchen.cook, max_concurrency=2) as dishes:
                group.start_soon(_cancel_once_blocked, scope)
                await anext(dishes)
        assert scope.cancelled_caught
        play.open("gate")
        await play.until(lambda: root.count_children().specs == 1 and root.which_children()[0].state == "running")
    assert kitchen.begun == []


async def _cancel_once_blocked(scope: anyio.CancelScope) -> None:
    await anyio.wait_all_tasks_blocked()
    scope.cancel()


async def test_a_stream_is_read_within_its_block() -> None:
    """Outside of it nothing would stop its tasks."""
    kitchen = Kitchen()
    async with TaskSupervisor("root") as root:
        with pytest.raises(RuntimeError, match="async with"):
            await anext(root.async_stream(range(5), kitchen.cook))
        assert kitchen.begun == []


@pytest.mark.parametrize(
    "options",
    [
        {"max_concurrency": 0},
        {"max_concurrency": 1.5},
        {"timeout": -1},
        {"timeout": "soon"},
        {"on_timeout": "exit"},
        {"shutdown": "soon"},
        {"shutdown": -1},
        {"shutdown": None},
    ],
)
async def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    """Before anything is taken or started."""
    kitchen = Kitchen()
    async with TaskSupervisor("root") as root:
        with pytest.raises(InvalidField) as caught:
            root.async_stream_nolink(kitchen.items(), kitchen.cook, **options)
        assert {caught.value.field: caught.value.value} == options
    assert kitchen.taken == []


async def test_items_and_a_function_that_are_none_are_refused() -> None:
    """In the call, not at the first result."""
    kitchen, wrong = Kitchen(), cast(Any, None)
    async with TaskSupervisor("root") as root:
        for stream in (root.async_stream, root.async_stream_nolink):
            with pytest.raises(InvalidField, match="function = None"):
                stream(kitchen.items(), wrong)
            with pytest.raises(InvalidField, match="items = None"):
                stream(wrong, kitchen.cook)
    assert kitchen.taken == []


async def test_an_item_whose_task_cannot_begin_is_not_waited_for() -> None:
    """Every read says so, and after the last item the stream is over."""

    class Nameless:
        __name__ = 7

        async def __call__(self, item: int) -> int:
            return item

    async with TaskSupervisor("root") as root, root.async_stream(range(2), Nameless(), max_concurrency=2) as results:
        with anyio.fail_after(10):
            for _ in range(2):
                with pytest.raises(InvalidField, match="id = 7"):
                    await anext(results)
            with pytest.raises(StopAsyncIteration):
                await anext(results)


async def test_an_iterable_that_fails_ends_the_stream() -> None:
    """Its error leaves as it is; what was started is stopped."""
    kitchen = Kitchen()

    def items() -> Iterator[int]:
        yield 0
        raise Crash

    async with TaskSupervisor("root") as root:
        with pytest.raises(Crash):
            async with root.async_stream(items(), kitchen.cook, max_concurrency=2) as dishes:
                await anext(dishes)
        assert root.count_children().specs == 0 and kitchen.running == set()


def stream_functions(root: TaskSupervisor) -> tuple[Callable[..., Any], ...]:
    return root.async_stream, root.async_stream_nolink


async def test_a_stream_of_nothing_is_over_at_once() -> None:
    """No item, no task; `OnTimeout` and times change nothing about that."""
    kitchen = Kitchen()
    nothing: list[int] = []
    async with TaskSupervisor("root") as root:
        for stream in stream_functions(root):
            async with stream(nothing, kitchen.cook, timeout=0.0) as dishes:
                assert [dish async for dish in dishes] == []
        async with root.async_stream_nolink(nothing, kitchen.cook, on_timeout=OnTimeout.KILL_TASK) as outcomes:
            assert await anext(outcomes, None) is None
