"""What cannot be is said with its place and a remedy, ends with exit code 2 before anything has begun, and is never a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ..support import ROOT, Finished, read_events, run_supervisor

FILES = {
    "malformed.toml": "[restart]\nmax_attempts = = 3\n",
    "unknown.toml": "[thresholds]\nwaring = '1GiB'\n",
    "order.toml": "[thresholds]\nwarning = '3GiB'\ncritical = '2GiB'\n",
    "several.toml": "[restart]\nmax_attempts = -1\n[monitoring]\nnormal_interval = 'soon'\n[command]\nworking_directory = '/nowhere'\n",
    "directory.toml": "[command]\nworking_directory = 'text'\n",
}

USAGE: dict[str, tuple[list[str], list[str]]] = {
    "malformed TOML": (["--config", "malformed.toml", "--", "true"], ["malformed.toml:2:16: malformed TOML: invalid value"]),
    "unknown key": (["--config", "unknown.toml", "--", "true"], ["unknown.toml: thresholds.waring", "did you mean 'warning'?"]),
    "order": (["--config", "order.toml", "--", "true"], ["order.toml: thresholds.warning", "(3.0 GiB) must be below critical (2.0 GiB)"]),
    "order of options": (["--warning", "3GiB", "--critical", "2GiB", "--", "true"], ["--warning: warning (3.0 GiB) must be below"]),
    "no such file": (["--config", "absent.toml", "--", "true"], ["absent.toml: the configuration file cannot be read: No such file"]),
    "all at once": (
        ["--config", "several.toml", "--warning", "-1", "--backend", "curio", "--", "true"],
        ["5 faults:", "restart.max_attempts", "monitoring.normal_interval", "'/nowhere' is not there", "--warning", "--backend"],
    ),
    "a file as directory": (["--config", "directory.toml", "--", "true"], ["command.working_directory", "text' is no directory"]),
    "negative size": (["--critical", "-5GiB", "--", "true"], ["--critical: a size cannot be negative"]),
    "absurd size": (["--emergency", "9999999999TiB", "--", "true"], ["--emergency: expected at most 1 EiB"]),
    "no size": (["--critical", "a lot", "--", "true"], ["--critical:", "'a lot'"]),
    "state below a file": (["--state-dir", "text/state", "--", "true"], ["--state-dir:", "text' is no directory"]),
    "no dashes": (["--warning", "1GiB", "echo", "hello"], ["put -- before the command: python -m supervisor --warning 1GiB -- echo hello"]),
    "nothing after dashes": (["--"], ["no command after --"]),
    "nothing at all": ([], ["put -- before it"]),
    "unknown option": (["--waring", "1GiB", "--", "true"], ["--waring: unknown option (did you mean '--warning'?); see --help"]),
    "no place for events": (["--events", "absent/e.jsonl", "--", "true"], ["--events: the directory 'absent' is not there"]),
}


def test_usage_and_configuration(tmp_path: Path) -> None:
    """Each fault is named with its place, all of them at once; nothing is written. (No event loop has been started by then.)"""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "text").write_text("")
    before = sorted(path.name for path in tmp_path.iterdir())

    def attempt(case: str) -> tuple[str, Finished]:
        return case, run_supervisor(*USAGE[case][0], cwd=tmp_path)

    with ThreadPoolExecutor(4) as pool:
        for case, finished in pool.map(attempt, USAGE):
            refused(case, finished, USAGE[case][1])
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert list(Path(os.environ["HOME"]).iterdir()) == []


UNSTARTABLE = {
    "not-there": "command not found",
    "./not-there": "no such command",
    "./plain": "is not executable (chmod +x makes it so)",
    "./folder": "is a directory, not a command",
    "./nonsense": "Exec format error",
    "./orphaned": "",  # its interpreter does not exist
}


def test_commands_that_cannot_be_started(backend: str, tmp_path: Path) -> None:
    """One line says which and why; the event stream is whole all the same, and the name is free again.

    All of them fail before the event loop could matter, so the second one gets but two.
    """
    commands = list(UNSTARTABLE) if backend == "trio" else list(UNSTARTABLE)[::4]
    for name, text in {"plain": "#!/bin/sh\n", "nonsense": "\0\1\2", "orphaned": "#!/not/there\n"}.items():
        (tmp_path / name).write_text(text)
        if name != "plain":
            (tmp_path / name).chmod(0o755)
    (tmp_path / "folder").mkdir()

    def attempt(command: str) -> tuple[str, Path, Finished]:
        events = tmp_path / f"{Path(command).name}-{command.count('/')}.jsonl"
        options = ("--backend", backend, "--state-dir", tmp_path / "state", "--events", events)
        return command, events, run_supervisor(*options, "--", command, cwd=tmp_path)

    with ThreadPoolExecutor(3) as pool:
        for command, events, finished in pool.map(attempt, commands):
            refused(command, finished, [f"command.argv: {command!r} cannot be started: ", UNSTARTABLE[command]])
            assert len(finished.stderr.splitlines()) == 1, finished.stderr
            assert read_events(events)[-1]["event"] == "run_finished"
            assert read_events(events)[-1]["data"] == {"exit_code": 2, "source": "command"}
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []


def test_a_leaf_that_is_never_ready(backend: str, tmp_path: Path) -> None:
    """Under ``ready = "fd"`` one that ends without having said so ends the run with its own code, and one that stays silent could not
    be started.
    """
    (tmp_path / "ready.toml").write_text("[command]\nready = 'fd'\nstart_timeout = 0.2\n")
    options = ("--backend", backend, "--config", "ready.toml", "--events", "events.jsonl", "--")
    ended = run_supervisor(*options, "sh", "-c", "exit 9", cwd=tmp_path)
    silent = run_supervisor(*options, "sleep", "60", cwd=tmp_path)

    assert ended.returncode == 9 and "exit code 9" in ended.stderr
    refused("silent", silent, ["command.start_timeout: 'sleep' was started", "no acknowledgement within 0.2 s"])
    finished = [event["data"]["exit_code"] for event in read_events(tmp_path / "events.jsonl") if event["event"] == "run_finished"]
    assert finished == [9, 2]


def test_a_state_directory_that_cannot_be_used(backend: str, tmp_path: Path) -> None:
    """Where it can only be seen by trying; for whom it is not readable and writable it is seen before."""
    finished = run_supervisor("--backend", backend, "--state-dir", "/proc/nothing", "--", "true", cwd=tmp_path)

    refused("state", finished, ["state", "/proc/nothing"])


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter: pytest's own are ours alone, and each of its workers closes the one above them once more."""
    folder = tempfile.mkdtemp(dir="/tmp")
    try:
        os.chmod(folder, 0o755)
        yield Path(folder)
    finally:
        shutil.rmtree(folder)


def test_an_unreadable_state_directory(open_folder: Path) -> None:
    """Somebody else's directory is refused, with what is wrong. (Before any event loop.)"""
    locked = open_folder / "locked"
    locked.mkdir()
    (locked / "kept").write_text("kept")
    locked.chmod(0)
    prefix: list[str] = []
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may read everything, and there is no setpriv to be somebody else")
        prefix = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]
        if subprocess.run([*prefix, sys.executable, "-c", "import anyio, attrs, json"], capture_output=True, check=False).returncode:
            pytest.skip("another user cannot run this Python")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [*prefix, sys.executable, "-m", "supervisor", "--state-dir", str(locked), "--", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, env=environ, cwd=open_folder, timeout=30, check=False)
    locked.chmod(0o700)

    assert done.returncode == 2, done.stderr
    assert f"--state-dir: {str(locked)!r} cannot be read and written by this user" in done.stderr
    assert "Traceback" not in done.stderr
    assert (locked / "kept").read_text() == "kept"


def refused(case: str, finished: Finished, expected: list[str]) -> None:
    """It ended with 2, and said what was expected and no traceback."""
    assert finished.returncode == 2, (case, finished)
    assert finished.stdout == "", (case, finished.stdout)
    assert "python -m supervisor: " in finished.stderr, (case, finished.stderr)
    assert "Traceback" not in finished.stderr, (case, finished.stderr)
    for text in expected:
        assert text in finished.stderr, (case, text, finished.stderr)


def test_a_key_that_cannot_be_had(tmp_path: Path) -> None:
    """That state could not be encrypted is said at the start, with the remedy; where none is kept nobody asks for the key."""
    environ = {"MEMORY_GUARDIAN_ENCRYPTION_KEY": f"file:{tmp_path}/key", "MEMORY_GUARDIAN_GUARDIAN_STATE_DIR": str(tmp_path / "state")}
    refused = run_supervisor("--", "true", env=environ)
    assert refused.returncode == 2
    assert "encryption.key: " in refused.stderr and "the file is not there" in refused.stderr and "rekey --new-key" in refused.stderr
    assert run_supervisor("--dry-run", "--", "true", env=environ).returncode == 0
