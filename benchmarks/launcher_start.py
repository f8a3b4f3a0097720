"""Start of the launcher to the first instruction of the command, beside interpreters that only import and then become the command."""

from __future__ import annotations

import sys
import time

from .figures import Effort, Figure, Peer, Summary
from .launcher import BACKENDS, Launcher, launcher, third_party
from .programs import Clock, clock

_EXEC = "import os, sys\nos.execv(sys.argv[1], sys.argv[1:])"


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    with clock() as program, launcher() as here:
        for backend in effort.pick(BACKENDS, BACKENDS, BACKENDS[:1]):
            modules = here.modules(backend, program, effort.pick(0.5, 0.5, 0.1))
            programs = {
                "launcher": here.words(backend, program.argv),
                "only its libraries, then the command": _importing(here, third_party(modules), program),
                "anyio and its backend, then the command": _importing(here, ["anyio", f"anyio._backends._{backend}"], program),
                "bare interpreter, then the command": _importing(here, [], program),
            }
            taken = in_turns(here, programs, program, effort.pick(12, 4, 1))
            ours = taken.pop("launcher")
            figures.append(Figure(f"on {backend}", "ms", ours, tuple(Peer(name, value) for name, value in taken.items())))
    return figures


def _importing(here: Launcher, modules: list[str], program: Clock) -> list[str]:
    imports = f"import {', '.join(modules)}\n" if modules else ""
    return [sys.executable, "-c", imports + _EXEC, *program.argv]


def in_turns(here: Launcher, programs: dict[str, list[str]], program: Clock, rounds: int) -> dict[str, Summary]:
    """Milliseconds from before the start to the command's first instruction; one round goes before, to compile."""
    samples: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name, words in programs.items():
            began = time.monotonic_ns()
            with here.running(words):
                _, first = program.began()
            if number:
                samples[name].append((first - began) / 1e6)
    return {name: Summary.of(values) for name, values in samples.items()}
