"""Restart protection by itself: what it answers in words, and that it is the policy that stands above every leaf."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import InvalidField, RestartHistory, SupervisorFlags
from supervisor.core.errors import CallError
from supervisor.core.message import Boot, CycleChild, Judge
from workers import GracefulDegradation
from workers.config.flags import flags_of
from workers.config.model import MemoryGuardianConfig, RestartPolicy
from workers.protection import RestartProtection

from .machine_driver import Play, child

POLICY = RestartPolicy(max_attempts=3, attempt_window=3600.0, initial_cooldown=30.0, max_cooldown=300.0, circuit_failures=3)


class Clock:
    """Monotonic seconds, by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_answers_are_words() -> None:
    """Admitted, in a cooldown, beyond the window, and with an open circuit: each says how much is left, or when to ask again."""
    clock = Clock()
    protection = RestartProtection(MemoryGuardianConfig(restart_policy=POLICY), clock=clock)
    assert protection.can_restart() == (True, "a restart is admitted: 0 of 3 were made within 1 h 00 min")
    protection.record_attempt(True, "memory")
    assert protection.can_restart() == (False, "the cooldown after the last restart ends in 30 s")
    assert protection.get_cooldown_remaining() == 30.0
    clock.now += 30.0
    assert protection.can_restart() == (True, "a restart is admitted: 1 of 3 were made within 1 h 00 min")
    protection.record_attempt(True)
    clock.now += 300.0
    protection.record_attempt(True)
    clock.now += 300.0
    admitted, why = protection.can_restart()
    assert not admitted
    assert why == "3 restarts within 3600 s, 3 allowed; the next may be in 49 min 30 s"
    clock.now += 2970.1
    assert protection.can_restart()[0]
    assert protection.get_statistics()["attempts_left"] == 1


def test_failures_in_a_row_open_the_circuit_for_one_trial() -> None:
    """It refuses for its time, admits one, and a success closes it; a reset forgets it all."""
    clock = Clock()
    protection = RestartProtection(POLICY, clock=clock)
    for _ in range(3):
        protection.record_attempt(False, "it was back at once")
        clock.now += 300.0
    admitted, why = protection.can_restart()
    assert not admitted
    assert why == "the circuit of the breaker is open after repeated failures; the next may be in 25 min 00 s"
    assert protection.get_statistics()["circuit"] == "open"
    clock.now += 1500.0
    trial = "a restart is admitted as the one trial after repeated failures: 0 of 3 were made within 1 h 00 min"
    assert protection.can_restart() == (True, trial)
    assert protection.get_statistics()["circuit"] == "half_open"
    protection.record_attempt(True)
    assert protection.get_statistics()["circuit"] == "closed"
    protection.reset()
    assert protection.get_statistics() == {
        "total_attempts": 0,
        "successful": 0,
        "failed": 0,
        "attempts_in_window": 0,
        "attempts_left": 3,
        "consecutive_failures": 0,
        "cooldown_remaining": 0.0,
        "circuit": "closed",
    }
    assert protection.history == RestartHistory()


def test_an_attempt_that_was_not_admitted_counts() -> None:
    """Whoever restarts all the same spends what there is, and the cooldown goes on."""
    clock = Clock()
    protection = RestartProtection(POLICY, clock=clock)
    protection.record_attempt(True)
    protection.record_attempt(True)
    assert protection.get_statistics()["attempts_in_window"] == 2
    assert protection.get_cooldown_remaining() == 30.0


def test_it_goes_on_where_another_ended() -> None:
    """The history is passed on, also across a clock that begins anew."""
    clock, later = Clock(), Clock()
    first = RestartProtection(POLICY, clock=clock)
    first.record_attempt(False)
    later.now = 5.0
    second = RestartProtection(POLICY, history=first.history, clock=later)
    assert second.can_restart() == first.can_restart()
    later.now = 4.0  # a clock that steps back changes nothing
    assert second.get_cooldown_remaining() == 30.0


@given(steps=st.lists(st.tuples(st.integers(0, 2000).map(float), st.booleans()), max_size=12))
def test_it_answers_as_the_supervisor_above_a_leaf(steps: list[tuple[float, bool]]) -> None:
    """Attempt after attempt, with any pauses and outcomes: admitted here exactly when a supervisor of the same policy admits it."""
    clock = Clock()
    protection = RestartProtection(POLICY, clock=clock)
    run = Play([child("a")], SupervisorFlags(**flags_of(POLICY), judged=True))
    run.now = clock.now
    run.tell(Boot())
    for pause, success in steps:
        run.wait(pause)
        clock.now = run.now
        try:
            run.ask(CycleChild("a"))
        except CallError:
            assert not protection.can_restart()[0]
            continue
        assert protection.can_restart()[0]
        run.tell(Judge("a", run.row("a").generation, success=success))
        protection.record_attempt(success)


def test_the_policy_of_a_guardian_is_this_one() -> None:
    """The flags are those that the supervisor above a leaf gets."""
    flags = SupervisorFlags(**flags_of(POLICY))
    assert (flags.intensity, flags.period, flags.stability) == (3, 3600.0, 30.0)


def test_what_is_of_the_wrong_kind_is_named() -> None:
    """Where it is given, and not where it is used later; what is refused has not been counted."""
    with pytest.raises(InvalidField, match=r"RestartProtection: config = 'strict'"):
        RestartProtection("strict")  # type: ignore[arg-type]
    protection = RestartProtection(POLICY)
    with pytest.raises(InvalidField, match=r"success = 'yes': expected True or False"):
        protection.record_attempt("yes")  # type: ignore[arg-type]
    with pytest.raises(InvalidField, match=r"reason = 5"):
        protection.record_attempt(True, 5)  # type: ignore[arg-type]
    assert protection.get_statistics()["attempts_in_window"] == 0
    with pytest.raises(InvalidField, match=r"guardian = 5: expected a MemoryGuardian, or None"):
        GracefulDegradation(5)  # type: ignore[arg-type]
