"""One life of a scripted child, and the lines of its log."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import anyio
import attrs

from ..core.errors import Path
from ..core.exits import Exit
from ..core.ports import Cancellable, Ticket
from ..core.value import Value
from ..runtime.node import Life
from .script import Decline, Fail, Ok, Start

if TYPE_CHECKING:
    from .child import Place, Scripted

Word = Literal["start", "up", "failed", "declined", "asked", "killed", "ended"]


class Crash(Exception):
    """What a scripted child fails with unless it is told otherwise."""


@attrs.frozen(repr=False, eq=False)
class Entry(Value):
    """One line of a scripted child's log.

    Attributes:
        what: ``start`` (its launch was called), ``up`` (it acknowledges), ``failed`` or ``declined`` (it is over without having
            acknowledged), ``asked``, ``killed``, ``ended``.
        path: The ids from the root down to the child.
        number: Which start of that path this life is, from 1.
        time: Seconds of the event loop's clock.
        exit: With ``failed`` and ``ended``: how.
    """

    what: Word
    path: Path
    number: int
    time: float
    exit: Exit | None = None

    def __str__(self) -> str:
        line = f"{self.what} {'/'.join(self.path)} {self.number}"
        return line if self.exit is None else f"{line}: {self.exit.reason}"


class ScriptedLife:
    """One life of a scripted child, as its supervisor's handle."""

    __slots__ = ("_asked", "_over", "_scopes", "_stop", "number", "place", "script", "ticket", "up")

    pid = None

    def __init__(self, script: Scripted, place: Place, ticket: Ticket) -> None:
        self.script, self.place, self.ticket = script, place, ticket
        self.number = place.number
        self.up = self._asked = self._over = False
        self._stop = script.stop
        self._scopes: list[Cancellable] = []

    @property
    def given_up(self) -> bool:
        """Whether its supervisor no longer waits for its end."""
        return isinstance(self.ticket, Life) and self.ticket.over

    def crash(self) -> Crash:
        """What it fails with where nothing else was said."""
        return Crash(f"{'/'.join(self.place.path)} {self.number}")

    def begin(self, start: Start) -> None:
        """Act out its start."""
        self._stop = start.stop or self.script.stop
        self.note("start")
        match start:
            case Ok():
                self._later(start.after, lambda: self._succeed(start))
            case Fail():
                reason = self.crash() if start.reason is None else start.reason
                exit = reason if isinstance(reason, Exit) else Exit.failed(reason)
                self._later(start.after, lambda: self.finish(exit))
            case Decline():
                self._later(start.after, self._decline)
            case _:
                pass  # it hangs

    def acknowledge(self, value: object) -> None:
        """Be up, unless it is already or is over."""
        if not (self.up or self._over):
            self.up = True
            self.place.latest_up = self.number
            self.note("up")
            self.ticket.started(value)

    def finish(self, exit: Exit) -> None:
        """End, unless it has."""
        if not self._over:
            self._leave()
            self.place.over[self.number] = exit
            self.note("ended" if self.up else "failed", exit)
            self.ticket.exited(exit)

    def terminate(self) -> None:
        """Be asked to end; the second time changes nothing."""
        if not (self._asked or self._over):
            self._asked = True
            self.place.latest_asked = self.number
            self.note("asked")
            self._later(self._stop.after, lambda: self.finish(self._stop.exit))

    def kill(self) -> None:
        """Be killed."""
        if not self._over:
            self.place.latest_asked = self.number
            self.note("killed")
            self._later(self._stop.kill_after, lambda: self.finish(Exit.killed()))

    def note(self, what: Word, exit: Exit | None = None) -> Entry:
        """Write an entry into the log."""
        entry = Entry(what, self.place.path, self.number, anyio.current_time(), exit)
        self.script.note(entry)
        return entry

    def _succeed(self, start: Ok) -> None:
        self.acknowledge(start.value)
        self._later(start.lasts, lambda: self.finish(start.exit))

    def _decline(self) -> None:
        if not self._over:
            self._leave()
            self.note("declined")
            self.ticket.ignored()

    def _leave(self) -> None:
        self._over = True
        if self.place.life is self:
            self.place.life = None
        for scope in self._scopes:
            scope.cancel()

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        if seconds == 0:
            act()
        elif seconds < math.inf and not self._over:

            async def wait() -> None:
                await anyio.sleep(seconds)
                act()

            self._scopes.append(self.ticket.spawn(wait, f"{'/'.join(self.place.path)} waits"))
