# ruff: noqa: PT012 (what leaves a block is the claim, and the block is the test)
"""The calls of a supervisor, each with each of its answers, also while it is busy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from supervisor import (
    Admitted,
    AlreadyPresent,
    AlreadyStarted,
    AutoShutdown,
    BadCombination,
    Breaker,
    ChildNotFound,
    ChildNotRunning,
    ChildRestarted,
    ChildRestarting,
    ChildRunning,
    ChildSpec,
    GiveUp,
    Ignore,
    NoProc,
    Refused,
    Restart,
    RestartIntensityExceeded,
    RestartRefused,
    StartFailed,
    Strategy,
    Supervisor,
    SupervisorRef,
    subtree,
    task,
)
from tests.play import PATIENCE, Crash, Play, watched

pytestmark = pytest.mark.anyio


async def in_retry_loop(play: Play, root: Supervisor, id: str) -> None:
    """Let a child's restart wait for a cooldown that outlasts the test."""
    play.crash(id)
    await play.until(lambda: root.which_child(id).state == "restarting")


def holding(play: Play, *ids: str, **flags: Any) -> Supervisor:
    """Make a supervisor that holds after the first failure, so that the child stays in its retry loop."""
    root = Supervisor("root", [play.child(id) for id in ids], intensity=0, breaker=Breaker(), on_give_up=GiveUp.HOLD, **flags)
    watched(root, play)
    return root


# ---------------------------------------------------------------- start_child


async def test_start_child_adds_at_the_end() -> None:
    """A new child is the last in the start order, so the first to be stopped."""
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        info = await root.start_child(play.child("b"))
        assert (info.id, info.state, info.generation) == ("b", "running", 1)
        assert [info.id for info in root.which_children()] == ["b", "a"]
        play.take()
    assert play.log == ["asked b", "end b", "asked a", "end a"]


async def test_start_child_refuses_a_known_id() -> None:
    """Already started while it runs, already present while it does not: stopped, or waiting for a restart."""
    play = Play()
    async with holding(play, "a", "b") as root:
        with pytest.raises(AlreadyStarted) as caught:
            await root.start_child(play.child("a"))
        assert (caught.value.path, caught.value.id, caught.value.pid) == (("root",), "a", None)
        await root.terminate_child("a")
        with pytest.raises(AlreadyPresent):
            await root.start_child(play.child("a"))
        await in_retry_loop(play, root, "b")
        with pytest.raises(AlreadyPresent):
            await root.start_child(play.child("b"))


async def test_start_child_that_fails_keeps_nothing() -> None:
    """The call raises what happened, bare; the specification is not kept and the tree goes on."""
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        play.refuse("b", Crash("no"))
        with pytest.raises(StartFailed) as caught:
            await root.start_child(play.child("b"))
        assert isinstance(caught.value.__cause__, Crash)
        assert [info.id for info in root.which_children()] == ["a"]
        assert (await root.start_child(play.child("b"))).state == "running"


async def test_start_child_that_is_declined() -> None:
    """The answer is a child that does not run; its specification is kept."""
    play = Play()
    async with Supervisor("root") as root:
        play.refuse("a", Ignore())
        assert (await root.start_child(play.child("a"))).state == "undefined"
        assert root.which_child("a").state == "undefined"


async def test_start_child_checks_the_specification() -> None:
    """The rules of a supervisor's own list hold for a child that is added."""
    play = Play()
    async with Supervisor("root") as root:
        with pytest.raises(BadCombination):
            await root.start_child(play.child("a", restart=Restart.TRANSIENT, significant=True))
    async with Supervisor("root", auto_shutdown=AutoShutdown.ANY_SIGNIFICANT) as root:
        await root.start_child(play.child("a", restart=Restart.TRANSIENT, significant=True))


async def test_start_child_answers_with_the_life_it_started() -> None:
    """The answer is what was true when the start was done, even if the caller wakes up when the child is gone again."""
    play = Play()

    async def short() -> None:
        play.note("short")

    async with Supervisor("root") as root:
        info = await root.start_child(ChildSpec("a", task(short), restart=Restart.TEMPORARY))
        assert (info.state, info.generation) == ("running", 1)
        await play.saw("short")
        await anyio.wait_all_tasks_blocked()
        assert root.which_children() == ()


async def test_start_child_while_another_child_restarts() -> None:
    """A call waits until the restart under way is done, as in OTP."""
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(root.start_child, play.child("g", gate=True))
            await play.saw("start g")
            play.open("g")
        play.crash("g")
        await play.saw("start g", 2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(root.start_child, play.child("c"))
            await anyio.wait_all_tasks_blocked()
            assert "start c" not in play.log
            assert root.which_child("g").state == "starting"
            play.open("g")
        assert play.log[-4:] == ["open g", "up g", "start c", "up c"]


# ---------------------------------------------------------------- terminate_child


async def test_terminate_child_stops_and_keeps() -> None:
    """The child stays down, uncounted; stopping it again is no error."""
    play = Play()
    async with Supervisor("root", [play.child("a"), play.child("b")], intensity=0) as root:
        play.take()
        await root.terminate_child("a")
        assert play.log == ["asked a", "end a"]
        await root.terminate_child("a")
        info = root.which_child("a")
        assert (info.state, info.uptime, info.generation) == ("undefined", None, 1)
        assert info.exit is not None and info.exit.is_clean
        assert attrs.astuple(root.count_children()) == (2, 1, 0, 2)
        with pytest.raises(ChildNotFound):
            await root.terminate_child("nobody")


async def test_terminate_child_forgets_a_temporary_one() -> None:
    """A temporary child that was stopped has no specification any more."""
    play = Play()
    async with Supervisor("root", [play.child("a", restart=Restart.TEMPORARY)]) as root:
        await root.terminate_child("a")
        with pytest.raises(ChildNotFound):
            root.which_child("a")


async def test_terminate_child_cancels_a_restart() -> None:
    """A child that waits for its next restart is down for good."""
    play = Play()
    async with holding(play, "a") as root:
        await in_retry_loop(play, root, "a")
        await root.terminate_child("a")
        assert root.which_child("a").state == "undefined"
        assert (await root.restart_child("a")).generation == 2


async def test_terminate_child_leaves_siblings_alone() -> None:
    """Whatever the strategy: a stop on request is no failure."""
    play = Play()
    async with Supervisor("root", [play.child(id) for id in "abc"], strategy=Strategy.ONE_FOR_ALL) as root:
        play.take()
        await root.terminate_child("b")
        await anyio.wait_all_tasks_blocked()
        assert play.take() == ["asked b", "end b"]
        assert {info.id: info.state for info in root.which_children()} == {"a": "running", "b": "undefined", "c": "running"}


# ---------------------------------------------------------------- restart_child, delete_child


@pytest.mark.parametrize("call", [SupervisorRef.restart_child, SupervisorRef.delete_child])
async def test_restart_and_delete_are_for_children_that_do_not_run(call: Callable[[SupervisorRef, str], Awaitable[object]]) -> None:
    """Running, restarting and unknown children are refused, each with its own error."""
    play = Play()
    async with holding(play, "a", "b") as root:
        with pytest.raises(ChildRunning):
            await call(root, "a")
        with pytest.raises(ChildNotFound):
            await call(root, "nobody")
        await in_retry_loop(play, root, "a")
        with pytest.raises(ChildRestarting):
            await call(root, "a")
        await root.terminate_child("b")
        await call(root, "b")


async def test_restart_child_starts_where_it_stood() -> None:
    """The next life has the next generation and the old place; it does not count as a restart."""
    play = Play()
    async with Supervisor("root", [play.child("a"), play.child("b")], intensity=0) as root:
        await root.terminate_child("a")
        info = await root.restart_child("a")
        assert (info.state, info.generation, info.restarts, info.value) == ("running", 2, 0, 2)
        assert [info.id for info in root.which_children()] == ["b", "a"]


async def test_restart_child_that_fails_is_not_tried_again() -> None:
    """The call raises, the specification stays, nothing is counted."""
    play = Play()
    async with Supervisor("root", [play.child("a")], intensity=0) as root:
        await root.terminate_child("a")
        play.refuse("a", Crash("no"))
        with pytest.raises(StartFailed):
            await root.restart_child("a")
        await anyio.wait_all_tasks_blocked()
        info = root.which_child("a")
        assert (info.state, info.generation) == ("undefined", 2)
        assert info.exit is not None and isinstance(info.exit.exception, Crash)
        assert (await root.restart_child("a")).generation == 3


async def test_delete_child_frees_the_id() -> None:
    """A deleted child can be added anew, at the end; its generations go on, so that stale news stays stale."""
    play = Play()
    async with Supervisor("root", [play.child("a"), play.child("b")]) as root:
        await root.terminate_child("a")
        await root.delete_child("a")
        with pytest.raises(ChildNotFound):
            root.get_childspec("a")
        assert (await root.start_child(play.child("a"))).generation == 2
        assert [info.id for info in root.which_children()] == ["a", "b"]


# ---------------------------------------------------------------- looking


async def test_get_childspec_gives_the_specification() -> None:
    """The very value, with its defaults."""
    play = Play()
    spec = play.child("a")
    async with Supervisor("root", [spec]) as root:
        assert root.get_childspec("a") is spec
        for look in (root.get_childspec, root.which_child, root.cycle_verdict):
            with pytest.raises(ChildNotFound) as caught:
                look("nobody")
            assert (caught.value.path, caught.value.id) == (("root",), "nobody")


async def test_count_children_counts_by_type_dead_or_alive() -> None:
    """Specifications, living children, supervisors and workers."""
    play = Play()
    specs = [play.child("a"), play.child("b"), ChildSpec("sub", subtree([play.child("c")]))]
    async with Supervisor("root", specs) as root:
        await root.terminate_child("a")
        await root.terminate_child("sub")
        assert attrs.astuple(root.count_children()) == (3, 1, 1, 2)


async def test_handle_is_that_of_the_present_life() -> None:
    """A restarted child has another handle, a stopped one none."""
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        first = root.handle("a")
        assert first is not None
        await root.cycle_child("a")
        assert root.handle("a") is not first
        await root.terminate_child("a")
        assert root.handle("a") is None


async def test_a_stopping_and_a_starting_child_are_shown_as_such() -> None:
    """The snapshot says what is going on."""
    play = Play()
    async with Supervisor("root") as root, anyio.create_task_group() as tasks:
        tasks.start_soon(root.start_child, play.child("a", gate=True, stubborn=True))
        await play.saw("start a")
        assert root.which_child("a").state == "starting"
        assert root.which_child("a").uptime is None
        play.open("a")
        await play.saw("up a")
        await anyio.wait_all_tasks_blocked()
        uptime = root.which_child("a").uptime
        assert uptime is not None and 0 <= uptime < PATIENCE
        tasks.start_soon(root.terminate_child, "a")
        await play.saw("asked a")
        assert root.which_child("a").state == "stopping"
        play.tell("a")


async def test_a_child_whose_end_waits_to_be_served_is_still_shown_as_running() -> None:
    """As in OTP: while the supervisor is busy an exit is unread, and nobody has been told."""
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root, anyio.create_task_group() as tasks:
        tasks.start_soon(root.start_child, play.child("g", gate=True))
        await play.saw("start g")
        play.crash("a")
        await play.saw("end a")
        await anyio.wait_all_tasks_blocked()
        assert (root.which_child("a").state, root.which_child("a").generation) == ("running", 1)
        assert root.count_children().active == 2
        play.open("g")
        await play.saw("up a", 2)
        assert root.which_child("a").generation == 2


# ---------------------------------------------------------------- cycle_child


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


# ---------------------------------------------------------------- callers


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
