"""Run one benchmark in this process: ``python -m benchmarks.alone NAME EFFORT FILE`` writes its figures to FILE as JSON."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from .figures import Effort, Figure


def main(name: str, effort: str, file: str) -> None:
    figures: list[Figure] = import_module(f"{__package__}.{name}").measure(Effort(effort))
    Path(file).write_text(json.dumps([figure.as_data() for figure in figures]))


if __name__ == "__main__":
    main(*sys.argv[1:])
