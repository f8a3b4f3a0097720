"""What the guardian knows, kept outside of the workers that compute it: levels, modes and history survive their restarts.

The ledger also owns the channels between the workers. All of it belongs to one event loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio

from supervisor import (
    CallError,
    ChildExited,
    ChildInfo,
    ChildNotFound,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    ChildTerminated,
    Event,
    NoProc,
    ProcessId,
    Record,
    RestartDeferred,
    RestartHistory,
    RunningCommand,
    Supervisor,
    SupervisorGaveUp,
    SupervisorRef,
)

from .config import GuardianRun
from .event import CaptureFailed
from .leaf import Leaf as Leaf
from .leaf import RestartNote as RestartNote
from .policy import decide
from .policy.ladder import LONGEST, Activity, Cause, permits
from .policy.pressure import Intervals, MemoryState, interval
from .probe.doze import Doze
from .requests import CaptureRequest as CaptureRequest
from .requests import Channel
from .requests import ModeRequest as ModeRequest
from .requests import News as News
from .requests import RestartRequest as RestartRequest
from .requests import SpentRequest as SpentRequest

if TYPE_CHECKING:
    from .health.metrics import HealthMetrics
    from .health.turns import Turns
    from .policy.host import HostGuard
    from .policy.suggestion import Suggestion
    from .policy.verdict import Verdict
    from .roster import Roster


class Ledger:
    """Everything that the workers share.

    Attributes:
        run: The checked configuration.
        shared: The flags of the one supervisor that all agents are children of, where they share a budget of restarts and come and go; None
            where each has its own.
        roster: Enrols and dismisses agents; None where nobody does.
        parted: Leaves that are no longer there, until the probe has given back what it has open for them.
        tree: The running tree.
        began: When the run began, monotonic.
        interactive: Whether a person sits at the leaf.
        reads: Whether we read our own standard input, for the first leaf: then nobody else may.
        listens: Whether the kernel's word about memory is listened to; if not there are the intervals alone.
        news: For health.
        captures: For state.
        modes: For degradation.
        restarts: For health: restarts that somebody asks for.
        on_sample: Called after every sample, for a status line.
        on_stir: Called with a leaf when its life or what is to be looked at has changed; for a probe that is elsewhere.
        host: What is known of the host's memory; None before the first look.
        verdict: What is known of the host's health; None before the first look.
        turns: Who restarts now and who waits; None before the worker that restarts is up.
        metrics: The latest look at the host; None before the first.
    """

    def __init__(self, run: GuardianRun, leaves: list[Leaf]) -> None:
        self.run = run
        self._leaves: list[Leaf]
        self._by_path: dict[tuple[str, ...], Leaf]
        self.leaves = leaves
        self.shared: dict[str, Any] | None = None
        self.roster: Roster | None = None
        self.parted: list[Leaf] = []
        self.intervals: Intervals = run.config.monitoring.intervals()
        self.tree: Supervisor | None = None
        self.began = 0.0
        self.interactive = False
        self.reads = False
        self.listens = True
        self.news: Channel[News] = Channel()
        self.captures: Channel[CaptureRequest | SpentRequest] = Channel()
        self.modes: Channel[ModeRequest] = Channel()
        self.restarts: Channel[RestartRequest] = Channel()
        self._turned = anyio.Event()
        self.on_sample: Callable[[], object] = lambda: None
        self.on_stir: Callable[[Leaf], object] = lambda leaf: None
        self.host: HostGuard | None = None
        self.verdict: Verdict | None = None
        self.turns: Turns | None = None
        self.metrics: HealthMetrics | None = None
        self._strain = anyio.Event()
        self._doze = Doze()
        self._changed = anyio.Event()

    @property
    def leaves(self) -> list[Leaf]:
        """In the order of the agents; a new list whenever one comes or goes."""
        return self._leaves

    @leaves.setter
    def leaves(self, leaves: list[Leaf]) -> None:
        self._leaves, self._by_path = leaves, {leaf.path: leaf for leaf in leaves}

    def observe(self, record: Record) -> None:
        """Take note of the tree's events about our leaves; a sink of its bus, so nothing is missed and nothing is published here."""
        event = record.event
        if (leaf := self._by_path.get(event.path)) is not None:
            self._observe_leaf(leaf, event, record.time)
            if isinstance(event, ChildExited | ChildStarted | ChildStartFailed | RestartDeferred):
                self.count(leaf)
        elif isinstance(event, SupervisorGaveUp):
            for leaf in (leaf for leaf in self._leaves if leaf.path[:-1] == event.path):
                leaf.gave_up = event.reason
                self.count(leaf)
                self._changed.set()

    def _observe_leaf(self, leaf: Leaf, event: Event, time: float) -> None:
        leaf.stirred = True
        self.on_stir(leaf)
        match event:
            case ChildStarted(generation=int(generation)):
                leaf.gave_up = None
                leaf.workload = leaf.workload.renewed()
                leaf.due, leaf.slack = math.inf, 0.0  # its first sample is not to be taken before it has settled: the decision says when
                self.tell(leaf, decide.LeafStarted(generation, not leaf.is_busy()))
                self.wake(-math.inf)  # what is wanted from the kernel is wanted from the first moment on
            case ChildRestarted(reason=reason, controlled=controlled):
                leaf.restarts.append(RestartNote(time, reason, controlled))
            case ChildExited(generation=int(generation), exit=exit):
                leaf.exit = exit
                self.tell(leaf, decide.LeafExited(generation))
                self.wake(-math.inf)  # what was opened for this life is given back
                self._changed.set()
            case ChildStartFailed() | ChildTerminated():
                self._changed.set()
            case _:
                pass

    def leaf_at(self, path: tuple[str, ...]) -> Leaf | None:
        """The leaf of that path; None when there is none."""
        return self._by_path.get(path)

    async def changed(self) -> None:
        """Wait until a leaf ended or was given up."""
        await self._changed.wait()
        self._changed = anyio.Event()

    def part(self, leaf: Leaf) -> None:
        """An agent is no longer one of ours; what the workers still do about it comes to nothing. May be called again."""
        if leaf.gone:
            return
        leaf.gone = True
        self.leaves = [other for other in self.leaves if other is not leaf]
        self.parted.append(leaf)
        self.tell(leaf, decide.Tick())
        self.wake(-math.inf)
        self.turned()
        self._changed.set()

    def turned(self) -> None:
        """A leaf has begun or ended a turn, or a life."""
        self._turned.set()
        self._turned = anyio.Event()

    async def idle(self) -> None:
        """Wait until no leaf is in the middle of a turn.

        **Cancellation:** at any time, without effect.
        """
        while any(leaf.guard.alive and not leaf.guard.idle for leaf in self.leaves):
            await self._turned.wait()

    async def turn_over(self, leaf: Leaf) -> None:
        """Wait for the end of the turn that a leaf is in, for `critical_grace` seconds at most, and not while its memory is an emergency.

        **Cancellation:** at any time, without effect.
        """
        with anyio.move_on_after(leaf.guard.policy.critical_grace):
            while leaf.in_turn and leaf.level is not MemoryState.EMERGENCY:
                await self._turned.wait()

    def child(self, leaf: Leaf) -> ChildInfo | None:
        """The supervisor's row about a leaf; None when there is none."""
        try:
            return self.above(leaf).which_child(leaf.path[-1])
        except (ChildNotFound, NoProc):
            return None

    def command(self, leaf: Leaf) -> RunningCommand | None:
        """The handle of a leaf's present life; None when it does not run."""
        try:
            handle = self.above(leaf).handle(leaf.path[-1])
        except CallError:
            return None
        return handle if isinstance(handle, RunningCommand) else None

    def process(self, leaf: Leaf) -> ProcessId | None:
        """The root process of a leaf's present life; None when it does not run."""
        command = self.command(leaf)
        return None if command is None else command.process_id

    def is_down(self, leaf: Leaf) -> bool:
        """Whether a leaf does not run and will not be started again."""
        try:
            return self.above(leaf).which_child(leaf.path[-1]).state == "undefined"
        except ChildNotFound:
            return True
        except NoProc:
            return False

    @property
    def watches(self) -> bool:
        """Whether memory is watched in this run; without that the leaves are supervised and nothing more."""
        return self.run.config.enabled and self.run.config.auto_start

    def above(self, leaf: Leaf) -> SupervisorRef:
        """The supervisor above a leaf, which owns its lifecycle."""
        assert self.tree is not None
        return self.tree.supervisor(*leaf.path[1:-1])

    def count(self, leaf: Leaf) -> None:
        """Take note of what restart protection has spent, and have it written down if that is something else than before."""
        try:
            spent = self.above(leaf).history()
        except NoProc:
            return  # its next life is told what this one had spent
        leaf.spent, leaf.spent_at = spent, anyio.current_time()
        if leaf.record is not None and leaf.is_unkept:
            self.captures.put(SpentRequest(leaf))

    def spent(self, leaf: Leaf) -> RestartHistory:
        """What restart protection has spent as of now, whoever counts it."""
        return leaf.spent.after(max(0.0, anyio.current_time() - leaf.spent_at)) if leaf.spent_at > -math.inf else leaf.spent

    def suggestion(self, leaf: Leaf) -> Suggestion | None:
        """The thresholds that the observed workload of a leaf asks for; None while too little was observed."""
        from .policy.suggestion import suggest  # here: until the end of a run hardly anybody asks

        return suggest(leaf.workload, leaf.agent.thresholds, self.run.limit_bytes)

    def pause(self, leaf: Leaf, now: float) -> float:
        """Seconds from a sample of a leaf to the next one: what its memory asks for, or less where its mode allows no long intervals."""
        wanted = interval(leaf.guard.pressure, self.intervals, now)
        if not leaf.ladder.asked and not leaf.ladder.leaving:
            return wanted  # as nearly always, and nearly for nothing
        return wanted if permits(leaf.mode, Activity.LONG_INTERVALS) else min(wanted, self.intervals.of(LONGEST[leaf.mode]))

    def no_more_agents(self) -> str | None:
        """Why no further agent should be taken in now, in words; None when one may be."""
        if self.host is not None and self.host.is_short:
            return self.host.reason
        off = next(
            (leaf for leaf in self.leaves if leaf.ladder.asked_by(Cause.HEALTH) and not permits(leaf.mode, Activity.NEW_AGENTS)), None
        )
        return None if off is None else off.because[Cause.HEALTH]

    def strained(self) -> None:
        """The kernel says that the host is short of memory."""
        self._strain.set()

    async def strain(self, until: float) -> None:
        """Wait for that, or for a time.

        **Cancellation:** at any time, without effect.
        """
        with anyio.CancelScope(deadline=until):
            await self._strain.wait()
        self._strain = anyio.Event()

    def emit(self, event: Event) -> None:
        """Publish an event."""
        assert self.tree is not None
        self.tree.emit(event)

    async def captured(self, request: CaptureRequest, patience: float) -> bool:
        """Wait for the end of a capture, and say whether there is one. After `patience` seconds it has failed, which is an event.

        **Cancellation:** leaves the wait; the capture goes on.
        """
        with anyio.move_on_after(patience):
            await request.done.wait()
        if not request.done.is_set():
            leaf, request.overdue, request.cause = request.leaf, True, f"it took longer than {patience:g} s"
            self.emit(CaptureFailed(leaf.path, request.reason, request.cause, generation=leaf.guard.generation))
        return request.ok

    def tell(self, leaf: Leaf, event: decide.Event) -> None:
        """Tell the decision about a leaf something."""
        self.news.put(News(leaf, event))

    def look(self, leaf: Leaf, at: float) -> None:
        """The next sample of a leaf is due at `at`; the probe is woken if it sleeps past that."""
        leaf.due = at
        self.on_stir(leaf)
        self.wake(at)

    def wake(self, at: float) -> None:
        """The probe has something to do at `at`; it is woken if it sleeps past that."""
        self._doze.wake(at)

    async def looked(self, until: float) -> None:
        """Wait for `until`, or less if somebody wants a sample sooner."""
        await self._doze.until(until)

    def close(self) -> None:
        """The run is over."""
        for channel in (self.news, self.captures, self.modes, self.restarts):
            channel.close()
