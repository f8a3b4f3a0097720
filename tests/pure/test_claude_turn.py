"""What is believed of a turn: first what hooks say, then what is seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import Exit, ExitKind
from workers.claude.exits import judged
from workers.claude.proof import GRACE, Proof, looked_for
from workers.claude.settings import BACKGROUND, PROMPTED, STARTED, STOPPED, USED
from workers.claude.turn import NEXT, QUIET, SETTLED, SETTLING, STARTING, Seen, Turn, heard, looked, seen_alone, starting

NOTHING, ANSWERED, IDLE, BUSY = Seen(None, False), Seen(None, True), Seen("idle", False), Seen("busy", False)


def prompted(at: float = 10.0) -> Turn:
    return heard(Turn(), PROMPTED, at, 1000.0)


def test_a_turn_ends_when_its_answer_is_written() -> None:
    """The hook says that it is over; it is when the transcript has it, or when that takes too long."""
    turn = prompted()
    assert turn.is_busy and turn.began == 1000.0
    turn = heard(turn, STOPPED, 20.0, 1010.0)
    assert turn.is_busy and turn.next_look == 20.0
    turn = looked(turn, NOTHING, 20.0)
    assert looked(turn, ANSWERED, 20.0 + NEXT / 2).is_busy  # a prompt may wait
    assert turn.is_busy and turn.next_look == 20.0 + SETTLING
    assert looked(turn, ANSWERED, 20.0 + NEXT) == Turn()
    assert looked(turn, BUSY, 20.0 + SETTLED) == Turn()


def test_a_tool_that_is_used_begins_a_turn() -> None:
    """That no prompt began, as when a task in the background has ended; within one it takes back an end that another hook refused."""
    assert heard(Turn(), USED, 5.0, 50.0).is_busy
    turn = heard(heard(prompted(), STOPPED, 20.0, 1010.0), USED, 20.01, 1010.0)
    assert turn.is_busy and turn.ended_at is None and turn.began == 1000.0


def test_tasks_in_the_background_keep_it_busy() -> None:
    """Until the turn that their end begins is over."""
    turn = heard(prompted(), BACKGROUND, 20.0, 1010.0)
    assert turn.is_busy and turn.next_look is None
    assert looked(turn, ANSWERED, 100.0).is_busy
    turn = heard(heard(turn, PROMPTED, 200.0, 1200.0), STOPPED, 201.0, 1201.0)
    assert looked(turn, ANSWERED, 202.0) == Turn()


@pytest.mark.parametrize("over", [IDLE, ANSWERED])
def test_an_end_without_a_hook_is_seen_twice(over: Seen) -> None:
    """An interrupted turn, or one that failed: the registry's word, else the transcript's; it lags, so once is not enough."""
    turn = looked(prompted(), over, 12.0)
    assert turn.is_busy and turn.next_look == 12.0 + QUIET
    assert looked(turn, over, 14.0) == Turn()
    assert looked(looked(turn, NOTHING, 14.0), over, 16.0).is_busy


def test_what_the_registry_alone_says_is_work_but_no_turn() -> None:
    """A conversation that is being compacted: it is not cut, and it is over when the registry says so twice, or says nothing any more."""
    assert looked(Turn(), IDLE, 5.0) == Turn()
    turn = looked(Turn(), Seen("busy", True), 5.0)
    assert turn.is_busy and turn.next_look == 5.0 + QUIET and not turn.has_begun and not turn.is_in_turn
    assert looked(turn, BUSY, 7.0).is_busy
    for over in (IDLE, NOTHING):
        assert looked(looked(turn, over, 7.0), over, 9.0) == Turn()
    for event in (PROMPTED, USED):
        assert heard(turn, event, 6.0, 1000.0).is_in_turn
    assert heard(turn, STARTED, 6.0, 1000.0).is_busy and not heard(turn, STARTED, 6.0, 1000.0).is_in_turn
    assert looked(heard(turn, STOPPED, 6.0, 1000.0), ANSWERED, 7.0) == Turn()


@given(st.lists(st.sampled_from([NOTHING, BUSY, Seen("busy", True)]), max_size=8))
def test_a_turn_lasts_while_nothing_says_otherwise(looks: list[Seen]) -> None:
    """And the registry is trusted more than the transcript."""
    turn = prompted()
    for number, seen in enumerate(looks):
        turn = looked(turn, seen, 12.0 + number)
    assert turn.is_busy


def test_a_life_is_busy_from_its_start() -> None:
    """Until it says that it is up; one that never does is not busy for ever. An end before that is not one in the middle of a turn."""
    turn = starting(False, 5.0)
    assert turn.is_busy and not turn.is_in_turn and turn.next_look == 5.0 + STARTING
    assert heard(turn, STARTED, 6.0, 1000.0) == Turn()
    assert looked(turn, ANSWERED, 6.0) == turn
    assert looked(turn, NOTHING, 5.0 + STARTING) == Turn()
    assert heard(turn, PROMPTED, 6.0, 1000.0) == heard(Turn(), PROMPTED, 6.0, 1000.0)


def test_a_life_that_was_given_a_prompt_is_busy_until_its_turn_is_over() -> None:
    """Being up is not the end of it."""
    turn = starting(True, 5.0)
    assert turn.is_in_turn
    turn = heard(turn, STARTED, 6.0, 1000.0)
    assert turn.is_in_turn and turn.began == 1000.0 and turn.next_look == 6.0 + QUIET
    turn = heard(turn, STOPPED, 8.0, 1002.0)
    assert turn.is_busy and not turn.is_in_turn
    assert looked(turn, ANSWERED, 8.0 + NEXT) == Turn()
    for event in (USED, STOPPED, BACKGROUND):
        assert heard(starting(True, 5.0), event, 6.0, 1000.0).up_by is None
    assert looked(starting(True, 5.0), NOTHING, 5.0 + STARTING) == Turn()


def test_where_no_prompt_can_wait_the_answer_is_the_end() -> None:
    """Whoever says one prompt after the other knows that."""
    turn = heard(prompted(), STOPPED, 20.0, 1010.0)
    assert looked(turn, ANSWERED, 20.0, waiting=0.0) == Turn()
    assert looked(turn, NOTHING, 20.0, waiting=0.0).is_busy


def test_what_says_nothing_changes_nothing() -> None:
    """An end of no turn, a beginning of the program, a hook that is not known."""
    for event in (STOPPED, BACKGROUND, STARTED, "Notification"):
        assert heard(Turn(), event, 1.0, 1.0) == Turn()
    assert heard(prompted(), "Notification", 11.0, 1001.0) == prompted()


def test_nobody_is_in_a_turn_by_itself() -> None:
    """Before anything was heard, and once the end was; who has tasks in the background has begun a turn, and is in none."""
    assert not Turn().has_begun and not Turn().is_in_turn
    assert prompted().is_in_turn and prompted().next_look == 10.0 + QUIET
    behind = heard(heard(prompted(), STOPPED, 20.0, 1010.0), BACKGROUND, 20.1, 1010.1)
    assert behind.has_begun and not behind.is_in_turn
    for at in (30.0, 60.0, 90.0):
        behind = looked(behind, ANSWERED, at)
        assert behind.is_busy and behind.next_look is None


def test_a_tool_that_is_used_takes_back_what_was_believed() -> None:
    """That it waits for its tasks, that it was seen to be over, and that it comes up: so a later beginning of the program ends nothing."""
    turn = heard(heard(prompted(), BACKGROUND, 20.0, 1010.0), USED, 30.0, 1020.0)
    assert turn.is_in_turn and turn.next_look == 30.0 + QUIET
    turn = heard(looked(prompted(), IDLE, 12.0), USED, 13.0, 1003.0)
    assert looked(turn, IDLE, 15.0).is_busy
    turn = heard(starting(False, 5.0), USED, 6.0, 1000.0)
    assert heard(turn, STARTED, 7.0, 1001.0).is_busy


def test_the_registry_says_what_goes_on_behind_a_turn() -> None:
    """Where it says that nothing does, what is seen elsewhere is no matter."""
    turn = heard(prompted(), STOPPED, 20.0, 1010.0)
    assert looked(turn, Seen("idle", True, works_on=True), 20.0 + NEXT) == Turn()


def test_without_hooks_an_end_is_looked_for_again() -> None:
    """Soon, and not at once."""
    turn = seen_alone(prompted(), IDLE, 30.0)
    assert turn.is_busy and turn.next_look == 30.0 + QUIET


def test_a_success_in_the_middle_of_a_turn_is_none() -> None:
    """The program ends with 0 after an interrupt; that is no crash, and no success either."""
    done = Exit(ExitKind.NORMAL, "exit code 0", code=0)
    assert judged(done, in_turn=False, is_crash_only=True) is done
    crash_only, failure = (judged(done, in_turn=True, is_crash_only=only) for only in (True, False))
    assert (crash_only.kind, failure.kind) == (ExitKind.SHUTDOWN, ExitKind.ABNORMAL)
    assert crash_only.code == 0 and "interrupted" in crash_only.reason


@pytest.mark.parametrize(("code", "signal", "word"), [(None, 6, "V8"), (134, None, "V8"), (None, 11, "Bun"), (139, None, "Bun")])
def test_how_builds_crash(code: int | None, signal: int | None, word: str) -> None:
    """By themselves or behind a wrapper; what the kernel killed for memory is called that and nothing else."""
    crash = Exit(ExitKind.ABNORMAL, "gone", code=code, signal=signal)
    assert (
        judged(crash, in_turn=True, is_crash_only=True).reason.startswith("gone, as ")
        and word in judged(crash, in_turn=False, is_crash_only=False).reason
    )
    killed = Exit(ExitKind.ABNORMAL, "gone", code=code, signal=signal, out_of_memory=True)
    assert judged(killed, in_turn=True, is_crash_only=True) is killed


@pytest.mark.parametrize(("code", "signal"), [(1, None), (None, 9), (None, 11)])
def test_an_end_with_nothing_left_to_do_is_no_failure(code: int | None, signal: int | None) -> None:
    """A later life would have nothing to answer; what it ended with stays to be seen."""
    exit = Exit(ExitKind.ABNORMAL, "gone", code=code, signal=signal)
    over = judged(exit, in_turn=False, is_over=True, is_crash_only=False)
    assert over.is_clean and (over.code, over.signal) == (code, signal)
    assert over.reason.startswith("gone") and over.reason.endswith(", once everything was answered")
    assert not judged(exit, in_turn=False, is_crash_only=False).is_clean


@pytest.mark.parametrize("code", [1, 143, 129, 130])
def test_other_ends_are_what_they_are(code: int) -> None:
    """An answer, or what a person ended it with."""
    for kind in (ExitKind.SHUTDOWN, ExitKind.ABNORMAL):
        exit = Exit(kind, f"exit code {code}", code=code)
        assert judged(exit, in_turn=True, is_crash_only=True) is exit


def test_an_end_that_was_asked_for_is_no_interrupt() -> None:
    """The guardian's own, in the middle of a turn; nor is one of which nobody knows the code."""
    asked, unknown = Exit(ExitKind.SHUTDOWN, "asked to", code=0), Exit(ExitKind.NORMAL, "gone")
    lost = Exit(ExitKind.ABNORMAL, "gone")
    for exit in (asked, unknown, lost):
        assert judged(exit, in_turn=True, is_crash_only=True) is exit


def test_what_goes_on_behind_a_turn_is_waited_for() -> None:
    """Where the program does not tell of its tasks they are seen; when they have ended the turn is over."""
    behind = Seen(None, True, works_on=True)
    turn = looked(heard(prompted(), STOPPED, 20.0, 1010.0), behind, 20.0 + NEXT)
    assert turn.is_busy and turn.next_look == 20.0 + NEXT + QUIET
    assert looked(turn, behind, 90.0).is_busy and looked(turn, ANSWERED, 92.0) == Turn()
    assert looked(looked(prompted(), behind, 12.0), behind, 14.0).is_busy  # also where no hook told of the end


@pytest.mark.parametrize(
    ("busy", "idle"), [(BUSY, IDLE), (Seen("waiting", False), Seen("idle", False, works_on=True)), (Seen(None, False, True), NOTHING)]
)
def test_without_hooks_turns_are_seen(busy: Seen, idle: Seen) -> None:
    """In the registry first, then in the transcript; an end is believed when it is seen twice in a row."""
    turn = seen_alone(Turn(), busy, 10.0)
    assert turn.is_busy and turn.next_look == 10.0 + QUIET
    turn = seen_alone(turn, idle, 12.0)
    assert turn.is_busy and seen_alone(seen_alone(turn, busy, 14.0), idle, 16.0).is_busy
    turn = seen_alone(turn, idle, 14.0)
    assert not turn.is_busy and turn.next_look == 14.0 + QUIET


def test_hooks_prove_themselves() -> None:
    """A life that is up, or should be, and has run none for a while runs none; one that comes up is not known to."""
    life = Proof(began=10.0)
    assert looked_for(life, False, 10.0 + STARTING - 1) == life
    up = looked_for(life, True, 12.0)
    assert up.up_at == 12.0 and not up.is_missing
    assert not looked_for(up, False, 12.0 + GRACE - 0.1).is_missing and looked_for(up, False, 12.0 + GRACE).is_missing
    late = looked_for(life, False, 10.0 + STARTING)
    assert not late.is_missing and looked_for(late, False, 10.0 + STARTING + GRACE).is_missing
    heard = Proof(began=10.0, is_heard=True)
    assert looked_for(heard, True, 1e6) is heard
