"""How a tree comes up: order, acknowledgement, failed and declined starts."""

from __future__ import annotations

import contextvars
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest
from anyio.abc import TaskStatus

from supervisor import (
    ChildSpec,
    ChildType,
    Handle,
    Ignore,
    NoProc,
    Restart,
    StartFailed,
    Supervisor,
    Ticket,
    subtree,
    task,
)
from tests.play import Crash, Play, watched

pytestmark = pytest.mark.anyio

setting: contextvars.ContextVar[str] = contextvars.ContextVar("setting", default="")


async def idle() -> None:
    await anyio.sleep_forever()


async def test_a_tree_without_children_starts_and_ends() -> None:
    """A supervisor needs no child."""
    async with Supervisor("root") as root:
        assert root.which_children() == ()
        assert root.exit is None
    assert root.exit is not None and root.exit.is_clean


async def test_children_start_one_at_a_time_in_order_and_the_body_follows() -> None:
    """Each child has acknowledged before the next one starts, and all of them before the body runs."""
    play = Play()
    async with Supervisor("root", [play.child("a"), play.child("b"), play.child("c")]):
        play.note("body")
        assert play.log == ["start a", "up a", "start b", "up b", "start c", "up c", "body"]


async def test_a_slow_start_is_waited_for() -> None:
    """Nothing after a child starts before it has acknowledged."""
    play = Play()
    async with anyio.create_task_group() as tasks:

        async def open_the_gate() -> None:
            await play.saw("start a")
            await anyio.wait_all_tasks_blocked()
            assert play.log == ["start a"]
            play.open("a")

        tasks.start_soon(open_the_gate)
        async with Supervisor("root", [play.child("a", gate=True), play.child("b")]):
            assert play.log == ["start a", "open a", "up a", "start b", "up b"]


async def test_a_function_without_task_status_is_up_at_once() -> None:
    """A plain async function needs no acknowledgement, and gets its arguments."""
    got: list[Any] = []

    async def run(*args: Any, **kwargs: Any) -> None:
        got.append((args, kwargs))
        await anyio.sleep_forever()

    async with Supervisor("root", [ChildSpec("a", task(run, 1, 2, three=3))]) as root:
        assert root.which_child("a").state == "running"
        await anyio.wait_all_tasks_blocked()
        assert got == [((1, 2), {"three": 3})]


async def test_the_value_of_the_acknowledgement_answers_the_call() -> None:
    """What a child passes to `started` is in the answer of the call that started it."""
    play = Play()
    async with Supervisor("root") as root:
        info = await root.start_child(play.child("a"))
        assert info.value == 1
        assert (info.state, info.generation, info.restarts, info.path) == ("running", 1, 0, ("root", "a"))
        assert root.which_child("a").value is None


async def test_a_failed_start_leaves_bare_and_rolls_back() -> None:
    """Children that are up already are stopped in reverse order; `StartFailed` has the child's own failure as its cause."""
    play = Play()
    play.refuse("c", Crash("no"))
    with pytest.raises(StartFailed) as caught:
        async with Supervisor("root", [play.child("a"), play.child("b"), play.child("c"), play.child("d")]):
            play.note("body")
    assert caught.value.path == ("root", "c")
    assert isinstance(caught.value.__cause__, Crash)
    assert caught.value.exit.exception is caught.value.__cause__
    assert play.log[5:] == ["end c", "asked b", "end b", "asked a", "end a"]


async def test_a_child_that_ends_before_it_acknowledges_has_failed_to_start() -> None:
    """Returning without an acknowledgement is no start, not even for a temporary child."""

    async def silent(*, task_status: TaskStatus[None]) -> None:
        await anyio.lowlevel.checkpoint()

    for restart in Restart:
        with pytest.raises(StartFailed, match=r"returned without task_status\.started\(\)"):
            async with Supervisor("root", [ChildSpec("a", task(silent), restart=restart)]):
                pytest.fail("the body ran")


async def test_a_failing_first_step_is_a_failed_start_only_with_an_acknowledgement() -> None:
    """A plain function that raises at once was up before: that is a crash, and crashes are restarted."""
    runs: list[int] = []
    again = anyio.Event()

    async def run() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise Crash
        again.set()
        await anyio.sleep_forever()

    async with Supervisor("root", [ChildSpec("a", task(run))]) as root:
        await again.wait()
        assert root.which_child("a").restarts == 1


async def test_a_function_that_cannot_be_called_is_a_crash_like_any_other() -> None:
    """Wrong arguments and functions that are not async fail the child, not the tree's task group."""
    with pytest.raises(StartFailed) as caught:
        async with Supervisor("root", [ChildSpec("a", task(Play()._run, "a"))]):
            pytest.fail("the body ran")
    assert isinstance(caught.value.__cause__, TypeError)
    async with Supervisor("root", [ChildSpec("a", task(lambda: None), restart=Restart.TEMPORARY)]) as root:  # type: ignore[arg-type,return-value]
        await anyio.wait_all_tasks_blocked()
        assert root.which_children() == ()


async def test_acknowledging_twice_is_an_error_of_the_child() -> None:
    """`task_status.started` may be called once, as in trio and anyio."""
    told = anyio.Event()

    async def twice(*, task_status: TaskStatus[None]) -> None:
        task_status.started()
        with pytest.raises(RuntimeError, match="twice"):
            task_status.started()
        told.set()
        await anyio.sleep_forever()

    async with Supervisor("root", [ChildSpec("a", task(twice))]):
        await told.wait()


async def test_a_child_that_declines_keeps_its_place() -> None:
    """OTP's ignore: the specification stays, nothing runs, the others start; `restart_child` tries again."""
    play = Play()
    play.refuse("b", Ignore())
    async with Supervisor("root", [play.child("a"), play.child("b"), play.child("c")]) as root:
        assert [(info.id, info.state) for info in root.which_children()] == [("c", "running"), ("b", "undefined"), ("a", "running")]
        assert attrs.astuple(root.count_children()) == (3, 2, 0, 3)
        assert (await root.restart_child("b")).state == "running"


async def test_a_temporary_child_that_declines_is_forgotten() -> None:
    """OTP drops the specification of a temporary child that ignores, at boot and in `start_child` alike."""
    play = Play()
    play.refuse("a", Ignore(), Ignore())
    async with Supervisor("root", [play.child("a", restart=Restart.TEMPORARY)]) as root:
        assert root.which_children() == ()
        assert (await root.start_child(play.child("a", restart=Restart.TEMPORARY))).state == "undefined"
        assert root.which_children() == ()


async def test_ignore_after_the_acknowledgement_is_a_crash() -> None:
    """Declining is possible before the acknowledgement only."""
    play = Play()
    async with Supervisor("root", [play.child("a", restart=Restart.TRANSIENT)]) as root:
        watch = watched(root, play)
        play.crash("a", Ignore())
        await play.saw("up a", 2)
        assert watch.records[0].event.as_data()["exit"]["kind"] == "abnormal"


async def test_a_block_is_entered_once() -> None:
    """A second `async with` on the same supervisor is refused, during the first and after it."""
    root = Supervisor("root")
    async with root:
        with pytest.raises(RuntimeError, match="entered once"):
            await root.__aenter__()
    with pytest.raises(RuntimeError, match="entered once"):
        await root.__aenter__()


async def test_outside_of_its_block_a_supervisor_is_not_running() -> None:
    """Before and after the block every call answers `NoProc`; stopping what has ended changes nothing."""
    root = Supervisor("root", [ChildSpec("a", task(idle))])
    for _ in range(2):
        for ask in (root.which_children, root.count_children, root.subscribe, lambda: root.get_childspec("a"), lambda: root.state):
            with pytest.raises(NoProc):
                ask()
        with pytest.raises(NoProc):
            await root.start_child(ChildSpec("b", task(idle)))
        if root.exit is None:
            for order in (root.stop, root.hurry):
                with pytest.raises(NoProc):
                    order()
            async with root:
                pass
    root.stop()
    root.hurry()


async def test_a_launch_that_raises_is_a_failed_start() -> None:
    """An adapter may say no by an exception."""

    @attrs.frozen
    class Refusing:
        type = ChildType.WORKER
        kill_timeout = 1.0

        def launch(self, ticket: Ticket) -> Handle:
            raise FileNotFoundError(f"no such thing: {ticket.path[-1]}")

        def describe(self) -> dict[str, Any]:
            return {}

    play = Play()
    with pytest.raises(StartFailed, match="no such thing: b") as caught:
        async with Supervisor("root", [play.child("a"), ChildSpec("b", Refusing())]):
            pytest.fail("the body ran")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert play.log == ["start a", "up a", "asked a", "end a"]
    async with Supervisor("root") as root:
        with pytest.raises(StartFailed):
            await root.start_child(ChildSpec("b", Refusing()))
        assert root.which_children() == ()


async def test_the_cause_of_a_failed_start_deep_in_the_tree_is_at_the_end_of_the_chain() -> None:
    """Each supervisor on the way adds a `StartFailed` with its child's path."""
    play = Play()
    play.refuse("leaf", Crash("deep"))
    inner = subtree([play.child("leaf")])
    with pytest.raises(StartFailed) as caught:
        async with Supervisor("root", [play.child("a"), ChildSpec("mid", subtree([ChildSpec("low", inner)]))]):
            pytest.fail("the body ran")
    chain: list[BaseException | None] = [caught.value]
    while chain[-1] is not None:
        chain.append(chain[-1].__cause__)
    paths = [error.path for error in chain if isinstance(error, StartFailed)]
    assert paths == [("root", "mid"), ("root", "mid", "low"), ("root", "mid", "low", "leaf")]
    assert isinstance(chain[-2], Crash)
    assert play.log[-2:] == ["asked a", "end a"]


async def test_a_cancelled_start_stops_what_is_up() -> None:
    """Cancellation while children start stops the one that starts and those that are up, in reverse order."""
    play = Play()
    async with anyio.create_task_group() as tasks:

        async def cancel() -> None:
            await play.saw("start b")
            tasks.cancel_scope.cancel()

        tasks.start_soon(cancel)
        async with Supervisor("root", [play.child("a"), play.child("b", gate=True), play.child("c")]):
            pytest.fail("the body ran")
    assert play.log == ["start a", "up a", "start b", "asked b", "end b", "asked a", "end a"]


async def test_stop_while_children_start_enters_the_block_only_to_leave_it() -> None:
    """A tree that is told to stop before it is up runs no more than the body's way to its first checkpoint."""
    play = Play()
    async with anyio.create_task_group() as tasks:
        root = Supervisor("root", [play.child("a", gate=True)])

        async def stop() -> None:
            await play.saw("start a")
            root.stop()

        tasks.start_soon(stop)
        async with root:
            await anyio.sleep_forever()
    assert play.log == ["start a", "asked a", "end a"]
    assert root.exit is not None and root.exit.is_clean
