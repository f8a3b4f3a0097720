"""The programs on the page about sessions run as they stand there, with the real Claude Code."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from ..claude_code import claude_code, remove_tool_files, scripted_api, surroundings
from ..support import ROOT, running

PAGE = (ROOT / "docs" / "sessions.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```\n\nIt says\n\n(.*?)\n\n(?! )", PAGE, flags=re.DOTALL)


@pytest.mark.deadline(120)
@pytest.mark.parametrize(("number", "backend"), [(0, "trio"), (1, "asyncio")])
def test_a_program_runs(number: int, backend: str, tmp_path: Path) -> None:
    """It prints what its text says, ends by itself, and complains about nothing."""
    assert len(PROGRAMS) == 2 == PAGE.count("```python")
    code, says = PROGRAMS[number]
    program, place = tmp_path / "program.py", tmp_path / "bin"
    program.write_text(code.replace('backend="trio"', f'backend="{backend}"'))
    place.mkdir()
    (place / "claude").symlink_to(claude_code("native"))
    with scripted_api(tmp_path) as api:
        env = surroundings(tmp_path, api.url, PYTHONPATH=str(ROOT), PATH=os.pathsep.join((str(place), os.environ["PATH"])))
        with running(sys.executable, "-W", "error", str(program), cwd=tmp_path, env=env) as ran:
            ended = ran.wait(100)
    remove_tool_files(tmp_path)
    expected = [line.removeprefix("    ") for line in says.splitlines()]
    assert (ended.returncode, ended.stderr, ended.stdout.splitlines()) == (0, "", expected)
