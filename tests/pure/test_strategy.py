"""Which children a restart takes along."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.spec import Strategy
from supervisor.core.strategy import affected

IDS = st.lists(st.text("abcdefgh", min_size=1, max_size=2), min_size=1, max_size=8, unique=True)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [(Strategy.ONE_FOR_ONE, ["b"]), (Strategy.REST_FOR_ONE, ["b", "c"]), (Strategy.ONE_FOR_ALL, ["a", "b", "c"])],
)
def test_by_hand(strategy: Strategy, expected: list[str]) -> None:
    """Itself; itself and those after it; all."""
    assert list(affected(strategy, ["a", "b", "c"], "b")) == expected


@given(st.sampled_from(Strategy), IDS, st.data())
def test_the_affected_are_an_ordered_slice_that_holds_the_one_that_failed(strategy: Strategy, ids: list[str], data: st.DataObject) -> None:
    """Start order is kept, and there are no gaps."""
    failed = data.draw(st.sampled_from(ids))
    taken = list(affected(strategy, ids, failed))

    start = ids.index(taken[0])
    assert taken == ids[start : start + len(taken)]
    assert failed in taken


def test_an_unknown_child_affects_nobody() -> None:
    """rest_for_one of a stranger is an error, not everybody."""
    with pytest.raises(ValueError, match="x"):
        affected(Strategy.REST_FOR_ONE, ["a"], "x")
