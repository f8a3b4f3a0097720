"""The guardian's log: every type of event has words and a level, and a line says who, what, how much and what next."""

from __future__ import annotations

import logging
from typing import Any

import attrs
import pytest

from supervisor import ChildExited, ChildStarted, ControlUnavailable, Event, Exit, Record
from supervisor.core import event as tree_events
from workers import event as own_events
from workers import event_config as seldom_events
from workers import event_conversation as conversation_events
from workers import event_state as state_events
from workers import event_transcript as transcript_events
from workers.event import (
    STOPPED,
    CaptureFailed,
    DegradationChanged,
    HealthChanged,
    MemoryLevelChanged,
    MonitoringDegraded,
    NotificationFailed,
    RestartRefused,
    RunFinished,
)
from workers.log import LEVELS, Level, level_of, log_events, text_of
from workers.policy.ladder import DegradationMode
from workers.policy.pressure import MemoryState
from workers.policy.verdict import Health

PATH = ("guardian", "agents", "claude", "leaf")
KINDS = [
    *(
        kind
        for module in (tree_events, own_events, seldom_events, conversation_events, state_events, transcript_events)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Event) and kind.name != "event"
    ),
    ControlUnavailable,
]


def made(kind: type[Event]) -> Event:
    """An event of a type, with whatever its required fields take."""
    given: dict[str, Any] = {
        field.name: Exit.normal() if field.name == "exit" else 1.0 if field.name in ("remaining", "waited") else 1
        for field in attrs.fields(kind)
        if field.default is attrs.NOTHING and field.name != "path" and field.init
    }
    return kind(PATH, **given)


@pytest.mark.parametrize("kind", dict.fromkeys(KINDS), ids=lambda kind: kind.name)
def test_every_event_has_words_and_a_level(kind: type[Event]) -> None:
    """None is told by its bare name, and none is left to a default level."""
    event = made(kind)
    assert kind in LEVELS and isinstance(level_of(event), Level)
    line = text_of(event)
    assert line.startswith("claude: ") and "\n" not in line
    assert not line.startswith(f"claude: {kind.name}")


def test_all_five_levels_are_in_use() -> None:
    """From what only a debugger wants to know to what nobody may miss."""
    assert level_of(ChildStarted(PATH)) is Level.DEBUG
    assert level_of(RunFinished(("guardian",), 0, "command")) is Level.INFO
    assert level_of(HealthChanged(("guardian",), Health.HEALTHY, Health.DEGRADED)) is Level.WARNING
    assert level_of(CaptureFailed(PATH)) is Level.ERROR
    assert level_of(DegradationChanged(PATH, new=DegradationMode.EMERGENCY)) is Level.CRITICAL
    assert level_of(RunFinished(("guardian",), 70, "fault")) is Level.CRITICAL
    assert [level.value for level in Level] == [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL]


def test_a_level_follows_what_happened() -> None:
    """The same type of event is worse or milder by what it says."""
    levels = [level_of(MemoryLevelChanged(PATH, new=level)) for level in MemoryState]
    assert levels == [Level.INFO, Level.WARNING, Level.ERROR, Level.CRITICAL]
    assert level_of(ChildExited(PATH, exit=Exit.normal())) is Level.INFO
    assert level_of(MonitoringDegraded(PATH, blind=False)) is Level.INFO
    assert level_of(MonitoringDegraded(PATH, False, "it cannot be read", "cgroup v2", "procfs")) is Level.WARNING


def test_lines_say_who_what_how_much_and_what_next() -> None:
    """One of each kind of line that a person acts upon."""
    mib = 1 << 20
    changed = MemoryLevelChanged(PATH, MemoryState.WARNING, MemoryState.CRITICAL, 700 * mib, 700.0)
    assert text_of(changed) == "claude: memory 700 MiB: warning -> critical; restarted at the next idle moment if it stays"
    refused = RestartRefused(PATH, "3 restarts within 3600 s, 3 allowed", 120.0, "memory is at 700.0 MiB")
    assert text_of(refused).startswith(
        "claude: not restarted (memory is at 700.0 MiB): 3 restarts within 3600 s, 3 allowed; may be possible in "
    )
    assert text_of(refused).endswith("; left alone, and watched on")
    stopped = RestartRefused(PATH, "the host has 4 MiB of memory left, less than its reserve of 5 MiB", None, STOPPED)
    assert text_of(stopped).endswith("less than its reserve of 5 MiB; ended for good, before the host has no memory left")
    assert level_of(stopped) is Level.CRITICAL and level_of(refused) is Level.ERROR
    failed = CaptureFailed(PATH, "critical", "the disk is full")
    assert text_of(failed).startswith("claude: state NOT captured: the disk is full; what it was for goes on without it")
    told = NotificationFailed(("guardian",), "hook", "exit code 1")
    assert text_of(told).startswith("hook: exit code 1; tried again")
    verdict = HealthChanged(("guardian",), Health.HEALTHY, Health.DEGRADED, ("cpu 90% (limit 80%)",))
    assert text_of(verdict) == "the host is degraded, it was healthy: cpu 90% (limit 80%)"


def test_the_sink_writes_through_logging(caplog: pytest.LogCaptureFixture) -> None:
    """Each record at its level, with what programs need beside the text; what is below the logger's level costs no words."""
    logger = logging.getLogger("test.guardian")
    sink = log_events(logger)
    with caplog.at_level(logging.INFO, logger="test.guardian"):
        sink(Record("r", 7, 1.0, 2.0, CaptureFailed(PATH, "critical", "the disk is full", generation=3)))
        sink(Record("r", 8, 1.0, 2.0, ChildStarted(PATH)))
    (written,) = caplog.records
    assert (written.levelno, written.name) == (logging.ERROR, "test.guardian")
    about = {name: getattr(written, name) for name in ("event", "run", "seq", "path", "generation", "data")}
    assert about == {
        "event": "capture_failed",
        "run": "r",
        "seq": 7,
        "path": PATH,
        "generation": 3,
        "data": {"reason": "critical", "cause": "the disk is full", "part": ""},
    }


def test_an_unknown_event_is_told_by_its_name() -> None:
    """An application's own event is no reason to fail."""

    @attrs.frozen(repr=False, eq=False)
    class Odd(Event):
        name = "odd"
        amount: int = 3

    assert text_of(Odd(PATH)) == "claude: odd {'amount': 3}" and level_of(Odd(PATH)) is Level.INFO
