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
from .probe import MemorySample

if TYPE_CHECKING:
    from .probe.hold import LeafHold
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
        mode: The rung of the degradation ladder it is on.
        watched: Whether it was said that it is watched.
        reader: What reads its memory.
        hold: What can hold its present life; None while nobody watches it.
        events: What tells of crossings at once; empty when only the intervals do.
        sample: The latest sample.
        samples: How many were taken, over all lives.
        due: When the next sample is due, monotonic.
        slack: Seconds by which it may be taken sooner, together with another leaf's.
        stirred: Whether its life has changed since the probe looked at that.
        restarting_since: When the controlled restart under way was admitted; None when none is.
        restart_reason: Why.
        attempt: Its number within the window.
        restarts: All restarts so far.
        exit: How the latest life ended.
        gave_up: Why restart protection gave up on it, until it runs again.
        unrecorded: Whether its processes could not be written down the last time.
        state_file: Where its latest snapshot is.
    """

    agent: Agent
    path: tuple[str, ...]
    guard: decide.Guard
    claim: RunClaim | None = None
    history: deque[tuple[float, int]] = attrs.field(factory=lambda: deque(maxlen=HISTORY))
    mode: DegradationMode = DegradationMode.NORMAL
    watched: bool = False
    reader: str = ""
    hold: LeafHold | None = None
    events: str = ""
    sample: MemorySample | None = None
    samples: int = 0
    due: float = -math.inf
    slack: float = 0.0
    stirred: bool = True
    restarting_since: float | None = None
    restart_reason: str = ""
    attempt: int = 0
    restarts: list[RestartNote] = attrs.field(factory=list)
    exit: Exit | None = None
    gave_up: str | None = None
    unrecorded: bool = False
    state_file: str | None = None

    @property
    def name(self) -> str:
        """The agent's id in the tree."""
        return self.agent.name

    def saw(self, sample: MemorySample) -> None:
        """Take note of a sample."""
        self.sample = sample
        self.samples += 1
        self.history.append((sample.at, sample.total_bytes))


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
    """

    leaf: Leaf
    reason: str
    done: anyio.Event = attrs.field(factory=anyio.Event)
    ok: bool = False
    overdue: bool = False


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
        tree: The running tree.
        began: When the run began, monotonic.
        interactive: Whether a person sits at the leaf.
        listens: Whether the kernel's word about memory is listened to; if not there are the intervals alone.
        news: For health.
        captures: For state.
        modes: For degradation.
        listens: Whether the kernel's words about memory are listened to; without that there are the intervals alone.
        on_sample: Called after every sample, for a status line.
    """

    def __init__(self, run: GuardianRun, leaves: list[Leaf]) -> None:
        self.run, self.leaves = run, leaves
        self.intervals: Intervals = run.config.monitoring.intervals()
        self.tree: Supervisor | None = None
        self.began = 0.0
        self.interactive = False
        self.listens = True
        self.news: Channel[News] = Channel()
        self.captures: Channel[CaptureRequest] = Channel()
        self.modes: Channel[ModeRequest] = Channel()
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
            elif event.path == leaf.path[:-1] and isinstance(event, SupervisorGaveUp):
                leaf.gave_up = event.reason
                self._changed.set()

    def _observe_leaf(self, leaf: Leaf, event: Event, time: float) -> None:
        leaf.stirred = True
        match event:
            case ChildStarted(generation=int(generation)):
                leaf.gave_up = None
                leaf.slack = 0.0  # its first sample is not to be taken before it has settled
                self.tell(leaf, decide.LeafStarted(generation))
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
        return next((leaf for leaf in self.leaves if leaf.path == path), None)

    async def changed(self) -> None:
        """Wait until a leaf ended or was given up."""
        await self._changed.wait()
        self._changed = anyio.Event()

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
        self.wake(at)

    def wake(self, at: float) -> None:
        """The probe has something to do at `at`; it is woken if it sleeps past that."""
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
        for channel in (self.news, self.captures, self.modes):
            channel.close()
