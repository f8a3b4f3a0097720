"""The latest events within a bound, the pace of clients, and parameters."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import ChildExited, ControlMethod, ControlParameter, ControlRefused, Exit, OutputLine, Record, child_path, integer, text
from supervisor.edge.control import told
from supervisor.edge.control.pace import Pace
from supervisor.edge.control.ring import FRESH, Ring
from supervisor.edge.event_file import encoded, record_data
from supervisor.edge.render import Renderer
from workers import words
from workers.event import MemoryLevelChanged
from workers.policy.pressure import MemoryState


def record(seq: int, size: int = 10) -> Record:
    """An event of about that size."""
    return Record("0" * 32, seq, seq / 10, 1_000_000.0 + seq, OutputLine(("root", "leaf"), "stdout", "x" * size, generation=1))


@given(st.lists(st.integers(0, 300), max_size=FRESH * 3), st.integers(0, FRESH * 3), st.integers(1, 2000))
def test_a_reader_gets_each_event_or_is_told_which_it_lost(sizes: list[int], since: int, most: int) -> None:
    """From wherever it begins: the numbers that come are without gaps, and what is missing is named first and once."""
    ring = Ring(kept_bytes=8_000)
    for seq, size in enumerate(sizes, start=1):
        ring.keep(record(seq, size))
    since = min(since, len(sizes))
    covered, at, told_lost = since, since, 0
    while at < ring.last:
        lines, reached = ring.after(at, most)
        for event in map(json.loads, lines):
            if event["event"] == "events_lost":
                assert event["data"]["from"] == covered + 1 and event["seq"] == event["data"]["to"] and at == since
                told_lost += 1
                covered = event["data"]["to"]
            else:
                assert event["seq"] == covered + 1
                covered += 1
        assert reached == covered > at
        assert sum(map(len, lines[told_lost if at == since else 0 :])) <= max(most, max(map(len, lines)))
        at = reached

    assert covered == len(sizes)
    assert told_lost <= 1
    assert ring.after(ring.last, most) == ([], ring.last)


def test_what_is_kept_is_bounded_in_bytes() -> None:
    """However many events there are and whatever their size; the latest is always there."""
    ring = Ring(kept_bytes=10_000)
    for seq in range(1, 2_001):
        ring.keep(record(seq, 100 if seq % 7 else 5_000))
        lines, _ = ring.after(ring.last - 1, 1)
        assert json.loads(lines[0])["seq"] == seq

    assert sum(map(len, ring._lines)) <= 10_000
    ring.keep(record(2_001, 50_000))
    assert len(ring.after(2_000, 1)[0]) == 1
    assert len(ring.after(0, 1 << 30)[0]) == 2


def test_nothing_is_encoded_while_there_is_little_and_nobody_reads() -> None:
    """A quiet run spends nothing on lines."""
    ring = Ring()
    for seq in range(1, FRESH + 1):
        ring.keep(record(seq))

    assert not ring._lines
    assert ring.first == 1


def test_a_line_is_made_once_for_all() -> None:
    """The event file and the ring share it."""
    one = record(1)

    assert encoded(one) is encoded(one)
    assert encoded(record(1)) == encoded(one)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.5)), max_size=60), st.floats(0.01, 0.5), st.floats(0, 1))
def test_work_never_exceeds_its_share(steps: list[tuple[float, float]], share: float, burst: float) -> None:
    """Whoever waits as he is told does no more than the burst, one piece of work, and the share of the time that went by."""
    pace = Pace(share, burst)
    now = done = largest = 0.0
    for pause, work in steps:
        now += pause
        now += pace.delay(now)
        assert done <= burst + share * now + largest + 1e-6
        pace.charge(work, now)
        done += work
        largest = max(largest, work)


def test_pace_lets_the_first_ones_through() -> None:
    """A person who asks now and then never waits."""
    pace = Pace()
    for second in range(100):
        assert pace.delay(float(second)) == 0
        pace.charge(0.01, float(second))


async def nothing(**given: Any) -> dict[str, Any]:
    """What it was called with."""
    return given


METHOD = ControlMethod(
    nothing, {"path": ControlParameter(child_path()), "count": ControlParameter(integer(1, 9), None), "why": ControlParameter(text(), "so")}
)


@pytest.mark.parametrize(
    ("params", "given"),
    [
        ({"path": "a/b"}, {"path": ("a", "b"), "count": None, "why": "so"}),
        ([["a", "b/c"], 3], {"path": ("a", "b/c"), "count": 3, "why": "so"}),
        ({"path": "/a/", "count": None, "why": "x"}, {"path": ("a",), "count": None, "why": "x"}),
    ],
)
def test_parameters_by_name_and_by_position(params: Any, given: dict[str, Any]) -> None:
    """Both mean the same; what is not given has its default."""
    assert METHOD._checked(params) == given


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "path: is missing; expected a path such as"),
        ({"path": ""}, "path: expected a path"),
        ({"path": [1]}, "path: expected a path"),
        ({"path": "a", "count": 10}, "count: expected an integer <= 9, got 10"),
        ({"path": "a", "count": True}, "count: expected an integer >= 1, got true"),
        ({"path": "a", "why": None}, "why: expected a string, got nothing"),
        ({"path": "a", "cuont": 1}, "unknown parameter 'cuont' (did you mean 'count'?)"),
        (["a", 1, "x", 2], "expected at most 3 parameters, got 4"),
    ],
)
def test_wrong_parameters_are_named(params: Any, said: str) -> None:
    """With what was expected."""
    with pytest.raises(ControlRefused) as refused:
        METHOD._checked(params)

    assert refused.value.code == -32602
    assert said in refused.value.message


def test_an_event_is_told_in_the_words_it_would_have_had() -> None:
    """After its way as JSON, an enumeration and an exit with a signal included."""
    renderer = Renderer(words.WORDS, subject=words.subject)
    path = ("guardian", "agents", "claude", "leaf")
    for event in (
        MemoryLevelChanged(path, MemoryState.NORMAL, MemoryState.CRITICAL, 5 << 30, 5120.0, generation=1),
        ChildExited(path, 7, exit=Exit.failed(ValueError("x")), expected=False, uptime=3.0, generation=1),
        ChildExited(path, 7, exit=Exit(Exit.killed().kind, "killed by SIGKILL", signal=9), uptime=3.0, generation=1),
    ):
        one = Record("0" * 32, 3, 1.5, 1_790_000_000.25, event)
        assert told.line(record_data(one), renderer) == renderer.line(one) is not None


def test_an_event_of_a_later_version_is_told_by_its_fields() -> None:
    """Fields are only ever added, and so are names."""
    data = {**record_data(record(1)), "event": "moon_landed", "data": {"speed": 3, "crew": ["a"]}}

    assert told.line(data, Renderer()) == "13:46:41  leaf  moon_landed  speed=3"
