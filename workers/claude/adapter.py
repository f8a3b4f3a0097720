"""Claude Code as a leaf: how each of its lives is started, how it hears of its mode, and what the guardian hears of its turns."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import attrs

from supervisor import ChildType, Exit, Handle, Launch, Ticket, Value

from ..config.run import MODE_FILE
from ..degradation.adapter import LeafAdapter, Made
from ..event_conversation import ConversationStarted
from ..policy.ladder import DegradationMode
from ..state.files import StateWriteFailed, write_atomic
from .continuation import Continuation, Life
from .exits import judged
from .notices import Notice, TurnCut
from .piped import PipedPrompt
from .settings import SettingsUnreadable, off_switch, with_hooks
from .stream import ClaudeStream
from .turn import NEXT, Turn, starting


class ClaudeAdapter:
    """A `LeafAdapter` for Claude Code.

    Args:
        mode: Tells it of its mode; None when nothing does.
        continuation: Its conversation.
        settings: Where the settings of its lives are written, in a private directory; None for no hooks.
        pipe: The named pipe that its hooks write to; None for no hooks.
        number: What its hooks call it.
        is_crash_only: Whether only its crashes are failures.
        go_on: Says what it is told to go on with a turn that was cut; empty for nothing.
        unheard: Why there are no hooks; empty when there are.
        on_session: Called with each conversation that it comes to be in.
        listen: Takes in what hooks have said by now.
        stream: What is said to it in lines; None where its input is its own.
        piped: The prompt that it is told through its input; None likewise.

    Attributes:
        turn: What is known of its turns, by hooks and looks.
        generation: Of its present life.
    """

    def __init__(
        self,
        mode: LeafAdapter | None,
        continuation: Continuation,
        *,
        settings: Path | None,
        pipe: Path | None,
        number: int,
        is_crash_only: bool,
        go_on: Callable[[], str] = lambda: "",
        unheard: str = "",
        on_session: Callable[[str | None], object] = lambda session_id: None,
        listen: Callable[[], object] = lambda: None,
        stream: ClaudeStream | None = None,
        piped: PipedPrompt | None = None,
    ) -> None:
        self.continuation, self.number, self.generation, self.turn = continuation, number, 0, Turn()
        self.stream, self.piped = stream, piped
        self._listen, self._was_cut = listen, False
        self._mode, self._settings, self._pipe = mode, settings, pipe
        self._crash_only, self._go_on, self._unheard, self._on_session = is_crash_only, go_on, unheard, on_session

    @property
    def is_busy(self) -> bool:
        """Whether it is in a turn, or comes up."""
        return self.turn.is_busy or (self.stream is not None and self.stream.is_busy)

    @property
    def waiting(self) -> float:
        """Seconds within which a prompt that waits in it begins its next turn; of lines none ever waits."""
        return NEXT if self.stream is None else 0.0

    @property
    def environment(self) -> Mapping[str, str]:
        """See `LeafAdapter.environment`."""
        return {} if self._mode is None else self._mode.environment

    def launch(self, argv: tuple[str, ...], made: Made) -> Launch:
        """See `LeafAdapter.launch`; another command than before takes effect with the next life, one that is no Claude Code as it is."""
        if not self.continuation.follows(argv):
            return made(argv, None, stdin=None if self.stream is None and self.piped is None else "null")
        return ClaudeLaunch(self, argv, made)

    async def degrade(self, mode: DegradationMode, reason: str) -> None:
        """See `LeafAdapter.degrade`."""
        if self._mode is not None:
            await self._mode.degrade(mode, reason)

    def close(self) -> None:
        """See `LeafAdapter.close`."""
        self.continuation.close()
        if self._mode is not None:
            self._mode.close()
        if self._settings is not None:
            with suppress(OSError):
                self._settings.unlink()

    def next(self, generation: int) -> tuple[Life, ConversationStarted]:
        """The next life, and what there is to say of it. Blocks for a few reads and one write.

        Raises:
            InUse: Somebody else is in the conversation that the command asks for.
        """
        cut = self._was_cut if self.stream is not None else self.turn.is_busy and (self.turn.up_by is None or self.turn.is_prompted)
        self._was_cut = False
        unheard = self._unheard
        settings: tuple[str, ...] = ()
        if not self.continuation.command.arguments.runs_hooks:
            unheard = "its command turns hooks off"
        if not unheard:
            try:
                settings = self._written(generation)
            except (SettingsUnreadable, StateWriteFailed) as error:
                unheard = str(error)
        life = self.continuation.next(settings, cut, self._go_on())
        arguments = self.continuation.command.arguments
        is_prompted = arguments.is_one_turn or (bool(arguments.prompt) and life.is_anew) or life.is_told
        self.generation, self.turn = generation, Turn() if unheard else starting(is_prompted, anyio.current_time())
        self._on_session(life.session_id)
        return life, ConversationStarted((), life.how, life.session_id, cut, unheard)

    def learned(self, session_id: str, transcript: str | None) -> None:
        """The program says which conversation it is in."""
        if self.continuation.learned(session_id, transcript):
            self._on_session(session_id)

    def judged(self, exit: Exit) -> Exit:
        """An end of it, for what it is."""
        self._listen()
        in_turn = self.turn.is_in_turn
        if self.stream is not None:
            self.stream.catch_up()
            in_turn = self.stream.is_in_turn
        return judged(exit, in_turn=in_turn, is_crash_only=self._crash_only)

    def begin(self, life: Life, made: Made, ticket: Ticket) -> Handle:
        """Start a life, with the input that it gets.

        Raises:
            OSError: As of the command.
        """

        def with_pipes(stdin: int, stdout: int) -> Launch:
            return made(life.argv, self.judged, stdin=stdin, stdout=stdout)

        arguments = self.continuation.command.arguments
        if self.stream is not None and arguments.streams:
            return self.stream.begin(with_pipes, ticket, how=life.how, session_id=life.session_id)
        if self.piped is not None and arguments.is_one_turn:
            return self.piped.begin(lambda stdin: made(life.argv, self.judged, stdin=stdin), ticket, anew=life.is_anew)
        # what comes through our own input is read for another command than this one has become
        reads = self.stream is None and self.piped is None
        return made(life.argv, self.judged, stdin=None if reads else "null").launch(ticket)

    def noticed(self, notice: Notice) -> None:
        """Take note of what happens to its lines."""
        self._was_cut = self._was_cut or isinstance(notice, TurnCut)

    def _written(self, generation: int) -> tuple[str, ...]:
        assert self._settings is not None and self._pipe is not None
        if (switched := off_switch(self.continuation.settings_files())) is not None:
            raise SettingsUnreadable(switched)
        given = self.continuation.command.arguments.values("--settings")
        settings = with_hooks(
            given, self.continuation.directory, os.fspath(self._pipe), f"{self.number} {generation}", self.environment.get(MODE_FILE)
        )
        write_atomic(self._settings, json.dumps(settings).encode(), durable=False)
        return (os.fspath(self._settings),)


@attrs.frozen(repr=False, eq=False)
class ClaudeLaunch(Value):
    """Starts each life of a Claude Code with the words that get it into its conversation."""

    adapter: ClaudeAdapter
    argv: tuple[str, ...]
    made: Made

    @property
    def type(self) -> ChildType:
        """Always a worker."""
        return ChildType.WORKER

    @property
    def kill_timeout(self) -> float:
        """As of the command."""
        return self.made(self.argv, self.adapter.judged).kill_timeout

    def launch(self, ticket: Ticket) -> Handle:
        """Start one life.

        Raises:
            InUse: Somebody else is in the conversation that the command asks for.
            OSError: As of the command.
        """
        life, said = self.adapter.next(ticket.generation)
        handle = self.adapter.begin(life, self.made, ticket)
        ticket.emit(attrs.evolve(said, path=ticket.path, generation=ticket.generation))
        return handle

    def describe(self) -> dict[str, Any]:
        """As of the command."""
        return self.made(self.argv, self.adapter.judged).describe()
