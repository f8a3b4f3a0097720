"""What the machine has beyond OTP: pauses, circuit, hold, and controlled restarts with a budget of their own."""

from __future__ import annotations

import math
from typing import Any

import pytest

from supervisor.core.backoff import Backoff
from supervisor.core.breaker import CLOSED, Breaker, CircuitState
from supervisor.core.budget import Admitted, Refused
from supervisor.core.calls import cycle_verdict
from supervisor.core.errors import (
    ChildNotFound,
    ChildNotRunning,
    ChildRestarting,
    NoProc,
    RestartIntensityExceeded,
    RestartPostponed,
    RestartRefused,
    StartFailed,
)
from supervisor.core.event import ChildRestarted, RestartDeferred, SupervisorGaveUp
from supervisor.core.exits import Exit
from supervisor.core.message import (
    Acknowledged,
    Call,
    CycleChild,
    DeleteChild,
    Ended,
    Judge,
    Reconfigure,
    ResetBudgets,
    RestartChild,
    StartChild,
    TerminateChild,
    Tick,
)
from supervisor.core.spec import AutoShutdown, GiveUp, Restart, Strategy, SupervisorFlags
from supervisor.core.state import Phase, wake_at

from .machine_driver import BOOM, PATH, Play, child

BACKOFF = Backoff(10.0, 2.0, 100.0)


def play(ids: str, **flags: Any) -> Play:
    """Running permanent children under a supervisor that admits plenty."""
    run = Play([child(id) for id in ids], SupervisorFlags(**{"intensity": 50, "period": 1000.0, **flags}))
    run.boot()
    return run


# ---------------------------------------------------------------- pauses


def test_the_first_restart_is_immediate_and_the_next_ones_wait() -> None:
    """Each attempt begins a cooldown, and each cooldown is longer than the one before."""
    run = play("a", backoff=BACKOFF)
    assert run.crash("a") == ["start a"]

    assert run.crash("a") == []
    assert run.row("a").phase is Phase.RESTARTING
    assert run.events[-1] == RestartDeferred(("root", "a"), "boom", False, 10.0, generation=2, budget_left=49)
    assert run.wait(9.9) == []
    assert run.wait(0.1) == ["start a"]
    assert run.crash("a") == []
    assert wake_at(run.state) == 30.0


def test_nobody_is_starved_by_a_sibling_that_fails_again_and_again() -> None:
    """Of those that wait for the end of one cooldown the one that is down for the longest is restarted first, whoever asked first."""
    play = Play([child("a"), child("b")], SupervisorFlags(intensity=1000, period=1e6, backoff=Backoff(10.0, 1.0, 10.0)))
    play.boot()
    play.crash("b")
    play.tell(play.ends("b"), play.ends("a"))
    for turn, id in enumerate("bababa", 1):
        play.now = 10.0 * turn
        assert play.tell(Tick()) == [f"start {id}"]
        # it fails before the other one's time is looked at, and so is the first to be told to wait for the next cooldown
        play.crash(id)
        assert play.tell(Tick()) == []


def test_waiting_is_no_attempt() -> None:
    """A restart that waits spends nothing, and is no failure that could end the supervisor."""
    run = play("a", backoff=BACKOFF, intensity=2)
    run.crash("a")
    run.crash("a")

    assert run.state.crash.window.size == 1
    assert list(run.state.failures) == [("a", BOOM)]
    run.wait(10.0)
    assert run.state.crash.window.size == 2
    assert list(run.state.failures) == [("a", BOOM)] * 2


def test_the_pause_is_placed_within_its_jitter_by_the_seed() -> None:
    """The same seed gives the same pauses; without jitter no number is drawn."""

    def pauses(seed: int) -> list[float]:
        flags = SupervisorFlags(intensity=50, period=1000.0, backoff=Backoff(10.0, 1.0, 100.0, 0.5))
        run = Play([child("a")], flags, seed=seed)
        run.boot()
        waits = []
        for _ in range(20):
            before = run.now
            run.crash("a")
            if run.row("a").phase is Phase.RESTARTING:
                waits.append(wake_at(run.state) - before)
                run.wait(waits[-1])
        return waits

    assert pauses(1) == pauses(1)
    assert pauses(1) != pauses(2)
    assert len({round(pause, 3) for pause in pauses(1)}) > 15
    assert all(5.0 <= pause <= 15.0 for pause in pauses(1))
    assert min(pauses(1)) < 8.0
    assert max(pauses(1)) > 12.0
    steady = play("a", backoff=BACKOFF)
    steady.crash("a")
    assert steady.state.seed == 0


def test_the_numbers_of_the_generator_are_known() -> None:
    """Knuth's MMIX generator: the first numbers after seed 0."""
    run = Play([child("a")], SupervisorFlags(backoff=Backoff(10.0, 1.0, 100.0, 0.5)))
    run.boot()
    run.crash("a")

    u = (1442695040888963407 >> 11) / 2**53
    assert run.state.seed == 1442695040888963407
    assert run.state.crash.ready_at == pytest.approx(10.0 * (1 + 0.5 * (2 * u - 1)), abs=1e-12)
    run.crash("a")
    assert run.state.seed == 1876011003808476466


def test_a_life_that_lasts_ends_the_growth_of_the_pauses() -> None:
    """After `stability` seconds of running the streak is over; the cooldown that runs is kept."""
    run = play("a", backoff=BACKOFF, stability=30.0)
    run.crash("a")
    run.wait(30.0)
    assert run.crash("a") == ["start a"]
    assert run.state.crash.streak == 1

    run.wait(29.0)
    run.crash("a")
    assert run.state.crash.streak == 2


def test_the_life_of_one_child_that_lasts_counts_though_another_was_restarted_since() -> None:
    """Two children that fail seldom, in turns, do not add up to a streak."""
    run = play("ab", backoff=BACKOFF, stability=30.0)
    for _ in range(5):
        assert run.crash("a") == ["start a"]
        run.wait(60.0)
        assert run.crash("b") == ["start b"]
        run.wait(60.0)

    assert run.state.crash.streak == 1


def test_a_life_is_measured_to_its_end_not_to_the_moment_it_is_served() -> None:
    """A child that dies early while the supervisor is busy for long has not lasted."""
    run = play("ab", breaker=Breaker(1, 500.0), stability=30.0)
    run.crash("a")
    run.stubborn = {"b"}
    run.tell(Call(1, TerminateChild("b")))
    run.crash("a")
    assert run.state.crash.circuit.state(run.now) is CircuitState.OPEN


def test_giving_up_looks_at_the_window_at_the_end_of_the_cooldown() -> None:
    """A restart that would be within the budget by the time its cooldown is over waits for it."""
    run = play("a", backoff=Backoff(10.0, 1.0, 100.0), intensity=1, period=5.0)
    run.crash("a")

    assert run.crash("a") == []
    assert run.wait(10.0) == ["start a"]


def test_a_group_waits_with_the_child_that_failed() -> None:
    """During the cooldown the siblings run on; at its end they restart with it."""
    run = play("abc", backoff=BACKOFF, strategy=Strategy.ONE_FOR_ALL)
    run.crash("b")
    assert run.crash("b") == []
    assert run.up() == "a c"

    assert run.wait(10.0) == ["ask c", "ask a", "start a", "start b", "start c"]


def test_waiting_restarts_are_made_in_order_of_time() -> None:
    """Two children wait: the one whose time comes first goes first, and the other waits out the new cooldown."""
    run = play("abc", backoff=BACKOFF)
    run.crash("a")
    run.crash("b")
    run.crash("c")
    assert list(run.state.retries) == [(10.0, "b"), (10.0, "c")]

    assert run.wait(10.0) == ["start b"]
    assert list(run.state.retries) == [(30.0, "c")]


def test_of_two_waiting_restarts_the_one_whose_time_comes_is_taken() -> None:
    """Each has its own time; those of one time keep the order in which they came."""
    run = play("ab", backoff=BACKOFF)
    run.now = 100.0
    run.crash("a")
    run.now = 101.0
    run.crash("a")
    assert run.events[-1] == RestartDeferred(("root", "a"), "boom", False, 9.0, generation=2, budget_left=49)
    assert (run.row("a").phase, run.row("a").since) == (Phase.RESTARTING, 101.0)
    run.now = 104.0
    run.starts = {"b": ["fail"]}
    with pytest.raises(StartFailed):
        run.ask(CycleChild("b"))
    assert list(run.state.retries) == [(104.0, "b"), (110.0, "a")]
    assert run.row("b").since == 104.0
    assert wake_at(run.state) == 104.0
    run.tell(Tick())

    assert list(run.state.retries) == [(110.0, "a"), (110.0, "b")]
    assert wake_at(run.state) == 110.0
    last = play("ba", backoff=BACKOFF)
    for id in "aba":
        last.crash(id)
    assert list(last.state.retries) == [(10.0, "b"), (10.0, "a")]


def test_a_restart_that_is_due_during_a_job_is_made_after_it() -> None:
    """The machine asks to be woken for it once it is idle."""
    run = play("ab", backoff=BACKOFF)
    run.crash("a")
    run.crash("a")
    run.wait(8.0)
    run.stubborn = {"b"}
    run.tell(Call(1, TerminateChild("b")))
    assert wake_at(run.state) == 13.0

    assert run.wait(5.0) == ["kill b", "start a"]


# ---------------------------------------------------------------- circuit and hold


HOLD: dict[str, Any] = {"breaker": Breaker(3, 100.0), "on_give_up": GiveUp.HOLD, "stability": 30.0}


def test_failed_attempts_in_a_row_open_the_circuit_and_the_supervisor_escalates() -> None:
    """A breaker without `hold` ends the supervisor as a spent window does."""
    run = play("a", breaker=Breaker(3, 100.0))
    assert [run.crash("a") for _ in range(3)] == [["start a"]] * 3

    assert run.crash("a") == ["finish shutdown"]
    assert run.finished is not None
    assert isinstance(run.finished.error, RestartIntensityExceeded)


def test_children_that_fail_in_turns_open_the_circuit_too() -> None:
    """Failed attempts in a row are counted over all children."""
    run = play("ab", breaker=Breaker(3, 100.0))
    for id in "abab":
        assert run.crash(id) == [f"start {id}"]

    assert run.crash("a")[-1] == "finish shutdown"


def test_a_breaker_that_gives_up_says_so() -> None:
    """Not that a window is spent which is not; with the first failure and those of the restarts in a row, and no older ones."""
    run = play("a", intensity=9, period=3600.0, breaker=Breaker(failures=3), stability=30.0)
    run.crash("a", Exit.normal())
    run.wait(60.0)  # that restart was a success
    for number in range(4):
        run.crash("a", Exit.failed(ValueError(number)))
    assert run.finished is not None
    error = run.finished.error
    assert isinstance(error, RestartIntensityExceeded)
    assert error.reason == "its breaker is open after 3 failed restarts in a row"
    assert str(error) == f"root gave up: {error.reason}; the last: a: ValueError: 3"
    assert [exit.reason for _, exit in error.exits] == [f"ValueError: {number}" for number in range(4)]


def test_what_held_and_no_longer_does_says_so_too() -> None:
    """Also where it was the window that had opened its circuit."""
    run = play("ab", **{**HOLD, "intensity": 0})
    run.crash("a")
    run.ask(Reconfigure({"on_give_up": GiveUp.ESCALATE}, ()))
    run.crash("b")
    assert run.finished is not None
    assert str(run.finished.error) == "root gave up: its breaker is open; the last: b: boom"


def test_a_holding_supervisor_stays_up_and_tries_once_when_the_circuit_half_opens() -> None:
    """hold: the child stays down, its siblings run; time alone brings one trial; its failure closes the door again."""
    run = play("ab", **HOLD)
    for _ in range(3):
        run.crash("a")
    assert run.crash("a") == []
    assert run.up() == "b"
    gave_up = SupervisorGaveUp(PATH, "a", "the circuit of the breaker is open after repeated failures", True, 100.0, BOOM, budget_left=50)
    assert run.events[-1] == gave_up

    assert run.wait(99.9) == []
    assert run.wait(0.1) == ["start a"]
    assert run.crash("a") == []
    assert run.state.crash.circuit.state(run.now) is CircuitState.OPEN
    assert wake_at(run.state) == 200.0
    assert run.wait(100.0) == ["start a"]


def test_a_trial_that_lasts_closes_the_circuit() -> None:
    """After it the budget is a full one again."""
    run = play("a", **HOLD)
    for _ in range(4):
        run.crash("a")
    run.wait(100.0)
    run.wait(30.0)

    assert run.crash("a") == ["start a"]
    assert run.state.crash.circuit == CLOSED
    assert run.state.crash.window.size == 1


def test_a_spent_window_opens_the_circuit_of_a_holding_supervisor() -> None:
    """hold: also where the window is spent before the breaker counts enough failures."""
    run = play("a", **{**HOLD, "intensity": 1})
    run.crash("a")
    run.wait(40.0)

    assert run.crash("a") == []
    assert run.events[-1] == SupervisorGaveUp(PATH, "a", "1 restarts within 1000 s, 1 allowed", True, 100.0, BOOM, budget_left=0)
    assert wake_at(run.state) == 140.0
    assert run.wait(100.0) == ["start a"]


def test_a_half_open_circuit_admits_exactly_one_trial() -> None:
    """Of two children that are held, one is tried; the other is held again."""
    run = play("ab", **HOLD)
    for id in "aaaab":
        run.crash(id)
    assert run.up() == ""
    assert [at for at, _ in run.state.retries] == [100.0, 100.0]

    assert run.wait(100.0) == ["start a"]
    assert run.row("b").phase is Phase.RESTARTING
    assert [event.reason for event in run.events if isinstance(event, SupervisorGaveUp)] == [
        "the circuit of the breaker is open after repeated failures",
        "the circuit of the breaker is open after repeated failures",
        "the one trial of the half-open breaker is under way",
    ]
    assert run.wait(100.0) == ["start b"]


def test_a_trial_waits_for_the_end_of_the_cooldown() -> None:
    """A circuit that half-opens early does not cut a pause short."""
    run = play("a", **{**HOLD, "breaker": Breaker(1, 5.0)}, backoff=BACKOFF)
    run.crash("a")
    run.crash("a")
    assert wake_at(run.state) == 5.0

    assert run.wait(9.9) == []
    assert run.wait(0.1) == ["start a"]


def test_a_trial_that_is_terminated_is_none() -> None:
    """A life that somebody else cut short proves nothing: the next attempt is the trial."""
    run = play("ab", **HOLD)
    for _ in range(4):
        run.crash("a")
    run.wait(100.0)
    run.ask(TerminateChild("a"))

    run.ask(DeleteChild("a"))
    assert run.crash("b") == ["start b"]
    assert run.crash("b") == []


def test_a_trial_that_is_restarted_with_a_group_is_none() -> None:
    """The same where a sibling's controlled restart takes the trial along: the new life is not the one that was tried."""
    run = play("ab", **HOLD, strategy=Strategy.ONE_FOR_ALL)
    for _ in range(4):
        run.crash("a")
    run.wait(100.0)
    run.cycle("b")
    run.wait(1.0)

    assert run.crash("b") == ["ask a", "start a", "start b"]


def test_a_trial_that_lasted_before_it_was_terminated_has_succeeded() -> None:
    """What a life has proved is not lost with its end."""
    run = play("ab", **HOLD)
    for _ in range(4):
        run.crash("a")
    run.wait(100.0)
    run.wait(30.0)
    run.ask(TerminateChild("a"))

    assert run.state.crash.circuit == CLOSED


def test_a_trial_that_ends_cleanly_and_is_done_is_no_failure() -> None:
    """A transient child that finishes its work has not failed."""
    run = Play([child("a", Restart.TRANSIENT), child("b")], SupervisorFlags(intensity=50, **HOLD))
    run.boot()
    for _ in range(4):
        run.crash("a")
    run.wait(100.0)
    run.crash("a", Exit.normal())

    assert run.state.crash.circuit.state(run.now) is CircuitState.HALF_OPEN
    assert run.crash("b") == ["start b"]


def test_a_trial_that_ended_early_has_not_lasted_because_its_end_is_served_late() -> None:
    """Only a life that runs can last: a clean end that waits in the mailbox is no success."""
    specs = [child("a", Restart.TRANSIENT), child("b"), child("c", shutdown=1000.0)]
    run = Play(specs, SupervisorFlags(intensity=50, **HOLD))
    run.boot()
    for _ in range(4):
        run.crash("a")
    run.wait(100.0)
    run.stubborn = {"c"}
    run.tell(Call(1, TerminateChild("c")))
    run.tell(run.ends("b"), run.ends("a", Exit.normal()))
    run.wait(500.0)
    run.crash("c", Exit.shutdown())

    assert run.state.crash.circuit.reopens is not None


def test_a_group_attempt_that_fails_at_a_sibling_is_a_failed_attempt() -> None:
    """The attempt is the subject's, whoever fails to start in it; a subject that has failed already is not counted twice."""
    run = play("ab", **{**HOLD, "breaker": Breaker(1, 100.0)}, strategy=Strategy.ONE_FOR_ALL)
    run.starts = {"b": ["fail"]}
    run.crash("a")

    assert run.state.crash.circuit.failures == 1
    assert run.state.crash.circuit.reopens == 100.0
    assert run.row("b").phase is Phase.RESTARTING

    twice = play("ab", **HOLD, strategy=Strategy.ONE_FOR_ALL)
    twice.starts = {"b": ["silent"]}
    twice.crash("a")
    twice.crash("a")
    twice.tell(Ended("b", 2, BOOM))
    assert twice.state.crash.circuit.failures == 1


def test_an_attempt_is_not_judged_by_the_life_before_it() -> None:
    """While a group is stopped, an admitted attempt whose new life has not begun is neither void nor a success."""
    run = play("abc", **HOLD, strategy=Strategy.REST_FOR_ONE)
    run.wait(1000.0)
    run.stubborn = {"c"}
    run.tell(Call(1, CycleChild("b")))
    run.crash("a")
    assert dict(run.state.cycle.pending) == {"b": 2}

    held = play("abc", **HOLD, strategy=Strategy.ONE_FOR_ALL)
    held.stubborn = {"c"}
    held.crash("a")
    held.crash("b")
    assert dict(held.state.crash.pending) == {"a": 2}


# ---------------------------------------------------------------- controlled restarts


def test_a_controlled_restart_stops_and_starts_a_running_child() -> None:
    """cycle: within its `shutdown`, in its place, one generation on; the answer is the new life's value."""
    run = play("ab")

    assert run.ask(CycleChild("a", "memory")) == "a2"
    assert run.done == ["ask a", "start a"]
    assert run.events[-1] == ChildRestarted(("root", "a"), "memory", True, 1, 49, generation=2)
    assert run.row("a").restarts == 1


def test_a_controlled_restart_takes_the_group_along() -> None:
    """cycle: all of it stops in reverse and starts in order; the answer is the child's own, not its siblings'."""
    run = play("abc", strategy=Strategy.REST_FOR_ONE)

    assert run.ask(CycleChild("b")) == "b2"
    assert run.done == ["ask c", "ask b", "start b", "start c"]
    assert run.restarted() == ["b", "c"]


def test_what_a_controlled_restart_refuses() -> None:
    """cycle: unknown, down, restarting and temporary children."""
    run = Play([child("a"), child("t", Restart.TEMPORARY)], SupervisorFlags(intensity=5), a=["succeed", "fail"])
    run.boot()

    with pytest.raises(ChildNotFound):
        run.ask(CycleChild("x"))
    with pytest.raises(RestartRefused) as refused:
        run.ask(CycleChild("t"))
    assert refused.value.retry_in is None
    assert "temporary" in str(refused.value)
    run.crash("a")
    with pytest.raises(ChildRestarting):
        run.ask(CycleChild("a"))
    run.ask(TerminateChild("a"))
    with pytest.raises(ChildNotRunning):
        run.ask(CycleChild("a"))
    assert run.state.cycle.window.size == 0


def test_crashes_and_controlled_restarts_have_separate_budgets() -> None:
    """Crashes cannot spend the budget that is meant for rescue, nor the other way round."""
    run = play("a", intensity=2, period=10.0)
    run.crash("a")
    run.crash("a")
    run.cycle("a")
    run.cycle("a")
    assert (run.state.crash.window.size, run.state.cycle.window.size) == (2, 2)

    with pytest.raises(RestartRefused) as refused:
        run.ask(CycleChild("a"))
    assert refused.value.reason == "2 restarts within 10 s, 2 allowed"
    assert refused.value.retry_in == pytest.approx(10.0)
    assert run.up() == "a"
    assert run.crash("a") == ["finish shutdown"]


def test_a_refused_window_frees_itself() -> None:
    """`retry_in` seconds later the same request is admitted."""
    run = play("a", intensity=1, period=10.0)
    run.cycle("a")
    run.now = 4.0
    with pytest.raises(RestartRefused) as refused:
        run.ask(CycleChild("a"))
    assert refused.value.retry_in == pytest.approx(6.0)
    run.now = math.nextafter(10.0, math.inf)

    assert run.cycle("a") == ["ask a", "start a"]


def test_a_controlled_restart_inside_a_cooldown_is_deferred() -> None:
    """Deferring is no attempt; after the cooldown the request is admitted."""
    run = play("a", backoff=BACKOFF)
    run.cycle("a")
    run.wait(4.0)

    with pytest.raises(RestartPostponed) as postponed:
        run.ask(CycleChild("a", "memory"))
    assert postponed.value.remaining == 6.0
    assert run.events[-1] == RestartDeferred(("root", "a"), "memory", True, 6.0, generation=2, budget_left=49)
    assert run.state.cycle.window.size == 1
    run.wait(6.0)
    assert run.cycle("a") == ["ask a", "start a"]


def test_a_controlled_restart_whose_start_fails_becomes_an_ordinary_failed_restart() -> None:
    """The caller hears of it, the attempt has failed, and the crash budget pays for the next."""
    run = play("a", breaker=Breaker(2, 100.0))
    run.starts = {"a": ["fail"]}

    with pytest.raises(StartFailed):
        run.ask(CycleChild("a"))
    assert run.row("a").phase is Phase.RESTARTING
    assert run.state.cycle.circuit.failures == 1
    assert run.state.crash.window.size == 0
    assert run.wait(0) == ["start a"]
    assert run.state.crash.window.size == 1


def test_a_controlled_restart_whose_start_fails_at_a_sibling_has_failed() -> None:
    """The attempt is the subject's; the sibling is tried again."""
    run = play("ab", breaker=Breaker(2, 100.0), strategy=Strategy.ONE_FOR_ALL)
    run.starts = {"b": ["fail"]}

    with pytest.raises(StartFailed):
        run.ask(CycleChild("a"))
    assert run.state.cycle.circuit.failures == 1
    assert run.row("b").phase is Phase.RESTARTING


def test_a_controlled_restart_that_does_not_last_is_a_failure() -> None:
    """After enough of them the circuit refuses; a crash budget of its own is not concerned."""
    run = play("a", breaker=Breaker(2, 100.0), stability=30.0, intensity=50)
    run.cycle("a")
    run.crash("a")
    run.wait(30.0)
    run.cycle("a")
    run.crash("a")

    assert run.state.cycle.circuit.state(run.now) is CircuitState.OPEN
    with pytest.raises(RestartRefused) as refused:
        run.ask(CycleChild("a"))
    assert refused.value.retry_in == 100.0
    assert run.state.crash.circuit.reopens is None


def test_a_judge_decides_before_time_does() -> None:
    """Who asked for the restart says whether it helped; of a life that is over, or that no attempt began, nothing can be said."""
    run = play("a", breaker=Breaker(1, 100.0), stability=math.inf)
    run.cycle("a")
    run.tell(Judge("a", 1, success=False), Judge("x", 1, success=False), Judge("a", 3, success=False))
    assert run.state.cycle.circuit == CLOSED
    run.tell(Judge("a", 2, success=True))
    assert run.state.cycle.circuit == CLOSED
    assert run.state.cycle.streak == 0

    run.cycle("a")
    run.tell(Judge("a", 2, success=False))
    assert run.state.cycle.circuit == CLOSED
    run.tell(Judge("a", 3, success=False))
    assert run.state.cycle.circuit.reopens == 100.0
    with pytest.raises(RestartRefused):
        run.ask(CycleChild("a"))


def test_a_success_can_be_taken_back() -> None:
    """While the life lasts its success may turn out to be none: then what failed and was attempted before it counts again."""
    run = play("a", breaker=Breaker(2, 100.0), backoff=BACKOFF, judged=True)
    run.cycle("a")
    run.tell(Judge("a", 2, success=False))
    run.wait(10.0)
    run.cycle("a")
    run.tell(Judge("a", 3, success=True))
    assert (run.state.cycle.streak, run.state.cycle.circuit) == (0, CLOSED)

    run.tell(Judge("a", 3, success=False))
    assert run.state.cycle.streak == 2
    assert run.state.cycle.circuit.reopens == 110.0
    run.tell(Judge("a", 3, success=False))
    assert run.state.cycle.circuit.failures == 2


def test_a_success_is_not_taken_back_twice_or_later() -> None:
    """A failure counts once, and nothing is said about a life that is over, or about a child that is gone."""
    run = play("a", breaker=Breaker(9, 100.0), judged=True)
    run.cycle("a")
    run.tell(Judge("a", 2, success=True), Judge("a", 2, success=False), Judge("a", 2, success=False))
    assert run.state.cycle.circuit.failures == 1
    run.cycle("a")
    run.tell(Judge("a", 3, success=True))
    run.crash("a")
    run.tell(Judge("a", 3, success=False))
    assert run.state.cycle.circuit == CLOSED
    run.cycle("a")
    run.tell(Judge("a", 5, success=True))
    run.ask(TerminateChild("a"))
    run.ask(DeleteChild("a"))
    assert len(run.state.cycle.proven) == 0


def test_with_judged_only_a_judge_calls_a_controlled_restart_a_success() -> None:
    """It may last as long as it likes; restarts after failures succeed by lasting, as ever."""
    run = play("a", breaker=Breaker(3, 100.0), stability=5.0, judged=True)
    run.cycle("a")
    run.wait(1000.0)
    run.crash("a")
    run.wait(1000.0)
    run.ask(CycleChild("a"))

    assert run.state.cycle.streak == 2
    assert run.state.cycle.circuit.failures == 1
    assert run.state.crash.streak == 0


def test_a_judge_waits_like_a_call() -> None:
    """38: a verdict that comes while the supervisor is busy is heard afterwards."""
    run = play("ab", breaker=Breaker(1, 100.0))
    run.cycle("a")
    run.starts = {"b": ["silent"]}
    run.crash("b")
    run.tell(Judge("a", 2, success=False))
    assert run.state.cycle.circuit == CLOSED

    run.tell(Acknowledged("b", 2))
    assert run.state.cycle.circuit.reopens == 100.0


def test_the_one_trial_of_a_half_open_circuit_of_controlled_restarts() -> None:
    """A second request while the trial is under way is refused without a time; a trial that lasts closes the circuit."""
    run = play("a", breaker=Breaker(1, 100.0), stability=30.0)
    run.cycle("a")
    run.tell(Judge("a", 2, success=False))
    run.wait(100.0)
    run.cycle("a")

    with pytest.raises(RestartRefused) as refused:
        run.ask(CycleChild("a"))
    assert refused.value.retry_in is None
    assert "trial" in refused.value.reason
    run.wait(30.0)
    assert run.cycle("a") == ["ask a", "start a"]
    assert run.state.cycle.circuit == CLOSED


def test_a_reset_forgets_everything_and_starts_what_waited() -> None:
    """Cooldown, window and circuit are forgotten, so a child that waited for one of them waits no longer."""
    run = play("a", **{**HOLD, "intensity": 3, "backoff": BACKOFF, "breaker": Breaker(1, 500.0)})
    run.cycle("a")
    run.crash("a")
    run.crash("a")
    assert run.row("a").phase is Phase.RESTARTING
    run.now = 7.0
    run.ask(ResetBudgets())

    assert run.state.failures == ()
    assert wake_at(run.state) == 7.0
    assert run.wait(0) == ["start a"]
    assert run.state.crash.window.size == 1
    assert run.state.cycle.window.size == 0


def test_a_reset_does_not_delay_what_is_due() -> None:
    """A retry that is due keeps its place."""
    run = play("a")
    run.starts = {"a": ["fail"]}
    run.crash("a")
    run.now = 5.0
    run.ask(ResetBudgets())

    assert run.state.retries == ((0.0, "a"),)


def test_a_stop_answers_the_controlled_restart_under_way() -> None:
    """The caller hears noproc."""
    run = play("a")
    run.stubborn = {"a"}
    run.tell(Call(1, CycleChild("a")))
    run.stop()

    assert isinstance(run.replies[1].error, NoProc)


def test_children_started_by_hand_carry_no_attempt() -> None:
    """restart_child and start_child neither spend nor prove anything."""
    run = play("a", **HOLD)
    for _ in range(4):
        run.crash("a")
    run.ask(TerminateChild("a"))
    run.ask(RestartChild("a"))
    run.ask(StartChild(child("b")))

    assert len(run.state.crash.pending) == 0
    assert wake_at(run.state) == math.inf
    run.wait(10.0)
    assert run.crash("a") == []
    assert run.state.crash.circuit.reopens == 100.0


def test_holding_does_not_stop_an_automatic_shutdown() -> None:
    """42: a held child counts as alive, so the supervisor stays."""
    flags = SupervisorFlags(intensity=50, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT, **HOLD)
    run = Play([child("a", Restart.TRANSIENT, significant=True), child("b", Restart.TRANSIENT, significant=True)], flags)
    run.boot()
    for _ in range(4):
        run.crash("a")
    run.crash("b", Exit.normal())
    assert run.finished is None

    run.wait(100.0)
    assert run.crash("a", Exit.normal()) == ["finish shutdown"]


def test_asking_for_the_verdict_costs_nothing() -> None:
    """`cycle_verdict` answers what `cycle_child` would be told, time's judgement included."""
    run = play("a", breaker=Breaker(1, 100.0), stability=30.0)
    assert cycle_verdict(run.state, run.now) == Admitted()
    run.cycle("a")
    run.tell(Judge("a", 2, success=False))
    run.wait(100.0)
    run.cycle("a")
    before = run.state
    assert isinstance(cycle_verdict(run.state, run.now + 29.9), Refused)

    assert cycle_verdict(run.state, run.now + 30.0) == Admitted()
    assert run.state == before


def test_the_verdict_is_about_everything_that_was_attempted() -> None:
    """The trial of any child decides for all: one that somebody cut short is given back, one that lasted has closed the circuit."""
    run = play("ab", breaker=Breaker(1, 100.0), stability=30.0)
    run.cycle("a")
    run.tell(Judge("a", 2, success=False))
    run.wait(100.0)
    run.cycle("a")
    assert isinstance(cycle_verdict(run.state, run.now), Refused)
    run.ask(TerminateChild("a"))
    assert cycle_verdict(run.state, run.now) == Admitted()
    assert run.state.cycle.circuit.trial

    assert run.cycle("b") == ["ask b", "start b"]
    assert isinstance(cycle_verdict(run.state, run.now), Refused)
    assert cycle_verdict(run.state, run.now + 30.0) == Admitted()
