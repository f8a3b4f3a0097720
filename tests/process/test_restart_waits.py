"""What a restart waits for: the end of a turn, also when somebody asks for it, and a person who presses keys. With real memory."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import attrs
import pytest

from supervisor import RestartDeferred
from workers.claude.shown import COARSE, QUIET, pressed_within
from workers.event import RestartCompleted, RestartInitiated, RestartRefused
from workers.ledger import RestartRequest
from workers.policy import decide

from ..support import eventually
from .guardian_inside import OFTEN, Inside, inside

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]
SOON = attrs.evolve(OFTEN, critical_grace=0.3)


async def in_turn(run: Inside, turn: bool) -> None:
    """Have the leaf begin or end a turn."""
    run.ledger.tell(run.leaf, decide.IdleChanged(not turn))
    await eventually(lambda: run.leaf.guard.idle is not turn, 20)


async def asked(run: Inside, *, at_once: bool = False) -> RestartRequest:
    """Ask for a restart."""
    request = RestartRequest(run.leaf, "new tools", at_once=at_once)
    run.ledger.restarts.put(request)
    return request


async def test_a_restart_that_is_asked_for_waits_for_the_end_of_the_turn(tmp_path: Path) -> None:
    """It says so, and happens when the turn is over; what is asked for in between of other turns does not come in its way."""
    async with inside(tmp_path, "stay") as run:
        await in_turn(run, True)
        request = await asked(run)
        deferred = await run.wait(RestartDeferred)
        assert deferred.controlled and deferred.remaining == OFTEN.critical_grace and "end of the turn" in deferred.reason
        samples = run.leaf.samples
        await eventually(lambda: run.leaf.samples > samples + 3, 20)
        assert not run.of(RestartInitiated) and not request.done.is_set()
        await in_turn(run, False)
        await request.done.wait()
        assert request.error is None and run.leaf.guard.generation == 2
        await run.wait(RestartCompleted)


async def test_it_waits_no_longer_than_one_for_memory(tmp_path: Path) -> None:
    """A turn that does not end is cut after `critical_grace`."""
    async with inside(tmp_path, "stay", monitoring=SOON) as run:
        await in_turn(run, True)
        request = await asked(run)
        await request.done.wait()
        assert request.error is None and run.leaf.guard.generation == 2 and run.of(RestartDeferred)


async def test_it_need_not_wait(tmp_path: Path) -> None:
    """Between turns there is nothing to wait for, and whoever says so waits for nothing; neither says that it waits."""
    async with inside(tmp_path, "stay") as run:
        await eventually(lambda: run.leaf.samples > 0, 20)
        for turn, generation in ((False, 2), (True, 3)):
            await in_turn(run, turn)
            request = await asked(run, at_once=turn)
            await request.done.wait()
            assert request.error is None and run.leaf.guard.generation == generation
            await run.wait(RestartCompleted, count=generation - 1)
        assert not run.of(RestartDeferred)


@pytest.mark.parametrize("missing", ["working directory", "command"])
async def test_a_life_is_not_ended_when_no_other_could_start(missing: str, tmp_path: Path) -> None:
    """Neither for whoever asks nor for its memory; it goes on, and says why."""
    async with inside(tmp_path, "await:go", "grow:80", "stay") as run:
        whole = run.leaf.agent
        gone = (
            {"working_directory": str(tmp_path / "gone")} if missing == "working directory" else {"argv": ("./gone", *whole.command.argv)}
        )
        run.leaf.agent = attrs.evolve(whole, command=attrs.evolve(whole.command, **gone))
        request = await asked(run)
        await request.done.wait()
        assert f"the {missing}" in str(request.error) and str(request.error).endswith("is gone")
        run.touch("go")
        refused = await run.wait(RestartRefused)
        assert f"the {missing}" in refused.reason and refused.retry_in is not None
        assert run.leaf.guard.alive and run.leaf.guard.generation == 1 and not run.of(RestartInitiated)


async def test_an_end_while_it_waits_is_an_answer(tmp_path: Path) -> None:
    """A leaf that is gone by then is not restarted, and whoever has asked is told."""
    async with inside(tmp_path, "await:go", "exit:0", others={"other": ("stay",)}) as run:
        await in_turn(run, True)
        request = await asked(run)
        await run.wait(RestartDeferred)
        run.touch("go")
        await request.done.wait()
        assert request.error is not None and not run.of(RestartInitiated)


async def test_who_types_is_not_interrupted(tmp_path: Path) -> None:
    """A restart that is due waits while keys are pressed, and follows when they are not any more."""
    typing = True
    async with inside(tmp_path, "await:go", "grow:70", "stay", "/", "stay") as run:
        run.leaf.is_typed = lambda: typing
        run.touch("go")
        await eventually(lambda: run.leaf.guard.due_since is not None, 20)
        samples = run.leaf.samples
        await eventually(lambda: run.leaf.samples > samples + 3, 20)
        assert run.leaf.typed and not run.leaf.guard.idle and not run.leaf.in_turn and not run.of(RestartInitiated)
        typing = False
        await run.wait(RestartCompleted)
        assert not run.leaf.typed


async def test_who_types_for_ever_is(tmp_path: Path) -> None:
    """After `critical_grace`, as in a turn."""
    async with inside(tmp_path, "await:go", "grow:70", "stay", "/", "stay", monitoring=SOON) as run:
        run.leaf.is_typed = lambda: True
        run.touch("go")
        await run.wait(RestartInitiated)


async def test_who_types_while_a_turn_ends_is_not_interrupted(tmp_path: Path) -> None:
    """The next prompt, typed while the turn before lasts, which a due restart waits for; the next turn is one like any other."""
    typing = True
    async with inside(tmp_path, "await:go", "grow:70", "stay", "/", "stay") as run:
        run.leaf.is_typed = lambda: typing
        await in_turn(run, True)
        run.touch("go")
        await eventually(lambda: run.leaf.guard.due_since is not None, 20)
        assert not run.leaf.typed
        run.ledger.tell(run.leaf, decide.IdleChanged(True))
        await eventually(lambda: run.leaf.typed, 20)
        assert not run.leaf.guard.idle and not run.of(RestartInitiated)
        await in_turn(run, True)
        await eventually(lambda: not run.leaf.typed, 20)
        assert run.leaf.in_turn
        typing = False
        samples = run.leaf.samples
        await eventually(lambda: run.leaf.samples > samples + 3, 20)
        assert not run.of(RestartInitiated)
        run.ledger.tell(run.leaf, decide.IdleChanged(True))
        await run.wait(RestartCompleted)


async def test_an_emergency_does_not_wait_for_keys(tmp_path: Path) -> None:
    """Nor for anything else."""
    async with inside(tmp_path, "await:go", "grow:950", "stay", "/", "stay") as run:
        run.leaf.is_typed = lambda: True
        run.touch("go")
        assert (await run.wait(RestartInitiated)).urgent


def test_keys_are_seen_where_they_are_read() -> None:
    """By the time that the kernel keeps of a terminal, coarsely; elsewhere nothing is seen."""
    keys, line = os.openpty()
    try:
        name, now = os.ttyname(line), time.time()
        os.utime(name, (now - 3600, now - 3600))
        assert not pressed_within(line, QUIET, now)
        os.write(keys, b"x\n")
        os.read(line, 10)
        assert pressed_within(line, QUIET, time.time())
        assert not pressed_within(line, QUIET, time.time() + QUIET + COARSE + 1)
        reader, writer = os.pipe()
        os.close(writer)
        assert not pressed_within(reader, QUIET, now)
        os.close(reader)
        assert not pressed_within(reader, QUIET, now)
    finally:
        os.close(keys)
        os.close(line)
