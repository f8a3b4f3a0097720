"""Which states are not kept: by age, by number, by size; decided without looking at anything."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from workers.config import StateConfig
from workers.state.index import StateEntry
from workers.state.retention import Retention, Surplus, retention_of, surplus

NOW = 1_000_000.0
DAY = 86400.0


def entry(number: int, age: float, size_bytes: int = 10, agent: str = "a") -> StateEntry:
    return StateEntry(f"{number:04}", "key", Path(f"/{number}"), size_bytes, NOW - age, agent)


entries = st.lists(st.tuples(st.floats(-DAY, 30 * DAY), st.integers(0, 1000)), max_size=12).map(
    lambda rows: [entry(number, age, size) for number, (age, size) in enumerate(rows)]
)
limits = st.builds(
    Retention,
    st.one_of(st.none(), st.floats(1.0, 30 * DAY)),
    st.one_of(st.none(), st.integers(1, 12)),
    st.one_of(st.none(), st.integers(1, 5000)),
)


@given(entries, limits, st.sets(st.integers(0, 11)))
def test_what_is_kept_is_within_the_limits_or_spared(states: list[StateEntry], retention: Retention, chosen: set[int]) -> None:
    """Nothing spared goes; what stays beside it fits all limits together with it; without limits everything stays."""
    spared = {state.state_id for number, state in enumerate(states) if number in chosen}
    gone = surplus(states, retention, NOW, spared)
    kept = [state for state in states if state.state_id not in gone]
    free = [state for state in kept if state.state_id not in spared]
    assert not spared & set(gone)
    if free:
        assert retention.max_age is None or all(NOW - state.time <= retention.max_age for state in free)
        assert retention.max_count is None or len(kept) <= retention.max_count
        assert retention.max_bytes is None or sum(state.size_bytes for state in kept) <= retention.max_bytes
    assert surplus(states, Retention(None, None, None), NOW, spared) == {}


@given(entries, limits)
def test_the_newest_are_kept_and_no_more_goes_than_has_to(states: list[StateEntry], retention: Retention) -> None:
    """Whatever is removed is older than whatever stays, and the newest of the removed did not fit."""
    gone = surplus(states, retention, NOW)
    order = sorted(states, key=lambda state: (state.time, state.state_id))
    assert [state.state_id in gone for state in order] == sorted((state.state_id in gone for state in order), reverse=True)
    if gone:
        first = [state for state in order if state.state_id in gone][-1]
        kept = [state for state in order if state.state_id not in gone]
        why = gone[first.state_id]
        assert why is not Surplus.AGE or (retention.max_age is not None and NOW - first.time > retention.max_age)
        assert why is not Surplus.COUNT or len(kept) == retention.max_count
        sizes = sum(state.size_bytes for state in (*kept, first))
        assert why is not Surplus.SIZE or (retention.max_bytes is not None and sizes > retention.max_bytes)


@given(entries, limits, st.sets(st.integers(0, 11)))
def test_pruning_again_removes_nothing(states: list[StateEntry], retention: Retention, chosen: set[int]) -> None:
    """Once pruned, a project stays as it is until time goes on or a state comes."""
    spared = {state.state_id for number, state in enumerate(states) if number in chosen}
    gone = surplus(states, retention, NOW, spared)
    assert surplus([state for state in states if state.state_id not in gone], retention, NOW, spared) == {}


def test_each_limit_says_why() -> None:
    """The reason that is told is the limit that was passed."""
    states = [entry(1, 8 * DAY), entry(2, 3.0), entry(3, 2.0), entry(4, 1.0)]
    assert surplus(states, Retention(), NOW) == {"0001": Surplus.AGE}
    assert surplus(states, Retention(max_count=2), NOW) == {"0002": Surplus.COUNT, "0001": Surplus.COUNT}
    assert surplus(states, Retention(max_bytes=35), NOW) == {"0001": Surplus.AGE}
    assert surplus(states, Retention(max_bytes=15), NOW) == dict.fromkeys(("0003", "0002", "0001"), Surplus.SIZE)
    assert surplus(states, Retention(max_count=1), NOW, {"0001"}) == dict.fromkeys(("0002", "0003", "0004"), Surplus.COUNT)


def test_a_state_from_the_future_is_not_too_old() -> None:
    """A clock that was put back makes nothing old."""
    assert surplus([entry(1, -DAY)], Retention(max_age=1.0), NOW) == {}


def test_the_limits_of_a_configuration() -> None:
    """Days become seconds, and zeros no limits."""
    assert retention_of(StateConfig()) == Retention(7 * DAY, 100, 1 << 30)
    zero = StateConfig().max_size
    assert retention_of(StateConfig(0.0, 0, type(zero)(amount_bytes=0))) == Retention(None, None, None)
