"""The programs on the page about workers run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..support import ROOT

SAYS = [
    [
        "15",
        "raised there: ZeroDivisionError: division by zero",
        "root/counter: did not answer 'sleep' within 0.05 s",
        "root/counter: serves no 'subtract'; serve('subtract', function) in the child does",
        "11",
    ],
    ["['sleep', 'rest'] in another process: True", "generation 2"],
]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("number", range(len(SAYS)))
def test_a_program_runs_on_both_backends(backend: str, number: int, tmp_path: Path) -> None:
    """It does what its text says, ends by itself, and complains about nothing."""
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "workers.md").read_text(), flags=re.DOTALL)
    assert len(programs) == len(SAYS)
    code = programs[number]
    program = tmp_path / "program.py"
    program.write_text(code.replace('backend="trio"', f'backend="{backend}"'))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == SAYS[number]
