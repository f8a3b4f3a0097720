"""Cases of OTP's own ``supervisor_SUITE`` that scenarios cannot reach, under their names: calls within a retry loop, time, races."""

from __future__ import annotations

import anyio
import pytest

from supervisor import (
    AlreadyPresent,
    AutoShutdown,
    ChildRestarting,
    ChildSpec,
    Exit,
    ExitKind,
    Ignore,
    NoProc,
    Restart,
    RestartIntensityExceeded,
    SimpleOneForOne,
    SpecError,
    StartFailed,
    Strategy,
    Supervisor,
    dynamic,
    subtree,
)
from supervisor.testing import Decline, Fail, Scripted, Stop, settle

from .casting import Between, Deadlock, counts, states

pytestmark = pytest.mark.anyio

EXITS = (Exit.normal(), Exit.shutdown(), Exit.shutdown("test"), Exit(ExitKind.ABNORMAL, "other"))


# ---------------------------------------------------------------- a restart that fails for ever


async def test_hanging_restart_loop() -> None:
    """Within the retry loop calls are served, each with its answer; terminate_child ends it, and so does the end of the supervisor."""
    children, between = Deadlock(), Between()
    sup = Supervisor("sup", intensity=8, period=10)
    sup.add_sink(between.watch(sup))
    async with sup:
        await sup.start_child(children.child("child1"))
        children.fail_start = True
        children.crash("child1")
        await anyio.sleep(0.5)

        with pytest.raises(AlreadyPresent):
            await sup.start_child(children.child("child1"))
        with pytest.raises(ChildRestarting):
            await sup.restart_child("child1")
        with pytest.raises(ChildRestarting):
            await sup.delete_child("child1")
        assert between.states == [("child1", "restarting")]
        assert between.counts == [1, 0, 0, 1]

        await sup.terminate_child("child1")
        assert states(sup) == [("child1", "undefined")]
        assert await settle() == float("inf"), "the loop goes on"

        children.fail_start = False
        await sup.restart_child("child1")
        assert states(sup) == [("child1", "running")]
        children.fail_start = True
        children.crash("child1")
        await anyio.sleep(0.5)
        end = anyio.current_time()
    assert anyio.current_time() == end
    assert sup.exit == Exit.shutdown()


async def test_hanging_restart_loop_rest_for_one() -> None:
    """The same under rest_for_one: who was started before is left alone, who comes after stays down, also when the loop is ended."""
    children, between = Deadlock(), Between()
    before, after = Scripted(), Scripted()
    sup = Supervisor("sup", strategy=Strategy.REST_FOR_ONE, intensity=8, period=10)
    sup.add_sink(between.watch(sup))
    async with sup:
        await sup.start_child(ChildSpec("child1", before))
        await sup.start_child(children.child("child2"))
        await sup.start_child(ChildSpec("child3", after))
        children.fail_start = True
        children.crash("child2")
        await anyio.sleep(0.5)

        with pytest.raises(AlreadyPresent):
            await sup.start_child(children.child("child2"))
        with pytest.raises(ChildRestarting):
            await sup.restart_child("child2")
        with pytest.raises(ChildRestarting):
            await sup.delete_child("child2")
        assert between.states == [("child3", "undefined"), ("child2", "restarting"), ("child1", "running")]
        assert between.counts == [3, 1, 0, 3]

        await sup.terminate_child("child2")
        assert states(sup) == [("child3", "undefined"), ("child2", "undefined"), ("child1", "running")]
        assert await settle() == float("inf"), "the loop goes on"

        children.fail_start = False
        await sup.restart_child("child2")
        assert states(sup) == [("child3", "undefined"), ("child2", "running"), ("child1", "running")]
        children.fail_start = True
        children.crash("child2")
        await anyio.sleep(0.5)
    assert (before.starts, after.starts) == (1, 1)
    assert sup.exit == Exit.shutdown()


async def test_hanging_restart_loop_simple() -> None:
    """The same under a dynamic supervisor: calls for a child that is down are none of its, terminate_child forgets the child."""
    children, between = Deadlock(), Between()
    root = Supervisor("root", [ChildSpec("sup", dynamic(intensity=8, period=10))])
    sup = root.supervisor("sup")
    root.add_sink(between.watch(sup))
    async with root:
        await sup.start_child(children.child("child1"))
        children.fail_start = True
        children.crash("child1")
        await anyio.sleep(0.5)

        with pytest.raises(SimpleOneForOne):
            await sup.restart_child("child1")
        with pytest.raises(SimpleOneForOne):
            await sup.delete_child("child1")
        assert between.states == [("child1", "restarting")]
        assert between.counts == [1, 0, 0, 1]

        await sup.terminate_child("child1")
        assert states(sup) == []

        children.fail_start = False
        await sup.start_child(children.child("child1"))
        children.fail_start = True
        children.crash("child1")
        await anyio.sleep(0.5)
    assert root.exit == Exit.shutdown()


async def test_count_restarting_children() -> None:
    """Children that wait for their next attempt are counted, and are not active; once they come up they are again."""
    children, between = Deadlock(), Between()
    root = Supervisor("root", [ChildSpec("sup", dynamic(intensity=20, period=10))])
    sup = root.supervisor("sup")
    root.add_sink(between.watch(sup))
    async with root:
        assert counts(sup) == [0, 0, 0, 0]
        for number in (1, 2, 3):
            await sup.start_child(children.child(f"child{number}"))
            assert counts(sup) == [number, number, 0, number]
        for number in (1, 2, 3):
            children.crash(f"child{number}")
        await settle()
        assert counts(sup) == [3, 3, 0, 3]

        children.fail_start = True
        children.crash("child1")
        children.crash("child2")
        await anyio.sleep(4.5)
        assert between.counts == [3, 1, 0, 3]

        children.fail_start = False
        await anyio.sleep(4)
        assert counts(sup) == [3, 3, 0, 3]
        for left, number in ((2, 3), (1, 1), (0, 2)):
            await sup.terminate_child(f"child{number}")
            assert counts(sup) == [left, left, 0, left]


async def test_significant_transient_in_its_retry_loop() -> None:
    """Under all_significant a child that waits for its next attempt is still alive: the end of the others does not end the supervisor."""
    children, other = Deadlock(), Scripted()
    looping = children.child("child1", restart=Restart.TRANSIENT, significant=True)
    last = ChildSpec("child2", other, restart=Restart.TRANSIENT, significant=True)
    seen = []
    async with Supervisor("sup", [looping, last], auto_shutdown=AutoShutdown.ALL_SIGNIFICANT, intensity=8, period=10) as sup:
        children.fail_start = True
        children.crash("child1")
        await anyio.sleep(0.5)
        other.end(Exit.normal())  # heard of between two attempts
        await anyio.sleep(3)
        children.fail_start = False
        await anyio.sleep(3)
        seen.append(states(sup))
        await sup.terminate_child("child1")
        await settle()
        seen.append(states(sup))
    # looked at here: a supervisor that ends by itself cancels its block, and that is no error
    assert seen == [[("child2", "undefined"), ("child1", "running")], [("child2", "undefined"), ("child1", "undefined")]]


# ---------------------------------------------------------------- stopping


async def test_sup_stop_race() -> None:
    """While a supervisor stops, children of every restart type end by themselves for every reason: it still ends, and so did they."""
    first, last = Scripted(), Scripted(stop=Stop(after=1.0))
    racers = {(restart, exit): Scripted() for restart in Restart for exit in EXITS}
    specs = [ChildSpec("child_a", first, restart=Restart.TEMPORARY, shutdown=1.0)]
    specs += [
        ChildSpec(f"{restart.value} {exit.reason}", child, restart=restart, shutdown=1.0) for (restart, exit), child in racers.items()
    ]
    specs += [ChildSpec("child_z", last, restart=Restart.TEMPORARY, shutdown=2.0)]

    async def race() -> None:
        await anyio.sleep(0.2)
        for (_, exit), child in racers.items():
            child.end(exit)

    async with anyio.create_task_group() as tasks:
        sup = Supervisor("sup", specs, intensity=2, period=3600)
        async with sup:
            begin = anyio.current_time()
            tasks.start_soon(race)
        assert anyio.current_time() - begin == 1.0

    assert sup.exit == Exit.shutdown()
    assert [dict(child.exits) for child in racers.values()] == [{1: exit} for _, exit in racers]
    assert (dict(first.exits), dict(last.exits)) == ({1: Exit.shutdown()}, {1: Exit.shutdown()})
    assert "asked" not in {entry.what for child in racers.values() for entry in child.log}, "the dead were asked to stop"


# ---------------------------------------------------------------- the window


async def test_multiple_restarts() -> None:
    """Restarts that are further apart than the period never add up."""
    child = Scripted()
    async with Supervisor("sup", intensity=1, period=1) as sup:
        await sup.start_child(ChildSpec("child1", child))
        child.crash()
        for number in (3, 4, 5, 6, 7):
            await anyio.sleep(2.1)
            child.crash()
            assert child.starts == number
        await sup.terminate_child("child1")
        await sup.delete_child("child1")


async def crashes_at(*times: float, intensity: int, period: float, child: Scripted | None = None) -> int:
    """Let a child crash at these times; how often it was started before its supervisor gave up, or at all."""
    child = child or Scripted()
    try:
        async with Supervisor("sup", [ChildSpec("child1", child)], intensity=intensity, period=period):
            begin = anyio.current_time()
            for time in times:
                await anyio.sleep_until(begin + time)
                child.crash()
                await settle()
    except RestartIntensityExceeded:
        pass
    return child.starts


async def test_intensity_restarts_are_allowed_and_one_more_is_not() -> None:
    """The supervisor gives up at restart intensity + 1 within the period, whatever the intensity; 0 allows none."""
    for intensity in range(4):
        assert await crashes_at(*range(9), intensity=intensity, period=100) == 1 + intensity


async def test_the_window_includes_both_of_its_ends() -> None:
    """A restart counts for as long as the period, to its very end. (OTP counts in whole seconds, so its window may be one longer.)"""
    assert await crashes_at(0, 4, 10, intensity=2, period=10) == 3
    assert await crashes_at(0, 4, 10.001, intensity=2, period=10) == 4


async def test_the_window_slides() -> None:
    """It drops one restart at a time, the oldest: who came after that still counts, and a new period does not begin with a clean slate."""
    assert await crashes_at(0, 4, 10.5, 14, intensity=2, period=10) == 4
    assert await crashes_at(0, 4, 10.5, 14.5, 20.6, 24.6, intensity=2, period=10) == 7
    assert await crashes_at(9, 9.5, 10.5, intensity=2, period=10) == 3


async def test_a_restarted_supervisor_begins_with_an_empty_history() -> None:
    """What its former life has spent is not held against it; the supervisor above has counted one."""
    child = Scripted()
    sup = ChildSpec("sup", subtree([ChildSpec("child1", child)], intensity=1, period=3600))
    async with Supervisor("top", [sup], intensity=2, period=3600) as top:
        for starts in (2, 3, 4, 5, 6):
            child.crash()
            await settle()
            assert child.starts == starts
        assert top.which_child("sup").restarts == 2
        assert top.which_child("sup").state == "running"


# ---------------------------------------------------------------- starts that decline or fail


async def test_sup_start_ignore_init() -> None:
    """A supervisor whose init says ignore is not started, and nothing of it runs; the one above it goes on, and can start it later."""
    child, calls = Scripted(), iter([True, False])

    def init() -> list[ChildSpec]:
        if next(calls):
            raise Ignore
        return [ChildSpec("child1", child)]

    async with Supervisor("root", [ChildSpec("sup", subtree(init)), ChildSpec("other", Scripted())]) as root:
        assert states(root) == [("other", "running"), ("sup", "undefined")]
        assert counts(root) == [2, 1, 1, 1]
        assert child.lines == []
        with pytest.raises(NoProc):
            root.supervisor("sup").which_children()
        await root.restart_child("sup")
        assert states(root.supervisor("sup")) == [("child1", "running")]
    assert root.exit == Exit.shutdown()


async def test_sup_start_error_return() -> None:
    """An init that crashes, or that returns what is no specification, is a failed start of the supervisor, with its own error."""

    def crashes() -> list[ChildSpec]:
        raise OSError("no children today")

    for init, error in ((crashes, OSError), (lambda: [ChildSpec("a", Scripted()), ChildSpec("a", Scripted())], SpecError)):
        with pytest.raises(StartFailed) as raised:
            async with Supervisor("root", [ChildSpec("sup", subtree(init))]):
                raise AssertionError("it started")
        assert isinstance(raised.value.__cause__, error)


async def test_init_is_called_at_every_start() -> None:
    """A restarted supervisor asks for its children anew, as in OTP."""
    starts = [[ChildSpec("a", Scripted())], [ChildSpec("b", Scripted()), ChildSpec("c", Scripted())]]
    async with Supervisor("root", [ChildSpec("sup", subtree(lambda: starts.pop(0)))], intensity=1) as root:
        assert states(root.supervisor("sup")) == [("a", "running")]
        await root.cycle_child("sup")
        assert states(root.supervisor("sup")) == [("c", "running"), ("b", "running")]


async def test_sup_start_ignore_child() -> None:
    """A permanent child that declines keeps its place and its specification, down; it can be started later."""
    one, other = Scripted([Decline()]), Scripted([Decline()])
    async with Supervisor("sup", [ChildSpec("child1", one)]) as sup:
        assert (await sup.start_child(ChildSpec("child2", other))).state == "undefined"
        await sup.start_child(ChildSpec("child3", Scripted()))
        assert states(sup) == [("child3", "running"), ("child2", "undefined"), ("child1", "undefined")]
        assert counts(sup) == [3, 1, 0, 3]
        await sup.restart_child("child1")
        await sup.restart_child("child2")
        assert counts(sup) == [3, 3, 0, 3]


async def test_sup_start_ignore_temporary_child() -> None:
    """A temporary child that declines leaves nothing, be it of the first ones or started later."""
    spec = ChildSpec("child1", Scripted(default=Decline()), restart=Restart.TEMPORARY)
    async with Supervisor("sup", [spec, ChildSpec("child2", Scripted())]) as sup:
        assert states(sup) == [("child2", "running")]
        assert (await sup.start_child(spec)).state == "undefined"
        assert states(sup) == [("child2", "running")]
        assert counts(sup) == [1, 1, 0, 1]


async def test_sup_start_ignore_permanent_child_start_child_simple() -> None:
    """Under a dynamic supervisor a permanent child that declines leaves nothing as well."""
    async with Supervisor("root", [ChildSpec("sup", dynamic())]) as root:
        sup = root.supervisor("sup")
        assert (await sup.start_child(ChildSpec("child1", Scripted([Decline()])))).state == "undefined"
        assert (states(sup), counts(sup)) == ([], [0, 0, 0, 0])
    assert root.exit == Exit.shutdown()


async def test_sup_start_child_returns_error() -> None:
    """A start_child that fails tells why and keeps nothing; a restart_child that fails keeps the specification and does not retry."""
    child = Scripted([Fail(OSError("refused"))])
    again = Scripted({2: Fail(OSError("refused"))})
    async with Supervisor("sup") as sup:
        with pytest.raises(StartFailed, match="refused"):
            await sup.start_child(ChildSpec("child1", child))
        assert (states(sup), counts(sup)) == ([], [0, 0, 0, 0])
        await sup.start_child(ChildSpec("child1", child))

        await sup.start_child(ChildSpec("child2", again))
        await sup.terminate_child("child2")
        with pytest.raises(StartFailed, match="refused"):
            await sup.restart_child("child2")
        assert await settle() == float("inf")
        assert states(sup) == [("child2", "undefined"), ("child1", "running")]
        await sup.restart_child("child2")
    assert (child.starts, again.starts) == (2, 3)


async def test_sup_start_restart_child_returns_error() -> None:
    """A restart that fails is tried again at once, and each attempt counts."""
    child = Scripted({2: Fail(), 3: Fail(), 4: Fail()})
    assert await crashes_at(0, intensity=2, period=1, child=child) == 3
    assert child.exits.keys() == {1, 2, 3}
