"""Bytes to lines: alike however the bytes arrive, and in bounded memory; and the last lines of a stream."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.lines import BYTES_A_LINE, Line, LineSplitter, Tail

WRITTEN = st.lists(st.one_of(st.sampled_from([b"\n", b"\r", b"\r\n", b"\0", "ä€𝄞".encode(), b"\xff", b"abc"]), st.binary(max_size=12))).map(
    b"".join
)
"""What programs write, with more ends of lines in it than chance would have."""


def split(chunks: list[bytes], limit: int = 8, most: int = 3) -> list[Line]:
    """All lines of these chunks, taken a few at a time."""
    splitter = LineSplitter(limit)
    lines: list[Line] = []
    for chunk in chunks:
        splitter.feed(chunk)
        while splitter.busy:
            some = splitter.take(most)
            assert len(some) <= most
            assert len(some) == most or not splitter.busy
            lines += some
    return lines + splitter.finish()


def expected(data: bytes, limit: int = 8) -> list[Line]:
    """The same, written down as what a line is."""
    *ended, rest = data.split(b"\n")
    lines = [line.rstrip(b"\r").rpartition(b"\r")[2] for line in [*ended, *([rest] if rest else [])]]
    return [Line(cut(line, limit), truncated=True) if len(line) > limit else Line(line.decode(errors="replace")) for line in lines]


def cut(line: bytes, limit: int) -> str:
    """The first bytes as text, without the beginning of a character whose end is not among them."""
    kept = line[:limit]
    for end in range(limit, max(limit - 4, 0), -1):
        try:
            kept[end - 1 :].decode()
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":
                return kept[: end - 1].decode(errors="replace")
    return kept.decode(errors="replace")


@given(st.lists(WRITTEN, max_size=12), st.integers(1, 5))
def test_any_chunks_give_the_same_lines(chunks: list[bytes], most: int) -> None:
    """Wherever the bytes are divided, within a character or an end of a line too, the lines are those of the whole."""
    assert split(chunks, most=most) == expected(b"".join(chunks))


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"a\r\nb\r\r\nc\r", ["a", "b", "c"]),
        (b" 1%\r 2%\r 3%\n", [" 3%"]),
        (b" 1%\r 2%\r", [" 2%"]),
        (b"a\0b\n", ["a\0b"]),
        (b"\xffa\xc3\n\xa4", ["\ufffda\ufffd", "\ufffd"]),
        ("ä\u2028ö\x0b\x0c\x85".encode() + b"\n", ["ä\u2028ö\x0b\x0c\x85"]),
    ],
)
def test_what_a_line_is(data: bytes, lines: list[str]) -> None:
    """Only a line feed ends it; of what carriage returns have begun anew the last counts; whatever is no UTF-8 is replaced."""
    for chunks in ([data], [data[at : at + 1] for at in range(len(data))]):
        assert split(chunks, limit=100) == [Line(text) for text in lines]


def test_a_long_line_is_cut_and_marked() -> None:
    """To the limit and no byte less, between characters; the next line is whole again."""
    assert split([b"12345678\n123456789\nabc\n"]) == [Line("12345678"), Line("12345678", truncated=True), Line("abc")]
    assert split(["1234567ä\nabc\n".encode()]) == [Line("1234567", truncated=True), Line("abc")]
    assert split([b"x" * 5, b"x" * 5, b"\rabc", b"\n"]) == [Line("abc")]


@pytest.mark.parametrize("pattern", [b"\0" * 65536, b"12% \r" * 13107, b"\r" * 65536])
def test_a_line_that_never_ends_does_not_grow(pattern: bytes) -> None:
    """Binary garbage and progress bars without a line feed: no more is held than a chunk and a line."""
    splitter = LineSplitter(1000)
    splitter.feed(pattern)
    splitter.take(10)
    tracemalloc.start()
    try:
        for _ in range(200):
            splitter.feed(pattern)
            assert splitter.take(10) == []
            assert not splitter.busy
        assert tracemalloc.get_traced_memory()[0] < 4096
    finally:
        tracemalloc.stop()
    assert len(splitter.finish()) == 1


@given(st.lists(WRITTEN, max_size=12), st.integers(1, 4))
def test_the_tail_is_the_last_lines(chunks: list[bytes], count: int) -> None:
    """As long as they are short they are the last lines of the whole, the last one whether it has ended or not."""
    tail = Tail(count)
    for chunk in chunks:
        tail.feed(chunk)
    data = b"".join(chunks)
    if len(data) <= count * BYTES_A_LINE:
        assert tail.lines() == tuple(line.text for line in expected(data, limit=10_000))[-count:]


@given(st.lists(st.integers(0, 3000), max_size=20))
def test_the_tail_of_a_long_stream(sizes: list[int]) -> None:
    """Whatever the chunks: the last lines are there, whole, and little more than them is held."""
    data = b"".join(b"line %d\n" % number for number in range(6000)) + b"last words"
    tail, at = Tail(20), 0
    for size in [*sizes, len(data)]:
        tail.feed(data[at : at + size])
        at = min(at + size, len(data))
    assert tail.lines() == (*(f"line {number}" for number in range(5981, 6000)), "last words")
    assert len(tail._kept) <= 2 * 20 * BYTES_A_LINE


def test_long_lines_leave_room_for_fewer() -> None:
    """A line whose beginning is gone is left out, unless nothing else is there."""
    tail = Tail(2)
    tail.feed(b"a" * 700 + b"\n" + b"b" * 500 + b"\n")
    assert tail.lines() == ("b" * 500,)
    tail.feed(b"c" * 10_000)
    assert tail.lines() == ("c" * 800,)
    tail.feed(b"\nd\n")
    assert tail.lines() == ("d",)
