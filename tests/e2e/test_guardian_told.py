"""Who is told, by the program as a whole: the hook command, the desktop, and the leaf itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..support import ROOT, Finished, eventually_sync
from .guarded import ACTOR, Guarded, Tables, guarding, names


def hooked(script: str, **more: object) -> Tables:
    return {"hooks": {"on_event": ["sh", "-c", script], **more}}


def told(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]


def left_in_run_directories() -> list[str]:
    """What is left where the files of a run are while it lasts."""
    home = Path(os.environ["HOME"])
    return [str(path) for path in home.rglob("*.run")]


def finish(run: Guarded) -> Finished:
    """See `Guarded.finish`; nothing of the run's own directory is left."""
    finished = run.finish()
    assert left_in_run_directories() == []
    return finished


def test_a_hook_is_told_everything_in_order(backend: str, tmp_path: Path) -> None:
    """Each event of the stream, byte by byte, from the first to `run_finished`."""
    with guarding(tmp_path, backend, "grow:45", "await:end", "exit:4", tables=hooked(f"cat >> {tmp_path}/told.jsonl")) as run:
        run.wait_for("state_captured")
        run.touch("end")
        assert finish(run).returncode == 4
    assert told(tmp_path) == run.events
    assert run.events[-1]["event"] == "run_finished"


def test_a_hook_that_fails_changes_nothing(backend: str, tmp_path: Path) -> None:
    """Its failure is told once, with what it said last; the run goes its way."""
    with guarding(tmp_path, backend, "grow:45", "await:end", "exit:4", tables=hooked("echo no luck >&2; exit 3")) as run:
        run.wait_for("state_captured")
        failed = run.wait_for("notification_failed")
        run.touch("end")
        assert finish(run).returncode == 4
    assert failed["data"] == {"channel": "hook", "reason": "exit code 3: no luck"}
    assert names(run.events).count("notification_failed") == 1
    assert "hook: exit code 3: no luck" in run.told


def test_a_hook_that_hangs_is_ended(backend: str, tmp_path: Path) -> None:
    """After its time, with all that it has started; neither the leaf's start nor the run's end waits for it for long."""
    tables = hooked("setsid sleep 50 & sleep 50", timeout=0.3, concurrency=4)
    with guarding(tmp_path, backend, "await:end", "exit:4", tables=tables) as run:
        failed = run.wait_for("notification_failed")
        run.touch("end")
        assert finish(run).returncode == 4
    assert failed["data"]["reason"] == "it took longer than 0.3 s and was ended"


def test_a_slow_hook_is_told_to_the_end(tmp_path: Path) -> None:
    """It is told later than the run goes, and of all that fits its queue. (What does not fit is the claim of the channel's tests.)"""
    with guarding(tmp_path, "asyncio", "exit:0", tables=hooked(f"sleep 0.01; cat >> {tmp_path}/told.jsonl")) as run:
        assert finish(run).returncode == 0
    seen = [event["seq"] for event in told(tmp_path)]
    assert seen == sorted(seen) and "lost to the hook" not in run.told


def test_hooks_work_without_watching(tmp_path: Path) -> None:
    """With ``enabled = false`` there are fewer events, and the hook gets all of them."""
    tables: Tables = {**hooked(f"cat >> {tmp_path}/told.jsonl"), "guardian": {"enabled": False}}
    with guarding(tmp_path, "trio", "exit:3", tables=tables) as run:
        assert finish(run).returncode == 3
    assert told(tmp_path) == run.events


def test_a_leaf_hears_of_its_mode(backend: str, tmp_path: Path) -> None:
    """By a file that its environment names, and by the configured signal; its next life begins with what holds then."""
    tables: Tables = {"degradation": {"signal": "SIGUSR1", "mode_cooldown": 0}, "restart": {"max_attempts": 1}}
    script = ("listen:USR1", "await:go", "grow:80", "stay", "/", "listen:USR1", "await:go2", "grow:80", "await:less", "grow:20", "stay")
    with guarding(tmp_path, backend, *script, tables=tables) as run:
        run.touch("go")
        run.wait_for("restart_completed")
        run.touch("go2")
        run.wait_for("degradation_changed", generation=2, new="read_only")
        run.wait_pid("read_only", 2)
        run.touch("less")
        run.wait_for("degradation_changed", generation=2, new="normal")
        run.wait_pid("normal", 2)
        run.program.send(signal.SIGTERM)
        run.finish()
    heard = [(life, role) for life, role, _ in run.report if role != "leaf"]
    assert {(2, "read_only"), (2, "normal")} <= set(heard)
    assert left_in_run_directories() == []


def test_a_leaf_that_would_die_of_the_signal_does_not_get_it(backend: str, tmp_path: Path) -> None:
    """It goes on, and that it has not heard is told."""
    tables: Tables = {"degradation": {"signal": "SIGUSR2"}, "command": {"restart": "never"}}
    with guarding(tmp_path, backend, "await:go", "grow:80", "await:end", "exit:3", tables=tables) as run:
        run.touch("go")
        failed = run.wait_for("notification_failed")
        run.touch("end")
        assert finish(run).returncode == 3
    assert failed["data"]["channel"] == "signal" and "SIGUSR2 was not sent" in failed["data"]["reason"]


def test_a_guardian_within_a_leaf_begins(tmp_path: Path) -> None:
    """The mode file of the one around it is no setting of its own."""
    with guarding(tmp_path, "asyncio", "exit:0", env={"MEMORY_GUARDIAN_MODE_FILE": "/somewhere/claude.mode"}) as run:
        assert finish(run).returncode == 0


@pytest.mark.parametrize("wanted", [True, False])
def test_the_desktop_is_told(tmp_path: Path, wanted: bool) -> None:
    """Where there is a session and a notify-send, unless ``notifications.desktop`` says no. (It knows no event loop: one is enough.)"""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "notify-send").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/said\n')
    (programs / "notify-send").chmod(0o755)
    env = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}
    tables: Tables = {"notifications": {"desktop": wanted}, "command": {"restart": "never"}}
    with guarding(tmp_path, "trio", "await:go", "grow:80", "await:end", "exit:3", tables=tables, env=env) as run:
        run.touch("go")
        run.wait_for("degradation_changed", new="read_only")
        run.touch("end")
        assert finish(run).returncode == 3
    said = (tmp_path / "said").read_text().splitlines() if (tmp_path / "said").exists() else []
    assert ("memory-guardian: actor" in said) is wanted
    assert any(line.startswith("mode read_only") for line in said) is wanted
    assert "notification_failed" not in names(run.events)


def test_a_short_host_takes_what_has_grown(backend: str, tmp_path: Path) -> None:
    """With limits that every host has passed, the leaf that has grown is restarted; its own memory is well."""
    host = {"interval": 0.2, "host_warning": "100%", "host_critical": "100%", "host_emergency": "100%"}
    tables: Tables = {"health": host, "thresholds": {"critical": "500MiB"}}
    with guarding(tmp_path, backend, "grow:45", "await:go", "grow:150", "stay", "/", "await:end", "exit:0", tables=tables) as run:
        changed = run.wait_for("host_memory_changed")
        run.wait_for("memory_warning")  # what it has at its first sample it has from the start
        run.touch("go")
        initiated = run.wait_for("restart_initiated")
        run.wait_for("restart_completed")
        run.touch("end")
        assert finish(run).returncode == 0
    assert changed["data"]["new"] == "emergency" and changed["path"] == ["guardian"]
    assert initiated["data"]["reason"].startswith("the host has ") and initiated["data"]["level"] == "warning"


def test_a_dry_run_touches_nothing_for_the_host(tmp_path: Path) -> None:
    """It says that it would have restarted the leaf, and does not."""
    host = {"interval": 0.2, "host_warning": "100%", "host_critical": "100%", "host_emergency": "100%"}
    tables: Tables = {"health": host, "thresholds": {"critical": "500MiB"}}
    script = ("grow:45", "await:go", "grow:150", "await:end", "exit:0")
    with guarding(tmp_path, "trio", *script, tables=tables, options=("--dry-run",)) as run:
        run.wait_for("host_memory_changed")
        run.wait_for("memory_level_changed")
        run.touch("go")
        said = run.wait_for("restart_refused")
        run.touch("end")
        assert finish(run).returncode == 0
    assert said["data"]["wanted"].startswith("the host has ") and "restart_initiated" not in names(run.events)


AUDITED = """
import atexit, sys

def audit(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        address = arguments[-1] if event.startswith("socket.connect") or event == "socket.sendto" else arguments[:2]
        if isinstance(address, tuple):
            print("SPOKE", event, address, file=sys.stderr)

sys.addaudithook(audit)
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
    own.connect(("127.0.0.1", 9))
atexit.register(lambda: print("LOOKED", "workers.health.looks" in sys.modules, file=sys.stderr))
from supervisor.__main__ import main
sys.exit(main())
"""


def test_nobody_is_connected_to(backend: str, tmp_path: Path) -> None:
    """Neither to see whether there is a network, nor for anything else, while the leaf and the host are looked at and state is captured."""
    words = [
        "--backend",
        backend,
        "--interval",
        "0.1",
        "--warning",
        "40MiB",
        "--critical",
        "900MiB",
        "--state-dir",
        str(tmp_path / "state"),
    ]
    command = [str(ACTOR), str(tmp_path / "report"), "grow:45", f"await:{tmp_path}/end", "exit:0"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "MEMORY_GUARDIAN_HEALTH_INTERVAL": "0.2"}
    argv = [sys.executable, "-c", AUDITED, *words, "--", sys.executable, "-S", "-E", *command]
    with subprocess.Popen(argv, cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as program:
        try:
            eventually_sync(lambda: list((tmp_path / "state").glob("*/*.json.*")), 30, what="its state is captured")
        finally:
            (tmp_path / "end").touch()
        _, told = program.communicate(timeout=30)

    assert program.returncode == 0
    assert "LOOKED True" in told
    assert [line for line in told.splitlines() if line.startswith("SPOKE")] == ["SPOKE socket.connect ('127.0.0.1', 9)"]
