"""The real launcher and what another terminal asks of it: status, events, restart, capture, degrade, reload, stop."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from supervisor import Client, ControlError
from supervisor.edge.control.finding import found

from ..support import ROOT, Finished, eventually_sync, run_supervisor, supervising
from .guarded import LEAF, Guarded, configured, guarding

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads memory as Linux tells it")


def ask(*words: str, code: int = 0) -> Finished:
    """Run a subcommand, which ends with that code and without a traceback."""
    done = run_supervisor(*words)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def told(*words: str) -> Any:
    """What a subcommand says as JSON."""
    return json.loads(ask(*words, "--json").stdout)


def leaf_of(status: dict[str, Any]) -> dict[str, Any]:
    """The one leaf in the answer of ``status``."""
    (agents,) = [child for child in status["tree"]["children"] if child["id"] == "agents"]
    leaf: dict[str, Any] = agents["children"][0]["children"][0]
    return leaf


def listens(run: Guarded) -> None:
    """Wait until it can be asked."""
    run.wait_for("monitoring_started")
    eventually_sync(lambda: any(place.process.pid == run.program.pid for place in found(os.environ)), 20, what="its socket")


def watched(run: Guarded) -> dict[str, Any]:
    """The leaf's row, once its memory is known."""
    rows: list[dict[str, Any]] = []

    def known() -> bool:
        rows.append(leaf_of(told("status")))
        return rows[-1]["memory_bytes"] is not None

    listens(run)
    eventually_sync(known, 20)
    return rows[-1]


def test_status_tells_the_tree_its_memory_and_what_comes(tmp_path: Path, backend: str) -> None:
    """For programs all of it, for a person a table in words; a name chooses, and a wrong one is an error with the right one."""
    with guarding(tmp_path, backend, "grow:45", "stay") as run:
        row = watched(run)
        assert (row["path"], row["state"], row["level"], row["mode"]) == (LEAF, "running", "warning", "normal")
        assert row["memory_bytes"] >= 44 << 20 and row["pid"] == run.wait_pid("leaf")
        assert row["thresholds"] == {"warning_bytes": 40 << 20, "critical_bytes": 60 << 20, "emergency_bytes": 900 << 20}
        assert (row["restarts_left"], row["cycles_left"], row["intensity"], row["idle"]) == (3, 3, 3, True)
        status = told("status", "actor")
        assert (status["pid"], status["backend"], status["file"]) == (run.program.pid, backend, str(tmp_path / "guardian.toml"))
        assert status["agents"]["actor"]["level"] == "warning"

        lines = ask("status").stdout.splitlines()
        assert lines[0].startswith(f"run {status['run'][:8]}, pid {run.program.pid}, up ")
        assert lines[2].split() == ["tree", "state", "memory", "level", "mode", "pid", "restarts", "left", "uptime", "next"]
        (last,) = [line for line in lines if "leaf" in line]
        assert last.split()[1:3] == ["leaf", "running"] and "MiB" in last
        assert "warning" in last and "3 of 3" in last and "prepared for a restart from 60.0 MiB on" in last

        assert "no guardian is called 'acter' (did you mean 'actor'?)" in ask("status", "acter", code=2).stderr
        assert leaf_of(told("status", status["run"][:8]))["sampled_ago"] < 20
        run.program.send(signal.SIGTERM)
        run.finish()


def test_on_a_terminal_the_table_fits(tmp_path: Path, backend: str) -> None:
    """Whatever is too much for its width is cut or left out, never wrapped, and the state stays."""
    with guarding(tmp_path, backend, "stay") as run:
        watched(run)
        for width in (132, 80, 40):
            shown = on_terminal(["status"], width)
            assert all(len(line) <= width for line in shown.splitlines()[2:]), shown
            assert "└─ leaf" in shown and "running" in shown
            assert ("normal" in shown) is (width > 40)
        run.program.send(signal.SIGTERM)
        run.finish()


def on_terminal(words: list[str], width: int) -> str:
    """What a subcommand shows on a terminal of so many columns."""
    keys, line = pty.openpty()
    try:
        fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
        with subprocess.Popen([sys.executable, "-m", "supervisor", *words], stdin=line, stdout=line, stderr=line, env=environ) as process:
            os.close(line)
            line = -1
            shown = b""
            try:
                while more := os.read(keys, 65536):
                    shown += more
            except OSError:
                pass  # the other end is closed
            assert process.wait(20) == 0, shown
    finally:
        os.close(keys)
        if line >= 0:
            os.close(line)
    return shown.decode().replace("\r\n", "\n")


def test_events_are_told_from_the_beginning_and_followed_to_the_end(tmp_path: Path, backend: str) -> None:
    """As JSON line by line what the event file has, ``run_finished`` included; for a person the words of the run itself."""
    with guarding(tmp_path, backend, "stay") as run:
        listens(run)
        with supervising("events", "--follow", "--json") as follower, supervising("events", "--follow") as reader:
            eventually_sync(lambda: "monitoring_started" in follower.stdout, 20)
            eventually_sync(lambda: "watched: warning" in reader.stdout, 20)
            first = ask("events", "--json").stdout.splitlines()
            since = ask("events", "--json", "--since", "5").stdout.splitlines()
            assert "--since: expected the number of an event" in ask("events", "--since", "x", code=2).stderr
            assert "the latest event is" in ask("events", "--since", "4000", code=2).stderr
            run.program.send(signal.SIGTERM)
            finished = run.finish()
            followed = follower.wait()
            assert (followed.returncode, reader.wait().returncode) == (0, 0)
            assert [json.loads(line) for line in followed.stdout.splitlines()] == run.events
            assert [json.loads(line) for line in first] == run.events[: len(first)]
            assert since == first[5:]
            said = [line for line in finished.stderr.splitlines() if line[:2].isdigit()]
            assert reader.stdout.splitlines() == said


def test_a_restart_is_the_guardian_s_own(tmp_path: Path, backend: str) -> None:
    """State is captured first, the new life is judged, the budget is spent; when it is, the answer says so and the leaf lives."""
    with guarding(tmp_path, backend, "stay", tables={"restart": {"max_attempts": 2}}) as run:
        watched(run)
        done = told("restart", "actor", "--reason", "tried by hand")
        assert (done["path"], done["generation"], done["state"]) == (LEAF, 2, "running")
        run.wait_for("restart_completed", reason="tried by hand")
        assert "is running: life 3, pid" in ask("restart", "actor/leaf").stdout
        run.wait_for("restart_completed", 2)
        refused = ask("restart", "/".join(LEAF), code=1)
        assert "attempts" in refused.stderr or "restarts" in refused.stderr
        row = leaf_of(told("status"))
        assert (row["generation"], row["restarts"], row["cycles_left"], row["controlled_restarts"], row["mode"]) == (3, 2, 0, 2, "normal")
        assert "there is no child 'acto' (did you mean 'actor'?)" in ask("restart", "acto", "--guardian", "actor", code=2).stderr
        assert "needs the child to restart" in ask("restart", code=2).stderr
        names = [event["event"] for event in run.events]
        order = [names.index(name) for name in ("restart_initiated", "state_captured", "child_restarted", "restart_completed")]
        assert order == sorted(order)
        run.program.send(signal.SIGTERM)
        run.finish()


@pytest.mark.parametrize(
    ("options", "tables", "why"),
    [
        (("--dry-run",), {}, "dry run: nothing is captured"),
        ((), {"guardian": {"persist_state": False}}, "persist_state is off"),
        ((), {"guardian": {"enabled": False}}, "the worker that captures state is down"),
    ],
    ids=["dry-run", "persist_state", "enabled"],
)
def test_a_capture_where_nothing_is_kept_is_refused(
    tmp_path: Path, options: tuple[str, ...], tables: dict[str, dict[str, object]], why: str
) -> None:
    """It says why, and writes nothing."""
    with guarding(tmp_path, "asyncio", "stay", options=options, tables=tables) as run:
        eventually_sync(lambda: any(place.process.pid == run.program.pid for place in found(os.environ)), 20, what="its socket")
        assert why in ask("capture", code=1).stderr
        assert list((tmp_path / "state").rglob("*.json.*")) == []
        run.program.send(signal.SIGTERM)
        run.finish()


def test_capture_degrade_and_thresholds(tmp_path: Path, backend: str) -> None:
    """A capture names its file; a mode is asked for and taken back; thresholds are judged by the next sample."""
    with guarding(tmp_path, backend, "grow:30", "stay", tables={"monitoring": {"normal_interval": 1000}}) as run:
        watched(run)
        done = told("capture", "actor", "--reason", "to keep")
        assert Path(done["state_file"]).is_file()
        assert run.wait_for("state_captured")["data"]["reason"] == "to keep"
        assert "is captured: " in ask("capture").stdout

        ask("degrade", "actor", "read_only", "--reason", "a pause")
        assert run.wait_for("degradation_changed")["data"] == {"old": "normal", "new": "read_only", "reason": "a pause"}
        assert leaf_of(told("status"))["mode"] == "read_only"
        assert told("degrade", "actor", "normal")["requested"] == "normal"
        run.wait_for("degradation_changed", 2)
        assert "expected one of normal, warning, read_only, emergency" in ask("degrade", "actor", "readonly", code=2).stderr
        assert "degrade needs a child and a mode" in ask("degrade", "actor", code=2).stderr

        with Client(found(os.environ)[0]) as client:
            with pytest.raises(ControlError, match=r"warning \(40.0 MiB\) must be below critical \(35.0 MiB\)"):
                client.call("set_thresholds", path="actor", critical="35MiB")
            with pytest.raises(ControlError, match="expected a size"):
                client.call("set_thresholds", path="actor", critical="much")
            with pytest.raises(ControlError, match="none is given"):
                client.call("set_thresholds")
            changed = client.call("set_thresholds", path="actor", warning="20MiB")
            assert changed["thresholds"]["warning_bytes"] == 20 << 20
            samples = client.call("samples")["actor"]
            assert samples["samples"] and samples["thresholds"]["warning_bytes"] == 20 << 20
        assert run.wait_for("configuration_changed")["data"]["changed"] == ["actor: thresholds.warning"]
        run.wait_for("memory_level_changed", new="warning")
        run.program.send(signal.SIGTERM)
        run.finish()


def test_agents_are_added_and_removed(tmp_path: Path, backend: str) -> None:
    """Another agent is started, told with the others and guarded; faults are told together; removed, it has ended."""
    with guarding(tmp_path, backend, "stay") as run:
        watched(run)
        with Client(found(os.environ)[0]) as client:
            with pytest.raises(ControlError, match=r"(?s)name: .*working_directory: .*is not there"):
                client.call("add_agent", argv=["sleep", "1000"], name="a/b", working_directory=str(tmp_path / "nowhere"))
            with pytest.raises(ControlError, match="missing"):
                client.call("add_agent", argv=[str(tmp_path / "missing")], name="bad")
            added = client.call("add_agent", argv=["sleep", "1000"], name="other", critical="50MiB", warning="30MiB")
            assert added == {
                "name": "other",
                "path": ["guardian", "agents", "other", "leaf"],
                "thresholds": {"warning_bytes": 30 << 20, "critical_bytes": 50 << 20, "emergency_bytes": 900 << 20},
            }
            assert run.wait_for("monitoring_started", path=added["path"])["data"]["critical_bytes"] == 50 << 20
            assert list(client.call("status")["agents"]) == ["actor", "other"]
            with pytest.raises(ControlError, match="an agent of this run is called 'other' already"):
                client.call("add_agent", argv=["sleep", "1000"], name="other")
            assert ask("reload").stdout == "nothing has changed\n"
            assert client.call("restart", path="other")["generation"] == 2
            assert client.call("remove_agent", path="other") == {"name": "other", "path": added["path"]}
            assert list(client.call("status")["agents"]) == ["actor"]
            with pytest.raises(ControlError, match="is the only agent; stop the run instead"):
                client.call("remove_agent", path="actor")
        assert run.wait_for("monitoring_stopped", path=added["path"])
        run.program.send(signal.SIGTERM)
        run.finish()


def test_agents_are_added_and_removed_by_hand(tmp_path: Path, backend: str) -> None:
    """From where the person stands, with what is said of it; what is wrong is said all at once, or why it does not start."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with guarding(tmp_path, backend, "stay") as run:
        watched(run)
        script = 'pwd > said; echo "$WHO" >> said; exec sleep 1000'
        words = ("add", "--name", "other", "--env", "WHO=a=b", "--critical", "50MiB", "--warning", "30MiB")
        done = run_supervisor(*words, "--json", "--", "sh", "-c", script, cwd=elsewhere)
        added = json.loads(done.stdout)
        assert (added["name"], added["thresholds"]["critical_bytes"]) == ("other", 50 << 20)
        eventually_sync(lambda: (elsewhere / "said").read_text() == f"{elsewhere}\na=b\n", what="its directory and variable")
        assert "elsewhere/leaf is up" not in ask("add", "--working-directory", str(elsewhere), "--", "sleep", "1000").stdout
        faults = ask("add", "--restart", "often", "--critical", "much", "--", "sleep", "1", code=2).stderr
        assert "2 faults:" in faults and "restart: expected" in faults and "critical: expected a size" in faults
        missing = ask("add", "--", str(tmp_path / "missing"), code=2).stderr
        assert f"command.argv: missing: '{tmp_path / 'missing'}' cannot be started: no such command" in missing
        assert "expected NAME=VALUE" in ask("add", "--env", "=x", "--", "sleep", "1", code=2).stderr
        assert "add needs a command; put -- before it" in ask("add", "sleep", code=2).stderr + ask("add", code=2).stderr

        assert "warning 20.0 MiB, critical 50.0 MiB" in ask("thresholds", "other", "--warning", "20MiB").stdout
        assert told("thresholds", "other", "--critical", "60MiB")["thresholds"]["critical_bytes"] == 60 << 20
        assert "must be below critical" in ask("thresholds", "other", "--warning", "70MiB", code=2).stderr
        assert "thresholds needs --warning SIZE" in ask("thresholds", "other", code=2).stderr

        assert ask("remove", "other").stdout == "other is stopped and removed\n"
        assert told("remove", "sleep")["name"] == "sleep"
        assert "is the only agent" in ask("remove", "actor", code=1).stderr
        assert "no agent is called 'other'; there is actor" in ask("remove", "other", code=2).stderr
        assert "remove takes no command" in ask("remove", "--", "actor", code=2).stderr
        run.program.send(signal.SIGTERM)
        run.finish()


def test_status_tells_the_host_s_verdict(tmp_path: Path, backend: str) -> None:
    """With the reasons: here a share of the memory that every host has in use, and more of it than is there to be left free."""
    tables = {"health": {"interval": 0.2, "memory": 0.0001, "cpu": 1.0, "host_warning": "100%", "host_critical": 0, "host_emergency": 0}}
    with guarding(tmp_path, backend, "stay", tables=tables) as run:
        listens(run)
        run.wait_for("health_changed")
        run.wait_for("host_memory_changed")
        host = told("status")["host"]
        assert host["health"] in ("degraded", "unhealthy") and host["memory"] == "warning"
        assert any(reason.startswith("memory ") and "(limit 0%)" in reason for reason in host["reasons"])
        assert f"\nthe host is {host['health']}: {host['reasons'][0]}" in ask("status").stdout
        run.program.send(signal.SIGTERM)
        run.finish()


def test_a_suggestion_says_what_it_takes(tmp_path: Path, backend: str) -> None:
    """Per agent in words, and as data; after a few samples there is none yet, and the words say how much was observed."""
    with guarding(tmp_path, backend, "stay") as run:
        watched(run)
        agent, line = ask("suggest", "actor").stdout.splitlines()
        assert agent == "actor:"
        assert line.startswith("  too little was observed yet: ") and line.endswith("it takes 10 samples over 5 min 00 s")
        told_of = told("suggest")["actor"]
        assert told_of["suggested"] is None and told_of["configured"]["warning_bytes"] == 40 << 20
        assert told_of["observed"]["samples"] > 0 and told_of["words"][0].startswith("too little")
        assert "no guardian is called 'acter'" in ask("suggest", "acter", code=2).stderr
        run.program.send(signal.SIGTERM)
        run.finish()


def test_a_reload_changes_what_can_change_and_names_the_rest(tmp_path: Path, backend: str) -> None:
    """Thresholds and intervals at once, the command with its next life, the state directory with the next run; options stay above."""
    with guarding(tmp_path, backend, "grow:30", "stay", tables={"monitoring": {"normal_interval": 1000}}) as run:
        watched(run)
        assert ask("reload").stdout == "nothing has changed\n"
        configured(
            tmp_path / "guardian.toml",
            {
                "thresholds": {"warning": "20MiB"},
                "monitoring": {"normal_interval": 0.05, "critical_samples": 9, "prediction_horizon": 0},
                "restart": {"max_attempts": 7, "graceful_timeout": 4},
                "command": {"start_timeout": 29},
                "guardian": {"persist_state": False},
            },
        )
        done = told("reload")
        assert done == {
            "changed": [
                "monitoring.normal_interval",
                "monitoring.critical_samples",
                "monitoring.prediction_horizon",
                "actor: thresholds.warning",
                "actor: restart.max_attempts",
            ],
            "next_life": ["actor: command.start_timeout", "actor: restart.graceful_timeout"],
            "next_run": ["guardian.persist_state"],
        }
        assert run.wait_for("configuration_changed")["data"] == {"source": "reload", **done}
        run.wait_for("memory_level_changed", new="warning")
        assert leaf_of(told("status"))["intensity"] == 7
        assert ask("reload").stdout == "needs a new start of the guardian: guardian.persist_state\n"
        told("restart", "actor")
        spec = leaf_of(told("status"))["spec"]
        assert (spec["start_timeout"], spec["shutdown"]) == (29, 4)
        run.program.send(signal.SIGTERM)
        run.finish()


def test_a_broken_configuration_changes_nothing(tmp_path: Path, backend: str) -> None:
    """All faults are told and are an event, and the last good one stays; so does it when the file is gone."""
    file = tmp_path / "guardian.toml"
    with guarding(tmp_path, backend, "stay") as run:
        before = watched(run)
        file.write_text('[thresholds]\ncritical = "20%%"\n[restart]\nmax_attempts = 0\n')
        refused = ask("reload", code=2)
        assert "thresholds.critical" in refused.stderr and "restart.max_attempts: expected an integer >= 1" in refused.stderr
        event = run.wait_for("configuration_rejected")
        assert event["data"]["file"] == str(file) and len(event["data"]["faults"]) == 2
        file.unlink()
        assert "cannot be read" in ask("reload", code=2).stderr
        run.wait_for("configuration_rejected", 2)
        after = leaf_of(told("status"))
        assert (after["thresholds"], after["generation"], after["intensity"]) == (before["thresholds"], 1, before["intensity"])
        assert not run.named("configuration_changed")
        run.program.send(signal.SIGTERM)
        run.finish()


def test_stop_ends_the_run_and_returns_when_it_has_ended(tmp_path: Path, backend: str) -> None:
    """The whole run, or its one leaf; the socket is gone, and there is nobody to ask any more."""
    with guarding(tmp_path, backend, "answer:3", "stay") as run:
        watched(run)
        assert ask("stop", "--when-idle").stdout == "guardian is stopped\n"
        assert run.finish().returncode == 3
        assert run.events[-1]["data"]["source"] == "signal"
        refused = ask("stop", code=2)
        assert "no guardian runs; start one: python -m supervisor -- COMMAND [ARG ...]" in refused.stderr
    with guarding(tmp_path, backend, "answer:4", "stay", tag="-2") as run:
        listens(run)
        assert "is for the whole run" in ask("stop", "actor", "--when-idle", code=2).stderr
        assert ask("stop", "actor").stdout == f"{'/'.join(LEAF)} is stopped\n"
        assert run.finish().returncode == 4
    assert not list(Path(os.environ["XDG_STATE_HOME"]).rglob("*.sock"))


def test_several_guardians_are_told_apart(tmp_path: Path, backend: str) -> None:
    """All are listed; a child's name chooses, also for restart."""
    with (
        guarding(tmp_path, backend, "stay", tag="-a") as first,
        guarding(tmp_path, backend, "stay", options=("--name", "other"), tag="-b") as second,
    ):
        listens(first)
        listens(second)
        listed = ask("status", code=2).stderr
        assert "several guardians run; name one by its child or its run: " in listed
        assert f"actor (run {first.events[0]['run'][:8]}, pid {first.program.pid})" in listed
        assert f"other (run {second.events[0]['run'][:8]}, pid {second.program.pid})" in listed
        assert told("status", "other")["pid"] == second.program.pid
        assert told("status", str(first.program.pid))["pid"] == first.program.pid
        assert told("restart", "other")["path"] == ["guardian", "agents", "other", "leaf"]
        assert told("capture", "--guardian", "actor")["path"] == LEAF
        for run in (first, second):
            run.program.send(signal.SIGTERM)
            run.finish()


def test_a_run_without_control_has_none(tmp_path: Path, backend: str) -> None:
    """Nobody can ask, and nothing is in its place."""
    with guarding(tmp_path, backend, "stay", options=("--no-control",)) as run:
        run.wait_for("monitoring_started")
        assert "no guardian runs" in ask("status", code=2).stderr
        run.program.send(signal.SIGTERM)
        run.finish()


def test_what_a_killed_guardian_left_is_no_guardian(tmp_path: Path, backend: str) -> None:
    """Its socket answers nobody, and the next start removes it, with the directory of its mode files."""
    with guarding(tmp_path, backend, "stay") as run:
        listens(run)
        run.program.send(signal.SIGKILL)
        run.program.wait()
    folder = Path(os.environ["XDG_STATE_HOME"]) / "memory-guardian" / "run"
    (left,), (modes,) = folder.glob("*.sock"), folder.glob("*.run")
    assert "no guardian runs" in ask("status", code=2).stderr
    with guarding(tmp_path, backend, "stay", tag="-2") as run:
        listens(run)
        eventually_sync(lambda: not left.exists(), what="the end of what was left")
        assert not modes.exists()
        assert len(list(folder.glob("*.sock"))) == len(list(folder.glob("*.run"))) == 1
        run.program.send(signal.SIGTERM)
        run.finish()


def test_an_agent_cannot_lift_its_own_restrictions(tmp_path: Path, backend: str) -> None:
    """The subcommands, run by the leaf itself: what reads works, what changes is refused with the reason."""
    script = tmp_path / "agent.sh"
    program = f"{sys.executable} -m supervisor"
    lines = [f'{program} {words} > "{tmp_path}/{name}" 2>&1; echo $? >> "{tmp_path}/{name}"' for name, words in AGENT.items()]
    script.write_text("\n".join([*lines, "exit 5"]))
    with supervising("--backend", backend, "--name", "agent", "--", "/bin/sh", script, cwd=tmp_path) as guardian:
        assert guardian.wait().returncode == 5
    assert (tmp_path / "status").read_text().endswith("\n0\n") and "leaf" in (tmp_path / "status").read_text()
    assert (tmp_path / "suggest").read_text().endswith("\n0\n")
    assert (tmp_path / "health").read_text() == "the host has not been looked at yet\n0\n"
    for name in ("restart", "stop", "degrade", "reload", "capture", "thresholds", "add", "remove"):
        said = (tmp_path / name).read_text()
        assert said.endswith("\n1\n") and "is supervised by this run itself, and may read but change nothing" in said, said


AGENT = {
    "status": "status",
    "suggest": "suggest",
    "health": "health",
    "restart": "restart agent",
    "stop": "stop",
    "degrade": "degrade agent normal",
    "reload": "reload",
    "capture": "capture",
    "thresholds": "thresholds agent --critical 1TiB",
    "add": "add -- sleep 1000",
    "remove": "remove agent",
}


def test_a_tree_of_ones_own_is_controlled_as_well(tmp_path: Path, backend: str) -> None:
    """``app``: status and events in the tree's words, restart and stop; what only the guardian has is unknown there."""
    (tmp_path / "own.py").write_text(
        "from supervisor import ChildSpec, Supervisor, command\n"
        "def root():\n    return Supervisor('root', [ChildSpec('sleeper', command('sleep', '50'))], intensity=5)\n"
    )
    with supervising("app", "own:root", "--backend", backend, cwd=tmp_path) as program:
        eventually_sync(lambda: run_supervisor("status").returncode == 0, 20)
        assert "└─ sleeper" in ask("status", "root").stdout or "`- sleeper" in ask("status").stdout
        assert told("restart", "sleeper")["generation"] == 2
        assert "sleeper  restarted: on request" in ask("events").stdout
        assert "no method is called 'reload'" in ask("reload", code=1).stderr
        ask("stop")
        assert program.wait().returncode == 0
