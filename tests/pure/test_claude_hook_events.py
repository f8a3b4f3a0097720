"""Hooks of Claude Code as events: which, and how many."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import Record
from workers.application import GuardianApplication
from workers.claude.hook_events import BURST, RATE, Allowance, hook_event
from workers.claude.hook_pipe import heard
from workers.claude.settings import BACKGROUND, PROMPTED, STARTED, STOPPED, USED
from workers.config import ClaudeEvents

ALL = (STARTED, PROMPTED, USED, STOPPED, BACKGROUND)


@pytest.mark.parametrize(
    ("wanted", "which"),
    [(ClaudeEvents.OFF, set()), (ClaudeEvents.TURNS, set(ALL) - {USED}), (ClaudeEvents.TOOLS, set(ALL))],
)
def test_which_are_events(wanted: ClaudeEvents, which: set[str]) -> None:
    """None, those of turns, or all."""
    assert {one for one in ALL if hook_event(wanted, Allowance(), one, None, None, 0.0)[1] is not None} == which


def test_what_they_say() -> None:
    """The name of the hook as Claude Code has it, the tool, the conversation, and whether tasks go on."""
    _, event = hook_event(ClaudeEvents.TOOLS, Allowance(), USED, "Bash", "some-session", 0.0)
    assert event is not None
    assert event.as_data() == {"hook": "PreToolUse", "tool": "Bash", "session_id": "some-session", "background": False, "missed": 0}
    line = GuardianApplication().renderer().line(Record("run", 1, 0.0, 0.0, attrs.evolve(event, path=("guardian", "agents", "a", "leaf"))))
    assert line is not None and line.endswith("uses Bash")
    _, event = hook_event(ClaudeEvents.TURNS, Allowance(), BACKGROUND, None, None, 0.0)
    assert event is not None and (event.hook, event.background) == ("Stop", True)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=400))
def test_a_flood_is_bounded_and_counted(pauses: list[float]) -> None:
    """At any rate no more come than the bucket holds; each of the others is counted once, in the next event that comes."""
    allowance, now, events, missed = Allowance(at=0.0), 0.0, 0, 0
    for pause in [*pauses, *[0.0] * 300]:
        now += pause
        allowance, event = hook_event(ClaudeEvents.TOOLS, allowance, USED, None, None, now)
        events += event is not None
        missed += event.missed if event is not None else 0
    assert events <= BURST + RATE * now + 1
    assert events + missed + allowance.missed == len(pauses) + 300


def test_a_pause_is_no_reserve() -> None:
    """However long nothing came, no more come at once than the bucket holds."""
    allowance = Allowance()
    told = 0
    for _ in range(1000):
        allowance, event = hook_event(ClaudeEvents.TOOLS, allowance, USED, None, None, 1e6)
        told += event is not None
    assert told == BURST


def test_one_a_second_is_never_missed() -> None:
    """What people and agents do has room."""
    allowance = Allowance()
    for second in range(1000):
        allowance, event = hook_event(ClaudeEvents.TOOLS, allowance, USED, None, None, float(second))
        assert event is not None and event.missed == 0


@pytest.mark.parametrize(
    ("more", "tool"),
    [
        (b"", None),
        (b"Bash", "Bash"),
        (b"mcp__server.one__do-it", "mcp__server.one__do-it"),
        (b"a b", None),
        (b"\xff", None),
        (b"a" * 201, None),
    ],
)
def test_the_tool_that_a_hook_names(more: bytes, tool: str | None) -> None:
    """A name of a tool, and nothing that only looks like one."""
    told = heard(b"3 1 PreToolUse " + more)
    assert told is not None and told.tool == tool
