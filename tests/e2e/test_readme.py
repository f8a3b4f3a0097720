"""The README's code runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def code_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("block", code_blocks(), ids=lambda block: f"{len(block)} characters")
def test_readme_code_runs_on_both_backends(block: str, backend: str, tmp_path: Path) -> None:
    """A code block of the README runs as it is, prints the tree's events, and ends by itself."""
    program = tmp_path / "readme.py"
    program.write_text(block.replace('backend="trio"', f'backend="{backend}"'))
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "child_exited root/agents/one" in done.stdout
