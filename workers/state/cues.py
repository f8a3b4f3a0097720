"""Which sentences decide something, demand something, or leave it open: by the words that such sentences have in English.

Words are no understanding: a sentence that is missed is missing, one that is taken wrongly costs a line. In another language what
was asked, changed and planned is still told, because that needs no words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from .excerpt import sentences

_DECISIONS: Final = {
    3: (
        "decided to ",
        "decision:",
        "decision is",
        "we agreed",
        "root cause",
        "let's go with",
        "going with ",
        "i chose",
        "we chose",
        "settled on",
        "the conclusion",
    ),
    2: (
        "i'll use ",
        "we'll use ",
        "i will use ",
        "we will use ",
        "let's use ",
        "instead of ",
        "turns out",
        "the problem was",
        "the fix is",
    ),
    1: ("rather than ", "the reason ", "so that ", "trade-off", "tradeoff"),
}
_DEMANDS: Final = {
    3: ("must ", "never ", "always ", "do not ", "don't ", "make sure", "important"),
    2: ("should ", "prefer ", "instead", "only ", "keep ", "please use ", "let's use ", "without "),
}
_OPEN: Final = {
    3: ("todo", "remaining", "remains to", "still need", "still has to", "not yet", "left to do", "unresolved", "open question"),
    2: ("next step", "follow-up", "haven't", "have not", "i'll come back", "later we", "known limitation", "not covered", "would you like"),
}

_WORDS: Final = tuple(word for cues in (_DECISIONS, _DEMANDS, _OPEN) for words in cues.values() for word in words)
_SHORTEST: Final = 15
_LONGEST: Final = 400


def sentences_of(text: str) -> list[tuple[str, str]]:
    """The sentences of a text that are neither too short nor too long to say something, each as it is and in small letters."""
    lowered = text.lower().replace("\u2019", "'")
    if "?" not in text and not any(map(lowered.__contains__, _WORDS)):
        return []  # most texts decide nothing, and taking one apart costs ten times as much as this
    return [(sentence, sentence.lower().replace("\u2019", "'")) for sentence in sentences(text) if _SHORTEST <= len(sentence) <= _LONGEST]


def decides(said: Iterable[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    """What an answer decides, each sentence with its weight from 1 to 3."""
    return _with(said, _DECISIONS)


def demands(said: Iterable[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    """What a person demands."""
    return _with(said, _DEMANDS)


def leaves_open(said: Iterable[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    """What an answer leaves open; a question is left to the person."""
    return _with(said, _OPEN, question=3)


def _with(said: Iterable[tuple[str, str]], cues: Mapping[int, tuple[str, ...]], question: int | None = None) -> Iterator[tuple[str, int]]:
    for sentence, lowered in said:
        for weight, words in cues.items():
            # a loop, because a generator costs more than what it looks for
            for word in words:
                if word in lowered:
                    break
            else:
                continue
            yield sentence, weight
            break
        else:
            if question is not None and sentence.endswith("?"):
                yield sentence, question
