"""What a capture pays for a conversation: its last messages, folding all of it once, folding what is new, and a summary of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from workers.state.conversation import MESSAGE_BYTES, MESSAGES, Progress, advanced
from workers.state.summary import summary
from workers.state.transcript import BLOCK, tail

from .figures import Effort, Figure, Peer, Summary, at_most, at_most_times, interleaved
from .transcripts import write_transcript

MB = 1_000_000
NEW = 100_000


def measure(effort: Effort) -> list[Figure]:
    sizes = effort.pick((1, 10, 100), (1, 10, 100), (1,))
    folded = effort.pick(100, 10, 1)
    rounds = effort.pick(50, 20, 1)
    figures: list[Figure] = []
    with TemporaryDirectory(prefix="conversation-") as folder:
        for size in sizes:
            path = Path(folder, f"{size}.jsonl")
            write_transcript(path, size * MB)
            figures.append(last_messages(path, size, rounds))
        path = Path(folder, f"{folded}.jsonl")
        figures.append(whole(path, folded, effort.pick(3, 3, 1)))
        figures += incremental(Path(folder, f"{sizes[-1]}.jsonl"), sizes[-1], rounds)
    return figures


def last_messages(path: Path, size: int, rounds: int) -> Figure:
    """The last fifty messages of a transcript."""

    def end() -> None:
        with path.open("rb") as file:
            file.seek(-BLOCK, os.SEEK_END)
            file.read()

    taken = timed({"tail": lambda: tail(path, MESSAGES, MESSAGE_BYTES), "end": end}, rounds)
    return Figure(
        f"the last {MESSAGES} messages of {size} MB",
        "ms",
        taken["tail"],
        (Peer("reading the last 256 KiB", taken["end"]),),
        at_most(10, "ms"),
    )


def whole(path: Path, size: int, rounds: int) -> Figure:
    """Folding a whole transcript, as the first capture does."""

    def parsed() -> None:
        with path.open("rb") as file:
            for line in file:
                json.loads(line)

    taken = timed({"fold": lambda: advanced(path), "parsed": parsed}, rounds)
    floor = Peer("json.loads of each line", taken["parsed"])
    return Figure(f"folding {size} MB for the first time", "ms", taken["fold"], (floor,), at_most_times(4, floor))


def incremental(path: Path, size: int, rounds: int) -> list[Figure]:
    """Folding what is new, and the summary."""
    begun = advanced(path)
    new = path.with_suffix(".new")
    write_transcript(new, NEW)
    with path.open("ab") as file:
        file.write(new.read_bytes())
    again = {
        "new": lambda: advanced(path, begun),
        "as JSON": lambda: Progress.from_dict(begun.to_dict(str)),
        "summary": lambda: summary(begun.digest),
    }
    taken = timed(again, rounds)
    return [
        Figure(f"folding {NEW // 1000} KB that are new in {size} MB", "ms", taken["new"], target=at_most(10, "ms")),
        Figure("a digest to JSON data and back", "ms", taken["as JSON"]),
        Figure("a summary of 8 KiB", "ms", taken["summary"]),
    ]


def timed(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, Summary]:
    """Milliseconds of each call."""
    taken = interleaved({name: (call, 1) for name, call in calls.items()}, rounds)
    return {name: Summary(one.median / 1000, one.p99 / 1000, one.low / 1000, one.high / 1000, one.count) for name, one in taken.items()}
