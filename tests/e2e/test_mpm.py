"""Claude MPM beside us: its command and its configuration as ours, and its monitor, which is told what happens."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import threading
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from ..claude_code import Api, claude_code, surroundings
from ..support import Finished, run_supervisor
from .claude_run import guarding_claude

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell")


@attrs.define
class Monitor:
    """What a monitor was told; it answers as Claude MPM's does."""

    url: str = ""
    bodies: list[dict[str, Any]] = attrs.field(factory=list)

    def named(self, name: str) -> list[dict[str, Any]]:
        """The outer data of the events of a name."""
        return [body["data"] for body in self.bodies if body["data"]["data"]["name"] == name]


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    told = Monitor()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/api/events" and self.headers["Content-Type"] == "application/json"
            told.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield told
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])
def test_turns_and_tools_are_events_and_the_monitor_is_told(build: str, backend: str, api: Api, monitor: Monitor, tmp_path: Path) -> None:
    """Each hook that was asked for is an event of the leaf; the monitor hears of lives and of the run, in its own words."""
    tables: Mapping[str, Mapping[str, object]] = {"hooks": {"claude_code": "tools"}, "mpm": {"monitor": monitor.url}}
    with guarding_claude(tmp_path, backend, api, build, tables=tables) as run:
        run.say('FAKE: [{"tool": "Bash", "input": {"command": "echo \\"tool_name\\":\\"no\\""}}, {"text": "done"}]')
        assert run.wait_results(1) == ["done"]
        run.wait_for("claude_hook", hook="Stop")
        run.end_input()
        assert run.finish().returncode == 0

    told = [event["data"] for event in run.named("claude_hook") if event["data"]["hook"] != "SessionStart"]
    assert [(data["hook"], data["tool"]) for data in told] == [("UserPromptSubmit", None), ("PreToolUse", "Bash"), ("Stop", None)]
    (session,) = {event["data"]["session_id"] for event in run.named("conversation_started")}
    assert {data["session_id"] for data in told} == {session} and not any(data["missed"] for data in told)
    (started,) = monitor.named("child_started")
    assert (started["type"], started["subtype"], started["source"]) == ("claude", "started", "system")
    (stopped,) = monitor.named("child_exited")
    assert (stopped["type"], stopped["subtype"], stopped["session_id"], stopped["cwd"]) == ("claude", "stopped", session, str(tmp_path))
    assert [body["data"]["data"]["name"] for body in monitor.bodies][-1] == "run_finished"
    assert not monitor.named("claude_hook")


def test_its_command_answers_a_prompt_without_a_terminal(api: Api, monitor: Monitor, tmp_path: Path) -> None:
    """What it said to be "not yet supported": one turn, whose answer is on standard output, with the prompt from a file."""
    (tmp_path / "task.txt").write_text("hello from a file")
    port = monitor.url.rpartition(":")[2]
    environ = surroundings(tmp_path, api.url)
    words = ("--memory-threshold", "5000", "--websocket-port", port, "-i", "task.txt", "--non-interactive", "--state-dir", "state")
    done = run_supervisor("run-guarded", *words, "--", claude_code("native"), "--model", "opus", cwd=tmp_path, env=environ)
    assert (done.returncode, done.stdout.strip()) == (0, "ok: hello from a file"), done.stderr
    assert monitor.named("monitoring_started")[0]["data"]["details"]["critical_bytes"] == 5000 << 20


# ---------------------------------------------------------------- with a program that only says how it was started


@contextlib.contextmanager
def called_claude(folder: Path) -> Iterator[dict[str, str]]:
    """A program called claude that writes its arguments, one a line, and how it is configured to nobody."""
    place = folder / "bin"
    place.mkdir()
    (place / "claude").write_text("#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done\nexit 3\n")
    (place / "claude").chmod(0o755)
    yield {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}", "MEMORY_GUARDIAN_GUARDIAN_STATE_DIR": str(folder / "state")}


def guarded(folder: Path, *words: str, **environ: str) -> tuple[Finished, list[str]]:
    """Run ``run-guarded`` over such a program; what it was given, without what gets it into its conversation."""
    with called_claude(folder) as own:
        done = run_supervisor("run-guarded", "--backend", "asyncio", *words, cwd=folder, env={**own, **environ})
    given = done.stdout.splitlines()
    return done, given[4:] if given[:1] == ["--session-id"] else given


def test_all_its_options_are_taken(tmp_path: Path) -> None:
    """What has an effect has it, what has none says why, and the exit code is the program's own."""
    switches = "--quiet --verbose --show-stats --no-hooks --no-tickets --no-native-agents --accept-experimental --force-experimental"
    more = "--enable-state-preservation --stats-interval 60 --logging INFO --log-dir logs --check-interval 30 --graceful-timeout 5"
    limits = "--warning-threshold 700 --emergency-threshold 900 --memory-threshold 800 --max-restarts 0 --restart-cooldown 600"
    done, given = guarded(tmp_path, *switches.split(), *more.split(), *limits.split(), "--", "--model", "opus", "a b")
    assert done.returncode == 3 and given == ["--model", "opus", "a b"]
    for name in [*switches.split(), "--stats-interval", "--logging", "--log-dir"]:
        assert f"note: {name} has no effect: " in done.stderr, name
    assert done.stderr.count("has no effect") == 11


def test_a_configuration_is_imported(tmp_path: Path) -> None:
    """To standard output, as a file that `check` finds valid; faults name the line and end with 2."""
    file = tmp_path / "memory_guardian.yaml"
    file.write_text("thresholds: {warning: 600, critical: 700, emergency: 800}\nmonitoring:\n  prefer_psutil: true\n")
    done = run_supervisor("import-mpm", "memory_guardian.yaml", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert tomllib.loads(done.stdout) == {"thresholds": {"critical": "700MiB", "emergency": "800MiB", "warning": "600MiB"}}
    assert "# memory_guardian.yaml:3: monitoring.prefer_psutil: no counterpart: " in done.stdout
    (tmp_path / "ours.toml").write_text(done.stdout)
    assert run_supervisor("check", "ours.toml", cwd=tmp_path).stdout.startswith("ours.toml: valid\n")
    told = json.loads(run_supervisor("import-mpm", "memory_guardian.yaml", "--json", cwd=tmp_path).stdout)
    assert told["keys"]["thresholds.warning"] == {"from": "thresholds.warning", "place": "memory_guardian.yaml:1"}
    assert [note["key"] for note in told["notes"]] == ["monitoring.prefer_psutil"]
    file.write_text("thresholds:\n  warning: [1]\n")
    wrong = run_supervisor("import-mpm", "memory_guardian.yaml", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "memory_guardian.yaml:2: thresholds.warning: expected a size" in wrong.stderr


def test_a_variable_of_its_own_says_where_the_monitor_is(tmp_path: Path, monitor: Monitor) -> None:
    """The one that its hooks go by."""
    done, _ = guarded(tmp_path, CLAUDE_MPM_SERVER_PORT=monitor.url.rpartition(":")[2])
    assert done.returncode == 3 and monitor.named("run_finished")[0]["type"] == "system"
