"""Pieces of text that are kept of a long one: bounded in bytes, free of control characters, and never half a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

READ: Final = 64 * 1024
"""Characters of one text that are looked at; what is taken of it comes from its beginning."""

ELLIPSIS: Final = "…"

# what would move a cursor, or turn the direction of writing, where the text is shown; a newline and a tab are kept
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]+")
_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-9;:?<=>]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)?|.)", re.DOTALL)
_SENTENCE: Final = re.compile(r"[^.!?\n]+(?:[.!?](?![\s])[^.!?\n]*)*[.!?]?")
_MARK: Final = re.compile(r"\s*(?:(?:[#>*-]{1,6}|\d{1,3}[.)])\s+)*")
_PEM: Final = "-----BEGIN"


def beginning(text: str, limit: int = READ) -> str:
    """The beginning of a text, at most `limit` characters, without a word that goes on behind them."""
    if len(text) <= limit:
        return text
    piece = text[: limit + 1]
    return piece[: max(piece.rfind(" "), piece.rfind("\n"), piece.rfind("\t"), 0)]


def clean(text: str, limit: int = READ) -> str:
    """The beginning of a text, at most `limit` characters, as valid UTF-8 without control characters and terminal sequences."""
    text = beginning(text, limit)
    if text.isascii() and text.isprintable():
        return text
    if not text.isascii():
        # half a surrogate pair is valid JSON and no Unicode
        text = text.encode("utf-8", "replace").decode()
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    return _CONTROL.sub(" ", text.replace("\r\n", "\n"))


def cut(text: str, limit: int) -> str:
    """A text of at most `limit` bytes of UTF-8, cut at a blank.

    No word is cut in two: half a token could not be told from any other word by what removes secrets afterwards. Where the
    first word alone is longer, nothing of it is left but the ellipsis.
    """
    if len(text) * 4 <= limit or len(encoded := text.encode()) <= limit:
        return text
    room = limit - len(ELLIPSIS.encode())
    if room < 0:
        return ""
    # one byte more: a blank right behind the piece means that its last word is whole
    piece = encoded[: room + 1].decode(errors="ignore")
    end = max(piece.rfind(" "), piece.rfind("\n"), piece.rfind("\t"))
    return (piece[:end].rstrip() if end > 0 else "") + ELLIPSIS


def line(text: str, limit: int) -> str:
    """The text in one line of at most `limit` bytes."""
    text = clean(beginning(text, 4 * limit + 256))
    return cut(" ".join(text.split()), limit)


def paragraphs(text: str, limit: int) -> str:
    """The text with its lines, without empty ones, of at most `limit` bytes."""
    stripped = (piece.rstrip() for piece in clean(beginning(text, 4 * limit + 256)).split("\n"))
    return cut("\n".join(piece for piece in stripped if piece), limit)


def ends(text: str, limit: int) -> str:
    """The first and the last lines of an output, in one line of at most `limit` bytes: it often says last what went wrong."""
    whole = clean(beginning(text, READ // 2))
    if len(text) > READ // 2:
        # from the beginning of a line on, so that nothing of it is half a word
        whole += clean(text[max(READ // 2, len(text) - READ // 2) :].partition("\n")[2].join("\n\n"))
    lines = [piece.strip() for piece in whole.split("\n") if piece.strip()]
    # in the middle of a key nobody could tell that it is one
    if len(lines) > 4 and _PEM not in text:
        lines = [lines[0], ELLIPSIS, *lines[-3:]]
    said = " ".join(lines)
    if len(said.encode()) > limit and len(lines) > 1 and _PEM not in text:
        head = cut(lines[0], limit // 3)
        return f"{head} {cut(lines[-1], limit - len(head.encode()) - 1)}".strip()
    return cut(said, limit)


def sentences(text: str, limit: int = 200) -> Iterable[str]:
    """The sentences and lines of a text without its code blocks, at most `limit` of them; marks of lists and headings are gone."""
    count = 0
    for row in prose(text).split("\n"):
        for found in _SENTENCE.finditer(_MARK.sub("", row, count=1)):
            sentence = found.group().strip()
            if sentence:
                count += 1
                if count > limit:
                    return
                yield sentence


def prose(text: str) -> str:
    """The text without its code blocks."""
    if "```" not in text:
        return text
    kept, is_code = [], False
    for row in text.split("\n"):
        if row.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            kept.append(row)
    return "\n".join(kept)


def without(text: str, opening: str, closing: str) -> str:
    """The text without what stands between two marks, the marks included; one that is not closed stays."""
    pieces, at = [], 0
    while (begin := text.find(opening, at)) >= 0 and (end := text.find(closing, begin)) >= 0:
        pieces.append(text[at:begin])
        at = end + len(closing)
    return "".join([*pieces, text[at:]]) if at else text


def between(text: str, opening: str, closing: str) -> str | None:
    """What stands between two marks; None where one of them is missing."""
    begin = text.find(opening)
    if begin < 0:
        return None
    end = text.find(closing, begin + len(opening))
    return None if end < 0 else text[begin + len(opening) : end].strip()
