"""The sweeping of what abandoned runs left behind, with real processes that are really killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor import ProcessId, is_alive
from tests.support import ROOT
from workers.state.runs import NameInUse, claim, read_record, runs_directory

from .runs_support import (
    BROKEN,
    HOLDER,
    KILLS,
    abandon,
    bystander,
    holding,
    known,
    programs,
    put_down,
    record_of,
    sweeping,
    swept_by,
)

pytestmark = KILLS


@pytest.fixture(params=["trio", "asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The event loop of the guardian that sweeps."""
    return str(request.param)


def test_broken_records_are_removed(tmp_path: Path, backend: str) -> None:
    """Sweeping removes what is no record and kills nothing for it."""
    directory = runs_directory(tmp_path, "p")
    for number, text in enumerate(BROKEN):
        (directory / f"x{number}.json").write_text(text)
    assert swept_by(tmp_path, backend) == {}
    assert os.listdir(directory) == []


def test_what_a_killed_guardian_left_behind_is_swept(tmp_path: Path, backend: str) -> None:
    """The next guardian kills the recorded tree, a deaf grandchild in a session of its own included, and forgets the run."""
    with holding(tmp_path, "claude", "derived", "deep") as holder:
        leaf = record_of(tmp_path).members[0]
        children = Path(f"/proc/{leaf.pid}/task/{leaf.pid}/children")
        tree = {leaf, *(known(int(pid)) for pid in children.read_text().split())}
        assert len(tree) == 2
        holder.kill()
        assert all(is_alive(process) for process in tree)
        assert swept_by(tmp_path, backend) == {"claude": tree}
    assert not any(is_alive(process) for process in tree)
    assert os.listdir(tmp_path / "p" / "runs") == []
    assert swept_by(tmp_path, backend) == {}


def test_what_carries_the_marker_is_swept(tmp_path: Path, backend: str) -> None:
    """A process that no record names is found by the marker in its environment; one with another marker is left alone."""
    with holding(tmp_path, "claude", "derived", "aaaa:1:x:1") as holder, bystander(SUPERVISOR_LIFE="bbbb:1:x:1") as other:
        holder.kill()
        killed = swept_by(tmp_path, backend)
        assert is_alive(other)
    assert len(killed["claude"]) == 1


def test_a_run_that_is_alive_is_never_touched(tmp_path: Path, backend: str) -> None:
    """A sweep leaves the tree and the record of a run whose lock is held alone, by another name and by the same command."""
    with holding(tmp_path, "claude", "derived", "child") as holder:
        child = record_of(tmp_path).members[0]
        with sweeping(tmp_path, backend, name="claude") as sweep:
            assert (sweep.name, sweep.killed) == ("claude-2", {})
        assert is_alive(child)
        assert is_alive(known(holder.pid))
        assert record_of(tmp_path).members == (child,)
        put_down(child)


def test_a_living_run_whose_lock_was_removed_is_never_touched(tmp_path: Path, backend: str) -> None:
    """Somebody removed the lock file under a living run: its tree is left alone and its name stays taken."""
    with holding(tmp_path, "claude", "derived", "child"):
        child = record_of(tmp_path).members[0]
        (tmp_path / "p" / "runs" / "claude.lock").unlink()
        with pytest.raises(NameInUse):
            claim(tmp_path, "p", "claude", given_by_hand=True)
        with sweeping(tmp_path, backend, name="claude") as sweep:
            assert (sweep.name, sweep.killed) == ("claude-2", {})
        assert is_alive(child)
        assert record_of(tmp_path).members == (child,)
        put_down(child)


def test_another_process_of_a_recorded_pid_is_not_touched(tmp_path: Path, backend: str) -> None:
    """A record whose creation time does not match names nobody: the pid is another's now."""
    with bystander() as other:
        path = abandon(tmp_path, members=(ProcessId(other.pid, other.created - 1), ProcessId(other.pid, other.created + 1)))
        assert swept_by(tmp_path, backend) == {}
        assert is_alive(other)
        assert not path.exists()
        # the same record with the right time, to know that it is the time that saves it
        abandon(tmp_path, members=(other,))
        assert swept_by(tmp_path, backend) == {"claude": {other}}


@pytest.mark.parametrize("change", [{"boot": "another boot"}, {"boot": ""}, {"namespace": "pid:[1]"}, {"namespace": None}])
def test_pids_of_another_boot_or_namespace_mean_nothing(tmp_path: Path, backend: str, change: dict[str, object]) -> None:
    """A record of another boot or of another pid namespace is forgotten and nothing is killed, whatever it names."""
    with bystander(SUPERVISOR_LIFE="cccc:1:x:1") as other:
        abandon(tmp_path, members=(other,), markers=("cccc",), **change)
        assert swept_by(tmp_path, backend) == {}
        assert is_alive(other)
    assert os.listdir(tmp_path / "p" / "runs") == []


SWEEPER = """
import os, signal, subprocess, sys
signal.alarm(60)
sys.path.insert(0, sys.argv[1])
import anyio, attrs
from supervisor import identify
from workers.state.runs import read_record, runs_directory, write_record
from workers.state.sweeping import sweep_abandoned
child = subprocess.Popen(["sleep", "60"])
directory = runs_directory(sys.argv[2], "p")
members = tuple(identify(pid) for pid in (os.getppid(), os.getpid(), child.pid))
write_record(directory, attrs.evolve(read_record(directory / "claude.json"), members=members))
print(len(anyio.run(sweep_abandoned, sys.argv[2], "p")), child.poll(), os.getppid() == members[0].pid, flush=True)
child.kill()
child.wait()
"""


def test_we_and_what_we_descend_from_are_never_swept(tmp_path: Path) -> None:
    """A guardian that was started from inside an abandoned tree spares itself, its children and its ancestors."""
    abandon(tmp_path, markers=("dddd",))
    program = "import signal, subprocess, sys; signal.alarm(60); sys.exit(subprocess.run(sys.argv[1:]).returncode)"
    between = [sys.executable, "-c", program]
    finished = subprocess.run(
        [*between, sys.executable, "-c", SWEEPER, ROOT, tmp_path],
        env={**os.environ, "SUPERVISOR_LIFE": "dddd:1:x:1"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        start_new_session=True,
    )
    assert (finished.returncode, finished.stdout) == (0, "0 None True\n")


@pytest.mark.parametrize("project", ["p", "q"])
def test_a_living_run_inside_an_abandoned_tree_is_spared(tmp_path: Path, backend: str, project: str) -> None:
    """A guardian that was started by an agent of an abandoned run keeps its own tree, and what it hangs below, in any project."""
    program = (
        "import signal, subprocess, sys; signal.alarm(60)\n"
        "inner = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "inner.stdout.readline(); print(inner.pid, flush=True); signal.pause()"
    )
    inner = [sys.executable, "-c", HOLDER.replace('"p"', repr(project)), ROOT, tmp_path, "inner", "derived", "child"]
    outer = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, inner)], stdout=subprocess.PIPE, start_new_session=True, env=programs()
    )
    with outer, bystander() as other:
        assert outer.stdout is not None
        guardian = known(int(outer.stdout.readline()))
        record = read_record(tmp_path / project / "runs" / "inner.json")
        assert record is not None
        spared = (known(outer.pid), guardian, record.members[0])
        abandon(tmp_path, members=(*spared, other))
        assert swept_by(tmp_path, backend) == {"claude": {other}}
        assert all(is_alive(process) for process in spared)
        outer.kill()
        for process in spared[1:]:
            put_down(process)


def test_a_claimed_name_sweeps_what_was_left_under_it(tmp_path: Path, backend: str) -> None:
    """What the run before left under the same name stays on record until it is swept; then the new record begins."""
    with holding(tmp_path, "claude", "derived", "child") as holder:
        leaf = record_of(tmp_path).members[0]
        holder.kill()
        with claim(tmp_path, "p", "claude") as claimed:
            assert claimed.left_behind is not None
            claimed.record([known(os.getpid())])
            assert record_of(tmp_path).members == (leaf,)
        with sweeping(tmp_path, backend, name="claude") as sweep:
            assert (sweep.name, sweep.killed) == ("claude", {"claude": {leaf}})
            assert record_of(tmp_path).members == (known(sweep.pid),)
    assert os.listdir(tmp_path / "p" / "runs") == []


def test_several_abandoned_runs_are_swept_together(tmp_path: Path, backend: str) -> None:
    """Each abandoned run of the project is swept, those of other projects are not."""
    with holding(tmp_path, "a", "hand", "child") as one, holding(tmp_path, "b", "hand", "child") as two:
        leaves = {name: {record_of(tmp_path, name).members[0]} for name in ("a", "b")}
        one.kill()
        two.kill()
        assert swept_by(tmp_path, backend, project="q") == {}
        assert swept_by(tmp_path, backend) == leaves


def test_a_half_written_record_is_removed_with_its_run(tmp_path: Path, backend: str) -> None:
    """What a guardian was writing when it was killed is removed when its run is swept, and only that."""
    directory = abandon(tmp_path).parent
    (directory / ".claude.json.0123456789ab.tmp").write_bytes(b"{")
    (directory / ".other.json.0123456789ab.tmp").write_bytes(b"{")
    assert swept_by(tmp_path, backend) == {}
    assert os.listdir(directory) == [".other.json.0123456789ab.tmp"]
