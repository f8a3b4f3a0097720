"""Reading transcripts: torn, huge, damaged and growing files, from the end and from where the last reading stopped."""

from __future__ import annotations

import errno
import itertools
import json
import os
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.transcripts import SESSION, write_transcript
from workers.state.conversation import ConversationState, Progress, advanced, conversation
from workers.state.digest import Digest
from workers.state.model import StateInvalid, canonical
from workers.state.record import LONGEST, parsed
from workers.state.transcript import FARTHEST, Message, TranscriptUnreadable, end_of_lines, lines, message_of, opened, reversed_lines, tail

from .. import transcripts
from ..transcripts import answered, called, returned, said


@contextmanager
def file_of(data: bytes) -> Iterator[Path]:
    """A file with some bytes."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "transcript.jsonl")
        path.write_bytes(data)
        yield path


def same(text: str) -> str:
    return text


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    return tmp_path / f"{SESSION}.jsonl"


PIECES = st.lists(st.sampled_from([b"", b"a", b"bc", b"def" * 5, b"x" * 40]), max_size=12)


@given(PIECES, st.sampled_from([b"", b"torn"]), st.integers(1, 9), st.integers(1, 30))
def test_lines_from_both_ends(pieces: list[bytes], torn: bytes, block: int, longest: int) -> None:
    """Forwards and backwards come the same whole lines, whatever the size of what is read at once; of long ones only the beginning."""
    data = b"".join(piece + b"\n" for piece in pieces)
    whole = [piece[: longest + 1] for piece in pieces if piece]
    with file_of(data + torn) as path, opened(path) as file:
        assert end_of_lines(file) == len(data)
        forwards = [line[: longest + 1] for line in lines(file, 0, len(data), block_size=block, longest=longest)]
        backwards = [line[: longest + 1] for line in reversed_lines(file, len(data) + 1, block_size=block, longest=longest)]
    assert forwards == whole
    assert backwards == whole[::-1]


@given(PIECES, st.integers(0, 60), st.integers(1, 9))
def test_only_so_far_from_the_end(pieces: list[bytes], farthest: int, block: int) -> None:
    """What begins further from the end than asked for is not read."""
    data = b"".join(piece + b"\n" for piece in pieces)
    with file_of(data) as path, opened(path) as file:
        found = list(reversed_lines(file, farthest, block_size=block))
    assert found == [piece for piece in pieces if piece][::-1][: len(found)]
    assert sum(len(line) + 1 for line in found) <= farthest


@settings(max_examples=40)
@given(transcripts.lines, st.binary(max_size=20).map(lambda torn: torn.replace(b"\n", b"")), st.integers(0, 8), st.integers(0, 400))
def test_the_tail_is_the_end_of_a_full_parse(written: list[bytes], torn: bytes, count: int, limit: int) -> None:
    """Whatever is in the lines: the last messages are those that parsing everything would end with, as many as fit."""
    everything = [message for line in written if line and (message := message_of(parsed(line), limit // 4))]
    expected: list[Message] = []
    room = limit
    for message in reversed(everything):
        room -= len(message.text.encode())
        if room < 0 or len(expected) == count:
            break
        expected.insert(0, message)
    with file_of(b"".join(line + b"\n" for line in written) + torn) as path:
        assert tail(path, count, limit) == tuple(expected)


def test_messages(transcript: Path) -> None:
    """Who says what, which tools are called and what they gave back; not what a subagent or the program itself says."""
    written = [
        said("Hello"),
        answered("Hm", isSidechain=True),
        answered("Yes?"),
        called("t1", "Read", {}),
        returned("t1", "text"),
        said("Caveat", isMeta=True),
        b'{"type":"attachment"}',
    ]
    transcript.write_bytes(b"\n".join(written) + b"\n")
    messages = tail(transcript, 10, 10_000)
    assert [(message.role, message.text, message.tools) for message in messages] == [
        ("user", "Hello", ()),
        ("assistant", "Yes?", ()),
        ("assistant", "", ("Read",)),
        ("tool", "text", ()),
    ]
    assert messages[0].uuid == "00000000-0000-4000-8000-000000000001"
    assert messages[0].time == "2026-01-01T00:00:01.000Z"


def test_a_huge_line_costs_neither_memory_nor_the_others(transcript: Path) -> None:
    """Behind and before a line of 64 MB the messages are found, in bounded memory; further back than the bound nobody looks."""
    with transcript.open("wb") as file:
        file.write(said("before") + b"\n")
        file.write(b'{"type":"user","message":"')
        for _ in range(2 * FARTHEST // 1_000_000):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n' + said("after") + b"\n")
    tracemalloc.start()
    try:
        assert [message.text for message in tail(transcript, 10, 1000)] == ["after"]
        progress = advanced(transcript)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (progress.digest.turns, progress.digest.lines.oversized) == (2, 1)
    assert peak < 4 * LONGEST


def test_memory_does_not_grow_with_the_file(transcript: Path) -> None:
    """Folding 4 MB and looking at its end takes as much memory as for a fourth of it."""

    def peak(size: int) -> int:
        write_transcript(transcript, size, distinct=300_000)
        tracemalloc.start()
        try:
            conversation(transcript, advanced(transcript), same)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small = peak(1_000_000)
    assert peak(4_000_000) < 1.5 * small


@settings(max_examples=20)
@given(st.lists(transcripts.lines, min_size=1, max_size=4), st.booleans())
def test_reading_on_is_reading_all(pieces: list[list[bytes]], kept: bool) -> None:
    """Captures in between, with progress on disk or not and a torn line at each, come to what one reading at the end comes to."""
    with file_of(b"") as path:
        progress = Progress()
        for piece in pieces:
            data = b"".join(line + b"\n" for line in piece)
            with path.open("ab") as file:
                file.write(data[: len(data) // 2])
            progress = advanced(path, progress)
            with path.open("ab") as file:
                file.write(data[len(data) // 2 :])
            progress = advanced(path, progress)
            if kept:
                progress = Progress.from_dict(json.loads(canonical(progress.to_dict(same))))
        assert progress == advanced(path)
        assert progress.digest == Digest().fold(line for piece in pieces for line in piece if line)
        assert progress.offset == path.stat().st_size


def test_only_what_is_new_is_read(transcript: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second reading costs what has been added, and one without news nothing."""
    write_transcript(transcript, 300_000)
    first = advanced(transcript)
    seen: list[bytes] = []
    fold = Digest.fold

    def counted(self: Digest, lines: Iterator[bytes]) -> Digest:
        seen.extend(lines)
        return fold(self, seen)

    monkeypatch.setattr(Digest, "fold", counted)
    assert advanced(transcript, first) is first
    with transcript.open("ab") as file:
        file.write(said("one more") + b"\n")
    assert advanced(transcript, first).digest.last_prompt == "one more"
    assert seen == [said("one more")]


def test_a_first_reading_can_be_divided(transcript: Path) -> None:
    """No more bytes are folded than asked for, but for a line that is longer, and in the end it is all the same."""
    write_transcript(transcript, 200_000)
    progress, offsets = Progress(), [0]
    while progress.offset < transcript.stat().st_size:
        progress = advanced(transcript, progress, most=30_000)
        offsets.append(progress.offset)
        assert conversation(transcript, progress, same).folded == progress.offset
    assert progress == advanced(transcript)
    steps = [end - begin for begin, end in itertools.pairwise(offsets)]
    assert len(steps) > 5
    assert max(steps) <= 30_000
    assert 0 < advanced(transcript, most=0).offset < 30_000


@pytest.mark.parametrize("how", ["truncated", "rewritten", "replaced"])
def test_a_file_that_is_another_is_read_again(transcript: Path, how: str) -> None:
    """After a truncation, a rewriting and a replacement the digest is that of what is there."""
    transcript.write_bytes(b"".join(said(f"old {number}") + b"\n" for number in range(20)))
    progress = advanced(transcript)
    new = b"".join(said(f"new {number}") + b"\n" for number in range(3 if how == "truncated" else 30))
    if how == "replaced":
        other = transcript.with_suffix(".new")
        other.write_bytes(new)
        os.replace(other, transcript)
    else:
        transcript.write_bytes(new)
    assert advanced(transcript, progress) == advanced(transcript)
    assert advanced(transcript, progress).digest.asked[0].asked == "new 0"


def test_a_torn_line(transcript: Path) -> None:
    """It is counted in bytes and not read, until it is whole."""
    transcript.write_bytes(said("one") + b"\n" + said("two"))
    progress = advanced(transcript)
    state = conversation(transcript, progress, same)
    assert (state.size, state.torn, state.digest.turns) == (transcript.stat().st_size, len(said("two")), 1)
    assert [message.text for message in state.messages] == ["one"]
    with transcript.open("ab") as file:
        file.write(b"\n")
    assert advanced(transcript, progress).digest.turns == 2
    assert conversation(transcript, progress, same).torn == 0


def test_the_conversation_of_a_state(transcript: Path) -> None:
    """It survives being written, holds no secret, keeps to its bounds, and knows the session, the file and the subagents."""
    write_transcript(transcript, 400_000)
    agent = transcript.with_suffix("") / "subagents" / "agent-a1.jsonl"
    agent.parent.mkdir(parents=True)
    agent.write_bytes(b"12345")
    with transcript.open("ab") as file:
        file.write(said("the word is hush") + b"\n")
    state = conversation(transcript, advanced(transcript), lambda text: text.replace("hush", "[gone]"), messages=20, limit_bytes=2000)
    assert ConversationState.from_dict(json.loads(canonical(state.to_dict()))) == state
    assert b"hush" not in canonical(state.to_dict())
    assert state.messages[-1].text == "the word is [gone]"
    assert 1 < len(state.messages) <= 20
    assert sum(len(message.text.encode()) for message in state.messages) <= 2000
    assert (state.session_id, state.transcript, state.size) == (SESSION, str(transcript), transcript.stat().st_size)
    assert [(subagent.id, subagent.size) for subagent in state.subagents] == [("a1", 5)]
    assert conversation(transcript, Progress(), same, session_id="known").session_id == "known"


def test_an_empty_transcript(transcript: Path) -> None:
    """There is nothing in it, and that is no error."""
    transcript.write_bytes(b"")
    assert tail(transcript, 10, 1000) == ()
    assert advanced(transcript) == Progress()
    assert conversation(transcript, Progress(), same).messages == ()


@pytest.mark.parametrize(
    "data", [None, {}, {"offset": -1, "mark": "", "digest": {}}, {"offset": True, "mark": "", "digest": {}}, {"offset": 1}]
)
def test_data_that_are_no_progress(data: object) -> None:
    """They are refused."""
    with pytest.raises(StateInvalid):
        Progress.from_dict(data)


@pytest.mark.parametrize("data", [None, {}, {"digest": {}}, {"digest": {}, "messages": [5]}])
def test_data_that_are_no_conversation(data: object) -> None:
    """They are refused."""
    with pytest.raises(StateInvalid):
        ConversationState.from_dict(data)


@pytest.mark.skipif(sys.platform == "win32", reason="what Windows has not")
def test_what_is_no_file(tmp_path: Path) -> None:
    """A link, a directory, a pipe without a writer and what is not there: refused with a reason, at once."""
    (tmp_path / "file").write_bytes(said("x") + b"\n")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name in ("link", "pipe", "directory", "missing"):
        with pytest.raises(TranscriptUnreadable, match=f"cannot read the transcript .*{name}: "):
            tail(tmp_path / name, 1, 100)
    assert len(tail(tmp_path / "file", 1, 100)) == 1


def test_a_file_that_must_not_be_read(transcript: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says so."""

    def refuse(*arguments: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    with pytest.raises(TranscriptUnreadable, match="Permission denied"):
        advanced(transcript)
