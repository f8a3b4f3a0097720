"""The index of states: it saves reading, can be lost or wrong at any time, and what it says is what the files say."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.state.index import LARGEST, NAME, Listing, listing, read_index
from workers.state.keys import Keys
from workers.state.seal import KeySeal
from workers.state.store import StateStore, StateUnreadable, captured_at, state_id_of

from .state_support import SESSION, captured, saved


class Counting(StateStore):
    """A store that counts what it reads."""

    loads = 0

    def load(self, path: Path | str) -> Any:
        self.loads += 1
        return super().load(path)


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "states")


def listed(store: StateStore) -> Listing:
    (key,) = store.keys()
    return listing(store, key)


def index_of(store: StateStore) -> Path:
    (key,) = store.keys()
    return store.state_dir / key / NAME


def test_a_listing_says_what_the_states_say_and_reads_each_once(store: Counting) -> None:
    """Oldest first, each with what a person wants to know of it; the second time no state is read."""
    talk = {"session_id": SESSION, "transcript": "/t.jsonl"}
    paths = [saved(store, "/p", age=age, agent=agent, conversation=talk) for age, agent in ((30.0, "a"), (20.0, "b"), (10.0, "a"))]
    first = listed(store)
    assert [entry.path for entry in first.entries] == paths
    assert [entry.agent for entry in first.entries] == ["a", "b", "a"]
    entry = first.entries[0]
    assert (entry.reason, entry.level, entry.working_directory, entry.session_id, entry.fault, entry.size_bytes) == (
        "memory is critical: 15.0 GiB", "critical", "/p", SESSION, None, paths[0].stat().st_size,
    )  # fmt: skip
    assert abs(entry.time - captured_at(entry.state_id)) < 0.001
    assert (store.loads, stat.S_IMODE(index_of(store).stat().st_mode), first.unkept) == (3, 0o600, None)
    before = index_of(store).stat().st_mtime_ns
    assert listed(store) == first
    assert (store.loads, index_of(store).stat().st_mtime_ns) == (3, before)


def test_only_what_is_new_is_read(store: Counting) -> None:
    """A state that came is read, one that went is forgotten."""
    old = saved(store, "/p", age=20.0)
    listed(store)
    new = saved(store, "/p", age=10.0)
    assert [entry.path for entry in listed(store).entries] == [old, new]
    assert store.loads == 2
    old.unlink()
    assert [entry.path for entry in listed(store).entries] == [new]
    assert (store.loads, list(read_index(index_of(store)))) == (2, [new.name])


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff", b"null", b'{"format":2,"states":{}}', b" " * (LARGEST + 1)])
def test_an_index_that_is_lost_or_broken_is_made_again(store: Counting, content: bytes) -> None:
    """Whatever is in its place, the listing is the same and the index is good afterwards."""
    saved(store, "/p")
    first = listed(store)
    good = index_of(store).read_bytes()
    index_of(store).write_bytes(content)
    assert listed(store) == first
    assert index_of(store).read_bytes() == good
    index_of(store).unlink()
    assert listed(store) == first
    assert index_of(store).read_bytes() == good


def test_a_changed_file_is_not_taken_for_the_one_that_was_read(store: Counting) -> None:
    """A state that was damaged, or replaced, after it was indexed, is looked at: also when size and time of change were put back."""
    path = saved(store, "/p")
    listed(store)
    found = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    (entry,) = listed(store).entries
    assert entry.fault is not None and entry.agent is None
    assert abs(entry.time - captured_at(entry.state_id)) < 0.001


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_an_index_is_not_followed_nor_trusted_when_others_can_write_it(store: Counting, tmp_path: Path) -> None:
    """A link in its place, or an index that others can change, is not read; the link is replaced and not written through."""
    saved(store, "/p")
    first = listed(store)
    lie = json.loads(index_of(store).read_bytes())
    (row,) = lie["states"].values()
    row["agent"] = "somebody else"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(json.dumps(lie))
    index_of(store).unlink()
    index_of(store).symlink_to(elsewhere)
    assert listed(store) == first
    assert not index_of(store).is_symlink() and "somebody else" in elsewhere.read_text()
    index_of(store).write_text(json.dumps(lie))
    index_of(store).chmod(0o666)
    assert listed(store) == first


def test_what_is_encrypted_is_not_in_the_index(tmp_path: Path) -> None:
    """A sealed state is listed with its key, told without it, bound to its project, and never copied into the index."""
    plain, sealed = Counting(tmp_path), Counting(tmp_path, KeySeal(Keys((bytes(32),))))
    path = saved(sealed, "/p", reason="a reason that is nobody's business", conversation={"session_id": SESSION, "transcript": "/t"})
    assert path.name.endswith(".enc") and state_id_of(path.name) is not None
    assert b"claude" not in path.read_bytes()
    (entry,) = listed(sealed).entries
    assert (entry.reason, entry.fault) == ("a reason that is nobody's business", None)
    saved(sealed, "/p")
    assert len(listed(sealed).entries) == 2
    assert not index_of(sealed).exists() or b"business" not in index_of(sealed).read_bytes()
    assert [entry.fault for entry in listed(plain).entries] == ["it is encrypted, and encryption.key names no key"] * 2
    with pytest.raises(StateUnreadable, match="among the configured ones"):
        StateStore(tmp_path, KeySeal(Keys((bytes([7] * 32),)))).load(path)
    other = sealed.save("/q", captured("/q"))
    moved = other.parent / path.name
    moved.write_bytes(path.read_bytes())
    with pytest.raises(StateUnreadable, match="does not open"):
        sealed.load(moved)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_an_index_that_cannot_be_written_costs_nothing_but_time(store: Counting, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """On a disk that is full or may not be written, the listing is whole and says why the index is not kept."""
    saved(store, "/p")
    first = listed(store)
    index_of(store).unlink()
    real = os.open

    def refused(path: Any, flags: int, *more: Any, **others: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", refused)
    told = listed(store)
    assert told.entries == first.entries
    assert told.unkept is not None and told.unkept.cause.errno == number


def test_other_files_and_directories_are_left_out(store: Counting) -> None:
    """Runs, temporary files and names that are no ids are no states; a project's directory that is a link is no project."""
    path = saved(store, "/p")
    (path.parent / "runs").mkdir()
    for name in (".x.json.gz.abc.tmp", "x.json.gz", f"{path.name}.bak", "20260102T030405.678901Z-5f1c9a2b.json"):
        (path.parent / name).write_bytes(b"")
    (store.state_dir / f"{path.parent.name[:-16]}0123456789abcdef").symlink_to(path.parent)
    (store.state_dir / "Something").mkdir()
    assert [entry.path for entry in listed(store).entries] == [path]
    assert StateStore(store.state_dir / "nowhere").keys() == ()


ROW = st.fixed_dictionaries(
    {},
    optional={
        "file": st.one_of(st.none(), st.lists(st.one_of(st.integers(), st.floats(), st.text()), max_size=5)),
        "time": st.one_of(st.none(), st.floats(), st.integers(), st.text()),
        **{name: st.one_of(st.none(), st.text(max_size=5), st.integers()) for name in ("agent", "reason", "level")},
        **{name: st.one_of(st.none(), st.text(max_size=5)) for name in ("working_directory", "session_id")},
    },
)


@given(
    st.one_of(
        st.binary(max_size=40),
        st.fixed_dictionaries(
            {
                "format": st.sampled_from([1, 1, 1, "1", None]),
                "states": st.one_of(
                    st.dictionaries(st.sampled_from(["x", "20260102T030405.678901Z-5f1c9a2b.json.gz", "../x"]), ROW), ROW, st.none()
                ),
            }
        ).map(lambda data: json.dumps(data).encode()),
    )
)
@settings(max_examples=200)
def test_whatever_an_index_holds_its_rows_are_sound_or_it_is_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Fuzz: the parser raises nothing, and what it returns has the shape that a listing relies on."""
    path = tmp_path_factory.getbasetemp() / "fuzzed-index.json"
    path.write_bytes(content)
    for name, row in read_index(path).items():
        assert state_id_of(name) is not None
        assert len(row["file"]) == 4 and all(type(number) is int for number in row["file"])
        assert type(row["time"]) is float
        assert all(
            row[text] is None or isinstance(row[text], str) for text in ("agent", "reason", "level", "working_directory", "session_id")
        )


def test_a_lie_in_the_index_is_no_state(store: Counting) -> None:
    """A row about a file that is not there, or about another file, is not listed."""
    path = saved(store, "/p")
    (entry,) = listed(store).entries
    lie = json.loads(index_of(store).read_bytes())
    (row,) = lie["states"].values()
    lie["states"]["20260102T030405.678901Z-5f1c9a2b.json.gz"] = row
    lie["states"][path.name] = {**row, "file": [1, 2, 3, 4], "agent": "somebody else"}
    index_of(store).write_text(json.dumps(lie))
    assert listed(store).entries == (attrs.evolve(entry),)
