"""Plays the interpreter and the children of one machine, and holds the machine to what must always be true.

`Driver` performs effects and checks them, and leaves it to the test what the children do. `Play` adds children that obey a
script, so that a test reads as a story: ``play.crash("b")`` returns what the supervisor did about it.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

import attrs

from supervisor.core.budget import Budget
from supervisor.core.event import ChildEvent, ChildRestarted, Event, RestartDeferred, SupervisorGaveUp
from supervisor.core.exits import Exit, ExitKind
from supervisor.core.image import Image
from supervisor.core.launch import ChildType
from supervisor.core.machine import step
from supervisor.core.message import (
    AbandonChild,
    Acknowledged,
    AskChild,
    Boot,
    Call,
    CycleChild,
    Declined,
    Effect,
    Emit,
    Ended,
    Finish,
    ForgetChild,
    Input,
    KillChild,
    LaunchChild,
    Ready,
    Reconfigure,
    Reply,
    Request,
    ResetBudgets,
    Stop,
    TerminateChild,
    Tick,
)
from supervisor.core.mirror import frames, news
from supervisor.core.spec import ChildSpec, Restart, Strategy, SupervisorFlags
from supervisor.core.state import Child, Job, Lifecycle, Phase, Purpose, State, initial, wake_at
from supervisor.core.wire import Mirrored, unpack

BOOM = Exit(ExitKind.ABNORMAL, "boom")
PATH = ("root",)


@attrs.frozen
class Scripted:
    """A launch that nobody launches: the driver plays the child."""

    type: ChildType = ChildType.WORKER
    kill_timeout: float = 10.0

    def launch(self, ticket: object) -> Any:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        return {}


def child(id: str, restart: Restart = Restart.PERMANENT, *, kill_timeout: float = 10.0, **more: Any) -> ChildSpec:
    """A worker's specification."""
    return ChildSpec(id, Scripted(kill_timeout=kill_timeout), restart=restart, **more)


@attrs.define(eq=False)
class Life:
    """One life, as the world outside the machine knows it."""

    id: str
    generation: int
    position: int
    up: bool = False
    asked: bool = False
    killed: bool = False
    since: float = 0.0
    """When it acknowledged."""


def row(child: Child) -> tuple[object, ...]:
    """What can be told of a child: neither its launch nor, as itself, an exception."""
    spec, exit = child.spec, child.exit
    fields = attrs.asdict(child, recurse=False, filter=lambda field, _: field.name not in ("spec", "exit"))
    told = attrs.asdict(spec, recurse=False, filter=lambda field, _: field.name != "start")
    return (spec.start.type, spec.start.kill_timeout, told, fields, exit and (exit.kind, exit.reason, exit.code, exit.signal))


def budget(of: Budget) -> tuple[object, ...]:
    """A budget, to be compared."""
    return (list(of.window.times), of.window.size, of.streak, of.ready_at, of.circuit, dict(of.pending))


class Driver:
    """An interpreter without an event loop, and the invariants of every run."""

    def __init__(self, specs: Iterable[ChildSpec], flags: SupervisorFlags | None = None, *, seed: int = 0, now: float = 0.0) -> None:
        self.flags = flags or SupervisorFlags()
        self.state: State = initial(PATH, self.flags, tuple(specs), seed=seed)
        self.now = now
        self.lives: dict[str, Life] = {}
        """What the machine has not been told to be over, by id."""
        self.abandoned: list[Life] = []
        self.generations: dict[str, int] = {}
        self.calls: dict[int, Request] = {}
        self.replies: dict[int, Reply] = {}
        self.ready = False
        self.finished: Finish | None = None
        self.events: list[Event] = []
        self.excused: set[str] = set()
        """Permanent children that may be down: somebody wanted it, or they declined."""
        self.crashes: list[float] = []
        """Attempts after failures that count, since the circuit last changed."""
        self.cycles: list[float] = []
        self.last_crash_attempt = self.last_cycle_attempt = -math.inf
        self.trials: dict[str, tuple[float, tuple[str, int]]] = {}
        """By budget, the latest trial: when its circuit had become half-open, and the life."""
        self.reconfigured = False
        self.image = Image()
        """What another process would know of it."""
        self._followed: State | None = None
        self._stopped_last = math.inf
        self._started_last = -math.inf
        self._group: Job | None = None

    # ------------------------------------------------------------ inputs

    def call(self, request: Request) -> int:
        """Make a call; the number under which it is answered."""
        ref = len(self.calls) + 1
        self.feed(Call(ref, request))
        return ref

    def feed(self, event: Input) -> tuple[Effect, ...]:
        """One step of the machine, and everything that must be true of it."""
        before = self._before = self.state
        self._told(event)
        self.state, effects = step(before, event, self.now)
        self._follow()
        self._answered(before, effects)
        self._budget(before, effects)
        for effect in effects:
            self._perform(effect)
        self.check()
        if isinstance(event, Tick):
            # a tick serves one wait: what had waited behind the job that it ended is due at the next
            behind = before.job is not None and self.state.job is None and self.state.retries
            assert wake_at(self.state) >= self.now or behind, "after a tick nothing may be overdue"
        return effects

    def _follow(self) -> None:
        """Whoever is told what changes knows at each moment what the calls of a supervisor can show."""
        for message in news(self._followed, self.state, 0.0):
            for frame in frames(message):
                told = unpack(frame[4:])
                assert isinstance(told, Mirrored)
                self.image.take(told)
        self._followed = self.state
        if self.state.lifecycle is Lifecycle.FINISHED:
            assert PATH not in self.image.states
            return
        image = self.image.states[PATH]
        assert {id: row(child) for id, child in image.children.items()} == {id: row(child) for id, child in self.state.children.items()}
        for name in ("flags", "lifecycle", "positions", "retries"):
            assert getattr(image, name) == getattr(self.state, name)
        assert (budget(image.crash), budget(image.cycle)) == (budget(self.state.crash), budget(self.state.cycle))

    def _told(self, event: Input) -> None:
        if isinstance(event, Call):
            self.calls[event.ref] = event.request
        if not isinstance(event, Acknowledged | Declined | Ended):
            return
        life = self.lives.get(event.id)
        if life is None or life.generation != event.generation:
            return
        if not isinstance(event, Acknowledged):
            del self.lives[event.id]
        elif not life.up:
            life.up, life.since = True, self.now
        if isinstance(event, Declined):
            self.excused.add(event.id)
        elif isinstance(event, Acknowledged) and not life.asked and not life.killed:
            self.excused.discard(event.id)

    # ------------------------------------------------------------ effects

    def _perform(self, effect: Effect) -> None:
        assert self.finished is None or isinstance(effect, Reply), "nothing happens after the end"
        match effect:
            case LaunchChild(id=id, generation=generation):
                assert id not in self.lives, "two live generations"
                assert generation > self.generations.get(id, 0), "a generation repeats"
                assert self.state.children[id].phase is Phase.STARTING
                self.generations[id] = generation
                self.lives[id] = Life(id, generation, self.state.children[id].position)
                self._starts(self.lives[id])
            case AskChild(id=id, generation=generation):
                life = self._living(id, generation)
                assert not life.asked, "asked twice"
                assert not life.killed, "asked after it was killed"
                self._stops(life)
                life.asked = True
            case KillChild(id=id, generation=generation):
                life = self._living(id, generation)
                if not life.asked and not life.killed and self._is_orderly_stop(life):
                    self._stops(life)
                life.killed = True
            case AbandonChild(id=id, generation=generation):
                life = self._living(id, generation)
                assert life.killed, "given up before it was killed"
                self.abandoned.append(self.lives.pop(id))
            case ForgetChild(id=id):
                assert id not in self.lives, "a living child is forgotten"
                assert id not in self.state.children or self.state.children[id].generation > 0
            case Reply(ref=ref):
                assert ref in self.calls, "an answer to nobody"
                assert ref not in self.replies, "two answers to one call"
                self.replies[ref] = effect
            case Ready():
                assert not self.ready, "ready twice"
                assert all(life.up for life in self.lives.values())
                self.ready = True
            case Finish():
                assert not self.lives, "finished over live children"
                assert self.calls.keys() == self.replies.keys(), "finished without an answer"
                self.finished = effect
            case Emit(event=event):
                assert isinstance(event, ChildEvent) and event.spec is not None, "an event without its child"
                assert event.spec.id == (event.child if isinstance(event, SupervisorGaveUp) else event.path[-1]), "of another child"
                self.events.append(event)

    def _living(self, id: str, generation: int) -> Life:
        life = self.lives.get(id)
        assert life is not None, f"{id} does not live"
        assert life.generation == generation, f"{id} lives in generation {life.generation}"
        return life

    def _is_orderly_stop(self, life: Life) -> bool:
        child = self.state.children.get(life.id)
        return child is not None and child.phase is Phase.STOPPING and not (life.up is False and self._timed_out(life))

    def _timed_out(self, life: Life) -> bool:
        return self.state.job is not None and self.state.job.failure is not None

    def _stops(self, life: Life) -> None:
        """Stops of one job come in reverse start order, and only of children that the strategy takes along."""
        if self.flags.dynamic and self.state.lifecycle is Lifecycle.CLOSING:
            return  # all at once
        self._enter_job()
        assert life.position < self._stopped_last, "stop order is not the reverse of start order"
        self._stopped_last = life.position
        job = self._group
        if job is not None and job.purpose in (Purpose.RESTART, Purpose.CYCLE):
            self._belongs(job, life)

    def _starts(self, life: Life) -> None:
        """Starts of one job come in start order, and only of children that the strategy takes along."""
        self._enter_job()
        assert life.position > self._started_last, "start order"
        self._started_last = life.position
        job = self._group
        if job is not None and job.purpose in (Purpose.RESTART, Purpose.CYCLE):
            self._belongs(job, life)
            late = self.reconfigured and job.steps == (("start", life.id),)  # it was none when it failed
            assert late or self.state.children[life.id].spec.restart is not Restart.TEMPORARY, "a temporary child is restarted"

    def _enter_job(self) -> None:
        if self._group is not self._present:
            self._group, self._stopped_last, self._started_last = self._present, math.inf, -math.inf

    def _belongs(self, job: Job, life: Life) -> None:
        subject = self.state.children.get(job.subject)
        if subject is None:
            assert self.reconfigured, "the child that a job is about is gone"
            return
        match self.flags.strategy:
            case Strategy.ONE_FOR_ONE | Strategy.SIMPLE_ONE_FOR_ONE:
                assert life.id == job.subject
            case Strategy.REST_FOR_ONE:
                assert life.position >= subject.position

    _present: Job | None = None
    _before: State
    """As it was when the step under way began."""

    # ------------------------------------------------------------ budgets

    def _budget(self, before: State, effects: tuple[Effect, ...]) -> None:
        """An independent account of what was admitted; also finds out which job the effects belong to."""
        after, now, flags = self.state, self.now, self.flags
        fresh = begun(before.job, after.job)
        if fresh is not None:
            self._present = fresh
        purpose = fresh.purpose if fresh is not None else None
        reset = any(isinstance(effect, Reply) and isinstance(self.calls.get(effect.ref), ResetBudgets) for effect in effects)
        if not reset and any(isinstance(effect, Emit) and isinstance(effect.event, SupervisorGaveUp) for effect in effects):
            self._gave_up(before, after)
        for name, kind, old, new in (
            ("crash", Purpose.RESTART, before.crash, after.crash),
            ("cycle", Purpose.CYCLE, before.cycle, after.cycle),
        ):
            times: list[float] = getattr(self, f"{name}s" if name == "cycle" else "crashes")
            if old.window.size and not new.window.size and (new.circuit != old.circuit or new == Budget()):
                times.clear()
            if purpose is not kind:
                assert new.window.size <= old.window.size, f"the {name} budget was spent on something else"
                continue
            assert fresh is not None
            self._admitted(name, fresh, times, old)
        if any(isinstance(effect, Emit) and isinstance(effect.event, RestartDeferred) for effect in effects):
            assert flags.backoff is not None or before.flags.backoff is not None
        for budget in (after.crash, after.cycle):
            assert self.reconfigured or budget.circuit.reopens is not None or new_size(budget, flags, now) <= flags.intensity

    def _admitted(self, name: str, job: Job, times: list[float], old: Budget) -> None:
        flags, now = self.flags, self.now
        child = self.state.children.get(job.subject) or self._before.children[job.subject]
        life = (job.subject, child.generation + (child.phase in (Phase.UNDEFINED, Phase.STOPPING, Phase.RUNNING)))
        last = self.last_crash_attempt if name == "crash" else self.last_cycle_attempt
        if flags.backoff is not None:
            least = min(flags.backoff.maximum, flags.backoff.initial * (1 - flags.backoff.jitter))
            assert now >= last + least - 1e-9, "a cooldown was not respected"
        if old.circuit.reopens is not None and getattr(self.state, name).circuit.reopens is not None:
            assert flags.breaker is not None
            assert now >= old.circuit.reopens, "an open circuit admitted an attempt"
            reopened, trial = self.trials.get(name, (None, ("", 0)))
            assert reopened != old.circuit.reopens or not self._under_way(name, trial), "a second trial"
            self.trials[name] = old.circuit.reopens, life
        else:
            times.append(now)
            recent = [time for time in times if time + flags.period >= now]
            assert len(recent) <= flags.intensity, "over budget"
        if name == "crash":
            self.last_crash_attempt = now
        else:
            self.last_cycle_attempt = now

    def _under_way(self, name: str, trial: tuple[str, int]) -> bool:
        """Whether the life of a trial still has to prove itself."""
        life, child = self.lives.get(trial[0]), self.state.children.get(trial[0])
        if life is None or child is None or life.generation != trial[1] or not life.up or life.asked or life.killed:
            return False
        judged_alone = name == "cycle" and self.flags.judged
        return judged_alone or self.now - life.since < self.flags.stability

    def _gave_up(self, before: State, after: State) -> None:
        budget, flags = before.crash, self.flags
        if after.crash.circuit.reopens is not None or budget.circuit.reopens is not None:
            assert flags.breaker is not None
            if budget.circuit.reopens is not None:
                return
        at = max(self.now, budget.ready_at)
        recent = [time for time in self.crashes if time + flags.period >= at]
        failing = flags.breaker is not None and budget.circuit.failures + 1 >= flags.breaker.failures
        assert len(recent) >= flags.intensity or failing, "gave up within its budget"

    # ------------------------------------------------------------ what is true at rest

    def _answered(self, before: State, effects: tuple[Effect, ...]) -> None:
        reset = False
        for effect in effects:
            if not isinstance(effect, Reply) or effect.error is not None:
                continue
            match self.calls[effect.ref]:
                case TerminateChild(id=id):
                    self.excused.add(id)
                    # a group that waited for the terminated child stays down, as in OTP
                    self.excused |= {id for id, child in before.children.items() if child.phase is Phase.UNDEFINED}
                case Reconfigure(flags=changes):
                    self.flags, self.reconfigured = attrs.evolve(self.flags, **changes), True
                    # what was out of the old window is forgotten, also where the new one is longer
                    if not reset:
                        self.crashes, self.cycles = list(before.crash.window.times), list(before.cycle.window.times)
                    self.excused |= {id for id, child in self.state.children.items() if child.phase is Phase.UNDEFINED}
                    self.last_crash_attempt = self.last_cycle_attempt = -math.inf
                    for life in self.lives.values():
                        if life.id in self.state.children:  # it may be given up in this very step
                            life.position = self.state.children[life.id].position
                    self._stopped_last, self._started_last = math.inf, -math.inf
                case ResetBudgets():
                    reset = True
                    self.crashes.clear()
                    self.cycles.clear()
                    self.last_crash_attempt = self.last_cycle_attempt = -math.inf
                    self.trials = {}

    def check(self) -> None:
        """What is true between any two inputs."""
        state = self.state
        job = state.job
        for id, life in self.lives.items():
            child = state.children[id]
            assert child.generation == life.generation
            assert child.phase is (Phase.STOPPING if child.phase is Phase.STOPPING else Phase.RUNNING if life.up else Phase.STARTING)
        for id, child in state.children.items():
            lives = child.phase in (Phase.STARTING, Phase.RUNNING, Phase.STOPPING)
            assert lives == (id in self.lives), f"{id} is {child.phase}"
            waits = any(id == other for _, other in state.retries)
            assert waits == (child.phase is Phase.RESTARTING), f"{id} is {child.phase} and {'waits' if waits else 'does not wait'}"
        assert len({id for _, id in state.retries}) == len(state.retries)
        assert list(state.retries) == sorted(state.retries, key=lambda retry: retry[0])
        if job is None:
            assert wake_at(state) == (state.retries[0][0] if state.retries else math.inf)
            if state.lifecycle is Lifecycle.RUNNING:
                assert state.mailbox.is_empty(), "idle, with mail"
                assert not any(child.phase in (Phase.STARTING, Phase.STOPPING, Phase.EXITED) for child in state.children.values())
                self.rest()
        else:
            assert job.waiting, "busy, and waiting for nobody"
            operation, id = job.steps[job.index]
            if operation == "stop_all":
                self._all_at_once(job)
                return
            assert id in self.lives, "waits for the dead"
            life = self.lives[id]
            if operation == "stop":
                assert life.asked or life.killed, "waits for a child that was not asked"
                assert state.children[id].phase is Phase.STOPPING
            else:
                assert state.children[id].phase is Phase.STARTING
            assert sum(child.phase is Phase.STOPPING for child in state.children.values()) == (operation == "stop")
        if state.lifecycle is Lifecycle.FINISHED:
            assert self.finished is not None
            assert wake_at(state) == math.inf

    def _all_at_once(self, job: Job) -> None:
        """A dynamic supervisor closes: all were asked, each is timed."""
        assert self.flags.dynamic and self.state.lifecycle is Lifecycle.CLOSING
        assert self.lives, "waits for nobody"
        assert all(life.asked or life.killed for life in self.lives.values())
        assert self.lives.keys() == self.state.children.keys()
        timed = Counter(id for wave in job.waves for id in wave.ids)
        assert all(timed[id] == 1 for id in self.lives)
        assert job.deadline == min(wave.deadline for wave in job.waves)

    def rest(self) -> None:
        """Idle: what is permanent runs, or waits for its next restart."""
        assert len(self.state.children) <= self.flags.max_children or self.reconfigured
        if self.flags.dynamic:
            assert all(child.phase is not Phase.UNDEFINED for child in self.state.children.values()), "a dynamic child that is down is kept"
        waiting = bool(self.state.retries)
        for id, child in self.state.children.items():
            if child.spec.restart is Restart.PERMANENT and child.phase is Phase.UNDEFINED:
                assert waiting or id in self.excused, f"{id} is down for no reason"


def every(flags: SupervisorFlags) -> dict[str, Any]:
    """All flags by name, for a `Reconfigure` that changes them all."""
    return {field.name: getattr(flags, field.name) for field in attrs.fields(SupervisorFlags)}


def begun(old: Job | None, new: Job | None) -> Job | None:
    """The job that a step began, if it is still under way."""
    if new is None:
        return None
    if old is None or new.purpose is not old.purpose or new.subject != old.subject:
        return new
    return new if new.steps is not old.steps and new.failure is None else None


def new_size(budget: Budget, flags: SupervisorFlags, now: float) -> int:
    return budget.window.pruned(flags.period, now).size


class Play(Driver):
    """A driver whose children follow a script: by default they acknowledge at once and end when they are asked to.

    Attributes:
        starts: By id, what its next starts do: ``"fail"``, ``"ignore"`` or ``"silent"``; then they succeed.
        stubborn: Children that do not end when they are asked.
        immortal: Children that do not even end when they are killed.
        done: What the supervisor did, in short words.
    """

    def __init__(self, specs: Iterable[ChildSpec], flags: SupervisorFlags | None = None, *, seed: int = 0, **starts: list[str]) -> None:
        super().__init__(specs, flags, seed=seed)
        self.starts = starts
        self.stubborn: set[str] = set()
        self.immortal: set[str] = set()
        self.done: list[str] = []
        self._news: deque[Input] = deque()

    def boot(self) -> list[str]:
        """Start all children."""
        return self.tell(Boot())

    def tell(self, *events: Input) -> list[str]:
        """Feed inputs in order, then whatever the children answer; what the supervisor did."""
        self.done = []
        self._news.extend(events)
        while self._news:
            self.feed(self._news.popleft())
        return self.done

    def ends(self, id: str, exit: Exit = BOOM) -> Ended:
        """The news that a child has ended by itself."""
        return Ended(id, self.lives[id].generation, exit)

    def crash(self, id: str, exit: Exit = BOOM) -> list[str]:
        """A child ends by itself."""
        return self.tell(self.ends(id, exit))

    def ask(self, request: Request) -> object:
        """Make a call that is answered at once: its value; its error is raised."""
        ref = len(self.calls) + 1
        self.tell(Call(ref, request))
        reply = self.replies[ref]
        if reply.error is not None:
            raise reply.error
        return reply.value

    def cycle(self, id: str) -> list[str]:
        """A controlled restart; what the supervisor did."""
        self.ask(CycleChild(id, "because"))
        return self.done

    def wait(self, seconds: float) -> list[str]:
        """Let time pass, with a tick whenever the machine wants one; what the supervisor did."""
        until, done, ticks = self.now + seconds, [], 0
        while (at := wake_at(self.state)) <= until:
            self.now, ticks = max(self.now, at), ticks + 1
            done += self.tell(Tick())
            assert ticks < 1000, "time stands still"
        self.now = until
        self.done = done
        return done

    def stop(self, exit: Exit | None = None) -> list[str]:
        """The parent asks."""
        return self.tell(Stop(exit or Exit.shutdown()))

    def row(self, id: str) -> Child:
        return self.state.children[id]

    def up(self) -> str:
        """The ids of the running children, in start order."""
        rows = sorted(self.state.children.values(), key=lambda child: child.position)
        return " ".join(child.spec.id for child in rows if child.phase is Phase.RUNNING)

    def restarted(self) -> list[str]:
        """The ids of all restarted children so far, in order."""
        return [event.path[-1] for event in self.events if isinstance(event, ChildRestarted)]

    def _perform(self, effect: Effect) -> None:
        super()._perform(effect)
        match effect:
            case LaunchChild(id=id, generation=generation):
                self.done.append(f"start {id}")
                match self.starts[id].pop(0) if self.starts.get(id) else "succeed":
                    case "fail":
                        self._news.append(Ended(id, generation, Exit(ExitKind.ABNORMAL, "cannot start")))
                    case "ignore":
                        self._news.append(Declined(id, generation))
                    case "succeed":
                        self._news.append(Acknowledged(id, generation, value=f"{id}{generation}"))
            case AskChild(id=id, generation=generation):
                self.done.append(f"ask {id}")
                if id not in self.stubborn | self.immortal:
                    self._news.append(Ended(id, generation, Exit.shutdown()))
            case KillChild(id=id, generation=generation):
                self.done.append(f"kill {id}")
                if id not in self.immortal:
                    self._news.append(Ended(id, generation, Exit.killed()))
            case AbandonChild(id=id):
                self.done.append(f"abandon {id}")
            case ForgetChild(id=id):
                self.done.append(f"forget {id}")
            case Ready():
                self.done.append("ready")
            case Finish(exit=exit):
                self.done.append(f"finish {exit.kind.value}")
