"""Where the kernel's marks are set, and how often: page cache must neither hide a crossing nor make us spin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.policy.arming import FIRST_PAUSE, LATE, LONGEST_PAUSE, Patience, disappointed, has_drifted, is_near, is_spent, marks
from workers.policy.pressure import Thresholds

MIB = 1 << 20
LIMITS = Thresholds(100 * MIB, 200 * MIB, 300 * MIB)


def test_a_mark_for_each_level_above_what_does_not_count() -> None:
    """50 MiB of page cache move all marks up by as much; the tables of the pages to come, and a batch of the kernel's, are added."""
    found = marks(LIMITS, 20 * MIB, 70 * MIB)
    assert found.besides == 50 * MIB and found.totals == (100 * MIB, 200 * MIB, 300 * MIB)
    assert [charge - total - 50 * MIB - LATE for charge, total in zip(found.charges[1:], found.totals, strict=True)] == [
        80 * MIB // 512,
        180 * MIB // 512,
        280 * MIB // 512,
    ]


def test_less_page_cache_is_told_as_well() -> None:
    """Or a crossing would come before its mark: where an eighth of the way to the next level was given back they are set anew."""
    assert marks(LIMITS, 20 * MIB, 70 * MIB).charges[0] == 60 * MIB
    assert len(marks(LIMITS, 20 * MIB, 20 * MIB).charges) == 3, "there is nothing to give back"


def test_levels_below_keep_their_marks() -> None:
    """Whoever falls below one comes back to it."""
    assert marks(LIMITS, 250 * MIB, 250 * MIB).charges[:2] == (100 * MIB + LATE, 200 * MIB + LATE)


def test_marks_are_set_anew_only_when_it_matters() -> None:
    """Far from a level more may change than near it."""
    found = marks(LIMITS, 20 * MIB, 20 * MIB)
    assert not has_drifted(found, 20 * MIB, 29 * MIB)
    assert has_drifted(found, 20 * MIB, 31 * MIB)
    assert not has_drifted(found, 98 * MIB, 101 * MIB)
    assert has_drifted(found, 98 * MIB, 103 * MIB)


def test_less_cache_is_a_drift_as_well() -> None:
    """Or the mark would lie beyond the crossing."""
    assert has_drifted(marks(LIMITS, 20 * MIB, 90 * MIB), 20 * MIB, 30 * MIB)


def test_a_mark_that_has_told_too_early_is_spent() -> None:
    """What does not count has grown: the mark of 200 MiB was reached while 197 count, and says nothing when 200 do."""
    found = marks(LIMITS, 120 * MIB, 120 * MIB)
    assert is_spent(found, 197 * MIB, 200 * MIB)
    assert not is_spent(found, 197 * MIB, 199 * MIB)
    assert not is_spent(found, 201 * MIB, 204 * MIB), "its level is reached"


def test_near_is_just_below_a_level() -> None:
    """Only there is it worth to look again at once."""
    assert [is_near(LIMITS, total * MIB) for total in (95, 97, 100, 150, 199, 400)] == [False, True, False, False, True, False]


def test_patience_grows_with_each_wake_for_nothing() -> None:
    """A program that reads files wakes us every other second at most, and one that has stopped that is forgiven."""
    patience, now, pauses = Patience(), 0.0, []
    for _ in range(9):
        patience = disappointed(patience, now)
        pauses.append(patience.pause)
        now = patience.not_before
    assert pauses == [min(FIRST_PAUSE * 2**number, LONGEST_PAUSE) for number in range(9)]
    assert disappointed(patience, now + LONGEST_PAUSE + 1).pause == FIRST_PAUSE


@given(st.integers(0, 400 * MIB), st.integers(0, 10_000 * MIB), st.integers(0, 400 * MIB))
def test_without_drift_no_mark_is_far_from_its_crossing(total: int, besides: int, later: int) -> None:
    """As long as marks are not said to have drifted, the next crossing is told within an eighth of the way to it, or 4 MiB."""
    found = marks(LIMITS, total, total + besides)
    assert list(found.charges) == sorted(found.charges)
    assert not has_drifted(found, total, total + besides)
    if not has_drifted(found, later, later + besides // 2):
        gap = next((at - later for at in found.totals if at > later), None)
        assert gap is None or abs(besides // 2 - besides) <= max(4 * MIB, gap // 8)
