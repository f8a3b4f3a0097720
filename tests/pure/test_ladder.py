"""The degradation ladder: what modes turn off, and that every rung is reversible."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from workers.policy.ladder import TURNED_OFF, Activity, Cause, DegradationMode, Ladder, ModeChange, degrade, recover

NORMAL, WARNING, READ_ONLY, EMERGENCY = DegradationMode

moves = st.lists(st.tuples(st.sampled_from(Cause), st.one_of(st.none(), st.sampled_from(DegradationMode))), max_size=20)


def test_modes_are_named_and_ranked() -> None:
    """The modes have the specification's names, from the mildest to the hardest."""
    assert [mode.value for mode in DegradationMode] == ["normal", "warning", "read_only", "emergency"]
    assert [mode.rank for mode in DegradationMode] == [0, 1, 2, 3]


def test_a_higher_rung_turns_off_more() -> None:
    """Normal turns nothing off, every rung turns off strictly more than the one below, emergency everything."""
    assert TURNED_OFF[NORMAL] == frozenset()
    assert TURNED_OFF[EMERGENCY] == frozenset(Activity)
    for lower, higher in pairwise(DegradationMode):
        assert TURNED_OFF[lower] < TURNED_OFF[higher]


def test_monitoring_only_restarts_nothing_and_lets_turns_go_on() -> None:
    """Read-only is monitoring only: no controlled restart, no write, no new agent; turns go on. Emergency ends those too."""
    ladder, _ = degrade(Ladder(), READ_ONLY, Cause.RESTART_REFUSED)
    assert not ladder.permits(Activity.CONTROLLED_RESTARTS)
    assert not ladder.permits(Activity.WRITE_TOOLS)
    assert not ladder.permits(Activity.NEW_AGENTS)
    assert ladder.permits(Activity.NEW_TURNS)
    ladder, _ = degrade(Ladder(), WARNING, Cause.MEMORY)
    assert ladder.permits(Activity.CONTROLLED_RESTARTS)


def test_a_cause_asks_and_takes_back() -> None:
    """Degrading and recovering report the change of mode, and recovery leads back to normal."""
    ladder, change = degrade(Ladder(), READ_ONLY, Cause.RESTART_REFUSED)
    assert change == ModeChange(NORMAL, READ_ONLY)
    ladder, change = degrade(ladder, EMERGENCY, Cause.RESTART_REFUSED)
    assert change == ModeChange(READ_ONLY, EMERGENCY)
    assert ladder.asked_by(Cause.RESTART_REFUSED) is EMERGENCY
    assert ladder.asked_by(Cause.HEALTH) is None
    ladder, change = degrade(ladder, READ_ONLY, Cause.RESTART_REFUSED)
    assert change == ModeChange(EMERGENCY, READ_ONLY)
    ladder, change = recover(ladder, Cause.RESTART_REFUSED)
    assert change == ModeChange(READ_ONLY, NORMAL)
    assert ladder == Ladder()


def test_a_repeated_demand_is_no_change() -> None:
    """Asking again for the same rung, and recovering what was not asked, change nothing."""
    ladder, _ = degrade(Ladder(), READ_ONLY, Cause.RESTART_REFUSED)
    assert degrade(ladder, READ_ONLY, Cause.RESTART_REFUSED) == (ladder, None)
    assert recover(ladder, Cause.HEALTH) == (ladder, None)


def test_no_cause_undoes_anothers() -> None:
    """The mode is the hardest that any cause asks for; taking one back leaves the others."""
    ladder, _ = degrade(Ladder(), READ_ONLY, Cause.RESTART_REFUSED)
    ladder, change = degrade(ladder, WARNING, Cause.MEMORY)
    assert change is None
    ladder, change = recover(ladder, Cause.RESTART_REFUSED)
    assert change == ModeChange(READ_ONLY, WARNING)


@given(moves)
def test_the_mode_is_what_the_causes_ask(sequence: list[tuple[Cause, DegradationMode | None]]) -> None:
    """After any moves the mode is the highest rung asked for, each change tells it truly, and taking all back ends in normal."""
    ladder, asked = Ladder(), dict[Cause, DegradationMode]()
    for cause, mode in sequence:
        before = ladder.mode
        if mode is None:
            ladder, change = recover(ladder, cause)
            asked.pop(cause, None)
        else:
            ladder, change = degrade(ladder, mode, cause)
            asked[cause] = mode
        assert ladder.mode is max(asked.values(), key=lambda one: one.rank, default=NORMAL)
        assert change == (None if ladder.mode is before else ModeChange(before, ladder.mode))
        assert len(ladder.asked) == len(asked)
    for cause in Cause:
        ladder, _ = recover(ladder, cause)
    assert ladder == Ladder()
