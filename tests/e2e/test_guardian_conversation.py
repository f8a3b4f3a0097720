"""A conversation that is captured by a run, and what ``states`` makes of it afterwards."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from supervisor import identify

from ..support import run_supervisor
from ..transcripts import conversation, said
from .guarded import guarding, runs

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no worker has a process of its own there")

SESSION = "0b5c1d2e-3f40-4a51-8b62-7c8d9e0f1a2b"


def test_what_a_run_has_captured_can_be_put_back(backend: str, tmp_path: Path) -> None:
    """The session is the one that the agent has registered for its process. It is captured before the restart, and although the one that
    captures was killed before; after the run ``states`` shows it, and puts the transcript that was destroyed back bit by bit.
    """
    project, home = tmp_path.resolve() / "project", tmp_path.resolve() / "claude"
    folder = home / "projects" / str(project).replace("/", "-")
    folder.mkdir(parents=True)
    (home / "sessions").mkdir()
    transcript = folder / f"{SESSION}.jsonl"
    transcript.write_bytes(b"".join(line + b"\n" for line in conversation(1, 60)))
    env = {"CLAUDE_CONFIG_DIR": str(home)}
    with guarding(project, backend, "await:on", "grow:45", "await:more", "grow:70", "stay", "/", "await:end", env=env) as run:
        leaf = identify(run.wait_pid("leaf"))
        assert leaf is not None
        entry = {"pid": leaf.pid, "procStart": str(leaf.created), "sessionId": SESSION, "cwd": str(project), "version": "2.1.0"}
        (home / "sessions" / f"{leaf.pid}.json").write_text(json.dumps(entry))
        run.touch("on")
        run.wait_for("state_captured")
        archive = run.named("child_started", path=["guardian", "services", "archive"])[0]["data"]["pid"]
        assert archive != run.program.process.pid and runs(archive)
        os.kill(archive, signal.SIGKILL)
        run.wait_for("child_exited", path=["guardian", "services", "archive"])
        with transcript.open("ab") as file:
            file.write(said("Does it survive the restart?") + b"\n" + said("And what is torn?")[:50])
        whole = transcript.read_bytes()
        run.touch("more")
        run.wait_for("restart_completed")
        run.touch("end")
        assert run.finish().returncode == 0
        assert not run.named("capture_failed") and len(run.named("state_captured")) >= 2
        again = run.named("child_started", path=["guardian", "services", "archive"])[-1]["data"]["pid"]
    assert again != archive and not runs(again)

    options = ("--project", str(project), "--state-dir", str(project / "state"))
    shown = run_supervisor("states", "show", "--json", *options, env=env)
    state = json.loads(shown.stdout)
    assert state["conversation"]["session_id"] == SESSION
    assert state["conversation"]["digest"]["last_prompt"] == "Does it survive the restart?"
    assert state["metadata"]["versions"]["claude"] == "2.1.0"
    said_to_a_person = run_supervisor("states", "show", *options, env=env).stdout
    assert SESSION in said_to_a_person

    transcript.write_bytes(whole[:1000])
    restored = run_supervisor("states", "restore", "--transcript", *options, env=env)
    assert restored.returncode == 0, restored.stderr
    assert transcript.read_bytes() == whole
