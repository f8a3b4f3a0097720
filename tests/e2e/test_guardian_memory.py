"""What is seen of memory, what is done about it, and what is not: trembling, emergencies, dry runs, what can be turned off."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workers.state.store import StateStore

from ..support import eventually_sync, supervising
from .guarded import Guarded, Tables, actor, configured, guarding, names, runs

MIB = 1024 * 1024


def test_a_trembling_value_changes_the_level_once(backend: str, tmp_path: Path) -> None:
    """Ten swings around the warning threshold are one change; the samples show that the swings were seen."""
    with guarding(tmp_path, backend, "tremble:39:41:10", "grow:70", "stay", "/", "await:end", "exit:0") as run:
        run.wait_for("restart_completed")
        run.touch("end")
        assert run.finish().returncode == 0

    changes = [(event["data"]["old"], event["data"]["new"]) for event in run.named("memory_level_changed", generation=1)]
    state = StateStore(tmp_path / "state").load(run.named("state_captured")[-1]["data"]["file"])
    above = [point.total_bytes >= 40 * MIB for point in state.process.memory]
    assert changes == [("normal", "warning"), ("warning", "critical")]
    assert sum(before != after for before, after in itertools.pairwise(above)) >= 2


def test_an_emergency_does_not_wait(backend: str, tmp_path: Path) -> None:
    """The first sample beyond the emergency threshold restarts, however many the critical level would take."""
    tables: Tables = {"thresholds": {"emergency": "100MiB"}, "monitoring": {"critical_samples": 1000}}
    with guarding(
        tmp_path, backend, "await:go", "grow:70", "await:on", "grow:110", "stay", "/", "await:end", "exit:0", tables=tables
    ) as run:
        run.touch("go")
        run.wait_for("memory_level_changed", new="critical")
        run.touch("on")
        run.wait_for("restart_completed")
        run.touch("end")
        assert run.finish().returncode == 0

    (initiated,) = run.named("restart_initiated")
    (changed,) = run.named("memory_level_changed", new="emergency")
    assert initiated["data"]["urgent"] and initiated["data"]["level"] == "emergency"
    assert initiated["seq"] < run.named("state_captured", reason=initiated["data"]["reason"])[0]["seq"]
    assert initiated["monotonic"] - changed["monotonic"] < 1


def test_restarts_that_do_not_help_open_the_circuit(backend: str, tmp_path: Path) -> None:
    """A new life that is critical at its first sample is a failed restart; two of them, and the third is refused.

    It weighs more than emergency allows, and emergency moves for nobody.
    """
    tables: Tables = {
        "restart": {"max_attempts": 10, "circuit_failures": 2},
        "command": {"ready": "fd"},
        "thresholds": {"emergency": "65MiB"},
    }
    with guarding(tmp_path, backend, "grow:70", "ready", "stay", tables=tables) as run:
        refused = run.wait_for("restart_refused")
        run.wait_for("degradation_changed", new="emergency")
        run.program.send(signal.SIGTERM)
        assert run.finish().returncode == 143

    assert "circuit" in refused["data"]["reason"]
    failures = run.named("restart_failed")
    assert [event["generation"] for event in failures] == [2, 3]
    assert all(event["data"]["memory_mb"] >= 70 for event in failures)
    assert "restart_completed" not in names(run.events)


def test_a_dry_run_only_says_what_it_would_do(backend: str, tmp_path: Path) -> None:
    """Levels are seen and the restart is decided; nothing is captured, stopped or started, not even after a crash."""
    with guarding(tmp_path, backend, "await:go", "grow:80", "await:end", "signal:SEGV", options=("--dry-run",)) as run:
        run.touch("go")
        said = run.wait_for("restart_refused")
        leaf = run.wait_pid("leaf")
        assert runs(leaf)
        run.touch("end")
        assert run.finish().returncode == 139

    assert said["data"]["reason"].startswith("dry run") and said["data"]["wanted"].startswith("memory is at 80.")
    assert len(run.named("restart_refused")) == 1
    assert not {"restart_initiated", "state_captured", "child_restarted"} & set(names(run.events))
    assert run.pids("leaf") == [leaf]
    assert list((tmp_path / "state").rglob("*.json*")) == []


def test_state_can_be_turned_off(backend: str, tmp_path: Path) -> None:
    """With ``persist_state = false`` nothing is written anywhere, and restarts go on."""
    script = ("await:go", "grow:80", "stay", "/", "await:end", "exit:0")
    with guarding(tmp_path, backend, *script, tables={"guardian": {"persist_state": False}}) as run:
        run.touch("go")
        run.wait_for("restart_completed")
        run.touch("end")
        assert run.finish().returncode == 0

    assert not (tmp_path / "state").exists()
    assert not {"state_captured", "capture_failed"} & set(names(run.events))


@pytest.mark.parametrize("key", ["enabled", "auto_start"])
def test_watching_can_be_turned_off(key: str, tmp_path: Path) -> None:
    """With ``enabled = false`` (or ``auto_start = false``) memory is not looked at; the leaf is supervised all the same, and what is
    left behind is swept. (There is no worker that could differ by event loop.)
    """
    script = ("grow:80", "await:end", "signal:SEGV", "/", "stray", "exit:5")
    with guarding(tmp_path, "trio", *script, tables={"guardian": {key: False}}) as run:
        run.wait_pid("leaf")
        run.touch("end")
        assert run.finish().returncode == 5

    about = set(names(run.events))
    assert not {"monitoring_started", "memory_level_changed", "restart_initiated"} & about
    assert {"child_restarted", "orphans_swept", "run_finished"} <= about
    assert "unknown" in run.told  # the peak, which nobody looked at


def test_two_agents(backend: str, tmp_path: Path) -> None:
    """Each has its thresholds, its protection and its own end; the one that leaks is restarted, the other is not touched. The run
    lasts until both have ended, and its code is that of the first that failed.
    """
    folder, command = tmp_path, actor(tmp_path)
    agents = {
        "small": [
            str(command),
            f"{folder}/report-small",
            "await:" + f"{folder}/go",
            "grow:80",
            "stay",
            "/",
            f"await:{folder}/end",
            "exit:0",
        ],
        "large": [str(command), f"{folder}/report-large", "grow:80", f"await:{folder}/end", "exit:6"],
    }
    file = configured(folder / "guardian.toml")
    with file.open("a") as config:
        for name, argv in agents.items():
            config.write(
                f"[[agents]]\nname = '{name}'\nargv = {argv}\n" + ("warning = '500MiB'\ncritical = '600MiB'\n" if name == "large" else "")
            )
    options = ("--backend", backend, "--config", file, "--events", folder / "events.jsonl", "--state-dir", folder / "state")
    with supervising(*options, cwd=folder) as program:
        run = Guarded(program, folder)
        run.touch("go")
        completed = run.wait_for("restart_completed")
        run.touch("end")
        assert run.finish().returncode == 6

    assert completed["path"] == ["guardian", "agents", "small", "leaf"]
    exits = {
        event["path"][2]: event["data"]["exit"]["code"]
        for event in run.named("child_exited")
        if event["path"][-1] == "leaf" and not event["data"]["expected"]
    }
    assert exits == {"small": 0, "large": 6}
    assert [event["path"][2] for event in run.named("child_restarted")] == ["small"]
    assert {event["path"][2] for event in run.named("memory_level_changed")} == {"small"}


def test_a_full_disk_fails_the_capture_and_not_the_restart(backend: str, tmp_path: Path) -> None:
    """`capture_failed` says why; earlier states stay, nothing torn is left, the restart goes on."""
    with small_disk(tmp_path) as disk:
        script = ("await:warn", "grow:50", "await:go", "grow:80", "stay", "/", "await:end", "exit:0")
        with guarding(tmp_path, backend, *script, state_dir=disk / "state") as run:
            run.touch("warn")
            first = run.wait_for("state_captured")
            fill(disk)
            run.touch("go")
            failed = run.wait_for("capture_failed", reason=run.wait_for("restart_initiated")["data"]["reason"])
            run.wait_for("restart_completed")
            run.touch("end")
            assert run.finish().returncode == 0

        assert "the disk is full; free some space or choose another state directory" in failed["data"]["cause"]
        assert "state NOT captured" in run.told
        assert failed["seq"] < run.named("child_exited", generation=1)[0]["seq"]
        store = StateStore(disk / "state")
        assert [str(file) for file in store.list(tmp_path)] == [first["data"]["file"]]
        assert store.load(first["data"]["file"]).metadata.agent == "actor"
        assert list(disk.rglob("*.tmp")) == []


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> None:
    """Leave no room."""
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"x" * 4096)
        except OSError:
            pass


def test_ten_restarts_leave_nothing_behind(tmp_path: Path) -> None:
    """After a controlled restart and ten crashes the guardian has as many descriptors and threads as before, and no zombie. (The tests
    of the runtime look at this on both event loops; here it is the program as a whole.)
    """
    crashes = ["signal:KILL", "/"] * 9
    script = ["await:go", "grow:80", "stay", "/", "grow:45", "await:on", "signal:KILL", "/", *crashes, "grow:45", "await:end", "exit:0"]
    tables = {"restart": {"max_attempts": 100, "circuit_failures": 100}}
    with guarding(tmp_path, "asyncio", *script, tables=tables) as run:
        run.touch("go")
        run.wait_for("state_captured", generation=2)
        before = settled(run.program.pid)
        run.touch("on")
        run.wait_for("state_captured", generation=12)
        after = settled(run.program.pid)
        run.touch("end")
        assert run.finish().returncode == 0

    assert (after[0], after[2]) == (before[0], before[2])
    # one thread sets marks and one captures: whether the pool has had to have both at once is a matter of when
    assert after[1] <= before[1] + 1
    assert len(run.named("child_restarted")) == 11


def settled(pid: int) -> tuple[list[str], int, int]:
    """What a process holds while it sets no marks in a cgroup: to do that takes some more for a moment."""
    seen: list[tuple[list[str], int, int]] = []

    def is_calm() -> bool:
        seen.append(held(pid))
        return not any("cgroup.event_control" in kind for kind in seen[-1][0])

    eventually_sync(is_calm, 20)
    return seen[-1]


def held(pid: int) -> tuple[list[str], int, int]:
    """What a process holds: kinds of descriptors, threads, children."""
    descriptors = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            descriptors.append(os.readlink(descriptor).translate(str.maketrans("", "", "0123456789")))
        except FileNotFoundError:
            continue
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sorted(descriptors), len(list(Path(f"/proc/{pid}/task").iterdir())), len(children)
