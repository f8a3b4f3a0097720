"""When the host is looked at: seldom while nothing happens, and at once when the kernel says that memory gets short."""

from __future__ import annotations

import math
import sys

import anyio
import pytest

from supervisor import ChildSpec, Size, Supervisor, task
from workers.config import Agent, CommandConfig, GuardianRun, HealthConfig, MemoryGuardianConfig, RestartPolicy
from workers.health.host_watch import CALM, host_watch
from workers.ledger import Ledger
from workers.policy.pressure import Thresholds

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


async def test_the_memory_of_the_host_is_looked_at_in_time() -> None:
    """Far more often than all of it, for the first fall comes without a warning; and when somebody waits for memory, now."""
    least = Size(amount_bytes=1)
    health = HealthConfig(interval=600.0, host_warning=least, host_critical=least, host_emergency=least)
    config = MemoryGuardianConfig(health=health)
    run = GuardianRun(config, (Agent("a", True, CommandConfig(), Thresholds(1, 2, 3), RestartPolicy()),), "", None)
    ledger = Ledger(run, [])
    began = anyio.current_time()

    def at() -> float:
        """When the latest look was."""
        return -math.inf if ledger.host is None else ledger.host.at - began

    ledger.tree = Supervisor("guardian", [ChildSpec("host", task(host_watch, ledger))])
    async with ledger.tree:
        await anyio.sleep(102.0)
        assert 102.0 - CALM <= at() <= 102.0
        before = at()
        await anyio.sleep(1.0)
        assert at() == before
        ledger.strained()
        await anyio.sleep(0.1)
        assert at() == pytest.approx(103.0, abs=0.01)
    ledger.close()
