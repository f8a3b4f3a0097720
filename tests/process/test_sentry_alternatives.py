"""When a supervisor is killed: what the parent-death signal ends, and what is left to the next start; each alone."""

from __future__ import annotations

from pathlib import Path

import anyio

from workers.state.sweeping import sweep_abandoned

from ..support import eventually_sync as within
from .host_support import running as runs
from .sentry_support import BACKENDS, KINDS, LINUX_ONLY, PATIENCE, host

pytestmark = LINUX_ONLY


@BACKENDS
def test_the_parent_death_signal_alone_ends_the_root(tmp_path: Path, backend: str) -> None:
    """Without a sentry: the leaf itself dies at once, and what it had started is left to whoever comes next."""
    with host(tmp_path, backend, kinds=",".join(KINDS), sentry="off", death=9) as killed:
        facts = killed.facts()
        assert facts["sentry"] is None
        rest = killed.family().values()
        killed.kill()
        within(lambda: not runs(facts["leaf"]), PATIENCE)
        assert all(runs(pid) for pid in rest)


@BACKENDS
def test_the_next_start_alone_sweeps_the_whole_tree(tmp_path: Path, backend: str) -> None:
    """Without the other two all live on, until the next start finds a lock that nobody holds; before that it touches nothing."""
    state = tmp_path / "state"
    with host(tmp_path, backend, kinds=",".join(KINDS), sentry="off", state=state) as killed:
        everybody = {killed.facts()["leaf"], *killed.family().values()}
        assert anyio.run(sweep_abandoned, state, "project", backend=backend) == ()
        killed.kill()
        assert set(killed.present()) == everybody
        (swept,) = anyio.run(sweep_abandoned, state, "project", backend=backend)
        assert {process.pid for process in swept.killed} == everybody
        assert killed.present() == []
