"""A conversation of lines that outlives the lives of the program it is held with: their pipes, and what `dialogue` says of them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import anyio
import anyio.lowlevel
import attrs

from supervisor import ChildSpec, ChildType, Exit, Handle, Launch, Restart, Ticket, Value, command

from ..event_conversation import How
from . import dialogue as machine
from .dialogue import Dialogue
from .dialogue_news import (
    Began,
    Closed,
    Cut,
    Deafened,
    Deliver,
    Dropped,
    Effect,
    Ended,
    Ending,
    Held,
    News,
    Said,
    Shut,
    Tick,
    Torn,
    Write,
    Wrote,
    line_of,
)
from .life_pipes import LifePipes
from .life_ticket import LifeTicket
from .notices import BusyChanged as BusyChanged
from .notices import LifeBegan as LifeBegan
from .notices import LifeOver as LifeOver
from .notices import LinesDropped as LinesDropped
from .notices import LineTorn as LineTorn
from .notices import Notice as Notice
from .notices import TurnCut as TurnCut
from .notices import cut_event

Made = Callable[[int, int], Launch]
"""Makes what starts a life, of the descriptors that it gets as standard input and standard output."""

INPUT: Final = 64 << 20
"""Bytes of the caller's that wait before `feed` does."""

LINES: Final = 16384
"""Lines of the caller's that wait before `feed` does."""

OUTPUT: Final = 1 << 20
"""Bytes for the caller that wait before the program does."""


class ClosedError(Exception):
    """The caller has said that nothing more comes."""


class ClaudeStream:
    """Lines to and from a program that speaks stream-json, whichever life it is in. Outlives the lives; one event loop's own.

    The program is started, restarted and stopped by the supervisor that has `spec`, or anything else made of `launch` or `begin`, as a
    child. The pipes of a life are closed when that is over, and its tasks belong to the tree.

    Args:
        closes: Whether what was cut is said in lines to the caller, too: an error in place of each result and each response that will not
            come.
        on_notice: Called with each notice at once; it must not raise.
    """

    def __init__(self, *, closes: bool = False, on_notice: Callable[[Notice], object] = lambda notice: None) -> None:
        self.on_notice = on_notice
        self._dialogue = Dialogue(closes=closes)
        self._pipes: LifePipes | None = None
        self._handle: Handle | None = None
        self._restart: Restart | None = None
        self._waiting = 0  # bytes that no life was given
        self._output: deque[bytes] = deque()
        self._output_bytes = 0
        self._busy = self._finished = False
        self._fed, self._taken, self._wrote, self._news = anyio.Event(), anyio.Event(), anyio.Event(), anyio.Event()

    @property
    def is_busy(self) -> bool:
        """Whether a turn is under way, or tasks in the background are."""
        return self._dialogue.is_busy(anyio.current_time())

    @property
    def is_in_turn(self) -> bool:
        """Whether a prompt was said to the present life that has no result."""
        return bool(self._dialogue.turns)

    @property
    def is_over(self) -> bool:
        """Whether the present life has answered everything, and knows that nothing more comes."""
        return self._dialogue.is_over

    @property
    def is_up(self) -> bool:
        """Whether the present life has said that it began a turn."""
        return self._dialogue.is_up

    @property
    def session_id(self) -> str | None:
        """The conversation, as the program has said it last; None before it has."""
        return self._dialogue.session_id

    async def feed(self, line: bytes, *, idempotent: bool = False) -> None:
        """Say a line; returns when there is room for it, which is long before it is read.

        Args:
            line: Without its end.
            idempotent: Whether it may be said to the next life again when its turn was cut.

        Raises:
            ClosedError: After `close_input`.
            ValueError: It is more than one line.

        **Cancellation:** the line was not said.
        """
        if b"\n" in line:
            raise ValueError("a line has no end within it")
        await anyio.lowlevel.checkpoint()
        while not self._dialogue.is_closed and self._is_full():
            await self._fed.wait()
        if self._dialogue.is_closed:
            raise ClosedError("the input of this stream is closed")
        said = line_of(line, idempotent=idempotent)
        self._waiting += len(line)
        self._step(Said(said))

    def close_input(self) -> None:
        """Nothing more is said: the input of a life ends once everything is written, that of later ones as well. May be called again."""
        if not self._dialogue.is_closed:
            self._step(Closed())
            self._stir("_fed")

    async def receive(self) -> tuple[bytes, ...]:
        """All whole lines that have come, at least one, without their ends.

        Raises:
            anyio.EndOfStream: No more come.

        **Cancellation:** no line is lost.
        """
        await anyio.lowlevel.checkpoint()
        while not self._output:
            if self._finished:
                raise anyio.EndOfStream
            await self._wrote.wait()
        lines = tuple(self._output)
        self._output.clear()
        self._output_bytes = 0
        self._stir("_taken")
        return lines

    async def output(self) -> AsyncIterator[bytes]:
        """The lines of all lives, in order, without their ends; ends when no more come.

        **Cancellation:** no line is lost that was not handed out.
        """
        while True:
            # no checkpoint a line: what is there is bounded, and then it waits
            while not self._output:
                if self._finished:
                    return
                await self._wrote.wait()
            line = self._output.popleft()
            self._output_bytes -= len(line) + 1
            self._stir("_taken")
            yield line

    def hold(self, held: bool) -> None:
        """Whether a restart is due: then no prompt goes in any more, until it is not, or the next life may have it."""
        if held is not self._dialogue.is_held:
            self._step(Held(held))

    def deafen(self) -> None:
        """Nobody reads the output any more: the program is told so as it would be by a closed pipe, when it writes next."""
        self._step(Deafened())
        self._output.clear()
        self._output_bytes = 0
        if self._pipes is not None:
            self._pipes.close_output()
        self._stir("_taken")

    def catch_up(self) -> None:
        """Take what the present life has written by now, for whoever is about to judge its end."""
        if self._pipes is not None:
            for chunk in self._pipes.left():
                self._take(self._pipes, chunk)

    def finish(self) -> None:
        """No life comes any more: `output` ends after the last line. May be called again."""
        self._finished = True
        self._stir("_wrote")

    def launch(self, *argv: str, **options: Any) -> Launch:
        """What starts each life of a command.

        Args:
            argv: The command, the same for each life.
            options: As of `command`, but for its input and its output.

        Raises:
            SpecError: An option has an illegal value.
        """
        command(*argv, **options)  # whatever is wrong with it is wrong now
        return StreamLaunch(self, lambda stdin, stdout: command(*argv, **options, stdin=stdin, stdout=stdout))

    def spec(self, id: str, *argv: str, restart: Restart = Restart.TRANSIENT, shutdown: float = 30.0, **options: Any) -> ChildSpec:
        """A child of any supervisor; with `Restart.TRANSIENT` its output ends with a life that ends well by itself.

        Args:
            id: Of the child.
            argv: Its command.
            restart: See `ChildSpec`.
            shutdown: Seconds from being asked to end to being killed.
            options: As of `launch`.

        Raises:
            SpecError: An argument has an illegal value.
        """
        self._restart = restart
        return ChildSpec(id, self.launch(*argv, **options), restart=restart, shutdown=shutdown)

    def begin(self, made: Made, ticket: Ticket, *, how: How | None = None, session_id: str | None = None) -> Handle:
        """Start a life; the one before is over.

        Args:
            made: Makes what starts it.
            ticket: Of the life.
            how: How it gets into its conversation, for the notice.
            session_id: Which, likewise.

        Raises:
            OSError: As of the launch, or out of descriptors.
        """
        if self._pipes is not None:  # it was given up, and nobody will report its end
            self._ended(self._pipes, Exit.killed(), ticket)
        pipes = LifePipes.open(ticket.generation)
        try:
            handle = made(pipes.stdin, pipes.stdout).launch(LifeTicket(ticket, lambda exit: self._ended(pipes, exit, ticket)))
        except BaseException:  # also an interrupt: there is no process that could use them
            pipes.close()
            raise
        pipes.given()
        if self._dialogue.is_deaf:
            pipes.close_output()
        self._pipes, self._handle = pipes, handle
        pipes.tasks = [
            ticket.spawn(lambda: self._read(pipes), f"output of {'/'.join(ticket.path)}").cancel,
            ticket.spawn(lambda: self._write(pipes), f"input of {'/'.join(ticket.path)}").cancel,
        ]
        self.on_notice(LifeBegan(ticket.generation, how, session_id))
        self._step(Began(ticket.generation))
        return handle

    def _ended(self, pipes: LifePipes, exit: Exit, ticket: Ticket) -> None:
        """A life is over, and nobody of its tree is left: take what it wrote, and give back what it had."""
        by_itself = exit.is_clean and not getattr(self._handle, "is_stopping", False)
        if pipes is self._pipes:
            self.catch_up()
            unread, rest = pipes.unread(), bytes(pipes.lines.rest)
            self._pipes = self._handle = None
            cut = self._step(Ended(rest, unread), pipes.generation)
            if (event := cut_event(cut, ticket)) is not None:
                ticket.emit(event)
            self._waiting = sum(len(line.data) for line in (*self._dialogue.waiting, *self._dialogue.first))
            self._stir("_fed")
        pipes.close()
        self.on_notice(LifeOver(pipes.generation, exit))
        if self._restart is Restart.TEMPORARY or (self._restart is Restart.TRANSIENT and by_itself):
            self.finish()

    def _is_full(self) -> bool:
        held = self._waiting + (0 if self._pipes is None else self._pipes.unwritten)
        return held >= INPUT or len(self._dialogue.waiting) + len(self._dialogue.first) >= LINES

    def _step(self, news: News, generation: int = 0) -> list[Effect]:
        """Take news, and do what follows from it."""
        now = anyio.current_time()
        if self._pipes is not None and self._dialogue.is_open and getattr(self._handle, "is_stopping", False):
            # between that and its end nothing more is written to it
            self._dialogue, _ = machine.step(self._dialogue, Ending(), now)
        before = self._dialogue.next_tick
        self._dialogue, effects = machine.step(self._dialogue, news, now)
        for effect in effects:
            self._perform(effect, generation)
        if self._dialogue.next_tick != before:
            self._stir("_news")
        busy = self._dialogue.is_busy(now)
        if busy is not self._busy:
            self._busy = busy
            self.on_notice(BusyChanged(busy))
        return list(effects)

    def _perform(self, effect: Effect, generation: int) -> None:
        match effect:
            case Write(lines):
                assert self._pipes is not None
                self._waiting -= sum(len(line.data) for line in lines if not line.replayed)
                self._pipes.give(lines)
                self._stir("_news")
                self._stir("_fed")
            case Shut():
                assert self._pipes is not None
                self._pipes.shut()
                self._stir("_news")
            case Deliver(lines):
                if not self._dialogue.is_deaf:
                    self._output.extend(lines)
                    self._output_bytes += sum(map(len, lines)) + len(lines)
                    self._stir("_wrote")
            case Cut(lines, resent):
                self.on_notice(TurnCut(generation, tuple(line.data for line in lines), tuple(line.data for line in resent)))
            case Torn(size):
                self.on_notice(LineTorn(generation, size))
            case Dropped(lines):
                self._waiting -= sum(len(line.data) for line in lines)
                self.on_notice(LinesDropped(tuple(line.data for line in lines)))

    def _take(self, pipes: LifePipes, chunk: bytes) -> None:
        lines = pipes.lines.take(chunk)
        while pipes.lines.lost:
            self.on_notice(LineTorn(pipes.generation, pipes.lines.lost.pop()))
        if lines:
            self._step(Wrote(tuple(lines)))

    async def _read(self, pipes: LifePipes) -> None:
        """Hand on what a life writes, as fast as the caller takes it."""
        while True:
            while self._output_bytes >= OUTPUT:
                await self._taken.wait()
            chunk = await pipes.read()
            if not chunk:
                return
            self._take(pipes, chunk)
            await anyio.lowlevel.checkpoint()

    async def _write(self, pipes: LifePipes) -> None:
        """Write what a life has not taken at once, and tell the dialogue the time."""
        while True:
            while pipes.unwritten:
                if not await pipes.write():
                    return
                self._stir("_fed")
            at = self._dialogue.next_tick
            with anyio.CancelScope(deadline=math.inf if at is None else at) as scope:
                await self._news.wait()
            if scope.cancelled_caught:
                self._step(Tick())

    def _stir(self, name: str) -> None:
        event: anyio.Event = getattr(self, name)
        if event.statistics().tasks_waiting:
            event.set()
            setattr(self, name, anyio.Event())


@attrs.frozen(repr=False, eq=False)
class StreamLaunch(Value):
    """Starts each life of a command with the pipes of a stream."""

    stream: ClaudeStream
    made: Made

    @property
    def type(self) -> ChildType:
        """Always a worker."""
        return ChildType.WORKER

    @property
    def kill_timeout(self) -> float:
        """As of the command."""
        return self.made(0, 1).kill_timeout

    def launch(self, ticket: Ticket) -> Handle:
        """Start one life.

        Raises:
            OSError: As of the command.
        """
        return self.stream.begin(self.made, ticket)

    def describe(self) -> dict[str, Any]:
        """As of the command."""
        return self.made(0, 1).describe()
