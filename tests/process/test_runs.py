"""Run locks and records, and the sweeping of what abandoned runs left behind, with real processes that are really killed."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from supervisor import ProcessId, identify, is_alive
from tests.support import ROOT, eventually_sync
from workers.state import lock as locking
from workers.state.files import StateWriteFailed
from workers.state.lock import try_lock
from workers.state.runs import NameInUse, RunRecord, boot_id, claim, pid_namespace, read_record, runs_directory, write_record

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")

NOBODY = ProcessId(2**22 + 1, 5)

WAITS = "import signal; signal.alarm(60); print(1, flush=True); signal.pause()"
DEEP = """
import os, signal
signal.alarm(60)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    signal.alarm(60)
    os.setsid()
    print(1, flush=True)
signal.pause()
"""
HOLDER = """
import os, signal, subprocess, sys
signal.alarm(60)
sys.path.insert(0, sys.argv[1])
from supervisor import identify
from workers.state.runs import claim
claimed = claim(sys.argv[2], "p", sys.argv[3], sys.argv[4] == "hand")
members, markers = [], []

def start(program, **options):
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True, **options)
    child.stdout.readline()
    return identify(child.pid)

for word in sys.argv[5:]:
    if word == "child":
        members.append(start(os.environ["WAITS"], close_fds=False))
    elif word == "deep":
        members.append(start(os.environ["DEEP"]))
    else:
        markers.append(word)
        start(os.environ["WAITS"], env={**os.environ, "SUPERVISOR_LIFE": word})
claimed.record(members, markers=markers)
print(claimed.name, flush=True)
sys.stdin.readline()
"""


class Holder:
    """A guardian in another process that has claimed a name."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.name = process.stdout.readline().strip()

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@contextlib.contextmanager
def holding(state_dir: Path, name: str = "claude", how: str = "derived", *plan: str) -> Iterator[Holder]:
    argv = [sys.executable, "-c", HOLDER, str(ROOT), str(state_dir), name, how, *plan]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=programs()) as process:
        try:
            yield Holder(process)
        finally:
            process.kill()


GUARDIAN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import anyio
from workers.state.runs import claim
from workers.state.sweeping import sweep_abandoned
state_dir, project, backend, name = sys.argv[2:6]
claimed = claim(state_dir, project, name) if name else None
if claimed is not None:
    claimed.record([claimed._record.supervisor])
swept = anyio.run(sweep_abandoned, state_dir, project, claimed, backend=backend)
found = {"name": claimed and claimed.name, "pending": claimed is not None and claimed.left_behind is not None,
         "swept": [[run.name, [[one.pid, one.created] for one in run.killed], len(run.left)] for run in swept]}
print(json.dumps(found), flush=True)
sys.stdin.readline()
if claimed is not None:
    claimed.close()
"""


@attrs.frozen
class Sweep:
    """What the next guardian did: its name and process, and per abandoned run what it killed."""

    name: str | None
    pid: int
    killed: dict[str, set[ProcessId]]


@contextlib.contextmanager
def sweeping(state_dir: Path, backend: str, *, name: str = "", project: str = "p") -> Iterator[Sweep]:
    """The next guardian, in a process of its own: what this one started belongs to it, and a guardian spares its own."""
    argv = [sys.executable, "-c", GUARDIAN, str(ROOT), str(state_dir), project, backend, name]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdin is not None
            found = json.loads(process.stdout.readline())
            assert not found["pending"]
            assert all(left == 0 for _, _, left in found["swept"])
            killed = {run: {ProcessId(*one) for one in ones} for run, ones, _ in found["swept"]}
            for ones in killed.values():
                for one in ones:
                    reap(one)
            yield Sweep(found["name"], process.pid, killed)
            process.stdin.write("end\n")
            process.stdin.close()
            assert process.wait(30) == 0
        finally:
            process.kill()


def swept_by(state_dir: Path, backend: str, *, project: str = "p") -> dict[str, set[ProcessId]]:
    with sweeping(state_dir, backend, project=project) as sweep:
        return sweep.killed


def reap(process: ProcessId) -> None:
    """An orphan of a test may have been handed to us; its end is then ours to collect."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, 0)


def put_down(process: ProcessId) -> None:
    """Kill what the test started and the program rightly left alone."""
    os.kill(process.pid, signal.SIGKILL)
    reap(process)


@pytest.fixture(params=["trio", "asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The event loop of the guardian that sweeps."""
    return str(request.param)


def programs() -> dict[str, str]:
    """The environment of a holder, with what it starts."""
    return {**os.environ, "WAITS": WAITS, "DEEP": DEEP}


def known(pid: int) -> ProcessId:
    process = identify(pid)
    assert process is not None
    return process


def record_of(state_dir: Path, name: str = "claude") -> RunRecord:
    record = read_record(state_dir / "p" / "runs" / f"{name}.json")
    assert record is not None
    return record


def abandon(state_dir: Path, **changes: object) -> Path:
    """Write the record of a run whose supervisor is dead."""
    with subprocess.Popen(["true"]) as gone:
        pass
    record = RunRecord("claude", ProcessId(gone.pid, 1), boot_id(), pid_namespace())
    directory = runs_directory(state_dir, "p")
    write_record(directory, attrs.evolve(record, **changes))  # type: ignore[arg-type]
    return directory / "claude.json"


@contextlib.contextmanager
def bystander(**environment: str) -> Iterator[ProcessId]:
    """A process that ends by itself after a minute; ready when this returns."""
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, env={**os.environ, **environment}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield known(process.pid)
        finally:
            process.kill()


def test_a_derived_name_takes_the_next_free_suffix(tmp_path: Path) -> None:
    """Two holders of one derived name get different names and do not notice each other; a freed name is taken again."""
    with claim(tmp_path, "p", "claude") as first, claim(tmp_path, "p", "claude") as second, holding(tmp_path) as third:
        assert (first.name, second.name, third.name) == ("claude", "claude-2", "claude-3")
        second.close()
        with claim(tmp_path, "p", "claude") as again, claim(tmp_path, "q", "claude") as elsewhere:
            assert (again.name, elsewhere.name) == ("claude-2", "claude")


def test_a_name_given_by_hand_that_is_in_use_is_refused(tmp_path: Path) -> None:
    """The error names the name and the process that has it, and crosses a process border."""
    with holding(tmp_path, "mine", "hand") as holder, pytest.raises(NameInUse, match="'mine' is in use by process") as caught:
        claim(tmp_path, "p", "mine", given_by_hand=True)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.name, error.pid) == ("mine", holder.pid)
    # its record is a dead run's until that is swept, so nobody is named for it
    with claim(tmp_path, "p", "mine"), pytest.raises(NameInUse) as caught:
        claim(tmp_path, "p", "mine", given_by_hand=True)
    assert caught.value.pid is None


def test_a_refusal_is_immediate(tmp_path: Path) -> None:
    """A name that a living run has recorded for itself is refused at once, not waited for."""
    began = time.monotonic()
    with claim(tmp_path, "p", "mine"), pytest.raises(NameInUse):
        claim(tmp_path, "p", "mine", given_by_hand=True)
    assert time.monotonic() - began < 1.5


def test_a_killed_holder_frees_its_name(tmp_path: Path) -> None:
    """`kill -9` of the holder frees the lock although a child of its has inherited descriptors and lives on."""
    with holding(tmp_path, "mine", "hand", "child") as holder:
        child = record_of(tmp_path, "mine").members[0]
        with pytest.raises(NameInUse):
            claim(tmp_path, "p", "mine", given_by_hand=True)
        holder.kill()
        assert is_alive(child)
        with claim(tmp_path, "p", "mine", given_by_hand=True) as claimed:
            assert claimed.name == "mine"
            assert claimed.left_behind is not None
            assert claimed.left_behind.members == (child,)
        put_down(child)


def test_many_at_once_get_different_names(tmp_path: Path) -> None:
    """Guardians that start at the same moment never share a name."""
    argv = [sys.executable, "-c", HOLDER, str(ROOT), str(tmp_path), "claude", "derived"]
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(8):
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            processes.append(stack.enter_context(process))
        names = {Holder(process).name for process in processes}
        for process in processes:
            process.kill()
    assert names == {"claude", *(f"claude-{number}" for number in range(2, 9))}


def test_a_closed_run_leaves_nothing(tmp_path: Path) -> None:
    """After a clean close neither lock nor record is left; closing twice is allowed."""
    claimed = claim(tmp_path, "p", "claude")
    claimed.record([known(os.getpid())], markers=["m"])
    assert sorted(os.listdir(tmp_path / "p" / "runs")) == ["claude.json", "claude.lock"]
    claimed.close()
    claimed.close()
    assert os.listdir(tmp_path / "p" / "runs") == []


def test_locks_and_records_are_private(tmp_path: Path) -> None:
    """Directories are for the owner alone, and so are the files in them."""
    with claim(tmp_path / "state", "p", "claude"):
        runs = tmp_path / "state" / "p" / "runs"
        assert [stat.S_IMODE(path.stat().st_mode) for path in (runs.parent.parent, runs.parent, runs)] == [0o700] * 3
        assert {stat.S_IMODE(path.stat().st_mode) for path in runs.iterdir()} == {0o600}


def test_a_record_says_who_and_what(tmp_path: Path) -> None:
    """The record names the supervisor, the boot and the members by pid and creation time; it is written only when it changes."""
    own = known(os.getpid())
    with claim(tmp_path, "p", "claude") as claimed:
        path = tmp_path / "p" / "runs" / "claude.json"
        assert read_record(path) == RunRecord("claude", own, boot_id(), pid_namespace())
        claimed.record([own], markers=["life"])
        assert read_record(path) == RunRecord("claude", own, boot_id(), pid_namespace(), ("life",), (own,))
        before = path.stat().st_ino
        claimed.record([own])
        assert path.stat().st_ino == before
        claimed.record([])
        assert record_of(tmp_path).markers == ("life",)
        assert path.stat().st_ino != before


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\0b", "x" * 201])
def test_a_name_is_a_file_name(tmp_path: Path, name: str) -> None:
    """A name that cannot be one of a file is refused before anything is made."""
    with pytest.raises(ValueError, match="cannot be the name"):
        claim(tmp_path, "p", name)
    assert os.listdir(tmp_path) == []


def test_a_state_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """A file in the place of the state directory is a typed error with the path."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateWriteFailed, match="file"):
        claim(tmp_path / "file", "p", "claude")


BROKEN = [
    "", "{", "[]", "null", '{"format": 1}', '{"format": 2}',
    '{"format":1,"name":"x","supervisor":[0,1],"boot":"b","namespace":null,"markers":[],"members":[]}',
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_record_is_none(tmp_path: Path, text: str) -> None:
    """What is no record names nobody."""
    path = runs_directory(tmp_path, "p") / "x.json"
    path.write_text(text)
    assert read_record(path) is None


def test_broken_records_are_removed(tmp_path: Path, backend: str) -> None:
    """Sweeping removes what is no record and kills nothing for it."""
    directory = runs_directory(tmp_path, "p")
    for number, text in enumerate(BROKEN):
        (directory / f"x{number}.json").write_text(text)
    assert swept_by(tmp_path, backend) == {}
    assert os.listdir(directory) == []


def test_pids_that_can_be_nobodys_leaf_are_not_taken_from_a_record(tmp_path: Path) -> None:
    """A record that names init, a group or everybody is no record."""
    path = abandon(tmp_path)
    for pid in (1, 0, -1, -100):
        data = json.loads(path.read_text())
        data["members"] = [[pid, 5]]
        path.write_text(json.dumps(data))
        assert read_record(path) is None


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


def test_a_claim_that_never_swept_keeps_the_older_record(tmp_path: Path) -> None:
    """A guardian that ends before it swept leaves the older record to the next one."""
    abandon(tmp_path, members=(NOBODY,))
    claim(tmp_path, "p", "claude").close()
    assert record_of(tmp_path).members == (NOBODY,)


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


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """A held lock cannot be taken, a released one can, and its file is gone in between."""
    path = tmp_path / "x.lock"
    first = try_lock(path)
    assert first is not None
    assert try_lock(path) is None
    first.release()
    first.release()
    assert not path.exists()
    second = try_lock(path)
    assert second is not None
    assert try_lock(path) is None
    second.release()


@pytest.mark.parametrize("successor", [False, True])
def test_a_lock_file_that_was_removed_meanwhile_is_not_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, successor: bool) -> None:
    """Who opened the file just before its holder removed it does not hold the lock of that name, whether or not somebody else does."""
    path = tmp_path / "x.lock"
    first = try_lock(path)
    assert first is not None
    real, later = locking._lock, []

    def late(fd: int) -> bool:
        monkeypatch.setattr(locking, "_lock", real)
        first.release()
        if successor:
            later.append(try_lock(path))
        return real(fd)

    monkeypatch.setattr(locking, "_lock", late)
    second = try_lock(path)
    assert (second is None) == successor
    assert try_lock(path) is None
    for lock in (second, *later):
        if lock is not None:
            lock.release()
    assert not path.exists()


def test_a_name_that_is_being_swept_is_waited_for(tmp_path: Path) -> None:
    """A name given by hand whose lock another guardian holds for a sweep only is not refused."""
    abandon(tmp_path)
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\nfrom workers.state.lock import try_lock\n"
        "lock = try_lock(Path(sys.argv[2]))\nprint(1, flush=True)\nsys.stdin.readline()\ntime.sleep(0.3)\nlock.release()"
    )
    path = tmp_path / "p" / "runs" / "claude.lock"
    with subprocess.Popen([sys.executable, "-c", program, ROOT, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sweeper:
        assert sweeper.stdout is not None
        assert sweeper.stdin is not None
        sweeper.stdout.readline()
        sweeper.stdin.write("go\n")
        sweeper.stdin.flush()
        with claim(tmp_path, "p", "claude", given_by_hand=True) as claimed:
            assert claimed.name == "claude"
    eventually_sync(lambda: sweeper.returncode == 0)
