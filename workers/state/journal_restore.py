"""Putting a transcript back: never over records that would be lost, never through a link, and never a part."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from .files import PRIVATE_FILE, StateWriteFailed, replacing, write_all
from .journal_frames import open_regular
from .model import StateInvalid

LONGEST: Final = 64 << 20
"""Bytes of a line beyond which it is not read to see whether it is a record, but taken for one."""

_BLOCK: Final = 1 << 20


class TranscriptIsNewer(StateInvalid):
    """The transcript that is there has records that would be lost."""


class _Same(Exception):
    """It is there already."""


def put_back(target: Path, pieces: Iterable[bytes], *, force: bool) -> Path | None:
    """Put what is rebuilt, piece by piece, in the place of a transcript; see `Journal.restore`.

    Raises:
        TranscriptIsNewer: There is one with records that would be lost, and `force` was not said.
        StateInvalid: It cannot be rebuilt, or the target is a link, no regular file, or somebody else's; it is untouched.
        StateWriteFailed: It could not be written; it is untouched.
    """
    before = _seen(target)
    mode = PRIVATE_FILE if before is None else stat.S_IMODE(before.st_mode) & PRIVATE_FILE
    kept = None
    try:
        with replacing(target, mode) as fd:
            for piece in pieces:
                write_all(fd, piece)
            _give(fd, target, before)
            if before is not None:
                kept = _make_way(target, fd, force=force)
            if not _is_unchanged(before, _seen(target)):
                raise StateInvalid(f"{target} is being written to; end what does, and try again")
    except _Same:
        return None
    except BaseException:
        with contextlib.suppress(OSError):
            # only while it still has its first name
            if kept is not None and os.path.samefile(kept, target):
                os.unlink(kept)
        raise
    return kept


def _make_way(target: Path, fd: int, *, force: bool) -> Path | None:
    """See whether the transcript that is there may be replaced; where it is kept, if it differs."""
    try:
        old = open_regular(target, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        raise StateInvalid(f"{target} cannot be read: {error.strerror or error}") from error
    with os.fdopen(old, "rb") as there, os.fdopen(os.dup(fd), "rb") as new:
        line, at = _parting(there, new)
        if at == os.fstat(old).st_size:
            if at == os.fstat(fd).st_size:
                raise _Same
            return None  # the beginning of what is put back
        if not force and _has_more(there, new, line):
            raise TranscriptIsNewer(f"{target} has records that this moment does not have; it is not replaced without being told to")
    return _kept_beside(target)


def _parting(there: BinaryIO, new: BinaryIO) -> tuple[int, int]:
    """Where two files part: the begin of that line, and the byte."""
    line = offset = 0
    there.seek(0)
    new.seek(0)
    while True:
        one, other = there.read(_BLOCK), new.read(_BLOCK)
        if one == other and one:
            ended = one.rfind(b"\n")
            line = line if ended < 0 else offset + ended + 1
            offset += len(one)
            continue
        same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
        ended = one.rfind(b"\n", 0, same)
        return line if ended < 0 else offset + ended + 1, offset + same


def _has_more(there: BinaryIO, new: BinaryIO, offset: int) -> bool:
    """Whether a file has a whole record, from an offset on, that the other does not have there."""
    new.seek(offset)
    known = {sha256(line.rstrip(b"\n")).digest() for line in iter(lambda: new.readline(LONGEST), b"")}
    there.seek(offset)
    return any(sha256(line.rstrip(b"\n")).digest() not in known and _is_record(line) for line in iter(lambda: there.readline(LONGEST), b""))


def _is_record(line: bytes) -> bool:
    if len(line) >= LONGEST:
        return True
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _kept_beside(target: Path) -> Path:
    """Give the file that is there a second name, which it keeps when its first one is taken."""
    number = 1
    while True:
        # no transcript by its name
        beside = target.with_name(f"{target.name}.replaced-{number}")
        try:
            os.link(target, beside)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise StateWriteFailed(beside, error) from error
        else:
            return beside


def _seen(target: Path) -> os.stat_result | None:
    try:
        found = os.lstat(target)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateInvalid(f"{target} cannot be looked at: {error.strerror or error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise StateInvalid(f"{target} is {'a link' if stat.S_ISLNK(found.st_mode) else 'no regular file'}, and is not replaced")
    if sys.platform != "win32" and os.geteuid() not in (0, found.st_uid):
        raise StateInvalid(f"{target} belongs to somebody else, and is not replaced")
    return found


def _is_unchanged(before: os.stat_result | None, now: os.stat_result | None) -> bool:
    if before is None or now is None:
        return before is now
    return (before.st_ino, before.st_size, before.st_mtime_ns) == (now.st_ino, now.st_size, now.st_mtime_ns)


def _give(fd: int, target: Path, before: os.stat_result | None) -> None:
    """As root: to whom the transcript belonged, or else the directory that it is in."""
    if sys.platform != "win32" and os.geteuid() == 0:
        owner = os.lstat(target.parent) if before is None else before
        os.fchown(fd, owner.st_uid, owner.st_gid)
