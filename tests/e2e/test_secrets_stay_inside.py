"""The real launcher with secrets in its way: by no way out of it does one leave. All of them are made up, when the tests run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

import pytest

from benchmarks.planted import planted
from workers.state.codec import decompress

from ..support import Finished, running
from .guarded import guarding
from .test_control_commands import ask, listens

SECRET = next(one.secret for one in planted(Random(11)) if one.kind == "github-token")
MARK = "[redacted: github-token]"


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory as Linux tells it")
def test_no_way_out_of_a_run_lets_a_secret_through(tmp_path: Path) -> None:
    """What a person wrote as a reason comes without its secret to the event file, hooks, followers, ``status``, the screen and the disk."""
    state = tmp_path / "state"
    tables = {"hooks": {"on_event": ["sh", "-c", f"cat >> {tmp_path}/hook.jsonl"]}}
    with guarding(tmp_path, "trio", "await:end", "exit:4", tables=tables, state_dir=state) as run:
        listens(run)
        answers = [
            ask("capture", "--reason", f"before {SECRET} was used", "--json"),
            ask("degrade", "actor", "read_only", "--reason", f"with {SECRET}"),
            ask("restart", "actor", "--reason", f"after {SECRET} was used"),
        ]
        run.wait_for("degradation_changed", new="read_only")
        run.wait_for("restart_completed")
        answers += [ask("status", "--json"), ask("events", "--json"), ask("events"), ask("restart", SECRET, code=2)]
        run.touch("end")
        finished = run.finish()
    for answer in answers:
        assert SECRET not in answer.stdout + answer.stderr
    for text in (answers[4].stdout, answers[5].stdout, finished.stderr, *map(Path.read_text, tmp_path.glob("*.jsonl"))):
        assert SECRET not in text
        assert MARK in text
    kept = [decompress(path.read_bytes(), 2**20).decode() for path in state.rglob("*.json.*")]
    assert SECRET not in "".join(kept) and MARK in "".join(kept)
    others = [path.read_text() for path in state.rglob("*") if path.is_file() and path.suffix not in (".gz", ".zst")]
    assert SECRET not in "".join(others)


PROGRAM = f"""
import sys
from supervisor import ChildSpec, Restart, Supervisor, command
from supervisor.edge.command_line import main
from workers.redactor import REDACTOR

SECRET = {SECRET[:12]!r} + {SECRET[12:]!r}

def boom():
    raise RuntimeError("cannot use " + SECRET)

def loud():
    shell = ("sh", "-c", 'echo "denied: $0" >&2; exit 3', SECRET)
    launch = command(*shell, stderr=lambda chunk: None, tail=5)
    return Supervisor("loud", [ChildSpec("one", launch, restart=Restart.PERMANENT)], intensity=0)

class Application:
    def add_options(self, parser): pass
    def configure(self, options, environ): return None
    def redactor(self): return REDACTOR
    async def run(self, configured, session): boom()

application = Application()
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], application="program:application"))
"""


def launched(folder: Path, *words: str) -> Finished:
    (folder / "program.py").write_text(PROGRAM)
    with running(sys.executable, folder / "program.py", *words, cwd=folder, env={"PYTHONPATH": str(Path(__file__).parents[2])}) as program:
        return program.wait(30)


def test_a_crash_report_holds_no_secret(tmp_path: Path) -> None:
    """The traceback of a fault of ours, with which the program ends with 70, comes without the secret in its message."""
    finished = launched(tmp_path, "run", "--no-control", "--", "true")
    assert finished.returncode == 70
    assert "internal error: RuntimeError('cannot use " + MARK in finished.stderr
    assert SECRET not in finished.stderr


def test_what_is_wrong_with_a_tree_is_told_without_a_secret(tmp_path: Path) -> None:
    """The line about a tree that cannot be made passes the redaction as well."""
    finished = launched(tmp_path, "app", "program:boom")
    assert finished.returncode == 2
    assert MARK in finished.stderr and SECRET not in finished.stderr


def test_a_tree_of_anybody_has_its_events_redacted(tmp_path: Path) -> None:
    """``app`` has the same event file: what a command wrote last, which is in its exit, comes without the secret."""
    finished = launched(tmp_path, "app", "program:loud", "--events", str(tmp_path / "events.jsonl"))
    assert finished.returncode == 75
    assert SECRET not in finished.stderr
    events = (tmp_path / "events.jsonl").read_text()
    assert SECRET not in events
    exits = [event["data"]["exit"] for event in map(json.loads, events.splitlines()) if event["event"] == "child_exited"]
    assert exits[0]["output"] == [f"denied: {MARK}"]


def test_a_wrong_command_line_is_told_without_its_secrets(tmp_path: Path) -> None:
    """What a person should have written is quoted, and the secrets in it are not."""
    finished = launched(tmp_path, "deploy", "--token", SECRET)
    assert finished.returncode == 2
    assert "put -- before the command" in finished.stderr
    assert SECRET not in finished.stderr
