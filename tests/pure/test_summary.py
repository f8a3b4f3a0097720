"""The summary of a conversation: within its budget, the same each time, and worth reading."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.state.digest import Digest, Failure, FileUse, OpenCall, Remark, Task, Turn
from workers.state.summary import DEFAULT_BUDGET, summary

from ..transcripts import conversation, lines

LONG = Digest().fold(conversation(3, 1500))

TOLD = Digest(
    turns=3,
    answers=5,
    session_id="abc",
    cwd="/srv/app",
    branch="main",
    first_time="10:00",
    last_time="11:00",
    title="Mend the pump",
    first_prompt="Mend the pump.\nBoth of them.",
    last_prompt="Now test it.\nOn both pumps.",
    asked=(Turn(1, None, "Mend the pump.", "It is mended."), Turn(2, None, "Paint it."), Turn(3, None, "Now test it.", "Testing.")),
    decided=(Remark(1, "The root cause is rust.", 3), Remark(2, "I'll use red instead of blue.", 2)),
    loose=(Remark(0, "Not yet begun long ago.", 3), Remark(1, "TODO: order a seal.", 3), Remark(3, "Shall I paint the other one?", 3)),
    tasks=(Task("1", "Mend", "completed"), Task("2", "Paint", "in_progress"), Task("3", "Test", "pending")),
    tools=(("Edit", 2), ("Bash", 3)),
    files=(FileUse("/srv/app/read.py", 2, 0, 1), FileUse("/srv/app/pump.py", 1, 2, 2), FileUse("/etc/pumps", 0, 1, 2)),
    commits=("Mend the pump",),
    commands=("make test", "make", "make test"),
    failures=(Failure(3, "Bash", "make test", "Exit code 2", 2),),
    failed=2,
    open_calls=(OpenCall("t", "Bash", "make test-all"), OpenCall("s", "Bash", "the subagent's", is_side=True)),
    compactions=1,
    background="Two pumps are old.",
)


@settings(max_examples=60)
@given(st.one_of(st.just(LONG), st.just(TOLD), lines.map(Digest().fold)), st.integers(-5, 3000) | st.integers(3000, 60_000))
def test_it_fits(digest: Digest, budget: int) -> None:
    """Whatever the conversation and the budget, no byte of UTF-8 too many; and the same again when it is asked for again."""
    text = summary(digest, budget)
    assert len(text.encode()) <= max(0, budget)
    # whole lines, unless there is no room for the head alone
    assert budget < 1500 or text.endswith("\n")
    assert summary(Digest.from_dict(json.loads(json.dumps(digest.to_dict()))), budget) == text


def test_it_is_good_to_read() -> None:
    """What is going on comes first, then what was asked, decided, planned, left open, changed, and what went wrong."""
    assert summary(TOLD).splitlines() == [
        "# Mend the pump",
        "",
        "Excerpts of an earlier conversation, gathered from its transcript without a model; check before you rely on them.",
        "Session abc; in /srv/app; branch main; 10:00 to 11:00; 3 questions, 5 answers, 5 tool calls, 2 failed, shortened once.",
        "",
        "## The last question and where it stands",
        "",
        "Asked: Now test it.",
        "  On both pumps.",
        "Answered last: Testing.",
        "- Bash was running, and its result is not known: make test-all",
        "",
        "## What was asked first",
        "",
        "1. Mend the pump.",
        "  Both of them.",
        "   -> It is mended.",
        "",
        "## What was asked since",
        "",
        "2. Paint it.",
        "",
        "## What was decided",
        "",
        "- The root cause is rust. (question 1)",
        "- I'll use red instead of blue. (question 2)",
        "",
        "## Left open",
        "",
        "- [~] Paint",
        "- [ ] Test",
        "- Shall I paint the other one? (question 3)",
        "- TODO: order a seal. (question 1)",
        "",
        "## Files that were changed",
        "",
        "- pump.py (2 times)",
        "- /etc/pumps (once)",
        "",
        "## Commits",
        "",
        "- Mend the pump",
        "",
        "## The last errors",
        "",
        "- Bash (make test): Exit code 2 (2 times)",
        "",
        "## The last commands",
        "",
        "- make",
        "- make test",
        "",
        "## Files that were read",
        "",
        "- read.py",
        "",
        "## What an earlier summary says",
        "",
        "> Two pumps are old.",
    ]


@pytest.mark.parametrize("budget", [800, 1500, 3000, DEFAULT_BUDGET])
def test_what_matters_most_gets_in_first(budget: int) -> None:
    """However small, it says what was asked last and what is open; what is left out is counted."""
    text = summary(LONG, budget)
    assert "## The last question and where it stands\n\nAsked: " in text
    assert "Deploy to staging" in text
    assert " of " in text
    assert len(text.encode()) > budget * 0.8


def test_the_last_line_is_whole() -> None:
    """Whatever the budget, a line gets in as a whole or not at all."""
    assert all(summary(LONG, budget).endswith("\n") for budget in range(1200, 2700, 5))


def test_an_empty_conversation() -> None:
    """It says that there was nothing, and no more."""
    assert summary(Digest(), 10_000).count("\n") == 2
    assert "0 questions, 0 answers, 0 tool calls" in summary(Digest(), 10_000)
    assert summary(LONG, 0) == summary(LONG, -1) == ""
