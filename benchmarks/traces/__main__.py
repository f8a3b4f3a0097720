"""``python -m benchmarks.traces record``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import GROWING, RUNTIMES, STEADY
from .recording import record


def main() -> int:
    """Record what is asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.traces", description="Record the memory of real programs.")
    parser.add_argument("what", choices=["record"])
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where the files go")
    parser.add_argument("shapes", metavar="SHAPE", nargs="*", help=f"all of them by default: {', '.join((*GROWING, *STEADY))}")
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="one round for each, since they need about 1.5 GiB together")
    parser.add_argument("--runtimes", choices=RUNTIMES, nargs="+", default=list(RUNTIMES))
    parser.add_argument(
        "--pace", type=float, default=1.0, help="how many times slower the programs are, and how many seconds pass between readings"
    )
    options = parser.parse_args()
    shapes = options.shapes or [*GROWING, *STEADY]
    unknown = set(shapes) - {*GROWING, *STEADY}
    if unknown:
        parser.error(f"no shape is called {unknown.pop()!r}")
    for seed in options.seeds:
        names = [(runtime, shape, seed) for runtime in options.runtimes for shape in shapes]
        for file in record(names, options.seconds, options.folder, options.pace):
            print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
