# ruff: noqa: PT012 (what leaves a block is the claim, and the block is the test)
"""What the end of a child sets in motion: restart types, strategies, intensity, failed restarts."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from supervisor import (
    AutoShutdown,
    ChildExited,
    ChildRestarted,
    ChildSpec,
    ChildStarted,
    ChildStartFailed,
    ExitKind,
    Ignore,
    Restart,
    RestartIntensityExceeded,
    Strategy,
    Supervisor,
    SupervisorGaveUp,
    task,
)
from tests.play import Crash, Play, watched
from tests.support import ROOT, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("crash", [True, False], ids=["abnormal", "normal"])
@pytest.mark.parametrize("restart", Restart)
async def test_restart_types(restart: Restart, crash: bool) -> None:
    """Permanent: always; transient: after an abnormal exit only, and it keeps its place; temporary: never, and it is forgotten."""
    play = Play()
    root = Supervisor("root", [play.child("a", restart=restart), play.child("b")])
    watch = watched(root, play)
    async with root:
        watch.take()
        if crash:
            play.crash("a")
        else:
            play.tell("a")
        await play.saw("end a")
        await anyio.wait_all_tasks_blocked()
        states = {info.id: (info.state, info.generation, info.restarts) for info in root.which_children()}
        again = restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and crash)
        if again:
            assert states["a"] == ("running", 2, 1)
            assert watch.lines == ["child_exited a", "child_started a", "child_restarted a"]
        else:
            assert states.get("a") == (None if restart is Restart.TEMPORARY else ("undefined", 1, 0))
            assert watch.lines == ["child_exited a"]
        assert states["b"] == ("running", 1, 0)
        exited = watch.of(ChildExited)[0]
        assert exited.exit.kind is (ExitKind.ABNORMAL if crash else ExitKind.NORMAL)
        assert not exited.expected and exited.generation == 1


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, ["end b", "start b", "up b"]),
        (
            Strategy.ONE_FOR_ALL,
            [
                *("end b", "asked d", "end d", "asked c", "end c", "asked a", "end a"),
                *("start a", "up a", "start b", "up b", "start c", "up c", "start d", "up d"),
            ],
        ),
        (
            Strategy.REST_FOR_ONE,
            ["end b", "asked d", "end d", "asked c", "end c", "start b", "up b", "start c", "up c", "start d", "up d"],
        ),
    ],
)
async def test_strategies(strategy: Strategy, expected: list[str]) -> None:
    """What a failure takes along stops in reverse order, one at a time, and starts in order; it is one restart."""
    play = Play()
    async with Supervisor("root", [play.child(id) for id in "abcd"], strategy=strategy, intensity=1) as root:
        play.take()
        play.crash("b")
        await play.saw(expected[-1])
        await anyio.wait_all_tasks_blocked()
        assert play.take() == expected
        assert [info.id for info in root.which_children()] == ["d", "c", "b", "a"]
    assert not play.overlap


async def test_one_for_one_keeps_the_place_of_the_child() -> None:
    """A restarted child stops where it stood in the order."""
    play = Play()
    async with Supervisor("root", [play.child(id) for id in "abc"]):
        play.crash("a")
        await play.saw("up a", 2)
        play.take()
    assert play.log == ["asked c", "end c", "asked b", "end b", "asked a", "end a"]


async def test_a_temporary_bystander_of_a_group_restart_is_forgotten() -> None:
    """A temporary sibling is stopped with the group and does not come back."""
    play = Play()
    specs = [play.child("a"), play.child("b", restart=Restart.TEMPORARY), play.child("c")]
    async with Supervisor("root", specs, strategy=Strategy.ONE_FOR_ALL) as root:
        play.crash("a")
        await play.saw("up c", 2)
        assert [info.id for info in root.which_children()] == ["c", "a"]
        assert play.lives["b"] == 1


async def test_a_sibling_that_dies_while_the_group_stops_is_no_second_restart() -> None:
    """Its exit belongs to the restart under way: one is counted, not two."""
    play = Play()
    specs = [play.child("a"), play.child("b"), play.child("c", stubborn=True)]
    async with Supervisor("root", specs, strategy=Strategy.ONE_FOR_ALL, intensity=1) as root:
        play.crash("a")
        await play.saw("asked c")
        play.crash("b")
        await play.saw("end b")
        play.tell("c")
        await play.saw("up c", 2)
        assert {info.id: info.generation for info in root.which_children()} == {"a": 2, "b": 2, "c": 2}
        await anyio.wait_all_tasks_blocked()
        assert play.lives == {"a": 2, "b": 2, "c": 2}
        assert root.exit is None
    assert not play.overlap


async def test_a_sibling_that_dies_while_another_restarts_is_served_next() -> None:
    """Under one_for_one each failure is a restart of its own, served in order."""
    play = Play()
    async with Supervisor("root", [play.child("a", gate=False), play.child("b")], intensity=2) as root:
        play.crash("a")
        play.crash("b")
        await play.saw("up a", 2)
        await play.saw("up b", 2)
        assert {info.id: info.restarts for info in root.which_children()} == {"a": 1, "b": 1}


async def test_giving_up_leaves_bare_with_the_exits_that_spent_the_budget() -> None:
    """One restart more than `intensity` stops everything in reverse order and cancels the body."""
    play = Play()
    root = Supervisor("root", [play.child(id) for id in "abc"], intensity=2, period=60.0)
    watch = watched(root, play)
    with pytest.raises(RestartIntensityExceeded) as caught:
        async with root:
            for number in (1, 2):
                play.crash("b", Crash(str(number)))
                await play.saw("up b", number + 1)
            play.take()
            play.crash("b", Crash("3"))
            await play.rest()
    assert caught.value.path == ("root",)
    assert [(id, str(exit.exception)) for id, exit in caught.value.exits] == [("b", "1"), ("b", "2"), ("b", "3")]
    assert (caught.value.intensity, caught.value.period) == (2, 60.0)
    assert play.log == ["end b", "asked c", "end c", "asked a", "end a"]
    gave_up = watch.of(SupervisorGaveUp)
    assert [(event.child, event.hold) for event in gave_up] == [("b", False)]
    assert root.exit is not None and root.exit.is_clean


async def test_intensity_zero_gives_up_at_the_first_failure() -> None:
    """No restart is admitted, so the first one needed ends the tree."""
    play = Play()
    with pytest.raises(RestartIntensityExceeded):
        async with Supervisor("root", [play.child("a")], intensity=0):
            play.crash("a")
            await play.rest()
    assert play.lives["a"] == 1


async def test_a_failed_restart_is_tried_again_and_counted() -> None:
    """Each attempt counts; the child comes up when it can."""
    play = Play()
    root = Supervisor("root", [play.child("a"), play.child("b")], intensity=3)
    watch = watched(root, play)
    async with root:
        watch.take()
        play.refuse("a", Crash("1"), Crash("2"))
        play.crash("a")
        await play.saw("up a", 2)
        assert play.lives == {"a": 4, "b": 1}
        assert [event.generation for event in watch.of(ChildStartFailed)] == [2, 3]
        restarted = watch.of(ChildRestarted)
        assert [(event.generation, event.attempt, event.budget_left) for event in restarted] == [(4, 3, 0)]
        assert [event.generation for event in watch.of(ChildStarted)] == [4]


async def test_a_restart_that_keeps_failing_spends_the_budget() -> None:
    """A hot loop of failing starts ends in giving up."""
    play = Play()
    with pytest.raises(RestartIntensityExceeded) as caught:
        async with Supervisor("root", [play.child("a")], intensity=3):
            play.refuse("a", *(Crash(str(number)) for number in range(10)))
            play.crash("a", Crash("first"))
            await play.rest()
    assert play.lives["a"] == 4
    assert [str(exit.exception) for _, exit in caught.value.exits] == ["first", "0", "1", "2"]


async def test_a_restart_that_is_declined_is_a_restart() -> None:
    """Ignoring during a restart leaves the child down and its place kept."""
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        play.refuse("a", Ignore())
        play.crash("a")
        await play.saw("end a", 2)
        await anyio.wait_all_tasks_blocked()
        assert root.which_child("a").state == "undefined"


async def test_another_child_of_the_group_fails_its_restart() -> None:
    """The next attempt starts from the one that failed: rest_for_one leaves those before it alone."""
    play = Play()
    async with Supervisor("root", [play.child(id) for id in "abc"], strategy=Strategy.REST_FOR_ONE, intensity=2):
        play.take()
        play.refuse("b", Crash("not yet"))
        play.crash("a")
        await play.saw("up c")
        assert play.take() == [
            *("end a", "asked c", "end c", "asked b", "end b"),
            *("start a", "up a", "start b", "end b"),
            *("start b", "up b", "start c", "up c"),
        ]


async def test_an_exception_group_out_of_a_child_is_one_exit() -> None:
    """A task group inside a child fails the child, with the group as the exception, and nothing else."""
    play = Play()

    async def grouped() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(play.saw, "go")
            await play.saw("go")
            raise Crash("inside")

    root = Supervisor("root", [ChildSpec("a", task(grouped), restart=Restart.TEMPORARY), play.child("b")])
    watch = watched(root, play)
    async with root:
        await anyio.wait_all_tasks_blocked()
        play.note("go")
        await play.until(lambda: watch.of(ChildExited))
        exception = watch.of(ChildExited)[0].exit.exception
        assert isinstance(exception, BaseExceptionGroup)
        assert [str(error) for error in exception.exceptions] == ["inside"]
        assert [info.id for info in root.which_children()] == ["b"]


async def test_a_child_with_a_task_group_of_its_own_is_stopped_as_any_other() -> None:
    """Cancellations that come out of a task group inside the child are a shutdown, not a failure."""
    play = Play()

    async def grouped() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            tasks.start_soon(anyio.sleep_forever)
            await play.rest()

    root = Supervisor("root", [ChildSpec("a", task(grouped))])
    watch = watched(root, play)
    async with root:
        await anyio.wait_all_tasks_blocked()
        await root.terminate_child("a")
        assert watch.of(ChildExited)[0].exit.kind is ExitKind.SHUTDOWN


async def test_a_failure_while_being_stopped_is_reported_without_the_cancellations() -> None:
    """A clean-up that raises makes the exit abnormal, and only what failed is its exception."""
    play = Play()

    async def failing() -> None:
        try:
            await play.rest()
        finally:
            raise Crash("clean-up")

    async def grouped() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            tasks.start_soon(failing)

    root = Supervisor("root", [ChildSpec("a", task(grouped))])
    watch = watched(root, play)
    async with root:
        await anyio.wait_all_tasks_blocked()
        await root.terminate_child("a")
        exited = watch.of(ChildExited)[0]
        assert exited.expected and exited.exit.kind is ExitKind.ABNORMAL
        assert isinstance(exited.exit.exception, BaseExceptionGroup)
        assert [type(error) for error in exited.exit.exception.exceptions] == [Crash]


async def test_system_exit_in_a_child_ends_the_child_only() -> None:
    """`sys.exit` in a child is that child's failure, as `exit/1` is that process's in Erlang."""
    play = Play()
    async with Supervisor("root", [play.child("a", restart=Restart.TRANSIENT), play.child("b")]) as root:
        play.crash("a", SystemExit(3))
        await play.saw("up a", 2)
        exit = root.which_child("a").exit
        assert exit is not None and exit.kind is ExitKind.ABNORMAL and isinstance(exit.exception, SystemExit)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_somebody_elses_cancellation_is_a_failure_of_the_child() -> None:
    """On asyncio, awaiting what was cancelled elsewhere raises `CancelledError`: that is no shutdown, and it stays inside the child."""
    play = Play()

    async def unlucky() -> None:
        play.note("start u")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        if play.log.count("start u") == 1:
            await future
        await play.rest()

    async with Supervisor("root", [ChildSpec("u", task(unlucky), restart=Restart.TRANSIENT), play.child("b")]) as root:
        await play.saw("start u", 2)
        info = root.which_child("u")
        assert info.restarts == 1 and info.exit is not None and info.exit.kind is ExitKind.ABNORMAL
        assert "cancelled" in info.exit.reason
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("rule", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
async def test_auto_shutdown_leaves_the_block_quietly(rule: AutoShutdown) -> None:
    """When its significant children have ended by themselves a tree ends: the body is cancelled and nothing is raised."""
    play = Play()
    specs = [
        play.child("a"),
        play.child("s", restart=Restart.TRANSIENT, significant=True),
        play.child("t", restart=Restart.TEMPORARY, significant=True),
    ]
    root = Supervisor("root", specs, auto_shutdown=rule)
    after = False
    async with root:
        play.tell("t")
        if rule is AutoShutdown.ALL_SIGNIFICANT:
            await play.saw("end t")
            await anyio.wait_all_tasks_blocked()
            assert root.exit is None
            play.tell("s")
        await play.rest()
        after = True
    assert not after
    assert play.log[-2:] == ["asked a", "end a"]
    assert root.exit is not None and root.exit.is_clean


async def test_a_significant_child_that_is_restarted_or_stopped_on_request_ends_nothing() -> None:
    """Only its own end, for good, counts."""
    play = Play()
    specs = [play.child("s", restart=Restart.TRANSIENT, significant=True), play.child("b")]
    async with Supervisor("root", specs, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT) as root:
        play.crash("s")
        await play.saw("up s", 2)
        await root.terminate_child("s")
        await anyio.wait_all_tasks_blocked()
        assert root.which_child("b").state == "running"


def test_giving_up_arrives_in_another_process() -> None:
    """As the error that it is, out of a pool of processes."""
    with running(sys.executable, ROOT / "tests" / "children" / "pool.py", env={"PYTHONPATH": str(ROOT)}) as program:
        done = program.wait()
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            "root gave up: more than 1 restarts within 5 s; the last: a: ValueError: always",
            "[('a', \"ValueError('always')\"), ('a', \"ValueError('always')\")]",
        ],
    ), done.stderr
