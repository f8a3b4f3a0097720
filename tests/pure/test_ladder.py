"""The degradation ladder: what modes turn off, and that every rung is reversible."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from workers.policy.ladder import (
    LONGEST,
    TURNED_OFF,
    Activity,
    Cause,
    DegradationMode,
    Ladder,
    ModeChange,
    asked_by_memory,
    degrade,
    forget,
    recover,
    settle,
)
from workers.policy.pressure import MemoryState

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


def test_what_each_mode_turns_off() -> None:
    """Warning: long intervals, capturing ahead, new agents. Read-only: write tools as well. Turns go on until emergency ends those too."""
    ladder, _ = degrade(Ladder(), WARNING, Cause.MEMORY)
    assert not any(ladder.permits(activity) for activity in (Activity.LONG_INTERVALS, Activity.PREFETCH, Activity.NEW_AGENTS))
    assert ladder.permits(Activity.WRITE_TOOLS)
    ladder, _ = degrade(Ladder(), READ_ONLY, Cause.RESTART_REFUSED)
    assert not ladder.permits(Activity.WRITE_TOOLS) and ladder.permits(Activity.NEW_TURNS)
    assert [LONGEST[mode] for mode in DegradationMode] == [
        MemoryState.NORMAL,
        MemoryState.WARNING,
        MemoryState.WARNING,
        MemoryState.CRITICAL,
    ]


def test_what_a_cause_turns_off_is_its_own_affair() -> None:
    """What is asked without one cause can be told: preparing for a restart is what memory is about, and not turned off by memory."""
    ladder, _ = degrade(Ladder(), WARNING, Cause.MEMORY)
    assert ladder.permits(Activity.PREFETCH, besides=Cause.MEMORY)
    assert not ladder.permits(Activity.PREFETCH, besides=Cause.HOST)
    ladder, _ = degrade(ladder, WARNING, Cause.CAPTURE_FAILED)
    assert not ladder.permits(Activity.PREFETCH, besides=Cause.MEMORY)
    ladder, _ = recover(ladder, Cause.MEMORY, now=0.0, cooldown=60.0)
    ladder, _ = recover(ladder, Cause.CAPTURE_FAILED)
    assert ladder.mode is WARNING and ladder.permits(Activity.PREFETCH, besides=Cause.MEMORY)


def test_what_memory_asks_for() -> None:
    """Nothing at warning, for that is when things are prepared; read-only in an emergency, until the restart."""
    assert [asked_by_memory(level) for level in MemoryState] == [None, None, WARNING, READ_ONLY]


def test_a_rung_is_left_after_its_cooldown() -> None:
    """Taken back, a rung stays for the cooldown; asked for again meanwhile, the cooldown begins anew when that ends."""
    ladder, _ = degrade(Ladder(), READ_ONLY, Cause.MEMORY, now=0.0, cooldown=60.0)
    assert ladder.settles_at is None
    ladder, change = recover(ladder, Cause.MEMORY, now=10.0, cooldown=60.0)
    assert change is None and ladder.mode is READ_ONLY and ladder.settles_at == 70.0
    assert ladder.causes() == (Cause.MEMORY,)
    ladder, change = degrade(ladder, READ_ONLY, Cause.MEMORY, now=50.0, cooldown=60.0)
    assert change is None
    ladder, change = recover(ladder, Cause.MEMORY, now=65.0, cooldown=60.0)
    ladder, change = settle(ladder, 124.0)
    assert change is None and ladder.mode is READ_ONLY
    ladder, change = settle(ladder, 125.0)
    assert change == ModeChange(READ_ONLY, NORMAL) and ladder == Ladder()


def test_what_stays_does_not_pile_up() -> None:
    """However often a cause comes and goes, one rung of it stays, for as long as the latest one; who climbs leaves nothing behind."""
    ladder = Ladder()
    for at in range(50):
        ladder, _ = degrade(ladder, READ_ONLY, Cause.MEMORY, now=float(at), cooldown=60.0)
        ladder, _ = recover(ladder, Cause.MEMORY, now=float(at), cooldown=60.0)
    assert ladder.leaving == {(Cause.MEMORY, READ_ONLY, 109.0)}
    ladder, _ = degrade(Ladder(), WARNING, Cause.MEMORY, now=0.0, cooldown=60.0)
    ladder, _ = degrade(ladder, EMERGENCY, Cause.MEMORY, now=1.0, cooldown=60.0)
    assert ladder.settles_at is None


def test_a_lower_rung_is_a_higher_one_left() -> None:
    """A cause that asks for less holds the higher rung for the cooldown, and then the lower one."""
    ladder, _ = degrade(Ladder(), EMERGENCY, Cause.RESTART_REFUSED)
    ladder, change = degrade(ladder, READ_ONLY, Cause.RESTART_REFUSED, now=5.0, cooldown=10.0)
    assert change is None and ladder.mode is EMERGENCY
    ladder, change = settle(ladder, 15.0)
    assert change == ModeChange(EMERGENCY, READ_ONLY)
    assert ladder.settles_at is None


def test_what_is_void_is_left_at_once() -> None:
    """A new life owes nothing to what its predecessor asked for, and others' rungs stay."""
    ladder, _ = degrade(Ladder(), READ_ONLY, Cause.MEMORY)
    ladder, _ = recover(ladder, Cause.MEMORY, now=0.0, cooldown=60.0)
    ladder, _ = degrade(ladder, WARNING, Cause.HEALTH)
    ladder, change = forget(ladder, Cause.MEMORY)
    assert change == ModeChange(READ_ONLY, WARNING)
    assert ladder.settles_at is None and ladder.causes() == (Cause.HEALTH,)


def exact(least: int, most: int) -> st.SearchStrategy[float]:
    """Seconds whose sums are exact, so that the model and the ladder agree on when a time is over."""
    return st.integers(least * 64 + 1, most * 64).map(lambda count: count / 64)


@given(
    st.lists(st.tuples(st.sampled_from(Cause), st.one_of(st.none(), st.sampled_from(DegradationMode)), exact(0, 50)), max_size=30),
    exact(1, 60),
)
def test_no_rung_is_left_before_its_cooldown(sequence: list[tuple[Cause, DegradationMode | None, float]], cooldown: float) -> None:
    """Whatever is asked and taken back when: the mode is never below what was asked for within the cooldown, never above what was asked for
    at all since, and falls at most once within any cooldown of silence.
    """
    ladder, now, log = Ladder(), 0.0, list[tuple[float, Cause, int]]()
    asked = dict[Cause, int]()
    for cause, mode, pause in sequence:
        for at in (now + pause / 2, now + pause):
            ladder, _ = settle(ladder, at)
            recent = [rank for when, _, rank in log if at - when < cooldown]
            assert ladder.mode.rank >= max([*asked.values(), 0])
            assert ladder.mode.rank <= max([*asked.values(), *recent, 0])
            # what was dropped within the cooldown is still there
            assert ladder.mode.rank >= max([*recent, 0])
        now += pause
        before = asked.pop(cause, 0)
        if mode is None:
            ladder, _ = recover(ladder, cause, now=now, cooldown=cooldown)
        else:
            asked[cause] = mode.rank
            ladder, _ = degrade(ladder, mode, cause, now=now, cooldown=cooldown)
        if before > asked.get(cause, 0):
            log.append((now, cause, before))
    for cause in Cause:
        ladder, _ = recover(ladder, cause, now=now, cooldown=cooldown)
    ladder, _ = settle(ladder, now + cooldown)
    assert ladder == Ladder()


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
