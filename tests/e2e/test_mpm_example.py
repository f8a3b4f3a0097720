"""The multi-agent example: it loses no task while its agents are killed and leak."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..claude_code import claude_code, remove_tool_files
from ..support import ROOT, running

EXAMPLE = str(ROOT / "examples" / "mpm.py")


@pytest.mark.deadline(150)
def test_no_task_is_lost_while_agents_are_killed_and_leak(tmp_path: Path) -> None:
    """Each is answered and reviewed once; the guardian sees to what leaks, and every life but the first has a reason."""
    report = tmp_path / "report.json"
    words = ["--scripted", "--claude", str(claude_code("native")), "--sessions", "3", "--tasks", "5", "--report", str(report)]
    chaos = ["--chaos", "--kills", "2", "--every", "2.5", "--step-mib", "120", "--most-mib", "360", "--critical-mib", "300"]
    with running(sys.executable, EXAMPLE, *words, *chaos, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as program:
        ended = program.wait(120)
    remove_tool_files(tmp_path)

    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    said = json.loads(report.read_text())
    assert [task["answers"] for task in said["tasks"]] == [[f"answer {number}"] for number in range(1, 6)] and said["lost"] == []
    assert {tuple(task["verdicts"]) for task in said["tasks"]} == {("approved",)}
    assert sum(one["killed"] for one in said["sessions"].values()) == 2
    assert said["sessions"]["worker-1"]["restarted"] + said["sessions"]["worker-1"]["tools_ended"] >= 1
    for one in said["sessions"].values():
        assert one["lives"] == 1 + one["killed"] + one["restarted"]
    assert re.search(r"^5 of 5 tasks answered and reviewed, each exactly once$", ended.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--sessions", "2"], "a team has a planner, a reviewer and a worker"),
        (["--tasks", "0"], "a team has"),
        (["--chaos"], "it needs --scripted"),
        (["--scripted", "--claude", "no-such-claude"], "no-such-claude"),
    ],
)
def test_wrong_words_are_refused_at_once(words: list[str], complaint: str, tmp_path: Path) -> None:
    """With what is wrong, and without a traceback."""
    ran = subprocess.run(
        [sys.executable, EXAMPLE, *words],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert ran.returncode == 2 and complaint in ran.stderr and "Traceback" not in ran.stderr
