"""Which reader is in use: the best that works, without alternating between two."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.policy.succession import FIRST_PAUSE, LONGEST_PAUSE, SETTLED, Succession, blinded, failed, order, succession, worked


def test_the_best_is_tried_first() -> None:
    """Nothing has failed yet."""
    assert order(succession(3), 0.0) == (0, 1, 2)


def test_one_that_failed_is_passed_over_for_a_while() -> None:
    """The next one reads meanwhile; when the pause is over the better one is tried again, before it."""
    state = worked(failed(succession(3), 0, 10.0), 1, 10.0)
    assert order(state, 10.5) == (1, 2, 0)
    assert order(state, 10.0 + FIRST_PAUSE) == (0, 1, 2)


def test_the_pause_doubles_up_to_a_bound() -> None:
    """One that works at each trial and fails after it does not make us alternate."""
    state, now, pauses = succession(2), 0.0, []
    for _ in range(10):
        state = worked(failed(state, 0, now), 1, now)
        pauses.append(state.records[0].pause)
        now = state.records[0].not_before
        state = worked(state, 0, now)
    assert pauses == [min(FIRST_PAUSE * 2**number, LONGEST_PAUSE) for number in range(10)]


def test_its_failures_are_forgotten_once_it_has_worked_for_long() -> None:
    """Then a new one is the first again."""
    state = worked(failed(failed(succession(2), 0, 0.0), 0, 1.0), 1, 1.0)
    state = worked(state, 0, 10.0)
    assert worked(state, 0, 10.0 + SETTLED - 1).records[0].pause == 2 * FIRST_PAUSE
    state = worked(state, 0, 10.0 + SETTLED)
    assert failed(state, 0, 100.0).records[0].pause == FIRST_PAUSE


def test_blind_all_are_tried_each_time() -> None:
    """However long their pauses are: nothing is worse than to see nothing."""
    state = blinded(failed(failed(succession(2), 0, 0.0), 1, 0.0))
    assert order(state, 0.1) == (0, 1)
    assert worked(state, 1, 0.2).current == 1


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.floats(0, 50)), max_size=60))
def test_every_reading_tries_each_once_and_the_current_one_was_the_last_that_worked(
    steps: list[tuple[int, bool, float]],
) -> None:
    """In every history: `order` is a permutation, so that only when all have failed nothing was read."""
    state: Succession = succession(3)
    now, last = 0.0, 0
    for place, works, pause in steps:
        now += pause
        tried = order(state, now)
        assert sorted(tried) == [0, 1, 2]
        assert tried.index(state.current) == sum(record.not_before <= now for record in state.records[: state.current])
        if works:
            state, last = worked(state, place, now), place
        else:
            state = failed(state, place, now)
            assert FIRST_PAUSE <= state.records[place].pause <= LONGEST_PAUSE
        assert state.current == last
