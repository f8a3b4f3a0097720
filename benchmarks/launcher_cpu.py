"""CPU of the idle launcher with one sample a second, beside a loop that only wakes up and reads one statm."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen

from .figures import Effort, Figure, Peer, Summary, at_most
from .launcher import BACKENDS, SETTLED, launcher
from .programs import clock

_LOOP = """
import os, anyio
async def main():
    fd = os.open(f"/proc/{os.getppid()}/statm", os.O_RDONLY)
    with anyio.move_on_after(600):
        while True:
            await anyio.sleep(1)
            os.pread(fd, 128, 0)
anyio.run(main, backend=%r)
"""


def measure(effort: Effort) -> list[Figure]:
    seconds = effort.pick(120.0, 30.0, 1.0)
    backends = effort.pick(BACKENDS, BACKENDS, BACKENDS[:1])
    with clock() as program, launcher() as here, ExitStack() as stack:
        ours = {name: stack.enter_context(here.running(here.words(name, program.patient))) for name in backends}
        bare = {name: stack.enter_context(here.running([sys.executable, "-c", _LOOP % name])) for name in backends}
        for _ in backends:
            program.began()
        time.sleep(effort.pick(SETTLED, SETTLED, 0.5))
        # all in the same seconds: what the machine does besides falls on them alike
        before = {process.pid: on_cpu(process) for process in [*ours.values(), *bare.values()]}
        began = time.monotonic_ns()
        time.sleep(seconds)
        elapsed = time.monotonic_ns() - began

        def share(process: Popen[bytes]) -> Summary:
            return Summary.of([100 * (on_cpu(process) - before[process.pid]) / elapsed])

        return [
            Figure(
                f"over {seconds:g} s, {name}",
                "% of a core",
                share(ours[name]),
                (Peer("loop with one pread a second", share(bare[name])),),
                at_most(0.1, "%"),
            )
            for name in backends
        ]


def on_cpu(process: Popen[bytes]) -> int:
    """Nanoseconds that all its threads have run so far."""
    threads = f"/proc/{process.pid}/task"
    return sum(int(Path(threads, thread, "schedstat").read_text().split()[0]) for thread in os.listdir(threads))
