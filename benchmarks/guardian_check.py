"""One look of the whole guardian at a leaf: read, told, judged, and the next look planned, for many leaves once a second."""

from __future__ import annotations

import resource
import tempfile
import time
from functools import partial
from typing import Final

import anyio

from supervisor import RunningCommand, Session
from supervisor.edge.signals import StopRequest
from workers.config import Agent, CommandConfig, GuardianRun, MemoryGuardianConfig, MonitoringConfig, RestartPolicy
from workers.guardian import leaves_of, run_guardian
from workers.ledger import Ledger
from workers.policy.pressure import Thresholds
from workers.probe import open_reader

from .figures import Effort, Figure, Peer, Summary

GIB: Final = 1 << 30


def measure(effort: Effort) -> list[Figure]:
    leaves, seconds, times = effort.pick((300, 10, 3), (100, 5, 2), (2, 1, 1))
    figures: list[Figure] = []
    for backend in effort.pick(("trio", "asyncio"), ("trio",), ("trio",)):
        found = [anyio.run(looked, leaves, seconds, backend=backend) for _ in range(times)]
        whole, alone = (Summary.of(each) for each in zip(*found, strict=True))
        name = f"{leaves:,} leaves, once a second, each look, {backend}"
        figures.append(Figure(name, "us", whole, (Peer("the reading alone", alone),)))
    return figures


async def looked(leaves: int, seconds: int) -> tuple[float, float]:
    """Microseconds of a processor for each sample of a leaf that does nothing: all that is done for it, and the reading alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        command, policy = CommandConfig(argv=("sleep", "600"), working_directory=name), RestartPolicy(graceful_timeout=1.0)
        monitoring = MonitoringConfig(normal_interval=1.0)
        config = MemoryGuardianConfig(persist_state=False, command=command, restart_policy=policy, monitoring=monitoring)
        limits = Thresholds(1 * GIB, 2 * GIB, 3 * GIB)
        agents = tuple(Agent(f"leaf-{number}", True, command, limits, policy) for number in range(leaves))
        ledger, stop = Ledger(run := GuardianRun(config, agents, name, None, detached=True), leaves_of(run)), StopRequest()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(run_guardian, ledger, Session(run="0" * 32, backend="", stop=stop), []))
                with anyio.fail_after(120):
                    while not all(leaf.samples >= 2 for leaf in ledger.leaves):  # noqa: ASYNC110
                        await anyio.sleep(0.2)
                await anyio.sleep(min(2, seconds))  # so many looks soon share a wake-up
                before, began = taken(ledger), time.process_time()
                await anyio.sleep(seconds)
                spent, samples = time.process_time() - began, taken(ledger) - before
                alone = await reading(ledger, seconds)
                stop.request()
        finally:
            ledger.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return spent / max(1, samples) * 1e6, alone


def taken(ledger: Ledger) -> int:
    """How many samples there were."""
    return sum(leaf.samples for leaf in ledger.leaves)


async def reading(ledger: Ledger, seconds: int) -> float:
    """Microseconds of a processor for each reading of the same leaves, once a second, while the guardian goes on beside it."""
    handles = [ledger.above(leaf).handle("leaf") for leaf in ledger.leaves]
    running = [handle for handle in handles if isinstance(handle, RunningCommand)]
    readers = [open_reader(leaf.process_id, None, None if leaf.group is None else leaf.group.memory) for leaf in running]
    spent = 0.0
    try:
        for again in range(seconds + 1):
            began = time.process_time()
            for reader in readers:
                reader.read(0.0, refresh=not again)
            spent += time.process_time() - began if again else 0.0
            await anyio.sleep(1)
    finally:
        for reader in readers:
            reader.close()
    return spent / seconds / len(readers) * 1e6
