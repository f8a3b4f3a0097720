"""Workers whose event loop is stuck, and children that ask for time; on both event loops."""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

import anyio
import pytest

from supervisor import ChildSpec, ExitKind, InvalidField, NotAChild, Restart, extend_timeout, subtree, task, worker
from supervisor.leaf import link

from ..children import working
from ..support import eventually
from .worker_support import child, exits, methods, tree

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="the fork server needs Linux")]


def watched(function: str, method: str, *, watchdog: float | None = None, **fields: Any) -> ChildSpec:
    """A worker of children/working.py that is watched."""
    launch: Any = worker(f"tests.children.working:{function}", start_method=method, watchdog=watchdog)  # type: ignore[arg-type]
    return ChildSpec("child", launch, restart=Restart.TEMPORARY, **fields)


@methods
async def test_a_worker_whose_loop_is_stuck_is_killed(method: str, capfd: pytest.CaptureFixture[str]) -> None:
    """As a silent command is; and it says where it was stuck."""
    async with tree(watched("sticks", method, watchdog=0.5)) as seen:
        await seen.root.call("child", "add", 1, 2)
        with anyio.move_on_after(0):
            await seen.root.call("child", "stick", timeout=60)
        (exit,) = await eventually(lambda: exits(seen))
        assert (exit.kind, exit.reason, exit.signal) == (ExitKind.ABNORMAL, "watchdog: no message within 0.5 s", signal.SIGABRT)
    said = capfd.readouterr().err
    assert "Fatal Python error: Aborted" in said and " in stick\n" in said


@methods
async def test_a_worker_whose_loop_runs_lives(method: str) -> None:
    """Before it is up, while it works, and when it is asked to end, it is not watched, heard, and not watched."""
    async with tree(watched("slow", method, watchdog=0.4, shutdown=10.0)) as seen:
        await anyio.sleep(1.0)  # that it is not killed can only be seen by waiting
        assert exits(seen) == []
    assert [(exit.kind, exit.signal) for exit in exits(seen)] == [(ExitKind.SHUTDOWN, None)]


async def test_a_supervisor_whose_process_is_stuck_is_killed() -> None:
    """The watchdog of a subtree in a process of its own."""
    launch = worker(subtree([ChildSpec("deep", task(working.sticks))]), watchdog=0.5)
    async with tree(ChildSpec("child", launch, restart=Restart.TEMPORARY)) as seen:
        with anyio.move_on_after(0.1):
            await seen.root.supervisor("child").call("deep", "stick", timeout=60)
        (exit,) = await eventually(lambda: [exit for exit in exits(seen) if exit.kind is ExitKind.ABNORMAL])
        assert (exit.reason, exit.signal) == ("watchdog: no message within 0.5 s", signal.SIGABRT)


async def test_a_worker_that_asked_for_time_may_be_silent_so_long() -> None:
    """The watchdog waits for it as well."""
    async with tree(watched("absorbed", "auto", watchdog=0.5)) as seen:
        (exit,) = await eventually(lambda: exits(seen))
        assert exit.kind is ExitKind.NORMAL


async def test_a_worker_that_has_said_how_it_ends_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of it is ended in its own time, and its word stands."""
    monkeypatch.setattr(link, "LINGER", 1.5)
    async with tree(watched("lingers", "auto", watchdog=0.3)) as seen:
        (exit,) = await eventually(lambda: exits(seen))
        assert exit.kind is ExitKind.NORMAL


async def test_what_a_worker_said_while_we_were_busy_is_heard_first() -> None:
    """A sign of life that lies unread when its time is over was given."""
    async with tree(watched("up", "auto", watchdog=2.0)) as seen:
        handle: Any = seen.root.handle("child")
        dog = handle._link._watchdog
        time.sleep(dog.deadline - anyio.current_time() + 0.1)  # noqa: ASYNC251
        await anyio.sleep(0.5)  # that it is not killed can only be seen by waiting
        assert handle._running._verdict is None and exits(seen) == []


@methods
async def test_a_stuck_worker_that_floods_is_silent_all_the_same(method: str) -> None:
    """What a thread of it says is no sign of life."""
    async with tree(watched("chatters", method, watchdog=0.5)) as seen:
        (exit,) = await eventually(lambda: exits(seen))
        assert exit.reason == "watchdog: no message within 0.5 s"


async def test_a_worker_can_ask_for_time() -> None:
    """To start and to end, as a command can."""
    async with tree(child("up", id="other")) as seen:
        await seen.root.start_child(child("patient", 1.5, start_timeout=1.0, shutdown=1.0))
        assert seen.root.which_child("child").state == "running"
    assert [exit.kind for exit in exits(seen)] == [ExitKind.SHUTDOWN] * 2


async def test_a_task_can_ask_for_time() -> None:
    """The same function."""
    async with tree(ChildSpec("child", task(working.patient, 0.3), start_timeout=0.1, shutdown=0.1)) as seen:
        assert seen.root.which_child("child").state == "running"
    assert [exit.kind for exit in exits(seen)] == [ExitKind.SHUTDOWN]


async def test_time_is_asked_for_by_children_alone() -> None:
    """And it is a time."""
    with pytest.raises(NotAChild):
        extend_timeout(1.0)
    with pytest.raises(InvalidField, match="seconds"):
        extend_timeout(-1.0)
