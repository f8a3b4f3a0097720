"""What a worker may use of the machine: forked or in a fresh interpreter, what is in force before anything of its own runs."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor import (
    BadCombination,
    CgroupUnavailable,
    ChildSpec,
    InvalidField,
    Limits,
    NoProc,
    OomKilled,
    OrphansSwept,
    Restart,
    StartFailed,
    StartMethodUnavailable,
    cgroup_directories,
    command,
    subtree,
    worker,
)
from supervisor.core.wire import ProtocolError
from supervisor.host import fork_server
from supervisor.host.cgroup import files, offer
from supervisor.host.cgroup.group import Group, Made, make
from supervisor.host.spawn import SettingFailed
from supervisor.leaf import enclosing
from supervisor.leaf.worker import WorkerLife

from ..support import eventually
from .host_support import is_there, reported, running, zombies
from .test_cgroup import invalid_domain
from .test_limits import MIB, as_root, needs
from .worker_support import Watched, exits, methods, tree

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")]


def limited(
    method: str = "auto", function: str = "tests.children.limited:up", *args: Any, restart: Restart = Restart.TEMPORARY, **fields: Any
) -> ChildSpec:
    """A worker with limits."""
    launch = worker(function, *args, start_method=method, **fields)  # type: ignore[arg-type]
    return ChildSpec("child", launch, restart=restart, shutdown=2.0)


def life(watched: Watched) -> WorkerLife:
    handle = watched.root.handle("child")
    assert isinstance(handle, WorkerLife)
    return handle


MARKS = "tests.children.limited:leaves_a_mark"


def name_of(directory: str) -> str:
    """Of a cgroup, as the kernel shows it to those in it."""
    return directory.rpartition("/supervisor-")[2]


@methods
async def test_memory_beyond_the_limit_is_the_end_and_is_called_so(method: str) -> None:
    """The kernel kills the worker; the exit says why, whoever was waiting is told, and its cgroup goes with it."""
    needs("memory")
    async with tree(limited(method, limits=Limits(memory_max=64 * MIB))) as watched:
        directory = life(watched).cgroup
        assert directory is not None and is_there(directory)
        with pytest.raises(NoProc):
            await watched.root.call("child", "take", 256 * MIB, timeout=20.0)
        (exit,) = await eventually(lambda: exits(watched))
        assert (exit.signal, exit.out_of_memory, exit.reason) == (signal.SIGKILL, True, "killed: out of memory")
        await eventually(lambda: not is_there(directory))


@methods
async def test_a_kill_in_its_tree_is_told_while_the_worker_goes_on(method: str) -> None:
    """The limit is that of the tree together."""
    needs("memory")
    async with tree(limited(method, limits=Limits(memory_max=128 * MIB))) as watched:
        assert await watched.root.call("child", "have_it_taken", timeout=20.0) == -signal.SIGKILL
        (event,) = await eventually(lambda: watched.events(OomKilled))
        assert (event.path, event.generation) == (("root", "child"), 1)
        assert (await watched.root.call("child", "state"))["users"] == os.getresuid()


@methods
async def test_no_more_processes_than_allowed(method: str) -> None:
    """Forks beyond the limit fail in the worker; it and its threads count."""
    needs("pids")
    async with tree(limited(method, limits=Limits(pids_max=16))) as watched:
        made, refused = await watched.root.call("child", "fork", 30)
        assert 10 <= made <= 15 and made + refused == 30


@methods
async def test_what_a_process_has_for_itself(method: str) -> None:
    """Descriptors, core size, out-of-memory score, niceness and umask are in force when its module is imported."""
    limits = Limits(nofile=64, core=4096, oom_score_adj=321, nice=os.nice(0) + 3, umask=0o027)
    async with tree() as watched:
        said = (await watched.root.start_child(limited(method, limits=limits))).value
        assert isinstance(said, dict)
        assert (said["nofile"], said["core"]) == ((64, 64), (4096, 4096))
        assert (said["oom_score_adj"], said["nice"], said["umask"]) == (321, os.nice(0) + 3, 0o027)
        assert (life(watched).cgroup is None) == (method == "fork_server")


async def test_any_core_for_a_fork() -> None:
    """Where our own limit allows it."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("our own cores are limited")
    async with tree() as watched:
        said: Any = (await watched.root.start_child(limited("fork_server", limits=Limits(core=float("inf"))))).value
        assert said["core"] == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@methods
async def test_its_cgroup_holds_it_from_the_first_instruction(method: str, hierarchy: str, tmp_path: Path) -> None:
    """Where one is asked for; nothing that it leaves behind survives, and the cgroup neither."""
    report = tmp_path / "report"
    async with tree() as watched:
        spec = limited(method, "tests.children.working:hider", str(report), cgroup="always")
        born = (await watched.root.start_child(spec)).value
        directory = life(watched).cgroup
        assert directory is not None and any(line.endswith(name_of(directory)) for line in str(born).splitlines())
        await eventually(lambda: reported(report))
        daemon = reported(report)["daemon"]
        assert daemon in [process.pid for process in files.members(directory)]
        await watched.root.terminate_child("child")
        assert not running(daemon) and zombies() == []
        assert [event.pids for event in watched.events(OrphansSwept)] == [(daemon,)]
        await eventually(lambda: not is_there(directory))


@methods
async def test_it_can_do_without_a_cgroup(method: str) -> None:
    """However it is started."""
    async with tree(limited(method, cgroup="never", limits=Limits(nofile=64))) as watched:
        assert life(watched).cgroup is None
        assert (await watched.root.call("child", "state"))["nofile"] == (64, 64)


async def test_life_after_life_has_a_cgroup_of_its_own() -> None:
    """And none is left."""
    async with tree(limited("fork_server", cgroup="always", restart=Restart.TRANSIENT)) as watched:
        seen = []
        for _ in range(3):
            directory = life(watched).cgroup
            assert directory is not None and files.members(directory)[0].pid == life(watched).pid
            seen.append(directory)
            await watched.root.terminate_child("child")
            await watched.root.restart_child("child")
        assert len(set(seen)) == 3
        await eventually(lambda: not any(map(is_there, seen)))


async def test_a_supervisor_in_a_process_shares_its_limits_with_its_children() -> None:
    """The commands of a subtree have cgroups below its own, and no more processes together than it may have."""
    needs("pids")
    script = "for turn in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 20 & done 2>/dev/null; exit 3"
    below = subtree([ChildSpec("greedy", command("sh", "-c", script, stderr="null"), restart=Restart.TEMPORARY)])
    launch = worker(below, start_method="fork_server", limits=Limits(pids_max=16))
    async with tree(ChildSpec("sub", launch)) as watched:
        handle = watched.root.handle("sub")
        assert isinstance(handle, WorkerLife) and handle.cgroup is not None
        group = Path(offer.offer().run_directory(offer.offer().controllers["pids"]), os.path.basename(handle.cgroup))
        assert (group / "pids.max").read_text().strip() == "16"
        (exit,) = await eventually(lambda: exits(watched))
        assert exit.code == 2  # "Cannot fork", says the shell


# ---------------------------------------------------------------- another user

AS_OTHER = """\
import ctypes, os
async def up(*, task_status):
    number = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    task_status.started({
        "users": os.getresuid(), "groups": os.getresgid(), "others": os.getgroups(), "capabilities": int(status["CapEff"], 16),
        "no_new_privileges": int(status["NoNewPrivs"]), "death_signal": number.value, "owner": os.stat("/proc/self/environ").st_uid,
        "cwd": os.getcwd(),
    })
    await __import__("anyio").sleep_forever()
"""


@pytest.fixture
def shared_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that any user may import; its function."""
    directory = tempfile.mkdtemp(dir="/tmp")  # the temporary directory of the tests is ours alone
    try:
        os.chmod(directory, 0o755)
        Path(directory, "as_other.py").write_text(AS_OTHER)
        os.chmod(Path(directory, "as_other.py"), 0o644)
        monkeypatch.syspath_prepend(directory)
        yield "as_other:up"
    finally:
        shutil.rmtree(directory)


def reachable() -> bool:
    """Whether any user may execute our interpreter and read the library."""
    places = {Path(os.path.realpath(sys.executable)), Path(os.path.realpath(anyio.__file__))}
    return all(path.stat().st_mode & 0o005 == 0o005 for place in places for path in place.parents)


@as_root
@methods
@pytest.mark.parametrize(("group", "cgroup"), [(None, "auto"), (12, "always")])
async def test_another_user(method: str, group: int | None, cgroup: Any, shared_module: str, tmp_path: Path) -> None:
    """User and group change, other groups and all capabilities are dropped, none can be gained, and it still dies with its supervisor."""
    if method == "fresh" and not reachable():
        pytest.skip("no interpreter that another user may execute")
    here, groups = os.getcwd(), os.getgroups()
    os.setgroups([*groups, 1234])
    try:
        async with tree(ChildSpec("other", worker("tests.children.working:up", start_method=method))) as watched:  # type: ignore[arg-type]
            os.chdir(tmp_path)  # which no other user may enter: it is there all the same, as for a command
            spec = limited(method, shared_module, limits=Limits(user="nobody", group=group), cgroup=cgroup)
            said: Any = (await watched.root.start_child(spec)).value
    finally:
        os.chdir(here)
        os.setgroups(groups)
    uid, gid = 65534, 65534 if group is None else group
    assert (said["users"], said["groups"], said["others"], said["capabilities"]) == ((uid,) * 3, (gid,) * 3, [], 0)
    assert (said["no_new_privileges"], said["death_signal"], said["owner"]) == (1, signal.SIGKILL, uid)
    assert said["cwd"] == str(tmp_path)


@as_root
async def test_another_group_alone() -> None:
    """Other groups are dropped, and the user stays."""
    async with tree() as watched:
        said: Any = (await watched.root.start_child(limited("fork_server", limits=Limits(group="daemon")))).value
        assert (said["users"], said["groups"], said["others"]) == (os.getresuid(), (1, 1, 1), [])
        assert (said["no_new_privileges"], said["owner"]) == (0, 0)


@methods
async def test_only_root_may_change_the_user(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start fails before there is a process."""
    async with tree() as watched:
        with monkeypatch.context() as patch:
            patch.setattr(os, "geteuid", lambda: 1000)
            with pytest.raises(StartFailed) as failed:
                await watched.root.start_child(limited(method, limits=Limits(user="nobody"), cgroup="always"))
        assert isinstance(failed.value.__cause__, PermissionError) and "limits.user" in str(failed.value.__cause__)


# ---------------------------------------------------------------- what cannot be had


@methods
@pytest.mark.parametrize("field", ["nofile", "oom_score_adj"])
async def test_what_the_kernel_refuses_is_a_failed_start_with_its_name(
    method: str, field: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing of the worker has run then, and nothing is left of it."""
    limits = Limits(nofile=2**31 - 1)
    if field == "oom_score_adj":
        limits = Limits(oom_score_adj=5)
        monkeypatch.setattr(Limits, "__attrs_post_init__", lambda self: None)
        object.__setattr__(limits, "oom_score_adj", 5000)
    async with tree() as watched:
        for _ in range(2):
            with pytest.raises(StartFailed) as failed:
                await watched.root.start_child(limited(method, MARKS, str(tmp_path / "mark"), limits=limits, cgroup="always"))
            cause = failed.value.__cause__
            assert isinstance(cause, SettingFailed) and cause.setting == field
            assert f"{field} cannot be set: " in str(failed.value)
            with suppress(Exception):
                await watched.root.delete_child("child")
    assert zombies() == [] and not (tmp_path / "mark").exists()


@methods
async def test_limits_that_this_host_cannot_give(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that needs them fails with their name and the reason; one that does not runs, and says what it lacks."""
    monkeypatch.setattr(offer, "_offer", (os.getpid(), offer.look("no-such-hierarchy")))
    async with tree() as watched:
        with pytest.raises(StartFailed, match="memory_max cannot be had on this host: "):
            await watched.root.start_child(limited(method, limits=Limits(memory_max=64 * MIB)))
        with pytest.raises(StartFailed, match="a cgroup cannot be had on this host: "):
            await watched.root.start_child(limited(method, cgroup="always"))
        await watched.root.start_child(limited(method, limits=Limits(memory_max=64 * MIB, required=False)))
        assert life(watched).cgroup is None and life(watched).ungranted.keys() == {"memory_max"}
        (event,) = watched.events(CgroupUnavailable)
        assert event.ungranted == ("memory_max",) and event.reason


def unusable(marker: str, limits: Limits | None = None, *, memory: bool = False, gone: bool) -> Made:
    """A cgroup that nobody can enter: what the kernel allows nobody, or removed again."""
    made = make(marker, limits, memory=memory)
    assert isinstance(made.group, Group)
    if gone:
        for directory in (made.group.directory, *made.group._others):
            os.rmdir(directory)
    elif made.group.clone_into is not None:
        made.group.clone_into = invalid_domain(Path(made.group.directory))
    else:
        made.group.tasks = ("/proc/version",)
    return made


@methods
@pytest.mark.parametrize("gone", [False, True])
async def test_a_worker_that_cannot_enter_its_cgroup(
    method: str, gone: bool, hierarchy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It does not start, unless it need not be there: then it is told, and what it leaves behind is found as without a cgroup."""
    needs("pids")
    async with tree() as watched:
        with monkeypatch.context() as patch:
            patch.setattr(enclosing, "make", partial(unusable, gone=gone))
            for fields in ({"limits": Limits(pids_max=30)}, {"cgroup": "always"}):
                with pytest.raises(StartFailed) as failed:
                    await watched.root.start_child(limited(method, MARKS, str(tmp_path / "mark"), **fields))
                assert isinstance(failed.value.__cause__, SettingFailed) and failed.value.__cause__.setting == "cgroup"
            assert not (tmp_path / "mark").exists()
            spec = limited(method, "tests.children.working:up", limits=Limits(pids_max=30, required=False))
            await watched.root.start_child(spec)
        handle = life(watched)
        assert handle.cgroup is None and handle.ungranted.keys() == {"pids_max"}
        (event,) = watched.events(CgroupUnavailable)
        assert event.ungranted == ("pids_max",) and "cgroup" in event.reason
        daemon = await watched.root.call("child", "spawn")
        await watched.root.terminate_child("child")
        assert not running(daemon) and zombies() == []
    await eventually(lambda: not any(map(is_there, cgroup_directories())))


@pytest.mark.parametrize("method", ["fork_server", "auto"])
async def test_without_a_fork_server_its_cgroup_is_given_back(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And made anew for an interpreter of its own."""
    monkeypatch.setattr(fork_server, "_BOOT", f"import sys\nif sys.argv[2]: sys.exit(3)\n{fork_server._BOOT}")
    async with tree() as watched:
        if method == "auto":
            await watched.root.start_child(limited(method, cgroup="always"))
            directory = life(watched).cgroup
            assert directory is not None and files.members(directory)[0].pid == life(watched).pid
        else:
            with pytest.raises(StartFailed) as failed:
                await watched.root.start_child(limited(method, cgroup="always"))
            assert isinstance(failed.value.__cause__, StartMethodUnavailable)
    await eventually(lambda: not any(map(is_there, cgroup_directories())))


async def test_a_worker_cannot_talk_itself_out_of_its_cgroup() -> None:
    """Whoever is in there stays known by it; and who has no settings to take has none to be refused."""
    async with tree() as watched:
        spec = limited("fork_server", "tests.children.limited:liar", limits=Limits(pids_max=30, required=False))
        await watched.root.start_child(spec)
        directory = life(watched).cgroup
        assert directory is not None and files.members(directory)[0].pid == life(watched).pid
        await watched.root.terminate_child("child")
        with pytest.raises(StartFailed) as failed:
            await watched.root.start_child(limited("fork_server", "tests.children.limited:liar"))
        assert isinstance(failed.value.__cause__, ProtocolError)


def test_bad_combinations_are_refused() -> None:
    """With the names of both."""
    with pytest.raises(InvalidField, match=r'cgroup .*"auto", "always" or "never"'):
        worker("m:f", cgroup="perhaps")  # type: ignore[arg-type]
    with pytest.raises(InvalidField, match="limits"):
        worker("m:f", limits={"nofile": 64})  # type: ignore[arg-type]
    with pytest.raises(BadCombination, match="memory_max"):
        worker("m:f", limits=Limits(memory_max=64 * MIB), cgroup="never")
    assert worker("m:f", limits=Limits(nofile=64, core=float("inf"))).describe()["limits"] == {"nofile": 64, "core": float("inf")}
