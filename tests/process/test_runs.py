"""Run locks and records, with real processes that are really killed."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import stat
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from supervisor import is_alive
from tests.support import ROOT, eventually_sync
from workers.state import lock as locking
from workers.state.files import StateWriteFailed
from workers.state.lock import remove_free, try_lock
from workers.state.runs import NameInUse, RunRecord, boot_id, claim, pid_namespace, read_record, runs_directory

from .runs_support import BROKEN, HOLDER, KILLS, NOBODY, Holder, abandon, holding, known, put_down, record_of

pytestmark = KILLS


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


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_record_is_none(tmp_path: Path, text: str) -> None:
    """What is no record names nobody."""
    path = runs_directory(tmp_path, "p") / "x.json"
    path.write_text(text)
    assert read_record(path) is None


def test_pids_that_can_be_nobodys_leaf_are_not_taken_from_a_record(tmp_path: Path) -> None:
    """A record that names init, a group or everybody is no record."""
    path = abandon(tmp_path)
    for pid in (1, 0, -1, -100):
        data = json.loads(path.read_text())
        data["members"] = [[pid, 5]]
        path.write_text(json.dumps(data))
        assert read_record(path) is None


def test_a_claim_that_never_swept_keeps_the_older_record(tmp_path: Path) -> None:
    """A guardian that ends before it swept leaves the older record to the next one."""
    abandon(tmp_path, members=(NOBODY,))
    claim(tmp_path, "p", "claude").close()
    assert record_of(tmp_path).members == (NOBODY,)


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


@pytest.mark.skipif(sys.platform == "win32", reason="there nothing is removed")
def test_files_of_locks_that_nobody_holds_are_removed(tmp_path: Path) -> None:
    """A killed holder leaves its own; one that is held stays, and so does what is no lock; no more than was asked for."""
    for name in ("a.lock", "b.lock", "c.lock", "notes", "d.lock.txt"):
        (tmp_path / name).touch()
    held = try_lock(tmp_path / "held.lock")
    assert held is not None
    assert (remove_free(tmp_path, ".lock", 2), remove_free(tmp_path, ".lock"), remove_free(tmp_path, ".lock")) == (2, 1, 0)
    assert sorted(os.listdir(tmp_path)) == ["d.lock.txt", "held.lock", "notes"]
    assert try_lock(tmp_path / "held.lock") is None
    held.release()
    assert remove_free(tmp_path / "none", ".lock") == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there nothing is removed")
def test_a_lock_that_is_looked_at_is_not_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes it at that very moment gets it, whether the sweep then removes its file or leaves it; one that never ends is in use."""
    import fcntl

    path = tmp_path / "x.lock"
    waits: list[float] = []

    def end(removes: bool) -> None:
        if removes:
            os.unlink(path)
        os.close(looking)

    for removes in (True, False):
        looking = os.open(path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr(locking, "time", SimpleNamespace(sleep=lambda seconds, removes=removes: end(removes)))
        taken = try_lock(path)
        assert taken is not None and try_lock(path) is None
        taken.release()
    looking = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(locking, "time", SimpleNamespace(sleep=waits.append))
    assert try_lock(path) is None and len(waits) == locking.LOOKS
    os.close(looking)


@pytest.mark.skipif(sys.platform == "win32", reason="there nothing is removed")
def test_a_lock_that_took_the_place_of_a_free_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at a name and the look at its lock others may come and go; of two sweeps at once the second does nothing."""
    import fcntl

    path, real = tmp_path / "x.lock", fcntl.flock
    path.touch()
    later: list[locking.Lock | None] = []

    def late(fd: int, how: int) -> None:
        if how & fcntl.LOCK_SH and not later:
            os.unlink(path)
            later.append(try_lock(path))
            assert remove_free(tmp_path, ".lock") == 0
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", late)
    assert remove_free(tmp_path, ".lock") == 0
    assert later[0] is not None and path.exists() and try_lock(path) is None
    later[0].release()
    path.touch()
    with open(tmp_path / "sweeping", "w") as other:
        real(other, fcntl.LOCK_EX)
        assert remove_free(tmp_path, ".lock") == 0
    assert remove_free(tmp_path, ".lock") == 1


TAKERS = """
import os, sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from workers.state.lock import remove_free, try_lock, remove_free
place, role = Path(sys.argv[2]), sys.argv[3]
took = 0
for number in range(400):
    if role == "sweep":
        took += remove_free(place, ".lock")
        continue
    lock = try_lock(place / "x.lock")
    if lock is None:
        continue
    took += 1
    os.close(os.open(place / "inside", os.O_CREAT | os.O_EXCL))  # fails where two are in
    os.unlink(place / "inside")
    if number % 2:
        lock.release()
    else:
        os.close(lock._fd)  # as if it were killed: the file stays
print(took)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there nothing is removed")
def test_nobody_is_in_twice_while_others_sweep(tmp_path: Path) -> None:
    """Takers, holders that vanish, and sweeps, all at once."""
    with ExitStack() as stack:
        words = [sys.executable, "-c", TAKERS, str(ROOT), str(tmp_path)]
        roles = ("take", "take", "sweep", "sweep")
        all_ = [stack.enter_context(subprocess.Popen([*words, role], stdout=subprocess.PIPE, text=True)) for role in roles]
        counts = [int(one.communicate(timeout=50)[0]) for one in all_]
        assert [one.returncode for one in all_] == [0, 0, 0, 0] and all(counts[:2])


@pytest.mark.skipif(sys.platform == "win32", reason="there nothing is removed")
def test_one_taker_is_never_kept_out_by_a_sweep(tmp_path: Path) -> None:
    """It gets the lock each time."""
    with ExitStack() as stack:
        words = [sys.executable, "-c", TAKERS, str(ROOT), str(tmp_path)]
        roles = ("take", "sweep", "sweep")
        one, *_ = [stack.enter_context(subprocess.Popen([*words, role], stdout=subprocess.PIPE, text=True)) for role in roles]
        assert int(one.communicate(timeout=50)[0]) == 400


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
