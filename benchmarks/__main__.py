"""``python -m benchmarks``: run the suite or some of it, and print one table at the end."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import SUITE
from .figures import Effort, Figure
from .report import facts, machine, table

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 600.0
"""Seconds that one benchmark may take."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for; returns the exit code: 1 when a benchmark failed, a missed target is no failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, and print each figure beside its floor.")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"all of them by default: {', '.join(SUITE)}")
    parser.add_argument("--quick", action="store_true", help="in less than 90 seconds, and less sure")
    parser.add_argument("--smoke", action="store_true", help="only see that everything runs; the figures mean nothing")
    parser.add_argument("--realtime", action="store_true", help="with real-time priority, so that a busy machine does not show; for root")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures to FILE as well")
    options = parser.parse_args(argv)
    unknown = [name for name in options.names if name not in SUITE]
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]!r}; there are: {', '.join(SUITE)}")
    if sys.platform != "linux":
        parser.error("these benchmarks read /proc, which this system does not have")
    effort = Effort.SMOKE if options.smoke else Effort.QUICK if options.quick else Effort.FULL
    about = machine()
    if options.realtime:
        try:
            # inherited by everything that is started from here
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except PermissionError:
            parser.error("--realtime needs the right to set real-time priorities")
    results: list[tuple[str, list[Figure]]] = []
    failed: list[str] = []
    began = time.monotonic()
    for name in options.names or SUITE:
        print(f"{time.monotonic() - began:6.1f} s  {name}: {SUITE[name]}", file=sys.stderr, flush=True)
        figures = run(name, effort)
        if figures is None:
            failed.append(name)
        else:
            results.append((f"{name}: {SUITE[name]}", figures))
    print(table(results))
    priority = ", real-time priority" if options.realtime else ""
    print(f"\n{facts(about)}; {time.monotonic() - began:.0f} s, {effort.value}{priority}")
    missed = [figure.name for _, figures in results for figure in figures if figure.met is False]
    if missed:
        print(f"missed: {'; '.join(missed)}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    if options.json is not None:
        written = {"machine": about, "effort": effort.value, "realtime": options.realtime, "failed": failed}
        figures_by_name = {title.partition(":")[0]: [figure.as_data() for figure in figures] for title, figures in results}
        options.json.write_text(json.dumps({**written, "figures": figures_by_name}, indent=1) + "\n")
    return 1 if failed else 0


def run(name: str, effort: Effort) -> list[Figure] | None:
    """One benchmark in a fresh process, which no other has filled or fragmented; None when it failed."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        file = Path(folder, "figures.json")
        words = [sys.executable, "-m", f"{__package__}.alone", name, effort.value, str(file)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        process = subprocess.Popen(
            words, cwd=folder, env={**os.environ, "PYTHONPATH": path, "TMPDIR": folder}, stdin=subprocess.DEVNULL, process_group=0
        )
        try:
            code = process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            print(f"{name} took longer than {LONGEST:g} s", file=sys.stderr)
            return None
        finally:
            if process.poll() is None:
                # what it started is in its group, or ends with it
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code != 0:
            print(f"{name} ended with {code}", file=sys.stderr)
            return None
        return [Figure.from_data(data) for data in json.loads(file.read_text())]


if __name__ == "__main__":
    sys.exit(main())
