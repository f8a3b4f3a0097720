"""Record traces: start the programs, read their trees, write what was read."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from supervisor import identify
from workers.probe import ReaderChain, open_reader

from . import PROGRAMS

MOST_BYTES: Final = 2_500 << 20
"""Of all programs together; above it the recording ends."""
SPARE: Final = 300.0
"""Seconds that a program may live beyond its recording, which ends it: the first waits for the last to be up."""


def argv(runtime: str, shape: str, seed: int, seconds: float, pace: float) -> list[str]:
    """The command line of one program."""
    words = [shape, str(seed), f"{seconds:g}", f"{pace:g}"]
    if runtime == "node":
        node = shutil.which("node")
        if node is None:
            raise SystemExit("node is not installed; record with --runtimes python")
        return [node, str(PROGRAMS / "program.mjs"), *words]
    return [sys.executable, "-I", str(PROGRAMS / "program.py"), *words]


def record(names: Sequence[tuple[str, str, int]], seconds: float, folder: Path, pace: float = 1.0) -> list[Path]:
    """Run programs side by side; once all are up, read each of them every `pace` seconds for `seconds`, and write a file for each.

    Args:
        names: Runtime, shape and seed of each.
        seconds: How long.
        folder: Where the files go.
        pace: How many times slower the programs are.

    Raises:
        MemoryError: All together they grew beyond `MOST_BYTES`; nothing is written.
        ChildProcessError: One has ended before it was up; likewise.
    """
    series: list[list[tuple[float, int]]] = [[] for _ in names]
    with ExitStack() as stack:
        programs: list[subprocess.Popen[bytes]] = []
        for name in names:
            program = subprocess.Popen(argv(*name, seconds + SPARE, pace), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            stack.enter_context(program)
            stack.callback(program.kill)
            programs.append(program)
        readers: list[ReaderChain] = []
        for name, program in zip(names, programs, strict=True):
            assert program.stdout is not None
            if not program.stdout.readline():
                raise ChildProcessError(f"{'-'.join(map(str, name))} has ended before it was up")
            process = identify(program.pid)
            assert process is not None
            reader = open_reader(process)
            stack.callback(reader.close)
            readers.append(reader)
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            total = 0
            for reader, samples in zip(readers, series, strict=True):
                sample = reader.read(time.monotonic())
                if sample is not None:
                    samples.append((time.monotonic() - began, sample.total_bytes))
                    total += sample.total_bytes
            if total > MOST_BYTES:
                raise MemoryError(f"the programs need {total >> 20} MiB together")
            time.sleep(max(0.0, pace - (time.monotonic() - began - now)))
    return [write(folder / f"{'-'.join(map(str, name))}.csv", samples) for name, samples in zip(names, series, strict=True)]


def write(file: Path, samples: Sequence[tuple[float, int]]) -> Path:
    """One file of one trace."""
    with file.open("w", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(("seconds", "kib"))
        rows.writerows((f"{at:.2f}", total // 1024) for at, total in samples)
    return file
