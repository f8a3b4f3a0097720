"""A launch before each life of which something is done that takes its time."""

from __future__ import annotations

import sys

import anyio
import pytest

from supervisor import AbnormalExit, ChildSpec, InvalidField, Restart, RunningCommand, StartFailed, Supervisor, command, prepared

from ..support import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="runs a POSIX shell")]
SLEEP = command("sleep", "60", abnormal=AbnormalExit.CRASH)


async def test_it_is_done_before_each_life() -> None:
    """The child is starting meanwhile, and then what was launched: with its process, which ends when it is asked to."""
    done: list[str] = []

    async def before() -> None:
        await anyio.lowlevel.checkpoint()
        done.append("prepared")

    async with Supervisor("root", [ChildSpec("a", prepared(SLEEP, before), restart=Restart.PERMANENT)]) as root:
        handle = root.handle("a")
        assert isinstance(handle, RunningCommand) and root.which_child("a").pid == handle.pid and done == ["prepared"]
        handle.kill()
        await eventually(lambda: root.which_child("a").generation == 2 and root.which_child("a").state == "running")
        assert done == ["prepared"] * 2 and root.which_child("a").pid != handle.pid
        await root.terminate_child("a")
        assert root.which_child("a").state == "undefined"


async def test_what_fails_is_a_failed_start() -> None:
    """Be it the preparation, or the launch behind it."""

    async def broken() -> None:
        raise LookupError("nothing there")

    async def fine() -> None:
        """Nothing to be done."""

    async with Supervisor("root", []) as root:
        with pytest.raises(StartFailed, match="nothing there"):
            await root.start_child(ChildSpec("a", prepared(SLEEP, broken)))
        with pytest.raises(StartFailed, match="no-such-program"):
            await root.start_child(ChildSpec("b", prepared(command("/no-such-program"), fine)))


async def test_who_is_to_end_meanwhile_has_no_life() -> None:
    """As when its start takes too long: what is being done is cancelled, and nothing is launched."""
    ended: list[str] = []

    async def slow() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("slow")

    async with Supervisor("root", []) as root:
        with pytest.raises(StartFailed):
            await root.start_child(ChildSpec("a", prepared(SLEEP, slow), start_timeout=0.05))
        assert ended == ["slow"] and not root.which_children()


async def test_who_is_to_end_in_the_last_moment_has_no_life() -> None:
    """When what was to be done has just been done, and cannot be cancelled any more."""
    done: list[str] = []

    async def before() -> None:
        with anyio.CancelScope(shield=True):
            handle = root.handle("a")
            assert handle is not None
            handle.terminate()
            await anyio.lowlevel.checkpoint()
        done.append("prepared")

    async with Supervisor("root", []) as root:
        with pytest.raises(StartFailed):
            await root.start_child(ChildSpec("a", prepared(SLEEP, before), restart=Restart.TEMPORARY))
        assert done == ["prepared"] and not root.which_children()


def test_its_arguments_are_looked_at() -> None:
    """Where they are given, not where they are used."""
    with pytest.raises(InvalidField, match="launch"):
        prepared("sleep", anyio.sleep_forever)  # type: ignore[arg-type]
    with pytest.raises(InvalidField, match="before"):
        prepared(SLEEP, None)  # type: ignore[arg-type]
    again = prepared(SLEEP, anyio.sleep_forever)
    assert (again.type, again.kill_timeout, again.describe()) == (SLEEP.type, SLEEP.kill_timeout, SLEEP.describe())
