"""Transcripts that were damaged, and what is made of them: nothing that can be read is lost, and what is replaced is kept."""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.claude import transcript_repair
from workers.claude.transcript_repair import NothingToRepair, is_readable, repair, trouble_of
from workers.event_transcript import Repair, Trouble
from workers.state.files import StateWriteFailed
from workers.state.journal import Journal
from workers.state.keys import Keys
from workers.state.model import StateInvalid
from workers.state.seal import KeySeal

from ..transcripts import answered, conversation, said

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes of POSIX")
NAME = "aaaaaaaa-0000-4000-8000-000000000001.jsonl"
LINES = [answered("yes") if number % 2 else said(f"question {number}") for number in range(6)]
LINES = [line if line.endswith(b"\n") else line + b"\n" for line in LINES]
NEWER = said("newer").rstrip(b"\n") + b"\n"
NOTE = b'{"type":"queue-operation","operation":"enqueue"}\n'


class Stage:
    """A transcript with some lines, and its journal."""

    def __init__(self, folder: Path, seal: KeySeal | None = None) -> None:
        (folder / "project").mkdir()
        self.path = folder / "project" / NAME
        self.journal = Journal(folder / "journal", seal)

    def write(self, data: bytes, *, journalled: bytes | None = None) -> None:
        """Have the transcript be this, and have had that when it was captured."""
        if journalled is not None:
            self.path.write_bytes(journalled)
            self.journal.append(self.path)
        self.path.write_bytes(data)
        self.path.chmod(0o400 | 0o200)

    @property
    def trouble(self) -> Trouble | None:
        """What is seen of it."""
        return trouble_of(self.path if self.path.exists() else None, self.journal.covers())

    @property
    def beside(self) -> dict[str, bytes]:
        """What is kept of it."""
        return {path.name.removeprefix(NAME): path.read_bytes() for path in self.path.parent.iterdir() if path != self.path}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


ALL = b"".join(LINES)
TORN = NEWER[:-9]
CASES: dict[str, tuple[bytes, bytes | None, Trouble, Repair, bytes, dict[str, bytes]]] = {
    # what is there, what was captured, what is wrong with it, what is done, what is there then, and what is kept
    "torn": (ALL + TORN, None, Trouble.TORN, Repair.CUT, ALL, {".torn-1": TORN}),
    "torn behind what was captured": (ALL + TORN, ALL, Trouble.TORN, Repair.CUT, ALL, {".torn-1": TORN}),
    "torn within what was captured": (ALL[:-30], ALL, Trouble.TORN, Repair.RESTORED, ALL, {}),
    "zeros at its end": (ALL + bytes(4096), None, Trouble.TORN, Repair.CUT, ALL, {".torn-1": bytes(4096)}),
    "zeros where there was something": (
        ALL[:-30] + bytes(30),
        ALL,
        Trouble.TORN,
        Repair.RESTORED,
        ALL,
        {".replaced-1": ALL[:-30] + bytes(30)},
    ),
    "a newline short": (ALL + NEWER[:-1], ALL, Trouble.TORN, Repair.ENDED, ALL + NEWER, {}),
    "short": (b"".join(LINES[:3]), ALL, Trouble.SHORT, Repair.RESTORED, ALL, {}),
    "empty": (b"", ALL, Trouble.SILENT, Repair.RESTORED, ALL, {}),
    "zeros": (bytes(len(ALL)), ALL, Trouble.SILENT, Repair.RESTORED, ALL, {".replaced-1": bytes(len(ALL))}),
    "notes alone": (NOTE, ALL, Trouble.SILENT, Repair.RESTORED, ALL + NOTE, {".replaced-1": NOTE}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_damaged_is_repaired(stage: Stage, case: tuple[Any, ...]) -> None:
    """From the journal where that has it, and by what is whole where it has not; who may read it is who might before."""
    there, captured, trouble, how, repaired, kept = case
    stage.write(there, journalled=captured)
    assert stage.trouble is trouble
    done = repair(case[2], stage.path, stage.journal)
    assert (done.how, stage.path.read_bytes(), stage.beside) == (how, repaired, kept)
    assert stat.S_IMODE(stage.path.stat().st_mode) == 0o600 and stage.trouble is None
    assert [done.kept.name.removeprefix(NAME)] == list(kept) if done.kept is not None else not kept
    for other in stage.path.parent.iterdir():
        assert stat.S_IMODE(other.stat().st_mode) == 0o600


def test_one_that_is_gone_comes_back(stage: Stage) -> None:
    """With its directory, when that went, too."""
    stage.write(ALL, journalled=ALL)
    stage.path.unlink()
    stage.path.parent.rmdir()
    assert stage.trouble is Trouble.MISSING
    assert repair(Trouble.MISSING, stage.path, stage.journal).kept is None
    assert stage.path.read_bytes() == ALL and stat.S_IMODE(stage.path.stat().st_mode) == 0o600


def test_what_was_captured_when_it_was_damaged_already_is_passed_over(stage: Stage) -> None:
    """The journal goes on in a new segment then; the one before has it."""
    stage.write(bytes(500) + b"\n", journalled=ALL)
    stage.journal.append(stage.path)
    assert stage.trouble == Trouble.SILENT
    repair(Trouble.SILENT, stage.path, stage.journal)
    assert stage.path.read_bytes() == ALL


def test_nothing_is_restored_over_what_the_program_has_rewritten(stage: Stage) -> None:
    """It takes back its last lines sometimes, and writes others: that is shorter, and no damage."""
    there = LINES[0] + NEWER
    stage.write(there, journalled=ALL)
    assert stage.trouble is Trouble.SHORT
    with pytest.raises(NothingToRepair):
        repair(Trouble.SHORT, stage.path, stage.journal)
    assert stage.path.read_bytes() == there and stage.beside == {}


def test_without_a_journal_what_is_gone_is_gone(stage: Stage) -> None:
    """That is said, and what is there stays."""
    for trouble, there in ((Trouble.SILENT, bytes(100)), (Trouble.MISSING, None)):
        if there is not None:
            stage.write(there)
        else:
            stage.path.unlink()
        for journal in (None, stage.journal):
            with pytest.raises(StateInvalid, match=r"journal"):
                repair(trouble, stage.path, journal)
        assert stage.beside == {} and (there is None or stage.path.read_bytes() == there)


BROKEN = [
    b'{"type":"assistant","uuid":"x","message":{"role":"assistant","content":null}}\n',
    b'{"type":"user","uuid":"x"}\n',
    b'{"type":"user","message":{"content":[1]}}\n',
    b'{"type":"user","message":{"content":[{"type":"text"}]}}\n',
    b'{"type":"user","timestamp":"x","message":{"content":"x"}}\n',
    b'{"type":"user","messa\n',
    b"\xff\xfe\n",
    b"7\n",
]


@pytest.mark.parametrize("broken", BROKEN)
def test_what_a_program_refuses_is_sifted(stage: Stage, broken: bytes) -> None:
    """Lines over which one ends are left out, or are again what they were when they were captured; the rest stays as it is."""
    assert not is_readable(broken)
    there = ALL + broken + NEWER
    stage.write(there, journalled=ALL)
    assert repair(Trouble.REFUSED, stage.path, stage.journal).how is Repair.SIFTED
    assert stage.path.read_bytes() == ALL + NEWER and stage.beside == {".replaced-1": there}

    damaged = b"".join([*LINES[:2], broken, *LINES[3:]]) + NEWER
    stage.write(damaged)
    assert repair(Trouble.REFUSED, stage.path, stage.journal).how is Repair.RESTORED
    assert stage.path.read_bytes() == ALL + NEWER and stage.beside[".replaced-2"] == damaged
    with pytest.raises(NothingToRepair):
        repair(Trouble.REFUSED, stage.path, stage.journal)
    assert len(stage.beside) == 2


def test_what_programs_write_is_readable() -> None:
    """All of it, whatever its kind."""
    assert all(map(is_readable, [*conversation(1, 300), *LINES, NOTE, b'{"type":"summary","summary":"x"}']))


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 400), st.binary(max_size=12), st.booleans())
def test_no_record_is_ever_lost(written: int, captured: int, cut: int, rubbish: bytes, thorough: bool) -> None:
    """However far it was written, captured, cut and spoilt: each whole record that is there, or was captured, is there afterwards."""
    lines = [*LINES, NEWER, NOTE]
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        whole = b"".join(lines[:written])
        there = (whole[: len(whole) - cut] if cut < len(whole) else whole) + rubbish
        stage.write(there, journalled=b"".join(lines[:captured]) if captured else None)
        trouble = Trouble.REFUSED if thorough else stage.trouble
        if trouble is None:
            return
        try:
            repair(trouble, stage.path, stage.journal)
        except (NothingToRepair, StateInvalid):
            assert stage.path.read_bytes() == there
            return
        now = stage.path.read_bytes()
        found = {line + b"\n" for line in now.split(b"\n") if line}
        assert not now or now.endswith(b"\n")
        assert {line + b"\n" for line in there.split(b"\n") if is_readable(line)} <= found
        if trouble in (Trouble.SILENT, Trouble.SHORT, Trouble.REFUSED):
            assert set(lines[:captured]) <= found
        assert trouble_of(stage.path, 0) in (None, Trouble.SILENT)


FAULTY = ("open", "write", "fsync", "ftruncate", "link", "replace", "fchmod", "makedirs")


@pytest.mark.parametrize("name", ["torn", "torn within what was captured", "zeros", "notes alone", "a newline short"])
def test_a_disk_that_is_full_changes_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whichever call fails: what is there is what was there, or what it should be, and nothing is left lying about."""
    there, captured, trouble, _, repaired, _ = CASES[name]
    stage.write(there, journalled=captured)
    calls = 0

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number:
                raise OSError(errno.ENOSPC, "No space left on device", "x")
            return real(*args, **more)

        return call

    failed = 0
    for number in range(1, 100):
        calls = 0
        stage.path.write_bytes(there)
        for other in list(stage.path.parent.iterdir()):
            if other != stage.path:
                other.unlink()
        with monkeypatch.context() as patched:
            for function in FAULTY:
                patched.setattr(os, function, failing(getattr(os, function)))
            try:
                repair(trouble, stage.path, stage.journal)
            except (StateInvalid, StateWriteFailed, OSError):
                failed += 1
            else:
                if calls < number:
                    break
        now = stage.path.read_bytes()
        # where the journal cannot be read, what is whole stays
        assert now in (there, repaired, there[: there.rfind(b"\n") + 1] if trouble is Trouble.TORN else there)
        if now == there:
            assert all(not (rest.endswith(".tmp") or rest.startswith(".replaced")) for rest in stage.beside), stage.beside
    assert failed >= 2 and stage.path.read_bytes() == repaired


def test_who_owns_it_owns_what_is_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the guardian runs as somebody else, who may do that."""
    given_to: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda fd, uid, gid: given_to.append((uid, gid)))
    stage.write(ALL + TORN)
    repair(Trouble.TORN, stage.path, None)
    found = stage.path.stat()
    assert given_to == [(found.st_uid, found.st_gid)]


def test_a_line_without_measure_is_not_read(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no line of a transcript, and stays."""
    monkeypatch.setattr(transcript_repair, "LONGEST", 1000)
    stage.write(ALL + b"x" * 2000)
    for trouble in (Trouble.TORN, Trouble.REFUSED):
        with pytest.raises(StateInvalid):
            repair(trouble, stage.path, None)
    assert stage.path.read_bytes() == ALL + b"x" * 2000


def test_a_link_is_not_followed(stage: Stage, tmp_path: Path) -> None:
    """Somebody else may have put it there."""
    other = tmp_path / "other"
    other.write_bytes(ALL + TORN)
    stage.path.symlink_to(other)
    for trouble in (Trouble.TORN, Trouble.REFUSED):
        with pytest.raises((OSError, StateInvalid)):
            repair(trouble, stage.path, None)
    assert other.read_bytes() == ALL + TORN


def test_a_journal_that_is_encrypted(tmp_path: Path) -> None:
    """What it has is seen without its key; to put it back takes that, and without it what is there stays as it is."""
    pytest.importorskip("cryptography")
    stage = Stage(tmp_path, KeySeal(Keys((bytes(32),))))
    stage.write(b"", journalled=ALL)
    without = Journal(stage.journal.directory)
    assert without.covers() == len(ALL)
    with pytest.raises(StateInvalid, match="encrypted"):
        repair(Trouble.SILENT, stage.path, without)
    assert stage.path.read_bytes() == b"" and stage.beside == {}
    repair(Trouble.SILENT, stage.path, stage.journal)
    assert stage.path.read_bytes() == ALL


def test_what_a_journal_has(stage: Stage) -> None:
    """As far as it was finished: how many bytes, in whole lines."""
    assert stage.journal.covers() == 0
    stage.write(ALL + TORN, journalled=ALL + TORN)
    assert stage.journal.covers() == len(ALL)
    (segment,) = stage.journal.directory.glob("*.journal*")
    segment.write_bytes(segment.read_bytes()[:-5])
    assert stage.journal.covers() == 0
