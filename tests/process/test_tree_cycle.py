# ruff: noqa: PT012 (what leaves a block is the claim, and the block is the test)
"""Controlled restarts, and callers of all kinds: order, cancellation, what they hear when the tree ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from supervisor import (
    Admitted,
    Breaker,
    ChildNotFound,
    ChildNotRunning,
    ChildRestarted,
    ChildRestarting,
    NoProc,
    Refused,
    Restart,
    RestartIntensityExceeded,
    RestartRefused,
    StartFailed,
    Strategy,
    Supervisor,
)
from tests.play import Crash, Play, holding, in_retry_loop, watched

pytestmark = pytest.mark.anyio


async def test_cycle_child_is_a_controlled_restart() -> None:
    """Stopped within its `shutdown`, started again, one generation on, under the same path; the events say so, in order."""
    play = Play()
    root = Supervisor("root", [play.child("a"), play.child("b")], intensity=2)
    watch = watched(root, play)
    async with root:
        play.take()
        watch.take()
        info = await root.cycle_child("a", reason="memory")
        assert (info.state, info.generation, info.restarts, info.value, info.path) == ("running", 2, 1, 2, ("root", "a"))
        assert play.log == ["asked a", "end a", "start a", "up a"]
        assert watch.lines == ["child_exited a", "child_started a", "child_restarted a"]
        assert [record.event.generation for record in watch.records] == [1, 2, 2]
        restarted = watch.of(ChildRestarted)[0]
        assert (restarted.reason, restarted.controlled, restarted.attempt, restarted.budget_left) == ("memory", True, 1, 1)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, ["asked b", "end b", "start b", "up b"]),
        (Strategy.REST_FOR_ONE, ["asked c", "end c", "asked b", "end b", "start b", "up b", "start c", "up c"]),
        (
            Strategy.ONE_FOR_ALL,
            [
                *("asked c", "end c", "asked b", "end b", "asked a", "end a"),
                *("start a", "up a", "start b", "up b", "start c", "up c"),
            ],
        ),
    ],
)
async def test_cycle_child_takes_along_whom_a_failure_would(strategy: Strategy, expected: list[str]) -> None:
    """The strategy holds for controlled restarts too."""
    play = Play()
    async with Supervisor("root", [play.child(id) for id in "abc"], strategy=strategy) as root:
        play.take()
        assert (await root.cycle_child("b")).id == "b"
        assert play.take() == expected


async def test_cycle_child_has_a_budget_of_its_own() -> None:
    """Crashes do not spend the budget of controlled restarts, and these do not spend the crashes'."""
    play = Play()
    async with Supervisor("root", [play.child("a")], intensity=1, period=1000.0) as root:
        play.crash("a")
        await play.saw("up a", 2)
        assert isinstance(root.cycle_verdict("a"), Admitted)
        await root.cycle_child("a")
    play = Play()
    async with Supervisor("root", [play.child("a")], intensity=1, period=1000.0) as root:
        await root.cycle_child("a")
        play.crash("a")
        await play.saw("up a", 3)
        assert root.exit is None


async def test_cycle_child_is_refused_when_the_budget_is_spent() -> None:
    """The child is left alone, the tree goes on, and the answer says why and when to ask again."""
    play = Play()
    async with Supervisor("root", [play.child("a")], intensity=1, period=1000.0) as root:
        await root.cycle_child("a")
        play.take()
        with pytest.raises(RestartRefused) as caught:
            await root.cycle_child("a")
        assert "1 restarts within 1000 s" in caught.value.reason
        assert caught.value.retry_in is not None and 990 < caught.value.retry_in <= 1000.1
        assert play.log == [] and root.which_child("a").generation == 2
        verdict = root.cycle_verdict("a")
        assert isinstance(verdict, Refused) and verdict.reason == caught.value.reason
        await root.reset_budgets()
        assert isinstance(root.cycle_verdict("a"), Admitted)
        assert (await root.cycle_child("a")).generation == 3


async def test_cycle_child_is_for_running_children_that_may_be_restarted() -> None:
    """Unknown, stopped, waiting and temporary children are refused, each with its own error."""
    play = Play()
    async with holding(play, "a", "b") as root:
        await root.start_child(play.child("t", restart=Restart.TEMPORARY))
        with pytest.raises(ChildNotFound):
            await root.cycle_child("nobody")
        with pytest.raises(RestartRefused, match="temporary"):
            await root.cycle_child("t")
        await root.terminate_child("a")
        with pytest.raises(ChildNotRunning):
            await root.cycle_child("a")
        await in_retry_loop(play, root, "b")
        with pytest.raises(ChildRestarting):
            await root.cycle_child("b")


async def test_cycle_child_that_does_not_come_up_becomes_a_failed_restart() -> None:
    """The call raises; the supervisor goes on trying as after a crash."""
    play = Play()
    root = Supervisor("root", [play.child("a")], intensity=3)
    watch = watched(root, play)
    async with root:
        play.refuse("a", Crash("once"))
        watch.take()
        with pytest.raises(StartFailed) as caught:
            await root.cycle_child("a")
        assert isinstance(caught.value.__cause__, Crash)
        await play.saw("up a", 2)
        await anyio.wait_all_tasks_blocked()
        assert (root.which_child("a").state, root.which_child("a").generation) == ("running", 3)
        assert watch.lines == ["child_exited a", "child_start_failed a", "child_started a", "child_restarted a"]


async def test_cycle_child_that_never_comes_up_gives_up_as_after_crashes() -> None:
    """Failed restarts are counted in the crash budget once the controlled one has failed."""
    play = Play()
    with pytest.raises(RestartIntensityExceeded):
        async with Supervisor("root", [play.child("a")], intensity=1) as root:
            play.refuse("a", *(Crash(str(number)) for number in range(5)))
            with pytest.raises(StartFailed):
                await root.cycle_child("a")
            await play.rest()
    assert play.lives["a"] == 3


async def test_judge_decides_whether_a_controlled_restart_helped() -> None:
    """Failures open the circuit for controlled restarts; what is said about a life that is over changes nothing."""
    play = Play()
    root = Supervisor("root", [play.child("a")], intensity=100, period=1000.0, breaker=Breaker(failures=2, reset=1000.0))
    async with root:
        for _ in range(2):
            info = await root.cycle_child("a")
            root.judge("a", info.generation - 1, success=False)
            assert isinstance(root.cycle_verdict("a"), Admitted)
            root.judge("a", info.generation, success=False)
        verdict = root.cycle_verdict("a")
        assert isinstance(verdict, Refused) and "circuit" in verdict.reason
        with pytest.raises(RestartRefused):
            await root.cycle_child("a")
        await root.reset_budgets()
        await root.cycle_child("a")
        root.judge("a", 4, success=True)
        await root.cycle_child("a")
        root.judge("a", 5, success=False)
        assert isinstance(root.cycle_verdict("a"), Admitted)


async def test_a_cancelled_caller_leaves_the_wait_and_not_the_call() -> None:
    """What was asked for still happens, and nobody minds that the answer is not awaited."""
    play = Play()
    async with Supervisor("root") as root:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(root.start_child, play.child("a", gate=True))
            await play.saw("start a")
            tasks.cancel_scope.cancel()
        play.open("a")
        await play.saw("up a")
        await anyio.wait_all_tasks_blocked()
        assert root.which_child("a").state == "running"


async def test_calls_are_served_in_order() -> None:
    """Calls made while the supervisor is busy wait for their turn."""
    play = Play()
    answers: list[str] = []

    async def call(name: str, run: Callable[[], Awaitable[object]]) -> None:
        await run()
        answers.append(name)

    async with Supervisor("root", [play.child("b")]) as root, anyio.create_task_group() as tasks:
        tasks.start_soon(call, "start", lambda: root.start_child(play.child("a", gate=True)))
        await play.saw("start a")
        for name, run in {
            "terminate": lambda: root.terminate_child("b"),
            "delete": lambda: root.delete_child("b"),
            "start again": lambda: root.start_child(play.child("b")),
            "cycle": lambda: root.cycle_child("b"),
        }.items():
            tasks.start_soon(call, name, run)
            await anyio.wait_all_tasks_blocked()
        assert answers == []
        play.open("a")
        await play.saw("up b", 3)
        await anyio.wait_all_tasks_blocked()
        assert sorted(answers) == ["cycle", "delete", "start", "start again", "terminate"]
        assert play.log[-9:] == ["up a", "asked b", "end b", "start b", "up b", "asked b", "end b", "start b", "up b"]


async def test_a_caller_that_waits_when_the_tree_stops_is_told_so() -> None:
    """Nobody waits for ever: the job under way and what waits behind it are answered with `NoProc`."""
    play = Play()
    answers: list[type[BaseException] | None] = []

    async def call(run: Callable[[], Awaitable[object]]) -> None:
        try:
            await run()
        except NoProc as error:
            answers.append(type(error))
        else:
            answers.append(None)

    async with anyio.create_task_group() as tasks, Supervisor("root", [play.child("b")]) as root:
        tasks.start_soon(call, lambda: root.start_child(play.child("a", gate=True)))
        await play.saw("start a")
        tasks.start_soon(call, lambda: root.terminate_child("b"))
        tasks.start_soon(call, lambda: root.start_child(play.child("c")))
        await anyio.wait_all_tasks_blocked()
    assert answers == [NoProc] * 3
    assert play.log[-4:] == ["asked a", "end a", "asked b", "end b"]


async def test_concurrent_requests_for_one_restart_are_one_after_the_other() -> None:
    """Two that ask at once each get a life of their own, and never are there two at a time."""
    play = Play()
    generations: list[int] = []

    async def cycle() -> None:
        generations.append((await root.cycle_child("a")).generation)

    async with Supervisor("root", [play.child("a")], intensity=10) as root, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(cycle)
    assert sorted(generations) == [2, 3, 4, 5, 6]
    assert not play.overlap


async def test_restarts_never_overlap() -> None:
    """Under crashes, calls and a group strategy at once no child ever has two lives."""
    play = Play()
    async with Supervisor("root", [play.child(id) for id in "abc"], strategy=Strategy.ONE_FOR_ALL, intensity=1000) as root:
        async with anyio.create_task_group() as tasks:

            async def crash(id: str) -> None:
                for _ in range(10):
                    await play.until(
                        lambda: root.which_child(id).state == "running" and play.log.count(f"up {id}") > play.log.count(f"end {id}")
                    )
                    play.crash(id)
                    await anyio.lowlevel.checkpoint()

            async def cycle() -> None:
                for _ in range(10):
                    try:
                        await root.cycle_child("b")
                    except (ChildNotRunning, ChildRestarting):
                        await anyio.lowlevel.checkpoint()

            tasks.start_soon(crash, "a")
            tasks.start_soon(crash, "c")
            tasks.start_soon(cycle)
        await anyio.wait_all_tasks_blocked()
        assert {info.state for info in root.which_children()} == {"running"}
    assert not play.overlap
