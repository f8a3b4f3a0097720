"""Compression of what is kept: gzip everywhere, zstd where its extra is installed; what was written is told by its first bytes."""

from __future__ import annotations

import zlib
from types import ModuleType
from typing import Final

from .model import StateInvalid

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"

_GZIP_LEVEL: Final = 1  # six times as fast as level 6, for a seventh more bytes
_ZSTD_LEVEL: Final = 3
_EMPTY: Final = 32  # bytes of a frame with nothing in it, at most
_WBITS: Final = 31  # zlib with gzip's frame, without a name and a time: the same bytes each time

_zstd: ModuleType | None = None
_asked = False


def compress(data: bytes) -> bytes:
    """Some data as one frame of zstd, or of gzip where the extra `zstd` is not installed; both carry a checksum of the data."""
    zstd = _zstandard()
    if zstd is None:
        return zlib.compress(data, _GZIP_LEVEL, _WBITS)
    packed: bytes = zstd.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compress(data)
    return packed


def decompress(blob: bytes, limit: int) -> bytes:
    """The data of one frame; memory beyond `limit` bytes is never asked for, however much the frame would unpack to.

    Raises:
        StateInvalid: It is neither gzip nor zstd, is incomplete, damaged or followed by something, or unpacks to more than `limit` bytes;
            or it is zstd, and the extra is not installed.
    """
    if blob.startswith(ZSTD):
        return _of_zstd(blob, limit)
    if blob.startswith(GZIP):
        return _of_gzip(blob, limit)
    raise StateInvalid("it is damaged: neither gzip nor zstd")


def suffix() -> str:
    """What ends the name of a file that `compress` makes: ``.zst`` or ``.gz``."""
    return ".gz" if _zstandard() is None else ".zst"


def _of_gzip(blob: bytes, limit: int) -> bytes:
    unpacking = zlib.decompressobj(_WBITS)
    try:
        data = unpacking.decompress(blob, limit + 1)
    except zlib.error as error:
        raise StateInvalid(f"it is damaged: {error}") from error
    if len(data) > limit:
        raise StateInvalid(f"it unpacks to more than {limit} bytes")
    if not unpacking.eof and not unpacking.unconsumed_tail:
        raise StateInvalid("it is damaged: it ends too early")
    if not unpacking.eof or unpacking.unused_data:
        raise StateInvalid("it is damaged: something follows its end")
    return data


def _of_zstd(blob: bytes, limit: int) -> bytes:
    zstd = _zstandard()
    if zstd is None:
        raise StateInvalid("it is packed with zstd, which needs the extra: pip install 'memory-guardian[zstd]'")
    try:
        # said before anything is unpacked; we always write it
        size = zstd.frame_content_size(blob)
        if size < 0:
            raise StateInvalid("it is damaged: it does not say its size")
        if size > limit:
            raise StateInvalid(f"it unpacks to more than {limit} bytes")
        data: bytes = zstd.ZstdDecompressor().decompress(blob, allow_extra_data=False)
        if not size:
            # the library looks no further then: it may say so for being damaged
            unpacking = zstd.ZstdDecompressor().decompressobj()
            if len(blob) > _EMPTY or unpacking.decompress(blob) or not unpacking.eof or unpacking.unused_data:
                raise StateInvalid("it is damaged: it says that it is empty")
    except zstd.ZstdError as error:
        raise StateInvalid(f"it is damaged: {error}") from error
    return data


def _zstandard() -> ModuleType | None:
    # imported at the first use: a guardian that never captures does not pay for it
    global _zstd, _asked
    if not _asked:
        try:
            import zstandard
        except ImportError:
            _zstd = None
        else:
            _zstd = zstandard
        _asked = True
    return _zstd
