"""What a supervisor knows: its children, what it is busy with, what waits, and what its budgets have spent."""

from __future__ import annotations

import math
from enum import Enum, StrEnum
from typing import Literal

import attrs
from rpds import HashTrieMap

from .budget import FRESH, Budget
from .errors import Path
from .exits import Exit
from .fifo import EMPTY_QUEUE, Queue
from .message import Input
from .spec import ChildSpec, SupervisorFlags
from .value import Value


class Phase(Enum):
    """Where a child is in its lifecycle. `EXITED`: dead, and the news waits while the supervisor is busy (OTP: an unread 'EXIT')."""

    UNDEFINED = "undefined"
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    STOPPING = "stopping"
    RESTARTING = "restarting"


class Lifecycle(Enum):
    """Where the supervisor itself is."""

    NEW = "new"
    BOOTING = "booting"
    RUNNING = "running"
    CLOSING = "closing"
    FINISHED = "finished"


class Purpose(StrEnum):
    """What a job is for; it decides what a failed start means and what its end reports. A string, so that events carry it as it is."""

    BOOT = "boot"
    RESTART = "restart"
    CYCLE = "cycle"
    START_CHILD = "start_child"
    TERMINATE_CHILD = "terminate_child"
    RESTART_CHILD = "restart_child"
    CLOSE = "close"


@attrs.frozen(repr=False, eq=False)
class Child(Value):
    """One row of the table.

    Attributes:
        position: Place in the start order; only new specifications change it.
        generation: The number of the present or latest life, 0 before the first.
        since: When the present phase began, monotonic seconds.
        restarts: Lives after the first that were started by the supervisor.
        exit: How the latest life ended, None before that.
    """

    spec: ChildSpec
    position: int
    phase: Phase = Phase.UNDEFINED
    generation: int = 0
    pid: int | None = None
    since: float = -math.inf
    restarts: int = 0
    exit: Exit | None = None

    @property
    def is_live(self) -> bool:
        """Whether OTP would show a pid for it: it runs, or nobody has been told yet that it does not."""
        return self.phase not in (Phase.UNDEFINED, Phase.RESTARTING)


Operation = Literal["stop", "start", "stop_all"]


@attrs.frozen(repr=False, eq=False)
class Wave(Value):
    """Children that are stopped at the same time and have one timer.

    Attributes:
        deadline: When those that are left are killed, or given up if they have been `killed`; monotonic.
    """

    deadline: float
    killed: bool
    ids: frozenset[str]


@attrs.frozen(repr=False, eq=False)
class Job(Value):
    """What the supervisor is busy with: steps taken one at a time, each waited for.

    Attributes:
        steps: Stops and starts, in order; ``("stop_all", "")`` stops all children at the same time.
        index: The step that is waited for, or is next.
        waiting: Whether step `index` has begun; between two inputs it always has.
        began: When the present wait began, monotonic.
        deadline: When the present wait is over, monotonic.
        killed: Whether the child that is being stopped has been killed already.
        waves: The timers of a ``stop_all``; `deadline` is the first of them.
        failure: Set when a child that is being stopped failed to start in time; of a job that closes, the one that `subject` names.
        subject: The child that the job is about.
        reason: Why, for events.
        ref: The call that is answered at the end.
        value: The answer; of `TERMINATE_CHILD` the child's specification, which may be forgotten by the end.
        exit: For `CLOSE`: the supervisor's own exit, and the error for its owner.
    """

    purpose: Purpose
    steps: tuple[tuple[Operation, str], ...]
    index: int = 0
    waiting: bool = False
    began: float = 0.0
    deadline: float = math.inf
    killed: bool = False
    waves: tuple[Wave, ...] = ()
    failure: Exit | None = None
    subject: str = ""
    reason: str = ""
    ref: int | None = None
    value: object = attrs.field(default=None, eq=False)
    exit: Exit | None = None
    error: Exception | None = attrs.field(default=None, eq=False)


@attrs.frozen(repr=False, eq=False)
class State(Value):
    """A supervisor, as a value.

    Attributes:
        mailbox: News and calls that arrived while a job was under way, oldest first.
        retries: Children that wait for their next restart, as (monotonic time, id), soonest first.
        crash: Budget of restarts after failures.
        cycle: Budget of controlled restarts.
        failures: The latest failures that asked for a restart, oldest first; see `FAILURES_KEPT`.
        brutal: Whether children are killed instead of asked from now on.
        seed: State of the generator that places cooldowns within their jitter.
        buried: The highest generation of a child that was forgotten; a new child counts on from there, so that none repeats.
        touched: The ids whose rows the latest step has written or forgotten, for whoever follows the state elsewhere.
    """

    path: Path
    flags: SupervisorFlags
    lifecycle: Lifecycle = Lifecycle.NEW
    children: HashTrieMap[str, Child] = HashTrieMap()
    positions: int = 0
    job: Job | None = None
    mailbox: Queue[Input] = EMPTY_QUEUE
    retries: tuple[tuple[float, str], ...] = ()
    crash: Budget = FRESH
    cycle: Budget = FRESH
    failures: tuple[tuple[str, Exit], ...] = ()
    brutal: bool = False
    seed: int = 0
    buried: int = 0
    touched: tuple[str, ...] = attrs.field(default=(), eq=False)


FAILURES_KEPT = 50
"""An exit keeps its exception, and that its frames: as many as an intensity may be would be without bound."""


def initial(path: Path, flags: SupervisorFlags, specs: tuple[ChildSpec, ...], *, seed: int = 0) -> State:
    """A supervisor before its `Boot`.

    Raises:
        SpecError: See `SupervisorFlags.check`; nothing has started.
    """
    checked = flags.check(specs, where="/".join(path))
    table = HashTrieMap({spec.id: Child(spec, position) for position, spec in enumerate(checked)})
    return State(path, flags, children=table, positions=len(checked), seed=seed)


def wake_at(state: State) -> float:
    """When the machine needs a `Tick`, monotonic seconds; ``math.inf`` when only news can change anything."""
    if state.job is not None:
        return state.job.deadline
    return state.retries[0][0] if state.retries else math.inf


def in_start_order(state: State) -> list[Child]:
    """All children, first started first."""
    return sorted(state.children.values(), key=lambda child: child.position)
