"""Events, and their form as data."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from supervisor.core import event as events
from supervisor.core.breaker import Breaker
from supervisor.core.event import (
    CgroupUnavailable,
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    ChildTerminated,
    ChildUnresponsive,
    Event,
    EventsLost,
    OomKilled,
    OrphansSwept,
    Record,
    RestartDeferred,
    SentryLost,
    SupervisorGaveUp,
    jsonable,
)
from supervisor.core.exits import Exit, ExitKind
from supervisor.core.spec import Restart

UNKNOWN = {"spec": None, "budget_left": None}
KINDS = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]


def test_the_names_are_those_of_the_contract() -> None:
    """Other programs read them."""
    assert {kind.name for kind in KINDS} == {
        "event",
        "child_started",
        "child_exited",
        "child_restarted",
        "child_terminated",
        "child_start_failed",
        "child_unresponsive",
        "restart_deferred",
        "supervisor_gave_up",
        "child_status",
        "notification_ignored",
        "orphans_swept",
        "cgroup_unavailable",
        "oom_killed",
        "sentry_lost",
        "events_lost",
        "output_line",
        "output_failed",
        "output_resumed",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_can_be_made_from_its_path_and_written_as_json(kind: type[Event]) -> None:
    """All other fields have defaults, but for an exit; `path` and `generation` are the record's."""
    needs_exit = any(field.name == "exit" and field.default is attrs.NOTHING for field in attrs.fields(kind))
    event = kind(("root", "a"), **({"exit": Exit.normal()} if needs_exit else {}))  # type: ignore[arg-type]
    data = event.as_data()

    assert json.loads(json.dumps(data)) == data
    assert not data.keys() & {"path", "generation"}
    assert event.generation is None


def test_the_fields_of_an_event_by_name() -> None:
    """With an exit as its own data, and unknown as null."""
    exited = ChildExited(("root", "a"), exit=Exit.killed(), pid=7, generation=3)
    assert exited.as_data() == {
        "exit": {"kind": "abnormal", "reason": "killed"},
        "pid": 7,
        "expected": False,
        "uptime": None,
        **UNKNOWN,
        "killed": False,
    }
    assert SupervisorGaveUp(("root",), child="a").as_data()["exit"] is None


def test_the_defaults_of_events() -> None:
    """Unknown is null; what was not said is empty, false or zero."""
    path = ("root", "a")
    assert ChildStarted(path).as_data() == {"pid": None, "purpose": "", "spec": None}
    assert ChildRestarted(path).as_data() == {"reason": "", "controlled": False, "attempt": 0, **UNKNOWN}
    assert ChildTerminated(path).as_data() == {"spec": None}
    assert ChildUnresponsive(path).as_data() == {"pid": None, "waited": 0.0, "spec": None}
    assert RestartDeferred(path).as_data() == {"reason": "", "controlled": False, "remaining": 0.0, **UNKNOWN}
    assert SupervisorGaveUp(path).as_data() == {"child": "", "reason": "", "hold": False, "retry_in": None, "exit": None, **UNKNOWN}
    assert OrphansSwept(path).as_data() == {"pids": [], "reason": ""}
    assert CgroupUnavailable(path).as_data() == {"reason": "", "ungranted": []}
    assert OomKilled(path).as_data() == {"kills": 1}
    assert SentryLost(path).as_data() == {"pid": None, "reason": "", "replaced": False}
    assert EventsLost(path).as_data() == {"from": 0, "to": 0}
    kinds: list[Any] = [ChildExited, ChildStartFailed]
    for kind in kinds:
        with pytest.raises(TypeError):
            kind(path, Exit.normal())


def test_the_fields_of_an_event_that_have_a_place() -> None:
    """Programs give them without their names; all others are given by name, so that one more moves none."""
    places = {kind.__name__: [field.name for field in attrs.fields(kind) if not field.kw_only] for kind in KINDS}
    assert places == {
        "Event": ["path"],
        "ChildEvent": ["path"],
        "ChildStarted": ["path", "pid"],
        "ChildExited": ["path", "pid", "expected", "uptime"],
        "ChildRestarted": ["path", "reason", "controlled", "attempt", "budget_left"],
        "ChildTerminated": ["path"],
        "ChildStartFailed": ["path"],
        "ChildUnresponsive": ["path", "pid", "waited"],
        "RestartDeferred": ["path", "reason", "controlled", "remaining"],
        "SupervisorGaveUp": ["path", "child", "reason", "hold", "retry_in", "exit"],
        "ChildStatus": ["path", "status"],
        "NotificationIgnored": ["path", "pid", "reason"],
        "OrphansSwept": ["path", "pids", "reason"],
        "CgroupUnavailable": ["path", "reason", "ungranted"],
        "OomKilled": ["path", "kills"],
        "OutputLine": ["path", "stream", "text", "truncated"],
        "OutputFailed": ["path", "stream", "target", "reason", "errno", "lost_bytes"],
        "OutputResumed": ["path", "stream", "target", "lost_bytes"],
        "SentryLost": ["path", "pid", "reason"],
        "EventsLost": ["path", "first", "last"],
    }


def test_lost_events_are_a_range() -> None:
    """Under the names of the event stream."""
    assert EventsLost((), first=3, last=9).as_data() == {"from": 3, "to": 9}


def test_jsonable() -> None:
    """Whatever an application puts into an event becomes JSON data, at any depth."""

    @attrs.frozen
    class Point:
        x: int
        kind: Restart

    value = {1: [Point(2, Restart.TRANSIENT), (None, True, 1.5, "s")], "exit": Exit(ExitKind.NORMAL, "normal"), "error": ValueError("no")}
    assert jsonable(value) == {
        "1": [{"x": 2, "kind": "transient"}, [None, True, 1.5, "s"]],
        "exit": {"kind": "normal", "reason": "normal"},
        "error": "no",
    }
    assert jsonable(Breaker(3, 5.0)) == {"failures": 3, "reset": 5.0}
    assert jsonable({3}) == [3]
    assert jsonable(frozenset([3])) == [3]


def test_a_record_carries_its_event() -> None:
    """Numbered and dated."""
    event = Event(("root",))
    record = Record("run", 1, 0.5, 1e9, event)
    assert (record.run, record.seq, record.monotonic, record.time, record.event) == ("run", 1, 0.5, 1e9, event)
