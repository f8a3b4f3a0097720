"""A command that writes as fast as it is read: what reading costs, by where it goes, and whether this process grows by it."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import attrs

from supervisor import ChildExited, ChildSpec, Lines, Record, Restart, RotatingFile, Supervisor, command
from supervisor.core.event import OutputLine

from .figures import Effort, Figure, Peer, Summary, at_most

MB = 1_000_000
FASTEST = at_most(10.0, "ms")
"""100 MB a second."""


@attrs.define
class Samples:
    """Of one way: milliseconds for each MB by the clock and of our processor, and bytes by which this process grew meanwhile."""

    wall: list[float] = attrs.field(factory=list)
    cpu: list[float] = attrs.field(factory=list)
    grown: list[float] = attrs.field(factory=list)


def measure(effort: Effort) -> list[Figure]:
    size, rounds = effort.pick(400, 200, 2) * MB, effort.pick(5, 3, 1)
    figures: list[Figure] = []
    with TemporaryDirectory(prefix="output-") as folder:
        source = Path(folder, "source")
        source.write_bytes(b"".join(b"%09d %s\n" % (number, b"x" * 89) for number in range(20_000)))  # 100 bytes a line
        argv = ("cat", *[str(source)] * (size // (2 * MB)))
        for backend in ("trio", "asyncio"):
            ours, floor = anyio.run(partial(in_turns, argv, size, Path(folder), rounds), backend=backend)
            wall, cpu = Peer("cat | cat > file", Summary.of(floor.wall)), Peer("that cat's", Summary.of(floor.cpu))
            for name, samples in ours.items():
                peers = (wall,) if name == "to a rotating file" else ()
                target = FASTEST if "lines" not in name else None  # a command that writes more lines than that is slowed by its pipe
                figures.append(Figure(f"1 MB {name} on {backend}", "ms", Summary.of(samples.wall), peers, target))
                figures.append(Figure("  CPU of ours", "ms", Summary.of(samples.cpu), (cpu,) if peers else ()))
            grown = max(most for samples in ours.values() for most in samples.grown)
            figures.append(
                Figure(f"growth within {size // MB} MB on {backend}", "MiB", Summary.of([grown / 2**20]), (), at_most(2.0, "MiB"))
            )
    return figures


async def in_turns(argv: tuple[str, ...], size: int, folder: Path, rounds: int) -> tuple[dict[str, Samples], Samples]:
    """Each way in turns, once more than counts; the second answer is the floor."""
    seen = 0

    def see(chunk: bytes) -> None:
        nonlocal seen
        seen += len(chunk)

    def hear(line: OutputLine) -> None:
        nonlocal seen
        seen += len(line.text) + 1

    ways: dict[str, RotatingFile | Lines | Callable[[bytes], None]] = {
        "to a rotating file": RotatingFile(folder / "log", 64 * MB, 1),
        "to a function": see,
        "in lines of 100 bytes to a function": Lines(hear),
        "in lines of 100 bytes to the bus": Lines(),
    }
    ours = {name: Samples() for name in ways}
    floor = Samples()
    for number in range(rounds + 1):
        for name, target in ways.items():
            seen = 0
            # lines take longer, and a part says the same
            share = 8 if isinstance(target, Lines) else 1
            files = argv[1::share]
            one = await through_us((argv[0], *files), target, len(files) * 2 * MB)
            if number:
                for kept, value in zip((ours[name].wall, ours[name].cpu, ours[name].grown), one, strict=True):
                    kept.append(value)
        wall, cpu = through_cat(argv, size, folder / "copy")
        if number:
            floor.wall.append(wall)
            floor.cpu.append(cpu)
    return ours, floor


async def through_us(
    argv: tuple[str, ...], target: RotatingFile | Lines | Callable[[bytes], None], size: int
) -> tuple[float, float, float]:
    """The whole life of the command: milliseconds for each MB by the clock and of this process's CPU, and its growth in bytes."""
    over = anyio.Event()
    root = Supervisor("root", [])

    def listen(record: Record) -> None:
        if isinstance(record.event, ChildExited):
            over.set()

    root.add_sink(listen)
    async with root:
        memory, cpu, began = resident(), time.process_time(), time.monotonic()
        await root.start_child(ChildSpec("leaf", command(*argv, stdout=target), restart=Restart.TEMPORARY))
        with anyio.fail_after(300):
            await over.wait()
        wall = time.monotonic() - began
        return wall * 1000 * MB / size, (time.process_time() - cpu) * 1000 * MB / size, resident() - memory


def through_cat(argv: tuple[str, ...], size: int, target: Path) -> tuple[float, float]:
    """The floor: a C program reads the pipe and writes a file. Milliseconds for each MB by the clock, and of that program's CPU."""
    with target.open("wb") as file:
        began = time.monotonic()
        with (
            subprocess.Popen(argv, stdout=subprocess.PIPE) as writer,
            subprocess.Popen(["cat"], stdin=writer.stdout, stdout=file) as reader,
        ):
            assert writer.stdout is not None
            writer.stdout.close()
            writer.wait()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            reader.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall = time.monotonic() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1000 * MB / size, cpu * 1000 * MB / size


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
