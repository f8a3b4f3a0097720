"""Captured states on disk: what is written is read back, and what was damaged is never used."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import stat
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.state import store as module
from workers.state.codec import suffix
from workers.state.model import (
    FORMAT_VERSION,
    CompleteState,
    MemoryPoint,
    PastRestart,
    ProcessSnapshot,
    ProjectState,
    RestartState,
    StateInvalid,
    StateMetadata,
    canonical,
    checksum,
)
from workers.state.store import StateStore, StateUnreadable, StateWriteFailed, new_state_id, project_key

strings = st.text(max_size=12)
numbers = st.integers(min_value=-(2**53), max_value=2**53)
floats = st.floats(allow_nan=False, allow_infinity=False)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


tuples = st.lists(strings, max_size=3).map(tuple)

states = st.builds(
    CompleteState,
    st.builds(
        ProcessSnapshot,
        optional(numbers),
        optional(numbers),
        st.lists(strings, max_size=3).map(tuple),
        st.dictionaries(strings, strings, max_size=3),
        optional(strings),
        optional(numbers),
        optional(floats),
        st.lists(st.builds(MemoryPoint, floats, numbers), max_size=3).map(tuple),
        optional(numbers),
        optional(strings),
    ),
    st.builds(ProjectState, strings, optional(strings), optional(strings), optional(tuples), optional(numbers)),
    st.builds(
        RestartState, strings, optional(strings), optional(numbers), optional(numbers),
        st.lists(st.builds(PastRestart, floats, strings, strings), max_size=2).map(tuple),
    ),
    st.builds(
        StateMetadata, st.just("20260102T030405.678901Z-5f1c9a2b"), floats, strings, st.lists(strings, max_size=3).map(tuple),
        optional(strings), optional(strings), st.dictionaries(strings, strings, max_size=2),
    ),
    optional(st.just({"session": "x", "turns": 3})),
)  # fmt: skip


def bare(state: CompleteState) -> CompleteState:
    return attrs.evolve(state, metadata=attrs.evolve(state.metadata, checksum=""))


def example() -> CompleteState:
    memory = (MemoryPoint(1.0, 5), MemoryPoint(0.5, 7))
    return CompleteState(
        ProcessSnapshot(42, 4711, ("claude", "--print"), {"PATH": "/bin"}, "/work", 3, 12.5, memory, 9, "critical"),
        ProjectState("/work", "abc", "main", ("a.py",), 1),
        RestartState("memory", "critical", 7, 2, (PastRestart(1.5, "memory", "completed"),)),
        StateMetadata(new_state_id(), 1.5, "claude", ("guardian", "agents"), "run", "host", {"python": "3.11"}),
    )  # fmt: skip


@given(states)
def test_a_state_survives_its_json_form(state: CompleteState) -> None:
    """`from_dict` after `to_dict`, through JSON text and back, gives the same state."""
    data = state.to_dict()
    assert bare(CompleteState.from_dict(json.loads(canonical(data)))) == state
    assert data["metadata"]["format_version"] == FORMAT_VERSION


@given(states)
def test_the_checksum_does_not_depend_on_the_order_of_keys(state: CompleteState) -> None:
    """The same data in another order has the same checksum."""
    data = state.to_dict()
    shuffled = dict(reversed([(key, dict(reversed(value.items())) if isinstance(value, dict) else value) for key, value in data.items()]))
    assert checksum(shuffled) == data["metadata"]["checksum"]


def leaves(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list | tuple) else ()
    found = [leaf for key, value in items for leaf in leaves(value, (*path, key))]
    return found or [path]


def test_every_changed_value_is_noticed() -> None:
    """Whichever value of a written state is changed, the checksum says so."""
    data = json.loads(canonical(example().to_dict()))
    paths = leaves(data)
    assert len(paths) > 25
    for path in paths:
        changed = json.loads(json.dumps(data))
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = "changed"
        with pytest.raises(StateInvalid):
            CompleteState.from_dict(changed)


def sealed(data: dict[str, Any]) -> dict[str, Any]:
    data["metadata"]["checksum"] = checksum(data)
    return data


def test_fields_of_a_later_program_are_ignored() -> None:
    """Within a format version fields are only ever added: unknown ones do not hinder."""
    data = example().to_dict()
    data["later"] = 1
    data["process"]["later"] = {"x": 1}
    assert CompleteState.from_dict(sealed(data)).process.pid == 42


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, "1", None, True])
def test_another_format_is_refused(version: object) -> None:
    """A format version that is not known is refused with the ones that are."""
    data = example().to_dict()
    data["metadata"]["format_version"] = version
    with pytest.raises(StateInvalid, match="this program reads 1 to 2"):
        CompleteState.from_dict(sealed(data))


@pytest.mark.parametrize("data", [None, [], "x", 5, {}, {"metadata": 3}, {"metadata": {}}])
def test_what_is_no_state_is_refused(data: object) -> None:
    """Any other JSON is no state, and says so without a traceback of another kind."""
    with pytest.raises(StateInvalid):
        CompleteState.from_dict(data)


def test_an_incomplete_state_is_refused() -> None:
    """A state that lacks a part is refused although its checksum is right."""
    data = example().to_dict()
    del data["process"]
    with pytest.raises(StateInvalid, match="not a captured state"):
        CompleteState.from_dict(sealed(data))


def test_a_saved_state_is_loaded_again(tmp_path: Path) -> None:
    """A state is one private file under its project, named by its id, and what is loaded is what was saved."""
    store, state = StateStore(tmp_path / "states"), example()
    path = store.save("/some/project", state)
    assert path == tmp_path / "states" / project_key("/some/project") / f"{state.metadata.state_id}.json{suffix()}"
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path.parent.parent, path.parent, path)] == [0o700, 0o700, 0o600]
    loaded = store.load(path)
    assert bare(loaded) == state
    assert len(loaded.metadata.checksum) == 64
    assert os.listdir(path.parent) == [path.name]


def test_states_are_listed_oldest_first(tmp_path: Path) -> None:
    """The list holds the project's states by age and nothing else that lies there."""
    store = StateStore(tmp_path)
    assert store.list("/p") == ()
    saved = [
        store.save("/p", attrs.evolve(example(), metadata=attrs.evolve(example().metadata, state_id=new_state_id(at))))
        for at in (30.0, 10.0, 20.0)
    ]
    store.save("/q", example())
    (saved[0].parent / "index.json.gz").write_bytes(b"")
    (saved[0].parent / ".x.json.gz.abc.tmp").write_bytes(b"")
    (saved[0].parent / "runs").mkdir()
    assert list(store.list("/p")) == [saved[1], saved[2], saved[0]]


def test_a_state_that_cannot_be_written_leaves_the_earlier_ones(tmp_path: Path) -> None:
    """A state directory that is a file: a typed error with the path; nothing is created."""
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(StateWriteFailed) as caught:
        StateStore(tmp_path / "file").save("/p", example())
    assert str(tmp_path / "file") in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b"x"


@pytest.mark.parametrize(
    "state_id", ["../../etc/passwd", "", "x", "20260102T030405.678901Z-5f1c9a2b/../x", "20260102T030405.678901Z-5f1c9a2b\n"]
)
def test_a_state_id_is_no_path(tmp_path: Path, state_id: str) -> None:
    """Only an id that this program makes becomes a file name."""
    state = attrs.evolve(example(), metadata=attrs.evolve(example().metadata, state_id=state_id))
    with pytest.raises(StateInvalid, match="no state id"):
        StateStore(tmp_path).save("/p", state)


def test_what_json_cannot_say_is_refused(tmp_path: Path) -> None:
    """A number that is none is refused before anything is written."""
    state = attrs.evolve(example(), process=attrs.evolve(example().process, uptime=float("nan")))
    with pytest.raises(StateInvalid):
        StateStore(tmp_path).save("/p", state)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are no text")
def test_file_names_in_any_encoding_survive(tmp_path: Path) -> None:
    """A file name or argument that is no UTF-8 is written and read back."""
    odd = os.fsdecode(b"caf\xe9")
    state = attrs.evolve(example(), project=ProjectState("/p", dirty_files=(odd,)))
    store = StateStore(tmp_path)
    assert store.load(store.save("/p", state)).project.dirty_files == (odd,)


def damage(data: bytes) -> dict[str, bytes]:
    middle = len(data) // 2
    return {
        "empty": b"",
        "cut": data[:middle],
        "cut at its end": data[:-1],
        "changed": data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :],
        "no gzip": b"{}",
        "no JSON": gzip.compress(b"{"),
        "no state": gzip.compress(b"[]"),
        "deep": gzip.compress(b"[" * 200_000),
        "no text": gzip.compress(b'"\xff"'),
    }


@pytest.mark.parametrize("kind", list(damage(b"xx")))
def test_a_damaged_file_is_refused(tmp_path: Path, kind: str) -> None:
    """A damaged file is an error that names the file, whatever the damage, and never a state."""
    store = StateStore(tmp_path)
    path = store.save("/p", example())
    path.write_bytes(damage(path.read_bytes())[kind])
    with pytest.raises(StateUnreadable) as caught:
        store.load(path)
    assert caught.value.path == path
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """A file that is not there, or is a directory, is an error of the same kind."""
    with pytest.raises(StateUnreadable, match="No such file"):
        StateStore(tmp_path).load(tmp_path / "x")
    with pytest.raises(StateUnreadable):
        StateStore(tmp_path).load(tmp_path)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that unpacks to more than is believed is refused without being unpacked whole."""
    monkeypatch.setattr(module, "LARGEST", 1_000_000)
    (tmp_path / "bomb").write_bytes(gzip.compress(bytes(50_000_000)))
    with pytest.raises(StateUnreadable, match="unpacks to more than 1000000 bytes"):
        StateStore(tmp_path).load(tmp_path / "bomb")


@given(st.lists(st.floats(min_value=0, max_value=4e9), min_size=2, max_size=10))
def test_state_ids_sort_by_time_and_are_unique(moments: list[float]) -> None:
    """Ids of different microseconds sort by time; ids of the same moment differ."""
    ids = [new_state_id(moment) for moment in moments]
    assert len(set(ids)) == len(ids)
    stems = [(round(moment * 1e6), name.rpartition("-")[0]) for moment, name in zip(moments, ids, strict=True)]
    for earlier, first in stems:
        for later, second in stems:
            if later - earlier > 2:
                assert first < second


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300))
def test_a_project_key_is_a_file_name(directory: str) -> None:
    """Whatever a directory is called, its key is short, plain, stable and no hidden file."""
    key = project_key("/" + directory)
    assert key == project_key("/" + directory)
    assert 0 < len(key) <= 80
    assert key.replace("-", "").replace("_", "").isalnum()
    assert key.isascii()
    assert not key.startswith((".", "-"))


def test_project_keys_are_readable_and_distinct(tmp_path: Path) -> None:
    """The key shows the directory, follows links, and differs where only the case or a sign does."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert project_key(tmp_path / "link") == project_key(tmp_path / "real")
    assert project_key("/srv/My Project").startswith("srv-my-project-")
    assert len({project_key(path) for path in ("/a/b", "/a-b", "/A/b", "/a_b", "/a/b/c", "/")}) == 6
    assert project_key("/").startswith("root-")
