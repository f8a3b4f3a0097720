"""OTP's supervisor reports: what a supervisor has to say to a log, as values made from the tree's events.

The contexts are OTP's own: ``progress``, ``child_terminated``, ``start_error``, ``shutdown_error`` and ``shutdown`` (its supervisor gave
up: ``reached_max_restart_intensity``). What only this library knows has its event's name as context.
"""

from __future__ import annotations

from enum import IntEnum

import attrs

from .event import (
    CgroupUnavailable,
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    ChildUnresponsive,
    Event,
    OomKilled,
    OrphansSwept,
    OutputFailed,
    OutputResumed,
    RestartDeferred,
    SentryLost,
    SupervisorGaveUp,
)
from .exits import Exit, ExitKind
from .launch import ChildType
from .spec import ChildSpec, Restart, Shutdown
from .text import counted, duration, printable
from .value import Value


class Severity(IntEnum):
    """How much a report wants to be noticed, with the numbers of the standard ``logging`` module."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


@attrs.frozen(repr=False, eq=False)
class Report(Value):
    """One line for a log.

    Attributes:
        context: OTP's word for what the report is about, or the event's name.
        text: One line: the context, the path, the reason, and in brackets the child and the budget that is left.
        details: More lines: what a command wrote last before it failed, without control characters.
    """

    context: str
    severity: Severity
    text: str
    details: tuple[str, ...] = ()


def report_of(event: Event) -> Report | None:
    """What OTP's supervisor would report of an event; None where it says nothing.

    Silent are the ends that a supervisor asked for and got, a clean end that is not restarted, and what is told by the event that
    follows: the start of a restarted child.
    """
    match event:
        case ChildStarted():
            return _started(event)
        case ChildRestarted():
            why = event.reason or "no reason given"
            by = "on request" if event.controlled else "after a failure"
            return _report(
                event, "progress", Severity.INFO, f"restarted {by}, number {event.attempt} in the window: {why}", event.budget_left
            )
        case ChildExited():
            return _exited(event)
        case ChildStartFailed():
            return _report(event, "start_error", Severity.ERROR, event.exit.reason, event.budget_left, event.exit.output)
        case SupervisorGaveUp():
            then = ""
            if event.hold:
                then = "; holds" if event.retry_in is None else f"; holds, and tries again in {duration(event.retry_in)}"
            last = f"; {event.child}: {event.exit.reason}" if event.exit is not None else ""
            text = f"reached_max_restart_intensity: {event.reason}{last}{then}"
            return _report(event, "shutdown", Severity.ERROR, text, event.budget_left)
        case RestartDeferred():
            text = f"waits {duration(event.remaining)}: {event.reason or 'no reason given'}"
            return _report(event, event.name, Severity.WARNING, text, event.budget_left)
        case ChildUnresponsive():
            return _report(event, event.name, Severity.ERROR, f"given up {duration(event.waited)} after it was asked to end, and killed")
        case OrphansSwept():
            pids = ", ".join(map(str, event.pids))
            return _report(event, event.name, Severity.WARNING, f"killed {pids}: {event.reason or 'left behind'}")
        case CgroupUnavailable():
            without = " and ".join(event.ungranted) or "a cgroup of its own"
            return _report(event, event.name, Severity.WARNING, f"runs without {without}: {event.reason}")
        case OomKilled():
            return _report(event, event.name, Severity.WARNING, f"out of memory: {counted(event.kills, 'process', 'processes')} killed")
        case OutputFailed():
            lost = counted(event.lost_bytes, "byte", "bytes")
            text = f"{event.stream} is lost, {event.target} does not take it: {event.reason}; {lost} so far"
            return _report(event, event.name, Severity.WARNING, text)
        case OutputResumed():
            lost = counted(event.lost_bytes, "byte was", "bytes were")
            return _report(event, event.name, Severity.WARNING, f"{event.stream} goes to {event.target} again, {lost} lost")
        case SentryLost():
            then = "another one watches now" if event.replaced else "nobody watches"
            return _report(event, event.name, Severity.WARNING, f"{event.reason}; {then}")
        case _:
            return None


def is_in_order(spec: ChildSpec, exit: Exit) -> bool:
    """Whether OTP is silent about how a child ended that its supervisor had asked to, or killed as its `shutdown` says: rule 37."""
    # a command says `shutdown` by the signal that it was asked by, or by ending with code 0
    obeyed = exit.code == 0 or (exit.kind is ExitKind.SHUTDOWN and exit.term is None)
    if exit.is_clean and (spec.restart is not Restart.PERMANENT or obeyed):
        return True
    return isinstance(spec.shutdown, Shutdown) and (exit == Exit.killed() or exit.signal == _SIGKILL)


def brief(spec: ChildSpec) -> str:
    """A specification in a few words: ``permanent worker, task app:main``."""
    started = spec.start.describe()
    kind, what = next(iter(started.items()), ("", None))
    about = ""
    if spec.type is ChildType.SUPERVISOR:
        about = f", {started['strategy']}" if "strategy" in started else ""
    elif isinstance(what, str):
        about = f", {kind} {what}"
    return f"{spec.restart.value} {spec.type.value}{about}"


def _started(event: ChildStarted) -> Report | None:
    if event.purpose in ("restart", "cycle"):
        return None  # `ChildRestarted` follows, and knows why
    severity = Severity.DEBUG if event.purpose in ("start_child", "restart_child") else Severity.INFO
    return _report(event, "progress", severity, "started" if event.pid is None else f"started, pid {event.pid}")


def _exited(event: ChildExited) -> Report | None:
    spec, exit = event.spec, event.exit
    after = f" after {duration(event.uptime)}" if event.uptime is not None else ""
    if not event.expected:
        if exit.is_clean and (spec is None or spec.restart is not Restart.PERMANENT):
            return None
        return _report(event, "child_terminated", Severity.ERROR, f"{exit.reason}{after}", event.budget_left, exit.output)
    if event.killed:
        within = "in time" if spec is None or isinstance(spec.shutdown, Shutdown) else f"within {spec.shutdown:g} s"
        text = f"killed, because it did not end {within}: {exit.reason}"
        return _report(event, "shutdown_error", Severity.ERROR, text, details=exit.output)
    if spec is None or is_in_order(spec, exit):
        return None
    return _report(event, "shutdown_error", Severity.ERROR, exit.reason, details=exit.output)


def _report(event: Event, context: str, severity: Severity, text: str, left: int | None = None, details: tuple[str, ...] = ()) -> Report:
    spec = getattr(event, "spec", None)
    known = [brief(spec)] if spec is not None else []
    known += [f"{counted(left, 'restart', 'restarts')} left"] if left is not None else []
    about = f" ({', '.join(known)})" if known else ""
    line = printable(f"{context} {'/'.join(event.path)}: {text}{about}")
    return Report(context, severity, line, tuple(map(printable, details)))


_SIGKILL = 9
"""Its number on every POSIX system; `signal.SIGKILL` is not there on others."""
