"""The programs on the page about the guardian's classes run as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from ..support import ROOT, running

PAGE = (ROOT / "docs" / "guardian-api.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```\n\nIt says\n\n(.*?)\n\n(?! )", PAGE, flags=re.DOTALL)


@pytest.mark.skipif(sys.platform != "linux", reason="processes as Linux has them")
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("number", range(4))
def test_a_program_runs_on_both_backends(number: int, backend: str, tmp_path: Path) -> None:
    """It prints what its text says, ends by itself, and complains about nothing."""
    assert len(PROGRAMS) == 4 == PAGE.count("```python")
    code, says = PROGRAMS[number]
    program = tmp_path / "program.py"
    program.write_text(code.replace('backend="trio"', f'backend="{backend}"'))
    with running(sys.executable, "-W", "error", str(program), cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as ran:
        ended = ran.wait()
    expected = [line.removeprefix("    ") for line in says.splitlines()]
    assert (ended.returncode, ended.stderr, ended.stdout.splitlines()) == (0, "", expected)
