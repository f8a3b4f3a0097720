"""The machine under anything that can happen, in any order: the invariants are those of `machine_driver.Driver`."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from supervisor.core.backoff import Backoff
from supervisor.core.breaker import Breaker
from supervisor.core.exits import Exit
from supervisor.core.message import (
    Acknowledged,
    Boot,
    CycleChild,
    Declined,
    DeleteChild,
    Ended,
    Extend,
    Hurry,
    Input,
    Judge,
    Reconfigure,
    ResetBudgets,
    RestartChild,
    StartChild,
    Stop,
    TerminateChild,
    Tick,
)
from supervisor.core.spec import BRUTAL_KILL, AutoShutdown, ChildSpec, GiveUp, Restart, Strategy, SupervisorFlags
from supervisor.core.state import Lifecycle, State, wake_at

from .machine_driver import BOOM, Driver, Life, Scripted, every

IDS = ("a", "b", "c", "d")
STRATEGIES = (Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)
EXITS = (BOOM, BOOM, BOOM, Exit.killed(), Exit.normal(), Exit.shutdown(), Exit.shutdown("done"))
PATIENCE = st.sampled_from([1.0, 10.0, 0.0, math.inf])


def deadlines(state: State) -> dict[str, tuple[float, bool]]:
    """Until when each child is waited for, and whether it was killed."""
    job = state.job
    if job is None:
        return {}
    if job.waves:
        return {id: (wave.deadline, wave.killed) for wave in job.waves for id in wave.ids if id in state.children}
    return {job.steps[job.index][1]: (job.deadline, job.killed)}


@st.composite
def specifications(draw: st.DrawFn, id: str, auto_shutdown: AutoShutdown) -> ChildSpec:
    restart = draw(st.sampled_from([Restart.PERMANENT, Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY]))
    legal = restart is not Restart.PERMANENT and auto_shutdown is not AutoShutdown.NEVER
    return ChildSpec(
        id,
        Scripted(kill_timeout=draw(PATIENCE)),
        restart=restart,
        shutdown=draw(st.one_of(PATIENCE, st.just(BRUTAL_KILL))),
        significant=legal and draw(st.booleans()),
        start_timeout=draw(st.sampled_from([math.inf, 2.0])),
    )


@st.composite
def supervisor_flags(draw: st.DrawFn, dynamic: bool | None = None) -> SupervisorFlags:
    if dynamic is None:
        dynamic = draw(st.sampled_from([False, False, False, True]))
    breaker = draw(st.one_of(st.none(), st.builds(Breaker, st.integers(1, 3), st.sampled_from([4.0, 50.0]))))
    return SupervisorFlags(
        Strategy.SIMPLE_ONE_FOR_ONE if dynamic else draw(st.sampled_from(STRATEGIES)),
        intensity=draw(st.sampled_from([2, 3, 1, 0, 50])),
        period=draw(st.sampled_from([5.0, 60.0])),
        auto_shutdown=AutoShutdown.NEVER if dynamic else draw(st.sampled_from([AutoShutdown.NEVER, AutoShutdown.NEVER, *AutoShutdown])),
        max_children=draw(st.sampled_from([math.inf, math.inf, 3, 0])) if dynamic else math.inf,
        backoff=draw(st.one_of(st.none(), st.builds(Backoff, st.just(1.0), st.just(2.0), st.just(8.0), st.sampled_from([0.0, 0.5])))),
        breaker=breaker,
        on_give_up=draw(st.sampled_from(GiveUp)) if breaker else GiveUp.ESCALATE,
        stability=draw(st.sampled_from([3.0, 30.0, 0.0, math.inf])),
        judged=draw(st.booleans()),
    )


class Anything(RuleBasedStateMachine):
    """Children and callers that do whatever they like."""

    driver: Driver

    @initialize(data=st.data(), flags=supervisor_flags(), count=st.integers(0, 4), seed=st.integers(0, 9))
    def boot(self, data: st.DataObject, flags: SupervisorFlags, count: int, seed: int) -> None:
        first = () if flags.dynamic else IDS[:count]
        self.driver = Driver([data.draw(specifications(id, flags.auto_shutdown)) for id in first], flags, seed=seed)
        self.driver.feed(Boot())

    # ------------------------------------------------------------ children

    def lives(self, *, up: bool | None = None) -> list[Life]:
        driver = getattr(self, "driver", None)
        return [] if driver is None else [life for life in driver.lives.values() if up is None or life.up is up]

    @precondition(lambda self: self.lives(up=False))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        life = data.draw(st.sampled_from(self.lives(up=False)))
        self.driver.feed(Acknowledged(life.id, life.generation, 17, "up"))

    @precondition(lambda self: self.lives(up=False))
    @rule(up=st.booleans())
    def acknowledge_all(self, up: bool) -> None:
        """Most starts succeed, or nothing interesting is ever reached."""
        for _ in range(20):
            if not self.lives(up=False):
                break
            life = self.lives(up=False)[0]
            self.driver.feed(Acknowledged(life.id, life.generation))

    @precondition(lambda self: self.lives(up=False))
    @rule(data=st.data(), declines=st.booleans())
    def not_started(self, data: st.DataObject, declines: bool) -> None:
        life = data.draw(st.sampled_from(self.lives(up=False)))
        self.driver.feed(Declined(life.id, life.generation) if declines else Ended(life.id, life.generation, BOOM))

    @precondition(lambda self: self.lives(up=True))
    @rule(data=st.data(), exit=st.sampled_from(EXITS))
    def end(self, data: st.DataObject, exit: Exit) -> None:
        life = data.draw(st.sampled_from(self.lives(up=True)))
        self.driver.feed(Ended(life.id, life.generation, exit))

    @precondition(lambda self: any(life.asked or life.killed for life in self.lives()))
    @rule(exit=st.sampled_from(EXITS))
    def obey(self, exit: Exit) -> None:
        for life in [life for life in self.lives() if life.asked or life.killed]:
            self.driver.feed(Ended(life.id, life.generation, exit))

    # ------------------------------------------------------------ time

    @precondition(lambda self: self.lives())
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.5, 4.0, 30.0]))
    def extend(self, data: st.DataObject, seconds: float) -> None:
        """Time asked for is granted to whoever is waited for and was not killed; nothing else changes, and no wait ever becomes shorter."""
        life = data.draw(st.sampled_from(self.lives()))
        before = deadlines(self.driver.state)
        assert self.driver.feed(Extend(life.id, life.generation, seconds)) == ()
        after = deadlines(self.driver.state)
        killed = {id for id, (_, was_killed) in before.items() if was_killed}
        until = self.driver.now + seconds
        wanted = {
            id: (max(at, until), False) if id == life.id and id not in killed else (at, id in killed) for id, (at, _) in before.items()
        }
        assert after == wanted

    @rule(late=st.sampled_from([0.0, 0.0, 0.0, 0.5, 7.0]))
    def time_comes(self, late: float) -> None:
        at = wake_at(self.driver.state)
        if at < math.inf:
            self.driver.now = max(self.driver.now, at + late)
            self.driver.feed(Tick())

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 5.0, 60.0]), tick=st.booleans())
    def time_passes(self, seconds: float, tick: bool) -> None:
        self.driver.now += seconds
        if tick:
            self.driver.feed(Tick())

    # ------------------------------------------------------------ callers

    @rule(id=st.sampled_from(IDS), kind=st.sampled_from([TerminateChild, RestartChild, DeleteChild]))
    def call(self, id: str, kind: Any) -> None:
        self.driver.call(kind(id))

    @rule(id=st.sampled_from(IDS))
    def cycle(self, id: str) -> None:
        self.driver.call(CycleChild(id, "because"))

    @rule(data=st.data(), id=st.sampled_from(IDS))
    def start_child(self, data: st.DataObject, id: str) -> None:
        self.driver.call(StartChild(data.draw(specifications(id, self.driver.flags.auto_shutdown))))

    @rule(data=st.data(), success=st.booleans())
    def judge(self, data: st.DataObject, success: bool) -> None:
        id = data.draw(st.sampled_from(IDS))
        generation = self.driver.generations.get(id, 1) + data.draw(st.sampled_from([0, 0, -1]))
        self.driver.feed(Judge(id, generation, success))

    @rule(data=st.data(), rare=st.integers(0, 5))
    def reconfigure(self, data: st.DataObject, rare: int) -> None:
        if rare == 0:
            flags = data.draw(supervisor_flags(self.driver.flags.dynamic))
            named = [] if flags.dynamic else data.draw(st.lists(st.sampled_from(IDS), unique=True))
            self.driver.call(Reconfigure(every(flags), tuple(data.draw(specifications(id, flags.auto_shutdown)) for id in named)))

    @rule(rare=st.integers(0, 7))
    def reset(self, rare: int) -> None:
        if rare == 0:
            self.driver.call(ResetBudgets())

    @rule(rare=st.integers(0, 29))
    def stop(self, rare: int) -> None:
        if rare == 0:
            self.driver.feed(Stop(Exit.shutdown("enough")))
        elif rare == 1:
            self.driver.feed(Hurry(Exit.killed()))

    # ------------------------------------------------------------ nonsense

    @rule(id=st.sampled_from([*IDS, "nobody"]), back=st.integers(-1, 3), kind=st.sampled_from(["ack", "decline", "end", "extend", "boot"]))
    def stale_news(self, id: str, back: int, kind: str) -> None:
        generation = self.driver.generations.get(id, 0) - back
        life = self.driver.lives.get(id)
        if life is not None and life.generation == generation:
            return
        news: Input = Boot()
        match kind:
            case "ack":
                news = Acknowledged(id, generation)
            case "decline":
                news = Declined(id, generation)
            case "end":
                news = Ended(id, generation, BOOM)
            case "extend":
                news = Extend(id, generation, 1e6)
        before = self.driver.state
        assert self.driver.feed(news) == ()
        assert self.driver.state == before, "stale news changed something"

    @precondition(lambda self: self.lives(up=True))
    @rule(data=st.data())
    def second_acknowledgement(self, data: st.DataObject) -> None:
        life = data.draw(st.sampled_from(self.lives(up=True)))
        before = self.driver.state
        assert self.driver.feed(Acknowledged(life.id, life.generation)) == ()
        assert self.driver.state == before

    # ------------------------------------------------------------ the end

    def teardown(self) -> None:
        """With children that behave, time alone brings the supervisor to rest, and a stop to its end."""
        if not hasattr(self, "driver"):
            return
        driver = self.driver
        settle(driver)
        if driver.finished is None:
            assert driver.state.lifecycle is Lifecycle.RUNNING
            assert driver.state.retries == ()
            driver.rest()
            assert driver.calls.keys() == driver.replies.keys()
            driver.feed(Stop(Exit.normal()))
            settle(driver)
            assert driver.finished is not None
            assert driver.finished.exit == Exit.normal()
        assert driver.calls.keys() == driver.replies.keys()


def settle(driver: Driver) -> None:
    """Behave, and let time pass, until there is nothing left to happen."""
    for _ in range(300):
        lives = list(driver.lives.values())
        obeying = [life for life in lives if life.asked or life.killed]
        starting = [life for life in lives if not life.up and not life.asked and not life.killed]
        if obeying:
            driver.feed(Ended(obeying[0].id, obeying[0].generation, Exit.shutdown()))
        elif starting:
            driver.feed(Acknowledged(starting[0].id, starting[0].generation))
        elif (at := wake_at(driver.state)) < math.inf:
            driver.now = max(driver.now, at)
            driver.feed(Tick())
        else:
            return
    raise AssertionError("never comes to rest")


TestAnything = Anything.TestCase
TestAnything.settings = settings(stateful_step_count=50)
