"""OTP's rules, one readable test each; named after OTP's own test cases where there is one. The numbers are those of docs/semantics.md."""

from __future__ import annotations

import math
from typing import Any

import pytest

from supervisor.core.errors import (
    AlreadyPresent,
    AlreadyStarted,
    BadCombination,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    DuplicateChildName,
    NoProc,
    RestartIntensityExceeded,
    StartFailed,
)
from supervisor.core.event import (
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    ChildTerminated,
    ChildUnresponsive,
    SupervisorGaveUp,
)
from supervisor.core.exits import Exit, ExitKind
from supervisor.core.message import (
    Acknowledged,
    Boot,
    Call,
    Declined,
    DeleteChild,
    Ended,
    Extend,
    Hurry,
    Input,
    RestartChild,
    StartChild,
    Stop,
    TerminateChild,
    Tick,
)
from supervisor.core.spec import BRUTAL_KILL, AutoShutdown, Restart, Strategy, SupervisorFlags
from supervisor.core.state import FAILURES_KEPT, Lifecycle, Phase, State, in_start_order, initial, wake_at

from .machine_driver import BOOM, PATH, Play, child

PERMANENT, TRANSIENT, TEMPORARY = Restart
ONE_FOR_ALL = SupervisorFlags(Strategy.ONE_FOR_ALL, intensity=5)
REST_FOR_ONE = SupervisorFlags(Strategy.REST_FOR_ONE, intensity=5)
CLEAN = [Exit.normal(), Exit.shutdown(), Exit.shutdown("term")]
ANYHOW = [*CLEAN, BOOM, Exit.killed()]


def play(ids: str, flags: SupervisorFlags | None = None, **starts: list[str]) -> Play:
    """A supervisor whose permanent children have all started; `starts` is what their later starts do."""
    booted = Play([child(id) for id in ids], flags)
    booted.boot()
    booted.starts = starts
    return booted


# ---------------------------------------------------------------- start (rules 7, 10 to 13)


def test_sup_start_normal() -> None:
    """A supervisor without children is ready at once, and ends with the reason it is stopped with."""
    run = Play([])

    assert run.boot() == ["ready"]
    assert run.stop() == ["finish shutdown"]
    assert run.finished is not None
    assert run.finished.error is None


def test_children_start_one_at_a_time_in_order() -> None:
    """10: the next child is launched when the one before it has acknowledged; the supervisor is ready after the last."""
    run = Play([child("a"), child("b")], a=["silent"], b=["silent"])

    assert run.boot() == ["start a"]
    assert run.state.lifecycle is Lifecycle.BOOTING
    assert run.tell(Acknowledged("a", 1)) == ["start b"]
    assert run.tell(Acknowledged("b", 1)) == ["ready"]
    assert [row.spec.id for row in in_start_order(run.state)] == ["a", "b"]


def test_all_specifications_are_checked_before_any_child_starts() -> None:
    """7: a duplicate, or a significant child under a supervisor that never shuts itself down, is refused before anything runs."""
    with pytest.raises(DuplicateChildName, match="root: two children have the id 'a'"):
        initial(PATH, SupervisorFlags(), (child("a"), child("a")))
    with pytest.raises(BadCombination, match="root/b: "):
        initial(PATH, SupervisorFlags(), (child("a"), child("b", TRANSIENT, significant=True)))


def test_a_supervisor_before_its_boot() -> None:
    """Nothing has happened, and nothing will without an input."""
    state = initial(PATH, SupervisorFlags(), (child("a"), child("b")))

    assert (state.lifecycle, state.job, state.seed, state.buried, state.positions, state.brutal) == (Lifecycle.NEW, None, 0, 0, 2, False)
    assert wake_at(state) == math.inf
    row = state.children["a"]
    assert (row.position, row.phase, row.generation, row.pid, row.restarts, row.exit) == (0, Phase.UNDEFINED, 0, None, 0, None)
    assert row.since == -math.inf
    assert not row.is_live
    assert state.children["b"].position == 1
    assert State(PATH, SupervisorFlags()) == initial(PATH, SupervisorFlags(), ())


def test_a_second_boot_is_ignored() -> None:
    """A supervisor boots once."""
    run = play("a")

    assert run.tell(Boot()) == []


def test_sup_start_ignore_child() -> None:
    """12: a child that declines keeps its place and counts as down; it can be started later."""
    run = Play([child("a"), child("b")], a=["ignore"])

    assert run.boot() == ["start a", "start b", "ready"]
    assert run.row("a").phase is Phase.UNDEFINED
    assert run.ask(RestartChild("a")) == "a2"


def test_sup_start_ignore_temporary_child() -> None:
    """12: a temporary child that declines is forgotten."""
    run = Play([child("a", TEMPORARY), child("b")], a=["ignore"])

    assert run.boot() == ["start a", "forget a", "start b", "ready"]
    assert "a" not in run.state.children


def test_sup_start_ignore_temporary_child_start_child() -> None:
    """12: the same through start_child; the answer names no life."""
    run = play("a", b=["ignore"])

    assert run.ask(StartChild(child("b", TEMPORARY))) is None
    assert set(run.state.children) == {"a"}


def test_a_start_that_fails_at_boot_stops_the_others_in_reverse() -> None:
    """13: no restart and no budget is involved in the first start; the failure becomes the supervisor's own."""
    run = Play([child("a"), child("b"), child("c"), child("d")], SupervisorFlags(intensity=50), c=["fail"])

    assert run.boot() == ["start a", "start b", "start c", "ask b", "ask a", "finish abnormal"]
    assert run.finished is not None
    error = run.finished.error
    assert isinstance(error, StartFailed)
    assert error.path == ("root", "c")
    assert run.finished.exit.exception is error
    assert not run.ready


def test_a_child_that_stays_silent_is_killed_and_has_failed_to_start() -> None:
    """`start_timeout`: the silent child is killed, awaited, and then counts as a failed start."""
    run = Play([child("a"), child("b", start_timeout=2.0)], b=["silent"])
    run.boot()

    assert wake_at(run.state) == 2.0
    assert run.wait(1.9) == []
    assert run.wait(0.1) == ["kill b", "ask a", "finish abnormal"]
    assert run.finished is not None
    assert isinstance(run.finished.error, StartFailed)
    assert isinstance(run.finished.error.__cause__, TimeoutError)
    assert "no acknowledgement within 2 s" in str(run.finished.error)


def test_a_late_acknowledgement_of_an_overdue_child_changes_nothing() -> None:
    """Once it is being killed, a child cannot come up any more."""
    run = Play([child("a", start_timeout=2.0, kill_timeout=3.0)], a=["silent"])
    run.immortal = {"a"}
    run.boot()
    assert run.wait(2.0) == ["kill a"]

    assert run.tell(Acknowledged("a", 1)) == []
    assert run.row("a").phase is Phase.STOPPING
    assert run.wait(3.0) == ["abandon a", "finish abnormal"]


def test_an_overdue_child_that_declines_has_failed_to_start() -> None:
    """A child that declines while it is being killed will report nothing more: the start has failed, and nobody waits for it."""
    run = Play([child("a", start_timeout=2.0, kill_timeout=math.inf)], a=["silent"])
    run.immortal = {"a"}
    run.boot()
    run.wait(2.0)

    assert run.tell(Declined("a", 1)) == ["finish abnormal"]


def failed_starts(run: Play) -> list[tuple[str, str, bool]]:
    """The reports of ends and failed starts: what it is, of whom, and whether it had to be killed for its `shutdown`."""
    return [
        (event.name, event.path[-1], isinstance(event, ChildExited) and event.killed)
        for event in run.events
        if isinstance(event, ChildExited | ChildStartFailed)
    ]


@pytest.mark.parametrize("end", ["ends", "declines", "is given up"])
def test_a_stop_while_a_silent_child_is_being_killed(end: str) -> None:
    """Its start has failed, and is told as that: it never had a `shutdown` to keep; the others are stopped as ever."""
    run = Play([child("a", shutdown=1.0), child("b", start_timeout=2.0, kill_timeout=5.0)], b=["silent"])
    run.immortal, run.stubborn = {"b"}, {"a"}
    run.boot()
    assert run.wait(2.0) == ["kill b"]
    assert run.stop() == []
    if end == "is given up":
        assert run.wait(5.0) == ["abandon b", "ask a"]
    else:
        assert run.tell(Declined("b", 1) if end == "declines" else Ended("b", 1, Exit.killed())) == ["ask a"]
    last = run.row("b").exit
    assert last is not None
    assert isinstance(last.exception, TimeoutError)
    assert run.wait(1.0) == ["kill a", "finish shutdown"]
    exited = [("child_exited", "b", False)] if end == "ends" else []
    assert failed_starts(run) == [*exited, ("child_start_failed", "b", False), ("child_exited", "a", True)]


def test_a_start_that_takes_long_names_the_failure_that_the_child_ended_with() -> None:
    """A child that is killed for its silence may know why it was silent: that is the cause then."""
    error = ConnectionRefusedError("nobody listens")
    run = Play([child("a", start_timeout=2.0)], a=["silent"])
    run.immortal = {"a"}
    run.boot()
    run.wait(2.0)
    run.tell(Ended("a", 1, Exit.failed(error)))

    assert run.finished is not None and run.finished.error is not None
    assert run.finished.error.__cause__ is error
    assert str(run.finished.error).endswith("no acknowledgement within 2 s; ConnectionRefusedError: nobody listens")


# ---------------------------------------------------------------- time that children ask for


def test_a_child_that_asks_for_time_to_start_has_it() -> None:
    """The deadline moves to so many seconds from now, and never back; the failure says how long was waited."""
    run = Play([child("a", start_timeout=2.0)], a=["silent"])
    run.boot()
    run.wait(1.0)

    assert run.tell(Extend("a", 1, 4.0)) == [] and wake_at(run.state) == 5.0
    assert run.tell(Extend("a", 1, 0.5)) == [] and wake_at(run.state) == 5.0
    assert run.wait(3.9) == []
    assert run.wait(0.1) == ["kill a", "finish abnormal"]
    assert run.finished is not None and "no acknowledgement within 5 s" in str(run.finished.error)


def test_a_child_that_asks_for_time_to_stop_has_it_until_it_is_killed() -> None:
    """Once killed it has none, and one that is to be killed at once never had any."""
    run = Play([child("a", shutdown=2.0, kill_timeout=3.0)])
    run.boot()
    run.stubborn = {"a"}
    run.stop()

    assert run.tell(Extend("a", 1, 60.0)) == [] and wake_at(run.state) == 60.0
    run.immortal = {"a"}
    assert run.wait(60.0) == ["kill a"]
    assert run.tell(Extend("a", 1, 60.0)) == [] and wake_at(run.state) == 63.0

    brutal = Play([child("a", shutdown=BRUTAL_KILL, kill_timeout=3.0)])
    brutal.boot()
    brutal.immortal = {"a"}
    brutal.stop()
    assert brutal.tell(Extend("a", 1, 60.0)) == [] and wake_at(brutal.state) == 3.0


def test_time_is_for_the_child_that_is_waited_for() -> None:
    """A running child, one whose turn has not come and a former life ask in vain."""
    run = Play([child("a", shutdown=2.0), child("b", shutdown=2.0)])
    run.boot()
    run.stubborn = {"b"}
    assert run.tell(Extend("a", 1, 60.0)) == [] and wake_at(run.state) == math.inf
    run.stop()

    run.tell(Extend("a", 1, 60.0), Extend("b", 2, 60.0))
    assert wake_at(run.state) == 2.0


def test_children_that_are_stopped_together_ask_each_for_itself() -> None:
    """Who asks for time leaves the timer that it shared; the others keep theirs."""
    run = Play([], SupervisorFlags(strategy=Strategy.SIMPLE_ONE_FOR_ONE))
    run.boot()
    for id in "ab":
        run.ask(StartChild(child(id, shutdown=2.0)))
    run.stubborn = {"a", "b"}
    run.stop()

    assert run.tell(Extend("a", 1, 5.0)) == [] and wake_at(run.state) == 2.0
    assert run.wait(2.0) == ["kill b", "forget b"]
    assert run.wait(2.9) == []
    assert run.wait(0.1) == ["kill a", "forget a", "finish shutdown"]


# ---------------------------------------------------------------- exits and restart types (rules 15 to 18)


@pytest.mark.parametrize("exit", ANYHOW)
def test_permanent_any_exit(exit: Exit) -> None:
    """15: a permanent child is restarted whatever its reason, as itself, one generation on (permanent_normal, _shutdown, _abnormal)."""
    run = play("ab")

    assert run.crash("a", exit) == ["start a"]
    assert run.row("a").generation == 2
    assert run.row("a").restarts == 1
    assert run.row("b").generation == 1
    assert run.row("b").restarts == 0


@pytest.mark.parametrize("exit", CLEAN)
def test_transient_clean_exit(exit: Exit) -> None:
    """15, 16: a transient child that ends cleanly is not restarted and keeps its specification (transient_normal, _shutdown)."""
    run = Play([child("a", TRANSIENT)])
    run.boot()
    run.now = 3.0

    assert run.crash("a", exit) == []
    row = run.row("a")
    assert (row.phase, row.pid, row.exit, row.since) == (Phase.UNDEFINED, None, exit, 3.0)


@pytest.mark.parametrize("exit", [BOOM, Exit.killed()])
def test_transient_abnormal(exit: Exit) -> None:
    """15, 17: a transient child that fails, or is killed, is restarted."""
    run = Play([child("a", TRANSIENT)])
    run.boot()

    assert run.crash("a", exit) == ["start a"]


@pytest.mark.parametrize("exit", ANYHOW)
def test_temporary_any_exit(exit: Exit) -> None:
    """15: a temporary child is never restarted; its specification goes with it (temporary_normal, _shutdown, _abnormal)."""
    run = Play([child("a", TEMPORARY)])
    run.boot()

    assert run.crash("a", exit) == ["forget a"]
    assert len(run.state.children) == 0


def test_noise_is_ignored() -> None:
    """17: news of unknown children and of lives that are over change nothing."""
    run = play("a")
    run.crash("a")
    before = run.state

    news: list[Input] = [
        Ended("a", 1, BOOM),
        Ended("x", 1, BOOM),
        Acknowledged("a", 1),
        Acknowledged("x", 1),
        Declined("a", 1),
        Declined("x", 1),
        Tick(),
    ]
    assert run.tell(*news) == []
    assert run.state == before


def test_a_second_exit_is_consumed_by_a_group_restart() -> None:
    """18: of two children dead at once, the first restarts both; the exit of the second is never looked at."""
    run = play("abcd", SupervisorFlags(Strategy.REST_FOR_ONE, intensity=2), d=["silent"])
    run.crash("d")
    run.tell(run.ends("a"), run.ends("b"))
    assert run.done == []

    assert run.tell(Acknowledged("d", 2)) == ["ask d", "ask c", "start a", "start b", "start c", "start d"]
    assert run.state.crash.window.size == 2
    assert run.up() == "a b c d"


def test_an_exit_of_a_child_that_was_terminated_meanwhile_is_never_looked_at() -> None:
    """18: it was on record, but a call that came before it has dealt with the child."""
    run = play("ab")
    run.stubborn = {"b"}
    run.tell(Call(1, TerminateChild("b")), Call(2, TerminateChild("a")))
    run.crash("a")

    assert run.tell(Ended("b", 1, BOOM)) == []
    assert list(run.replies) == [1, 2]
    assert run.row("a").phase is Phase.UNDEFINED


def test_an_exit_on_its_way_when_its_child_is_asked_is_an_expected_one() -> None:
    """18: the same where the group restart is faster than the news."""
    run = play("ab", ONE_FOR_ALL)

    assert run.tell(run.ends("a"), run.ends("b")) == ["ask b", "start a", "start b"]
    assert run.state.crash.window.size == 1


def test_an_exit_during_a_job_is_served_after_it() -> None:
    """18: a child that dies while the supervisor is busy with another is restarted afterwards."""
    run = play("ab", SupervisorFlags(intensity=2), a=["silent"])
    run.crash("a")

    assert run.crash("b") == []
    assert run.row("b").phase is Phase.EXITED
    assert run.row("b").exit == BOOM
    assert run.row("b").is_live
    assert run.tell(Acknowledged("a", 2)) == ["start b"]


# ---------------------------------------------------------------- strategies (rules 19 to 24)


def test_one_for_one() -> None:
    """19: only the child that failed restarts, in its place."""
    run = play("abc")

    assert run.crash("b") == ["start b"]
    assert [row.spec.id for row in in_start_order(run.state)] == ["a", "b", "c"]


def test_rest_for_one() -> None:
    """20: those started after it stop in reverse order; then it and they start in order."""
    run = play("abcd", REST_FOR_ONE)

    assert run.crash("b") == ["ask d", "ask c", "start b", "start c", "start d"]
    assert run.restarted() == ["b", "c", "d"]


def test_one_for_all() -> None:
    """20: all others stop in reverse order, all start in order."""
    run = play("abc", ONE_FOR_ALL)

    assert run.crash("b") == ["ask c", "ask a", "start a", "start b", "start c"]


def test_a_group_restart_starts_what_was_down() -> None:
    """21: terminated, cleanly ended and declined members start with the group."""
    run = Play([child("a"), child("b"), child("c", TRANSIENT), child("d")], ONE_FOR_ALL, d=["ignore"])
    run.boot()
    run.ask(TerminateChild("b"))
    run.crash("c", Exit.normal())
    assert run.up() == "a"

    assert run.crash("a") == ["start a", "start b", "start c", "start d"]
    assert run.up() == "a b c d"


def test_temporary_bystander() -> None:
    """22: a temporary member of the group is stopped and forgotten, and the supervisor goes on."""
    run = Play([child("a"), child("t", TEMPORARY), child("b")], ONE_FOR_ALL)
    run.boot()

    assert run.crash("a") == ["ask b", "ask t", "forget t", "start a", "start b"]
    assert set(run.state.children) == {"a", "b"}


def test_a_temporary_bystander_that_is_dead_already_is_forgotten_too() -> None:
    """18, 22: its exit waits in the mailbox when the group restart comes by."""
    run = Play([child("a"), child("t", TEMPORARY), child("b")], REST_FOR_ONE)
    run.boot()
    run.starts = {"b": ["silent"]}
    run.crash("b")
    run.tell(run.ends("a"), run.ends("t"))

    assert run.tell(Acknowledged("b", 2)) == ["ask b", "forget t", "start a", "start b"]


@pytest.mark.parametrize(("flags", "expected"), [(None, ["start a"]), (ONE_FOR_ALL, ["ask b", "start a", "start b"])])
def test_a_restart_may_be_declined(flags: SupervisorFlags | None, expected: list[str]) -> None:
    """23: the restart counts as done, the child is down, its group goes on."""
    run = play("ab", flags, a=["ignore"])

    assert run.crash("a") == expected
    assert run.row("a").exit == BOOM
    assert run.up() == "b"
    assert wake_at(run.state) == math.inf


@pytest.mark.parametrize("flags", [ONE_FOR_ALL, REST_FOR_ONE])
def test_only_an_exit_that_restarts_touches_siblings(flags: SupervisorFlags) -> None:
    """24: a clean transient and any temporary exit leave the others alone."""
    run = Play([child("a", TRANSIENT), child("b", TEMPORARY), child("c")], flags)
    run.boot()

    assert run.crash("b") == ["forget b"]
    assert run.crash("a", Exit.normal()) == []
    assert run.up() == "c"


# ---------------------------------------------------------------- intensity (rules 25 to 28)


def test_multiple_restarts() -> None:
    """25: restarts that are spaced never spend the budget."""
    run = play("a", SupervisorFlags(intensity=1, period=5.0))

    for _ in range(20):
        assert run.crash("a") == ["start a"]
        run.wait(5.001)


def test_the_window_is_inclusive_at_both_ends() -> None:
    """25: a restart counts for exactly `period` seconds, that moment included."""
    run = play("a", SupervisorFlags(intensity=1, period=5.0))
    run.crash("a")
    run.wait(5.0)

    assert run.crash("a") == ["finish shutdown"]


def test_one_for_one_escalation() -> None:
    """25, 28: restart number intensity + 1 ends the supervisor with `shutdown`, its other children stopped in reverse."""
    run = play("abc", SupervisorFlags(intensity=2))
    run.crash("b")
    run.crash("a")

    assert run.crash("b") == ["ask c", "ask a", "finish shutdown"]
    assert run.finished is not None
    error = run.finished.error
    assert isinstance(error, RestartIntensityExceeded)
    assert [id for id, _ in error.exits] == ["b", "a", "b"]
    assert (error.intensity, error.period, error.path) == (2, 5.0, PATH)
    assert run.finished.exit.kind is ExitKind.SHUTDOWN
    assert run.finished.exit.exception is error


def test_the_error_carries_the_failures_that_spent_the_budget_and_no_older_ones() -> None:
    """28: intensity + 1 failures, oldest first; of very many, the latest."""
    run = play("a", SupervisorFlags(intensity=1))
    run.crash("a")
    run.wait(6.0)
    run.crash("a", Exit.killed())
    run.crash("a", Exit.normal())

    assert run.finished is not None
    assert isinstance(run.finished.error, RestartIntensityExceeded)
    assert run.finished.error.exits == (("a", Exit.killed()), ("a", Exit.normal()))

    many = play("a", SupervisorFlags(intensity=200, period=1000.0))
    while many.finished is None:
        many.crash("a")
    assert len(many.state.failures) == FAILURES_KEPT == 50
    assert many.state.crash.window.size == 200


def test_intensity_zero_escalates_at_the_first_restart() -> None:
    """25."""
    assert play("a", SupervisorFlags(intensity=0)).crash("a") == ["finish shutdown"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_one_for_all_escalation(strategy: Strategy) -> None:
    """26: one attempt is one count, however many children it restarts (also rest_for_one_escalation)."""
    run = play("abc", SupervisorFlags(strategy, intensity=2))
    run.crash("a")
    run.crash("a")
    assert run.state.crash.window.size == 2

    assert run.crash("a") == ["ask c", "ask b", "finish shutdown"]


def test_calls_do_not_count() -> None:
    """27: start_child, terminate_child and restart_child spend no budget."""
    run = play("a", SupervisorFlags(intensity=1))
    for _ in range(5):
        run.ask(TerminateChild("a"))
        run.ask(RestartChild("a"))
    run.ask(StartChild(child("b")))

    assert run.state.crash.window.size == 0
    assert run.row("a").restarts == 0


def test_giving_up_is_told_before_anything_stops() -> None:
    """28: the event names the child, its exit and why."""
    run = play("a", SupervisorFlags(intensity=0))
    run.crash("a")

    gave_up = [event for event in run.events if isinstance(event, SupervisorGaveUp)]
    assert gave_up == [SupervisorGaveUp(PATH, child="a", reason="0 restarts within 5 s, 0 allowed", exit=BOOM, budget_left=0)]


# ---------------------------------------------------------------- a restart that fails (rules 30 to 34)


def test_sup_start_restart_child_returns_error() -> None:
    """30, 31: a failed restart is tried again at once, each attempt counts, and at the end the supervisor gives up."""
    run = play("a", SupervisorFlags(intensity=3), a=["fail"] * 3)

    assert run.crash("a") == ["start a"]
    assert run.row("a").phase is Phase.RESTARTING
    assert wake_at(run.state) == run.now
    assert run.wait(0) == ["start a", "start a", "finish shutdown"]

    again = play("a", SupervisorFlags(intensity=3), a=["fail"] * 2)
    again.crash("a")
    assert again.wait(0) == ["start a", "start a"]
    assert again.state.crash.window.size == 3
    assert again.row("a").generation == 4
    assert again.row("a").restarts == 1


def test_what_is_queued_is_served_between_attempts() -> None:
    """30: calls and exits that came before are served first."""
    run = play("ab", SupervisorFlags(intensity=5), a=["fail"])

    assert run.tell(run.ends("a"), Call(1, TerminateChild("b"))) == ["start a", "ask b"]
    assert run.wait(0) == ["start a"]


def test_rest_for_one_other_child_fails_restart() -> None:
    """32: the next attempt starts at the child that failed; those before it keep running, those after it are down meanwhile."""
    run = play("abcd", REST_FOR_ONE, c=["fail"])

    assert run.crash("b") == ["ask d", "ask c", "start b", "start c"]
    assert [run.row(id).phase for id in "abcd"] == [Phase.RUNNING, Phase.RUNNING, Phase.RESTARTING, Phase.UNDEFINED]
    assert run.wait(0) == ["start c", "start d"]


def test_one_for_all_other_child_fails_restart() -> None:
    """32: those already up are stopped again, and all start."""
    run = play("abc", ONE_FOR_ALL, b=["fail"])

    assert run.crash("a") == ["ask c", "ask b", "start a", "start b"]
    assert run.wait(0) == ["ask a", "start a", "start b", "start c"]


def test_after_a_failed_attempt_only_the_child_that_failed_waits() -> None:
    """32: a child that was waiting is down when the attempt fails at a sibling; if that one is terminated, it can be started by hand."""
    run = play("ab", ONE_FOR_ALL, a=["succeed", "fail"], b=["fail"])
    run.crash("b")
    assert [run.row(id).phase for id in "ab"] == [Phase.RUNNING, Phase.RESTARTING]
    run.tell(Tick())

    assert [run.row(id).phase for id in "ab"] == [Phase.RESTARTING, Phase.UNDEFINED]
    run.ask(TerminateChild("a"))
    assert run.ask(RestartChild("b")) == "b3"


def test_a_cancelled_attempt_is_dropped() -> None:
    """33: the try-again of a child that was terminated meanwhile does nothing."""
    run = play("a", a=["fail"])
    run.crash("a")
    run.ask(TerminateChild("a"))

    assert wake_at(run.state) == math.inf
    assert run.tell(Tick()) == []
    assert run.row("a").phase is Phase.UNDEFINED


def test_hanging_restart_loop() -> None:
    """34: while it waits for its restart: already_present, restarting, restarting; terminate_child cancels."""
    run = play("a", a=["fail"])
    run.crash("a")

    assert not run.row("a").is_live
    with pytest.raises(AlreadyPresent):
        run.ask(StartChild(child("a")))
    with pytest.raises(ChildRestarting):
        run.ask(RestartChild("a"))
    with pytest.raises(ChildRestarting):
        run.ask(DeleteChild("a"))
    run.ask(TerminateChild("a"))
    assert run.ask(RestartChild("a")) == "a3"


def test_hanging_restart_loop_rest_for_one() -> None:
    """34: terminating the child that waits leaves the later members of its group down."""
    run = play("abc", REST_FOR_ONE, b=["fail"])
    run.crash("a")
    run.ask(TerminateChild("b"))

    assert run.wait(100.0) == []
    assert run.up() == "a"
    assert run.row("c").phase is Phase.UNDEFINED


def test_of_several_failed_restarts_one_is_tried_at_a_time() -> None:
    """30, 31: in the order in which they failed; a tick before its time does nothing."""
    run = play("abc", SupervisorFlags(intensity=9), a=["fail"], b=["fail", "silent"])
    run.crash("b")
    run.crash("a")

    assert list(run.state.retries) == [(0.0, "b"), (0.0, "a")]
    assert run.tell(Tick()) == ["start b"]
    assert run.row("a").phase is Phase.RESTARTING
    assert run.tell(Tick()) == []
    assert run.tell(Acknowledged("b", 3)) == []
    assert run.tell(Tick()) == ["start a"]


def test_a_tick_before_its_time_does_nothing() -> None:
    """A deadline is a deadline, whoever else has set a timer."""
    run = Play([child("a", start_timeout=2.0)], a=["silent"])
    run.boot()
    run.now = 1.9
    assert run.tell(Tick()) == []
    run.tell(Acknowledged("a", 1))
    run.stubborn = {"a"}
    run.stop()
    run.now = 6.8

    assert run.tell(Tick()) == []


def test_calls_are_served_before_the_restart_of_a_child_that_was_given_up() -> None:
    """30: also where the failed attempt ends by giving the child up."""
    run = Play([child("a", start_timeout=2.0, kill_timeout=3.0), child("b")], SupervisorFlags(intensity=5))
    run.boot()
    run.wait(10.0)
    run.starts, run.immortal = {"a": ["silent"]}, {"a"}
    run.crash("a")
    assert run.row("a").since == 10.0
    run.now = 12.0
    run.tell(Tick(), Call(1, TerminateChild("b")))
    run.now = 15.0

    assert run.tell(Tick()) == ["abandon a", "ask b"]
    assert [event.waited for event in run.events if isinstance(event, ChildUnresponsive)] == [5.0]
    assert run.tell(Tick()) == ["start a"]


def test_a_call_before_the_boot_is_served_after_it() -> None:
    """A supervisor that has not started has no children to speak of."""
    run = Play([child("a")], a=["silent"])

    assert run.tell(Call(1, TerminateChild("a"))) == []
    assert run.boot() == ["start a"]
    assert run.tell(Acknowledged("a", 1)) == ["ready", "ask a"]


def test_a_supervisor_in_its_retry_loop_can_be_stopped() -> None:
    """30: a stop between two attempts ends it."""
    run = play("ab", a=["fail"])
    run.crash("a")

    assert run.stop() == ["ask b", "finish shutdown"]
    assert wake_at(run.state) == math.inf


# ---------------------------------------------------------------- stopping (rules 35 to 39)


def test_order_of_children() -> None:
    """35: strictly reverse start order, one at a time, also with children added at run time."""
    run = play("ab")
    run.ask(StartChild(child("c")))
    run.stubborn = {"b"}

    assert run.stop() == ["ask c", "ask b"]
    assert run.tell(Ended("b", 1, Exit.shutdown())) == ["ask a", "finish shutdown"]


def test_sup_stop_infinity() -> None:
    """36: infinity waits for ever."""
    run = Play([child("a", shutdown=math.inf)])
    run.boot()
    run.stubborn = {"a"}
    run.stop()

    assert wake_at(run.state) == math.inf
    assert run.crash("a", Exit.shutdown()) == ["finish shutdown"]


def test_sup_stop_timeout() -> None:
    """36: asked, then killed after `shutdown` seconds; the others are asked as usual."""
    run = Play([child("a"), child("b", shutdown=1.0)])
    run.boot()
    run.stubborn = {"b"}
    run.stop()

    assert wake_at(run.state) == 1.0
    assert run.wait(0.9) == []
    assert run.wait(0.1) == ["kill b", "ask a", "finish shutdown"]


@pytest.mark.parametrize("stubborn", [False, True])
def test_terminate_child_tells_whether_the_child_had_to_be_killed(stubborn: bool) -> None:
    """Of one that did not end within its `shutdown` the report says so, of any other not."""
    run = Play([child("a", shutdown=1.0)])
    run.boot()
    run.stubborn = {"a"} if stubborn else set()
    run.tell(Call(1, TerminateChild("a")))
    run.wait(1.0)

    assert [event.killed for event in run.events if isinstance(event, ChildExited)] == [stubborn]


def test_shutdown_zero_asks_and_kills_at_once() -> None:
    """36: T = 0."""
    run = Play([child("a", shutdown=0)])
    run.boot()
    run.stubborn = {"a"}

    assert run.stop() == ["ask a"]
    assert run.wait(0) == ["kill a", "finish shutdown"]


def test_sup_stop_brutal_kill() -> None:
    """36: never asked."""
    run = Play([child("a", shutdown=BRUTAL_KILL)])
    run.boot()

    assert run.stop() == ["kill a", "finish shutdown"]


def test_a_child_that_survives_its_kill_is_given_up() -> None:
    """Deliberate difference 2: after the launch's `kill_timeout` the child is reported, detached, and not awaited."""
    run = Play([child("a"), child("b", shutdown=1.0, kill_timeout=3.0)])
    run.boot()
    run.immortal = {"b"}
    run.wait(50.0)
    run.stop()

    assert run.wait(1.0) == ["kill b"]
    assert run.wait(2.9) == []
    assert run.wait(0.1) == ["abandon b", "ask a", "finish shutdown"]
    assert [event for event in run.events if isinstance(event, ChildUnresponsive)] == [
        ChildUnresponsive(("root", "b"), generation=1, waited=4.0)
    ]


def test_a_brutally_killed_child_that_survives_is_given_up() -> None:
    """Deliberate difference 2, without the asking."""
    run = Play([child("a", shutdown=BRUTAL_KILL, kill_timeout=3.0)])
    run.boot()
    run.immortal = {"a"}

    assert run.stop() == ["kill a"]
    assert wake_at(run.state) == 3.0
    assert run.wait(3.0) == ["abandon a", "finish shutdown"]


@pytest.mark.parametrize("exit", ANYHOW)
def test_any_reason_is_accepted_from_a_child_that_is_stopped(exit: Exit) -> None:
    """18, 37: it neither restarts, nor counts, nor shuts anything down; the supervisor's reason is its own."""
    run = play("a")
    run.stubborn = {"a"}
    run.tell(Stop(Exit.normal()))

    assert run.crash("a", exit) == ["finish normal"]


def test_sup_stop_race() -> None:
    """38: children that end by themselves while the supervisor stops are consumed when their turn comes, reasons kept."""
    run = Play([child("a"), child("b", TRANSIENT), child("c", TEMPORARY), child("d")])
    run.boot()
    run.stubborn = set("abcd")
    assert run.stop() == ["ask d"]

    assert run.tell(run.ends("a"), run.ends("b", Exit.killed()), run.ends("c", Exit.normal())) == []
    assert run.crash("d", BOOM) == ["forget c", "finish shutdown"]
    exits = {event.path[-1]: (event.exit, event.expected) for event in run.events if isinstance(event, ChildExited)}
    assert exits == {"a": (BOOM, False), "b": (Exit.killed(), False), "c": (Exit.normal(), False), "d": (BOOM, True)}


def test_the_reason_is_the_first_one() -> None:
    """39: a second stop, with another reason, changes nothing."""
    run = play("ab")
    run.stubborn = {"b"}
    run.stop(Exit.shutdown("first"))

    assert run.stop(Exit.normal()) == []
    run.crash("b")
    assert run.finished is not None
    assert run.finished.exit == Exit.shutdown("first")
    assert run.stop() == []


def test_a_stop_before_the_boot_ends_it() -> None:
    """Deliberate difference 1, at its earliest: nothing has started, nothing will."""
    run = Play([child("a")])

    assert run.stop() == ["finish shutdown"]
    assert run.boot() == []


def test_a_stop_in_the_middle_of_a_start_is_served_at_once() -> None:
    """Deliberate difference 1: the child that is starting is stopped like any other, within its `shutdown`."""
    run = Play([child("a"), child("b", shutdown=1.0), child("c")], b=["silent"])
    run.boot()
    run.stubborn = {"b"}

    assert run.stop() == ["ask b"]
    assert run.tell(Acknowledged("b", 1)) == []
    assert run.wait(1.0) == ["kill b", "ask a", "finish shutdown"]
    assert not run.ready


def test_a_stop_while_a_temporary_child_is_stopped() -> None:
    """35: it is awaited first, forgotten, and not looked for again."""
    run = Play([child("t", TEMPORARY), child("b")])
    run.boot()
    run.stubborn = {"t"}
    run.tell(Call(1, TerminateChild("t")))
    run.stop()

    assert run.tell(Ended("t", 1, BOOM)) == ["forget t", "ask b", "finish shutdown"]


@pytest.mark.parametrize("news", [Acknowledged("a", 2), Ended("a", 2, BOOM), Declined("a", 2)])
def test_a_starting_child_answers_while_another_is_stopped_first(news: Any) -> None:
    """Deliberate difference 1: whatever becomes of the start, the stop goes on, and nothing restarts."""
    run = play("ab", a=["silent"])
    run.stubborn = {"b"}
    run.crash("a")
    assert run.stop() == ["ask b"]

    assert run.tell(news) == []
    alive = isinstance(news, Acknowledged)
    assert run.row("a").phase is (Phase.RUNNING if alive else Phase.UNDEFINED)
    failed = [ChildStartFailed(("root", "a"), exit=BOOM, generation=2, budget_left=0)] if isinstance(news, Ended) else []
    assert [event for event in run.events if isinstance(event, ChildStartFailed)] == failed
    assert run.row("a").restarts == 0
    assert run.crash("b", Exit.shutdown()) == (["ask a"] if alive else []) + ["finish shutdown"]


def test_a_stopping_child_that_declines_is_gone() -> None:
    """Deliberate difference 1: a child that is asked in the middle of its start, and declines, is not waited for."""
    run = Play([child("a", shutdown=math.inf)], a=["silent"])
    run.stubborn = {"a"}
    run.boot()
    run.stop()

    assert run.tell(Declined("a", 1)) == ["finish shutdown"]


def test_a_stop_in_the_middle_of_a_stop_keeps_the_ladder() -> None:
    """35: a child that has been asked is not asked again, and its deadline stands."""
    run = Play([child("a", shutdown=4.0), child("b")])
    run.boot()
    run.stubborn = {"a"}
    run.tell(Call(1, TerminateChild("a")))
    run.wait(1.0)

    assert run.stop() == []
    assert isinstance(run.replies[1].error, NoProc)
    assert wake_at(run.state) == 4.0
    assert run.wait(3.0) == ["kill a", "ask b", "finish shutdown"]


def test_a_stop_after_the_kill_waits_for_no_second_kill() -> None:
    """35: the ladder goes on where it was."""
    run = Play([child("a", shutdown=1.0, kill_timeout=3.0), child("b")], a=["silent"])
    run.boot()
    run.now = 20.0
    run.tell(Acknowledged("a", 1, pid=4711))
    run.immortal = {"a"}
    run.tell(Call(1, TerminateChild("a")))
    run.wait(2.0)
    run.stop()

    assert run.wait(2.0) == ["abandon a", "ask b", "finish shutdown"]
    unresponsive = [event for event in run.events if isinstance(event, ChildUnresponsive)]
    assert [(event.waited, event.pid) for event in unresponsive] == [(4.0, 4711)]


def test_a_hurry_kills_all_that_live_in_reverse_order() -> None:
    """A second signal: nobody is asked any more; ends are awaited in the same order."""
    run = Play([child("a"), child("b"), child("c")], c=["silent"])
    run.boot()
    run.immortal = set("abc")

    assert run.tell(Hurry(Exit.killed())) == ["kill c", "kill b", "kill a", "kill c"]
    assert run.state.brutal
    assert run.tell(Hurry(Exit.killed())) == []
    assert run.tell(Ended("c", 1, Exit.killed())) == ["kill b"]
    assert run.tell(Ended("a", 1, Exit.killed()), Ended("b", 1, Exit.killed())) == ["finish abnormal"]
    assert run.tell(Hurry(Exit.killed())) == []


def test_a_hurry_during_a_stop_kills_the_child_that_is_asked() -> None:
    """From the hurry on, each child has its `kill_timeout` and no more; one that is being killed keeps its deadline."""
    run = Play([child("a", shutdown=BRUTAL_KILL, kill_timeout=3.0), child("b", shutdown=100.0, kill_timeout=5.0)])
    run.boot()
    run.immortal = {"a", "b"}
    run.stop()
    run.wait(10.0)

    assert run.tell(Hurry(Exit.killed())) == ["kill b", "kill a"]
    assert wake_at(run.state) == 15.0
    assert run.wait(5.0) == ["abandon b", "kill a"]

    late = Play([child("a", shutdown=1.0, kill_timeout=5.0)])
    late.boot()
    late.immortal = {"a"}
    late.stop()
    late.wait(3.0)
    assert late.tell(Hurry(Exit.killed())) == ["kill a"]
    assert wake_at(late.state) == 6.0


def test_after_a_hurry_nobody_is_asked_and_nobody_has_longer_than_its_kill_timeout() -> None:
    """Also those whose turn comes later, whatever their `shutdown` says."""
    run = Play([child("a", shutdown=100.0, kill_timeout=2.0), child("b", kill_timeout=3.0)])
    run.boot()
    run.immortal = {"a", "b"}
    run.tell(Hurry(Exit.killed()))

    assert run.wait(3.0) == ["abandon b", "kill a"]
    assert run.wait(2.0) == ["abandon a", "finish abnormal"]


def test_a_hurry_after_the_end_is_ignored() -> None:
    """There is nobody left to kill."""
    run = play("a")
    run.stop()

    assert run.tell(Hurry(Exit.killed())) == []


def test_a_hurry_without_children_ends_at_once() -> None:
    """There is nobody to kill."""
    run = Play([])
    run.boot()

    assert run.tell(Hurry(Exit.killed())) == ["finish abnormal"]


def test_a_hurry_does_not_touch_the_dead() -> None:
    """Only what lives is killed."""
    run = Play([child("a", TRANSIENT), child("b")])
    run.boot()
    run.crash("a", Exit.normal())

    assert run.tell(Hurry(Exit.killed())) == ["kill b", "kill b", "finish abnormal"]


def test_whoever_a_hurry_kills_has_not_ended_by_itself() -> None:
    """Also when it is dead before its turn to be awaited has come; whoever ended before the hurry did end by itself."""
    run = play("abc")
    run.crash("c")
    run.immortal = set("abc")
    run.tell(Hurry(Exit.killed()))
    run.tell(Ended("a", 1, Exit.killed()), Ended("b", 1, Exit.killed()), Ended("c", 2, Exit.killed()))

    exits = [(event.path[-1], event.expected) for event in run.events if isinstance(event, ChildExited)]
    assert exits == [("c", False), ("a", True), ("b", True), ("c", True)]


# ---------------------------------------------------------------- auto_shutdown (rules 41 to 44)


def significant(rule: AutoShutdown, **more: Any) -> Play:
    """Two significant transient children `a` and `b`, a significant temporary `t`, and an ordinary permanent `p`."""
    specs = [
        child("a", TRANSIENT, significant=True),
        child("b", TRANSIENT, significant=True),
        child("t", TEMPORARY, significant=True),
        child("p"),
    ]
    run = Play(specs, SupervisorFlags(auto_shutdown=rule, intensity=5, **more))
    run.boot()
    return run


def test_significant_transient() -> None:
    """41, 42: under any_significant the clean end of one shuts the supervisor down; a failure restarts it instead."""
    run = significant(AutoShutdown.ANY_SIGNIFICANT)
    assert run.crash("a") == ["start a"]

    assert run.crash("a", Exit.normal()) == ["ask p", "ask t", "forget t", "ask b", "finish shutdown"]
    assert run.finished is not None
    assert run.finished.exit == Exit.shutdown()
    assert run.finished.error is None


@pytest.mark.parametrize("exit", ANYHOW)
def test_significant_temporary(exit: Exit) -> None:
    """41: a significant temporary child triggers however it ends."""
    assert significant(AutoShutdown.ANY_SIGNIFICANT).crash("t", exit)[-1] == "finish shutdown"


def test_all_significant_waits_for_the_last() -> None:
    """42: the supervisor ends when no significant child is left."""
    run = significant(AutoShutdown.ALL_SIGNIFICANT)
    assert run.crash("t") == ["forget t"]
    assert run.crash("a", Exit.normal()) == []

    assert run.crash("b", Exit.normal()) == ["ask p", "finish shutdown"]


def test_a_significant_child_that_waits_for_its_restart_is_alive() -> None:
    """42: and one that was terminated is gone."""
    run = significant(AutoShutdown.ALL_SIGNIFICANT)
    run.starts = {"a": ["fail"]}
    run.crash("t")
    run.crash("a")
    assert run.row("a").phase is Phase.RESTARTING

    assert run.crash("b", Exit.normal()) == []
    run.ask(TerminateChild("a"))
    assert run.finished is None
    run.ask(RestartChild("b"))
    assert run.crash("b", Exit.normal()) == ["ask p", "finish shutdown"]


@pytest.mark.parametrize("rule", AutoShutdown)
def test_nonsignificant_exits_never_shut_down(rule: AutoShutdown) -> None:
    """44: nonsignificant_temporary, nonsignificant_transient; and nothing does under never."""
    run = Play([child("a", TRANSIENT), child("b", TEMPORARY), child("c")], SupervisorFlags(auto_shutdown=rule))
    run.boot()
    run.crash("a", Exit.normal())
    run.crash("b", Exit.normal())

    assert run.finished is None
    assert run.up() == "c"


@pytest.mark.parametrize("rule", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
def test_terminating_significant_children_does_not_shut_down(rule: AutoShutdown) -> None:
    """44."""
    run = significant(rule)
    for id in "abt":
        run.ask(TerminateChild(id))

    assert run.finished is None


def test_significant_bystander() -> None:
    """44: a significant child that is stopped by a sibling's group restart does not trigger, dead already or not."""
    specs = [child("p"), child("t", TEMPORARY, significant=True), child("u", TEMPORARY, significant=True)]
    flags = SupervisorFlags(Strategy.ONE_FOR_ALL, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    run = Play(specs, flags)
    run.boot()

    run.tell(run.ends("p"), run.ends("t"))
    assert run.finished is None
    assert run.up() == "p"


# ---------------------------------------------------------------- calls (section 10)


def test_child_adm() -> None:
    """Every call with every answer: start, terminate, restart, delete, and what they refuse."""
    run = play("")

    assert run.ask(StartChild(child("a"))) == "a1"
    with pytest.raises(AlreadyStarted) as started:
        run.ask(StartChild(child("a")))
    assert started.value.pid is None
    with pytest.raises(ChildRunning):
        run.ask(RestartChild("a"))
    with pytest.raises(ChildRunning):
        run.ask(DeleteChild("a"))
    assert run.ask(TerminateChild("a")) is None
    assert run.done == ["ask a"]
    assert run.ask(TerminateChild("a")) is None
    assert run.done == []
    with pytest.raises(AlreadyPresent):
        run.ask(StartChild(child("a")))
    assert run.ask(RestartChild("a")) == "a2"
    run.ask(TerminateChild("a"))
    assert run.ask(DeleteChild("a")) is None
    assert run.done == ["forget a"]
    for request in (TerminateChild("a"), RestartChild("a"), DeleteChild("a")):
        with pytest.raises(ChildNotFound) as error:
            run.ask(request)
        assert (error.value.path, error.value.id) == (PATH, "a")


def test_the_pid_of_a_child_that_runs_already_is_told() -> None:
    """section 10: already_started carries the pid."""
    run = Play([child("a")], a=["silent"])
    run.boot()
    run.tell(Acknowledged("a", 1, pid=4711))

    with pytest.raises(AlreadyStarted) as error:
        run.ask(StartChild(child("a")))
    assert error.value.pid == 4711


def test_sup_start_child_returns_error() -> None:
    """section 10: a start_child that fails leaves no specification, and the supervisor lives."""
    run = play("a", b=["fail"])

    with pytest.raises(StartFailed) as error:
        run.ask(StartChild(child("b")))
    assert error.value.path == ("root", "b")
    assert run.done == ["start b", "forget b"]
    assert set(run.state.children) == {"a"}
    assert run.state.crash.window.size == 0


def test_a_failed_restart_child_leaves_the_child_down() -> None:
    """section 10: the specification is kept, and nothing is tried again."""
    run = play("a", a=["fail"])
    run.ask(TerminateChild("a"))
    run.starts = {"a": ["silent"]}
    run.now = 5.0
    run.tell(Call(9, RestartChild("a")))
    assert (run.row("a").phase, run.row("a").since) == (Phase.STARTING, 5.0)
    run.now = 8.0
    run.tell(Ended("a", 2, Exit(ExitKind.ABNORMAL, "cannot start")))

    assert isinstance(run.replies[9].error, StartFailed)
    assert (run.row("a").phase, run.row("a").since) == (Phase.UNDEFINED, 8.0)
    assert run.row("a").exit == Exit(ExitKind.ABNORMAL, "cannot start")
    assert wake_at(run.state) == math.inf
    assert run.ask(RestartChild("a")) == "a3"


def test_a_specification_is_checked_before_its_id() -> None:
    """section 10, 45: start_child checks the specification first, also that of an id that exists."""
    run = play("a")

    with pytest.raises(BadCombination, match="root/a"):
        run.ask(StartChild(child("a", TRANSIENT, significant=True)))


def test_do_not_save_child_specs_for_temporary_children() -> None:
    """section 10: a temporary child that is terminated is forgotten."""
    run = Play([child("t", TEMPORARY)])
    run.boot()

    run.ask(TerminateChild("t"))
    assert run.done == ["ask t", "forget t"]
    assert len(run.state.children) == 0


def test_a_new_child_is_last_in_start_order() -> None:
    """section 10: also one whose id was there before."""
    run = play("ab")
    run.ask(TerminateChild("a"))
    run.ask(DeleteChild("a"))
    run.ask(StartChild(child("a")))
    run.ask(StartChild(child("c")))

    assert [(row.spec.id, row.position) for row in in_start_order(run.state)] == [("b", 1), ("a", 2), ("c", 3)]


def test_a_generation_never_repeats() -> None:
    """A child that is deleted and added again goes on counting, so that news of a forgotten life stays stale."""
    run = play("a")
    run.crash("a")
    run.ask(TerminateChild("a"))
    run.ask(DeleteChild("a"))
    run.ask(StartChild(child("a")))

    assert run.row("a").generation == 3
    assert run.tell(Ended("a", 2, BOOM), Ended("a", 1, BOOM)) == []


def test_calls_are_served_one_after_the_other() -> None:
    """38: a call waits until the supervisor is idle."""
    run = play("ab")
    run.stubborn = {"a"}

    assert run.tell(Call(1, TerminateChild("a")), Call(2, TerminateChild("b")), Call(3, DeleteChild("b"))) == ["ask a"]
    assert run.replies == {}
    assert run.tell(Ended("a", 1, Exit.shutdown())) == ["ask b", "forget b"]
    assert list(run.replies) == [1, 2, 3]


def test_a_finished_supervisor_answers_noproc() -> None:
    """section 10: so does one that is stopping, and calls that were waiting hear it at its end."""
    run = play("ab")
    run.stubborn = {"a", "b"}
    run.tell(Call(1, TerminateChild("a")), Call(2, TerminateChild("b")))
    run.stop()
    assert list(run.replies) == [1]
    run.tell(Call(3, DeleteChild("a")))
    assert list(run.replies) == [1, 3]
    run.tell(Ended("a", 1, BOOM))
    run.tell(Ended("b", 1, BOOM))
    assert list(run.replies) == [1, 3, 2]
    assert run.state.lifecycle is Lifecycle.FINISHED
    assert run.state.mailbox.is_empty()
    run.tell(Call(4, DeleteChild("a")))

    assert [type(reply.error) for reply in run.replies.values()] == [NoProc] * 4
    assert {reply.error.path for reply in run.replies.values() if isinstance(reply.error, NoProc)} == {PATH}


# ---------------------------------------------------------------- what is told


def test_the_story_of_a_restart_in_events() -> None:
    """Exit, start, restart: with generation, pid, reason, uptime and what is left of the budget."""
    run = Play([child("a")], SupervisorFlags(intensity=3), a=["silent", "silent"])
    run.boot()
    run.now = 2.0
    run.tell(Acknowledged("a", 1, pid=11))
    run.now = 5.0
    run.tell(Ended("a", 1, BOOM))
    run.now = 6.0
    run.tell(Acknowledged("a", 2, pid=12))

    path = ("root", "a")
    assert run.events == [
        ChildStarted(path, 11, generation=1, purpose="boot"),
        ChildExited(path, 11, False, 3.0, exit=BOOM, generation=1, budget_left=3),
        ChildStarted(path, 12, generation=2, purpose="restart"),
        ChildRestarted(path, "boom", False, 1, 2, generation=2),
    ]
    row = run.row("a")
    assert (row.pid, row.since, row.exit) == (12, 6.0, BOOM)


@pytest.mark.parametrize("restart", [PERMANENT, TRANSIENT])
def test_a_child_that_does_not_run_has_no_pid(restart: Restart) -> None:
    """Down, or waiting for its restart: since its end, and without the pid of the life that is over."""
    run = Play([child("a", restart)], SupervisorFlags(intensity=5), a=["silent", "silent"])
    run.boot()
    run.tell(Acknowledged("a", 1, pid=11))
    run.now = 3.0
    run.crash("a")
    assert (run.row("a").pid, run.row("a").since, run.row("a").phase) == (None, 3.0, Phase.STARTING)
    run.tell(Acknowledged("a", 2, pid=12))
    run.starts = {"a": ["fail"]}
    run.now = 4.0
    run.crash("a")
    assert (run.row("a").pid, run.row("a").since, run.row("a").phase) == (None, 4.0, Phase.RESTARTING)
    run.starts = {"a": ["silent"]}
    run.tell(Tick(), Acknowledged("a", 4, pid=13))
    run.ask(TerminateChild("a"))
    assert (run.row("a").pid, run.row("a").phase) == (None, Phase.UNDEFINED)


def test_the_story_of_a_termination_in_events() -> None:
    """An expected exit, then `ChildTerminated`."""
    run = play("a")
    run.now = 4.0
    run.ask(TerminateChild("a"))

    path = ("root", "a")
    assert run.events[1:] == [ChildExited(path, None, True, 4.0, exit=Exit.shutdown(), generation=1), ChildTerminated(path)]
    assert run.row("a").exit == Exit.shutdown()


def test_the_story_of_a_failed_start_in_events() -> None:
    """`ChildStartFailed`, with the generation that never came up; no `ChildExited`."""
    run = play("a", a=["fail"])
    run.crash("a")

    failed = Exit(ExitKind.ABNORMAL, "cannot start")
    assert run.events[2:] == [ChildStartFailed(("root", "a"), exit=failed, generation=2, purpose="restart", budget_left=0)]
    assert run.row("a").exit == failed
