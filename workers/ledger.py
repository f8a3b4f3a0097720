"""What the guardian knows, kept outside of the workers that compute it: levels, modes and history survive their restarts.

The ledger also owns the channels between the workers. All of it belongs to one event loop.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from supervisor import (
    ChildExited,
    ChildInfo,
    ChildNotFound,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    ChildTerminated,
    Event,
    Exit,
    NoProc,
    Record,
    RestartDeferred,
    RestartHistory,
    Spent,
    Supervisor,
    SupervisorGaveUp,
    SupervisorRef,
    Value,
)

from .config import Agent, GuardianRun
from .policy import decide
from .policy.effects import Degrade
from .policy.ladder import DegradationMode
from .policy.pressure import Intervals
from .policy.suggestion import Suggestion, Workload, suggest
from .probe import MemorySample

if TYPE_CHECKING:
    from .state.protection import ProtectionRecord
    from .state.runs import RunClaim

HISTORY: Final = 120

T = TypeVar("T")


@attrs.frozen(repr=False, eq=False)
class RestartNote(Value):
    """One restart of a leaf, for snapshots. `time` is seconds since the epoch."""

    time: float
    reason: str
    controlled: bool


@attrs.define(eq=False)
class Leaf:
    """One agent's leaf, as the guardian sees it.

    Attributes:
        agent: Its configuration.
        path: Its place in the tree.
        guard: The decision about it.
        claim: The lock on its name, while state is kept.
        history: The latest samples as (monotonic time, bytes).
        workload: What was observed of all its lives, for suggested thresholds.
        mode: The rung of the degradation ladder it is on.
        watched: Whether it was said that it is watched.
        reader: What reads its memory.
        sample: The latest sample.
        samples: How many were taken, over all lives.
        due: When the next sample is due, monotonic.
        restarting_since: When the controlled restart under way was admitted; None when none is.
        restart_reason: Why.
        attempt: Its number within the window.
        restarts: All restarts so far.
        exit: How the latest life ended.
        gave_up: Why restart protection gave up on it, until it runs again.
        unrecorded: Whether its processes could not be written down the last time.
        state_file: Where its latest snapshot is.
        record: Where what restart protection has spent is kept for the next run; None where it is not.
        spent: What it had spent at `spent_at`, monotonic.
        kept: What was written down last.
        unkept: Whether that could not be written down the last time.
    """

    agent: Agent
    path: tuple[str, ...]
    guard: decide.Guard
    claim: RunClaim | None = None
    history: deque[tuple[float, int]] = attrs.field(factory=lambda: deque(maxlen=HISTORY))
    workload: Workload = Workload()
    mode: DegradationMode = DegradationMode.NORMAL
    watched: bool = False
    reader: str = ""
    sample: MemorySample | None = None
    samples: int = 0
    due: float = -math.inf
    restarting_since: float | None = None
    restart_reason: str = ""
    attempt: int = 0
    restarts: list[RestartNote] = attrs.field(factory=list)
    exit: Exit | None = None
    gave_up: str | None = None
    unrecorded: bool = False
    state_file: str | None = None
    record: ProtectionRecord | None = None
    spent: RestartHistory = RestartHistory()
    spent_at: float = -math.inf
    kept: RestartHistory = RestartHistory()
    unkept: bool = False

    @property
    def name(self) -> str:
        """The agent's id in the tree."""
        return self.agent.name

    @property
    def is_unkept(self) -> bool:
        """Whether restart protection has spent something else than what was written down last; time alone changes nothing."""
        return _substance(self.spent) != _substance(self.kept)

    def saw(self, sample: MemorySample) -> None:
        """Take note of a sample."""
        self.sample = sample
        self.samples += 1
        self.history.append((sample.at, sample.total_bytes))
        sure = self.guard.outlook.sure
        self.workload = self.workload.saw(sample.total_bytes, sample.at, 0.0 if sure is None else sure.bytes_per_second)


@attrs.frozen(repr=False, eq=False)
class News(Value):
    """Something that the decision about a leaf has to know."""

    leaf: Leaf
    event: decide.Event


@attrs.define(eq=False)
class CaptureRequest:
    """Capture the state of a leaf now.

    Attributes:
        reason: Why, for the snapshot.
        done: Set when the capture has ended, `ok` tells how.
        overdue: Whoever asked waits no longer and has said so.
        cause: Why it failed; empty while it has not.
    """

    leaf: Leaf
    reason: str
    done: anyio.Event = attrs.field(factory=anyio.Event)
    ok: bool = False
    overdue: bool = False
    cause: str = ""


class RestartRequest:
    """Somebody asks for a controlled restart of a leaf, as the guardian does it: captured first, and judged afterwards.

    Attributes:
        leaf: Which one.
        reason: Why, for the events.
        done: Set when it is over or came to nothing.
        error: Why it came to nothing; None when it did not.
    """

    def __init__(self, leaf: Leaf, reason: str) -> None:
        self.leaf, self.reason = leaf, reason
        self.done = anyio.Event()
        self.error: Exception | None = None


@attrs.frozen(repr=False, eq=False)
class SpentRequest(Value):
    """Write down what restart protection has spent."""

    leaf: Leaf


@attrs.frozen(repr=False, eq=False)
class ModeRequest(Value):
    """The mode of a leaf changes."""

    leaf: Leaf
    change: Degrade


class Channel(Generic[T]):
    """A queue between two workers that outlives both: what a worker left unread, its next life reads.

    Unbounded, because no sender sends without end: a sample per interval, an answer per request.
    """

    def __init__(self) -> None:
        self._send: MemoryObjectSendStream[T]
        self._receive: MemoryObjectReceiveStream[T]
        self._send, self._receive = anyio.create_memory_object_stream[T](math.inf)

    def put(self, item: T) -> None:
        """Add an item; never waits."""
        self._send.send_nowait(item)

    async def get(self) -> T:
        """The oldest item.

        **Cancellation:** safe; nothing is lost by it.
        """
        return await self._receive.receive()

    def close(self) -> None:
        """No more items."""
        self._send.close()
        self._receive.close()


class Ledger:
    """Everything that the workers share.

    Attributes:
        run: The checked configuration.
        leaves: In the order of the agents.
        configured: The agents' names in the configuration, in the same order; a derived one may have got a number since.
        tree: The running tree.
        began: When the run began, monotonic.
        interactive: Whether a person sits at the leaf.
        news: For health.
        captures: For state.
        modes: For degradation.
        restarts: For health: restarts that somebody asks for.
        on_sample: Called after every sample, for a status line.
    """

    def __init__(self, run: GuardianRun, leaves: list[Leaf]) -> None:
        self.run, self.leaves = run, leaves
        self.configured: tuple[str, ...] = tuple(leaf.name for leaf in leaves)
        self.intervals: Intervals = run.config.monitoring.intervals()
        self.tree: Supervisor | None = None
        self.began = 0.0
        self.interactive = False
        self.news: Channel[News] = Channel()
        self.captures: Channel[CaptureRequest | SpentRequest] = Channel()
        self.modes: Channel[ModeRequest] = Channel()
        self.restarts: Channel[RestartRequest] = Channel()
        self._turned = anyio.Event()
        self.on_sample: Callable[[], object] = lambda: None
        self._look = anyio.Event()
        self._sleeps_until = -math.inf
        self._changed = anyio.Event()

    def observe(self, record: Record) -> None:
        """Take note of the tree's events about our leaves; a sink of its bus, so nothing is missed and nothing is published here."""
        event = record.event
        for leaf in self.leaves:
            if event.path == leaf.path:
                self._observe_leaf(leaf, event, record.time)
                if isinstance(event, ChildExited | ChildStarted | ChildStartFailed | RestartDeferred):
                    self.count(leaf)
            elif event.path == leaf.path[:-1] and isinstance(event, SupervisorGaveUp):
                leaf.gave_up = event.reason
                self.count(leaf)
                self._changed.set()

    def _observe_leaf(self, leaf: Leaf, event: Event, time: float) -> None:
        match event:
            case ChildStarted(generation=int(generation)):
                leaf.gave_up = None
                leaf.workload = leaf.workload.renewed()
                self.tell(leaf, decide.LeafStarted(generation))
            case ChildRestarted(reason=reason, controlled=controlled):
                leaf.restarts.append(RestartNote(time, reason, controlled))
            case ChildExited(generation=int(generation), exit=exit):
                leaf.exit = exit
                self.tell(leaf, decide.LeafExited(generation))
                self._changed.set()
            case ChildStartFailed() | ChildTerminated():
                self._changed.set()
            case _:
                pass

    def leaf_at(self, path: tuple[str, ...]) -> Leaf | None:
        """The leaf of that path; None when there is none."""
        return next((leaf for leaf in self.leaves if leaf.path == path), None)

    async def changed(self) -> None:
        """Wait until a leaf ended or was given up."""
        await self._changed.wait()
        self._changed = anyio.Event()

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

    def child(self, leaf: Leaf) -> ChildInfo | None:
        """The supervisor's row about a leaf; None when there is none."""
        try:
            return self.above(leaf).which_child(leaf.path[-1])
        except (ChildNotFound, NoProc):
            return None

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
        return suggest(leaf.workload, leaf.agent.thresholds, self.run.limit_bytes)

    def emit(self, event: Event) -> None:
        """Publish an event."""
        assert self.tree is not None
        self.tree.emit(event)

    def tell(self, leaf: Leaf, event: decide.Event) -> None:
        """Tell the decision about a leaf something."""
        self.news.put(News(leaf, event))

    def look(self, leaf: Leaf, at: float) -> None:
        """The next sample of a leaf is due at `at`; the probe is woken if it sleeps past that."""
        leaf.due = at
        if at < self._sleeps_until:
            self._look.set()

    async def looked(self, until: float) -> None:
        """Wait for `until`, or less if somebody wants a sample sooner."""
        self._sleeps_until = until
        with anyio.CancelScope(deadline=until):
            await self._look.wait()
        self._sleeps_until = -math.inf
        self._look = anyio.Event()

    def close(self) -> None:
        """The run is over."""
        for channel in (self.news, self.captures, self.modes, self.restarts):
            channel.close()


def _substance(history: RestartHistory) -> tuple[tuple[int, int, int, bool], ...]:
    """What changes by attempts and judgements, and not by time."""
    return tuple(map(_sum, (history.crashes, history.cycles)))


def _sum(spent: Spent) -> tuple[int, int, int, bool]:
    return len(spent.attempts), spent.streak, spent.failures, spent.reopens_in is not None
