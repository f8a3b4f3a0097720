"""When things happen in a tree: timeouts, the stop ladder, windows, cooldowns, circuits."""

from __future__ import annotations

import math

import anyio
import attrs
import pytest

from supervisor import (
    BRUTAL_KILL,
    ChildExited,
    ChildSpec,
    ChildUnresponsive,
    StartFailed,
    Supervisor,
    report_of,
    subtree,
    task,
)
from tests.play import Play, Watch, watched

pytestmark = pytest.mark.anyio


def since(start: float) -> float:
    return round(anyio.current_time() - start, 6)


def times(watch: Watch, name: str) -> list[float]:
    return [round(record.monotonic, 6) for record in watch.records if record.event.name == name]


async def deaf() -> None:
    """Ignore everything for an hour."""
    with anyio.CancelScope(shield=True):
        await anyio.sleep(3600)


async def test_a_child_that_does_not_acknowledge_in_time_has_failed_to_start() -> None:
    """After `start_timeout` it is killed; the cause is a `TimeoutError` that says how long it was."""
    play = Play(patience=10_000.0)
    start = anyio.current_time()
    with pytest.raises(StartFailed, match=r"no acknowledgement within 2\.5 s") as caught:
        async with Supervisor("root", [play.child("a"), play.child("b", gate=True, start_timeout=2.5), play.child("c")]):
            pytest.fail("the body ran")
    assert since(start) == 2.5
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert caught.value.path == ("root", "b")
    assert play.log[3:] == ["asked b", "end b", "asked a", "end a"]


async def test_a_child_that_acknowledges_in_time_keeps_running() -> None:
    """The timeout ends with the acknowledgement."""
    play = Play(patience=10_000.0)

    async with anyio.create_task_group() as tasks:

        async def later() -> None:
            await anyio.sleep(2.4)
            play.open("a")

        tasks.start_soon(later)
        async with Supervisor("root", [play.child("a", gate=True, start_timeout=2.5)]) as root:
            await anyio.sleep(1000)
            assert root.which_child("a").uptime == 1000
            assert play.lives["a"] == 1


async def test_a_start_that_cannot_be_cancelled_either_is_given_up() -> None:
    """Deaf during its start: reported, counted, and the call is answered after `start_timeout` plus `kill_timeout`."""
    play = Play(patience=10_000.0)
    root = Supervisor("root", [play.child("a")])
    watch = watched(root, play)

    async def never(*, task_status: object) -> None:
        await deaf()

    async with root:
        start = anyio.current_time()
        with pytest.raises(StartFailed):
            await root.start_child(ChildSpec("deaf", attrs.evolve(task(never), kill_timeout=3.0), start_timeout=2.0))
        assert since(start) == 5
        assert len(watch.of(ChildUnresponsive)) == 1
        assert root.abandoned == 1
        assert [info.id for info in root.which_children()] == ["a"]


async def test_each_child_has_its_own_time_to_stop() -> None:
    """Leaving takes the sum of what the children take, and none is cut short within its `shutdown`."""
    play = Play(patience=10_000.0)
    specs = [play.child("a", takes=3.0, shutdown=4.0), play.child("b"), play.child("c", takes=2.0, shutdown=2.5)]
    root = Supervisor("root", specs)
    watch = watched(root, play)
    async with root:
        start = anyio.current_time()
    assert since(start) == 5
    assert play.log[-6:] == ["asked c", "end c", "asked b", "end b", "asked a", "end a"]
    assert watch.of(ChildUnresponsive) == []


@pytest.mark.parametrize(("shutdown", "waited"), [(4.0, 6.0), (0.0, 2.0), (BRUTAL_KILL, 2.0)])
async def test_a_child_that_ignores_its_cancellation_is_given_up(shutdown: float, waited: float) -> None:
    """After `shutdown` and `kill_timeout` it is reported and counted; the others are stopped, the block waits for it alone."""
    play = Play(patience=10_000.0)
    deaf_one = ChildSpec("deaf", attrs.evolve(task(deaf), kill_timeout=2.0), shutdown=shutdown)
    root = Supervisor("root", [play.child("a"), deaf_one, play.child("c")])
    watch = watched(root, play)
    async with root:
        await anyio.sleep(1)
        start = anyio.current_time()
    assert since(start) == 3599
    stuck = watch.of(ChildUnresponsive)
    assert [(event.path, event.generation, event.waited) for event in stuck] == [(("root", "deaf"), 1, waited)]
    assert root.abandoned == 1
    assert [event.path[-1] for event in watch.of(ChildExited)] == ["c", "a"]
    assert times(watch, "child_exited")[-1] == 1 + waited


async def test_an_infinite_shutdown_waits() -> None:
    """`math.inf` gives a child all the time it takes."""
    play = Play(patience=10_000.0)
    async with Supervisor("root", [play.child("a", takes=100_000.0, shutdown=math.inf)]):
        start = anyio.current_time()
    assert since(start) == 100_000


async def test_a_supervisor_gets_the_time_its_children_need() -> None:
    """The default `shutdown` of a supervisor is infinite, so its children's count."""
    play = Play(patience=10_000.0)
    mid = ChildSpec("mid", subtree([play.child("b", takes=40.0, shutdown=50.0), play.child("c", takes=40.0, shutdown=50.0)]))
    async with Supervisor("root", [mid]):
        start = anyio.current_time()
    assert since(start) == 80


async def test_a_supervisor_with_a_finite_shutdown_has_its_children_killed_not_orphaned() -> None:
    """When its time is over the kill reaches every child at every depth, and each is given up after its own `kill_timeout`."""
    play = Play(patience=10_000.0)
    low = ChildSpec("low", subtree([ChildSpec("deaf", attrs.evolve(task(deaf), kill_timeout=2.0), shutdown=1000.0), play.child("x")]))
    mid = ChildSpec("mid", subtree([play.child("b", takes=1.0, shutdown=1000.0), low]), shutdown=10.0)
    root = Supervisor("root", [play.child("a"), mid])
    watch = watched(root, play)
    async with root:
        await anyio.sleep(1)
        start = anyio.current_time()
    assert [round(record.monotonic - start, 6) for record in watch.records if isinstance(record.event, ChildUnresponsive)] == [12]
    assert play.log[-6:] == ["asked x", "end x", "asked b", "end b", "asked a", "end a"]
    assert root.abandoned == 1


async def test_an_outer_deadline_leaves_children_their_time() -> None:
    """A cancellation from outside ends the block after the children's own stop times, not before."""
    play = Play(patience=10_000.0)
    start = anyio.current_time()
    with anyio.move_on_after(10) as scope:
        async with Supervisor("root", [play.child("a", takes=3.0), play.child("b", takes=4.0)]):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert since(start) == 17


async def test_hurry_ends_a_slow_stop() -> None:
    """A stop under way goes on as a kill: no child keeps the rest of its `shutdown`."""
    play = Play(patience=10_000.0)
    specs = [ChildSpec(id, attrs.evolve(task(deaf), kill_timeout=2.0), shutdown=1000.0) for id in "ab"]
    root = Supervisor("root", [*specs, play.child("c")])
    watch = watched(root, play)
    async with root:
        root.stop()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(10)
        root.hurry()
        await anyio.sleep_forever()
    gone = [round(record.monotonic, 6) for record in watch.records if isinstance(record.event, ChildUnresponsive)]
    assert gone == [12, 14]
    assert root.abandoned == 2


async def test_a_child_that_does_not_end_in_time_is_told_as_a_shutdown_error() -> None:
    """It had to be killed; one that is killed at once, and one that ends when it is asked, are in order."""
    play = Play()
    children = [
        play.child("a", shutdown=1.0, takes=2.0, kill_timeout=30.0),
        play.child("b", shutdown=BRUTAL_KILL),
        play.child("c"),
    ]
    root = Supervisor("root", children)
    watch = watched(root, play)
    async with root:
        pass
    reports = [report for record in watch.records if (report := report_of(record.event)) is not None and report.context != "progress"]
    assert [(report.context, report.text.partition(": ")[2].partition(" (")[0]) for report in reports] == [
        ("shutdown_error", "killed, because it did not end within 1 s: shutdown")
    ]
