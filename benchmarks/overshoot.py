"""How far a program that grows at a steady rate is past a threshold when the guardian knows, by events and by looking."""

from __future__ import annotations

import mmap
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from supervisor import Record, Session
from supervisor.edge.signals import StopRequest
from workers.config import (
    Agent,
    CommandConfig,
    GuardianRun,
    Isolation,
    MemoryGuardianConfig,
    MonitoringConfig,
    RestartPolicy,
    WorkersConfig,
)
from workers.event import MemoryLevelChanged
from workers.guardian import leaves_of, run_guardian
from workers.ledger import Ledger
from workers.policy.pressure import Thresholds

from .figures import Effort, Figure, Peer, Summary, at_most

MIB: Final = 1 << 20
THRESHOLD: Final = 64
"""MiB."""

GROWING: Final = r"""
import mmap, os, sys, time
rate, most, begin, told = float(sys.argv[1]) * 1e6, int(sys.argv[2]) << 20, sys.argv[3], sys.argv[4]
file = os.open(told, os.O_RDWR)
count = mmap.mmap(file, 16)
block = mmap.mmap(-1, most, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
block.madvise(mmap.MADV_NOHUGEPAGE)
while not os.path.exists(begin):
    time.sleep(0.005)
# what it weighs itself counts as well
pages = open("/proc/self/statm").read().split()
count[8:] = ((int(pages[1]) - int(pages[2])) * mmap.PAGESIZE).to_bytes(8, "little")
began, done = time.monotonic(), 0
while done < most:
    due = min(most, int((time.monotonic() - began) * rate))
    while done < due:
        block[done] = 1
        done += 4096
        count[:8] = done.to_bytes(8, "little")
    time.sleep(0.0002)
time.sleep(30)
"""


def measure(effort: Effort) -> list[Figure]:
    figures = []
    for rate in effort.pick((20, 200, 1000), (20, 200, 1000), (200,)):
        times = effort.pick(15, 5, 1)
        told = [overshoot(rate, events=True) for _ in range(times)]
        apart = [overshoot(rate, events=True, isolation=Isolation.PROCESS) for _ in range(times)]
        looked = [overshoot(rate, events=False) for _ in range(times)]
        target = at_most(1, "MB") if rate == 200 else None
        peers = (Peer("with the probe in a process of its own", Summary.of(apart)), Peer("ten looks a second", Summary.of(looked)))
        figures.append(Figure(f"past the threshold at {rate:,} MB/s, told by the kernel", "MB", Summary.of(told), peers, target))
    return figures


def overshoot(rate: int, *, events: bool, isolation: Isolation = Isolation.TASK) -> float:
    """MB that the program has touched past the threshold when the level changes."""
    return anyio.run(_overshoot, rate, events, isolation, backend="trio")


@contextmanager
def counter(path: Path) -> Iterator[mmap.mmap]:
    """Two numbers in a file that the program shares with us: how much it has touched, and what it weighs without that."""
    with path.open("w+b") as file:
        file.truncate(16)
        with mmap.mmap(file.fileno(), 16) as shared:
            yield shared


async def _overshoot(rate: int, events: bool, isolation: Isolation) -> float:
    with tempfile.TemporaryDirectory() as name, counter(Path(name, "count")) as count:
        folder = Path(name)
        most = THRESHOLD + max(64, rate // 2)
        argv = (sys.executable, "-S", "-E", "-c", GROWING, str(rate), str(most), str(folder / "begin"), str(folder / "count"))
        command = CommandConfig(argv=argv, working_directory=name)
        policy = RestartPolicy(graceful_timeout=1.0)
        monitoring = MonitoringConfig() if events else MonitoringConfig(normal_interval=0.1, warning_interval=0.1)
        workers = WorkersConfig(isolation)
        config = MemoryGuardianConfig(persist_state=False, command=command, restart_policy=policy, monitoring=monitoring, workers=workers)
        agent = Agent("growing", True, command, Thresholds(THRESHOLD * MIB, 4096 * MIB, 8192 * MIB), policy)
        ledger = Ledger(run := GuardianRun(config, (agent,), str(folder / "state"), None, detached=True), leaves_of(run))
        stop, found = StopRequest(), anyio.Event()
        figures: list[float] = []

        def observe(record: Record) -> None:
            event = record.event
            if isinstance(event, MemoryLevelChanged) and not figures:
                touched, own = (int.from_bytes(count[at : at + 8], "little") for at in (0, 8))
                figures.append((own + touched - THRESHOLD * MIB) / 1e6)
                found.set()
                stop.request()

        ledger.listens = events
        try:
            async with anyio.create_task_group() as tasks:
                session = Session(run="0" * 32, backend="", stop=stop)
                tasks.start_soon(partial(run_guardian, ledger, session, [observe]))
                leaf = ledger.leaves[0]
                with anyio.fail_after(20):
                    while leaf.sample is None or (events and not leaf.events):  # noqa: ASYNC110
                        await anyio.sleep(0.02)
                    (folder / "begin").touch()
                    await found.wait()
        finally:
            ledger.close()
        return figures[0]
