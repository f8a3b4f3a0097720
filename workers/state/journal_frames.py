"""Frames: of what a segment of the journal is made.

A frame is a head, a body, and a foot, all of it checksummed, so that a file can be read from its front and from its end::

    "MGJ1"  kind  number  bytes of the body  bytes unpacked  CRC-32 of the body  CRC-32 of the head  |  body  |  bytes of the frame  "1JGM"

Numbers begin at 0 in each segment. Kinds: some lines of the transcript, a torn last line, and the mark that ends an append.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final

import attrs

from supervisor import Value

from .codec import compress, decompress
from .model import StateInvalid
from .seal import Seal

PIECE: Final = 2 << 20
"""Bytes of the transcript in a frame, at most."""
FORMAT: Final = "1"

_MAGIC, _MAGIC_END = b"MGJ1", b"1JGM"
_HEAD: Final = struct.Struct(">4scIIIII")
_FOOT: Final = struct.Struct(">I4s")
_LARGEST_RAW: Final = PIECE
_LARGEST: Final = 2 * PIECE
_SEARCHED: Final = 1 << 16


class Kind(Enum):
    """What is in a frame; the letter is what is written."""

    LINES = b"L"
    TORN = b"T"
    MARK = b"M"


@attrs.frozen(repr=False, eq=False)
class Frame(Value):
    """A frame's place; `raw_bytes` is what its body unpacks to."""

    kind: Kind
    number: int
    start: int
    body_bytes: int
    raw_bytes: int
    crc: int

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.start + _HEAD.size + self.body_bytes + _FOOT.size


@attrs.frozen(repr=False, eq=False)
class Place(Value):
    """A segment of a journal: what its frames are authenticated with where they are sealed."""

    journal: str
    segment: int

    def header(self, kind: Kind, number: int) -> dict[str, str]:
        """What a frame is."""
        what = {"frame": str(number), "kind": kind.name.lower(), "format": FORMAT}
        return {"journal": self.journal, "segment": str(self.segment), **what}


def framed(place: Place, kind: Kind, number: int, raw: bytes, seal: Seal | None) -> bytes:
    """A whole frame with this content."""
    body = compress(raw)
    return closed(kind, number, body if seal is None else seal.sealed(body, place.header(kind, number)), len(raw))


def closed(kind: Kind, number: int, body: bytes, raw_bytes: int) -> bytes:
    """A whole frame around a body that is ready."""
    head = _HEAD.pack(_MAGIC, kind.value, number, len(body), raw_bytes, zlib.crc32(body), 0)[:-4]
    return b"".join([head, struct.pack(">I", zlib.crc32(head)), body, _FOOT.pack(_HEAD.size + len(body) + _FOOT.size, _MAGIC_END)])


def content(fd: int, place: Place, frame: Frame, seal: Seal | None) -> bytes:
    """What is in a frame.

    Raises:
        StateInvalid: It is damaged, or does not open.
    """
    data = decompress(opened(body(fd, frame), place, frame, seal), frame.raw_bytes)
    if len(data) != frame.raw_bytes:
        raise StateInvalid("it is damaged: it unpacks to less than it should")
    return data


def body(fd: int, frame: Frame) -> bytes:
    """The body of a frame as it is on disk.

    Raises:
        StateInvalid: It is damaged.
    """
    data = read_at(fd, frame.start + _HEAD.size, frame.body_bytes)
    if len(data) != frame.body_bytes or zlib.crc32(data) != frame.crc:
        raise StateInvalid("it is damaged: the checksum does not match")
    return data


def opened(data: bytes, place: Place, frame: Frame, seal: Seal | None) -> bytes:
    """A frame's body without its seal."""
    return data if seal is None else seal.opened(data, place.header(frame.kind, frame.number))


def frames(fd: int) -> Iterator[Frame]:
    """The frames from the front, as far as they are whole and in order; bodies are not looked at."""
    size, number, at = os.fstat(fd).st_size, 0, 0
    while (frame := _at(fd, at, size)) is not None and frame.number == number:
        yield frame
        number, at = number + 1, frame.end


def last_frame(fd: int) -> Frame | None:
    """The frame that ends where the file does; None where there is none."""
    size = os.fstat(fd).st_size
    foot = read_at(fd, size - _FOOT.size, _FOOT.size) if size >= _FOOT.size + _HEAD.size else b""
    if len(foot) != _FOOT.size:
        return None
    length, magic = _FOOT.unpack(foot)
    frame = _at(fd, size - length, size) if magic == _MAGIC_END and length <= size else None
    return frame if frame is not None and frame.end == size else None


def has_mark_after(fd: int, offset: int) -> bool:
    """Whether a whole mark is somewhere behind an offset: then what is there is no append that was cut short, but damage."""
    size, wanted = os.fstat(fd).st_size, _MAGIC + Kind.MARK.value
    while offset < size:
        data = read_at(fd, offset, _SEARCHED + len(wanted) - 1)
        at = data.find(wanted)
        while at >= 0:
            if _at(fd, offset + at, size) is not None:
                return True
            at = data.find(wanted, at + 1)
        offset += _SEARCHED
    return False


def read_at(fd: int, offset: int, count: int) -> bytes:
    """Bytes of a file; fewer where it ends before."""
    os.lseek(fd, offset, os.SEEK_SET)
    data = os.read(fd, count)
    if len(data) == count or not data:
        return data
    parts = [data]
    missing = count - len(data)
    while missing and (data := os.read(fd, missing)):
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: int = 0) -> int:
    """Open a file that must be a regular one; nothing waits on a pipe, and nothing inherits it.

    Raises:
        OSError: It cannot be opened.
        StateInvalid: It is something else.
    """
    for name in ("O_CLOEXEC", "O_NONBLOCK", "O_BINARY", "O_NOCTTY"):
        flags |= getattr(os, name, 0)
    fd = os.open(path, flags, mode)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise StateInvalid(f"{path} is no regular file")
    return fd


def _at(fd: int, offset: int, size: int) -> Frame | None:
    data = read_at(fd, offset, _HEAD.size)
    if len(data) != _HEAD.size:
        return None
    magic, letter, number, length, raw_bytes, crc, head_crc = _HEAD.unpack(data)
    if magic != _MAGIC or zlib.crc32(data[:-4]) != head_crc or raw_bytes > _LARGEST_RAW or length > _LARGEST:
        return None
    try:
        frame = Frame(Kind(letter), number, offset, length, raw_bytes, crc)
    except ValueError:
        return None
    whole = frame.end <= size and read_at(fd, frame.end - _FOOT.size, _FOOT.size) == _FOOT.pack(frame.end - offset, _MAGIC_END)
    return frame if whole else None
