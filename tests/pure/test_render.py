"""What a person reads."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.event import (
    CgroupUnavailable,
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    ChildTerminated,
    ChildUnresponsive,
    Event,
    EventsLost,
    OomKilled,
    OrphansSwept,
    OutputFailed,
    OutputLine,
    OutputResumed,
    Record,
    RestartDeferred,
    SentryLost,
    SupervisorGaveUp,
)
from supervisor.core.exits import Exit, ExitKind
from supervisor.core.text import duration
from supervisor.edge.render import Console, Line, Renderer, Summary, Tone, block, fitted, wants_color

PATH = ("guardian", "agents", "claude", "leaf")
DEAD = Exit(ExitKind.ABNORMAL, "killed by SIGSEGV", signal=11)


def record(event: Event, *, monotonic: float = 1.0) -> Record:
    return Record("r", 1, monotonic, 0.0, event)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (ChildStarted(PATH, 7), "started (pid 7)"),
        (ChildStarted(PATH), "started"),
        (ChildExited(PATH, exit=DEAD, uptime=61.0), "ended: killed by SIGSEGV after 1 min 01 s"),
        (ChildExited(PATH, exit=Exit.shutdown(), expected=True), "stopped: shutdown"),
        (ChildRestarted(PATH, "memory", True, 1, 2), "restarted: memory (number 1, 2 more in this window)"),
        (ChildRestarted(PATH), "restarted: no reason given"),
        (ChildTerminated(PATH), "stopped on request"),
        (ChildStartFailed(PATH, exit=DEAD), "did not start: killed by SIGSEGV"),
        (ChildUnresponsive(PATH, 7, 40.0), "does not end, given up after 40 s"),
        (RestartDeferred(PATH, "memory", True, 30.0), "restart waits 30 s: memory"),
        (SupervisorGaveUp(PATH, "leaf", "too many", True, 1800.0), "gave up restarting leaf: too many; tries again in 30 min 00 s"),
        (SupervisorGaveUp(PATH, "leaf", "too many"), "gave up restarting leaf: too many"),
        (OrphansSwept(PATH, (1, 2)), "killed 2 processes left behind (1, 2)"),
        (SentryLost(PATH, 7, "signal 9", replaced=True), "sentry replaced: signal 9"),
        (SentryLost(PATH, None, "none"), "no sentry: none; what a killed guardian leaves is for the next start to sweep"),
        (OrphansSwept(PATH, (1,)), "killed 1 process left behind (1)"),
        (CgroupUnavailable(PATH, "no room"), "runs without a cgroup of its own: no room"),
        (CgroupUnavailable(PATH, "why", ("cpu_quota", "pids_max")), "runs without cpu_quota and pids_max: why"),
        (OomKilled(PATH, 2), "out of memory: 2 processes killed by the kernel"),
        (
            OutputFailed(PATH, "stderr", "/log", "No space left on device", 28, 7),
            "stderr is lost, /log does not take it: No space left on device",
        ),
        (OutputResumed(PATH, "stdout", "/log", 1), "stdout goes to /log again, 1 byte lost"),
        (EventsLost(PATH, 3, 3), "1 event lost"),
    ],
)
def test_each_event_of_the_tree_has_its_words(event: Event, text: str) -> None:
    """One line of plain words per event: the time, what it is about, and what happened."""
    clock = time.strftime("%H:%M:%S", time.localtime(0))

    assert Renderer(subject=lambda path: path[-2]).line(record(event)) == f"{clock}  claude  {text}"


def test_a_crash_shows_what_was_said_last() -> None:
    """One indented line for each, below the line about the end or the start that failed, and nothing of it can drive the terminal."""
    exit = attrs.evolve(DEAD, output=("last\x1b[2J", "words"))

    for event in (ChildExited(PATH, exit=exit), ChildStartFailed(PATH, exit=exit)):
        first, *rest = (Renderer().line(record(event)) or "").split("\n")
        assert first.endswith("killed by SIGSEGV")
        assert rest == ["    last\\x1b[2J", "    words"]


def test_lines_of_commands_are_not_shown() -> None:
    """They are in the event stream."""
    assert Renderer().line(record(OutputLine(PATH, text="hello"))) is None


def test_no_event_of_the_tree_is_without_words() -> None:
    """An event that is added to the tree needs words, or a decision to say nothing."""
    from supervisor.core import event
    from supervisor.edge.render import TREE_WORDS

    known = {
        value
        for value in vars(event).values()
        if isinstance(value, type) and issubclass(value, Event) and value not in (Event, event.ChildEvent)
    }

    assert known == set(TREE_WORDS)


@attrs.frozen
class Level(Event):
    new: str = ""


def test_an_application_brings_its_own_words() -> None:
    """Words for the application's events are added; an event without words, or with nothing to say, has no line."""
    renderer = Renderer({Level: lambda event: Line(f"level {event.new}", Tone.BAD), ChildStarted: lambda event: None}, color=True)

    assert re.fullmatch(r"\x1b\[31m..:..:..  b  level critical\x1b\[0m", renderer.line(record(Level(("a", "b"), "critical"))) or "")
    assert renderer.line(record(ChildStarted(PATH))) is None
    assert Renderer().line(record(Level(PATH))) is None


@given(st.text())
def test_what_others_wrote_cannot_drive_the_terminal(reason: str) -> None:
    """No control character of a reason reaches the terminal."""
    line = Renderer().line(record(ChildRestarted(PATH, reason))) or ""

    assert line.isprintable()


@pytest.mark.parametrize(
    ("is_terminal", "environ", "expected"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_colour(is_terminal: bool, environ: dict[str, str], expected: bool) -> None:
    """Colours are for terminals that have them and people who want them."""
    assert wants_color(is_terminal, environ) is expected


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def read(fd: int) -> str:
    return os.read(fd, 1 << 16).decode()


def test_the_status_line_is_erased_before_anything_else(pipe: tuple[int, int]) -> None:
    """The status is one line below all others, replaced in place, and gone at the end."""
    source, sink = pipe
    console = Console(sink, is_terminal=True, environ={"TERM": "xterm"})

    console.status("memory 1 GiB")
    assert read(source) == "memory 1 GiB"
    console.say("claude  started")
    assert read(source) == "\r\x1b[Kclaude  started\nmemory 1 GiB"
    console.status("memory 2 GiB" + "x" * 100)
    assert read(source) == "\r\x1b[Kmemory 2 GiB" + "x" * 67
    console.status("a\x1b[2Jb\n")
    assert read(source) == "\r\x1b[Ka\\x1b[2Jb\\n"
    console.close()
    assert read(source) == "\r\x1b[K"
    console.say("the end")
    assert read(source) == "the end\n"


@pytest.mark.parametrize(("is_terminal", "environ"), [(False, {"TERM": "xterm"}), (True, {"TERM": "dumb"}), (True, {})])
def test_no_status_line_where_it_cannot_be_erased(pipe: tuple[int, int], is_terminal: bool, environ: dict[str, str]) -> None:
    """Into a file, a pipe or a dumb terminal only whole lines are written."""
    source, sink = pipe
    console = Console(sink, is_terminal=is_terminal, environ=environ)

    console.status("memory")
    console.say("line")
    console.close()

    assert read(source) == "line\n"


def test_a_full_pipe_never_blocks(pipe: tuple[int, int]) -> None:
    """What nobody reads is left out and counted, and writing goes on once somebody does."""
    source, sink = pipe
    console = Console(sink, is_terminal=False, environ={})
    for _ in range(200):
        console.say("x" * 1000)
    assert console.dropped > 0
    while len(os.read(source, 1 << 16)) == 1 << 16:
        pass
    before = console.dropped
    console.say("again")

    assert console.dropped == before
    assert read(source).endswith("again\n")


def test_a_reader_that_has_gone_is_no_error(pipe: tuple[int, int]) -> None:
    """A closed descriptor or a hung-up terminal raises nothing."""
    source, sink = pipe
    os.close(source)
    console = Console(sink, is_terminal=True, environ={"TERM": "xterm"})
    console.status("x")
    console.say("y")

    assert console.dropped == 1


@given(st.text(max_size=30), st.integers(0, 40))
def test_fitted_is_a_beginning_that_fits(text: str, columns: int) -> None:
    """A text is cut where the terminal ends, and only then."""
    import unicodedata

    cut = fitted(text, columns)
    width = sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in cut)

    assert text.startswith(cut)
    assert width <= columns
    assert fitted(text, 100) == text


def test_the_summary() -> None:
    """The end of a run is told in a few aligned lines: how long, how many restarts and why, and what the application adds."""
    summary = Summary()
    summary.observe(record(ChildRestarted(PATH, "memory", True, 1), monotonic=3725.0))
    summary.observe(record(ChildRestarted(PATH, "memory", True, 2)))
    summary.observe(record(ChildRestarted(PATH, "killed by SIGSEGV")))
    summary.observe(record(OrphansSwept(PATH, (4, 5))))
    summary.observe(record(SupervisorGaveUp(PATH, "leaf", "3 restarts within 1 h")))
    summary.observe(record(ChildStarted(PATH)))

    assert block("memory-guardian", [*summary.rows(), ("peak memory", "15.2 GiB"), ("exit", None)]).splitlines() == [
        "memory-guardian",
        "  ran          1 h 02 min",
        "  restarts     3: memory (2), killed by SIGSEGV (1)",
        "  gave up      3 restarts within 1 h",
        "  swept        2 processes left behind",
        "  peak memory  15.2 GiB",
        "  exit         unknown",
    ]
    assert Summary().rows() == [("ran", "0.0 s"), ("restarts", "none")]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.95, "10 s"),
        (9.96, "10 s"),
        (59, "59 s"),
        (59.95, "1 min 00 s"),
        (59.96, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (3659, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (86399, "23 h 59 min"),
        (86400 + 3599, "1 d 00 h"),
        (86400 * 3 + 4 * 3600, "3 d 04 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """A time is shown in the two units that matter, and never as 60 of one."""
    assert duration(seconds) == text
