"""Work that no hook tells of and the program's registry does, such as the summary of ``/compact``, by a stand-in for the program."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from supervisor import identify

from ..claude_code import Api
from ..support import ROOT
from .claude_run import LEAF, guarding_claude
from .guarded import Tables

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the registry says when a process began as Linux does")
HIGH: Tables = {"thresholds": {"warning": "1MiB"}}
"""Its memory is at warning from its start, and nothing comes of that."""


def test_who_is_registered_as_busy_is(backend: str, tmp_path: Path) -> None:
    """Where memory is high, so that a restart may be near: it would take the work with it, which is no turn that could be cut."""
    program = tmp_path / "claude"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {ROOT / "tests/children/claude_stand_in.py"} "$@"\n')
    program.chmod(0o755)
    api = Api("http://127.0.0.1:1", tmp_path / "nowhere")
    with guarding_claude(tmp_path, backend, api, "", tables=HIGH, command=(str(program),), streams=False, piped=True) as run:
        process = identify(run.wait_for("child_started", path=LEAF)["data"]["pid"])
        session = run.wait_for("conversation_started")["data"]["session_id"]
        assert process is not None

        def register(status: str) -> None:
            entry = {"pid": process.pid, "procStart": str(process.created), "sessionId": session, "status": status}
            registry = tmp_path / "config" / "sessions"
            registry.mkdir(parents=True, exist_ok=True)
            (registry / "new").write_text(json.dumps(entry))
            (registry / "new").rename(registry / f"{process.pid}.json")

        run.say("hello")
        run.wait_for("memory_level_changed", path=LEAF)
        run.wait_idle(True)
        register("busy")
        run.wait_idle(False)
        register("idle")
        run.wait_idle(True)
        run.end_input()
        assert run.finish().returncode == 0
    assert [event["data"]["cut"] for event in run.named("conversation_started")] == [False]
