"""The launcher with the probe in a process of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from .guarded import guarding, runs

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no worker has a process of its own there")


def test_a_leak_is_restarted_also_after_the_probe_was_killed(backend: str, tmp_path: Path) -> None:
    """Its process is gone, and back at once; the tree below the leaf is read as before, and nothing of it all is left after the end."""
    script = ("child:45", "await:more", "child:45", "stay", "/", "await:end", "exit:7")
    with guarding(tmp_path, backend, *script, tables={"workers": {"isolation": "process"}}) as run:
        run.wait_for("memory_level_changed", new="warning")
        (desk,) = run.named("child_started", path=["guardian", "services", "watch", "probe", "desk"])
        (sweep,) = run.named("child_started", path=["guardian", "services", "watch", "probe", "sweep"])
        first = sweep["data"]["pid"]
        assert desk["data"]["pid"] is None and first != run.program.process.pid
        os.kill(first, signal.SIGKILL)
        run.wait_for("child_started", path=sweep["path"], generation=2)
        run.wait_for("monitoring_degraded", blind=False)
        run.touch("more")
        run.wait_for("restart_completed")
        second = run.named("child_started", path=sweep["path"])[-1]["data"]["pid"]
        run.touch("end")
        assert run.finish().returncode == 7
    assert not runs(first) and not runs(second)
    assert len(run.pids("leaf")) == 2
