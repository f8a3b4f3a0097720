# ruff: noqa: PT012 (what leaves a block is the claim, and the block is the test)
"""How a tree is left: in order whatever made the block end, in bounded time, with the one error that matters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from supervisor import (
    BRUTAL_KILL,
    ChildSpec,
    NoProc,
    RestartIntensityExceeded,
    Supervisor,
    subtree,
    task,
)
from supervisor.testing import NEVER, Entry, Scripted
from tests.play import Crash, Play, watched

pytestmark = pytest.mark.anyio

IN_ORDER = ["asked c", "end c", "asked b", "end b", "asked a", "end a"]


def three(play: Play) -> list[ChildSpec]:
    return [play.child(id) for id in "abc"]


async def test_the_end_of_the_body_stops_children_in_reverse_order() -> None:
    """Each child is gone before the next one is asked."""
    play = Play()
    async with Supervisor("root", three(play)):
        play.take()
    assert play.log == IN_ORDER


async def test_an_error_of_the_body_leaves_as_itself_after_the_children_were_stopped() -> None:
    """The very exception, not a group around it, without anything added."""
    play = Play()
    error = Crash("body")
    with pytest.raises(Crash) as caught:
        async with Supervisor("root", three(play)):
            play.take()
            raise error
    assert caught.value is error
    assert not getattr(error, "__notes__", None)
    assert play.log == IN_ORDER


@pytest.mark.parametrize("error", [StopIteration(), StopAsyncIteration(), RuntimeError("x"), SystemExit(2), KeyboardInterrupt()])
async def test_awkward_errors_of_the_body_leave_as_themselves(error: BaseException) -> None:
    """Also those that generators and event loops treat in a way of their own."""
    play = Play()
    caught: BaseException | None = None
    try:
        async with Supervisor("root", three(play)):
            play.take()
            raise error
    except BaseException as raised:
        caught = raised
    assert caught is error
    assert play.log == IN_ORDER


async def test_an_outer_scope_that_is_cancelled_stops_every_child_in_order() -> None:
    """A deadline around the block ends it; the cancellation is not swallowed and harms nothing afterwards."""
    play = Play()
    with anyio.CancelScope() as scope:
        async with Supervisor("root", [play.child("a"), play.child("b", takes=0.05), play.child("c")]):
            play.take()
            scope.cancel()
            await play.rest()
        pytest.fail("the cancellation was swallowed")
    assert scope.cancelled_caught
    assert play.log == IN_ORDER
    await anyio.lowlevel.checkpoint()


async def test_a_sibling_task_cancels_the_block() -> None:
    """A task group around the block can be cancelled from anywhere; the children still take their time to stop."""
    play = Play()
    async with anyio.create_task_group() as tasks:

        async def cancel() -> None:
            await play.saw("body")
            tasks.cancel_scope.cancel()

        tasks.start_soon(cancel)
        async with Supervisor("root", [play.child("a"), play.child("b", takes=0.05), play.child("c")]):
            play.take()
            play.note("body")
            await play.rest()
    assert play.log == ["body", *IN_ORDER]


async def test_a_failing_sibling_task_cancels_the_block() -> None:
    """An error elsewhere in an outer task group stops the tree in order and is what leaves that group."""
    play = Play()
    with pytest.RaisesGroup(Crash):
        async with anyio.create_task_group() as tasks:

            async def fail() -> None:
                await play.saw("body")
                raise Crash

            tasks.start_soon(fail)
            async with Supervisor("root", three(play)):
                play.take()
                play.note("body")
                await play.rest()
    assert play.log == ["body", *IN_ORDER]


async def test_cancellation_during_the_stop_changes_nothing() -> None:
    """Children that are being stopped keep their time."""
    play = Play()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await play.saw("asked b")
                scope.cancel()
                play.note("cancelled")
                play.tell("b")

            async with Supervisor("root", [play.child("a"), play.child("b", stubborn=True), play.child("c")]):
                play.take()
                tasks.start_soon(cancel)
    assert play.log == ["asked c", "end c", "asked b", "cancelled", "end b", "asked a", "end a"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_cancellation_of_an_asyncio_task_stops_every_child_in_order() -> None:
    """`task.cancel()` once, and again while children stop: all of them are stopped in order, and the task ends as cancelled."""
    play = Play()

    async def program() -> None:
        async with Supervisor("root", [play.child("a"), play.child("b", stubborn=True), play.child("c")]):
            play.take()
            play.note("body")
            await play.rest()

    running = asyncio.get_running_loop().create_task(program())
    await play.saw("body")
    running.cancel()
    await play.saw("asked b")
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0)
    assert not running.done()
    play.tell("b")
    with pytest.raises(asyncio.CancelledError):
        await running
    assert play.log == ["body", *IN_ORDER]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_asyncio_task_cancelled_only_during_the_stop_ends_as_cancelled() -> None:
    """The body had ended by itself: the cancellation that came afterwards is not lost."""
    play = Play()

    async def program() -> None:
        async with Supervisor("root", [play.child("a", stubborn=True)]):
            pass
        pytest.fail("the cancellation was swallowed")

    running = asyncio.get_running_loop().create_task(program())
    await play.saw("asked a")
    running.cancel()
    await asyncio.sleep(0)
    play.tell("a")
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_asyncio_timeout_around_the_block_is_a_timeout() -> None:
    """`asyncio.timeout` recognises its own cancellation, also after the tree took its time."""
    play = Play()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            async with Supervisor("root", [play.child("a", takes=0.05)]):
                await play.rest()
    current = asyncio.current_task()
    assert current is not None and current.cancelling() == 0
    assert play.log[-2:] == ["asked a", "end a"]


async def test_giving_up_cancels_the_body() -> None:
    """The body is cancelled once the children have been stopped, and the error leaves bare."""
    play = Play()
    with pytest.raises(RestartIntensityExceeded):
        async with Supervisor("root", three(play), intensity=0):
            play.take()
            play.crash("b")
            try:
                await play.rest()
            finally:
                play.note("body cancelled")
    assert play.log == ["end b", "asked c", "end c", "asked a", "end a", "body cancelled"]


async def test_giving_up_wins_over_a_body_that_ends_quietly() -> None:
    """A body that catches its cancellation, or has just ended, does not hide that the tree gave up."""
    play = Play()
    with pytest.raises(RestartIntensityExceeded):
        root = Supervisor("root", three(play), intensity=0)
        watched(root, play)
        async with root:
            play.crash("b")
            with anyio.CancelScope(shield=True):
                await play.until(lambda: root.exit)


async def test_an_error_of_the_body_while_the_tree_gives_up() -> None:
    """The first error leaves, and says what happened meanwhile: none of both is lost."""
    play = Play()
    with pytest.raises(Crash, match="body") as caught:
        async with Supervisor("root", [play.child("a"), play.child("b", stubborn=True), play.child("c")], intensity=0):
            play.crash("c")
            await play.saw("asked b")
            play.tell("b")
            raise Crash("body")
    assert [note.partition(":")[2].strip()[:24] for note in caught.value.__notes__] == ["RestartIntensityExceeded"]


async def test_an_error_of_the_body_that_giving_up_has_cancelled() -> None:
    """The first error leaves: that the tree gave up; the failed clean-up is its context and noted on it."""
    play = Play()
    with pytest.raises(RestartIntensityExceeded) as caught:
        async with Supervisor("root", three(play), intensity=0):
            play.crash("b")
            try:
                await play.rest()
            finally:
                raise Crash("clean-up")
    assert caught.value.__notes__ == ["meanwhile: Crash: clean-up"]
    assert isinstance(caught.value.__context__, Crash)


async def test_a_body_that_calls_a_tree_that_gives_up_learns_why_it_is_gone() -> None:
    """Its calls are answered with `NoProc`; what leaves the block is the reason for that."""
    play = Play()
    with pytest.raises(RestartIntensityExceeded) as caught:
        async with Supervisor("root", [play.child("a"), play.child("b", stubborn=True), play.child("c")], intensity=0) as root:
            play.crash("c")
            await play.saw("asked b")
            play.tell("b")
            await root.start_child(play.child("d"))
    assert any("NoProc" in note for note in caught.value.__notes__)


async def test_an_outer_cancellation_does_not_hide_that_the_tree_gave_up() -> None:
    """A failure outweighs a cancellation."""
    play = Play()
    with pytest.raises(RestartIntensityExceeded), anyio.CancelScope() as scope:
        async with Supervisor("root", [play.child("a"), play.child("b", stubborn=True)], intensity=0):
            play.crash("a")
            await play.saw("asked b")
            scope.cancel()
            play.tell("b")
            await play.rest()


async def test_stop_ends_the_tree_and_cancels_the_body() -> None:
    """`stop` from anywhere leaves the block quietly; a second one changes nothing."""
    play = Play()
    async with Supervisor("root", three(play)) as root:
        play.take()
        root.stop()
        root.stop()
        assert root.exit is None
        await play.rest()
    assert play.log == IN_ORDER
    assert root.exit is not None and root.exit.is_clean


async def test_hurry_kills_instead_of_asking() -> None:
    """After `hurry` no child gets its `shutdown`: also the ones that have not been asked are killed at once, at all depths."""
    log: list[Entry] = []

    def stones(*ids: str) -> list[ChildSpec]:
        return [ChildSpec(id, Scripted(stop=NEVER, watch=log.append), shutdown=1000.0) for id in ids]

    async with Supervisor("root", [*stones("a", "b"), ChildSpec("sub", subtree(stones("c", "d")))]) as root:
        log.clear()
        root.stop()
        assert [str(entry) for entry in log] == ["asked root/sub/d 1"]
        root.hurry()
        root.hurry()
        await anyio.sleep_forever()
    assert sorted(f"{entry.what} {entry.path[-1]}" for entry in log) == [
        *("asked d", "ended a", "ended b", "ended c", "ended d", "killed a", "killed b", "killed c", "killed d"),
    ]


async def test_brutal_kill_does_not_ask() -> None:
    """A child with `BRUTAL_KILL` is killed at once; a task can only be cancelled, so for it that is the same."""
    play = Play()
    async with Supervisor("root", [play.child("a", shutdown=BRUTAL_KILL)]) as root:
        await root.terminate_child("a")
        assert play.take()[-2:] == ["asked a", "end a"]


@asynccontextmanager
async def nested_block(play: Play) -> AsyncIterator[Supervisor]:
    async with Supervisor("inner", [play.child("x")]) as inner:
        yield inner


async def test_blocks_nest_in_code() -> None:
    """A tree inside another's body, in a context manager of one's own, is stopped first."""
    play = Play()
    async with Supervisor("outer", [play.child("a")]), nested_block(play):
        play.take()
    assert play.log == ["asked x", "end x", "asked a", "end a"]


async def test_a_tree_runs_inside_a_child_of_a_tree() -> None:
    """A child may own a whole tree; stopping the child stops that tree in order."""
    play = Play()

    async def owner() -> None:
        async with Supervisor("inner", [play.child("x"), play.child("y")]):
            await play.rest()

    async with Supervisor("outer", [play.child("a"), ChildSpec("owner", task(owner))]):
        await play.saw("up y")
        play.take()
    assert play.log == ["asked y", "end y", "asked x", "end x", "asked a", "end a"]


async def test_nothing_is_left_on_the_event_loop() -> None:
    """The timer, subscriptions and children of a tree end with its block."""
    before = len(anyio.get_running_tasks())
    play = Play()
    async with Supervisor("root", [play.child("a", start_timeout=1000.0)], period=1000.0) as root:
        play.crash("a")
        await play.saw("up a", 2)
        async with root.subscribe():
            pass
    await anyio.wait_all_tasks_blocked()
    assert len(anyio.get_running_tasks()) == before


async def test_calls_after_the_tree_gave_up_are_refused_in_the_body() -> None:
    """Between giving up and the end of the block nothing answers any more."""
    play = Play()
    asks: list[Callable[[Supervisor], object]] = [Supervisor.which_children, Supervisor.count_children, Supervisor.subscribe]
    with pytest.raises(RestartIntensityExceeded):
        root = Supervisor("root", three(play), intensity=0)
        watched(root, play)
        async with root:
            play.crash("a")
            with anyio.CancelScope(shield=True):
                await play.until(lambda: root.exit)
            for ask in asks:
                with pytest.raises(NoProc):
                    ask(root)
