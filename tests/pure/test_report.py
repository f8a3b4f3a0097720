"""OTP's supervisor reports: what is told, with which child and which budget, and in which words."""

from __future__ import annotations

import json
import math
from typing import TypeVar

import attrs
import pytest

from supervisor.core.backoff import Backoff
from supervisor.core.breaker import Breaker
from supervisor.core.event import (
    CgroupUnavailable,
    ChildEvent,
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    ChildTerminated,
    ChildUnresponsive,
    Event,
    OomKilled,
    OrphansSwept,
    OutputFailed,
    OutputLine,
    OutputResumed,
    RestartDeferred,
    SentryLost,
    SupervisorGaveUp,
)
from supervisor.core.exits import Exit, ExitKind
from supervisor.core.message import Acknowledged, CycleChild, Ended, Hurry, RestartChild, StartChild, TerminateChild
from supervisor.core.report import Severity, brief, is_in_order, report_of
from supervisor.core.spec import BRUTAL_KILL, ChildSpec, GiveUp, Restart, Strategy, SupervisorFlags

from .launches import Working, subtree
from .machine_driver import BOOM, Play, child

E = TypeVar("E", bound=Event)

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
TERMINATED = Exit(ExitKind.SHUTDOWN, "killed by SIGTERM", signal=15)
SIGKILL = Exit(ExitKind.ABNORMAL, "killed by SIGKILL", signal=9)
LEFT = Exit(ExitKind.NORMAL, "exit code 0", code=0)


SPEC = ChildSpec("a", Working())
PATH = ("root", "a")
ABOUT = "permanent worker, task app:main"


def of(play: Play, kind: type[E]) -> list[E]:
    return [event for event in play.events if isinstance(event, kind)]


# ---------------------------------------------------------------- what the events carry


def test_a_specification_is_data_in_otps_words() -> None:
    """Everything OTP's child record says, as JSON that has no infinity; what is started, without its arguments."""
    said = SPEC.as_data()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said == {
        "id": "a",
        "type": "worker",
        "restart": "permanent",
        "shutdown": 5.0,
        "significant": False,
        "start_timeout": "infinity",
        "start": {"task": "app:main"},
    }
    other = ChildSpec("b", subtree([SPEC]), restart=TRANSIENT, significant=True, start_timeout=2.0).as_data()
    assert (other["type"], other["restart"], other["shutdown"]) == ("supervisor", "transient", "infinity")
    assert (other["significant"], other["start_timeout"]) == (True, 2.0)
    assert attrs.evolve(SPEC, shutdown=BRUTAL_KILL).as_data()["shutdown"] == "brutal_kill"
    assert attrs.evolve(SPEC, shutdown=math.inf).as_data()["shutdown"] == "infinity"


def test_an_event_refers_to_its_specification_and_renders_it_last() -> None:
    """The very object; its JSON is made when it is asked for."""
    event = ChildStarted(PATH, 7, spec=SPEC)
    assert event.spec is SPEC
    assert list(event.as_data()) == ["pid", "purpose", "spec"]
    assert event.as_data()["spec"] == SPEC.as_data()


def test_an_event_is_the_same_whatever_its_specification() -> None:
    """It is what happened that is compared and shown, not what the child was."""
    assert ChildStarted(PATH, spec=SPEC) == ChildStarted(PATH)
    assert "spec" not in repr(ChildStarted(PATH, spec=SPEC))


def test_a_start_says_what_it_was_for() -> None:
    """Boot, restart, controlled restart, and the two calls; nothing where nobody waits for it any more."""
    play = Play([child("a"), child("b")], SupervisorFlags(intensity=5))
    play.boot()
    play.crash("a")
    play.ask(CycleChild("a"))
    play.ask(StartChild(child("c")))
    play.ask(TerminateChild("c"))
    play.ask(RestartChild("c"))
    assert [(event.path[-1], event.purpose) for event in of(play, ChildStarted)] == [
        ("a", "boot"),
        ("b", "boot"),
        ("a", "restart"),
        ("a", "cycle"),
        ("c", "start_child"),
        ("c", "restart_child"),
    ]


def test_a_start_that_nobody_waits_for_has_no_purpose() -> None:
    """The supervisor was told to stop while a child was starting, and stops another one first."""
    ends: list[Acknowledged | Ended] = [Acknowledged("a", 2), Ended("a", 2, BOOM)]
    for news in ends:
        play = Play([child("a"), child("b")], SupervisorFlags(intensity=5), a=["succeed", "silent"])
        play.boot()
        play.stubborn = {"b"}
        play.crash("a")
        play.stop()
        play.events.clear()
        play.tell(news)
        (event,) = (event for event in play.events if isinstance(event, ChildStarted | ChildStartFailed))
        assert event.purpose == ""


def test_a_failed_start_says_what_it_was_for_and_what_is_left() -> None:
    """At boot, in a restart and by a call."""
    boot = Play([child("a")], SupervisorFlags(intensity=4), a=["fail"])
    boot.boot()
    assert [(event.purpose, event.budget_left, event.exit.reason) for event in of(boot, ChildStartFailed)] == [("boot", 4, "cannot start")]
    play = Play([child("a")], SupervisorFlags(intensity=4), a=["succeed", "fail"])
    play.boot()
    play.crash("a")
    assert [(event.purpose, event.budget_left) for event in of(play, ChildStartFailed)] == [("restart", 3)]


def test_an_exit_by_itself_says_what_the_window_still_admits() -> None:
    """Before its own restart is counted; an end that was asked for has nothing to do with the budget."""
    play = Play([child("a"), child("b", TEMPORARY)], SupervisorFlags(intensity=2, period=10.0))
    play.boot()
    play.crash("a")
    play.crash("a")
    play.crash("b")
    play.wait(10.5)
    play.crash("a")
    play.ask(TerminateChild("a"))
    assert [(event.path[-1], event.budget_left) for event in of(play, ChildExited)] == [("a", 2), ("a", 1), ("b", 0), ("a", 2), ("a", None)]


def test_giving_up_says_what_the_window_would_have_admitted() -> None:
    """None where the window was spent, some where the circuit refused."""
    spent = Play([child("a")], SupervisorFlags(intensity=1))
    spent.boot()
    spent.crash("a")
    spent.crash("a")
    tripped = Play([child("a")], SupervisorFlags(intensity=9, breaker=Breaker(failures=1, reset=60.0), on_give_up=GiveUp.HOLD))
    tripped.boot()
    tripped.crash("a")
    tripped.crash("a")
    assert [(event.budget_left, event.hold) for event in of(spent, SupervisorGaveUp)] == [(0, False)]
    assert [(event.budget_left, event.hold, event.retry_in) for event in of(tripped, SupervisorGaveUp)] == [(9, True, 60.0)]


def test_a_deferred_restart_says_what_is_left_of_its_own_budget() -> None:
    """A crash that of crashes, a controlled restart that of controlled ones."""
    play = Play([child("a")], SupervisorFlags(intensity=5, period=100.0, backoff=Backoff(10.0)))
    play.boot()
    play.crash("a")
    play.crash("a")
    play.wait(30.0)
    play.ask(CycleChild("a"))
    with pytest.raises(Exception, match="deferred"):
        play.ask(CycleChild("a"))
    assert [(event.controlled, event.budget_left) for event in of(play, RestartDeferred)] == [(False, 4), (True, 4)]


def test_a_child_that_had_to_be_killed_is_told_so() -> None:
    """It was asked and did not end within its `shutdown`; not one that is killed at once, one that ended, or one that never was up."""
    play = Play([child("a"), child("b", shutdown=1.0), child("c", shutdown=BRUTAL_KILL)])
    play.boot()
    play.stubborn = {"b"}
    play.stop()
    play.wait(1.0)
    assert [(event.path[-1], event.killed) for event in of(play, ChildExited)] == [("c", False), ("b", True), ("a", False)]

    late = Play([child("a", start_timeout=1.0)], SupervisorFlags(), a=["silent"])
    late.boot()
    late.wait(1.0)
    assert [event.killed for event in of(late, ChildExited)] == [False]

    hurried = Play([child("a", shutdown=1.0), child("b", shutdown=1.0)])
    hurried.boot()
    hurried.stubborn = {"b"}
    hurried.stop()
    hurried.tell(Hurry(Exit.killed()))
    assert [event.killed for event in of(hurried, ChildExited)] == [False, False]


def test_a_dynamic_child_that_had_to_be_killed_is_told_so() -> None:
    """Each by its own timer."""
    play = Play([], SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE))
    play.boot()
    for id, shutdown in (("a", 1.0), ("b", 2.0), ("c", BRUTAL_KILL), ("d", 1.0)):
        play.ask(StartChild(child(id, shutdown=shutdown)))
    play.stubborn = {"a", "b"}
    play.stop()
    play.wait(1.0)
    play.tell(play.ends("b", Exit.shutdown()))
    assert sorted((event.path[-1], event.killed) for event in of(play, ChildExited)) == [
        ("a", True),
        ("b", False),
        ("c", False),
        ("d", False),
    ]


@pytest.mark.parametrize("restart", [PERMANENT, TEMPORARY])
def test_a_termination_carries_the_specification_of_a_child_that_is_forgotten(restart: Restart) -> None:
    """And the call is answered with nothing."""
    spec = child("a", restart)
    play = Play([spec])
    play.boot()
    assert play.ask(TerminateChild("a")) is None
    (event,) = of(play, ChildTerminated)
    assert event.spec is spec


# ---------------------------------------------------------------- which of them are reports


def line(event: Event) -> tuple[str, str] | None:
    report = report_of(event)
    if report is None:
        return None
    assert report.text.startswith(f"{report.context} ")
    return report.severity.name, report.text


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (ChildStarted(PATH, 7, spec=SPEC, purpose="boot"), ("INFO", f"progress root/a: started, pid 7 ({ABOUT})")),
        (ChildStarted(PATH, spec=SPEC), ("INFO", f"progress root/a: started ({ABOUT})")),
        (ChildStarted(PATH, spec=SPEC, purpose="start_child"), ("DEBUG", f"progress root/a: started ({ABOUT})")),
        (ChildStarted(PATH, spec=SPEC, purpose="restart_child"), ("DEBUG", f"progress root/a: started ({ABOUT})")),
        (ChildStarted(PATH, spec=SPEC, purpose="restart"), None),
        (ChildStarted(PATH, spec=SPEC, purpose="cycle"), None),
        (
            ChildRestarted(PATH, "boom", False, 2, 1, spec=SPEC),
            ("INFO", f"progress root/a: restarted after a failure, number 2 in the window: boom ({ABOUT}, 1 restart left)"),
        ),
        (
            ChildRestarted(PATH, "", True, 1, 0, spec=SPEC),
            ("INFO", f"progress root/a: restarted on request, number 1 in the window: no reason given ({ABOUT}, 0 restarts left)"),
        ),
        (
            ChildExited(PATH, exit=BOOM, uptime=3.14, spec=SPEC, budget_left=2),
            ("ERROR", f"child_terminated root/a: boom after 3.1 s ({ABOUT}, 2 restarts left)"),
        ),
        (ChildExited(PATH, exit=BOOM), ("ERROR", "child_terminated root/a: boom")),
        (
            ChildStartFailed(PATH, exit=BOOM, spec=SPEC, budget_left=0),
            ("ERROR", f"start_error root/a: boom ({ABOUT}, 0 restarts left)"),
        ),
        (
            ChildExited(PATH, exit=SIGKILL, expected=True, killed=True, spec=SPEC),
            ("ERROR", f"shutdown_error root/a: killed, because it did not end within 5 s: killed by SIGKILL ({ABOUT})"),
        ),
        (
            ChildExited(PATH, exit=Exit.shutdown(), expected=True, killed=True),
            ("ERROR", "shutdown_error root/a: killed, because it did not end in time: shutdown"),
        ),
        (ChildExited(PATH, exit=BOOM, expected=True, spec=SPEC), ("ERROR", f"shutdown_error root/a: boom ({ABOUT})")),
        (ChildExited(PATH, exit=Exit.shutdown(), expected=True, spec=SPEC), None),
        (
            ChildExited(PATH, exit=BOOM, expected=True, killed=True, spec=attrs.evolve(SPEC, shutdown=BRUTAL_KILL)),
            ("ERROR", f"shutdown_error root/a: killed, because it did not end in time: boom ({ABOUT})"),
        ),
        (ChildExited(PATH, exit=BOOM, expected=True), None),
        (ChildExited(PATH, exit=Exit.normal()), None),
        (
            SupervisorGaveUp(("root",), "a", "1 restarts within 5 s, 1 allowed", exit=BOOM, spec=SPEC, budget_left=0),
            (
                "ERROR",
                f"shutdown root: reached_max_restart_intensity: 1 restarts within 5 s, 1 allowed; a: boom ({ABOUT}, 0 restarts left)",
            ),
        ),
        (
            SupervisorGaveUp(("root",), "a", "the circuit is open", True, 60.0),
            ("ERROR", "shutdown root: reached_max_restart_intensity: the circuit is open; holds, and tries again in 1 min 00 s"),
        ),
        (SupervisorGaveUp(("root",), "a", "spent", True), ("ERROR", "shutdown root: reached_max_restart_intensity: spent; holds")),
        (
            RestartDeferred(PATH, "boom", False, 30.0, spec=SPEC, budget_left=4),
            ("WARNING", f"restart_deferred root/a: waits 30 s: boom ({ABOUT}, 4 restarts left)"),
        ),
        (RestartDeferred(PATH, "", True, 1.0), ("WARNING", "restart_deferred root/a: waits 1.0 s: no reason given")),
        (
            ChildUnresponsive(PATH, 7, 40.0, spec=SPEC),
            ("ERROR", f"child_unresponsive root/a: given up 40 s after it was asked to end, and killed ({ABOUT})"),
        ),
        (OrphansSwept(PATH, (7, 8)), ("WARNING", "orphans_swept root/a: killed 7, 8: left behind")),
        (CgroupUnavailable(PATH, "no room"), ("WARNING", "cgroup_unavailable root/a: runs without a cgroup of its own: no room")),
        (CgroupUnavailable(PATH, "why", ("a", "b")), ("WARNING", "cgroup_unavailable root/a: runs without a and b: why")),
        (OomKilled(PATH), ("WARNING", "oom_killed root/a: out of memory: 1 process killed")),
        (SentryLost(PATH, 7, "signal 9", replaced=True), ("WARNING", "sentry_lost root/a: signal 9; another one watches now")),
        (SentryLost(PATH, None, "no processes"), ("WARNING", "sentry_lost root/a: no processes; nobody watches")),
        (OrphansSwept(PATH, (7,), "old"), ("WARNING", "orphans_swept root/a: killed 7: old")),
        (
            OutputFailed(PATH, "stdout", "/log", "No space left on device", 28, 7),
            ("WARNING", "output_failed root/a: stdout is lost, /log does not take it: No space left on device; 7 bytes so far"),
        ),
        (
            OutputResumed(PATH, "stderr", "/log", 1),
            ("WARNING", "output_resumed root/a: stderr goes to /log again, 1 byte was lost"),
        ),
        (OutputLine(PATH, text="hello"), None),
        (ChildTerminated(PATH, spec=SPEC), None),
        (Event(PATH), None),
    ],
)
def test_what_is_reported_and_how(event: Event, said: tuple[str, str] | None) -> None:
    """OTP's contexts and levels; one line that says who, why, what it is and what is left."""
    assert line(event) == said


@pytest.mark.parametrize("exit", [Exit.normal(), Exit.shutdown(), Exit.shutdown("done"), BOOM, Exit.killed()])
@pytest.mark.parametrize("restart", list(Restart))
def test_an_end_by_itself_is_an_error_where_it_is_restarted_or_abnormal(restart: Restart, exit: Exit) -> None:
    """`do_restart/3`: permanent always, the others unless the end was clean."""
    event = ChildExited(PATH, exit=exit, spec=attrs.evolve(SPEC, restart=restart))
    assert (report_of(event) is not None) == (restart is PERMANENT or not exit.is_clean)


@pytest.mark.parametrize(
    ("restart", "exit", "asked", "brutal"),
    [
        (PERMANENT, Exit.shutdown(), True, True),
        (PERMANENT, Exit.shutdown("done"), False, False),
        (PERMANENT, Exit.normal(), False, False),
        (PERMANENT, LEFT, True, True),
        (PERMANENT, TERMINATED, True, True),
        (PERMANENT, attrs.evolve(TERMINATED, kind=ExitKind.ABNORMAL), False, False),
        (PERMANENT, BOOM, False, False),
        (PERMANENT, Exit.killed(), False, True),
        (PERMANENT, SIGKILL, False, True),
        (TRANSIENT, Exit.shutdown("done"), True, True),
        (TRANSIENT, Exit.normal(), True, True),
        (TRANSIENT, BOOM, False, False),
        (TEMPORARY, LEFT, True, True),
        (TEMPORARY, SIGKILL, False, True),
    ],
)
def test_rule_37(restart: Restart, exit: Exit, asked: bool, brutal: bool) -> None:
    """Silent are shutdown (killed for brutal_kill) and, for children that are not permanent, normal and {shutdown, Term}.

    A command says shutdown by the signal that it was asked by, or by ending with code 0.
    """
    spec = attrs.evolve(SPEC, restart=restart)
    assert is_in_order(spec, exit) == asked
    assert is_in_order(attrs.evolve(spec, shutdown=BRUTAL_KILL), exit) == brutal


def test_a_report_is_one_line_whatever_a_child_says() -> None:
    """Control characters become escapes."""
    report = report_of(ChildExited(("root", "a\n"), exit=Exit(ExitKind.ABNORMAL, "\x1b[31mred\nred")))
    assert report is not None
    assert report.text == "child_terminated root/a\\n: \\x1b[31mred\\nred"


@pytest.mark.parametrize(
    "event",
    [
        ChildExited(PATH, exit=attrs.evolve(BOOM, output=("\x1b[31mlast", "words"))),
        ChildExited(PATH, exit=attrs.evolve(BOOM, output=("\x1b[31mlast", "words")), expected=True, spec=SPEC),
        ChildExited(PATH, exit=attrs.evolve(BOOM, output=("\x1b[31mlast", "words")), expected=True, killed=True, spec=SPEC),
        ChildStartFailed(PATH, exit=attrs.evolve(BOOM, output=("\x1b[31mlast", "words"))),
    ],
)
def test_a_failure_is_reported_with_what_was_said_last(event: Event) -> None:
    """Line by line, without control characters, and not in the text."""
    report = report_of(event)
    assert report is not None and report.severity is Severity.ERROR
    assert report.details == ("\\x1b[31mlast", "words") and "last" not in report.text


def test_the_severities_are_those_of_the_logging_module() -> None:
    """So that they need no table."""
    import logging

    assert {severity.name: severity.value for severity in Severity} == {
        name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR")
    }


def test_a_child_in_few_words() -> None:
    """Its restart type, its type, and what is started."""
    assert brief(SPEC) == ABOUT
    assert brief(ChildSpec("s", subtree([], strategy=Strategy.REST_FOR_ONE), restart=TEMPORARY)) == "temporary supervisor, rest_for_one"


def test_every_child_event_is_of_a_child() -> None:
    """The base has what they have in common, and no name of its own."""
    assert {kind.name for kind in (ChildEvent, Event)} == {"event"}
