"""A running tree as a value: every depth, every state, one moment."""

from __future__ import annotations

import os

import pytest

from supervisor import Backoff, ChildSpec, CircuitState, NoProc, Record, Restart, Strategy, Supervisor, TreeInfo, dynamic, render, subtree
from tests.play import Play, in_retry_loop

pytestmark = pytest.mark.anyio


@pytest.fixture
def play() -> Play:
    """Children that do as told."""
    return Play()


def flat(info: TreeInfo) -> list[TreeInfo]:
    """A tree as a list, parents before their children."""
    children = info.supervisor.children if info.supervisor is not None else ()
    return [info, *(row for child in children for row in flat(child))]


async def test_a_tree_at_all_depths(play: Play) -> None:
    """Ids and paths in start order, what runs and for how long, and for supervisors what is left."""
    inner = subtree([play.child("x"), play.child("y", restart=Restart.TEMPORARY)], strategy=Strategy.REST_FOR_ONE, intensity=4, period=9.0)
    async with Supervisor("root", [play.child("a"), ChildSpec("inner", inner), ChildSpec("many", dynamic(max_children=7))]) as root:
        await root.supervisor("many").start_child(play.child("w"))
        play.crash("x")
        await play.saw("up x", 2)
        info = root.tree()
    rows = flat(info)
    assert ["/".join(row.path) for row in rows] == [
        "root",
        "root/a",
        "root/inner",
        "root/inner/x",
        "root/many",
        "root/many/w",
    ]
    assert {row.state for row in rows} == {"running"}
    assert {row.status for row in rows} == {None}
    assert all(row.uptime is not None and row.uptime >= 0 for row in rows)
    assert [row.restarts for row in rows] == [0, 0, 0, 1, 0, 0]
    assert [row.generation for row in rows] == [1, 1, 1, 2, 1, 1]
    assert info.spec is None and rows[1].spec is not None and rows[1].spec.id == "a"
    assert rows[1].supervisor is None
    at = rows[2].supervisor
    assert at is not None
    assert (at.strategy, at.intensity, at.period, at.restarts_left, at.cycles_left) == (Strategy.REST_FOR_ONE, 4, 9.0, 3, 4)
    assert (at.circuit, at.reopens_in) == (CircuitState.CLOSED, None)
    many = rows[4].supervisor
    assert many is not None and many.max_children == 7


async def test_a_part_of_a_tree_is_as_its_own_supervisor_knows_it(play: Play) -> None:
    """With its restarts and its specification; the rest is not there."""
    root = Supervisor("root", [ChildSpec("inner", subtree([play.child("x")], intensity=0)), play.child("a")], intensity=3)
    async with root:
        play.crash("x")
        await play.saw("up x", 2)
        info = root.supervisor("inner").tree()
    assert [row.path for row in flat(info)] == [("root", "inner"), ("root", "inner", "x")]
    assert (info.path, info.restarts, info.generation) == (("root", "inner"), 1, 2)
    assert info.spec is not None and info.spec.id == "inner"


async def test_what_does_not_run_says_why(play: Play) -> None:
    """Terminated, and waiting for a restart; a supervisor that does not run has no children."""
    inner = ChildSpec("inner", subtree([play.child("x")]))
    root = Supervisor(
        "root", [play.child("a"), play.child("b"), inner], intensity=9, period=3600.0, backoff=Backoff(1000.0, maximum=1000.0)
    )
    async with root:
        play.crash("b")
        await play.saw("up b", 2)
        await in_retry_loop(play, root, "b")
        await root.terminate_child("a")
        await root.terminate_child("inner")
        top = root.tree()
        text = render(root, width=79)
        assert top.supervisor is not None
        a, b, down = top.supervisor.children
    assert (a.state, a.uptime, a.retry_in, a.exit is not None) == ("undefined", None, None, True)
    assert b.state == "restarting" and b.retry_in is not None and 0 < b.retry_in <= 1000
    assert b.exit is not None and b.exit.reason == "Crash: b"
    assert (down.state, down.supervisor) == ("undefined", None)
    assert [line.split()[1 if number == 0 else 2] for number, line in enumerate(text.splitlines()[1:])] == [
        "running",
        "undefined",
        "restarting",
        "undefined",
    ]


async def test_a_tree_that_starts_or_stops_says_so(play: Play) -> None:
    """The root's own state is its lifecycle; what a step has decided is so when its events are told."""
    seen: list[str] = []
    root = Supervisor("root", [play.child("a"), play.child("b")])

    def look(record: Record) -> None:
        try:
            seen.append(f"{record.event.name} {root.tree().state}")
        except NoProc:
            seen.append(f"{record.event.name} gone")

    root.add_sink(look)
    async with root:
        assert root.tree().state == "running"
    assert seen == ["child_started starting", "child_started running", "child_exited stopping", "child_exited gone"]


async def test_no_tree_where_none_runs(play: Play) -> None:
    """Before, after, and at a path where there is no supervisor."""
    root = Supervisor("root", [play.child("a")])
    with pytest.raises(NoProc):
        root.tree()
    async with root:
        with pytest.raises(NoProc):
            render(root.supervisor("a"))
    with pytest.raises(NoProc):
        render(root)


async def test_a_process_has_its_pid(play: Play) -> None:
    """Of a command."""
    from supervisor import command

    async with Supervisor("root", [ChildSpec("sleep", command("sleep", "60"))]) as root:
        info = root.tree()
        assert info.supervisor is not None
        (child,) = info.supervisor.children
        assert child.pid is not None
        os.kill(child.pid, 0)
        assert str(child.pid) in render(info)
