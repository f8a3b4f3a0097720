"""The journal of a transcript: the first append, an append of what is new, and the memory that it takes."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from workers.state.codec import compress, suffix
from workers.state.journal import Journal
from workers.state.journal_frames import PIECE
from workers.state.keys import Keys
from workers.state.seal import KeySeal, Seal

from .figures import Effort, Figure, Peer, Summary, at_most, at_most_above, at_most_times

NEW = 100_000
MEMORY = """
import sys
from workers.state.journal import Journal
Journal(sys.argv[1] + "/journal").append(sys.argv[2])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    sizes = effort.pick((1, 10, 100), (1, 10, 100), (1,))
    peaks: list[Summary] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in sizes:
            source = folder / "session.jsonl"
            transcript(source, size * 1_000_000)
            rounds = effort.pick(max(3, 60 // size), max(2, 10 // size), 1)
            figures += first(folder, source, f"{size} MB", rounds)
            figures += more(folder, source, f"{size} MB", effort.pick(60, 20, 1))
            peaks.append(memory(folder, source, effort.pick(3, 1, 1)))
    smallest = Peer(f"{sizes[0]} MB", peaks[0])
    figures += [
        Figure(f"{sizes[-1]} MB, memory of the process that appends", "MiB", peaks[-1], (smallest,), at_most_above(8, "MiB", smallest))
    ]
    return figures


def first(folder: Path, source: Path, name: str, rounds: int) -> list[Figure]:
    """The first append of a transcript, beside its compression alone; and having it again."""
    place = folder / "journal"
    calls: dict[str, Callable[[], object]] = {"journal": lambda: Journal(place).append(source), "codec": lambda: packed(source)}
    seal = sealing()
    if seal is not None:
        calls["sealed"] = lambda: Journal(place, seal).append(source)
    samples: dict[str, list[float]] = {name: [] for name in (*calls, "rebuilt")}
    for number in range(rounds + 1):
        for what, call in calls.items():
            shutil.rmtree(place, ignore_errors=True)
            # what others wrote is not ours to wait for
            os.sync()
            taken = milliseconds(call)
            samples[what] += [taken] if number else []
            if what == "journal":
                mark = Journal(place).append(source)
                taken = milliseconds(lambda mark=mark: Journal(place).rebuild(mark, BytesIO()))  # type: ignore[misc]
                samples["rebuilt"] += [taken] if number else []
    found = {what: Summary.of(values) for what, values in samples.items()}
    codec = Peer(f"{suffix()[1:]} alone", found["codec"])
    figures = [Figure(f"{name}, first append", "ms", found["journal"], (codec,), at_most_times(2, codec))]
    figures += [Figure(f"{name}, first append, encrypted", "ms", found["sealed"], (codec,), at_most_times(2, codec))] if seal else []
    return [*figures, Figure(f"{name}, rebuilt", "ms", found["rebuilt"])]


def more(folder: Path, source: Path, name: str, rounds: int) -> list[Figure]:
    """An append of what is new, beside the same bytes put on disk as they are."""
    place = Journal(folder / "journal")
    place.append(source)
    os.sync()
    ours, bare = [], []
    rng = random.Random(1)
    for _ in range(rounds):
        lines = new_lines(rng, NEW)
        with source.open("ab") as file:
            file.write(lines)
        ours.append(milliseconds(lambda: place.append(source)))
        bare.append(milliseconds(lambda lines=lines: synced(folder / "bare", lines)))  # type: ignore[misc]
    beside = Peer("written and synced as it is", Summary.of(bare))
    return [Figure(f"{name}, append of 100 KB more", "ms", Summary.of(ours), (beside,), at_most(15, "ms"))]


def memory(folder: Path, source: Path, rounds: int) -> Summary:
    """MiB that a process has at most that does nothing but the first append."""
    peaks = []
    for _ in range(rounds):
        shutil.rmtree(folder / "journal", ignore_errors=True)
        done = subprocess.run([sys.executable, "-c", MEMORY, folder, source], capture_output=True, check=True)
        peaks.append(float(done.stdout) / 1024)
    return Summary.of(peaks)


def packed(source: Path) -> int:
    """Compress a file by pieces, as the journal does, and keep nothing."""
    with source.open("rb") as file:
        return sum(len(compress(piece)) for piece in iter(lambda: file.read(PIECE), b""))


def synced(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sealing() -> Seal | None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        return None
    return KeySeal(Keys((os.urandom(32),)))


def milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1e6


def transcript(path: Path, size: int) -> None:
    """A transcript of that many bytes; no record comes twice."""
    rng = random.Random(size)
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(new_lines(rng, min(1_000_000, size - file.tell())))


def new_lines(rng: random.Random, size: int) -> bytes:
    lines: list[bytes] = []
    total = 0
    while total < size:
        text = " ".join(rng.choices(WORDS, k=180))
        record = {"type": "assistant", "uuid": f"{rng.getrandbits(128):032x}", "message": {"content": [{"type": "text", "text": text}]}}
        lines.append(json.dumps(record).encode() + b"\n")
        total += len(lines[-1])
    return b"".join(lines)


WORDS = [f"{random.Random(number).getrandbits(8 + number % 40):x}" for number in range(20_000)]
"""Text that packs to some 40 %, as code and prose do."""
