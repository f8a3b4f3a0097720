"""Traces of the memory of real programs, as small CSV files: seconds, KiB of anonymous memory over the whole tree.

    python -m benchmarks.traces record FOLDER [--seeds 1 2] [SHAPE ...]    record them again, several programs at once

program.py, program.mjs   the programs, in Python and in JavaScript
recording.py              starts them and reads their memory, with the guardian's own reader
compressed/               20 minutes of a program's life in 8: RUNTIME-SHAPE-SEED.csv
whole/                    20 minutes as they are (``--seconds 1200 --pace 2.5``)
unseen/                   the same, recorded when the constants of forecasts had been chosen by the others
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import attrs

PROGRAMS: Final = Path(__file__).resolve().parent
PACES: Final = {"compressed": 2.5, "whole": 1.0, "unseen": 1.0}
"""By folder: how many times longer what was recorded is in the life that it stands for."""
RUNTIMES: Final = ("python", "node")
GROWING: Final = ("line", "stairs", "teeth", "bursts")
STEADY: Final = ("plateau", "periodic", "noisy", "warmup", "collected")


@attrs.frozen
class Trace:
    """One program's memory over its life.

    Attributes:
        name: What it is a trace of.
        family: Its shape.
        grows: Whether it would go on growing.
        samples: (seconds, bytes), oldest first.
    """

    name: str
    family: str
    grows: bool
    samples: tuple[tuple[float, int], ...]


def recorded() -> list[Trace]:
    """All recorded traces, in the time of the life that they stand for."""
    traces = []
    for folder, pace in PACES.items():
        for file in sorted((PROGRAMS / folder).glob("*.csv")):
            shape = file.stem.split("-")[1]
            with file.open(newline="") as stream:
                rows = list(csv.reader(stream))[1:]
            samples = tuple((float(seconds) * pace, int(kib) * 1024) for seconds, kib in rows)
            traces.append(Trace(f"{folder}/{file.stem}", shape, shape in GROWING, samples))
    return traces
