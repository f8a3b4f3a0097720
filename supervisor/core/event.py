"""What happened, as values: the events of the tree, and the record in which every event travels.

An application adds its own events by subclassing `Event`; their JSON form is made here, in one place.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from .exits import Exit
from .value import Value

if TYPE_CHECKING:
    from .spec import ChildSpec


@attrs.frozen(repr=False, eq=False)
class Event(Value):
    """Base of all events.

    Attributes:
        path: The ids from the root down to what the event is about.
        generation: The life of the child it is about; None when it is about no single life.
    """

    name: ClassVar[str] = "event"

    path: tuple[str, ...]
    generation: int | None = attrs.field(default=None, kw_only=True)

    def as_data(self) -> dict[str, Any]:
        """The event's own fields as JSON data, by field name; `path` and `generation` belong to the record."""
        return {
            field.name: jsonable(getattr(self, field.name))
            for field in attrs.fields(type(self))
            if field.name not in ("path", "generation")
        }


@attrs.frozen(repr=False, eq=False)
class ChildEvent(Event):
    """Base of the events about one child.

    Attributes:
        spec: What its supervisor knew of it: a reference, made JSON only when somebody wants that. Two events are equal
            whatever it is. None where whoever published the event does not know it.
    """

    spec: ChildSpec | None = attrs.field(default=None, kw_only=True, repr=False, eq=False)

    def as_data(self) -> dict[str, Any]:
        """The event's own fields, the specification at the end."""
        data = super().as_data()
        data["spec"] = data.pop("spec")
        return data


@attrs.frozen(repr=False, eq=False)
class ChildStarted(ChildEvent):
    """A child acknowledged its start; `pid` is None for a child in this process.

    `purpose` is what it was started for: ``boot``, ``restart``, ``cycle``, ``start_child``, ``restart_child``; empty where nobody waits
    for it any more, because its supervisor was told to stop meanwhile.
    """

    name: ClassVar[str] = "child_started"
    pid: int | None = None
    purpose: str = attrs.field(default="", kw_only=True)


@attrs.frozen(repr=False, eq=False)
class ChildExited(ChildEvent):
    """A life ended, by itself or because it was stopped; `expected` says which.

    `killed`: it did not end within its `shutdown` and had to be killed. `budget_left`: after an end that nobody asked for, the restarts
    after failures that the window still admits.
    """

    name: ClassVar[str] = "child_exited"
    exit: Exit = attrs.field(kw_only=True)
    pid: int | None = None
    expected: bool = False
    uptime: float | None = None
    killed: bool = attrs.field(default=False, kw_only=True)
    budget_left: int | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(repr=False, eq=False)
class ChildRestarted(ChildEvent):
    """The new life of a restarted child is up. Follows its `ChildStarted`.

    `reason` is why; `controlled` tells a requested restart from one after a failure; `attempt` counts within the window, which
    admits `budget_left` more.
    """

    name: ClassVar[str] = "child_restarted"
    reason: str = ""
    controlled: bool = False
    attempt: int = 0
    budget_left: int | None = None


@attrs.frozen(repr=False, eq=False)
class ChildTerminated(ChildEvent):
    """A child was stopped on request and stays down."""

    name: ClassVar[str] = "child_terminated"


@attrs.frozen(repr=False, eq=False)
class ChildStartFailed(ChildEvent):
    """A start or a restart failed; `purpose` as in `ChildStarted`, `budget_left` as in `ChildExited`."""

    name: ClassVar[str] = "child_start_failed"
    exit: Exit = attrs.field(kw_only=True)
    purpose: str = attrs.field(default="", kw_only=True)
    budget_left: int | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(repr=False, eq=False)
class ChildUnresponsive(ChildEvent):
    """A child outlived its `shutdown` and its kill: it is given up, counted and no longer in the table."""

    name: ClassVar[str] = "child_unresponsive"
    pid: int | None = None
    waited: float = 0.0


@attrs.frozen(repr=False, eq=False)
class RestartDeferred(ChildEvent):
    """A restart waits for the end of a cooldown or a turn, `remaining` seconds at most. Waiting is no attempt, so `budget_left` stays."""

    name: ClassVar[str] = "restart_deferred"
    reason: str = ""
    controlled: bool = False
    remaining: float = 0.0
    budget_left: int | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(repr=False, eq=False)
class SupervisorGaveUp(ChildEvent):
    """The restart budget is spent. `hold`: the supervisor stays up and tries again in `retry_in` seconds, if that is known.

    `path` is the supervisor's; `child`, `spec` and `exit` are of the child whose restart was refused. `budget_left` is what the window
    would still have admitted: above 0 where it was the circuit that refused.
    """

    name: ClassVar[str] = "supervisor_gave_up"
    child: str = ""
    reason: str = ""
    hold: bool = False
    retry_in: float | None = None
    exit: Exit | None = None
    budget_left: int | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(repr=False, eq=False)
class ChildStatus(Event):
    """A command says how it is: ``STATUS=`` and ``STOPPING=1`` of sd_notify. For people; it decides nothing."""

    name: ClassVar[str] = "child_status"
    status: str = ""
    stopping: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen(repr=False, eq=False)
class NotificationIgnored(Event):
    """A command got an sd_notify message that was not taken; told once for each reason in a life. `pid` is its sender's."""

    name: ClassVar[str] = "notification_ignored"
    pid: int | None = None
    reason: str = ""


@attrs.frozen(repr=False, eq=False)
class OrphansSwept(Event):
    """Processes that outlived their leaf were killed; `pids` are the ones that were still alive."""

    name: ClassVar[str] = "orphans_swept"
    pids: tuple[int, ...] = ()
    reason: str = ""


@attrs.frozen(repr=False, eq=False)
class OutputLine(Event):
    """A line that a command wrote, without its end: `stream` is ``stdout`` or ``stderr``; `truncated` where its rest was left out."""

    name: ClassVar[str] = "output_line"
    stream: str = "stdout"
    text: str = ""
    truncated: bool = False


@attrs.frozen(repr=False, eq=False)
class OutputFailed(Event):
    """What a command writes is lost from now on, and the command goes on. Said again when it ends, if that was still so.

    `target` is the file or the function that does not take it; `lost_bytes` were lost so far. `errno` is None where no system call failed.
    """

    name: ClassVar[str] = "output_failed"
    stream: str = "stdout"
    target: str = ""
    reason: str = ""
    errno: int | None = None
    lost_bytes: int = 0


@attrs.frozen(repr=False, eq=False)
class OutputResumed(Event):
    """After an `OutputFailed`: what a command writes is kept again; `lost_bytes` were lost between."""

    name: ClassVar[str] = "output_resumed"
    stream: str = "stdout"
    target: str = ""
    lost_bytes: int = 0


@attrs.frozen(repr=False, eq=False)
class CgroupUnavailable(Event):
    """A leaf runs without a cgroup of its own although this host has them, or without the limits `ungranted`, which it did not require."""

    name: ClassVar[str] = "cgroup_unavailable"
    reason: str = ""
    ungranted: tuple[str, ...] = ()


@attrs.frozen(repr=False, eq=False)
class OomKilled(Event):
    """A leaf's tree wanted more memory than its limit, and the kernel killed `kills` of its processes since the last time this was said."""

    name: ClassVar[str] = "oom_killed"
    kills: int = 1


@attrs.frozen(repr=False, eq=False)
class SentryLost(Event):
    """The sentry, which ends the commands of a supervisor that is killed, died or could not be started.

    `pid`: who died; None when none could be started. `replaced`: another one watches now.
    """

    name: ClassVar[str] = "sentry_lost"
    pid: int | None = None
    reason: str = ""
    replaced: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen(repr=False, eq=False)
class EventsLost(Event):
    """A reader was too slow: the records from `first` to `last` (both inclusive sequence numbers) never reached it."""

    name: ClassVar[str] = "events_lost"
    first: int = 0
    last: int = 0

    def as_data(self) -> dict[str, Any]:
        """The range, under the names of the event stream."""
        return {"from": self.first, "to": self.last}


@attrs.frozen(repr=False, eq=False)
class Record(Value):
    """An event on its way to readers: numbered without gaps within a run, and dated.

    Attributes:
        seq: From 1, without gaps within a run.
        monotonic: Seconds of the tree's clock since the run began.
        time: Wall clock, seconds since the epoch; only for people and files.
    """

    run: str
    seq: int
    monotonic: float
    time: float
    event: Event


def jsonable(value: object) -> Any:
    """A value of an event as JSON data: enums by value, exits and specifications by their `as_data`, exceptions by their line."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Enum():
            return value.value
        case Value() if hasattr(value, "as_data"):
            return value.as_data()
        case dict():
            return {str(key): jsonable(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [jsonable(item) for item in value]
        case _ if attrs.has(kind := type(value)):
            return {field.name: jsonable(getattr(value, field.name)) for field in attrs.fields(kind)}
        case _:
            return str(value)
