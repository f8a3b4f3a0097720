"""What a person reads on a terminal: one line of plain words per event, one status line, and a summary at the end.

Generic: it knows the tree's events; an application brings the words for its own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any

import attrs

from ..core.event import (
    CgroupUnavailable,
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    ChildStatus,
    ChildTerminated,
    ChildUnresponsive,
    Event,
    EventsLost,
    NotificationIgnored,
    OomKilled,
    OrphansSwept,
    OutputFailed,
    OutputLine,
    OutputResumed,
    Record,
    RestartDeferred,
    SentryLost,
    SupervisorGaveUp,
)
from ..core.text import counted, duration, printable
from ..core.value import Value

ERASE = "\r\x1b[K"


class Tone(Enum):
    """How much a line wants to be noticed; the value is what selects the colour on a terminal."""

    PLAIN = ""
    GOOD = "\x1b[32m"
    WARNING = "\x1b[33m"
    BAD = "\x1b[31m"


@attrs.frozen(repr=False, eq=False)
class Line(Value):
    """The words for an event, and more lines below them."""

    text: str
    tone: Tone = Tone.PLAIN
    details: tuple[str, ...] = ()


Words = Callable[[Any], Line | None]


def subject_of(path: tuple[str, ...]) -> str:
    """What an event is about, in short: its path without the root."""
    return "/".join(path[1:] or path)


class Renderer:
    """Turns records into lines for a person.

    Args:
        words: For each type of event what to say about it, or None to say nothing; added to those of the tree's events, and over them.
            A type that is not among them may have its own, as `words`.
        subject: What to call the path of an event.
        color: Whether to use colours, see `wants_color`.
        redact: Takes secrets out of a line.
    """

    def __init__(
        self,
        words: Mapping[type[Event], Words] | None = None,
        *,
        subject: Callable[[tuple[str, ...]], str] = subject_of,
        color: bool = False,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._words = {**TREE_WORDS, **(words or {})}
        self._subject = subject
        self._color, self._redact = color, redact

    @property
    def kinds(self) -> list[type[Event]]:
        """The types of events that there are words for."""
        return list(self._words)

    def line(self, record: Record) -> str | None:
        """``12:03:07  claude  memory 15.2 GiB: warning -> critical``, without a newline at the end; None when there is nothing to say."""
        kind = type(record.event)
        words = self._words.get(kind) or getattr(kind, "words", None)
        said = words(record.event) if words else None
        if said is None:
            return None
        clock = time.strftime("%H:%M:%S", time.localtime(record.time))
        subject = self._subject(record.event.path)
        text = printable("  ".join(part for part in (clock, subject, said.text) if part))
        line = f"{said.tone.value}{text}\x1b[0m" if self._color and said.tone.value else text
        return self._redact("\n".join((line, *(f"    {printable(detail)}" for detail in said.details))))


def wants_color(is_terminal: bool, environ: Mapping[str, str]) -> bool:
    """Whether to use colours: on a terminal that has them, unless ``NO_COLOR`` is set to anything."""
    return is_terminal and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"


class Console:
    """A descriptor that a person reads, with one status line below everything else.

    Nothing here waits or raises: what a stopped terminal or a full pipe does not take is left out and counted.

    Args:
        fd: The descriptor.
        is_terminal: Whether it is a terminal.
        environ: Says what that can do.
        redact: Takes secrets out of what is said.

    Attributes:
        has_status: Whether there is a status line: only on a terminal that can erase it.
        dropped: Lines that were left out.
    """

    def __init__(self, fd: int = 2, *, is_terminal: bool, environ: Mapping[str, str], redact: Callable[[str], str] = str) -> None:
        self._fd, self._redact = fd, redact
        self.has_status = is_terminal and environ.get("TERM", "dumb") != "dumb"
        self.dropped = 0
        self._status = ""
        self._shown = False

    def status(self, text: str) -> None:
        """Show a text in place of the last one, cut to the terminal's width; an empty one removes it."""
        if self.has_status and text != self._status:
            self._status = text
            self._write(self._erased() + self._drawn())

    def say(self, text: str) -> None:
        """Write whole lines above the status line."""
        if not self._write(f"{self._erased()}{self._redact(text)}\n{self._drawn()}"):
            self.dropped += 1

    def close(self) -> None:
        """Remove the status line, so that what others write next begins on an empty line."""
        self.status("")

    def _erased(self) -> str:
        return ERASE if self._shown else ""

    def _drawn(self) -> str:
        return fitted(printable(self._status), self._width() - 1) if self._status else ""

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._fd).columns or 80
        except OSError:
            return 80

    def _write(self, text: str) -> bool:
        data = text.encode("utf-8", "backslashreplace")
        try:
            while data:
                if not self._is_writable():
                    return False
                data = data[os.write(self._fd, data) :]
        except OSError:
            # the terminal hung up, or the descriptor is closed: there is nobody to tell
            return False
        self._shown = bool(self._status)
        return True

    def _is_writable(self) -> bool:
        import select

        if sys.platform == "win32" or not hasattr(select, "poll"):
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(0))


def fitted(text: str, columns: int) -> str:
    """The longest beginning of a text that a terminal shows in so many columns; wide characters take two, combining ones none."""
    if text.isascii():
        return text[: max(columns, 0)]
    used = 0
    for index, char in enumerate(text):
        used += _columns(char)
        if used > columns:
            return text[:index]
    return text


def columns(text: str) -> int:
    """How many columns a terminal shows a text in."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(char: str) -> int:
    import unicodedata

    return 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1


class Summary:
    """What happened in a run, gathered from its records, for a few lines at the end."""

    def __init__(self) -> None:
        self.ran = 0.0
        self.restarts: dict[str, int] = {}
        self.swept = 0
        self.gave_up: list[str] = []

    def observe(self, record: Record) -> None:
        """Take a record into account."""
        self.ran = max(self.ran, record.monotonic)
        match record.event:
            case ChildRestarted(reason=reason):
                why = reason or "no reason given"
                self.restarts[why] = self.restarts.get(why, 0) + 1
            case OrphansSwept(pids=pids):
                self.swept += len(pids)
            case SupervisorGaveUp(reason=reason):
                self.gave_up.append(reason)
            case _:
                pass

    def rows(self) -> list[tuple[str, str]]:
        """What the tree knows: how long, how many restarts and why, what was left behind."""
        rows = [("ran", duration(self.ran)), ("restarts", self._restarts())]
        rows += [("gave up", self.gave_up[-1])] if self.gave_up else []
        rows += [("swept", f"{counted(self.swept, 'process', 'processes')} left behind")] if self.swept else []
        return rows

    def _restarts(self) -> str:
        total = sum(self.restarts.values())
        reasons = sorted(self.restarts.items(), key=lambda item: -item[1])
        why = ", ".join(f"{reason} ({count})" if len(reasons) > 1 else reason for reason, count in reasons)
        return f"{total}: {why}" if total else "none"


def block(title: str, rows: Iterable[tuple[str, str | None]]) -> str:
    """A title and aligned rows; a value that is None is unknown."""
    said = [(label, "unknown" if value is None else value) for label, value in rows]
    width = max((len(label) for label, _ in said), default=0)
    return "\n".join([printable(title), *(printable(f"  {label:<{width}}  {value}") for label, value in said)])


def _exited(event: ChildExited) -> Line:
    after = f" after {duration(event.uptime)}" if event.uptime is not None else ""
    text = f"{'stopped' if event.expected else 'ended'}: {event.exit.reason}{after}"
    return Line(text, _tone(event.expected or event.exit.is_clean), event.exit.output)


def _restarted(event: ChildRestarted) -> Line:
    left = f", {counted(event.budget_left, 'more', 'more')} in this window" if event.budget_left is not None else ""
    number = f" (number {event.attempt}{left})" if event.attempt else ""
    return Line(f"restarted: {event.reason or 'no reason given'}{number}", Tone.GOOD)


def _gave_up(event: SupervisorGaveUp) -> Line:
    later = f"; tries again in {duration(event.retry_in)}" if event.hold and event.retry_in is not None else ""
    return Line(f"gave up restarting {event.child}: {event.reason}{later}", Tone.BAD)


def _swept(event: OrphansSwept) -> Line:
    return Line(
        f"killed {counted(len(event.pids), 'process', 'processes')} left behind ({', '.join(map(str, event.pids[:8]))})", Tone.WARNING
    )


def _from(pid: int | None) -> str:
    return "" if pid is None else f" from process {pid}"


def _sentry_lost(event: SentryLost) -> Line:
    if event.replaced:
        return Line(f"sentry replaced: {event.reason}", Tone.WARNING)
    return Line(f"no sentry: {event.reason}; what a killed guardian leaves is for the next start to sweep", Tone.WARNING)


def _tone(is_well: bool) -> Tone:
    return Tone.PLAIN if is_well else Tone.BAD


TREE_WORDS: dict[type[Event], Words] = {
    ChildStarted: lambda event: Line("started" if event.pid is None else f"started (pid {event.pid})"),
    ChildExited: _exited,
    ChildRestarted: _restarted,
    ChildTerminated: lambda event: Line("stopped on request"),
    ChildStartFailed: lambda event: Line(f"did not start: {event.exit.reason}", Tone.BAD, event.exit.output),
    ChildStatus: lambda event: Line(f"says: {event.status or 'nothing'}{' (stopping)' if event.stopping else ''}"),
    NotificationIgnored: lambda event: Line(f"ignored an sd_notify message{_from(event.pid)}: {event.reason}", Tone.WARNING),
    ChildUnresponsive: lambda event: Line(f"does not end, given up after {duration(event.waited)}", Tone.BAD),
    RestartDeferred: lambda event: Line(f"restart waits {duration(event.remaining)}: {event.reason}", Tone.WARNING),
    SupervisorGaveUp: _gave_up,
    OrphansSwept: _swept,
    CgroupUnavailable: lambda event: Line(
        f"runs without {' and '.join(event.ungranted) or 'a cgroup of its own'}: {event.reason}", Tone.WARNING
    ),
    OomKilled: lambda event: Line(f"out of memory: {counted(event.kills, 'process', 'processes')} killed by the kernel", Tone.WARNING),
    OutputLine: lambda event: None,  # a command that floods must not flood the terminal
    OutputFailed: lambda event: Line(f"{event.stream} is lost, {event.target} does not take it: {event.reason}", Tone.WARNING),
    OutputResumed: lambda event: Line(
        f"{event.stream} goes to {event.target} again, {counted(event.lost_bytes, 'byte', 'bytes')} lost", Tone.WARNING
    ),
    SentryLost: _sentry_lost,
    EventsLost: lambda event: Line(f"{counted(event.last - event.first + 1, 'event', 'events')} lost", Tone.WARNING),
}
