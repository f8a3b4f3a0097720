"""How a tree comes up: order, acknowledgement, failed and declined starts."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest
from anyio.abc import TaskStatus

from supervisor import (
    AlreadyStarted,
    ChildSpec,
    ChildType,
    Event,
    Exit,
    Handle,
    Ignore,
    NoProc,
    Restart,
    StartFailed,
    Strategy,
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


@pytest.mark.deadline(120)
async def test_a_thousand_children() -> None:
    """Order holds with many children too, at the start and at the stop."""
    count = 1000
    started: list[int] = []
    stopped: list[int] = []

    async def run(number: int, *, task_status: TaskStatus[int]) -> None:
        started.append(number)
        task_status.started(number)
        try:
            await anyio.sleep_forever()
        finally:
            stopped.append(number)

    async with Supervisor("root", [ChildSpec(f"c{number}", task(run, number)) for number in range(count)]) as root:
        assert started == list(range(count))
        assert root.count_children().active == count
    assert stopped == list(range(count))[::-1]


@pytest.mark.deadline(120)
async def test_many_children_that_are_up_at_once_need_no_deep_stack() -> None:
    """News that comes while news is served waits for its turn: a long row of starts, or of failed ones, is no recursion."""
    play = Play()
    specs = [ChildSpec(f"c{number}", task(idle)) for number in range(2000)]
    async with Supervisor("root", [*specs, play.child("last")]) as root:
        assert root.count_children().active == 2001


async def test_the_cancellations_of_siblings_are_not_chained() -> None:
    """A stop must not keep every stopped child's frames alive, nor cost O(n) for each: no cancellation has another's as context."""
    contexts: list[BaseException | None] = []

    async def run() -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as error:
            contexts.append(error.__context__)
            raise

    async with Supervisor("root", [ChildSpec(f"c{number}", task(run)) for number in range(5)]):
        await anyio.wait_all_tasks_blocked()
    assert contexts == [None] * 5


async def test_every_life_has_the_context_variables_of_the_block() -> None:
    """What a child, or whoever asks for a restart, has set in its own context does not leak into the next life."""
    seen: list[str] = []
    play = Play()

    async def run(*, task_status: TaskStatus[None]) -> None:
        seen.append(setting.get())
        setting.set("by the child")
        task_status.started()
        if len(seen) == 1:
            raise Crash
        play.note("settled")
        await anyio.sleep_forever()

    setting.set("by the owner")
    async with Supervisor("root", [ChildSpec("a", task(run))], intensity=5) as root:
        await play.saw("settled")
        setting.set("by the body")
        await root.cycle_child("a")
    assert seen == ["by the owner"] * 3


async def test_a_child_starts_siblings_through_its_own_supervisor() -> None:
    """A child may call its supervisor; the answer comes as to anybody."""
    play = Play()

    async def parent() -> None:
        await root.start_child(play.child("b"))
        with pytest.raises(AlreadyStarted):
            await root.start_child(play.child("b"))
        play.note("done")
        await anyio.sleep_forever()

    root = Supervisor("root", [ChildSpec("a", task(parent))])
    async with root:
        await play.saw("done")
        assert [info.id for info in root.which_children()] == ["b", "a"]


async def test_a_child_that_asks_for_its_own_end_gets_it() -> None:
    """`terminate_child` of the caller cancels the call itself, and the child stays down."""
    play = Play()

    async def tired() -> None:
        try:
            await root.terminate_child("a")
        finally:
            play.note("gone")

    root = Supervisor("root", [ChildSpec("a", task(tired))])
    async with root:
        await play.saw("gone")
        await anyio.wait_all_tasks_blocked()
        assert root.which_child("a").state == "undefined"


async def test_a_child_may_call_its_supervisor_while_that_starts_up() -> None:
    """Such a call waits until all children are up, as in OTP; a child that acknowledges first can make it."""
    play = Play()

    async def early(*, task_status: TaskStatus[None]) -> None:
        task_status.started()
        await root.start_child(play.child("late"))
        await anyio.sleep_forever()

    root = Supervisor("root", [ChildSpec("a", task(early)), play.child("b")])
    async with root:
        await play.saw("up late")
        assert play.log == ["start b", "up b", "start late", "up late"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_eager_tasks_change_nothing() -> None:
    """A tree runs on a loop with asyncio's eager tasks as on any other."""
    if sys.version_info >= (3, 12):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    play = Play()
    try:

        async def short() -> None:
            play.note("short")

        specs = [play.child("a"), ChildSpec("b", task(short), restart=Restart.TRANSIENT), play.child("c")]
        async with Supervisor("root", specs, strategy=Strategy.ONE_FOR_ALL) as root:
            assert [info.state for info in root.which_children()] == ["running", "undefined", "running"]
            play.crash("c")
            await play.saw("up c", 2)
            assert root.which_child("c").restarts == 1
    finally:
        asyncio.get_running_loop().set_task_factory(None)
    assert not play.overlap


async def test_a_child_that_runs_to_its_end_within_its_launch_was_up() -> None:
    """Should an event loop run a new task at once, the acknowledgement of a plain function still comes before its end."""
    calls: list[str] = []

    @attrs.frozen
    class Eager:
        path: tuple[str, ...] = ("root", "a")
        generation: int = 1

        def started(self, value: object = None) -> None:
            calls.append("started")

        def ignored(self) -> None:
            calls.append("ignored")

        def exited(self, exit: Exit) -> None:
            calls.append(f"exited {exit.reason}")

        def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> anyio.CancelScope:
            with pytest.raises(StopIteration):
                run().send(None)
            return anyio.CancelScope()

        def emit(self, event: Event) -> None:
            raise AssertionError(event)

    async def short() -> None:
        calls.append("ran")

    task(short).launch(Eager())
    assert calls == ["started", "ran", "exited normal"]


async def test_a_branch_is_known_by_its_path_from_its_first_child_on() -> None:
    """Whatever starts a child may already look at the supervisor it is under."""
    play = Play()
    seen: list[str] = []

    @attrs.frozen
    class Curious:
        type = ChildType.WORKER
        kill_timeout = 1.0

        def launch(self, ticket: Ticket) -> Handle:
            seen.extend(f"{info.id} {info.state}" for info in root.supervisor("mid").which_children())
            return task(idle).launch(ticket)

        def describe(self) -> dict[str, Any]:
            return {}

    mid = ChildSpec("mid", subtree([play.child("a"), ChildSpec("curious", Curious()), play.child("c")]))
    root = Supervisor("root", [mid, ChildSpec("first", subtree([ChildSpec("x", task(idle))]))])
    async with root:
        assert seen == ["c undefined", "curious starting", "a running"]
    root = Supervisor("root", [ChildSpec("mid", subtree([ChildSpec("curious", Curious())]))])
    seen.clear()
    async with root:
        assert seen == ["curious starting"]
