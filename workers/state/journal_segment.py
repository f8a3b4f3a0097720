"""A segment of the journal: one file of frames, what its last mark says, and how more is added to it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import attrs

from supervisor import Value

from .files import PRIVATE_FILE, StateWriteFailed, sync_directory, write_all
from .journal_frames import PIECE, Kind, Place, content, framed, frames, has_mark_after, last_frame, open_regular, read_at
from .model import StateInvalid, canonical
from .seal import SUFFIX as SEALED
from .seal import Seal

SUFFIX: Final = ".journal"
TAIL: Final = 64 * 1024
"""Bytes before the end of what is known that are compared to see that the transcript was only added to."""

_NAME: Final = re.compile(r"([0-9]{6})" + re.escape(SUFFIX) + f"({re.escape(SEALED)})?")


@attrs.frozen(repr=False, eq=False)
class Mark(Value):
    """A moment of a transcript: what has to be put together to have it as it was. Part of a snapshot.

    Attributes:
        segment: The number of the journal's segment, from 1.
        members: How many members of it.
        bytes: How many bytes of the transcript these are.
        running_hash: SHA-256 of the running hash before and the last member, in hexadecimal digits; empty for no members.
        torn_bytes: Bytes behind these: a last line without an end.
        torn_hash: SHA-256 of them; empty where there are none.
    """

    segment: int
    members: int = 0
    bytes: int = 0
    running_hash: str = ""
    torn_bytes: int = 0
    torn_hash: str = ""


@attrs.frozen(repr=False, eq=False)
class Known(Value):
    """What a mark on disk says beside the mark: how to tell the transcript that goes on from another one.

    Attributes:
        mark: The mark.
        device: Of the transcript's file.
        inode: Of the transcript's file.
        tail_bytes: How many bytes before the mark's `bytes` the hash is of.
        tail_hash: Their SHA-256.
    """

    mark: Mark
    device: int = 0
    inode: int = 0
    tail_bytes: int = 0
    tail_hash: str = ""

    def text(self) -> bytes:
        """As it is written."""
        mark = {field.name: getattr(self.mark, field.name) for field in attrs.fields(Mark) if field.name != "segment"}
        return canonical({**mark, **{field.name: getattr(self, field.name) for field in attrs.fields(Known) if field.name != "mark"}})

    @classmethod
    def of(cls, segment: int, text: bytes) -> Known:
        """From what is written.

        Raises:
            StateInvalid: It is something else.
        """
        try:
            found = json.loads(text)
            mark = Mark(segment, **{name: found[name] for name in ("members", "bytes", "running_hash", "torn_bytes", "torn_hash")})
            known = cls(mark, *(found[name] for name in ("device", "inode", "tail_bytes", "tail_hash")))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StateInvalid(f"it is damaged: no mark ({type(error).__name__})") from error
        numbers = (mark.members, mark.bytes, mark.torn_bytes, known.device, known.inode, known.tail_bytes)
        if not all(type(number) is int and number >= 0 for number in numbers) or known.tail_bytes > TAIL:
            raise StateInvalid("it is damaged: no mark (a number is none)")
        if not all(isinstance(one, str) for one in (mark.running_hash, mark.torn_hash, known.tail_hash)):
            raise StateInvalid("it is damaged: no mark (a hash is none)")
        return known


@attrs.frozen(repr=False, eq=False)
class Segment(Value):
    """A segment's file."""

    path: Path
    number: int
    sealed: bool

    @classmethod
    def new(cls, directory: Path, number: int, *, sealed: bool) -> Segment:
        """The one of that number, whether or not there is a file."""
        return cls(directory / f"{number:06d}{SUFFIX}{SEALED if sealed else ''}", number, sealed)

    @property
    def place(self) -> Place:
        """What its frames are authenticated with: the journal's name is the directory's."""
        return Place(self.path.parent.name, self.number)

    @contextlib.contextmanager
    def reading(self, seal: Seal | None) -> Iterator[tuple[int, Seal | None]]:
        """Its descriptor, and what opens its frames.

        Raises:
            StateInvalid: It cannot be read, or is encrypted and nothing is there to open it.
        """
        if self.sealed and seal is None:
            raise StateInvalid(f"{self.path} is encrypted; encryption.key says where its key is")
        try:
            fd = open_regular(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except OSError as error:
            raise StateInvalid(f"{self.path} cannot be read: {error.strerror or error}") from error
        try:
            yield fd, seal if self.sealed else None
        except OSError as error:
            raise StateInvalid(f"{self.path} cannot be read: {error.strerror or error}") from error
        finally:
            os.close(fd)

    def end(self, seal: Seal | None) -> tuple[Known, int, int] | None:
        """Where the next append goes: what the last mark says, the offset behind it, and the number of the next frame.

        What was written behind the last mark was never finished, and is overwritten.

        Returns:
            None where the file is damaged, does not open, or has no mark at all: nothing is added to it, and nothing of it overwritten.
        """
        with self.reading(seal) as (fd, opener):
            frame = last_frame(fd)
            if frame is None or frame.kind is not Kind.MARK:
                frame, offset = None, 0
                for one in frames(fd):
                    frame, offset = (one if one.kind is Kind.MARK else frame), one.end
                if frame is None and not os.fstat(fd).st_size:
                    return Known(Mark(self.number)), 0, 0
                if frame is None or has_mark_after(fd, offset):
                    return None
            try:
                known = Known.of(self.number, content(fd, self.place, frame, opener))
            except StateInvalid:
                return None
            return known, frame.end, frame.number + 1

    def member_sizes(self, seal: Seal | None, members: int) -> list[int]:
        """The bytes of each of its first members."""
        with self.reading(seal) as (fd, _):
            return [frame.raw_bytes for frame in frames(fd) if frame.kind is Kind.LINES][:members]


class Writer:
    """Adds frames behind an offset of a segment; what is not ended with a mark counts for nothing. A context manager.

    Raises:
        StateWriteFailed: It could not be written; what was there before is untouched.
    """

    def __init__(self, segment: Segment, seal: Seal | None, offset: int, number: int, owner: os.stat_result) -> None:
        self._segment, self._seal, self._offset, self._number, self._owner = segment, seal, offset, number, owner
        self._fd = -1

    def __enter__(self) -> Writer:
        path = self._segment.path
        try:
            self._fd = open_regular(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), PRIVATE_FILE)
            self._protect()
            os.ftruncate(self._fd, self._offset)
            os.lseek(self._fd, self._offset, os.SEEK_SET)
        except BaseException as error:
            self._close()
            if isinstance(error, OSError):
                raise StateWriteFailed(path, error) from error
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            # the disk may be full of what is of no use now
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._offset)
        self._close()

    def add(self, kind: Kind, raw: bytes) -> None:
        """Write one frame behind the others."""
        frame = framed(self._segment.place, kind, self._number, raw, self._seal)
        try:
            write_all(self._fd, frame)
        except OSError as error:
            raise StateWriteFailed(self._segment.path, error) from error
        self._number += 1

    def commit(self, known: Known) -> None:
        """Put what was added on disk, and then the mark that makes it count."""
        try:
            os.fsync(self._fd)
            self.add(Kind.MARK, known.text())
            os.fsync(self._fd)
            if self._offset == 0:
                sync_directory(self._segment.path.parent)
        except OSError as error:
            raise StateWriteFailed(self._segment.path, error) from error

    def _protect(self) -> None:
        if sys.platform == "win32":
            return
        # nobody may read it who may not read the transcript; we have to write to it all the same
        mode = (self._owner.st_mode & 0o400) | 0o200
        found = os.fstat(self._fd)
        if (found.st_uid, found.st_gid) != (self._owner.st_uid, self._owner.st_gid) and os.geteuid() == 0:
            os.fchown(self._fd, self._owner.st_uid, self._owner.st_gid)
        if found.st_mode & 0o7777 != mode:
            os.fchmod(self._fd, mode)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def segments(directory: Path) -> list[Segment]:
    """The segments of a journal, by number; where one is there plain and sealed, the sealed one, which took the plain one's place."""
    found: dict[int, Segment] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(directory)):
            match = _NAME.fullmatch(name)
            if match is not None:
                found[int(match[1])] = Segment(directory / name, int(match[1]), match[2] is not None)
    return [found[number] for number in sorted(found)]


def grown(running: str, member: bytes) -> str:
    """The running hash after one more member."""
    return sha256(bytes.fromhex(running) + member).hexdigest()


def goes_on(fd: int, found: os.stat_result, known: Known, segment: Segment, seal: Seal | None, *, thorough: bool) -> bool:
    """Whether a transcript begins with all that a mark has of it.

    It does when it is the same file, is no shorter, and its last known bytes are what they were; all of it is compared where it is
    another file, or where it is asked for.
    """
    mark = known.mark
    if found.st_size < mark.bytes:
        return False
    if sha256(read_at(fd, mark.bytes - known.tail_bytes, known.tail_bytes)).hexdigest() != known.tail_hash and mark.bytes:
        return False
    if not thorough and (found.st_dev, found.st_ino) == (known.device, known.inode):
        return True
    running, offset = "", 0
    for size in segment.member_sizes(seal, mark.members):
        running, offset = grown(running, read_at(fd, offset, size)), offset + size
    return (running, offset) == (mark.running_hash, mark.bytes)


def settled(fd: int, start: int, size: int) -> int:
    """Where the last line that has an end ends; a last line of more than a piece counts as ended."""
    at = size
    while at > start and size - at < PIECE:
        begin = max(start, at - 64 * 1024, size - PIECE)
        found = read_at(fd, begin, at - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        at = begin
    return start if size - start < PIECE else size
