"""The program on the page about output runs as it stands there, and the tests that the page names exist."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from ..support import ROOT, running

PAGE = (ROOT / "docs" / "output.md").read_text()
SAYS = """\
stdout: ready
stdout: step 3
stdout: giving up
exit code 3 ('ready', 'step 3', 'giving up', 'no such table: users')
child_terminated
    ready
    step 3
    giving up
    no such table: users
file: no such table: users
"""


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_the_program_runs_on_both_backends(backend: str, tmp_path: Path) -> None:
    """It prints what its text says, and complains about nothing."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    program = tmp_path / "program.py"
    program.write_text(block.replace('backend="trio"', f'backend="{backend}"'))
    with running(sys.executable, "-W", "error", str(program), cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as ran:
        ended = ran.wait()
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", SAYS)


def test_every_promise_has_its_test() -> None:
    """What is named in the text is a test."""
    tests = (ROOT / "tests" / "process" / "test_output.py").read_text()
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) >= 5 and [name for name in named if f"def {name}(" not in tests] == []
