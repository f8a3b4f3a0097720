"""What a supervisor has spent, in a form that outlives it: nothing is won or lost by passing it on."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import Backoff, Breaker, InvalidField, RestartHistory, Spent, SupervisorFlags, subtree
from supervisor.core.budget import Admitted, Budget, Refused, Wait
from supervisor.core.history import history_of, with_history
from supervisor.core.message import Boot, CycleChild, Judge
from supervisor.core.state import State, initial

from .machine_driver import PATH, Play, child

FLAGS = SupervisorFlags(intensity=3, period=3600.0, backoff=Backoff(30.0, 2.0, 300.0), breaker=Breaker(3, 1800.0), judged=True)

# whole: sums of them are exact
seconds = st.integers(0, 10**7).map(float)


@st.composite
def spent(draw: st.DrawFn) -> Spent:
    ages = sorted(draw(st.lists(seconds, max_size=5)), reverse=True)
    reopens = draw(st.none() | seconds)
    return Spent(tuple(ages), draw(st.integers(0, 9)), draw(seconds), draw(st.integers(0, 9)), reopens)


def taken_over(history: RestartHistory, now: float, flags: SupervisorFlags = FLAGS) -> State:
    return with_history(initial(PATH, flags, (child("a"),)), history, now)


@given(crashes=spent(), cycles=spent(), passed=seconds)
def test_it_survives_json_and_time(crashes: Spent, cycles: Spent, passed: float) -> None:
    """What is read is what was written, and time passes for it as it does for a clock."""
    history = RestartHistory(crashes, cycles)
    read = RestartHistory.of_data(json.loads(json.dumps(history.as_data())))
    assert read == history
    later = read.after(passed)
    assert later.cycles.attempts == tuple(age + passed for age in cycles.attempts)
    assert later.crashes.cooldown == max(0.0, crashes.cooldown - passed)
    assert later.crashes.streak == crashes.streak
    assert read.after(0.0) == read


@given(history=st.builds(RestartHistory, spent(), spent()), now=seconds)
def test_no_history_locks_for_longer_than_the_policy(history: RestartHistory, now: float) -> None:
    """Whatever a file says, a cooldown ends within its longest, a circuit within its reset, and the window within its period."""
    state = taken_over(history, now)
    for budget in (state.crash, state.cycle):
        longest = now + max(FLAGS.period, 300.0, 1800.0)
        assert isinstance(budget.verdict(FLAGS, math.nextafter(longest, math.inf)), Admitted)
        match budget.verdict(FLAGS, now):
            case Wait(until=until):
                assert now < until <= now + 300.0
            case Refused(until=until):
                assert until is not None
                assert until <= math.nextafter(now + 3600.0, math.inf)
            case _:
                pass


@given(history=st.builds(RestartHistory, spent(), spent()), now=seconds)
def test_what_is_taken_over_is_what_was_spent(history: RestartHistory, now: float) -> None:
    """The successor answers as the supervisor did from which it took over, and what it has spent is the same again."""
    first = taken_over(history, 0.0)
    second = taken_over(history_of(first, 0.0), now)
    for before, after in ((first.crash, second.crash), (first.cycle, second.cycle)):
        assert type(before.verdict(FLAGS, 0.0)) is type(after.verdict(FLAGS, now))
        assert (before.streak, before.circuit.failures, before.window.size) == (after.streak, after.circuit.failures, after.window.size)
        assert before.left(FLAGS, 0.0) == after.left(FLAGS, now)


def test_it_is_the_supervisors_own_history() -> None:
    """Attempts, cooldown and failures of a machine that ran are told as of now, and taken over they refuse as they did there."""
    run = Play([child("a")], FLAGS)
    run.tell(Boot())
    run.cycle("a")
    run.tell(Judge("a", 2, success=False))
    run.wait(100.0)
    run.cycle("a")
    run.wait(10.0)
    history = history_of(run.state, run.now)

    assert history.cycles == Spent((110.0, 10.0), 2, 50.0, 1)
    assert history.crashes == Spent()
    budget = taken_over(history.after(20.0), 1000.0).cycle
    assert budget.verdict(FLAGS, 1000.0) == Wait(1030.0)
    assert budget.left(FLAGS, 1000.0) == 1


def test_a_trial_under_way_is_not_passed_on() -> None:
    """Nobody knows how it would have ended: the successor may try once, as its predecessor might."""
    run = Play([child("a")], FLAGS)
    run.tell(Boot())
    for generation in (2, 3, 4):
        run.cycle("a")
        run.tell(Judge("a", generation, success=False))
        run.wait(100.0)
    run.wait(1800.0)
    run.cycle("a")
    with pytest.raises(Exception, match="trial"):
        run.ask(CycleChild("a"))

    budget: Budget = taken_over(history_of(run.state, run.now), 0.0).cycle
    assert budget.circuit.reopens == 0.0
    assert isinstance(budget.verdict(FLAGS, 61.0 * 5), Admitted)


def test_without_backoff_and_breaker_only_the_window_is_taken_over() -> None:
    """A policy that knows no cooldown and no circuit is not given one by a history."""
    history = RestartHistory(Spent((5.0,), 3, 100.0, 2, 500.0))
    state = taken_over(history, 50.0, SupervisorFlags(intensity=2, period=10.0))
    assert isinstance(state.crash.verdict(state.flags, 50.0), Admitted)
    assert state.crash.left(state.flags, 50.0) == 1


@pytest.mark.parametrize(
    "data",
    [
        3,
        {"cycles": 3},
        {"cycles": {"attempts": [1.0, 2.0]}},
        {"cycles": {"attempts": [-1.0]}},
        {"cycles": {"attempts": "12"}},
        {"cycles": {"attempts": [float("nan")]}},
        {"cycles": {"streak": -1}},
        {"cycles": {"streak": True}},
        {"cycles": {"cooldown": float("inf")}},
        {"crashes": {"reopens_in": "soon"}},
        {"crashes": {"failures": 1.5}},
    ],
)
def test_what_is_no_history_is_refused(data: Any) -> None:
    """The error names the field."""
    with pytest.raises(InvalidField):
        RestartHistory.of_data(data)


def test_unknown_and_missing_fields_are_harmless() -> None:
    """A later version may say more, an earlier one said less."""
    assert RestartHistory.of_data({"cycles": {"streak": 2, "colour": "red"}, "more": 1}) == RestartHistory(cycles=Spent(streak=2))


def test_wrong_arguments() -> None:
    """They are named at once, where nothing has started."""
    with pytest.raises(InvalidField, match="history"):
        subtree([], history=3)  # type: ignore[call-overload]
    with pytest.raises(InvalidField, match="seconds"):
        RestartHistory().after(-1.0)
    with pytest.raises(InvalidField, match="judged"):
        SupervisorFlags(judged=1)  # type: ignore[arg-type]
