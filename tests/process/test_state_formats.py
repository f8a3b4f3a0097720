"""State files of any age and from any hand: every older version is read, and nothing hostile is believed, crashes or eats memory."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.state import formats
from workers.state.formats import DEEPEST, MOST_VALUES, STEPS, parsed, upgraded
from workers.state.model import FORMAT_VERSION, CompleteState, MemoryPoint, StateInvalid, canonical, checksum
from workers.state.store import StateStore, StateUnreadable

from .state_support import SESSION, VERSION_1, captured

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


def test_every_version_has_its_step() -> None:
    """From each version there is a way to the present one."""
    assert sorted(STEPS) == list(range(formats.OLDEST, FORMAT_VERSION))


def test_a_recorded_file_of_version_1_is_read(tmp_path: Path) -> None:
    """A file as the first version wrote it, bytes as they were recorded, is understood in all its parts."""
    path = tmp_path / "20260102T030405.678901Z-5f1c9a2b.json.gz"
    path.write_bytes(VERSION_1.read_bytes())
    assert json.loads(gzip.decompress(path.read_bytes()))["metadata"]["format_version"] == 1

    state = StateStore(tmp_path).load(path)

    assert state.metadata.format_version == FORMAT_VERSION
    assert (state.metadata.state_id, state.metadata.agent) == ("20260102T030405.678901Z-5f1c9a2b", "claude")
    assert state.process.argv == ("claude", "--print", "--token=[redacted:argument]")
    assert state.process.memory == (MemoryPoint(30.0, 14 << 30), MemoryPoint(0.5, 15 << 30))
    assert state.project.dirty_files == ("a.py", os.fsdecode(b"caf\xe9"))
    assert [past.outcome for past in state.restart.history] == ["controlled"]
    assert (state.conversation, state.journal) == (None, None)


@pytest.mark.parametrize(
    ("told", "understood"),
    [
        (None, None),
        ({"session": "x", "turns": 3}, None),
        ({"session_id": SESSION, "transcript": "/t.jsonl", "more": 1}, {"session_id": SESSION, "transcript": "/t.jsonl"}),
        ({"session_id": 7, "transcript": "/t.jsonl"}, None),
        ([], None),
    ],
)
def test_of_a_conversation_of_version_1_its_names_are_understood(told: object, understood: object) -> None:
    """It was free-form: what names the session and the transcript is taken, and the argument stays as it is."""
    data = {**captured("/p").to_dict(), "conversation": told}
    data["metadata"]["format_version"] = 1
    before = canonical(data)
    after = upgraded(data, 1)
    assert (after["conversation"], after["metadata"]["format_version"]) == (understood, FORMAT_VERSION)
    assert canonical(data) == before


def test_the_checksum_of_an_old_version_is_asked_for(tmp_path: Path) -> None:
    """A file of an older version is checked as it was written, before anything is made of it."""
    data = json.loads(gzip.decompress(VERSION_1.read_bytes()))
    data["process"]["argv"] = ["sh"]
    with pytest.raises(StateInvalid, match="checksum"):
        CompleteState.from_dict(data)


def test_the_text_of_a_state_is_its_data_in_canonical_form(tmp_path: Path) -> None:
    """Written in one go, it is what its data would be; read from another form of the same data, it is the same state."""
    state = captured("/p", conversation={"session_id": SESSION, "transcript": "/t", "x": [{"checksum": "a"}]})
    data = state.to_dict()
    assert state.to_json() == canonical(data)
    assert (
        CompleteState.from_json(state.to_json())
        == CompleteState.from_json(json.dumps(data, indent=1).encode())
        == (CompleteState.from_dict(data))
    )
    for text in (state.to_json().replace(b'"pid":42', b'"pid":43'), json.dumps(data).replace('"pid": 42', '"pid": 43').encode()):
        with pytest.raises(StateInvalid, match="checksum"):
            CompleteState.from_json(text)
    data["conversation"]["checksum"] = data["metadata"]["checksum"]  # the same words in another place
    with pytest.raises(StateInvalid, match="checksum"):
        CompleteState.from_json(canonical(data))


@pytest.mark.parametrize("value", ["nan", "5", True, 0.5, 10**301, -(10**301), None, [], {}])
def test_a_number_is_a_number(value: object) -> None:
    """A text is none, nor is what no arithmetic could be done with, though the checksum is that of the data."""
    data = captured("/p").to_dict()
    data["restart"]["history"][0]["time"] = "nan" if value == 0.5 else value
    data["process"]["generation"] = value if value is not None else "x"
    data["metadata"]["checksum"] = checksum(data)
    with pytest.raises(StateInvalid, match="not a captured state"):
        CompleteState.from_dict(data)


def test_nesting_is_bounded() -> None:
    """As deep as `DEEPEST` is read, one deeper is not, and what would end the interpreter's stack is an error of the same kind."""
    assert parsed(b'{"a":' * (DEEPEST - 1) + b"{}" + b"}" * (DEEPEST - 1))
    for levels in (DEEPEST + 1, 900, 200_000):
        with pytest.raises(StateInvalid, match="nested more than"):
            parsed(b'{"a":' + b"[" * levels + b"1" + b"]" * levels + b"}")


@pytest.mark.parametrize("item", [b"{},", b"[],", b"1,", b'"",'])
def test_the_memory_of_parsing_is_bounded(item: bytes) -> None:
    """Many small values, which cost twenty times their text, are refused before they are made."""
    text = b'{"a":[' + item * (MOST_VALUES + 1) + b"1]}"
    tracemalloc.start()
    try:
        with pytest.raises(StateInvalid, match="values"):
            parsed(text)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b'"x"', b"{", b'{"a":NaN}', b'{"a":-Infinity}', b'\xff{"a":1}', b'{"a":1}x', b"\0"])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    """Anything else is an error in words."""
    with pytest.raises(StateInvalid):
        parsed(text)


@given(st.one_of(st.binary(max_size=60), st.text(alphabet='{}[]",:0123456789eE-.ntrf\\u ', max_size=60).map(str.encode)))
@settings(max_examples=150)
def test_whatever_the_bytes_parsing_ends_in_an_object_or_an_error(text: bytes) -> None:
    """Fuzz: no byte string makes another exception."""
    try:
        assert isinstance(parsed(text), dict)
    except StateInvalid:
        pass


@given(st.sampled_from(["process", "project", "restart", "metadata", "conversation", "journal"]), JSON, st.integers(1, FORMAT_VERSION))
@settings(max_examples=150)
def test_whatever_stands_in_place_of_a_part_is_a_state_or_an_error(part: str, value: Any, version: int) -> None:
    """Fuzz: with a checksum that matches, any JSON in place of any part of any version is understood or refused, and nothing else."""
    data = captured("/p").to_dict()
    data["metadata"]["format_version"] = version
    data[part] = {**data[part], **value} if isinstance(value, dict) and isinstance(data[part], dict) else value
    if isinstance(data["metadata"], dict):
        try:
            data["metadata"]["checksum"] = checksum(data)
        except StateInvalid:  # not a number
            return
    try:
        assert isinstance(CompleteState.from_dict(data), CompleteState)
    except StateInvalid:
        pass


@given(st.data())
@settings(max_examples=150)
def test_a_changed_file_is_never_used(data: st.DataObject) -> None:
    """Fuzz: whatever is cut, changed or put in between, the state is the one that was written, or the file is refused."""
    blob = bytearray(VERSION_1.read_bytes())
    state = StateStore("/nowhere").decoded(bytes(blob), "key", None, False)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(blob)))
        end = data.draw(st.integers(start, min(len(blob), start + 16)))
        blob[start:end] = data.draw(st.binary(max_size=16))
    try:
        read = StateStore("/nowhere").decoded(bytes(blob), "key", None, False)
    except StateInvalid:
        return
    assert read.to_dict() == state.to_dict()


def test_a_file_of_another_name_is_refused(tmp_path: Path) -> None:
    """A state that was put in the place of another is not taken for it."""
    store = StateStore(tmp_path)
    first, second = (store.save("/p", captured("/p", age=age)) for age in (20.0, 10.0))
    second.write_bytes(first.read_bytes())
    with pytest.raises(StateUnreadable, match="not the one that it is named after"):
        store.load(second)
