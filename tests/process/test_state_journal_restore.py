"""A transcript is put back as it was: never over records that would be lost, never through a link, never in part."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.state import journal_restore
from workers.state.files import StateWriteFailed
from workers.state.journal import Journal, Mark
from workers.state.journal_restore import TranscriptIsNewer, put_back
from workers.state.model import StateInvalid


def record(number: int) -> bytes:
    return json.dumps({"n": number, "text": "x" * number}).encode() + b"\n"


TEXT = b"".join(map(record, range(5)))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A transcript in a directory of its own."""
    (tmp_path / "project").mkdir()
    path = tmp_path / "project" / "session.jsonl"
    path.write_bytes(TEXT)
    path.chmod(0o600)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Journal:
    """Its journal."""
    return Journal(tmp_path / "j")


@pytest.fixture
def mark(source: Path, place: Journal) -> Mark:
    """When it had five records."""
    return place.append(source)


def seen(source: Path) -> tuple[int, int, int]:
    found = source.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def beside(source: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in source.parent.iterdir() if path != source}


DAMAGED = {
    "zeroed": bytes(len(TEXT)),
    "half a page of zeros": TEXT[:30] + bytes(20) + TEXT[50:],
    "other bytes in the middle": TEXT[:20] + b'"\xff\xfe' + TEXT[23:],
    "torn and longer": TEXT[:-3] + bytes(100),
    "garbage": b"\xff" * 1000,
    "records that are known, and garbage": record(0) + record(2) + b"{",
}


def test_what_was_deleted_is_put_back(source: Path, place: Journal, mark: Mark) -> None:
    """A transcript that is gone is there again, private, and goes on in its journal."""
    source.unlink()
    assert place.restore(mark, source) is None
    assert (source.read_bytes(), stat.S_IMODE(source.stat().st_mode), beside(source)) == (TEXT, 0o600, {})
    with source.open("ab") as file:
        file.write(record(5))
    assert place.append(source).segment == 1


@pytest.mark.parametrize("cut", [0, 1, len(record(0)), len(TEXT) - 1])
def test_what_was_truncated_is_put_back(cut: int, source: Path, place: Journal, mark: Mark) -> None:
    """The beginning of what was captured is replaced by all of it, and nothing has to be kept of it."""
    os.truncate(source, cut)
    source.chmod(0o400)
    assert place.restore(mark, source) is None
    assert (source.read_bytes(), stat.S_IMODE(source.stat().st_mode), beside(source)) == (TEXT, 0o400, {})


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_was_damaged_is_put_back(damage: str, source: Path, place: Journal, mark: Mark) -> None:
    """A transcript without a record of its own is replaced, and kept beside under a name that is no transcript's."""
    for number in (1, 2):
        source.write_bytes(DAMAGED[damage])
        assert place.restore(mark, source) == source.with_name(f"session.jsonl.replaced-{number}")
        assert source.read_bytes() == TEXT
    assert set(beside(source).values()) == {DAMAGED[damage]}


def test_what_is_there_already_is_left_alone(source: Path, place: Journal, mark: Mark) -> None:
    """The same content is not written again."""
    before = seen(source)
    assert place.restore(mark, source) is None
    assert seen(source) == before and beside(source) == {}


@pytest.mark.parametrize(
    "newer",
    [TEXT + record(9), record(9), TEXT[:-1] + b" \n", TEXT[:40] + b"\n" + record(9), TEXT + record(9)[:-1], bytes(3) + b"\n" + record(9)],
)
def test_a_record_that_would_be_lost_prevents_it(newer: bytes, source: Path, place: Journal, mark: Mark) -> None:
    """One whole record that the moment does not have, and nothing is touched; being told to, what was there is kept beside."""
    source.write_bytes(newer)
    before = seen(source)
    with pytest.raises(TranscriptIsNewer, match="without being told to"):
        place.restore(mark, source)
    assert seen(source) == before and beside(source) == {}
    kept = place.restore(mark, source, force=True)
    assert kept is not None and (kept.read_bytes(), source.read_bytes()) == (newer, TEXT)


def test_a_line_too_long_to_be_read_counts_as_a_record(source: Path, place: Journal, mark: Mark, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be judged is not replaced."""
    monkeypatch.setattr(journal_restore, "LONGEST", 100)
    source.write_bytes(b"\xff" * 101)
    with pytest.raises(TranscriptIsNewer):
        place.restore(mark, source)


def test_a_torn_line_is_repaired_by_leaving_it_out(source: Path, place: Journal) -> None:
    """Bit by bit with the line that has no end, or without it, as one likes."""
    source.write_bytes(TEXT + b'{"n":')
    mark = place.append(source)
    source.unlink()
    place.restore(mark, source)
    assert source.read_bytes() == TEXT + b'{"n":'
    place.restore(mark, source, torn=False)
    assert source.read_bytes() == TEXT


@given(st.binary(max_size=60), st.integers(0, 80), st.integers(0, 60))
def test_no_whole_record_is_ever_lost(noise: bytes, cut: int, more: int) -> None:
    """Whatever is there: without force, each record of it is in what is put back, or it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        target, text = Path(folder, "s"), record(1) + record(2) + record(3)
        there = text[:cut] + noise + text[more:]
        target.write_bytes(there)
        try:
            put_back(target, [text], force=False)
        except TranscriptIsNewer:
            assert target.read_bytes() == there
        else:
            assert target.read_bytes() == text
            lost = set(there.split(b"\n")) - set(text.split(b"\n"))
            assert not any(journal_restore._is_record(line) for line in lost)


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")
def test_a_target_that_is_no_transcript_is_refused(tmp_path: Path, source: Path, place: Journal, mark: Mark) -> None:
    """A link, a pipe and a directory are not written to or replaced, forced or not; a missing directory is told."""
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    source.unlink()
    makers: list[tuple[Callable[[], object], str]] = [
        (lambda: source.symlink_to(other), "a link"),
        (lambda: os.mkfifo(source), "no regular"),
        (source.mkdir, "no regular"),
    ]
    for make, what in makers:
        make()
        with pytest.raises(StateInvalid, match=what):
            place.restore(mark, source, force=True)
        assert other.read_bytes() == b"mine" and beside(source) == {}
        source.rmdir() if source.is_dir() and not source.is_symlink() else source.unlink()
    with pytest.raises(StateWriteFailed):
        place.restore(mark, tmp_path / "nowhere" / "session.jsonl")


def test_a_moment_that_cannot_be_rebuilt_touches_nothing(source: Path, place: Journal, mark: Mark) -> None:
    """A damaged journal: what is there stays, and nothing is left lying about."""
    path = place.directory / "000001.journal"
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    source.write_bytes(b"")
    with pytest.raises(StateInvalid):
        place.restore(mark, source, force=True)
    assert source.read_bytes() == b"" and beside(source) == {}


def test_a_transcript_that_is_being_written_is_not_replaced(source: Path) -> None:
    """What changes while it is put back is not lost."""
    source.write_bytes(b"\xff")

    def meanwhile() -> Iterator[bytes]:
        yield TEXT
        with source.open("ab") as file:
            file.write(record(9))

    with pytest.raises(StateInvalid, match="being written to"):
        put_back(source, meanwhile(), force=True)
    assert source.read_bytes() == b"\xff" + record(9) and beside(source) == {}


@pytest.fixture
def theirs(source: Path) -> Iterator[Path]:
    """The transcript of somebody else."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for path in (source.parent, source):
        os.chown(path, 65534, 65534)
    yield source
    subprocess.run(["rm", "-r", source.parent], check=True)


def test_root_puts_back_what_belongs_to_somebody_else(theirs: Path, place: Journal, mark: Mark) -> None:
    """What root puts back belongs to whom the transcript belonged, or its directory."""
    changes: list[Callable[[], object]] = [theirs.unlink, lambda: os.truncate(theirs, 3)]
    for change in changes:
        change()
        place.restore(mark, theirs)
        assert (theirs.stat().st_uid, theirs.stat().st_gid, theirs.read_bytes()) == (65534, 65534, TEXT)
