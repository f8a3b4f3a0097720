"""Run scenarios (JSON lines) on this library, and write the traces as the oracle does.

    python -m tests.conformance.otp SCENARIOS.jsonl TRACES.jsonl --backend trio|asyncio [--children tasks|scripted]

The formats are those of README.md. `--children tasks` makes a task of every worker that a task can play, and has the others
scripted, as `--children scripted` has all; the traces are the same.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from supervisor.testing import run

from .stage import Stage
from .words import Json

OTP = "29"
"""The release whose rules are kept; what a trace says of itself."""

BACKENDS = ("trio", "asyncio")
CHILDREN = ("tasks", "scripted")


def traces(scenarios: Iterable[Json], *, backend: str, children: str = "tasks") -> list[list[Any]]:
    """The trace of each scenario; all are played one after the other on one event loop, in virtual time.

    Raises:
        AssertionError: A scenario left something running, or the tree's news were not what its workers did; a note names it.
    """

    async def main() -> list[list[Any]]:
        result = []
        for scenario in scenarios:
            try:
                result.append(await Stage(scenario, tasks=children == "tasks").play())
            except BaseException as error:
                error.add_note(f"scenario {scenario['id']} on {backend}, children: {children}")
                raise
        return result

    return run(main, backend=backend)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.otp", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("scenarios", type=Path)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--backend", choices=BACKENDS, default="trio")
    parser.add_argument("--children", choices=CHILDREN, default="tasks")
    arguments = parser.parse_args()
    scenarios = [json.loads(line) for line in arguments.scenarios.read_text().splitlines() if line.strip()]
    began = time.perf_counter()
    played = traces(scenarios, backend=arguments.backend, children=arguments.children)
    lines = [
        json.dumps({"id": scenario["id"], "otp": OTP, "trace": trace}, separators=(",", ":"))
        for scenario, trace in zip(scenarios, played, strict=True)
    ]
    arguments.traces.write_text("".join(f"{line}\n" for line in lines))
    print(f"{len(lines)} scenarios on {arguments.backend}, children: {arguments.children}, {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
