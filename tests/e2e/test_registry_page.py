"""The programs on the page about registries, partitions and tasks run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..support import ROOT

SAYS = {
    "Registry": [
        "ann of generation 1 got 'hello'",
        "ann of generation 2 got 'hello again'",
        "('root', 'agent') running",
        "registry agents: 'sleeper' is registered by root/agent already",
        "0 left",
    ],
    "PartitionSupervisor": [
        "3 3 1 ChildRef(shards/1, generation=1)",
        "4 became 2 ChildCounts(specs=4, active=2, supervisors=0, workers=4)",
        "root/shards/0/agent",
    ],
    "TaskSupervisor": [
        "root/tasks/slow has no result: shutdown",
        "[(0.01, 'normal'), (60.0, 'timeout')]",
        "there are 3 children already, and no more are allowed",
    ],
}
"""What the program under each heading prints, among other things."""


def programs() -> dict[str, str]:
    """The code under each heading."""
    text = (ROOT / "docs" / "registry-and-tasks.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    found = {section.partition("\n")[0]: re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL) for section in sections}
    return {heading: "\n".join(blocks) for heading, blocks in found.items() if blocks}


def test_every_program_is_known() -> None:
    """None is added without what it prints."""
    assert set(programs()) == set(SAYS)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("heading", SAYS)
def test_a_program_runs_on_both_backends(heading: str, backend: str, tmp_path: Path) -> None:
    """It does what its text says, ends by itself, and complains about nothing."""
    program = tmp_path / "program.py"
    program.write_text(programs()[heading].replace('backend="trio"', f'backend="{backend}"'))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in SAYS[heading] if line not in done.stdout] == []
