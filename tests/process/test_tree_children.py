"""Children as such: many of them, their contexts, their calls to their own supervisor."""

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
    Restart,
    Strategy,
    Supervisor,
    Ticket,
    subtree,
    task,
)
from tests.play import Crash, Play

pytestmark = pytest.mark.anyio

setting: contextvars.ContextVar[str] = contextvars.ContextVar("setting", default="")


async def idle() -> None:
    await anyio.sleep_forever()


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

        def extend(self, seconds: float) -> None:
            raise AssertionError(seconds)

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
