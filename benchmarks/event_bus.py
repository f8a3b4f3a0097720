"""One event to all who listen: numbered, dated, written to sinks and offered to subscriptions."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from supervisor import ChildStarted, Record
from supervisor.edge.event_file import EventFile
from supervisor.runtime.bus import Bus

from .figures import Effort, Figure, Peer, Summary, per_item


def measure(effort: Effort) -> list[Figure]:
    taken = fan_out(effort.pick(2000, 2000, 10), effort.pick(20, 10, 1))
    floor = Peer("deque.append of a Record", taken["bare"])
    return [
        Figure("nobody listens", "us", taken["0"]),
        Figure("1 subscription", "us", taken["1"], (floor,)),
        Figure("10 subscriptions", "us", taken["10"], (floor,)),
        Figure("1 subscription that loses every record", "us", taken["full"], (floor,)),
        Figure("the event file", "us", taken["file"], (Peer("json.dumps, write, flush", taken["bare file"]),)),
    ]


def fan_out(events: int, rounds: int) -> dict[str, Summary]:
    """Microseconds of one event, by who listens."""
    event = ChildStarted(("root", "child"), generation=3, pid=4711)
    with TemporaryDirectory(prefix="events-") as folder, Path(folder, "bare.jsonl").open("w") as bare_file:
        file = EventFile(str(Path(folder, "events.jsonl")))
        kept: deque[Record] = deque(maxlen=events)

        def bare() -> None:
            for seq in range(events):
                kept.append(Record("run", seq, monotonic(), monotonic(), event))

        def written() -> None:
            for seq in range(events):
                data = {"v": 1, "run": "run", "seq": seq, "time": "2026-01-02T03:04:05.678901Z", "monotonic": monotonic(), **_DATA}
                bare_file.write(json.dumps(data) + "\n")
                bare_file.flush()

        listeners = {
            "0": publishing(event, events),
            "1": publishing(event, events, subscriptions=1, capacity=events * (rounds + 2)),
            "10": publishing(event, events, subscriptions=10, capacity=events),
            "full": publishing(event, events, subscriptions=1, capacity=1),
            "file": publishing(event, events, sink=file.write),
        }
        try:
            return per_item({"bare": bare, "bare file": written, **listeners}, events, rounds)
        finally:
            file.close()


_DATA = {"event": "child_started", "path": ["root", "child"], "generation": 3, "data": {"pid": 4711}}


def publishing(
    event: ChildStarted, events: int, *, subscriptions: int = 0, capacity: int = 1, sink: Callable[[Record], object] | None = None
) -> Callable[[], None]:
    """A bus of its own, with its listeners."""
    bus = Bus("run", monotonic)
    for _ in range(subscriptions):
        bus.subscribe(capacity)
    if sink is not None:
        bus.add_sink(sink)

    def run() -> None:
        for _ in range(events):
            bus.publish(event)

    return run
