"""A dynamic supervisor as a machine: OTP's simple_one_for_one and Elixir's DynamicSupervisor, and new specifications for any."""

from __future__ import annotations

import math
from typing import Any

import pytest

from supervisor.core.backoff import Backoff
from supervisor.core.breaker import Breaker
from supervisor.core.budget import FRESH, Refused
from supervisor.core.errors import (
    BadCombination,
    ChildNotFound,
    DuplicateChildName,
    InvalidField,
    MaxChildren,
    SimpleOneForOne,
    StartFailed,
)
from supervisor.core.event import ChildUnresponsive
from supervisor.core.exits import Exit
from supervisor.core.message import (
    Acknowledged,
    Call,
    CycleChild,
    DeleteChild,
    Ended,
    Hurry,
    Reconfigure,
    RestartChild,
    StartChild,
    Stop,
    TerminateChild,
)
from supervisor.core.spec import BRUTAL_KILL, AutoShutdown, ChildSpec, GiveUp, Restart, Strategy, SupervisorFlags
from supervisor.core.state import Lifecycle, Phase, wake_at

from .machine_driver import BOOM, Play, child, every


def dynamic(*ids: str, **flags: Any) -> Play:
    """A dynamic supervisor with a permanent child of each id."""
    flags.setdefault("intensity", 3)
    play = Play([], SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE, **flags))
    play.boot()
    for id in ids:
        play.ask(StartChild(child(id)))
    return play


# ---------------------------------------------------------------- flags and children


def test_a_dynamic_supervisor_starts_empty() -> None:
    """Children given at the start are refused before anything runs; without any it is ready at once."""
    with pytest.raises(InvalidField) as caught:
        Play([child("a")], SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE))
    assert (caught.value.field, caught.value.value, caught.value.where) == ("children", ["a"], "root")
    assert Play([], SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE)).boot() == ["ready"]


@pytest.mark.parametrize("rule", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
def test_significant_simple(rule: AutoShutdown) -> None:
    """No automatic shutdown of a dynamic supervisor, so no significant child under it either."""
    with pytest.raises(BadCombination) as caught:
        SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE, auto_shutdown=rule)
    assert caught.value.fields == {"strategy": Strategy.SIMPLE_ONE_FOR_ONE, "auto_shutdown": rule}
    with pytest.raises(BadCombination):
        dynamic().ask(StartChild(child("a", Restart.TRANSIENT, significant=True)))


@pytest.mark.parametrize("value", [-1, 1.5, True, "many", None])
def test_max_children_is_a_count(value: Any) -> None:
    """Anything but an integer >= 0 or infinity is refused, and so is a limit on a supervisor that is not dynamic."""
    with pytest.raises(InvalidField) as caught:
        SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE, max_children=value)
    assert (caught.value.field, caught.value.value) == ("max_children", value)
    with pytest.raises(BadCombination) as clash:
        SupervisorFlags(max_children=3)
    assert clash.value.fields == {"strategy": Strategy.ONE_FOR_ONE, "max_children": 3}


def test_a_taken_id_gets_a_number() -> None:
    """Ids may repeat; each child has one of its own, which is never given again while anybody may still mean the old one."""
    play = dynamic("w", "w")
    assert play.up() == "w w-2"
    play.ask(StartChild(child("w")))
    assert play.up() == "w w-2 w-3"
    play.ask(TerminateChild("w-3"))
    play.ask(StartChild(child("w")))
    assert play.up() == "w w-2 w-4"
    assert play.replies[5].id == "w-4"
    assert play.row("w-4").spec.id == "w-4"
    play.ask(StartChild(child("w-6")))
    play.ask(StartChild(child("w")))
    assert play.up() == "w w-2 w-4 w-6 w-7"


def test_max_children() -> None:
    """One more than the limit is refused, with the limit; a place is free again when a child is gone."""
    play = dynamic("a", max_children=2)
    play.ask(StartChild(child("b")))
    with pytest.raises(MaxChildren) as caught:
        play.ask(StartChild(child("c")))
    assert (caught.value.max_children, caught.value.id) == (2, "c")
    play.ask(TerminateChild("a"))
    play.ask(StartChild(child("c")))
    assert play.up() == "b c"
    with pytest.raises(MaxChildren):
        dynamic(max_children=0).ask(StartChild(child("a")))


def test_a_child_that_waits_for_its_restart_has_a_place() -> None:
    """What is restarting counted in max_children, as in Elixir."""
    play = dynamic("a", max_children=1, intensity=0, breaker=Breaker(), on_give_up=GiveUp.HOLD)
    play.crash("a")
    assert play.row("a").phase is Phase.RESTARTING
    with pytest.raises(MaxChildren):
        play.ask(StartChild(child("b")))


def test_a_start_that_fails_or_is_declined_leaves_nothing() -> None:
    """Also for a permanent child."""
    play = dynamic("a")
    play.starts.update(b=["fail"], c=["ignore"])
    with pytest.raises(StartFailed):
        play.ask(StartChild(child("b")))
    assert play.ask(StartChild(child("c"))) is None
    assert play.done == ["start c", "forget c"]
    assert list(play.state.children) == ["a"]


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize("exit", [BOOM, Exit.killed(), Exit.normal(), Exit.shutdown(), Exit.shutdown("term")])
def test_a_child_that_is_not_restarted_is_forgotten(restart: Restart, exit: Exit) -> None:
    """The six clauses are those of any supervisor, but nothing that is down is kept."""
    play = dynamic("a")
    play.ask(StartChild(child("b", restart)))
    again = restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and not exit.is_clean)
    assert play.crash("b", exit) == (["start b"] if again else ["forget b"])
    assert play.up() == ("a b" if again else "a")


def test_simple_one_for_one_restart_ignore() -> None:
    """A restart that is declined drops the child, and counts as a success."""
    play = dynamic("a", "b")
    play.starts["b"] = ["ignore"]
    assert play.crash("b") == ["start b", "forget b"]
    assert play.up() == "a"


def test_simple_one_for_one_escalation() -> None:
    """The child that spent the budget is forgotten, the others are asked at the same time, the exit is a shutdown."""
    play = dynamic("a", "b", "c", intensity=0)
    assert play.crash("b") == ["ask a", "forget b", "ask c", "forget a", "forget c", "finish shutdown"]


def test_a_failed_restart_is_tried_again() -> None:
    """It is counted, and the others run on."""
    play = dynamic("a", "b")
    play.starts["b"] = ["fail", "fail"]
    assert play.crash("b") == ["start b"]
    assert play.row("b").phase is Phase.RESTARTING
    assert play.wait(0.0) == ["start b", "start b"]
    assert play.state.crash.window.size == 3
    assert play.up() == "a b"


def test_terminating_a_child_in_its_retry_loop_forgets_it() -> None:
    """Nothing is left that could be restarted."""
    play = dynamic("a", "b")
    play.starts["b"] = ["fail"]
    play.crash("b")
    play.ask(TerminateChild("b"))
    assert play.done == ["forget b"]
    assert wake_at(play.state) == math.inf
    with pytest.raises(ChildNotFound):
        play.ask(TerminateChild("b"))


@pytest.mark.parametrize("request_of", [RestartChild, DeleteChild])
@pytest.mark.parametrize("id", ["a", "nobody"])
def test_calls_that_a_dynamic_supervisor_does_not_know(request_of: Any, id: str) -> None:
    """A child that does not run is not kept, so there is none to restart or to delete, whatever the id."""
    play = dynamic("a")
    with pytest.raises(SimpleOneForOne) as caught:
        play.ask(request_of(id))
    assert caught.value.id == id


def test_terminate_child_forgets() -> None:
    """The child is stopped within its own `shutdown`, others are left alone."""
    play = dynamic("a", "b")
    play.ask(TerminateChild("a"))
    assert play.done == ["ask a", "forget a"]
    assert play.up() == "b"


def test_a_cycle_is_a_life_of_the_same_child() -> None:
    """Controlled restarts are known here too."""
    play = dynamic("a", "b")
    assert play.cycle("a") == ["ask a", "start a"]
    assert (play.row("a").generation, play.row("a").restarts) == (2, 1)
    play.stubborn = {"a"}
    play.calls[9] = CycleChild("a")
    play.tell(Call(9, CycleChild("a")))
    play.crash("b", Exit.killed())
    assert play.stop() == ["forget b"]
    assert play.tell(play.ends("a")) == ["forget a", "finish shutdown"]


# ---------------------------------------------------------------- the end


def at_once(*more: tuple[str, float], stubborn: tuple[str, ...] = (), immortal: tuple[str, ...] = (), kill_timeout: float = 2.0) -> Play:
    play = dynamic()
    for id, shutdown in more:
        play.ask(StartChild(child(id, shutdown=shutdown, kill_timeout=kill_timeout)))
    play.stubborn, play.immortal = set(stubborn), set(immortal)
    return play


def test_all_are_asked_before_anybody_is_waited_for() -> None:
    """No child waits for another to end."""
    play = at_once(("a", 5.0), ("b", 5.0), ("c", 5.0), stubborn=("a", "b"))
    assert play.stop() == ["ask a", "ask b", "ask c", "forget c"]
    assert play.tell(play.ends("b", Exit.shutdown())) == ["forget b"]
    assert play.tell(play.ends("a", Exit.shutdown())) == ["forget a", "finish shutdown"]


def test_an_empty_one_is_over_at_once() -> None:
    """Nothing to wait for."""
    assert dynamic().stop() == ["finish shutdown"]


def test_one_timer_for_each_timeout() -> None:
    """Those that have as long are killed together when it is over; those that ended meanwhile are not."""
    play = at_once(("a", 1.0), ("b", 3.0), ("c", 1.0), ("d", math.inf), ("e", 1.0), stubborn=("a", "b", "c", "d"))
    play.stop()
    assert play.state.job is not None and len(play.state.job.waves) == 3
    assert wake_at(play.state) == 1.0
    assert play.wait(1.0) == ["kill a", "kill c", "forget a", "forget c"]
    assert wake_at(play.state) == 3.0
    assert play.wait(2.0) == ["kill b", "forget b"]
    assert play.wait(100.0) == [], "the timers of those that are gone are void"
    assert wake_at(play.state) == math.inf
    assert play.tell(play.ends("d")) == ["forget d", "finish shutdown"]


def test_brutal_kill_does_not_ask() -> None:
    """Among others that are asked."""
    play = dynamic("a")
    play.ask(StartChild(child("b", shutdown=BRUTAL_KILL)))
    assert play.stop() == ["ask a", "kill b", "forget a", "forget b", "finish shutdown"]


def test_those_that_survive_their_kill_are_given_up() -> None:
    """Each after its own time, reported with how long was waited; the supervisor ends without them."""
    play = at_once(("a", 1.0), ("b", 1.0), ("c", 9.0), immortal=("a", "b"))
    play.wait(50.0)
    play.stop()
    assert play.wait(1.0) == ["kill a", "kill b"]
    assert wake_at(play.state) == 53.0
    assert play.wait(2.0) == ["abandon a", "abandon b", "forget a", "forget b", "finish shutdown"]
    assert [(event.path[-1], event.waited) for event in play.events if isinstance(event, ChildUnresponsive)] == [("a", 3.0), ("b", 3.0)]


def test_what_is_down_is_not_waited_for() -> None:
    """A child that waits for its restart, or whose end is not served yet, is only forgotten."""
    play = dynamic("a", "b", "c", backoff=Backoff(100.0, maximum=100.0))
    play.crash("a")
    play.crash("a")
    assert play.row("a").phase is Phase.RESTARTING
    play.stubborn = {"b"}
    play.feed(Call(9, TerminateChild("b")))
    play.calls[9] = TerminateChild("b")
    play.tell(play.ends("c"))
    assert play.row("c").phase is Phase.EXITED
    assert play.stop() == ["forget a", "forget c"]
    assert play.state.retries == ()
    assert play.tell(play.ends("b", Exit.shutdown())) == ["forget b", "finish shutdown"]


def test_a_ladder_that_has_begun_goes_on() -> None:
    """A child that was being terminated has the time that is left to it, and is not asked twice."""
    play = at_once(("a", 5.0), ("b", 5.0), stubborn=("a", "b"))
    play.calls[9] = TerminateChild("a")
    play.tell(Call(9, TerminateChild("a")))
    play.wait(3.0)
    assert play.stop() == ["ask b"]
    assert wake_at(play.state) == 5.0
    assert play.wait(2.0) == ["kill a", "forget a"]
    assert play.wait(2.9) == []
    assert play.wait(0.1) == ["kill b", "forget b", "finish shutdown"]


def test_a_ladder_that_has_reached_the_kill_goes_on_there() -> None:
    """The kill is not repeated, the child is given up when its time is over."""
    play = at_once(("a", 1.0), immortal=("a",))
    play.calls[9] = TerminateChild("a")
    play.tell(Call(9, TerminateChild("a")))
    play.wait(1.0)
    assert play.stop() == []
    assert play.wait(2.0) == ["abandon a", "forget a", "finish shutdown"]


def test_a_stop_in_the_middle_of_a_start() -> None:
    """The child that is starting is asked like any other, and its caller is told."""
    play = dynamic("a")
    play.starts["b"] = ["silent"]
    play.calls[9] = StartChild(child("b"))
    play.tell(Call(9, StartChild(child("b"))))
    assert play.stop() == ["ask a", "ask b", "forget a", "forget b", "finish shutdown"]
    assert play.replies[9].error is not None


def test_a_stop_while_a_silent_child_is_being_killed() -> None:
    """Its start has failed, and is told as that; one that has to be killed for its `shutdown` is told as that."""
    play = dynamic()
    play.ask(StartChild(child("a", shutdown=1.0)))
    play.starts["b"], play.immortal, play.stubborn = ["silent"], {"b"}, {"a"}
    request = StartChild(child("b", start_timeout=2.0))
    play.calls[9] = request
    play.tell(Call(9, request))
    assert play.wait(2.0) == ["kill b"]
    assert play.stop() == ["ask a"]
    assert play.tell(Ended("b", 1, Exit.killed())) == ["forget b"]
    assert play.wait(1.0) == ["kill a", "forget a", "finish shutdown"]
    told = [(event.name, event.path[-1], getattr(event, "killed", None)) for event in play.events[-3:]]
    assert told == [("child_exited", "b", False), ("child_start_failed", "b", None), ("child_exited", "a", True)]


def test_an_acknowledgement_that_comes_too_late_changes_nothing() -> None:
    """Its child has been asked to end."""
    play = dynamic()
    play.starts["b"] = ["silent"]
    play.calls[9] = StartChild(child("b"))
    play.tell(Call(9, StartChild(child("b"))))
    play.stubborn = {"b"}
    play.stop()
    assert play.tell(Acknowledged("b", 1)) == []
    assert play.tell(Ended("b", 1, BOOM)) == ["forget b", "finish shutdown"]


def test_a_hurry_kills_all() -> None:
    """At once where nobody was asked yet; where all were asked, those that are left, once."""
    play = at_once(("a", 5.0), ("b", 1.0), stubborn=("a", "b"))
    assert play.tell(Hurry(Exit.killed())) == ["kill a", "kill b", "forget a", "forget b", "finish abnormal"]
    play = at_once(("a", 5.0), ("b", 1.0), ("c", 1.0), stubborn=("a",), immortal=("b",))
    play.stop()
    play.wait(1.0)
    assert play.tell(Hurry(Exit.killed())) == ["kill a", "forget a"]
    assert play.tell(Hurry(Exit.killed())) == []
    assert wake_at(play.state) == 3.0


def test_a_hurry_after_the_end_of_all_is_ignored() -> None:
    """There is nobody left to kill."""
    play = dynamic("a")
    play.stop()
    assert play.tell(Hurry(Exit.killed())) == []


def test_a_hurry_kills_whom_a_call_has_asked() -> None:
    """Also the child that was being terminated."""
    play = at_once(("a", 5.0), ("b", 5.0), stubborn=("a", "b"))
    play.calls[9] = TerminateChild("a")
    play.tell(Call(9, TerminateChild("a")))
    assert play.tell(Hurry(Exit.killed())) == ["kill a", "kill b", "forget a", "forget b", "finish abnormal"]


# ---------------------------------------------------------------- new specifications


def static(*ids: str, **flags: Any) -> Play:
    play = Play([child(id) for id in ids], SupervisorFlags(**{"intensity": 3, **flags}))
    play.boot()
    return play


def give(play: Play, *specs: ChildSpec, **flags: Any) -> None:
    play.ask(Reconfigure(every(SupervisorFlags(**{"intensity": 3, **flags})), specs))
    assert play.done == [], "nothing is started or stopped"


def test_code_change_merges_specifications() -> None:
    """Known ids get the new specification and run on, new ones are added and down, those not named are kept, after the others."""
    play = static("a", "b", "c")
    give(play, child("c", shutdown=9.0), child("n", Restart.TRANSIENT), child("a"))
    rows = sorted(play.state.children.values(), key=lambda row: row.position)
    assert [(row.spec.id, row.phase, row.generation) for row in rows] == [
        ("c", Phase.RUNNING, 1),
        ("n", Phase.UNDEFINED, 0),
        ("a", Phase.RUNNING, 1),
        ("b", Phase.RUNNING, 1),
    ]
    assert play.row("c").spec.shutdown == 9.0
    play.ask(RestartChild("n"))
    assert play.up() == "c n a b"
    assert play.stop() == ["ask b", "ask a", "ask n", "ask c", "finish shutdown"]


def test_a_child_added_after_a_change_is_the_last() -> None:
    """Also where the change has brought more children than ever had a place."""
    play = static("a")
    give(play, child("x"), child("y"), child("z"))
    play.ask(StartChild(child("b")))
    assert sorted(play.state.children, key=lambda id: play.row(id).position) == ["x", "y", "z", "a", "b"]


def test_changes_of_different_flags_are_no_loss_to_each_other() -> None:
    """What a change does not name is what it is when the change is served, not when it was asked for; also for what may go together."""
    play = static("a", intensity=3)
    play.ask(Reconfigure({"intensity": 7}, ()))
    play.ask(Reconfigure({"period": 9.0}, ()))
    assert (play.state.flags.intensity, play.state.flags.period) == (7, 9.0)
    with pytest.raises(BadCombination):
        play.ask(Reconfigure({"on_give_up": GiveUp.HOLD}, ()))
    play.ask(Reconfigure({"breaker": Breaker()}, ()))
    play.ask(Reconfigure({"on_give_up": GiveUp.HOLD}, ()))
    assert (play.state.flags.on_give_up, play.state.flags.intensity) == (GiveUp.HOLD, 7)


def test_code_change_replaces_the_flags() -> None:
    """For whatever happens from then on."""
    play = static("a", "b", intensity=0)
    give(play, strategy=Strategy.ONE_FOR_ALL, intensity=1)
    assert play.crash("a") == ["ask b", "start a", "start b"]


def test_an_invalid_change_changes_nothing() -> None:
    """Neither the flags nor any specification."""
    play = static("a", "b")
    before = play.state
    for error, specs, flags in (
        (DuplicateChildName, (child("x"), child("x")), SupervisorFlags()),
        (BadCombination, (child("x", Restart.TRANSIENT, significant=True),), SupervisorFlags()),
        (BadCombination, (), SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE)),
    ):
        with pytest.raises(error):
            play.ask(Reconfigure(every(flags), specs))
        assert play.state == before
    pool = dynamic("a")
    with pytest.raises(BadCombination) as caught:
        pool.ask(Reconfigure(every(SupervisorFlags()), ()))
    assert caught.value.fields == {"strategy": Strategy.ONE_FOR_ONE, "before": Strategy.SIMPLE_ONE_FOR_ONE}
    assert caught.value.where == "root"
    with pytest.raises(InvalidField) as refused:
        pool.ask(Reconfigure(every(SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE)), (child("a"),)))
    assert refused.value.where == "root"


@pytest.mark.parametrize("rule", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
def test_significant_upgrade_never_any_and_never_all(rule: AutoShutdown) -> None:
    """The flag counts for the ends that come after it, in both directions."""
    play = static("a", "b")
    give(play, child("a", Restart.TRANSIENT, significant=True), child("b"), auto_shutdown=rule)
    assert play.crash("a", Exit.normal()) == ["ask b", "finish shutdown"]
    play = static("a", "b")
    give(play, child("a", Restart.TRANSIENT, significant=True), child("b"), auto_shutdown=rule)
    give(play, child("b"))  # `a` is kept as it was
    assert play.crash("a", Exit.normal()) == []
    assert play.state.lifecycle is Lifecycle.RUNNING


@pytest.mark.parametrize(
    ("strategy", "restarted", "left"),
    [
        (Strategy.ONE_FOR_ONE, ["start b"], "a b c"),
        (Strategy.REST_FOR_ONE, ["ask c", "forget b", "start c"], "a c"),
        (Strategy.ONE_FOR_ALL, ["ask c", "forget b", "ask a", "start a", "start c"], "a c"),
    ],
)
def test_a_child_that_waits_and_is_temporary_now(strategy: Strategy, restarted: list[str], left: str) -> None:
    """Its restart is done, as in OTP: alone it is started once more, in a group it is a temporary member like any."""
    pause = Backoff(100.0, maximum=100.0)
    play = static("a", "b", "c", strategy=strategy, backoff=pause, period=1000.0)
    play.crash("b")
    play.crash("b")
    play.ask(Reconfigure({}, (child("a"), child("b", Restart.TEMPORARY), child("c"))))
    assert play.done == [] and play.row("b").phase is Phase.RESTARTING
    assert play.wait(100.0) == restarted
    assert play.up() == left and play.state.crash.window.size == 2
    if "b" in left:
        assert play.crash("b") == ["forget b"]


def test_a_child_that_waits_and_is_temporary_now_can_be_terminated() -> None:
    """Then it is forgotten; and where its start fails again it goes on waiting."""
    play = static("a", "b", backoff=Backoff(100.0, maximum=100.0), period=1000.0)
    play.starts["b"] = ["fail", "fail"]
    play.crash("b")
    play.ask(Reconfigure({}, (child("b", Restart.TEMPORARY),)))
    assert play.wait(100.0) == ["start b"]
    assert play.row("b").phase is Phase.RESTARTING
    play.ask(TerminateChild("b"))
    assert play.done == ["forget b"] and wake_at(play.state) == math.inf


def test_a_child_that_runs_and_is_temporary_now_runs_on() -> None:
    """It is forgotten when it ends."""
    play = static("a", "b")
    give(play, child("a", Restart.TEMPORARY))
    assert play.up() == "a b"
    assert play.crash("a") == ["forget a"]


def test_a_generation_does_not_repeat_after_a_change() -> None:
    """A new child counts on from one that was forgotten under its id."""
    play = static("a", "b")
    play.crash("a")
    play.ask(TerminateChild("a"))
    play.ask(DeleteChild("a"))
    give(play, child("a"))
    play.ask(RestartChild("a"))
    assert play.row("a").generation == 3


def test_without_a_backoff_there_is_no_cooldown_and_without_a_breaker_no_circuit() -> None:
    """What the old policy has left behind does not bind the new one, what counts against the window does."""
    policy: Any = {"intensity": 2, "period": 100.0}
    play = static("a", backoff=Backoff(50.0, maximum=50.0), breaker=Breaker(1, 1000.0), **policy)
    play.crash("a")
    play.ask(Reconfigure(every(SupervisorFlags(backoff=Backoff(50.0, maximum=50.0), breaker=Breaker(1, 1000.0), **policy)), ()))
    assert play.state.crash.ready_at == 50.0 and play.state.crash.pending
    give(play, **policy)
    assert play.state.crash.ready_at == -math.inf and not play.state.crash.pending
    assert play.state.crash.window.size == 1
    assert play.crash("a") == ["start a"]
    play = static("a", breaker=Breaker(1, 1000.0), on_give_up=GiveUp.HOLD, **policy)
    play.crash("a")
    play.crash("a")
    assert isinstance(play.state.crash.verdict(play.flags, play.now), Refused)
    give(play, **policy)
    assert play.state.crash.circuit == FRESH.circuit


def test_a_dynamic_supervisor_can_be_given_another_limit() -> None:
    """The children that are there stay, also where they are more than the new limit."""
    play = dynamic("a", "b", "c")
    play.ask(Reconfigure(every(SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE, intensity=3, max_children=2)), ()))
    assert play.up() == "a b c"
    with pytest.raises(MaxChildren):
        play.ask(StartChild(child("d")))
    assert play.tell(Stop(Exit.normal()))[-1] == "finish normal"
