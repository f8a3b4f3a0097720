"""One agent's leaf, as the guardian sees it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs

from supervisor import Entity, Exit, RestartHistory, Spent, Value

from .config import Agent
from .policy import decide
from .policy.ladder import Cause, DegradationMode, Ladder
from .policy.pressure import MemoryState, Thresholds, classify
from .policy.workload import Workload
from .probe import MemorySample

if TYPE_CHECKING:
    from supervisor import Attached

    from .claude.stream import ClaudeStream
    from .degradation.adapter import LeafAdapter
    from .probe.hold import LeafHold
    from .probe.parts import LeafParts
    from .state.protection import ProtectionRecord
    from .state.runs import RunClaim

HISTORY: Final = 120


@attrs.frozen(repr=False, eq=False)
class RestartNote(Value):
    """One restart of a leaf, for snapshots. `time` is seconds since the epoch."""

    time: float
    reason: str
    controlled: bool


@attrs.define(repr=False, eq=False)
class Leaf(Entity):
    """One agent's leaf, as the guardian sees it.

    Attributes:
        agent: Its configuration.
        path: Its place in the tree.
        guard: The decision about it.
        attached: The process that is its first life, if somebody else has started that.
        configured: What the agent is called in the configuration, a derived name may have got a number since; None when it is not there.
        has_terminal: Whether it is the one that gets the terminal of an interactive run.
        gone: Whether the agent was removed.
        claim: The lock on its name, while state is kept.
        history: The latest samples as (monotonic time, bytes).
        workload: What was observed of all its lives, for suggested thresholds.
        ladder: Who asks for which rung of the degradation ladder.
        because: Why, for each cause that has asked.
        mode_reason: Why its mode is what it is.
        adapter: What tells it of its mode; None when nothing does.
        stream: What a program in this process talks to it by; None where its input and output are its own.
        enforced: The mode that it was told last.
        unheard: How it could not be told the last time; empty when it could.
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
        session: The conversation of its present life, where whoever tells it of its mode knows it; None: it is looked for.
        transcript: The file of that conversation, likewise.
        parts: What is known of the parts of its tree; None where nothing is known of what they are.
        record: Where what restart protection has spent is kept for the next run; None where it is not.
        spent: What it had spent at `spent_at`, monotonic.
        kept: What was written down last.
        unkept: Whether that could not be written down the last time.
        is_busy: Whether its present life is known to be in a turn, or to come up.
        asked: Whether somebody asks for its restart, which waits for the end of its turn.
        on_due: Called with whether a restart is due, for whoever can put off its next turn; None where nobody can.
        show: Shows whoever uses it how it is; called whenever that may have changed. None where nobody is shown anything.
        is_typed: Whether somebody has just pressed keys that may be half a prompt; None where nobody can.
        typed: Whether it counts as busy for that alone.
    """

    agent: Agent
    path: tuple[str, ...]
    guard: decide.Guard
    attached: Attached | None = None
    configured: str | None = None
    has_terminal: bool = True
    gone: bool = False
    claim: RunClaim | None = None
    history: deque[tuple[float, int]] = attrs.field(factory=lambda: deque(maxlen=HISTORY))
    workload: Workload = Workload()
    ladder: Ladder = Ladder()
    because: dict[Cause, str] = attrs.field(factory=dict)
    mode_reason: str = ""
    adapter: LeafAdapter | None = None
    stream: ClaudeStream | None = None
    enforced: DegradationMode = DegradationMode.NORMAL
    unheard: str = ""
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
    session: str | None = None
    transcript: str | None = None
    parts: LeafParts | None = None
    record: ProtectionRecord | None = None
    spent: RestartHistory = RestartHistory()
    spent_at: float = -math.inf
    kept: RestartHistory = RestartHistory()
    unkept: bool = False
    is_busy: Callable[[], bool] = lambda: False
    asked: bool = False
    on_due: Callable[[bool], object] | None = None
    show: Callable[[], object] | None = None
    is_typed: Callable[[], bool] | None = None
    typed: bool = False

    @property
    def name(self) -> str:
        """The agent's id in the tree."""
        return self.agent.name

    @property
    def level(self) -> MemoryState:
        """What its memory means."""
        return self.guard.level

    @property
    def thresholds(self) -> Thresholds:
        """Where its levels begin."""
        return self.guard.pressure.thresholds

    @property
    def was_normal(self) -> bool:
        """Whether its memory was normal at the latest sample; the decision may not have heard of that one yet."""
        if self.sample is None or self.level is not MemoryState.NORMAL:
            return self.level is MemoryState.NORMAL
        return classify(self.thresholds, self.sample.total_bytes, self.level) is MemoryState.NORMAL

    @property
    def in_turn(self) -> bool:
        """Whether it is in the middle of a turn."""
        return self.guard.alive and (self.is_busy() or (not self.guard.idle and not self.typed))

    @property
    def is_fresh(self) -> bool:
        """Whether its present life has no level yet."""
        return self.guard.pressure.fresh

    @property
    def mode(self) -> DegradationMode:
        """The rung of the degradation ladder it is on."""
        return self.ladder.mode

    @property
    def not_owned(self) -> str:
        """Why it is not ours to end or to restart; empty when it is."""
        if self.attached is None or self.attached.adopt:
            return ""
        pid = self.attached.process.pid
        return f"not_owned: process {pid} was started by somebody else; with adopt = true in [command] it would be restarted"

    @property
    def is_unkept(self) -> bool:
        """Whether restart protection has spent something else than what was written down last; time alone changes nothing."""
        return _substance(self.spent) != _substance(self.kept)

    def put_off(self, now: float) -> None:
        """Have no turn begin while a restart is due, where somebody can see to that."""
        if self.on_due is not None:
            self.on_due(self.asked or self.guard.is_restart_due(now))

    def saw(self, sample: MemorySample) -> None:
        """Take note of a sample."""
        self.sample = sample
        self.samples += 1
        self.history.append((sample.at, sample.total_bytes))
        sure = self.guard.outlook.sure
        self.workload = self.workload.saw(sample.total_bytes, sample.at, 0.0 if sure is None else sure.bytes_per_second)


def _substance(history: RestartHistory) -> tuple[tuple[int, int, int, bool], ...]:
    """What changes by attempts and judgements, and not by time."""
    return tuple(map(_sum, (history.crashes, history.cycles)))


def _sum(spent: Spent) -> tuple[int, int, int, bool]:
    return len(spent.attempts), spent.streak, spent.failures, spent.reopens_in is not None
