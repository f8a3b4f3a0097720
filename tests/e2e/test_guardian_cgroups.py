"""The cgroups of a guardian that was killed: the next start finds in them what no environment and no ancestry could tell."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from supervisor import cgroup_support

from ..process.host_support import reported
from ..support import eventually_sync, kill_unseen, run_supervisor, running
from .guarded import runs, sentry_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")


def test_who_hid_from_everything_else_is_swept_by_the_next_start(backend: str, tmp_path: Path) -> None:
    """A daemon in a session of its own, with an emptied environment, whose parents are dead; its cgroups are gone after that as well."""
    if cgroup_support().tracking is None:
        pytest.skip(f"no cgroups here: {cgroup_support().reason}")
    report = tmp_path / "report"
    daemon = f"echo daemon $$ >> {report}; exec sleep 60"
    script = f"echo leaf $$ >> {report}; env -i PATH=$PATH setsid --fork sh -c '{daemon}' < /dev/null > /dev/null 2>&1; exec sleep 60"
    options = ("--backend", backend, "--state-dir", str(tmp_path / "state"), "--")
    with running(sys.executable, "-m", "supervisor", *options, "sh", "-c", script) as guardian:
        eventually_sync(lambda: len(reported(report)) == 2)
        pids = reported(report)
        cgroups = [line.partition("::")[2] for line in Path(f"/proc/{pids['daemon']}/cgroup").read_text().splitlines()]
        kill_unseen(guardian, sentry_of(guardian.pid))
    eventually_sync(lambda: not runs(pids["leaf"]))
    assert runs(pids["daemon"]) and any("/supervisor-" in cgroup for cgroup in cgroups)

    ended = run_supervisor(*options, "true")
    assert ended.returncode == 0, ended.stderr
    assert not runs(pids["daemon"])
    name = next(part for cgroup in cgroups for part in cgroup.split("/") if part.startswith("supervisor-"))
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{name}"))
