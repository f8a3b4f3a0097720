"""The journal of a transcript: append-only, incremental, and enough to have the transcript again as it was at any captured moment.

Each append writes what is new since the last one, in compressed members of at most 2 MiB, and a mark behind them. A transcript that did not
go on from what is known (it was truncated, replaced, or rewritten) begins a new segment, and so does one whose last segment is damaged or
does not open. A last line without an end is kept beside the members, for it may yet be completed or dropped. The memory that this takes
does not grow with the transcript.

All calls block; none belongs in an event loop. Appends of several processes wait for each other; readers wait for nobody.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

import attrs

from supervisor import Value

from .codec import decompress
from .files import StateWriteFailed, private_directory, replacing, sync_directory, write_all
from .journal_frames import PIECE, Frame, Kind, body, closed, content, frames, has_mark_after, open_regular, opened, read_at
from .journal_restore import put_back
from .journal_segment import TAIL, Known, Mark, Segment, Writer, goes_on, grown, segments, settled
from .lock import Lock, try_lock
from .model import StateInvalid
from .seal import Seal

PATIENCE: Final = 10.0
"""Seconds that an append waits for another one."""

__all__ = ["Journal", "JournalDamage", "Mark"]

_LOCK: Final = "lock"
_ATTEMPTS: Final = 3


class _Changed(Exception):
    """The transcript was cut while it was read."""


@attrs.frozen(repr=False, eq=False)
class JournalDamage(Value):
    """Where a journal cannot be read: marks of this segment with more than `members` members are lost."""

    segment: int
    members: int
    reason: str


class Journal:
    """The journal of one transcript.

    Args:
        directory: Its own; made by the first append. Its name is the journal's name, with which sealed members are bound.
        seal: Closes what is written; None writes it plainly, readable for at most those who may read the transcript.
    """

    def __init__(self, directory: Path | str, seal: Seal | None = None) -> None:
        self.directory = Path(directory).absolute()
        self._seal = seal

    def append(self, source: Path | str, *, thorough: bool = False, fresh: bool = False) -> Mark:
        """Write down what is new of a transcript; all of it is on disk when this returns. Nothing new writes nothing.

        A rewrite within the same file that keeps its last 64 KiB (of what was known) is only seen by a thorough look.

        Args:
            source: The transcript.
            thorough: Compare all that is known of it, and not its end only: 80 ms for 100 MB.
            fresh: Begin a new segment, whatever is there.

        Returns:
            The moment, for `rebuild`.

        Raises:
            OSError: The transcript cannot be read.
            StateInvalid: It is no regular file, belongs to somebody else, or is cut again and again while it is read.
            StateWriteFailed: It could not be written; all earlier marks are untouched.
        """
        fd = open_regular(Path(source))
        try:
            with self._locked():
                for _ in range(_ATTEMPTS):
                    with contextlib.suppress(_Changed):
                        return self._append(fd, Path(source), thorough, fresh)
        finally:
            os.close(fd)
        raise StateInvalid(f"{source} is cut again and again while it is read")

    def _append(self, fd: int, source: Path, thorough: bool, fresh: bool) -> Mark:
        found = os.fstat(fd)
        if sys.platform != "win32" and os.geteuid() not in (0, found.st_uid):
            raise StateInvalid(f"{source} belongs to somebody else, who would have to own its journal")
        segment, known, offset, number = self._where(fd, found, thorough, fresh)
        known_end = settled(fd, known.mark.bytes, found.st_size)
        torn = self._exactly(fd, known_end, found.st_size - known_end)
        torn_hash = sha256(torn).hexdigest() if torn else ""
        same = (known.mark.bytes, known.mark.torn_hash, known.device, known.inode) == (known_end, torn_hash, found.st_dev, found.st_ino)
        if same and number:
            return known.mark
        with Writer(segment, self._seal, offset, number, found) as writer:
            members, running = known.mark.members, known.mark.running_hash
            for at in range(known.mark.bytes, known_end, PIECE):
                piece = self._exactly(fd, at, min(PIECE, known_end - at))
                writer.add(Kind.LINES, piece)
                members, running = members + 1, grown(running, piece)
            if torn:
                writer.add(Kind.TORN, torn)
            tail = self._exactly(fd, max(0, known_end - TAIL), min(TAIL, known_end))
            mark = Mark(segment.number, members, known_end, running, len(torn), torn_hash)
            writer.commit(Known(mark, found.st_dev, found.st_ino, len(tail), sha256(tail).hexdigest()))
        return mark

    def _where(self, fd: int, found: os.stat_result, thorough: bool, fresh: bool) -> tuple[Segment, Known, int, int]:
        """The segment to add to, what is known of the transcript there, and the offset and the number of the next frame."""
        newest = next(reversed(segments(self.directory)), None)
        if newest is not None and not fresh and newest.sealed == (self._seal is not None):
            end = newest.end(self._seal)
            if end is not None and goes_on(fd, found, end[0], newest, self._seal, thorough=thorough):
                return newest, *end
        segment = Segment.new(self.directory, 1 if newest is None else newest.number + 1, sealed=self._seal is not None)
        return segment, Known(Mark(segment.number)), 0, 0

    @staticmethod
    def _exactly(fd: int, offset: int, count: int) -> bytes:
        data = read_at(fd, offset, count)
        if len(data) != count:
            raise _Changed
        return data

    def marks(self) -> tuple[Mark, ...]:
        """The moments that are written down, oldest first, as far as their segments can be read.

        Raises:
            StateInvalid: A segment cannot be read at all, or is encrypted with a key that is not there.
        """
        found: dict[Mark, None] = {}
        for segment in segments(self.directory):
            with segment.reading(self._seal) as (fd, opener):
                for frame in frames(fd):
                    if frame.kind is Kind.MARK:
                        found[Known.of(segment.number, content(fd, segment.place, frame, opener)).mark] = None
        return tuple(found)

    def covers(self) -> int:
        """Bytes of the transcript, in whole lines, that the newest segment has; 0 where it cannot be read. Takes no key."""
        total = marked = 0
        with contextlib.suppress(OSError, StateInvalid):
            newest = next(reversed(segments(self.directory)), None)
            if newest is None:
                return 0
            fd = open_regular(newest.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                for frame in frames(fd):
                    total += frame.raw_bytes if frame.kind is Kind.LINES else 0
                    marked = total if frame.kind is Kind.MARK else marked
            finally:
                os.close(fd)
        return marked

    def rebuild(self, mark: Mark, into: BinaryIO) -> None:
        """Write the transcript as it was.

        Raises:
            StateInvalid: The journal does not have that moment, or is damaged before it. What was written until then is of no use.
            OSError: It cannot be written.
        """
        with contextlib.closing(self.pieces(mark)) as pieces:
            for piece in pieces:
                into.write(piece)

    def pieces(self, mark: Mark) -> Generator[bytes, None, None]:
        """The transcript as it was, at most 2 MiB at a time.

        Raises:
            StateInvalid: The journal does not have that moment, or is damaged before it. What came until then is of no use.
        """
        segment = self._segment(mark.segment)
        with segment.reading(self._seal) as (fd, opener):
            running, members = "", 0
            if mark.members == 0 and mark.torn_bytes == 0:
                return
            for frame in frames(fd):
                if frame.kind is Kind.MARK or (frame.kind is Kind.TORN and members < mark.members):
                    continue
                if frame.kind is Kind.LINES and members == mark.members:
                    break
                try:
                    raw = content(fd, segment.place, frame, opener)
                except StateInvalid as error:
                    raise StateInvalid(f"{segment.path}: member {members + 1}: {error}") from error
                if frame.kind is Kind.LINES:
                    running, members = grown(running, raw), members + 1
                    if members == mark.members and running != mark.running_hash:
                        raise StateInvalid(f"{segment.path} has another transcript than the one that was captured")
                    yield raw
                    if members == mark.members and mark.torn_bytes == 0:
                        return
                elif sha256(raw).hexdigest() == mark.torn_hash:
                    yield raw
                    return
        what = f"it was damaged or cut: {members} of {mark.members} members are there"
        raise StateInvalid(f"{segment.path} does not have this moment ({what})")

    def restore(self, mark: Mark, target: Path | str, force: bool = False, *, torn: bool = True) -> Path | None:
        """Put the transcript back as it was. Nobody may be writing to it.

        A transcript that is there is replaced when it has no record that would be lost by that: when it is the beginning of what is put
        back, or damaged. Where it differs at all, it is kept beside.

        Args:
            mark: The moment.
            target: The transcript's path.
            force: Replace also one that has records of its own.
            torn: Also put back a last line without an end; without, the transcript is repaired by leaving it out.

        Returns:
            Where the one that was replaced is kept; None where nothing had to be.

        Raises:
            TranscriptIsNewer: There is one with records that this moment does not have, and `force` was not said.
            StateInvalid: The moment cannot be rebuilt, or the target is a link, no regular file, or somebody else's; it is untouched.
            StateWriteFailed: It could not be written; it is untouched.
        """
        moment = mark if torn else attrs.evolve(mark, torn_bytes=0, torn_hash="")
        with contextlib.closing(self.pieces(moment)) as pieces:
            return put_back(Path(target), pieces, force=force)

    def verify(self) -> tuple[JournalDamage, ...]:
        """Read everything, and say what is damaged; after that, `append` should be told to begin afresh."""
        return tuple(damage for segment in segments(self.directory) if (damage := self._damage(segment)) is not None)

    def _damage(self, segment: Segment) -> JournalDamage | None:
        running, members, offset = "", 0, 0
        try:
            with segment.reading(self._seal) as (fd, opener):
                for frame in frames(fd):
                    raw, offset = content(fd, segment.place, frame, opener), frame.end
                    if frame.kind is Kind.LINES:
                        running, members = grown(running, raw), members + 1
                    elif frame.kind is Kind.MARK:
                        mark = Known.of(segment.number, raw).mark
                        if (mark.members, mark.running_hash) != (members, running):
                            return JournalDamage(segment.number, members, "the running hash is another")
                if has_mark_after(fd, offset):
                    return JournalDamage(segment.number, members, f"{segment.path} cannot be read from byte {offset} on")
        except StateInvalid as error:
            return JournalDamage(segment.number, members, str(error))
        return None

    def reseal(self) -> int:
        """Encrypt anew, with the key that closes now, each segment in which something is plain or under an older key.

        Returns:
            How many segments that were.

        Raises:
            StateInvalid: There is nothing to close with, or a segment is damaged or does not open; it is as it was, those before are done.
            StateWriteFailed: It could not be written; the same.
        """
        seal = self._seal
        if seal is None:
            raise StateInvalid("nothing to encrypt with; encryption.key says where a key is")
        with self._locked():
            return sum(self._reseal(segment, seal) for segment in segments(self.directory))

    def _reseal(self, segment: Segment, seal: Seal) -> bool:
        target = Segment.new(self.directory, segment.number, sealed=True)
        plain = Segment.new(self.directory, segment.number, sealed=False).path
        with segment.reading(seal) as (fd, opener):
            found = list(frames(fd))
            if has_mark_after(fd, found[-1].end if found else 0):
                raise StateInvalid(f"{segment.path} is damaged, and stays as it is")
            if opener is None or not all(opener.is_current(body(fd, frame)) for frame in found):
                mode = os.fstat(fd).st_mode & 0o600
                with replacing(target.path, mode) as into:
                    for frame in found:
                        write_all(into, self._resealed(fd, segment, frame, opener, seal))
            elif not plain.exists():
                return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(plain)  # also one that a kill had left beside its successor
        sync_directory(self.directory)
        return True

    @staticmethod
    def _resealed(fd: int, segment: Segment, frame: Frame, opener: Seal | None, seal: Seal) -> bytes:
        packed = opened(body(fd, frame), segment.place, frame, opener)
        decompress(packed, frame.raw_bytes)  # what is damaged is not sealed as if it were whole
        return closed(frame.kind, frame.number, seal.sealed(packed, segment.place.header(frame.kind, frame.number)), frame.raw_bytes)

    def prune(self, keep: Iterable[Mark]) -> int:
        """Remove the segments that no mark of these needs; never the newest one.

        Returns:
            The bytes that were freed.

        Raises:
            StateWriteFailed: One cannot be removed.
        """
        needed, freed = {mark.segment for mark in keep}, 0
        with self._locked():
            for segment in segments(self.directory)[:-1]:
                if segment.number not in needed:
                    try:
                        size = os.stat(segment.path).st_size
                        os.unlink(segment.path)
                    except OSError as error:
                        raise StateWriteFailed(segment.path, error) from error
                    freed += size
        return freed

    def _segment(self, number: int) -> Segment:
        for segment in segments(self.directory):
            if segment.number == number:
                return segment
        raise StateInvalid(f"{self.directory} has no segment {number}")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Lock]:
        private_directory(self.directory, self.directory.parent)
        path, deadline = self.directory / _LOCK, time.monotonic() + PATIENCE
        while (lock := try_lock(path)) is None:
            if time.monotonic() >= deadline:
                raise StateWriteFailed(path, OSError(errno.ETIMEDOUT, "another process is still writing to the journal"))
            time.sleep(0.005)
        try:
            yield lock
        finally:
            lock.release()
