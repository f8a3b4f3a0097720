"""The calls of a supervisor, each with each of its answers, also while it is busy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import attrs
import pytest

from supervisor import (
    AlreadyPresent,
    AlreadyStarted,
    AutoShutdown,
    BadCombination,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    ChildSpec,
    Ignore,
    Restart,
    StartFailed,
    Strategy,
    Supervisor,
    SupervisorRef,
    subtree,
    task,
)
from tests.play import PATIENCE, Crash, Play, holding, in_retry_loop

pytestmark = pytest.mark.anyio


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
        assert attrs.astuple(root.count_children()) == (2, 1, 0, 2), "it is dead, and only the one that starts is active"
        play.open("g")
        await play.saw("up a", 2)
        assert root.which_child("a").generation == 2
