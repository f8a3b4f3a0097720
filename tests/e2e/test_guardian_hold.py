"""A leaf that is held in an emergency, seen from outside: it stands still, and it does not outlive the guardian that holds it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from supervisor import cgroup_support

from ..support import eventually_sync, run_supervisor
from .guarded import Tables, guarding, runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")

TABLES: Tables = {
    "thresholds": {"warning": "40MiB", "critical": "60MiB", "emergency": "80MiB"},
    "monitoring": {"normal_interval": 600, "emergency_capture_timeout": 20},
}


@pytest.fixture
def slow_git(tmp_path: Path) -> dict[str, str | None]:
    """A capture asks git about the working directory: here that takes its time, and so does the capture."""
    if not cgroup_support().freeze or not cgroup_support().memory:
        pytest.skip(f"nobody can be held here: {cgroup_support().reason}")
    folder = tmp_path / "bin"
    folder.mkdir()
    git = folder / "git"
    git.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/asked\nexec sleep 4\n")
    git.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def stands_still(pid: int) -> bool:
    """Whether the kernel lets nothing of its cgroup run, or has it wait at its limit: on a busy machine it can get as far as that."""
    if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("D"):
        return True
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, _, path = line.split(":", 2)
        for mount in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
            events = Path(mount + path, "cgroup.events")
            if number == "0" and events.exists():
                return "frozen 1" in events.read_text()
    return False


def test_a_held_leaf_stands_still_until_it_is_captured(backend: str, tmp_path: Path, slow_git: dict[str, str | None]) -> None:
    """Woken by the kernel alone; nothing of it runs while the capture takes seconds, and then it is replaced."""
    script = ("await:on", "grow:300", "stay", "/", "await:end", "exit:0")
    with guarding(tmp_path, backend, *script, tables=TABLES, env=slow_git) as run:
        leaf = run.wait_pid("leaf")
        run.touch("on")
        held = run.wait_for("leaf_held")
        eventually_sync(lambda: stands_still(leaf))
        run.wait_for("restart_completed")
        run.touch("end")
        assert run.finish(40).returncode == 0

    assert held["data"]["way"] == "freeze" and held["data"]["total_bytes"] >= 80 << 20
    (initiated,) = run.named("restart_initiated")
    (captured,) = run.named("state_captured", reason=initiated["data"]["reason"])
    assert held["seq"] < initiated["seq"] < captured["seq"] < run.named("child_exited", generation=1)[0]["seq"]
    assert "held for 20 s at most" in run.told


def test_a_held_leaf_dies_with_its_guardian(backend: str, tmp_path: Path, slow_git: dict[str, str | None]) -> None:
    """It is frozen and cannot do anything itself: the sentry ends it."""
    with guarding(tmp_path, backend, "await:on", "grow:300", "stay", tables=TABLES, env=slow_git) as run:
        leaf = run.wait_pid("leaf")
        run.touch("on")
        run.wait_for("leaf_held")
        eventually_sync(lambda: stands_still(leaf))
        eventually_sync((tmp_path / "asked").exists, what="its state is being captured")
        run.program.send(signal.SIGKILL)
        run.program.wait()
        eventually_sync(lambda: not runs(leaf), what="the sentry has ended it")
        asked = [int(pid) for pid in (tmp_path / "asked").read_text().split()]
        eventually_sync(lambda: not any(runs(pid) for pid in asked), what="git is gone")
    swept = run_supervisor("--backend", backend, "--state-dir", str(tmp_path / "state"), "--name", "actor", "--", "true", cwd=tmp_path)
    assert swept.returncode == 0, swept.stderr
