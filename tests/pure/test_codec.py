"""What is packed is unpacked as it was, told by its first bytes; what is damaged, or too large, never is."""

from __future__ import annotations

import gzip
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.state import codec
from workers.state.codec import compress, decompress, suffix
from workers.state.model import StateInvalid

CODECS = ("zstd", "gzip")


@pytest.fixture(params=CODECS)
def packed_with(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The codec: with the extra, and without it."""
    monkeypatch.setattr(codec, "_asked", False)
    monkeypatch.setattr(codec, "_zstd", None)
    if request.param == "zstd":
        pytest.importorskip("zstandard")
    else:
        monkeypatch.setitem(sys.modules, "zstandard", None)
    return str(request.param)


def test_with_and_without_the_extra(packed_with: str) -> None:
    """zstd where it is installed, else gzip that any program can read; the same data are the same bytes."""
    data = b'{"type":"user"}\n' * 500
    blob = compress(data)
    assert suffix() == {"zstd": ".zst", "gzip": ".gz"}[packed_with]
    assert (decompress(blob, len(data)), compress(data)) == (data, blob)
    assert decompress(compress(b""), 0) == b""
    assert len(blob) < len(data) / 10
    if packed_with == "gzip":
        assert gzip.decompress(blob) == data
    assert decompress(gzip.compress(data, mtime=7), len(data)) == data


def test_zstd_without_its_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written with the extra says which one when it is read without."""
    pytest.importorskip("zstandard")
    blob = compress(b"x")
    monkeypatch.setattr(codec, "_asked", False)
    monkeypatch.setattr(codec, "_zstd", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(StateInvalid, match=r"pip install 'memory-guardian\[zstd\]'"):
        decompress(blob, 10)


def test_a_bomb_is_refused_unopened(packed_with: str) -> None:
    """64 MiB of nothing in a few hundred KiB at most: refused, and no memory for it is ever asked for."""
    blob = compress(bytes(64 << 20))
    assert len(blob) < 300_000
    tracemalloc.start()
    try:
        with pytest.raises(StateInvalid, match="more than 1000000 bytes"):
            decompress(blob, 1_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000
    with pytest.raises(StateInvalid, match="more than 99 bytes"):
        decompress(compress(bytes(100)), 99)


def test_every_cut_and_every_addition_is_noticed(packed_with: str) -> None:
    """A frame that ends early, at whatever byte, or goes on behind its end, is no frame."""
    blob = compress(b"some words, and some more words" * 3)
    for cut in range(len(blob)):
        with pytest.raises(StateInvalid):
            decompress(blob[:cut], 1000)
    for added in (b"x", blob):
        with pytest.raises(StateInvalid):
            decompress(blob + added, 1000)


def test_every_changed_bit_is_noticed(packed_with: str) -> None:
    """Whichever bit of a small frame is changed: the same data, for some bits of a header say nothing, or a fault."""
    for data in (b"", b"\0", b"some words, some words"):
        blob = compress(data)
        for bit in range(len(blob) * 8):
            changed = bytearray(blob)
            changed[bit // 8] ^= 1 << bit % 8
            try:
                assert decompress(bytes(changed), 1000) == data
            except StateInvalid:
                pass


@given(st.binary(max_size=200), st.sampled_from([b"", codec.GZIP, codec.GZIP + b"\x08", codec.ZSTD]), st.data())
def test_no_input_does_anything_else(noise: bytes, magic: bytes, data: st.DataObject) -> None:
    """Whatever the bytes: the data, or a fault of the one kind; a changed byte is never taken for other data."""
    try:
        assert len(decompress(magic + noise, 100)) <= 100
    except StateInvalid:
        pass
    blob = bytearray(compress(noise))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    try:
        assert decompress(bytes(blob), 300) == noise
    except StateInvalid:
        pass
