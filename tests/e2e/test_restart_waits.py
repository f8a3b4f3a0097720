"""A restart that a person asks for, and lives that take long to begin: whatever is shown of them, with a stand-in for Claude Code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor import Client
from supervisor.edge.control.finding import found

from ..support import eventually_sync, run_supervisor, supervising
from .guarded import Guarded, Tables, configured

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX"), pytest.mark.deadline(180)]
STANDING_IN = Path(__file__).parent / "agents" / "standing_in.py"


@pytest.fixture
def run(backend: str, tmp_path: Path) -> Iterator[Guarded]:
    """A guarded ``claude`` whose lives may be slow: the time to be ready is up long before."""
    claude = tmp_path / "claude"
    claude.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {STANDING_IN} "$@"\n')
    claude.chmod(0o755)
    (tmp_path / "slow").write_text("1.5")
    calm = {"warning": "4GiB", "critical": "5GiB", "emergency": "6GiB"}
    tables: Tables = {"thresholds": calm, "command": {"start_timeout": 0.3}, "restart": {"graceful_timeout": 1}}
    words = ("--backend", backend, "--config", configured(tmp_path / "c.toml", tables), "--events", tmp_path / "events.jsonl")
    with supervising(*words, "--state-dir", tmp_path / "state", "--", claude, cwd=tmp_path) as program:
        yield Guarded(program, tmp_path)


def mine(run: Guarded) -> tuple[str, str]:
    """The option that names this guardian: others may run."""
    return "--guardian", str(run.program.process.pid)


def lives(run: Guarded, count: int) -> None:
    """Wait until so many lives have begun their conversation."""
    file = run.folder / "lives"
    eventually_sync(lambda: file.exists() and len(file.read_text().splitlines()) >= count, 40, what=f"life {count}")


def turn(run: Guarded, file: str, *, busy: bool) -> None:
    """Begin or end a turn, and wait until the guardian knows."""
    run.touch(file)

    (place,) = (one for one in found(os.environ) if one.process.pid == run.program.process.pid)
    with Client(place) as client:
        eventually_sync(lambda: client.call("samples")["claude"]["idle"] is not busy, 40, what=f"a turn: {busy}")


def test_a_restart_that_is_asked_for_waits_and_says_so(run: Guarded) -> None:
    """For the end of the turn; with ``--now`` it does not. A life that takes long until it says anything is left alone."""
    lives(run, 1)
    turn(run, "busy", busy=True)
    with supervising("restart", "claude", *mine(run), "--reason", "new tools", cwd=run.folder) as asking:
        eventually_sync(lambda: "waits for the end of its turn, 2 min 00 s at most; --now" in asking.stderr, 40, what="what it says")
        run.wait_for("restart_deferred", controlled=True)
        assert asking.process.poll() is None and not run.named("restart_initiated")
        run.touch("over")
        done = asking.wait()
    assert done.returncode == 0 and "is running: life 2" in done.stdout
    lives(run, 2)

    turn(run, "busy", busy=True)
    asked = run_supervisor("restart", "claude", "--now", *mine(run), "--reason", "no time", cwd=run.folder)
    assert asked.returncode == 0 and "waits" not in asked.stderr and "life 3" in asked.stdout
    lives(run, 3)
    run.touch("end")
    assert run.finish().returncode == 0

    begun = [(event["generation"], event["data"]["cut"]) for event in run.named("conversation_started")]
    assert begun == [(1, False), (2, False), (3, True)]
    assert len(run.named("restart_deferred")) == 1 and not run.named("child_start_failed")
    started = [event["generation"] for event in run.named("child_started", path=["guardian", "agents", "claude", "leaf"])]
    assert started == [1, 2, 3], "nobody was started again for being slow"
    said = (run.folder / "said").read_text().splitlines()
    assert [line.count("systemMessage") for line in said] == [1, 1]
    assert "restarted: new tools." in said[0] and "was cut" not in said[0]
    assert "restarted: no time." in said[1] and "was cut" in said[1]
