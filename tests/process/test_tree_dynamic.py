"""Dynamic supervisors, new specifications and the stop of any supervisor, in a running tree."""

from __future__ import annotations

import attrs
import pytest

from supervisor import (
    ChildExited,
    ChildSpec,
    DynamicSupervisor,
    Exit,
    MaxChildren,
    NoProc,
    Restart,
    SimpleOneForOne,
    SpecError,
    Strategy,
    Supervisor,
    dynamic,
    subtree,
)
from tests.play import Play, watched

pytestmark = pytest.mark.anyio


@pytest.fixture
def play() -> Play:
    """Children that do as told."""
    return Play()


async def test_a_dynamic_supervisor_in_a_tree(play: Play) -> None:
    """Children come by call and go when they end; a restarted one keeps its id, a taken id gets a number."""
    async with Supervisor("root", [ChildSpec("many", dynamic(intensity=3, max_children=3))]) as root:
        many = root.supervisor("many")
        first = await many.start_child(play.child("a"))
        second = await many.start_child(attrs.evolve(play.child("x", restart=Restart.TEMPORARY), id="a"))
        await many.start_child(play.child("b"))
        assert (first.id, second.id) == ("a", "a-2")
        with pytest.raises(MaxChildren):
            await many.start_child(play.child("c"))
        play.crash("b")
        await play.saw("up b", 2)
        assert many.which_child("b").restarts == 1
        await many.terminate_child("a-2")
        assert [child.id for child in many.which_children()] == ["b", "a"]
        assert many.count_children().specs == 2
        with pytest.raises(SimpleOneForOne):
            await many.restart_child("b")
    assert play.overlap == []


async def test_a_dynamic_supervisor_asks_all_children_at_the_same_time(play: Play) -> None:
    """Nobody is waited for before everybody has been asked."""
    async with DynamicSupervisor("root") as root:
        for id in ("a", "b", "c"):
            await root.start_child(play.child(id, stubborn=True))
        root.stop()
        for id in ("a", "b", "c"):
            await play.saw(f"asked {id}")
        assert not [line for line in play.log if line.startswith("end")]
        for id in ("a", "b", "c"):
            play.tell(id)


async def test_reconfigure_a_running_supervisor(play: Play) -> None:
    """Nothing is started or stopped; what is new waits to be started, what is not named comes last; what cannot be changes nothing."""
    async with Supervisor("root", [play.child("a"), play.child("b")]) as root:
        play.take()
        await root.reconfigure([play.child("c"), play.child("b", shutdown=2.0)], intensity=7)
        assert play.take() == []
        assert [(child.id, child.state) for child in root.which_children()] == [("a", "running"), ("b", "running"), ("c", "undefined")]
        assert (root.get_childspec("b").shutdown, root.state.flags.intensity) == (2.0, 7)
        with pytest.raises(SpecError):
            await root.reconfigure([play.child("d"), play.child("d")])
        with pytest.raises(SpecError):
            await root.reconfigure([], strategy=Strategy.SIMPLE_ONE_FOR_ONE)
        await root.restart_child("c")
        assert play.take() == ["start c", "up c"]


async def test_stop_of_a_supervisor_in_the_tree_is_the_end_of_a_child(play: Play) -> None:
    """Its children stop in reverse, it ends with the exit that was given, and what is above it restarts it as it would any child."""
    children = [play.child("x"), play.child("y")]
    root = Supervisor("root", [ChildSpec("kept", subtree(children)), ChildSpec("done", subtree(), restart=Restart.TRANSIENT)], intensity=3)
    watch = watched(root, play)
    async with root:
        play.take()
        root.supervisor("kept").stop(Exit.normal())
        await play.saw("up y")
        assert play.take() == ["asked y", "end y", "asked x", "end x", "start x", "up x", "start y", "up y"]
        assert [(event.path, event.exit) for event in watch.of(ChildExited)][-1] == (("root", "kept"), Exit.normal())
        root.supervisor("done").stop()
        await play.until(lambda: root.which_child("done").state == "undefined")
        with pytest.raises(NoProc):
            root.supervisor("done").stop()
