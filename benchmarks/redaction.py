"""Redaction: what of a corpus of planted secrets is found, what is taken for one in ordinary code, and how fast."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import process_time_ns
from typing import Final

from workers.redaction import redact_text
from workers.redaction.engine import Finder, automaton, find, find_plain
from workers.redaction.scan import redacted, secrets_in
from workers.redaction.stream import redact_chunks

from .figures import Effort, Figure, Peer, Summary, at_most
from .planted import HARMLESS, is_gone, planted

MB: Final = 1_000_000


def measure(effort: Effort) -> list[Figure]:
    return [*recall(effort), *false_positives(effort), *speed(effort)]


def recall(effort: Effort) -> list[Figure]:
    """Planted secrets of which something is left, and those that are gone under another kind."""
    corpus = list(planted(Random(1), effort.pick(20, 5, 1)))
    out = [(one, redact_text(one.text)) for one in corpus]
    missed = [one for one, text in out if not is_gone(one.secret, text)]
    misnamed = [one for one, text in out if f"[redacted: {one.kind}]" not in text]
    return [
        Figure(f"not found, of {len(corpus):,} planted", "%", _share(len(missed), len(corpus)), (), at_most(3, "%")),
        Figure("called something else", "%", _share(len(misnamed), len(corpus))),
    ]


def false_positives(effort: Effort) -> list[Figure]:
    """What is hidden of lines that only resemble secrets, and of the standard library's sources."""
    lines = [make(Random(seed)) for make in HARMLESS for seed in range(effort.pick(200, 50, 2))]
    changed = sum(redact_text(line) != line for line in lines)
    texts = _sources(effort.pick(40 * MB, 10 * MB, MB))
    found = sum(len(secrets_in(text)) for text in texts)
    total = sum(map(len, texts)) / MB
    return [
        Figure(f"hidden, of {len(lines):,} lines that only look like it", "%", _share(changed, len(lines)), (), at_most(0, "%")),
        Figure(f"hidden in {total:.0f} MB of Python's own sources", "per MB", Summary.of([found / total]), (), at_most(1, "per MB")),
    ]


def speed(effort: Effort) -> list[Figure]:
    """Milliseconds of the processor for a megabyte: 25 are 40 MB/s."""
    rounds = effort.pick(7, 3, 1)
    code = b"\n".join(_sources(4 * MB))[: effort.pick(4 * MB, 2 * MB, MB // 10)]
    busy = "\n".join(one.text for one in planted(Random(2), 4)).encode()[: effort.pick(MB, MB // 2, MB // 20)]
    engines: dict[str, Finder] = {"plain": find_plain}
    by_automaton = automaton()
    if by_automaton is not None:
        engines = {"with the extra": by_automaton, **engines}
    figures = []
    for name, engine in engines.items():
        target = at_most(25, "ms/MB") if name != "plain" else None
        floor = Peer("bytes.lower", _taken(lambda: code.lower(), len(code), rounds))
        figures.append(Figure(f"code, {name}", "ms/MB", _taken(_pass(code, engine), len(code), rounds), (floor,), target))
        figures.append(Figure(f"nothing but secrets, {name}", "ms/MB", _taken(_pass(busy, engine), len(busy), rounds)))
    chunks = [code[at : at + 65536] for at in range(0, len(code), 65536)]
    figures.append(Figure("code, in pieces", "ms/MB", _taken(lambda: sum(map(len, redact_chunks(chunks))), len(code), rounds)))
    line = (
        b'{"v":1,"event":"child_started","path":["guardian","agents","claude","leaf"],"generation":3,"data":{"pid":4711,"purpose":"boot"}}'
    )
    figures.append(
        Figure("one event of 130 bytes", "us", Summary.of([one * len(line) / 1000 for one in _samples(_pass(line, find), len(line), 200)]))
    )
    return figures


def _pass(text: bytes, engine: Finder) -> Callable[[], bytes]:
    return lambda: redacted(text, secrets_in(text, find=engine))


def _taken(call: Callable[[], object], size: int, rounds: int) -> Summary:
    return Summary.of(_samples(call, size, rounds))


def _samples(call: Callable[[], object], size: int, rounds: int) -> list[float]:
    call()
    taken = []
    for _ in range(rounds):
        began = process_time_ns()
        call()
        taken.append((process_time_ns() - began) / size)  # nanoseconds a byte are milliseconds a megabyte
    return taken


def _sources(most: int) -> list[bytes]:
    """Sources of the standard library, at most so many bytes of them; its tests are full of passwords and cookies."""
    texts: list[bytes] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if not {"site-packages", "test", "tests"} & set(path.parts):
            texts.append(path.read_bytes())
            most -= len(texts[-1])
            if most < 0:
                break
    return texts


def _share(part: int, whole: int) -> Summary:
    return Summary.of([100 * part / max(1, whole)])
