"""Memory of the idle launcher, beside an interpreter that imports the same libraries and waits."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen

from .figures import Effort, Figure, Peer, Summary, at_most_above
from .launcher import BACKENDS, SETTLED, Launcher, launcher, third_party
from .programs import Clock, clock

KINDS = {"RSS": ("Rss",), "PSS": ("Pss",), "private": ("Private_Clean", "Private_Dirty")}
MORE = 3.0
"""MiB of resident memory that the launcher may have more than its libraries."""


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    settled = effort.pick(SETTLED, SETTLED, 0.5)
    with clock() as program, launcher() as here:
        for backend in effort.pick(BACKENDS, BACKENDS, BACKENDS[:1]):
            modules = here.modules(backend, program, effort.pick(1.5, 1.5, 0.1))
            programs = {
                "launcher": here.words(backend, program.argv),
                "only its libraries, Python's included": idle(modules),
                "only those that are not Python's": idle(third_party(modules)),
                "bare interpreter": idle([]),
            }
            taken: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
            for _ in range(effort.pick(3, 1, 1)):
                taken = {name: [*taken[name], more] for name, more in side_by_side(here, program, programs, settled).items()}
            for kind in KINDS:
                values = {name: Summary.of([sample[kind] for sample in samples]) for name, samples in taken.items()}
                ours = values.pop("launcher")
                peers = tuple(Peer(name, value) for name, value in values.items())
                target = at_most_above(MORE, "MiB", peers[0]) if kind == "RSS" else None
                figures.append(Figure(f"{kind}, {backend}", "MiB", ours, peers, target))
    return figures


def idle(modules: list[str]) -> list[str]:
    """An interpreter that imports and waits."""
    return [sys.executable, "-c", "".join(f"import {name}\n" for name in modules) + "import time\ntime.sleep(60)"]


def side_by_side(here: Launcher, program: Clock, programs: dict[str, list[str]], settled: float) -> dict[str, dict[str, float]]:
    """MiB of each program, by kind, all running at the same time: they share the interpreter's pages alike."""
    with ExitStack() as stack:
        processes = {name: stack.enter_context(here.running(words)) for name, words in programs.items()}
        program.began()
        time.sleep(settled)
        return {name: weight(process) for name, process in processes.items()}


def weight(process: Popen[bytes]) -> dict[str, float]:
    """MiB of a process, by kind."""
    found: dict[str, int] = {}
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        found[name] = int(value.split()[0])
    return {kind: sum(found[name] for name in names) / 1024 for kind, names in KINDS.items()}
