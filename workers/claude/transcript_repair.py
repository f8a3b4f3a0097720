"""Looks at a transcript before a life goes on with it, and repairs it.

What is put back comes from the journal; what is newer than that is never lost, and what is replaced is kept beside. Nobody may be writing
to the transcript meanwhile: whoever repairs it holds the lock of its conversation, and no life of its leaf runs.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor import Value

from ..event_transcript import Repair, Trouble
from ..state.files import PRIVATE_FILE, StateWriteFailed, write_all
from ..state.journal import Journal, Mark
from ..state.journal_frames import open_regular
from ..state.journal_restore import TranscriptIsNewer, put_back
from ..state.model import StateInvalid
from ..state.transcript import TranscriptUnreadable, end_of_lines, opened
from .on_disk import OnDisk, has_talk, on_disk

LONGEST: Final = 64 << 20
"""Bytes of a line beyond which a transcript is not repaired: nobody writes such a line."""

_TALK: Final = frozenset({"user", "assistant"})


@attrs.frozen(repr=False, eq=False)
class Repaired(Value):
    """What was done to a transcript, see `TranscriptRepaired`."""

    how: Repair
    cut_bytes: int = 0
    kept: Path | None = None


class NotJournalled(StateInvalid):
    """There is nothing that it could be put back from."""


class NothingToRepair(Exception):
    """Nothing is wrong with it that could be repaired."""


def trouble_of(transcript: Path | None, journalled: int) -> Trouble | None:
    """What is wrong with a transcript, as far as that is seen at its beginning and its end. Blocks for a few reads.

    Args:
        transcript: The file; None when there is none.
        journalled: How many bytes of it, in whole lines, its journal has.
    """
    if transcript is None:
        return Trouble.MISSING
    if on_disk(transcript) is not OnDisk.TALK:
        return Trouble.SILENT
    try:
        with opened(transcript) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if file.read(1) != b"\n":
                return Trouble.TORN
    except TranscriptUnreadable:
        return None  # the program's to complain about
    return Trouble.SHORT if size < journalled else None


def repair(trouble: Trouble, target: Path, journal: Journal | None) -> Repaired:
    """Repair a transcript. Blocks: it may be large.

    Args:
        trouble: What is wrong with it.
        target: Its path, whether or not it is there.
        journal: Of it; None where nothing is journalled.

    Raises:
        NothingToRepair: It is as it should be, as far as can be told.
        NotJournalled: There is nothing that it could be put back from.
        StateInvalid: It cannot be repaired, and is untouched.
        StateWriteFailed: It could not be written, and is untouched.
        OSError: The same.
    """
    if trouble is Trouble.TORN:
        return _ended(target, journal)
    marks = () if journal is None else _marks(journal)
    if trouble is Trouble.SHORT:
        assert journal is not None
        for mark in marks:
            try:
                return Repaired(Repair.RESTORED, 0, journal.restore(mark, target, torn=False))
            except TranscriptIsNewer as error:
                raise NothingToRepair from error  # the program has rewritten it
        raise NothingToRepair
    if trouble is Trouble.REFUSED:
        return _sifted(target, journal, marks)
    for mark in marks:
        assert journal is not None
        if not _has_talk(journal, mark):
            continue  # it was journalled when it was damaged already
        os.makedirs(target.parent, 0o700, exist_ok=True)
        united = _United(journal, mark, target)
        return Repaired(Repair.RESTORED, 0, put_back(target, united.pieces(), force=True))
    raise NotJournalled("its journal does not have it" if journal is not None else "nothing of it is journalled")


def _marks(journal: Journal) -> Iterable[Mark]:
    """The last moment of each segment, without a line that had no end, the newest first."""
    latest = {mark.segment: mark for mark in journal.marks()}
    return [attrs.evolve(latest[number], torn_bytes=0, torn_hash="") for number in sorted(latest, reverse=True)]


def _has_talk(journal: Journal, mark: Mark) -> bool:
    with closing(journal.pieces(mark)) as pieces:
        return has_talk(line for line, _ in zip(_lines(pieces), range(10_000), strict=False))


def _ended(target: Path, journal: Journal | None) -> Repaired:
    """One whose last line has no end: the line is ended if it is whole, or put back from the journal, or cut off."""
    fd = open_regular(target, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        before = os.fstat(fd)
        with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
            whole = end_of_lines(file)
            if before.st_size - whole > LONGEST:
                raise StateInvalid(f"its last line has {before.st_size - whole} bytes")
            file.seek(whole)
            torn = file.read(before.st_size - whole)
        if not torn or before.st_size == whole:
            raise NothingToRepair
        if isinstance(_parsed(torn), dict):
            os.lseek(fd, 0, os.SEEK_END)
            write_all(fd, b"\n")
            os.fsync(fd)
            return Repaired(Repair.ENDED)
        restored = None if journal is None or journal.covers() <= whole else _restored(target, journal)
        if restored is not None:
            return restored
        kept = _kept(target, torn, before)
        now = os.fstat(fd)
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            with suppress(OSError):
                os.unlink(kept)
            raise StateInvalid("it is being written to; end what does, and try again")
        os.ftruncate(fd, whole)
        os.fsync(fd)
        return Repaired(Repair.CUT, len(torn), kept)
    finally:
        os.close(fd)


def _restored(target: Path, journal: Journal) -> Repaired | None:
    """From the journal, if that has all that is there; None where it has not, or cannot be read: what is there is worth more."""
    try:
        for mark in _marks(journal):
            return Repaired(Repair.RESTORED, 0, journal.restore(mark, target))
    except StateInvalid:
        return None
    return None


def _kept(target: Path, torn: bytes, owner: os.stat_result) -> Path:
    """Write what is about to be cut off beside, for whom the transcript is."""
    number = 1
    while True:
        beside = target.with_name(f"{target.name}.torn-{number}")  # no transcript by its name
        try:
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), PRIVATE_FILE)
        except FileExistsError:
            number += 1
            continue
        except OSError as error:
            raise StateWriteFailed(beside, error) from error
        try:
            if sys.platform != "win32":
                if os.geteuid() == 0:
                    os.fchown(fd, owner.st_uid, owner.st_gid)
                os.fchmod(fd, stat.S_IMODE(owner.st_mode) & PRIVATE_FILE)
            write_all(fd, torn)
            os.fsync(fd)
        except OSError as error:
            with suppress(OSError):
                os.unlink(beside)
            raise StateWriteFailed(beside, error) from error
        finally:
            os.close(fd)
        return beside


def _sifted(target: Path, journal: Journal | None, marks: Iterable[Mark]) -> Repaired:
    """One that the program refuses: lines that no program can read are left out, or put back as the journal has them."""
    united = _United(journal, next(iter(marks), None), target)
    kept = put_back(target, united.pieces(sift=True), force=True)
    return Repaired(Repair.RESTORED if united.put_back else Repair.SIFTED, 0, kept)


class _United:
    """What the journal has of a transcript, and behind it what is newer; or without a journal what is there.

    Attributes:
        put_back: How many lines were there no more.
        left_out: How many were there and are not taken.
    """

    def __init__(self, journal: Journal | None, mark: Mark | None, target: Path) -> None:
        self._journal, self._mark, self._target = journal, mark, target
        self.put_back = self.left_out = 0

    def pieces(self, *, sift: bool = False) -> Iterator[bytes]:
        """Its lines.

        Args:
            sift: Also leave out lines that no program can read, and raise where that changes nothing.

        Raises:
            NothingToRepair: See `sift`.
            StateInvalid: The journal is damaged, or a line is too long.
        """
        there = {_hash(line) for line in self._there()}
        known: set[bytes] = set()
        if self._journal is not None and self._mark is not None:
            with closing(self._journal.pieces(self._mark)) as pieces:
                for line in _lines(pieces):
                    if sift and not is_readable(line):
                        continue
                    digest = _hash(line)
                    known.add(digest)
                    self.put_back += digest not in there
                    yield line
        for line in self._there():
            if _hash(line) in known:
                continue
            if not (is_readable(line) if sift else isinstance(_parsed(line), dict)):
                self.left_out += 1
                continue
            yield line if line.endswith(b"\n") else line + b"\n"
        if sift and not self.put_back and not self.left_out:
            raise NothingToRepair

    def _there(self) -> Iterator[bytes]:
        try:
            fd = open_regular(self._target, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:
            return
        with os.fdopen(fd, "rb") as file:
            while line := file.readline(LONGEST):
                if len(line) >= LONGEST:
                    raise StateInvalid(f"it has a line of more than {LONGEST} bytes")
                yield line


def is_readable(line: bytes) -> bool:
    """Whether a line of a transcript is what programs take for a record; 2.0.77 ends over a message that is none."""
    record = _parsed(line)
    if not isinstance(record, dict):
        return False
    time = record.get("timestamp")
    if time is not None:
        try:
            datetime.fromisoformat(time)
        except (ValueError, TypeError):
            return False
    return record.get("type") not in _TALK or _is_message(record.get("message"))


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    content = message.get("content")
    if isinstance(content, str):
        return True
    return isinstance(content, list) and all(isinstance(block, dict) and _is_block(block) for block in content)


def _is_block(block: dict[str, Any]) -> bool:
    return isinstance(block.get("type"), str) and (block["type"] != "text" or isinstance(block.get("text"), str))


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines of what comes in pieces, each with its end; a last one without is left out."""
    rest: list[bytes] = []
    held = 0
    for piece in pieces:
        first, *more = piece.split(b"\n")
        rest.append(first)
        held += len(first)
        if held >= LONGEST:
            raise StateInvalid(f"its journal has a line of more than {LONGEST} bytes")
        if more:
            yield b"".join(rest) + b"\n"
            *whole, last = more
            yield from (line + b"\n" for line in whole)
            rest, held = [last], len(last)


def _hash(line: bytes) -> bytes:
    return sha256(line.rstrip(b"\n")).digest()


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
