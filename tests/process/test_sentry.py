"""When a supervisor is killed its sentry alone ends every tree that it leaves, and nobody else."""

from __future__ import annotations

import os
import signal
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from supervisor import cgroup_support
from supervisor.host.procstat import read_stat

from ..support import ROOT
from ..support import eventually_sync as within
from ..support import running as program
from .host_support import CHILDREN, PYTHON, identified, other, reported
from .host_support import running as runs
from .sentry_support import BACKENDS, COMPILED, KINDS, LINUX_ONLY, PATIENCE, SENTRIES, Host, all_gone, host
from .worker_support import methods

pytestmark = LINUX_ONLY


@BACKENDS
@SENTRIES
def test_the_sentry_ends_the_whole_tree(tmp_path: Path, backend: str, kind: str) -> None:
    """With neither a parent-death signal nor a next start: the leaf, who ignores SIGTERM, who made a session, who was forked twice."""
    with host(tmp_path, backend, kinds=",".join(KINDS), sentry=kind) as killed:
        facts = killed.facts()
        everybody = [*killed.family().values(), facts["leaf"], facts["sentry"]]
        assert all(runs(pid) for pid in everybody)
        killed.kill()
        all_gone(killed, everybody)


@SENTRIES
@pytest.mark.parametrize("act", ["start", "stop"])
def test_in_the_middle_of_a_start_or_a_stop(tmp_path: Path, kind: str, act: str) -> None:
    """Before the leaf has said that it is up, and while it ignores that it is to end."""
    with host(tmp_path, "trio", kinds=",".join(KINDS), sentry=kind, act=act) as killed:
        everybody = killed.family().values()
        if act == "stop":
            killed.facts()
        assert all(runs(pid) for pid in everybody)
        killed.kill()
        all_gone(killed)


@SENTRIES
def test_in_the_middle_of_restarts(tmp_path: Path, kind: str) -> None:
    """A leaf that crashes again and again: whichever step its supervisor dies in, nothing is left."""
    for number in range(5):
        with host(tmp_path, "trio", f"host{number}", kinds="setsid,daemon", sentry=kind, act="restart") as killed:
            within(partial(has_crashed, killed.report, number), PATIENCE)
            killed.kill()
            all_gone(killed)


def has_crashed(report: Path, times: int) -> bool:
    """Whether so many lives, and one more, have got so far that they crash."""
    return report.exists() and report.read_text().count("daemon") > times


@BACKENDS
@SENTRIES
def test_the_sentry_ends_many_trees(tmp_path: Path, backend: str, kind: str) -> None:
    """Each of several leaves goes, with what it started."""
    with host(tmp_path, backend, kinds="setsid,daemon", leaves=4, sentry=kind) as killed:
        killed.facts()
        assert len(killed.present()) == 4 * 3 + 1
        killed.kill()
        all_gone(killed)


@BACKENDS
@SENTRIES
@methods
def test_the_sentry_ends_what_a_worker_has_started(tmp_path: Path, backend: str, kind: str, method: str) -> None:
    """The worker ends by itself; the sentry ends the processes that it leaves, one of them in a session of its own."""
    words = [PYTHON, str(CHILDREN / "host_of_worker.py"), backend, method, kind, "family"]
    with program(*words, env={"PYTHONPATH": str(ROOT)}) as killed:
        text = within(lambda: killed.stdout if killed.stdout.endswith("\n") else "", PATIENCE)
        everybody = list(map(int, text.split()))
        assert len(everybody) == 4 + (method == "fork_server") and all(map(runs, everybody))
        killed.process.kill()
        within(lambda: not any(map(runs, everybody)), PATIENCE, what="the end of all")


@COMPILED
@methods
def test_the_sentry_ends_what_only_a_workers_cgroup_holds(tmp_path: Path, method: str) -> None:
    """A daemon in a session of its own, with an empty environment: nothing else says whose it is."""
    if not cgroup_support().kill:
        pytest.skip("no cgroups here that can be killed")
    report = tmp_path / "report"
    words = [PYTHON, str(CHILDREN / "host_of_worker.py"), "trio", method, "compiled", "hidden", str(report)]
    with program(*words, env={"PYTHONPATH": str(ROOT)}) as killed:
        text = within(lambda: killed.stdout if killed.stdout.endswith("\n") else "", PATIENCE)
        daemon = within(lambda: reported(report), PATIENCE)["daemon"]
        everybody = [*map(int, text.split()), daemon]
        assert all(map(runs, everybody))
        killed.process.kill()
        try:
            within(lambda: not any(map(runs, everybody)), PATIENCE, what="the end of all")
        finally:
            if runs(daemon):
                os.kill(daemon, signal.SIGKILL)


@BACKENDS
@SENTRIES
def test_of_a_supervisor_below_nothing_is_left_either(tmp_path: Path, backend: str, kind: str) -> None:
    """It is in a process of its own, with a sentry of its own, and goes with the one above: its commands and both sentries too."""
    mark = uuid.uuid4().hex
    words = [PYTHON, str(CHILDREN / "host_of_worker.py"), backend, "subtree", kind]
    with program(*words, env={"PYTHONPATH": str(ROOT), "HOST": mark}) as started:
        killed = Host(started, tmp_path, mark)
        within(lambda: started.stdout.endswith("\n"), PATIENCE)
        # the fork server and what it has in reserve, the worker, its command and that one's child, two sentries
        within(lambda: len(killed.present()) >= 6, PATIENCE, what="everybody")
        killed.kill()
        all_gone(killed)


@SENTRIES
def test_of_two_supervisors_each_has_its_own(tmp_path: Path, kind: str) -> None:
    """The death of one touches nothing of the other; the other's end leaves no sentry."""
    options = {"kinds": ",".join(KINDS), "sentry": kind}
    with host(tmp_path, "trio", "a", **options) as killed, host(tmp_path, "trio", "b", **options) as other:
        assert killed.facts() != other.facts()
        before = other.present()
        assert len(before) == len(KINDS) + 2
        killed.kill()
        all_gone(killed)
        assert other.present() == before
        assert other.program.process.stdin is not None
        other.program.process.stdin.close()
        assert other.program.wait().returncode == 0
        assert other.present() == []


@SENTRIES
def test_a_pid_that_is_anothers_now_is_not_touched(tmp_path: Path, kind: str) -> None:
    """Whoever has the pid of a root but was created at another time is a stranger, and so are his session and his children."""
    with program("sh", "-c", "sleep 60 & wait") as stranger:
        child = within(lambda: Path(f"/proc/{stranger.pid}/task/{stranger.pid}/children").read_text(), PATIENCE)
        with host(tmp_path, "trio", sentry=kind, forged=stranger.pid) as killed:
            killed.facts()
            killed.kill()
            all_gone(killed)
        assert all(stat is not None and stat.state in (b"S", b"R") for stat in map(read_stat, (stranger.pid, int(child))))
        os.kill(int(child), signal.SIGKILL)


@SENTRIES
@pytest.mark.parametrize("older", [True, False])
def test_the_number_of_a_root_that_was_taken_away_may_be_anothers(tmp_path: Path, kind: str, older: bool) -> None:
    """Of the session of that number only who is older than its end has come from the root; the rest is somebody else's."""
    leader = other("sh", "-c", "sleep 60 & exec sh -c :", own_session=True)
    (child,) = within(lambda: in_session(leader.pid), PATIENCE)
    assert leader.wait() == 0
    with host(tmp_path, "trio", sentry=kind, reaped=f"{leader.pid}:{identified(child).created + older}") as killed:
        killed.facts()
        killed.kill()
        all_gone(killed, [child] if older else [])
        assert runs(child) != older
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def in_session(leader: int) -> list[int]:
    """The processes in a session besides its leader."""
    found = [read_stat(int(name)) for name in os.listdir("/proc") if name.isdigit()]
    return [stat.pid for stat in found if stat is not None and stat.session == leader != stat.pid]


@BACKENDS
@SENTRIES
@pytest.mark.skipif(cgroup_support().tracking is None, reason="no cgroups here")
def test_who_has_left_the_cgroup_unseen_has_the_sentry_until_he_is_swept(tmp_path: Path, backend: str, kind: str) -> None:
    """The leaf's end is reported and the next life may begin, and its supervisor is killed just before the last look around."""
    with host(tmp_path, backend, sentry=kind, act="last_look") as killed:
        assert killed.program.wait(PATIENCE).returncode == -signal.SIGKILL
        assert "+ pid=" in killed.program.stderr and " until=" in killed.program.stderr
        all_gone(killed, killed.family(1).values())


@SENTRIES
def test_a_leaf_that_is_to_outlive_us_does(tmp_path: Path, kind: str) -> None:
    """What is left out of the sentry's table is spared, although it is of the same supervisor."""
    with host(tmp_path, "trio", kinds="setsid,daemon", leaves=2, sentry=kind, sentry_last="off") as killed:
        facts = killed.facts()
        spared = killed.family(2, "1")
        killed.kill()
        within(lambda: not any(runs(pid) for pid in (facts["sentry"], facts["leaf"], *killed.family(2).values())), PATIENCE)
        assert all(runs(pid) for pid in spared.values())


@COMPILED
def test_a_fork_of_the_supervisor_hides_its_death_from_nobody(tmp_path: Path) -> None:
    """A fork that lives on has all its descriptors open: the sentry waits for the process itself."""
    with host(tmp_path, "trio", kinds="setsid", act="fork") as killed:
        facts = killed.facts()
        killed.kill()
        within(lambda: not any(runs(pid) for pid in (facts["sentry"], facts["leaf"], *killed.family(1).values())), PATIENCE)


@SENTRIES
def test_no_signal_of_a_terminal_or_a_shell_ends_the_sentry(tmp_path: Path, kind: str) -> None:
    """Not even all of them; and it still does its work."""
    with host(tmp_path, "trio", kinds="setsid", sentry=kind) as killed:
        waiting = killed.facts()["sentry"]
        if kind == "sh":  # it has to get so far that it ignores them
            within(lambda: "0000" in read_ignored(waiting) and int(read_ignored(waiting), 16) >> 14 & 1, PATIENCE)
        for number in (1, 2, 3, 10, 12, 13, 14, 15, 20, 21, 22, 28):
            os.kill(waiting, number)
        stat = read_stat(waiting)
        assert stat is not None and stat.state == b"S" and stat.group == waiting and stat.session == os.getsid(killed.program.pid)
        killed.kill()
        all_gone(killed)


def read_ignored(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("SigIgn"))
