"""States that are removed: never the last good one, never half, and always told."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from pathlib import Path

import pytest

from workers.state.index import NAME, read_index
from workers.state.keys import Keys
from workers.state.retention import ABANDONED, Pruned, Retention, Surplus, prune
from workers.state.seal import KeySeal
from workers.state.store import StateStore

from .state_support import SESSION, saved

DAY = 86400.0
STRICT = Retention(max_age=1.0, max_count=1, max_bytes=1)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path)


def pruned(store: StateStore, retention: Retention, *, dry_run: bool = False) -> Pruned:
    (key,) = store.keys()
    return prune(store, key, retention, dry_run=dry_run)


def test_what_is_too_old_goes_and_is_told(store: StateStore) -> None:
    """A dry run says it and removes nothing; then it is gone, and the index knows."""
    old, older, new = (saved(store, "/p", age=age) for age in (8 * DAY, 9 * DAY, 60.0))
    said = pruned(store, Retention(), dry_run=True)
    assert [(entry.path, why) for entry, why in said.removed] == [(older, Surplus.AGE), (old, Surplus.AGE)]
    assert sorted(store.list("/p")) == sorted((older, old, new))
    sizes = old.stat().st_size + older.stat().st_size
    done = pruned(store, Retention())
    assert (done.removed, done.kept, done.freed_bytes, done.failed) == (said.removed, said.kept, sizes, ())
    assert store.list("/p") == (new,)
    assert list(read_index(new.parent / NAME)) == [new.name]


def test_the_last_good_state_of_each_agent_stays(store: StateStore) -> None:
    """However old, however large, and although damaged ones are newer: the newest that can be read is kept, for each agent."""
    first, second, third = (saved(store, "/p", age=age) for age in (30 * DAY, 20 * DAY, 10 * DAY))
    other = saved(store, "/p", age=40 * DAY, agent="other")
    third.write_bytes(third.read_bytes()[:-9])
    done = pruned(store, STRICT)
    assert {entry.path for entry, _ in done.removed} == {first, third}
    assert store.list("/p") == (other, second)
    assert store.load(second).metadata.agent == "claude"


def test_a_state_that_was_damaged_since_it_was_indexed_is_not_the_last_good_one(store: StateStore) -> None:
    """What is spared is read at that moment; the index is not believed, even where it knows the very file."""
    good, newer = (saved(store, "/p", age=age) for age in (20 * DAY, 10 * DAY))
    pruned(store, Retention(None, None, None))
    index = newer.parent / NAME
    data = json.loads(index.read_bytes())
    newer.write_bytes(newer.read_bytes()[:-9])
    found = newer.stat()
    data["states"][newer.name]["file"] = [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    index.write_text(json.dumps(data))
    pruned(store, STRICT)
    assert store.list("/p") == (good,)


def test_where_no_state_can_be_read_the_newest_stays(store: StateStore) -> None:
    """Somebody may still get something out of it."""
    paths = [saved(store, "/p", age=age) for age in (20 * DAY, 10 * DAY)]
    for path in paths:
        path.write_bytes(path.read_bytes()[:-9])
    pruned(store, STRICT)
    assert store.list("/p") == (paths[1],)


def test_states_whose_key_is_not_here_are_not_all_removed(tmp_path: Path) -> None:
    """The newest of them stays, also beside one that can be read: the key may come back."""
    plain, sealed = StateStore(tmp_path), StateStore(tmp_path, KeySeal(Keys((bytes(32),))))
    _, newest = (saved(sealed, "/p", age=age) for age in (20 * DAY, 10 * DAY))
    pruned(plain, STRICT)
    assert sealed.list("/p") == (newest,)
    _, readable = (saved(plain, "/p", age=age) for age in (40 * DAY, 30 * DAY))
    pruned(plain, STRICT)
    assert sealed.list("/p") == (readable, newest)
    pruned(sealed, STRICT)
    assert sealed.list("/p") == (newest,)


def test_what_killed_writers_left_behind_goes_after_an_hour(store: StateStore) -> None:
    """Their temporary files, those of the index too; nothing else that lies there, and not what is being written."""
    path = saved(store, "/p")
    old = [path.parent / f".{name}.0123456789ab.tmp" for name in (path.name, "index.json")]
    kept = [path.parent / f".{path.name}.ba9876543210.tmp", path.parent / ".mine.tmp", path.parent / "x.tmp"]
    for file in (*old, *kept):
        file.write_bytes(b"x")
    for file in (*old, *kept[1:]):
        os.utime(file, (time.time() - ABANDONED - 60,) * 2)
    assert pruned(store, Retention(), dry_run=True).leftovers == tuple(sorted(old))
    assert all(file.exists() for file in old)
    assert pruned(store, Retention()).leftovers == tuple(sorted(old))
    assert [file.exists() for file in (*old, *kept)] == [False, False, True, True, True]


def test_a_project_without_states_is_nothing_to_prune(store: StateStore) -> None:
    """Neither is one that is not there."""
    assert prune(store, "p-0123456789abcdef", STRICT) == Pruned("p-0123456789abcdef")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_what_cannot_be_removed_is_told(store: StateStore, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Where nothing may be removed the states stay, count as kept, and each is named with the cause."""
    paths = [saved(store, "/p", age=age) for age in (9 * DAY, 8 * DAY, 60.0)]

    def refused(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refused)
        done = pruned(store, Retention())
    assert [(error.path, error.cause.errno) for error in done.failed] == [(path, number) for path in paths[:2]]
    assert (done.removed, [entry.path for entry in done.kept]) == ((), paths)
    assert store.list("/p") == tuple(paths)


@pytest.mark.skipif(sys.platform == "win32", reason="links as POSIX has them")
def test_nothing_goes_behind_a_link(store: StateStore, tmp_path: Path) -> None:
    """Journals that lie elsewhere, by a link of whoever made it, are none of ours."""
    kept = saved(store, "/p")
    journal = tmp_path / "elsewhere" / SESSION
    journal.mkdir(parents=True)
    os.utime(journal, (1.0, 1.0))
    (kept.parent / "journals").symlink_to(journal.parent)
    assert pruned(store, Retention()).failed == () and journal.is_dir()
    (kept.parent / "journals").unlink()
    journal.parent.rename(kept.parent / "journals")
    assert pruned(store, Retention()).failed == () and not (kept.parent / "journals" / SESSION).exists()
