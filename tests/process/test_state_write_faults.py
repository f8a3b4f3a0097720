"""Writing states while everything goes wrong: a kill or an error at every call of the write path, and many writers at once."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from workers.state.index import NAME, listing
from workers.state.retention import Retention, prune
from workers.state.store import StateStore, StateUnreadable, StateWriteFailed

from .state_support import captured, saved

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and watches the calls of this path")

CALLS = ("open", "write", "fsync", "close", "replace", "unlink", "mkdir", "chmod", "fchmod", "link")
"""Whatever the write path asks of the system to change something."""

KILLED = """
import json, os, signal, sys
from pathlib import Path
from tests.process.state_support import captured
from tests.process.test_state_write_faults import CALLS, states_of, tidy
from workers.state import codec, formats, seal
from workers.state.store import StateStore

folder, results = Path(sys.argv[1]), []
for first in (True, False):
    for action in ("save", "tidy"):
        for number in range(1, 200):
            place = folder / f"{first}-{action}-{number}"
            store = StateStore(place / "states")
            if not first or action == "tidy":
                for age in (9e5, 8e5, 7e5):
                    store.save("/p", captured("/p", age=age))
            before = states_of(store)
            pid = os.fork()
            if pid == 0:
                made = 0
                def dying(name, real):
                    def call(*args, **more):
                        global made
                        made += 1
                        if made == number:
                            if name == "write":
                                real(args[0], bytes(args[1])[: len(args[1]) // 2])
                            os.kill(os.getpid(), signal.SIGKILL)
                        return real(*args, **more)
                    return call
                for name in CALLS:
                    setattr(os, name, dying(name, getattr(os, name)))
                (store.save("/p", captured("/p", agent="new")) if action == "save" else tidy(store))
                os._exit(0)
            _, status = os.waitpid(pid, 0)
            results.append([first, action, number, before, states_of(store), os.WIFSIGNALED(status)])
            if not os.WIFSIGNALED(status):
                assert os.WEXITSTATUS(status) == 0, results[-1]
                break
print(json.dumps(results))
"""


def states_of(store: StateStore) -> dict[str, str]:
    """By file name whose each state is; a file that cannot be used is an empty name."""
    found = {}
    for path in store.list("/p"):
        try:
            found[path.name] = store.load(path).metadata.agent
        except StateUnreadable as error:
            found[path.name] = f"UNUSABLE: {error}"
    return found


def tidy(store: StateStore) -> None:
    """Remove all but the last good state, the index along with it."""
    (key,) = store.keys()
    prune(store, key, Retention(max_age=1.0))


@pytest.mark.deadline(120)
def test_a_kill_at_any_call_leaves_earlier_states_whole_and_the_new_one_whole_or_absent(tmp_path: Path) -> None:
    """SIGKILL at each call that changes something, of a save (the very first, and a later one) and of a prune with its index."""
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, capture_output=True, timeout=100, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    counts: dict[tuple[bool, str], int] = {}
    for first, action, number, before, after, was_killed in results:
        counts[first, action] = number
        assert not [name for name in (*before.values(), *after.values()) if name.startswith("UNUSABLE")], (first, action, number)
        if action == "save":
            assert {name: agent for name, agent in after.items() if agent != "new"} == before
            assert len(after) - len(before) == 1 if not was_killed else len(after) - len(before) in (0, 1)
        else:
            assert after.items() <= before.items()
            assert max(before) in after  # the newest
            assert was_killed or len(after) == 1
    # the very first makes two directories and has their names survive, too
    assert counts[False, "save"] >= 9 and counts[True, "save"] >= counts[False, "save"] + 4 and counts[True, "tidy"] >= 12


@contextmanager
def failing(number: int, code: int, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bool]]:
    """Let one call of these, counted from 1, fail; yields whether it came to that."""
    made = 0

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal made
            made += 1
            if made == number:
                raise OSError(code, os.strerror(code))
            return real(*args, **more)

        return call

    with monkeypatch.context() as patched:
        for name in names:
            patched.setattr(os, name, wrapped(getattr(os, name)))
        yield lambda: made >= number


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("first", [True, False])
def test_an_error_at_any_call_is_told_and_leaves_earlier_states_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, first: bool
) -> None:
    """Whichever call fails: `StateWriteFailed` with the cause, nothing half-written lies about, and the next save goes on."""
    names = ("open", "write", "fsync", "replace", "mkdir", "fchmod")
    reached, number, failures = True, 0, 0
    while reached:
        number += 1
        store = StateStore(tmp_path / str(number))
        kept = [] if first else [saved(store, "/p", age=age) for age in (20.0, 10.0)]
        contents = [path.read_bytes() for path in kept]
        with failing(number, code, names, monkeypatch) as happened:
            failure: StateWriteFailed | None = None
            try:
                store.save("/p", captured("/p"))
            except StateWriteFailed as error:
                failure = error
            reached = happened()
        failures += failure is not None
        # whole already when only its name is not known to survive; a directory that is there need not be made
        assert len(store.list("/p")) - len(kept) in ((1,) if failure is None else (0, 1))
        assert failure is None or (failure.cause.errno == code and failure.__cause__ is failure.cause and reached)
        assert [path.read_bytes() for path in kept] == contents
        assert not list(store.state_dir.rglob("*.tmp"))
        for path in store.list("/p"):
            store.load(path)
        saved(store, "/p")
    assert failures >= 6


def test_a_state_is_on_disk_before_its_name_and_its_name_before_the_save_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order: the file is synced, renamed, and its directory synced; for the first one of a project those above it, too."""
    store, made = StateStore(tmp_path.resolve() / "a" / "states"), []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(fd: int) -> None:
        made.append(("fsync", os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))))
        real_fsync(fd)

    def replace(old: Path, new: Path) -> None:
        made.append(("replace", os.path.basename(old)))
        real_replace(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    key = saved(store, "/p").parent.name
    first, made[:] = list(made), []
    saved(store, "/p")
    for calls in (first, made):
        temporary = calls[0][1]
        assert temporary.endswith(".tmp")
        assert calls[:3] == [("fsync", temporary), ("replace", temporary), ("fsync", key)]
    assert first[3:] == [("fsync", tmp_path.name), ("fsync", "a"), ("fsync", "states")]
    assert made[3:] == []


def test_a_directory_that_cannot_be_synced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems cannot do that: the state is written all the same."""
    import stat

    real = os.fsync

    def only_files(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(fd)

    monkeypatch.setattr(os, "fsync", only_files)
    assert len(states_of(StateStore(tmp_path))) == 0
    path = saved(StateStore(tmp_path), "/p")
    assert StateStore(tmp_path).load(path).metadata.agent == "claude"


def test_a_state_that_could_not_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than a state may be is refused when it is written, not when it is needed."""
    from workers.state import store as module
    from workers.state.model import StateInvalid

    monkeypatch.setattr(module, "LARGEST", 1000)
    with pytest.raises(StateInvalid, match="more than 1000"):
        saved(StateStore(tmp_path), "/p", reason="x" * 2000)
    assert list(tmp_path.iterdir()) == []


WRITES = """
import sys
from tests.process.state_support import captured
from workers.state.store import StateStore
store, agent = StateStore(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
for number in range(25):
    store.save("/p", captured("/p", agent=agent, reason=str(number)))
"""
READS = """
import sys
from pathlib import Path
from workers.state.index import listing
from workers.state.retention import Retention, prune
from workers.state.store import StateStore
store, done = StateStore(sys.argv[1]), Path(sys.argv[2])
sys.stdin.readline()
rounds = last = 0
while last < 2:
    last += done.exists()
    for key in store.keys():
        if sys.argv[3] == "prune":
            prune(store, key, Retention(max_count=10))
        entries = listing(store, key).entries
        assert all(entry.fault is None for entry in entries), entries
        assert len({entry.state_id for entry in entries}) == len(entries)
        rounds += 1
print(rounds)
"""


@pytest.mark.deadline(120)
def test_writers_readers_and_pruners_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Processes that save, list and prune at once: nobody ever sees a state that cannot be used, and no save is lost but to the pruner."""
    states, done = tmp_path / "states", tmp_path / "done"

    def started(script: str, *words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", script, *map(str, words)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    writers = [started(WRITES, states, agent) for agent in ("a", "b")]
    others = [started(READS, states, done, action) for action in ("list", "prune")]
    for process in (*writers, *others):
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60) for process in writers]
    done.touch()
    said += [process.communicate(timeout=60) for process in others]
    assert [process.returncode for process in (*writers, *others)] == [0] * 4, [error for _, error in said]
    assert all(int(output) > 0 for output, _ in said[2:])
    store = StateStore(states)
    (key,) = store.keys()
    entries = listing(store, key).entries
    assert 10 <= len(entries) <= 12  # whoever saved last did so after the last pruning at most
    last = {entry.agent: entry.reason for entry in entries}
    assert last == {"a": "24", "b": "24"}
    assert not list(states.rglob("*.tmp")) and (states / key / NAME).exists()
