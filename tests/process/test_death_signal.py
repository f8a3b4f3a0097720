"""When a supervisor is killed: what the parent-death signal ends, and what is left to the next start; each alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor.host import launching
from supervisor.host.cgroup import offer
from supervisor.host.launching import Mechanism
from workers.state.sweeping import sweep_abandoned

from ..support import eventually_sync as within
from ..support import kill_unseen
from .host_support import children
from .host_support import running as runs
from .sentry_support import BACKENDS, KINDS, LINUX_ONLY, PATIENCE, SENTRIES, Host, all_gone, host

pytestmark = LINUX_ONLY

AS_ROOT = pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root may change the user")
NOBODY = 65534


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
@SENTRIES
def test_between_two_sentries_there_is_the_parent_death_signal(tmp_path: Path, backend: str, kind: str) -> None:
    """A supervisor that dies before it could replace its dead sentry: the leaf dies at once, and the rest is left to whoever comes next."""
    with host(tmp_path, backend, kinds=",".join(KINDS), sentry=kind, death=9) as killed:
        facts = killed.facts()
        rest = killed.family().values()
        kill_unseen(killed.program, facts["sentry"])
        within(lambda: not runs(facts["leaf"]), PATIENCE)
        assert set(killed.present()) == set(rest)


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


# ------------------------------------------------------------ leaves of another user


def three(killed: Host) -> tuple[int, set[int]]:
    """A leaf that runs as somebody else, and its two children, once they are there."""
    leaf = killed.facts()["leaf"]
    others = within(lambda: found if len(found := children(leaf)) == 2 and {leader(pid) for pid in found} > {leaf} else set(), PATIENCE)
    return leaf, others


def leader(pid: int) -> int:
    return os.getsid(pid)


def ids(pid: int, of: str) -> set[int]:
    """All users, or groups, that a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return set(map(int, next(line.split()[1:] for line in lines if line.startswith(f"{of}:"))))


@AS_ROOT
@pytest.mark.parametrize("hierarchy", ["v2", "freezer"])
@pytest.mark.parametrize("launch", ["helper", "setpriv"])
@pytest.mark.parametrize("more", [{"user": "nobody"}, {"group": NOBODY}, {"user": "nobody", "nice": 3}], ids=["user", "group", "nice"])
def test_a_change_of_user_leaves_the_parent_death_signal(tmp_path: Path, launch: str, hierarchy: str, more: dict[str, Any]) -> None:
    """The kernel takes it back when a process changes its user: it is asked for after that. Without a sentry the leaf dies at once."""
    if (launching._best() if launch == "helper" else launching._without_helper()) is not Mechanism(launch):
        pytest.skip(f"no {launch} here")
    if offer.look(hierarchy).tracking is None:
        pytest.skip(f"no cgroups of {hierarchy} here")
    with host(tmp_path, "trio", sentry="off", death=9, launch=launch, hierarchy=hierarchy, **more) as killed:
        leaf, rest = three(killed)
        assert (ids(leaf, "Uid"), ids(leaf, "Gid")) == ({NOBODY} if "user" in more else {0}, {NOBODY})
        killed.kill()
        within(lambda: not runs(leaf), PATIENCE)
        assert all(map(runs, rest))


@AS_ROOT
@SENTRIES
def test_the_sentry_ends_a_tree_of_another_user(tmp_path: Path, kind: str) -> None:
    """One of root's may signal everybody."""
    with host(tmp_path, "trio", sentry=kind, user="nobody") as killed:
        leaf, rest = three(killed)
        assert all(ids(pid, "Uid") == {NOBODY} for pid in (leaf, *rest))
        killed.kill()
        all_gone(killed, (leaf, *rest))


@AS_ROOT
def test_the_next_start_sweeps_a_tree_of_another_user(tmp_path: Path) -> None:
    """Root's, again."""
    with host(tmp_path, "trio", sentry="off", user="nobody", state=tmp_path / "state") as killed:
        leaf, rest = three(killed)
        killed.kill()
        (swept,) = anyio.run(sweep_abandoned, tmp_path / "state", "project", backend="trio")
        assert {process.pid for process in swept.killed} == {leaf, *rest} and killed.present() == []
