"""A whole capture of a leaf that has a conversation, the first one and later ones; its restore; and whose memory it takes.

git is not there: what it takes is its own, and limited.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from supervisor import ChildStarted, Record, Session
from supervisor.edge.signals import StopRequest
from workers.config import Agent, CommandConfig, GuardianRun, MemoryGuardianConfig, RestartPolicy
from workers.guardian import leaves_of, run_guardian
from workers.ledger import CaptureRequest, Ledger
from workers.policy.pressure import Thresholds
from workers.state.messages import CaptureOrder, Place
from workers.state.restore import restoration
from workers.state.store import StateStore
from workers.state.subject import Subject

from .figures import Effort, Figure, Peer, Summary, at_most, at_most_above
from .journal import packed, synced
from .transcripts import SESSION, Author, write_transcript

MB = 1_000_000
NEW = 100_000


def measure(effort: Effort) -> list[Figure]:
    sizes = effort.pick((1, 10, 100), (1, 10, 100), (1,))
    firsts, laters = effort.pick(5, 3, 1), effort.pick(40, 15, 2)
    figures: list[Figure] = []
    found: dict[int, dict[str, list[float]]] = {}
    for size in sizes:
        found[size] = {}
        for _ in range(firsts):
            for name, more in in_another_process(size, laters // firsts or 1).items():
                found[size].setdefault(name, []).extend(more)
    for size, samples in found.items():
        summary = {name: Summary.of(values) for name, values in samples.items()}
        codec, written = Peer("its compression alone", summary["codec"]), Peer("the new bytes, synced", summary["synced"])
        figures += [
            Figure(f"{size} MB, the first capture", "ms", summary["first"], (codec,)),
            Figure(
                f"{size} MB, a capture with 100 KB more",
                "ms",
                summary["more"],
                (written,),
                at_most(15, "ms") if size == sizes[-1] else None,
            ),
            Figure(f"{size} MB, the same as the guardian sees it", "ms", summary["asked"]),
            Figure(f"{size} MB, its state read and checked for restoring", "ms", summary["restored"], (), at_most(20, "ms")),
        ]
    smallest = {name: Peer(f"{sizes[0]} MB", Summary.of(values)) for name, values in found[sizes[0]].items()}
    largest = {name: Summary.of(values) for name, values in found[sizes[-1]].items()}
    size = sizes[-1]
    return [
        *figures,
        Figure("the guardian grows by, once, for the way to the process", "MiB", largest["begun"]),
        Figure(f"{size} MB, the guardian grows by", "MiB", largest["guardian"], (smallest["guardian"],), at_most(1, "MiB")),
        Figure(
            f"{size} MB, at most in the process that captures",
            "MiB",
            largest["archive"],
            (smallest["archive"],),
            at_most_above(16, "MiB", smallest["archive"]),
        ),
        Figure(f"{size} MB, that process when idle", "MiB", largest["idle"], (smallest["idle"],)),
    ]


def in_another_process(size: int, rounds: int) -> dict[str, list[float]]:
    """All samples of one guardian, which has only ever done this."""
    with TemporaryDirectory(prefix="capture-") as folder:
        write_transcript(Path(folder, f"{SESSION}.jsonl"), size * MB)
        code = f"from {__name__} import here; here({folder!r}, {rounds})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PATH": folder})
    samples: dict[str, list[float]] = json.loads(done.stdout)
    return samples


def here(folder: str, rounds: int) -> None:
    """Measure here, and print it."""
    print(json.dumps(anyio.run(guarded, Path(folder).resolve(), rounds, backend="trio")))


async def guarded(folder: Path, rounds: int) -> dict[str, list[float]]:
    """A guardian whose leaf has that conversation."""
    path = folder / f"{SESSION}.jsonl"
    samples: dict[str, list[float]] = {}
    async with guarding(folder) as (ledger, records):
        before = resident("self")
        await captured(ledger)
        samples["begun"] = [resident("self") - before]
        ledger.leaves[0].session, ledger.leaves[0].transcript = SESSION, str(path)
        before = resident("self")
        peak_from_here("self")
        samples["first"] = [await captured(ledger)]
        samples["guardian"] = [resident("self", "VmHWM") - before]
        archive = next(
            str(record.event.pid) for record in records if record.event.path[-1] == "archive" and isinstance(record.event, ChildStarted)
        )
        await caught_up(archive)
        samples["archive"] = [resident(archive, "VmHWM")]
        samples["idle"] = [pss(archive)]
        for _ in range(rounds + 1):
            with path.open("ab") as file:
                file.write(some(NEW))
            samples.setdefault("asked", []).append(await captured(ledger))
    return await alone(folder, path, rounds, samples)


async def alone(folder: Path, path: Path, rounds: int, samples: dict[str, list[float]]) -> dict[str, list[float]]:
    """What that process does, here: without the way to it."""
    # not before: a guardian has nothing of it
    from workers.state.archive import Archive

    subject = Subject("alone", ("sleep",), str(folder), environment=dict(os.environ), session=SESSION, transcript=str(path))
    order = CaptureOrder(Place(str(folder / "states"), str(folder)), subject, "measured", None, (), 2.0, 60.0)
    store, archive = StateStore(folder / "states"), Archive()

    async def capture() -> None:
        answer = await archive.capture(order)
        assert answer.path is not None and not answer.faults, answer

    await capture()
    for number in range(rounds + 2):
        new = some(NEW)
        synced(path, new)
        began = time.perf_counter_ns()
        await capture()
        taken = {"more": (time.perf_counter_ns() - began) / 1e6, "synced": milliseconds(partial(synced, folder / "floor", new))}
        state = store.list(folder)[-1]
        taken["restored"] = milliseconds(partial(restored, store, state))
        for name, value in taken.items() if number > 1 else ():
            samples.setdefault(name, []).append(value)
    samples["codec"] = [milliseconds(partial(packed, path))]
    return samples


def restored(store: StateStore, path: Path) -> None:
    restoration(store.load(path), path.parent.name)


@asynccontextmanager
async def guarding(folder: Path) -> AsyncIterator[tuple[Ledger, list[Record]]]:
    """The whole of a guardian, over a program that waits."""
    command = CommandConfig(argv=(sys.executable, "-S", "-c", "import time; time.sleep(300)"), working_directory=str(folder))
    policy = RestartPolicy(graceful_timeout=1.0)
    config = MemoryGuardianConfig(command=command, restart_policy=policy)
    agent = Agent("waiting", True, command, Thresholds(1 << 40, 1 << 41, 1 << 42), policy)
    ledger = Ledger(run := GuardianRun(config, (agent,), str(folder / "state"), None, detached=True), leaves_of(run))
    stop, records = StopRequest(), list[Record]()
    leaf = ledger.leaves[0]
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(run_guardian, ledger, Session(run="0" * 32, backend="", stop=stop), [records.append]))
            with anyio.fail_after(60):
                while leaf.sample is None:  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            yield ledger, records
            stop.request()
    finally:
        ledger.close()


async def captured(ledger: Ledger) -> float:
    """Milliseconds for a capture, as whoever asks for one sees it."""
    began = time.perf_counter_ns()
    ledger.captures.put(request := CaptureRequest(ledger.leaves[0], "measured"))
    await request.done.wait()
    assert request.ok, request.cause
    return (time.perf_counter_ns() - began) / 1e6


async def caught_up(pid: str) -> None:
    """Wait until a process has nothing to do."""
    used = -1
    while used != (now := ticks(pid)):
        used = now
        await anyio.sleep(0.5)


def ticks(pid: str) -> int:
    """What a process has had of the processor."""
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))


def some(size: int) -> bytes:
    """New records of a conversation."""
    lines = bytearray()
    author = Author(time.perf_counter_ns())
    while len(lines) < size:
        lines += b"".join(line + b"\n" for line in author.turn())
    return bytes(lines)


def milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1e6


def resident(pid: str, what: str = "VmRSS") -> float:
    """MiB of a process, by the kernel's name."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / 1024


def peak_from_here(pid: str) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def pss(pid: str) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
