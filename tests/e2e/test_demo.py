"""The demonstration, as ``make run`` shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..support import read_events, run_supervisor
from .guarded import names, whole

FIRST = ["memory_level_changed", "state_captured", "restart_initiated", "restart_completed", "run_finished"]


@pytest.mark.deadline(120)
def test_the_demonstration_shows_everything_and_ends(tmp_path: Path) -> None:
    """Normal, warning, critical, capture, restart, back to normal, and a summary; each life goes on where the one before it was. (What
    it shows knows no event loop: one is enough.)
    """
    done = run_supervisor("demo", "--events", tmp_path / "events.jsonl", cwd=tmp_path, env={"TMPDIR": str(tmp_path)}, timeout=100)
    events = read_events(tmp_path / "events.jsonl")
    about = [event for event in events if event["path"][-1] == "leaf" or event["event"] == "run_finished"]

    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    whole(events, 0)
    life = ["normal -> warning", "warning -> critical", "critical -> normal"]
    changes = [f"{event['data']['old']} -> {event['data']['new']}" for event in about if event["event"] == "memory_level_changed"]
    assert changes[:6] == [*life, *life]
    assert sorted(set(FIRST), key=[*names(about)].index) == FIRST
    assert names(about).count("restart_completed") == 2
    stopped, resumed = (re.findall(rf"{words} turn (\d+)", done.stdout) for words in ("asked to end after", "resumed at"))
    assert len(resumed) == 2 and resumed == stopped
    assert "done after 44 turns and 3 lives" in done.stdout
    summary = done.stderr[done.stderr.index("memory-guardian:") :]
    assert re.search(r"restarts +2\n", summary) and re.search(r"peak memory +2\d\d MiB", summary) and "/state/" in summary
