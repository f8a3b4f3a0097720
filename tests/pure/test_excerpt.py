"""Excerpts: bounded in bytes, valid Unicode, and never a piece of a word."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.state.excerpt import ELLIPSIS, READ, beginning, between, clean, cut, ends, line, paragraphs, prose, sentences, without

WORDS = st.sampled_from(["a", "bc", "déf", "日本語", "😀" * 9, "\n", "  ", "\t", "x" * 50])
TEXTS = st.text(max_size=60) | st.lists(WORDS, max_size=20).map(" ".join)


@given(TEXTS, st.integers(0, 120))
def test_a_cut_text_fits(text: str, limit: int) -> None:
    """It has at most as many bytes as asked for, and what fits already stays as it is."""
    text = clean(text)
    piece = cut(text, limit)
    assert len(piece.encode()) <= limit
    if len(text.encode()) <= limit:
        assert piece == text


@given(TEXTS, st.integers(0, 120))
def test_no_word_is_cut(text: str, limit: int) -> None:
    """Each word of an excerpt is a word of the text, whatever made the excerpt."""
    makers: list[Callable[[str, int], str]] = [lambda text, limit: cut(clean(text), limit), line, paragraphs, ends]
    for make in makers:
        words = make(text, limit).replace(ELLIPSIS, " ").split()
        assert set(words) <= set(clean(text).replace(ELLIPSIS, " ").split()), make


@pytest.mark.parametrize("make", [line, paragraphs, ends])
@given(text=TEXTS, limit=st.integers(0, 120))
def test_excerpts_fit(make: Callable[[str, int], str], text: str, limit: int) -> None:
    """Each kind of excerpt keeps to its bytes."""
    assert len(make(text, limit).encode()) <= limit


def test_a_word_that_is_too_long_is_left_out() -> None:
    """Half a token could be told from no other word."""
    assert cut("x" * 100, 50) == ELLIPSIS
    assert cut("key " + "x" * 100, 50) == f"key{ELLIPSIS}"
    assert beginning("key " + "x" * 100, 50) == "key"
    assert line("a" + " " * 5000 + "x" * 500, 100) == "a"


def test_what_would_move_the_cursor_is_gone() -> None:
    """Terminal sequences, control characters and marks of direction become blanks or nothing; half surrogate pairs a question mark."""
    assert clean("\x1b[2J\x1b]0;title\x07red\x1b[0m") == "red"
    assert clean("a\0b\x08c\u202ed\r\ne\x9bf") == "a b c d\ne f"
    assert clean("\ud800x") == "?x"


def test_one_line_and_several() -> None:
    """`line` joins lines; `paragraphs` keeps them and leaves out empty ones."""
    assert line("  a\n\n b\tc ", 100) == "a b c"
    assert paragraphs("a  \n\n  b\n", 100) == "a\n  b"


def test_the_ends_of_an_output() -> None:
    """The first line and the last three are what tells; of a huge output too, without reading all of it."""
    assert ends("Exit code 1\n" + "noise\n" * 50 + "E  one\nE  two\nE  three\n", 200) == f"Exit code 1 {ELLIPSIS} E  one E  two E  three"
    assert ends("first\n" + "x" * 100 + "\n" + "noise " * READ + "\nlast words\n", 100).endswith("last words")
    assert ends("first " + "y" * 300 + "\nmiddle\nlast " + "z" * 300, 90) == f"first{ELLIPSIS} last{ELLIPSIS}"


def test_the_middle_of_a_key_is_never_an_excerpt() -> None:
    """An output with a key is told from its beginning alone, where what removes secrets can see it."""
    key = "\n".join([f"-----BEGIN PRIVATE {'KEY'}-----", *["made" * 16] * 20])
    assert "made" not in ends("output\n" * 3 + key, 40)
    assert "BEGIN" in ends(key, 2000)
    assert "made" not in ends("output\n" * 5000 + key + "\nmade up\n" * 5000, 400)


def test_prose_and_sentences() -> None:
    """Code blocks are no prose; a sentence ends with its sign and a blank, so that names with dots stay whole."""
    text = "# Plan\n- Use app.py.\n```sh\nrm it\n```\n2. Then run it! Is that all? 3.11 is fine"
    assert prose(text) == "# Plan\n- Use app.py.\n2. Then run it! Is that all? 3.11 is fine"
    assert list(sentences(text)) == ["Plan", "Use app.py.", "Then run it!", "Is that all?", "3.11 is fine"]
    assert len(list(sentences("a. " * 1000, 7))) == 7


def test_marks() -> None:
    """What stands between marks is found or taken out; a mark without its other half changes nothing."""
    assert without("a<x>b</x>c<x>d</x>e<x>f", "<x>", "</x>") == "ace<x>f"
    assert between("a<x> b </x>c", "<x>", "</x>") == "b"
    assert between("a<x> b", "<x>", "</x>") is None
    assert between("a", "<x>", "</x>") is None
