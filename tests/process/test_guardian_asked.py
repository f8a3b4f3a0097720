"""What a guardian answers that knows more than a short run can show: asked in this process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from supervisor import ControlRefused, RestartRefused
from workers.control import GuardianControl
from workers.event import RestartCompleted
from workers.policy.decide import Phase
from workers.policy.pressure import MemoryState
from workers.policy.workload import Workload

from ..support import eventually
from .guardian_inside import LOW, MIB, OFTEN, Inside, inside

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


async def asked(run: Inside, method: str, **given: Any) -> Any:
    """The answer of a method."""
    return await GuardianControl(run.ledger).methods()[method].function(**given)


def leaking(peak: int) -> Workload:
    """Ten minutes of a leaf that began with 100 MiB and grew by a MiB a second."""
    workload = Workload()
    for second in range(0, 600, 10):
        workload = workload.saw((100 + second) * MIB, float(second), 0.0 if second < 60 else float(MIB))
    return attrs.evolve(workload, peak_bytes=max(workload.peak_bytes, peak))


async def test_a_suggestion_is_the_workload_s(tmp_path: Path) -> None:
    """What was observed of the leaf, and not what is configured, says which thresholds; the words are those of the suggestion."""
    async with inside(tmp_path, "stay", monitoring=attrs.evolve(OFTEN, normal_interval=1000.0)) as run:
        await eventually(lambda: run.leaf.samples > 0, 20)
        run.leaf.workload = leaking(800 * MIB)
        expected = run.ledger.suggestion(run.leaf)
        assert expected is not None
        told = await asked(run, "suggest", path=None)
        assert list(told) == ["actor"]
        assert told == await asked(run, "suggest", path=("actor",))
        assert told["actor"]["suggested"] == {
            f"{level.value}_bytes": expected.thresholds.enter_bytes(level) for level in MemoryState if level is not MemoryState.NORMAL
        }
        assert told["actor"]["configured"]["critical_bytes"] == LOW.critical_bytes
        assert told["actor"]["faults"] and any("as configured" in line for line in told["actor"]["words"])
        assert told["actor"]["words"] == expected.lines()
        assert told["actor"]["observed"] == {"seconds": 590.0, "samples": 60}
        with pytest.raises(ControlRefused, match="no agent is called 'actress'"):
            await asked(run, "suggest", path=("actress",))


async def test_a_second_restart_waits_for_what_the_first_has_brought(tmp_path: Path) -> None:
    """Until the new life's first sample it is refused in words that a person understands, and with the time that is left."""
    async with inside(tmp_path, "stay") as run:
        control, leaf = GuardianControl(run.ledger), run.leaf
        assert await control.restart(leaf.path, "first")
        await eventually(lambda: leaf.guard.phase is Phase.JUDGING, 20)
        with pytest.raises(RestartRefused, match="it was restarted a moment ago, and the first sample has to say") as refusal:
            await control.restart(leaf.path, "second")
        assert refusal.value.retry_in is None or refusal.value.retry_in < 5
        await run.wait(RestartCompleted, "leaf")
        assert await control.restart(leaf.path, "second")
