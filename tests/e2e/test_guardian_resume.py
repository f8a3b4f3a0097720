"""A run that starts from a captured state."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.edge.command_line import main
from workers.state.store import StateStore

from ..process.state_support import SESSION, saved
from ..support import ROOT, Finished, read_events, run_supervisor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="runs a POSIX shell")
TELLS = 'pwd; printf "%s|%s\\n" "$CLAUDE_CONFIG_DIR" "$CLAUDE_CODE_MAX_OUTPUT_TOKENS"'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path.resolve() / "project"
    (place / "sub").mkdir(parents=True)
    return place


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "states")


def started(store: StateStore, project: Path, *words: str, env: dict[str, str | None] | None = None) -> Finished:
    return run_supervisor("run", "--state-dir", store.state_dir, *words, cwd=project, env=env)


def test_a_run_starts_where_the_captured_one_was(project: Path, store: StateStore, tmp_path: Path, backend: str) -> None:
    """In its working directory, with the agent's own variables, never over those that are set now; an event and a note say so."""
    environment = {
        "PATH": "/nowhere",
        "CLAUDE_CONFIG_DIR": "/srv/captured",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "32000",
        "CLAUDE_CODE_OAUTH_TOKEN": "[redacted:key-name]",
    }
    talk = {"session_id": SESSION, "transcript": "/t"}
    path = saved(store, project, cwd=project / "sub", environment=environment, conversation=talk)
    events = tmp_path / "events.jsonl"
    words = ("--resume", "--backend", backend, "--events", str(events), "--", "sh", "-c", TELLS)
    done = started(store, project, *words, env={"CLAUDE_CONFIG_DIR": "/srv/now"})
    assert (done.returncode, done.stdout.splitlines()) == (0, [str(project / "sub"), "/srv/now|32000"]), done.stderr
    (event,) = [event for event in read_events(events) if event["event"] == "state_restored"]
    assert event["path"] == ["guardian", "agents", "sh", "leaf"]
    assert event["data"] == {
        "state_id": path.name.partition(".json")[0],
        "file": str(path),
        "working_directory": str(project / "sub"),
        "session_id": SESSION,
        "withheld": ["CLAUDE_CODE_OAUTH_TOKEN"],
    }
    assert "starts from the state" in done.stderr and "CLAUDE_CODE_OAUTH_TOKEN" in done.stderr and SESSION in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="terminals as Linux has them")
def test_the_terminal_gets_its_title_back(project: Path, store: StateStore) -> None:
    """Where a person sits at the run, before the command has the screen; a terminal that is not theirs gets none."""
    saved(store, project)
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "supervisor", "run", "--state-dir", str(store.state_dir), "--resume", "--", "echo", "hello"]
    shown = b""
    try:
        done = subprocess.run(
            words, cwd=project, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=30
        )
        while select.select([ours], [], [], 0)[0]:
            shown += os.read(ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert 0 <= shown.find(b"\x1b]0;claude - project\x07") < shown.find(b"hello")
    assert "\x1b" not in started(store, project, "--resume", "--", "true").stdout


def test_without_a_command_the_captured_one_is_run(project: Path, store: StateStore) -> None:
    """From the state alone, by its id, from anywhere."""
    path = saved(store, project, argv=("sh", "-c", 'echo "ran $1"', "sh", "a b"))
    saved(store, project, argv=("false",), agent="other")
    done = started(store, project.parent, "--resume", path.name.partition(".json")[0])
    assert (done.returncode, done.stdout) == (0, "ran a b\n"), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--resume", "--", "true"], "--resume: no state of this project can be used; the subcommand states list --all says"),
        (["--resume", "20260102", "--", "true"], "--resume: no state is called '20260102'"),
        (["--resume=../x", "--critical", "x", "--", "true"], "2 faults"),
        (["--resume", "whole"], "the captured command held a secret"),
        (["--resume", "gone", "--", "true"], "is not there any more"),
        (["--resume", "damaged", "--", "true"], "it is damaged"),
        (["--resume", "whole", "--config", "two.toml"], "is for a run of one agent"),
        (["--resume", "whole", "--config", "elsewhere.toml"], "which is not in the configured"),
    ],
)
def test_what_cannot_be_resumed_is_a_fault_of_usage(
    project: Path, store: StateStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """Exit code 2 and why, together with all other faults; nothing is started."""
    monkeypatch.chdir(project)
    (project / "two.toml").write_text('[[agents]]\nname = "a"\nargv = ["true"]\n[[agents]]\nname = "b"\nargv = ["true"]\n')
    (project / "elsewhere.toml").write_text(f'[command]\nargv = ["true"]\nworking_directory = "{project / "sub"}"\n')
    if any(name in words for name in ("whole", "gone", "damaged")):
        place = project / "went" if "gone" in words else project
        path = saved(store, place, argv=("sh", "--token=[redacted:argument]"))
        if "damaged" in words:
            path.write_bytes(path.read_bytes()[:-9])
        words = [path.name.partition(".json")[0] if word in ("whole", "gone", "damaged") else word for word in words]
    code = main(["run", "--state-dir", str(store.state_dir), *words], environ={"HOME": os.environ["HOME"]})
    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert said in told.err
