"""A restart between two turns, where somebody can put off the next one: who is told what, and when the restart comes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from supervisor import ChildStarted, RestartRefused
from supervisor.leaf.command import Command
from workers.config import Agent, CommandConfig, GuardianRun, MemoryGuardianConfig, RestartPolicy
from workers.event import RestartCompleted, RestartInitiated
from workers.guardian import leaf_spec_of, leaves_of
from workers.ledger import Ledger, RestartRequest
from workers.policy import decide

from ..support import eventually
from .guardian_inside import LOW, inside

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")]


async def test_the_next_turn_is_put_off_until_the_restart_is_done(tmp_path: Path) -> None:
    """From when it is due; it comes with the end of the present turn, and a life that begins busy is not idle."""
    async with inside(tmp_path, "await:on", "grow:80", "stay", "/", "stay") as run:
        put_off: list[bool] = []
        run.leaf.is_busy, run.leaf.on_due = lambda: True, put_off.append
        run.ledger.tell(run.leaf, decide.IdleChanged(False))
        await eventually(lambda: not run.leaf.guard.idle)
        run.touch("on")
        await eventually(lambda: put_off[-1:] == [True])
        assert not run.of(RestartInitiated)
        run.ledger.tell(run.leaf, decide.IdleChanged(True))
        await run.wait(RestartCompleted)
        await eventually(lambda: not put_off[-1])
        assert not run.leaf.guard.idle and len(run.pids()) == 2


async def test_who_asks_for_a_restart_waits_for_the_turn(tmp_path: Path) -> None:
    """And no turn begins meanwhile; what is refused puts off nothing any more."""
    async with inside(tmp_path, "stay", "/", "stay") as run:
        put_off: list[bool] = []
        busy = [True]
        run.leaf.is_busy, run.leaf.on_due = lambda: busy[0], put_off.append
        run.ledger.tell(run.leaf, decide.IdleChanged(False))
        await eventually(lambda: not run.leaf.guard.idle)
        request = RestartRequest(run.leaf, "somebody asks")
        run.ledger.restarts.put(request)
        await eventually(lambda: put_off[-1:] == [True])
        samples = run.leaf.samples
        await eventually(lambda: run.leaf.samples > samples + 3)
        assert put_off[-1] and not request.done.is_set() and not run.of(RestartInitiated)
        busy[0] = False
        run.ledger.tell(run.leaf, decide.IdleChanged(True))
        await request.done.wait()
        await run.wait(ChildStarted, "leaf", count=2)
        assert request.error is None
        await eventually(lambda: not put_off[-1])
        again = RestartRequest(run.leaf, "once more, while the first one is not judged")
        run.ledger.restarts.put(again)
        await again.done.wait()
        assert again.error is None or isinstance(again.error, RestartRefused)
        await eventually(lambda: not put_off[-1])


@pytest.mark.parametrize("reads", [True, False])
async def test_what_we_read_ourselves_nobody_else_reads(tmp_path: Path, reads: bool) -> None:
    """Two readers of one input would share out its lines between them; while we read none, agents have it as it is."""
    command = CommandConfig(argv=("x",), working_directory=str(tmp_path))
    agents = tuple(Agent(name, True, command, LOW, RestartPolicy()) for name in ("first", "second"))
    run = GuardianRun(MemoryGuardianConfig(), agents, str(tmp_path), None)
    ledger = Ledger(run, leaves_of(run))
    first, second = ledger.leaves
    second.has_terminal, ledger.reads = False, reads
    inputs = [leaf_spec_of(ledger, leaf).start for leaf in (first, second)]
    ledger.close()
    assert [one.stdin for one in inputs if isinstance(one, Command)] == ["inherit", "null" if reads else "inherit"]
