# ruff: noqa: PT012 (what leaves a block is the claim, and the block is the test)
"""Supervisors under supervisors: order, escalation, and references that outlive a restart."""

from __future__ import annotations

import anyio
import pytest

from supervisor import (
    AutoShutdown,
    ChildExited,
    ChildSpec,
    ChildType,
    DuplicateChildName,
    ExitKind,
    NoProc,
    Restart,
    RestartIntensityExceeded,
    StartFailed,
    Strategy,
    Supervisor,
    SupervisorGaveUp,
    subtree,
    task,
)
from tests.play import Crash, Play, watched

pytestmark = pytest.mark.anyio


async def test_a_tree_starts_and_stops_depth_first() -> None:
    """A supervisor is up when its last child is, and gone when its first one is."""
    play = Play()
    low = ChildSpec("low", subtree([play.child("c"), play.child("d")]))
    mid = ChildSpec("mid", subtree([play.child("b"), low, play.child("e")]))
    async with Supervisor("root", [play.child("a"), mid, play.child("f")]) as root:
        assert play.take() == [f"{word} {id}" for id in "abcdef" for word in ("start", "up")]
        assert root.which_child("mid").type is ChildType.SUPERVISOR
        assert [info.path for info in root.supervisor("mid", "low").which_children()] == [
            ("root", "mid", "low", "d"),
            ("root", "mid", "low", "c"),
        ]
    assert play.log == [f"{word} {id}" for id in "fedcba" for word in ("asked", "end")]


async def test_specifications_deep_in_the_tree_are_checked_before_anything_starts() -> None:
    """A mistake anywhere is found when the tree is described."""
    play = Play()
    with pytest.raises(DuplicateChildName):
        subtree([play.child("a"), play.child("a")])


async def test_a_failed_start_deep_in_the_tree_rolls_back_everything() -> None:
    """What is up is stopped in reverse order, through all levels."""
    play = Play()
    play.refuse("d", Crash("no"))
    with pytest.raises(StartFailed):
        async with Supervisor("root", [play.child("a"), ChildSpec("mid", subtree([play.child(id) for id in "bcd"]))]):
            pytest.fail("the body ran")
    assert play.log[6:] == ["start d", "end d", "asked c", "end c", "asked b", "end b", "asked a", "end a"]


async def test_a_crash_stays_in_its_branch() -> None:
    """Siblings of the supervisor do not notice."""
    play = Play()
    async with Supervisor("root", [play.child("a"), ChildSpec("mid", subtree([play.child("b"), play.child("c")]))]) as root:
        play.crash("b")
        await play.saw("up b", 2)
        assert play.lives == {"a": 1, "b": 2, "c": 1}
        assert root.which_child("mid").generation == 1
        assert root.supervisor("mid").which_child("b").restarts == 1


async def test_giving_up_escalates_to_the_supervisor_above() -> None:
    """A supervisor that gives up stops its children and ends as `shutdown`; a permanent one is restarted, with a fresh budget."""
    play = Play()
    mid = ChildSpec("mid", subtree([play.child("b"), play.child("c")], intensity=1, period=1000.0))
    root = Supervisor("root", [play.child("a"), mid], intensity=1)
    watch = watched(root, play)
    async with root:
        play.crash("c")
        await play.saw("up c", 2)
        play.take()
        watch.take()
        play.crash("c")
        await play.saw("up c")
        assert play.take() == ["end c", "asked b", "end b", "start b", "up b", "start c", "up c"]
        assert watch.lines == [
            *("child_exited c", "supervisor_gave_up mid", "child_exited b", "child_exited mid"),
            *("child_started b", "child_started c", "child_started mid", "child_restarted mid"),
        ]
        gone = next(event for event in watch.of(ChildExited) if event.path == ("root", "mid"))
        assert gone.exit.kind is ExitKind.SHUTDOWN
        assert isinstance(gone.exit.exception, RestartIntensityExceeded)
        assert gone.exit.exception.path == ("root", "mid")
        play.crash("c")
        await play.saw("up c")
        assert root.which_child("mid").restarts == 1
    assert not play.overlap


async def test_giving_up_climbs_to_the_top() -> None:
    """Where no supervisor above has a restart left the tree ends, and the reasons can be followed down to the crash."""
    play = Play()
    low = ChildSpec("low", subtree([play.child("x")], intensity=0))
    mid = ChildSpec("mid", subtree([low], intensity=0))
    root = Supervisor("root", [mid, play.child("a")], intensity=0)
    watch = watched(root, play)
    with pytest.raises(RestartIntensityExceeded) as caught:
        async with root:
            play.crash("x")
            await play.rest()
    assert [event.path for event in watch.of(SupervisorGaveUp)] == [("root", "mid", "low"), ("root", "mid"), ("root",)]
    error: BaseException | None = caught.value
    for path in (("root",), ("root", "mid"), ("root", "mid", "low")):
        assert isinstance(error, RestartIntensityExceeded) and error.path == path
        error = error.exits[-1][1].exception
    assert isinstance(error, Crash)


async def test_a_transient_supervisor_that_gave_up_stays_down() -> None:
    """Its `shutdown` is a clean end, as in OTP."""
    play = Play()
    mid = ChildSpec("mid", subtree([play.child("b")], intensity=0), restart=Restart.TRANSIENT)
    root = Supervisor("root", [play.child("a"), mid], intensity=0)
    watched(root, play)
    async with root:
        play.crash("b")
        await play.until(lambda: root.which_child("mid").state == "undefined")
        assert root.which_child("a").state == "running"
        assert (await root.restart_child("mid")).generation == 2


async def test_auto_shutdown_climbs_through_significant_supervisors() -> None:
    """A supervisor that shut itself down is a significant child that ended."""
    play = Play()
    leaf = play.child("leaf", restart=Restart.TRANSIENT, significant=True)
    mid = ChildSpec(
        "mid", subtree([play.child("b"), leaf], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT), restart=Restart.TRANSIENT, significant=True
    )
    async with Supervisor("root", [play.child("a"), mid], auto_shutdown=AutoShutdown.ALL_SIGNIFICANT):
        play.take()
        play.tell("leaf")
        await play.rest()
    assert play.log == ["end leaf", "asked b", "end b", "asked a", "end a"]


async def test_a_reference_addresses_a_supervisor_by_its_path() -> None:
    """All calls work on any supervisor in the tree; `supervisor` may be chained."""
    play = Play()
    low = ChildSpec("low", subtree([play.child("x")]))
    async with Supervisor("root", [ChildSpec("mid", subtree([low]))]) as root:
        ref = root.supervisor("mid").supervisor("low")
        assert ref.path == root.supervisor("mid", "low").path == ("root", "mid", "low")
        info = await ref.start_child(play.child("y"))
        assert info.path == ("root", "mid", "low", "y")
        await ref.cycle_child("x")
        await ref.terminate_child("y")
        await ref.restart_child("y")
        await ref.terminate_child("y")
        await ref.delete_child("y")
        await ref.reset_budgets()
        assert [info.id for info in ref.which_children()] == ["x"]
        assert ref.count_children().active == 1
        assert ref.state.path == ref.path


async def test_a_reference_stays_valid_when_its_supervisor_is_restarted() -> None:
    """While there is none it answers `NoProc`; afterwards it addresses the new one."""
    play = Play()
    mid = ChildSpec("mid", subtree([play.child("b", gate=True)]))
    async with anyio.create_task_group() as tasks:

        async def open_gate(times: int) -> None:
            await play.saw("start b", times)
            play.open("b")

        tasks.start_soon(open_gate, 1)
        async with Supervisor("root", [mid]) as root:
            ref = root.supervisor("mid")
            await ref.start_child(play.child("extra"))
            await root.terminate_child("mid")
            for ask in (ref.which_children, ref.count_children, lambda: ref.which_child("b"), lambda: ref.state):
                with pytest.raises(NoProc) as caught:
                    ask()
                assert caught.value.path == ("root", "mid")
            with pytest.raises(NoProc):
                await ref.start_child(play.child("extra"))
            tasks.start_soon(root.restart_child, "mid")
            await play.saw("start b", 2)
            assert [info.state for info in ref.which_children()] == ["starting"]
            play.open("b")
            await play.until(lambda: root.which_child("mid").state == "running")
            assert [info.id for info in ref.which_children()] == ["b"]


async def test_what_is_no_supervisor_has_no_calls() -> None:
    """A worker's path and an unknown one answer `NoProc`."""
    play = Play()
    async with Supervisor("root", [play.child("a")]) as root:
        for ids in (("a",), ("nobody",), ("a", "b")):
            with pytest.raises(NoProc):
                root.supervisor(*ids).which_children()


async def test_a_caller_whose_supervisor_is_stopped_is_told_so() -> None:
    """A call under way in a branch that is stopped answers `NoProc`; the rest of the tree goes on."""
    play = Play()
    answers: list[BaseException] = []
    async with Supervisor("root", [play.child("a"), ChildSpec("mid", subtree([]))]) as root, anyio.create_task_group() as tasks:

        async def call() -> None:
            with pytest.raises(NoProc) as caught:
                await root.supervisor("mid").start_child(play.child("b", gate=True))
            answers.append(caught.value)

        tasks.start_soon(call)
        await play.saw("start b")
        await root.terminate_child("mid")
        await anyio.wait_all_tasks_blocked()
        assert len(answers) == 1
        assert root.which_child("a").state == "running"
        assert play.log[-2:] == ["asked b", "end b"]


async def test_a_child_stops_the_supervisor_it_lives_under() -> None:
    """A call upwards from within the branch that it stops cancels its caller and is carried out."""
    play = Play()

    async def rebel() -> None:
        play.note("rebel")
        if play.log.count("rebel") == 1:
            await root.cycle_child("mid", reason="from below")
        await play.rest()

    mid = ChildSpec("mid", subtree([play.child("b"), ChildSpec("rebel", task(rebel)), play.child("c")]))
    root = Supervisor("root", [play.child("a"), mid])
    watched(root, play)
    async with root:
        await play.saw("rebel", 2)
        await play.until(lambda: root.which_child("mid").state == "running")
        assert root.which_child("mid").generation == 2
        assert play.lives == {"a": 1, "b": 2, "c": 2}


async def test_a_group_restart_takes_whole_branches_along() -> None:
    """Under one_for_all a crash beside a branch restarts the branch, in order, at all depths."""
    play = Play()
    mid = ChildSpec("mid", subtree([play.child("b"), play.child("c")]))
    async with Supervisor("root", [mid, play.child("a")], strategy=Strategy.ONE_FOR_ALL):
        play.take()
        play.crash("a")
        await play.saw("up a")
        assert play.take() == ["end a", "asked c", "end c", "asked b", "end b", *("start b", "up b", "start c", "up c", "start a", "up a")]


async def test_a_deep_tree() -> None:
    """Levels cost no recursion that fails: thirty supervisors under each other start, restart their leaf and stop."""
    play = Play()
    spec = play.child("leaf")
    for level in range(30):
        spec = ChildSpec(f"s{level}", subtree([spec]))
    async with Supervisor("root", [spec]) as root:
        play.crash("leaf")
        await play.saw("up leaf", 2)
        path = [f"s{level}" for level in reversed(range(30))]
        assert root.supervisor(*path).which_child("leaf").restarts == 1
        await root.cycle_child("s29")
    assert play.lives["leaf"] == 3
    assert not play.overlap
