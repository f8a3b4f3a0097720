"""Of all leaves together only so many restart at the same time: with real memory."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import pytest

from supervisor import ChildRestarting, ChildStarted
from workers.event import RestartCompleted, RestartInitiated
from workers.policy import decide
from workers.policy.pressure import MemoryState

from ..support import eventually
from .guardian_inside import OFTEN, Inside, inside

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

SMALL = ("grow:70", "stay", "/", "stay")
LARGE = ("grow:110", "stay", "/", "stay")


def begun(run: Inside) -> list[str]:
    """The agents whose restarts began, in order."""
    return [event.path[2] for event in run.of(RestartInitiated)]


def overlaps(run: Inside) -> int:
    """How many restarts were under way at the same time, at most: from their beginning until the new life is up."""
    most = now = 0
    for record in run.records:
        is_up = isinstance(record.event, ChildStarted) and record.event.path[-1] == "leaf" and record.event.generation == 2
        now += (type(record.event) is RestartInitiated) - is_up
        most = max(most, now)
    return most


async def asked(run: Inside, count: int) -> None:
    """Wait until so many leaves have a restart that is asked for."""
    phase = decide.Phase.ASKED
    await eventually(lambda: sum(leaf.guard.phase is phase for leaf in run.ledger.leaves) == count, 20, what="restarts that wait")


async def test_the_larger_of_two_goes_first_and_the_other_waits_for_it(tmp_path: Path) -> None:
    """Both are critical at once; where one restart is let through at a time they do not overlap, and each happens."""
    async with inside(tmp_path, *SMALL, others={"large": LARGE}) as run:
        assert run.ledger.turns is not None
        with run.ledger.turns.join(run.leaf) as other:  # somebody else's restart is under way
            run.ledger.turns.grant()
            assert await other.come()
            await asked(run, 2)
            assert not run.of(RestartInitiated)
            assert [run.ledger.turns.ahead(leaf) for leaf in run.ledger.leaves] == [2, 1]
        await run.wait(RestartCompleted, count=2)
        assert begun(run) == ["large", "actor"] and overlaps(run) == 1
        assert [leaf.guard.generation for leaf in run.ledger.leaves] == [2, 2]


async def test_more_may_be_let_through(tmp_path: Path) -> None:
    """With 0 nobody waits."""
    async with inside(tmp_path, *SMALL, others={"large": LARGE}, monitoring=attrs.evolve(OFTEN, restarts_at_once=0)) as run:
        assert run.ledger.turns is not None
        with run.ledger.turns.join(run.leaf):
            await run.wait(RestartCompleted, count=2)


async def test_an_emergency_waits_for_nobody(tmp_path: Path) -> None:
    """A restart that waits is asked for anew as an urgent one as soon as the leaf is in an emergency, and goes beyond the limit."""
    async with inside(tmp_path, "grow:70", "await:go", "grow:950", "stay", "/", "stay") as run:
        assert run.ledger.turns is not None
        with run.ledger.turns.join(run.leaf) as other:
            run.ledger.turns.grant()
            assert await other.come()
            await asked(run, 1)
            run.touch("go")
            done = await run.wait(RestartInitiated)
            assert done.urgent and done.level is MemoryState.EMERGENCY
            await run.wait(RestartCompleted)


async def test_a_leaf_that_ends_while_it_waits_is_not_restarted_for_what_it_weighed(tmp_path: Path) -> None:
    """The new life is not the one that was too large: the restart is withdrawn, and nothing failed."""
    async with inside(tmp_path, "grow:70", "await:go", "signal:KILL", "/", "stay") as run:
        assert run.ledger.turns is not None
        with run.ledger.turns.join(run.leaf) as other:
            run.ledger.turns.grant()
            assert await other.come()
            await asked(run, 1)
            run.touch("go")
            await eventually(lambda: run.leaf.guard.generation == 2 and run.leaf.guard.phase is decide.Phase.WATCHING, 20)
            assert run.ledger.turns.ahead(run.leaf) is None
        samples = run.leaf.samples
        await eventually(lambda: run.leaf.samples > samples + 3, 20)
        assert not run.of(RestartInitiated)


async def test_who_asks_for_a_restart_waits_for_the_turn_too(tmp_path: Path) -> None:
    """The answer comes when it is over; that one is under way already is an answer at once."""
    from workers.ledger import RestartRequest

    async with inside(tmp_path, "stay") as run:
        assert run.ledger.turns is not None
        await eventually(lambda: run.leaf.samples > 0, 20)
        request = RestartRequest(run.leaf, "wanted")
        with run.ledger.turns.join(run.leaf) as other:
            run.ledger.turns.grant()
            assert await other.come()
            run.ledger.restarts.put(request)
            await eventually(lambda: run.ledger.turns is not None and run.ledger.turns.ahead(run.leaf) == 1, 20)
            assert not request.done.is_set()
        await request.done.wait()
        assert request.error is None and run.leaf.guard.generation == 2
        await run.wait(RestartCompleted)
        run.leaf.guard = attrs.evolve(run.leaf.guard, phase=decide.Phase.RESTARTING)
        run.ledger.restarts.put(request := RestartRequest(run.leaf, "again"))
        await request.done.wait()
        assert isinstance(request.error, ChildRestarting)
