"""A program that races past emergency: from the crossing to the state on disk, and to the first instruction of its replacement."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import attrs

from supervisor import Record, Session
from supervisor.edge.signals import StopRequest
from workers.config import Agent, CommandConfig, GuardianRun, MemoryGuardianConfig, RestartPolicy
from workers.event import LeafHeld, StateCaptured
from workers.guardian import leaves_of, run_guardian
from workers.ledger import CaptureRequest, Ledger
from workers.policy.pressure import Thresholds

from .figures import Effort, Figure, Peer, Summary

MIB: Final = 1 << 20
THRESHOLD: Final = 64 * MIB
RATE: Final = 200_000_000
"""Bytes a second."""
EARLY: Final = MIB
"""Bytes before the crossing at which the program notes the time: by its own count it may never get there, others count in batches."""

RACING: Final = r"""
import time
now = time.monotonic_ns()
import mmap, os, signal, sys
fifo, began, crossed = sys.argv[1:4]
threshold, early, rate = (int(word) for word in sys.argv[4:])
signal.alarm(60)
first = not os.path.exists(crossed)
with open(fifo, "wb", buffering=0) as stream:
    stream.write(os.getpid().to_bytes(8, "little") + now.to_bytes(8, "little"))
if not first:
    signal.pause()
block = mmap.mmap(-1, 8 * threshold, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
block.madvise(mmap.MADV_NOHUGEPAGE)
told = os.open(crossed + ".new", os.O_RDWR | os.O_CREAT, 0o600)
while not os.path.exists(began):
    time.sleep(0.002)
# what it weighs itself counts as well
pages = open("/proc/self/statm").read().split()
left = threshold - early - (int(pages[1]) - int(pages[2])) * mmap.PAGESIZE
begin, done = time.monotonic(), 0
while done < len(block):
    due = min(len(block), int((time.monotonic() - begin) * rate))
    while done < due:
        block[done] = 1
        done += 4096
        if 0 <= done - left < 4096:
            os.write(told, time.monotonic_ns().to_bytes(8, "little"))
            os.rename(crossed + ".new", crossed)
    time.sleep(0.0002)
signal.pause()
"""


def measure(effort: Effort) -> list[Figure]:
    backends = effort.pick(("trio", "asyncio"), ("trio",), ("trio",))
    times = effort.pick(15, 5, 1)
    figures: list[Figure] = []
    for backend in backends:
        ours: list[Course] = []
        first: list[Course] = []
        bare: list[Course] = []
        for _ in range(times):
            ours.append(anyio.run(guarded, True, backend=backend))
            first.append(anyio.run(guarded, False, backend=backend))
            bare.append(looped())
        held = Summary.of([course.held for course in ours])
        figures.append(Figure(f"to the program standing still, {backend}", "ms", held))
        for name, what in (("captured", "to its state on disk"), ("replaced", "to the replacement's first instruction")):
            peers = (
                Peer("a look each ms, a file, Popen", Summary.of([getattr(course, name) for course in bare])),
                Peer("the guardian, its first capture", Summary.of([getattr(course, name) for course in first])),
            )
            figures.append(Figure(f"{what}, {backend}", "ms", Summary.of([getattr(course, name) for course in ours]), peers))
    return figures


@attrs.frozen
class Course:
    """When things happened, in milliseconds after the crossing."""

    held: float
    captured: float
    replaced: float


@attrs.define
class Racer:
    """The program, and what it says of itself."""

    folder: Path
    fd: int

    @property
    def argv(self) -> tuple[str, ...]:
        """How to start it: its first life races, all others do nothing."""
        files = (str(self.folder / name) for name in ("fifo", "begin", "crossed"))
        return (sys.executable, "-I", "-S", "-c", RACING, *files, *map(str, (THRESHOLD, EARLY, RATE)))

    def began(self) -> int:
        """When the life began whose word can be read, in nanoseconds."""
        return int.from_bytes(os.read(self.fd, 16)[8:], "little")

    def course(self, held: int, captured: int, replaced: int) -> Course:
        """All of it after the crossing."""
        crossed = int.from_bytes((self.folder / "crossed").read_bytes(), "little") + EARLY * 10**9 // RATE
        return Course(*((at - crossed) / 1e6 for at in (held, captured, replaced)))


@contextmanager
def racer() -> Iterator[Racer]:
    """Prepare the program, in a directory of its own."""
    with tempfile.TemporaryDirectory() as name:
        os.mkfifo(Path(name, "fifo"))
        fd = os.open(Path(name, "fifo"), os.O_RDWR | os.O_CLOEXEC)
        try:
            yield Racer(Path(name), fd)
        finally:
            os.close(fd)


async def guarded(captured_before: bool) -> Course:
    """The guardian, the whole of it, with the intervals that it has by default."""
    with racer() as program:
        command = CommandConfig(argv=program.argv, working_directory=str(program.folder))
        policy = RestartPolicy(graceful_timeout=1.0)
        config = MemoryGuardianConfig(command=command, restart_policy=policy)
        # all levels at once: how long it stands at warning is not what is measured
        agent = Agent("racing", True, command, Thresholds(THRESHOLD - 2, THRESHOLD - 1, THRESHOLD), policy)
        ledger = Ledger(run := GuardianRun(config, (agent,), str(program.folder / "state"), None, detached=True), leaves_of(run))
        stop, times = StopRequest(), dict[type[object], int]()

        def observe(record: Record) -> None:
            times.setdefault(type(record.event), time.monotonic_ns())

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(run_guardian, ledger, Session(run="0" * 32, backend="", stop=stop), [observe]))
                with anyio.fail_after(20):
                    await anyio.wait_readable(program.fd)
                    program.began()
                    leaf = ledger.leaves[0]
                    while leaf.sample is None or not leaf.events:  # noqa: ASYNC110
                        await anyio.sleep(0.02)
                    if captured_before:
                        ledger.captures.put(request := CaptureRequest(leaf, "before"))
                        await request.done.wait()
                    times.clear()
                    (program.folder / "begin").touch()
                    await anyio.wait_readable(program.fd)
                    replaced = program.began()
                stop.request()
        finally:
            ledger.close()
        # where nobody can be held it stands still when it is gone
        return program.course(times.get(LeafHeld, replaced), times[StateCaptured], replaced)


def looped() -> Course:
    """The floor: a loop that looks each millisecond, writes a file as safely, kills and starts again."""
    page = os.sysconf("SC_PAGE_SIZE")
    with racer() as program:
        process = subprocess.Popen(program.argv)
        try:
            program.began()
            statm = os.open(f"/proc/{process.pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
            (program.folder / "begin").touch()
            while True:
                fields = os.pread(statm, 128, 0).split(None, 3)
                if (int(fields[1]) - int(fields[2])) * page >= THRESHOLD:
                    break
                time.sleep(0.001)
            os.close(statm)
            process.send_signal(signal.SIGSTOP)
            held = time.monotonic_ns()
            written(program.folder / "state", Path(f"/proc/{process.pid}/environ").read_bytes())
            captured = time.monotonic_ns()
            process.kill()
            process.wait()
            process = subprocess.Popen(program.argv)
            return program.course(held, captured, program.began())
        finally:
            process.kill()
            process.wait()


def written(file: Path, data: bytes) -> None:
    """Write so that it is there after a crash, or the file before it is."""
    new = file.with_suffix(".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    new.rename(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_CLOEXEC)
    os.fsync(folder)
    os.close(folder)
