"""The guardian's log: how much each type of event wants to be noticed, and a sink that writes one line for each through ``logging``.

A line says what happened, to which leaf, how much of it, and what comes next. For programs that use the guardian as a library; the launcher
tells a person by `words`, and programs by the event stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from supervisor import (
    TREE_WORDS,
    CgroupUnavailable,
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    ChildStatus,
    ChildTerminated,
    ChildUnresponsive,
    ControlUnavailable,
    Event,
    EventsLost,
    Line,
    NotificationIgnored,
    OomKilled,
    OrphansSwept,
    OutputFailed,
    OutputLine,
    OutputResumed,
    Record,
    Redactor,
    RestartDeferred,
    SentryLost,
    SupervisorGaveUp,
    Words,
    duration,
    format_bytes,
)

from .event import (
    STOPPED,
    CaptureFailed,
    DegradationChanged,
    HealthChanged,
    HostMemoryChanged,
    LeafHeld,
    LeafReleased,
    MemoryFloorChanged,
    MemoryLevelChanged,
    MemoryThresholdExceeded,
    MemoryWarning,
    MonitoringDegraded,
    MonitoringStarted,
    MonitoringStopped,
    NotificationFailed,
    RestartCompleted,
    RestartFailed,
    RestartInitiated,
    RestartRefused,
    RunFinished,
    StateCaptured,
    ToolEnded,
)
from .event_config import ConfigurationChanged, ConfigurationRejected
from .event_conversation import ClaudeHook, ConversationCut, ConversationStarted, HooksChanged
from .event_state import StateRestored, StatesPruned
from .event_transcript import ConversationLost, TranscriptDamaged, TranscriptLarge, TranscriptRepaired
from .policy.health import Health
from .policy.ladder import DegradationMode
from .policy.pressure import MemoryState
from .redactor import REDACTOR
from .words import WORDS, subject

if TYPE_CHECKING:
    import logging


class Level(IntEnum):
    """The specification's five, with the numbers of the standard ``logging`` module."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50


_MEMORY: Final = {
    MemoryState.NORMAL: Level.INFO,
    MemoryState.WARNING: Level.WARNING,
    MemoryState.CRITICAL: Level.ERROR,
    MemoryState.EMERGENCY: Level.CRITICAL,
}
_MODE: Final = {
    DegradationMode.NORMAL: Level.INFO,
    DegradationMode.WARNING: Level.WARNING,
    DegradationMode.READ_ONLY: Level.ERROR,
    DegradationMode.EMERGENCY: Level.CRITICAL,
}
_HEALTH: Final = {Health.HEALTHY: Level.INFO, Health.DEGRADED: Level.WARNING, Health.UNHEALTHY: Level.ERROR}


def _exited(event: ChildExited) -> Level:
    return Level.INFO if event.expected or event.exit.is_clean else Level.ERROR


def _sight(event: MonitoringDegraded) -> Level:
    if event.blind:
        return Level.ERROR
    return Level.INFO if event.before is None else Level.WARNING  # another reader


def _finished(event: RunFinished) -> Level:
    return {"fault": Level.CRITICAL, "protection": Level.CRITICAL}.get(event.source, Level.INFO)


LEVELS: Final[Mapping[type[Event], Level | Callable[[Any], Level]]] = MappingProxyType(
    {
        CaptureFailed: Level.ERROR,
        CgroupUnavailable: Level.WARNING,
        ChildExited: _exited,
        ChildRestarted: Level.INFO,
        ChildStartFailed: Level.ERROR,
        ChildStarted: Level.DEBUG,
        ChildStatus: Level.DEBUG,
        ChildTerminated: Level.INFO,
        ChildUnresponsive: Level.ERROR,
        ConfigurationChanged: Level.INFO,
        ConfigurationRejected: Level.ERROR,
        ControlUnavailable: Level.WARNING,
        ClaudeHook: Level.DEBUG,
        ConversationCut: Level.WARNING,
        ConversationStarted: lambda event: Level.WARNING if event.cut or event.unheard else Level.INFO,
        ConversationLost: Level.ERROR,
        DegradationChanged: lambda event: _MODE[event.new],
        EventsLost: Level.WARNING,
        HealthChanged: lambda event: _HEALTH[event.new],
        HooksChanged: lambda event: Level.WARNING if event.unheard else Level.INFO,
        HostMemoryChanged: lambda event: _MEMORY[event.new],
        LeafHeld: Level.WARNING,
        LeafReleased: Level.INFO,
        MemoryFloorChanged: lambda event: Level.WARNING if event.floor_bytes is not None else Level.INFO,
        MemoryLevelChanged: lambda event: _MEMORY[event.new],
        MemoryThresholdExceeded: Level.DEBUG,  # `MemoryLevelChanged` comes with it, and says more
        MemoryWarning: Level.WARNING,
        MonitoringDegraded: _sight,
        MonitoringStarted: Level.INFO,
        MonitoringStopped: Level.INFO,
        NotificationFailed: Level.WARNING,
        NotificationIgnored: Level.WARNING,
        OomKilled: Level.ERROR,
        OrphansSwept: Level.WARNING,
        OutputFailed: Level.WARNING,
        OutputLine: Level.DEBUG,
        OutputResumed: Level.WARNING,
        RestartCompleted: Level.INFO,
        RestartDeferred: Level.WARNING,
        RestartFailed: Level.ERROR,
        RestartInitiated: Level.WARNING,
        RestartRefused: lambda event: Level.CRITICAL if event.wanted == STOPPED else Level.ERROR,
        RunFinished: _finished,
        SentryLost: Level.WARNING,
        StateCaptured: Level.INFO,
        StateRestored: Level.INFO,
        StatesPruned: lambda event: Level.ERROR if event.failed else Level.DEBUG,
        SupervisorGaveUp: Level.CRITICAL,
        TranscriptDamaged: Level.ERROR,
        TranscriptLarge: Level.WARNING,
        TranscriptRepaired: Level.WARNING,
        ToolEnded: lambda event: Level.ERROR if event.how == "left" else Level.WARNING,
    }
)
"""How much each type of event wants to be noticed."""

_MORE: Final[Mapping[type[Event], Words]] = MappingProxyType(
    {
        **TREE_WORDS,
        **{kind: words for kind, words in WORDS.items() if kind not in TREE_WORDS},
        **{kind: kind.words for kind in (ConfigurationChanged, ConfigurationRejected, ControlUnavailable, StateRestored, StatesPruned)},
        **{kind: kind.words for kind in (ClaudeHook, ConversationCut, ConversationLost, ConversationStarted, HooksChanged)},
        **{kind: kind.words for kind in (TranscriptDamaged, TranscriptLarge, TranscriptRepaired)},
        MemoryThresholdExceeded: lambda event: Line(
            f"memory {format_bytes(event.total_bytes)} has passed {event.level.value}, {format_bytes(event.threshold_bytes)}"
        ),
        MonitoringStopped: lambda event: Line(f"no longer watched: {event.samples} samples, peak {_bytes(event.peak_bytes)}"),
        OutputLine: lambda event: Line(f"wrote to {event.stream}: {event.text}"),
        RunFinished: lambda event: Line(f"the run is over: exit code {event.exit_code}, decided by: {event.source}"),
    }
)
"""Words for every type of event: for those, too, that a person on the terminal is not told of."""

NEXT: Final[Mapping[type[Event], Callable[[Any], str]]] = MappingProxyType(
    {
        CaptureFailed: lambda event: (
            "the rest of the state was captured"
            if event.part
            else "what it was for goes on without it; what was captured before is untouched"
        ),
        MemoryLevelChanged: lambda event: {
            MemoryState.NORMAL: "nothing to be done",
            MemoryState.WARNING: "its state is captured ahead",
            MemoryState.CRITICAL: "restarted at the next idle moment if it stays",
            MemoryState.EMERGENCY: "restarted at once if protection admits it",
        }[event.new],
        LeafHeld: lambda event: "its state is captured, then it is restarted if protection admits it, else it goes on",
        MonitoringDegraded: lambda event: "tried again at the next sample" if event.blind else "watched as before",
        NotificationFailed: lambda event: "tried again at the next occasion; said again only after it has worked",
        RestartDeferred: lambda event: f"done in {duration(event.remaining)}",
        RestartFailed: lambda event: "counts as a failed attempt; tried again as far as protection admits",
        RestartInitiated: lambda event: "its state is captured, then it is stopped and started again",
        RestartRefused: lambda event: (
            "ended for good, before the host has no memory left" if event.wanted == STOPPED else "left alone, and watched on"
        ),
    }
)
"""What comes next, where the words do not say it."""


def level_of(event: Event) -> Level:
    """How much an event wants to be noticed; of an unknown type, as information."""
    level = LEVELS.get(type(event), Level.INFO)
    return level if isinstance(level, Level) else level(event)


def text_of(event: Event) -> str:
    """One line: who, what, how much, and what comes next; of an unknown type, its name and data."""
    words = _MORE.get(type(event))
    said = words(event) if words is not None else None
    text = f"{event.name} {event.as_data()}" if said is None else said.text
    then = NEXT.get(type(event))
    about = subject(event.path)
    line = f"{about}: {text}" if about else text
    return f"{line}; {then(event)}" if then is not None else line


def log_events(
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger] | None = None, *, redactor: Redactor = REDACTOR
) -> Callable[[Record], None]:
    """A sink that writes each event through ``logging``: ``tree.add_sink(log_events())``.

    Each log record has `extra` attributes: ``event``, ``run``, ``seq``, ``path``, ``generation`` and ``data``, as in the event stream.

    Args:
        logger: Where to; default: the logger ``workers``. Its handlers run on the tree's own task: one that may wait belongs behind a
            ``logging.handlers.QueueHandler``.
        redactor: Takes secrets out of the line and of ``data``.
    """
    import logging  # here: whoever does not log need not load it

    log = logger if logger is not None else logging.getLogger("workers")

    def write(record: Record) -> None:
        event = record.event
        level = level_of(event)
        if log.isEnabledFor(level):
            about = {"event": event.name, "run": record.run, "seq": record.seq, "path": event.path, "generation": event.generation}
            log.log(level, "%s", redactor.text(text_of(event)), extra={**about, "data": redactor.data(event.as_data())})

    return write


def _bytes(total_bytes: int | None) -> str:
    return "unknown" if total_bytes is None else format_bytes(total_bytes)
