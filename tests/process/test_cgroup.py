"""Leaves in cgroups of their own, with real processes: who is in it from when on, what does not escape, and what is left of it."""

from __future__ import annotations

import errno
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from supervisor import (
    CgroupUnavailable,
    ChildSpec,
    OrphansSwept,
    Restart,
    Supervisor,
    cgroup_directories,
    cgroup_support,
    command,
    run_token,
    subtree,
    worker,
)
from supervisor.core.exits import ExitKind
from supervisor.host import launching, reaper, spawn
from supervisor.host.cgroup import files, group, offer
from supervisor.host.cgroup import run as runs
from supervisor.host.identity import ProcessId
from supervisor.host.launching import Mechanism
from supervisor.host.marker import new_marker
from supervisor.host.procstat import Stat, read_stat
from supervisor.host.settings import Settings
from supervisor.host.tree import Tree
from supervisor.leaf.worker import WorkerLife

from ..children.sandboxed import NUMBERS
from ..support import eventually
from ..support_ticket import Life, living
from .conftest import use_hierarchy
from .host_support import directory_of, family, is_there, other, reported, running, zombies
from .worker_support import child, methods
from .worker_support import tree as worker_tree

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")]


def swept(life: Life) -> set[int]:
    return {pid for event in life.ticket.events if isinstance(event, OrphansSwept) for pid in event.pids}


async def test_first_instruction_is_in_the_cgroup(hierarchy: str, way: Mechanism, tmp_path: Path) -> None:
    """What the command reads of itself at once names its own cgroup, which is gone after its end, and the run's with it."""
    output = tmp_path / "output"
    async with living(command("cat", "/proc/self/cgroup", stdout=output), ("root", "a leaf/ü")) as life:
        directory = directory_of(life)
        assert (await life.ticket.wait_exit()).kind is ExitKind.NORMAL

    assert any(line.endswith(directory.partition(runs.PREFIX + run_token())[2]) for line in output.read_text().splitlines())
    assert os.path.basename(directory).endswith("-root-a_leaf-_-1") and not is_there(directory)
    assert not is_there(os.path.dirname(directory))


async def test_process_is_our_child_like_any_other(hierarchy: str, way: Mechanism) -> None:
    """It leads a session, its end is ours to see, and nothing else of the launch is left, however it came into the cgroup."""
    async with living(command("sh", "-c", "sleep 0.2; exit 7")) as life:
        stat = read_stat(life.handle.pid)
        assert stat is not None and stat.parent == os.getpid()
        assert stat.session == stat.group == life.handle.pid
        assert zombies() == []
        assert (await life.ticket.wait_exit()).code == 7


async def test_start_that_fails_leaves_no_cgroup(hierarchy: str, way: Mechanism) -> None:
    """No such program: the error is the same as without one."""
    with pytest.raises(ExceptionGroup) as caught:
        async with living(command("no-such-command")):
            pass
    assert caught.group_contains(FileNotFoundError, match="command not found")
    assert not [directory for directory in cgroup_directories() if is_there(directory)]


@pytest.mark.parametrize("how", ["terminate", "crash", "kill"])
async def test_nothing_hides_from_its_cgroup(tmp_path: Path, hierarchy: str, how: str) -> None:
    """A daemon, forked twice, in a session of its own, with an emptied environment, deaf to SIGTERM, and never seen before: it goes,
    although somebody else's child could look just like it.
    """
    report = tmp_path / "report"
    daemon = f'trap "" TERM HUP; echo daemon $$ >> {report}; exec sleep 60'
    script = f"env -i PATH=$PATH setsid --fork sh -c '{daemon}' < /dev/null; while [ ! -s {report} ]; do sleep 0.01; done; sleep 60"
    stranger = other("env", "-i", "/bin/sleep", "60", own_session=True)
    async with living(command("sleep", "60"), ("root", "other")), living(command("sh", "-c", script)) as life:
        await eventually(lambda: reported(report))
        pid = reported(report)["daemon"]
        await eventually(lambda: (stat := read_stat(pid)) is not None and stat.parent == os.getpid())
        if how == "crash":
            os.kill(life.handle.pid, signal.SIGKILL)
        else:
            getattr(life.handle, how)()
        await life.ticket.wait_exit()

        assert not running(pid) and zombies() == []
        if how != "kill":
            assert pid in swept(life)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


@pytest.mark.parametrize("inner", [False, True])
async def test_frozen_leaf_can_be_killed(hierarchy: str, inner: bool) -> None:
    """Somebody has frozen it, or a cgroup that it has made itself; in version 1 it could not even die of a signal."""
    async with living(command("sh", "-c", "sleep 60 & sleep 60")) as life:
        await eventually(lambda: len(life.handle.members()) == 3)
        frozen = Path(directory_of(life))
        if inner:
            frozen = frozen / "inner"
            frozen.mkdir()
            for member in life.handle.members():
                (frozen / files.PROCESSES).write_text(str(member.pid))
        assert files.freeze(str(frozen))
        life.handle.kill()
        assert (await life.ticket.wait_exit()).signal == signal.SIGKILL


async def test_without_cgroup_kill_it_is_frozen_and_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Version 2 before Linux 5.14."""
    use_hierarchy("v2", monkeypatch)
    monkeypatch.setattr(files, "_V2_KILL", "cgroup.kill.of.a.newer.kernel")
    report = tmp_path / "report"
    async with living(family(report, "crash", "stubborn", "daemon", "runner", "plain")) as life:
        directory = directory_of(life)
        await life.ticket.wait_exit()

        pids = set(reported(report).values())
        assert not [pid for pid in pids if running(pid)] and not is_there(directory)


async def test_who_has_left_the_cgroup_is_found_by_the_tree(hierarchy: str, tmp_path: Path) -> None:
    """A leaf, or a part of it, that went elsewhere by itself is swept all the same."""
    report = tmp_path / "report"
    outside = f"{os.path.dirname(cgroup_directories()[0])}/{files.PROCESSES}"
    moved = f"echo 0 > {outside}; echo moved $$ >> {report}; exec setsid sleep 60"
    async with living(command("sh", "-c", f"sh -c '{moved}' & while [ ! -s {report} ]; do sleep 0.01; done; sleep 60")) as life:
        await eventually(lambda: reported(report))
        pid = reported(report)["moved"]
        await eventually(lambda: pid not in [member.pid for member in files.members(directory_of(life))])
        assert pid in [member.pid for member in life.handle.members()]
        os.kill(life.handle.pid, signal.SIGKILL)
        await life.ticket.wait_exit()

        assert pid in swept(life) and not running(pid)


async def test_who_has_left_the_cgroup_unseen_is_swept_all_the_same(hierarchy: str, tmp_path: Path) -> None:
    """Nobody has looked at the tree meanwhile, and its end is reported by a look into its cgroup alone: the rest follows at once."""
    report = tmp_path / "report"
    outside = f"{os.path.dirname(cgroup_directories()[0])}/{files.PROCESSES}"
    moved = f"echo 0 > {outside}; echo moved $$ >> {report}; exec setsid sleep 60"
    script = f"sh -c '{moved}' & while [ ! -s {report} ]; do sleep 0.01; done; kill -9 $$"
    async with living(command("sh", "-c", script)) as life:
        assert (await life.ticket.wait_exit()).signal == signal.SIGKILL
    assert not running(reported(report)["moved"]) and reported(report)["moved"] in swept(life)
    assert zombies() == []


def test_number_of_a_reaped_leaf_may_be_anothers() -> None:
    """Who is in a session of that number and younger than its end may have come from anywhere."""
    root = ProcessId(1234, 100)
    tree = Tree(root, new_marker(("leaf",), 1), own_session=True, adopting=True)
    old = Stat(2345, b"S", 1, 1234, 1234, 1, 101)
    assert tree.claims(old)
    tree.root_reaped()
    young = old._replace(created=int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")) + 1)
    assert tree.claims(old) and not tree.claims(young)


async def test_cgroups_below_the_leafs_own_go_with_it(hierarchy: str) -> None:
    """A leaf that is a supervisor itself, or a container's, makes its own."""
    async with living(command("sleep", "60")) as life:
        inner = Path(directory_of(life)) / "inner"
        inner.mkdir()
        (inner / files.PROCESSES).write_text(str(life.handle.pid))
        assert life.handle.members() == (life.handle.process_id,)
        assert group.is_held(life.handle.pid)
        life.handle.kill()
        await life.ticket.wait_exit()

        assert not inner.parent.exists()


async def test_dead_that_nobody_reaped_are_known_by_their_cgroup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Session leaders that were never seen alive are reaped, though anybody here could have started them. Version 1 forgets the dead."""
    use_hierarchy("v2", monkeypatch)
    report = tmp_path / "report"
    async with living(family(report, "crash", "zombie")) as life:
        await life.ticket.wait_exit()
    assert zombies() == []
    theirs = other("true", own_session=True, ended=True)
    async with living(command("true")) as life:
        await life.ticket.wait_exit()
    assert zombies() == [theirs.pid] and theirs.wait() == 0


@pytest.mark.parametrize("lasting", [True, False])
async def test_cgroup_that_cannot_be_entered_is_done_without(monkeypatch: pytest.MonkeyPatch, hierarchy: str, lasting: bool) -> None:
    """The kernel says no only when a process is put there: this and every later leaf do without, and the reason can be read. Only this
    one if its cgroup was removed.
    """
    if launching.mechanism() is not Mechanism.HELPER:
        pytest.skip("only the helper can tell")
    original = group.Group
    tries: list[str] = []

    def broken(directory: str, clone_into: str | None, tasks: tuple[str, ...], *rest: object) -> group.Group:
        tries.append(directory)
        if not lasting:
            os.rmdir(directory)
        elif clone_into is None:
            tasks = ("/proc/version",)
        else:
            clone_into = invalid_domain(Path(directory))
        return original(directory, clone_into, tasks, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(group, "Group", broken)
    told: list[type] = []
    for _ in range(2):
        async with living(command("sh", "-c", "exit 3")) as life:
            assert life.handle.cgroup is None
            assert (await life.ticket.wait_exit()).code == 3
            told += [type(event) for event in life.ticket.events]
    assert told == [CgroupUnavailable] * (1 if lasting else 2)
    assert len(tries) == (1 if lasting else 2) and not any(map(is_there, tries))
    if lasting:
        assert "no process can be put into a cgroup" in cgroup_support().reason


def invalid_domain(directory: Path) -> str:
    """A cgroup below this one that no process can be put into: a domain below a threaded one."""
    invalid = directory / "threaded" / "invalid"
    invalid.parent.mkdir()
    files.write(str(invalid.parent), "cgroup.type", "threaded")
    invalid.mkdir()
    return str(invalid)


async def test_no_more_cgroups_than_the_host_allows(monkeypatch: pytest.MonkeyPatch, hierarchy: str) -> None:
    """A cgroup that cannot be made is done without, and that is told."""

    def full(*_: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(group, "_make", full)
    async with living(command("sh", "-c", "exit 3")) as life:
        assert life.handle.cgroup is None
        assert (await life.ticket.wait_exit()).code == 3
    told = CgroupUnavailable(("root", "leaf"), "no cgroup can be made: Resource temporarily unavailable", generation=1)
    assert life.ticket.events == [told]


def test_support_says_what_there_is(monkeypatch: pytest.MonkeyPatch, hierarchy: str) -> None:
    """What is used, what it can do, and why the rest cannot be had."""
    support = cgroup_support()

    assert hierarchy in (support.tracking or "") and support.freeze
    assert support.kill or "cgroup.kill" in support.reason
    assert support.directory and not is_there(f"{support.directory}/{runs.PREFIX}{run_token()}")
    monkeypatch.setattr(offer, "_offer", (os.getpid(), offer.look("no-such-hierarchy")))
    nothing = cgroup_support()
    assert (nothing.tracking, nothing.kill, nothing.memory) == (None, False, False) and nothing.reason


def worker_cgroup(root: Supervisor) -> str | None:
    life = root.handle("child")
    assert isinstance(life, WorkerLife)
    return None if life._running is None else life._running.cgroup


async def test_worker_in_a_fresh_interpreter_has_a_cgroup(hierarchy: str, tmp_path: Path) -> None:
    """From before it runs anything of its own; and nothing that it leaves behind survives."""
    report = tmp_path / "report"
    async with worker_tree() as watched:
        born = (await watched.root.start_child(child("hider", str(report), method="fresh", shutdown=1.0))).value
        directory = worker_cgroup(watched.root)
        assert directory is not None and any(line.endswith(directory.rpartition("/supervisor-")[2]) for line in str(born).splitlines())
        await eventually(lambda: reported(report))
        await watched.root.terminate_child("child")
        assert not running(reported(report)["daemon"]) and zombies() == []
        assert [event.pids for event in watched.events(OrphansSwept)] == [(reported(report)["daemon"],)]
        await eventually(lambda: not is_there(directory))


async def test_worker_of_a_fork_server_has_none(hierarchy: str) -> None:
    """To move it would take longer than its whole start."""
    async with worker_tree(child("up", method="fork_server")) as watched:
        assert worker_cgroup(watched.root) is None
        assert watched.events(CgroupUnavailable) == []


SEEN = """\
import anyio
from supervisor import command
from tests.support_ticket import living
async def main():
    said = []
    async with living(command("cat", "/proc/self/cgroup", stdin="null", stdout=said.append)) as life:
        print(life.handle.cgroup)
        await life.ticket.wait_exit()
    print(b"".join(said).decode())
anyio.run(main)
"""


@pytest.mark.skipif(platform.machine() not in NUMBERS, reason="a machine that is strange to us")
def test_sandbox_that_refuses_to_clone_into_a_cgroup() -> None:
    """Then the process goes there by itself before it becomes the command."""
    if cgroup_support().tracking != "v2":
        pytest.skip(f"no cgroups of version 2 here: {cgroup_support().reason}")
    line = [sys.executable, "-m", "tests.children.sandboxed", "clone3", sys.executable, "-c", SEEN]
    ended = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    directory, *lines = ended.stdout.split()
    assert any(line.endswith(directory.rpartition("/supervisor-")[2]) for line in lines), ended.stderr


async def test_helper_reports_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that the kernel refuses is a start that failed, with the setting's name."""
    if launching.mechanism() is not Mechanism.HELPER:
        pytest.skip("only the helper can tell")
    settings = Settings(tasks=("/proc/version",))
    with pytest.raises(spawn.SettingFailed, match="cgroup cannot be set") as caught:
        spawn.spawn(("true",), marker="m", settings=settings)
    assert caught.value.setting == "cgroup"
    await anyio.lowlevel.checkpoint()


@methods
async def test_who_hid_below_a_killed_supervisor_is_held_by_its_cgroup(
    method: str, hierarchy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session of its own, no environment, and a parent that died with the supervisor: all below a placed one die with it."""
    monkeypatch.setattr(reaper, "_sole_owner", True)  # dead workers from there lead sessions of their own
    inner = subtree([ChildSpec("spawner", worker("tests.children.working:up"))])
    far_spec = ChildSpec("far", worker(inner, start_method=method), restart=Restart.TEMPORARY)  # type: ignore[arg-type]
    async with worker_tree(far_spec, ChildSpec("other", command("sleep", "60"))) as watched:
        far = watched.root.which_child("far").pid
        assert far is not None
        hidden = await watched.root.supervisor("far").call("spawner", "spawn_hidden")
        assert running(hidden)
        os.kill(far, signal.SIGKILL)
        await eventually(lambda: not running(hidden))
