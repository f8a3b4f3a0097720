"""The cgroups of whole runs, with real processes: whose they are, what is left of a killed supervisor's, and who may have them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor import RunCgroups, cgroup_directories, cgroup_support, command, run_token
from supervisor.host.cgroup import files, group, offer
from supervisor.host.cgroup import run as runs
from supervisor.host.marker import new_marker
from supervisor.host.sweep import sweep

from ..support import eventually_sync
from ..support_ticket import living
from .host_support import directory_of, identified, is_there, other

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")]


async def test_what_a_dead_run_left_is_swept(hierarchy: str, tmp_path: Path) -> None:
    """Its members go, however well they hid, and frozen or not; its cgroups go; who is spared and what is not its own stays."""
    token = os.urandom(8).hex()
    run = f"{os.path.dirname(cgroup_directories()[0])}/{runs.PREFIX}{token}"
    hidden, spared = (other("env", "-i", "/bin/sleep", "60", own_session=True) for _ in range(2))
    populate(f"{run}/1-leaf", hidden.pid, spared.pid)
    try:
        for foreign in (RunCgroups([run], {"another"}), RunCgroups([str(tmp_path)], {token}), RunCgroups([f"{run}/../{run}"], {token})):
            assert foreign.directories == () and foreign.members() == []
        there = RunCgroups([run], {token}, {identified(spared.pid)})
        result = await sweep(there.members, enclosure=there)
        assert [process.pid for process in result.killed] == [hidden.pid] and result.left == ()
        assert hidden.wait() == -signal.SIGKILL and spared.poll() is None

        assert files.freeze(run)
        alone = RunCgroups([run], {token})
        result = await sweep(alone.members, enclosure=alone)
        assert [process.pid for process in result.killed] == [spared.pid] and spared.wait() == -signal.SIGKILL
        alone.remove()
        assert not is_there(run)
    finally:
        files.kill(run)
        files.remove(run)


async def test_run_whose_supervisor_lives_is_not_touched(hierarchy: str) -> None:
    """Whatever a record says: the kernel knows whether its lock is held."""
    async with living(command("sleep", "60")) as life:
        assert is_there(directory_of(life))
        assert RunCgroups(cgroup_directories(), {run_token()}).directories == ()


FORKED = """\
import os, signal
from supervisor import cgroup_directories
from supervisor.host.cgroup import group
made = group.make("token:1:leaf:1").group
signal.alarm(30)
if os.fork() == 0:
    signal.alarm(30)
    print(cgroup_directories()[0].rpartition("/")[2] not in made.directory, len(group._groups), os.path.dirname(made.directory), flush=True)
signal.pause()
"""


def test_fork_of_a_supervisor_is_another_process() -> None:
    """It has cgroups of its own, and does not hold the lock of a supervisor that was killed."""
    if cgroup_support().tracking is None:
        pytest.skip(f"no cgroups here: {cgroup_support().reason}")
    process = subprocess.Popen([sys.executable, "-c", FORKED], stdout=subprocess.PIPE, text=True, process_group=0)
    with process:
        try:
            assert process.stdout is not None
            own, groups, run = process.stdout.readline().split()
            assert (own, groups) == ("True", "0") and not runs.is_abandoned(run)
            process.kill()
            eventually_sync(lambda: runs.is_abandoned(run))
            assert os.path.exists(run)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert files.remove(run)


def populate(cgroup: str, *pids: int) -> None:
    """Make a cgroup with these processes in it."""
    os.makedirs(cgroup)
    for pid in pids:
        files.write(cgroup, files.PROCESSES, str(pid))


def test_cgroups_of_killed_supervisors_are_removed(hierarchy: str) -> None:
    """Only where the supervisor's lock is free: one that lives may be about to put a process there. What runs there keeps its cgroup."""
    parent = Path(cgroup_directories()[0]).parent
    dead, populated, alive = [parent / f"{runs.PREFIX}{os.urandom(8).hex()}" for _ in range(3)]
    process = other("sleep", "60")
    made = None
    try:
        for run in (dead, populated, alive):
            (run / "1-leaf").mkdir(parents=True)
        runs.make_run(str(alive))
        files.write(str(populated / "1-leaf"), files.PROCESSES, str(process.pid))
        made = group.make(new_marker(("leaf",), 1)).group
        assert made is not None
        assert not dead.exists() and (populated / "1-leaf").exists() and (alive / "1-leaf").exists()
    finally:
        if made is not None:
            made.remove()
        process.kill()
        process.wait()
        for run in (populated, alive):
            eventually_sync(lambda run=run: files.remove(str(run / "1-leaf")))  # type: ignore[misc]
        files.remove(str(populated))
        runs.remove_runs()
    assert not populated.exists() and not alive.exists()


def test_two_hundred_cgroups_at_once(hierarchy: str) -> None:
    """Each life has its own; the last one takes the run's away."""
    made = [group.make(new_marker(("leaf", str(number)), 1)).group for number in range(200)]
    directories = {each.directory for each in made if each is not None}
    assert len(directories) == 200
    for each in made:
        assert each is not None and each.is_empty()
        each.remove()
    assert not any(map(is_there, directories)) and not is_there(os.path.dirname(directories.pop()))


@pytest.fixture
def parents() -> Iterator[dict[str, Path]]:
    """A cgroup for a supervisor to be in, of version 2 and of version 1's freezer where there are any; removed with all below."""
    made: dict[str, Path] = {}
    for name in ("v2", "freezer"):
        hierarchy = offer.look(name).tracking
        if hierarchy is not None:
            made[name] = Path(hierarchy.directory, f"test-{os.urandom(8).hex()}")
            made[name].mkdir()
    yield made
    for directory in made.values():
        eventually_sync(lambda directory=directory: files.remove(str(directory)))  # type: ignore[misc]


@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root can become nobody")
@pytest.mark.parametrize("given", ["v2", "freezer", None])
def test_supervisor_without_privileges(given: str | None, parents: dict[str, Path], anyio_backend_name: str) -> None:
    """It uses a cgroup that was delegated to it, as systemd does it: the directory and two of its files. Otherwise leaves do without,
    and it says what would help.
    """
    if not parents or (given is not None and given not in parents):
        pytest.skip(f"no cgroups of {given} to delegate here")
    if given is not None:
        for file in (".", files.PROCESSES, "cgroup.subtree_control" if given == "v2" else "tasks"):
            os.chown(parents[given] / file, 65534, 65534)
    line = [sys.executable, "-m", "tests.children.delegated", anyio_backend_name, *map(str, parents.values())]
    ended = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)

    assert said["code"] == 0 and said["swept"] == 1
    if given is None:
        assert said["tracking"] is None and said["cgroup"] is None and said["reason"] and "systemd-run" in said["remedy"]
    else:
        assert given in said["tracking"]
        assert said["cgroup"].startswith(f"{parents[given]}/supervisor-") and not os.path.exists(said["cgroup"])
        assert any(line.endswith(said["cgroup"].rpartition("/supervisor-")[2]) for line in said["lines"])


ASIDE = """\
import subprocess, sys
from supervisor.host.cgroup import offer
directory = sys.argv[1]
child = subprocess.Popen(["sleep", "20"])
print(offer._step_aside(directory), open("/proc/self/cgroup").read().count(directory.rpartition("/")[2] + "/supervisor"))
print(open(f"/proc/{child.pid}/cgroup").read().count(directory.rpartition("/")[2] + "/supervisor"))
child.kill()
child.wait()
"""


@pytest.mark.parametrize("alone", [True, False])
def test_supervisor_steps_aside_where_it_is_alone(parents: dict[str, Path], alone: bool) -> None:
    """So that controllers can be handed down: with what it has started, and never with anybody else in the same cgroup."""
    if "v2" not in parents:
        pytest.skip("no cgroups of version 2 here")
    directory = parents["v2"]
    neighbour = other("sleep", "60")
    try:
        if not alone:
            files.write(str(directory), files.PROCESSES, str(neighbour.pid))
        line = ["sh", "-c", f'echo 0 > {directory}/cgroup.procs; exec "$@"', "sh", sys.executable, "-c", ASIDE, str(directory)]
        ended = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        assert ended.stdout.split() == (["True", "1", "1"] if alone else ["False", "0", "0"]), ended.stderr
    finally:
        neighbour.kill()
        neighbour.wait()
