"""Claude Code as a leaf: how each of its lives is started, how it hears of its mode, and what the guardian hears of its turns."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import attrs

from supervisor import ChildType, Event, Exit, ExitKind, Handle, Launch, Ticket, Value, describe, prepared

from ..config.run import MODE_FILE
from ..degradation.adapter import AdapterFailed, LeafAdapter, Made
from ..event_conversation import ConversationStarted, How
from ..policy.ladder import DegradationMode
from ..state.files import StateWriteFailed, write_atomic
from . import banner
from .continuation import Continuation, Life
from .exits import judged
from .hook_events import Allowance
from .notices import Notice, TurnCut
from .on_disk import is_answered
from .piped import PipedPrompt
from .proof import NOT_RUN, Proof, shows
from .recovery import Case, Recovery, failed
from .resuming import Resuming
from .settings import SettingsUnreadable, managed_files, off_switch, with_hooks
from .shown import Shown
from .stream import ClaudeStream
from .switches import Switches
from .turn import NEXT, Turn, starting

if TYPE_CHECKING:
    from ..probe.parts import LeafParts
RECOVERY: Final = 120.0
"""Seconds that the repair of a transcript may take before the start of its life has failed."""


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
        tools: Whether its hooks say which tool is used.
        on_session: Called with each conversation that it comes to be in.
        recovery: Looks after its conversation between its lives; None for nobody.
        parts: Keeps account of what the parts of its tree grow by; None where nobody does.
        listen: Takes in what hooks have said by now.
        stream: What is said to it in lines; None where its input is its own.
        piped: The prompt that it is told through its input; None likewise.
        shown: Shows a person at its terminal how it is; None where nobody sits there.
        why: Says why the life before is over.

    Attributes:
        allowance: How many of its hooks may become events.
        turn: What is known of its turns, by hooks and looks.
        generation: Of its present life.
        unheard: Why hooks do not tell of its present life; empty when they do.
        proof: Whether they are known to run in it.
        began: When that began, in seconds since the epoch.
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
        tools: bool = False,
        on_session: Callable[[str | None], object] = lambda session_id: None,
        recovery: Recovery | None = None,
        parts: LeafParts | None = None,
        listen: Callable[[], object] = lambda: None,
        stream: ClaudeStream | None = None,
        piped: PipedPrompt | None = None,
        shown: Shown | None = None,
        why: Callable[[], str] = lambda: "",
    ) -> None:
        self.continuation, self.number, self.generation, self.turn = continuation, number, 0, Turn()
        self.stream, self.piped = stream, piped
        self._listen, self._was_cut = listen, False
        self._mode, self._settings, self._pipe, self._tools = mode, settings, pipe, tools
        self.allowance = Allowance()
        self._is_given, self.began = False, 0.0
        self._crash_only, self._go_on, self._unheard, self._on_session = is_crash_only, go_on, unheard, on_session
        self.unheard, self._switches, self._off = unheard, Switches(), ""
        self.proof = Proof()
        self.recovery = recovery
        self._resuming: Resuming | None = None
        self._expected: str | None = None
        self._parts, self._shown, self._why = parts, shown, why

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
        """See `LeafAdapter.degrade`; a mode that restricts has to be enforced by hooks."""
        if self._mode is not None:
            await self._mode.degrade(mode, reason)
        self.switched()
        self._listen()
        unheard = self.unheard
        if self._is_given and not self.proof.is_heard and (self.proof.up_at is not None or shows(self)):
            unheard = unheard or NOT_RUN  # wrong on the safe side, if it is: `unheard` says so only after a while
        if unheard and mode in (DegradationMode.READ_ONLY, DegradationMode.EMERGENCY):
            raise AdapterFailed("hooks", unheard)

    def switched(self) -> bool:
        """Look whether settings turn hooks off that the present life was started with; whether that has changed. Blocks for a few reads."""
        if not self._is_given:
            return False
        self._off = self._switches.look(self._settings_files())
        return self._concluded()

    def proved(self, proof: Proof) -> bool:
        """More is known of whether our hooks run; whether that changes `unheard`."""
        self.proof = proof
        return self._is_given and self._concluded()

    def _concluded(self) -> bool:
        before, self.unheard = self.unheard, self._off or (NOT_RUN if self.proof.is_missing else "")
        return self.unheard != before

    def close(self) -> None:
        """See `LeafAdapter.close`."""
        self.continuation.close()
        if self._shown is not None:
            self._shown.close()
        if self._mode is not None:
            self._mode.close()
        for file in (self._settings, self._told, None if self._told is None else self._told.with_name(f"{self._told.name}.once")):
            if file is not None:
                with suppress(OSError):
                    file.unlink()

    @property
    def _told(self) -> Path | None:
        """What a life is told as it begins its conversation."""
        return None if self._settings is None else self._settings.with_suffix(f"{os.extsep}told")

    def next(self, generation: int) -> tuple[Life, ConversationStarted]:
        """The next life, and what there is to say of it. Blocks for a few reads and one write.

        Raises:
            InUse: Somebody else is in the conversation that the command asks for.
        """
        cut = self._was_cut if self.stream is not None else self._is_cut()
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
        anew = None if self.recovery is None else self.recovery.anew
        life = self.continuation.next(settings, cut, self._go_on(), retold=anew is not None and anew.context is not None and not unheard)
        self._resuming, self._expected = None, life.session_id
        if life.how is How.RESUMED and life.session_id is not None:
            self._resuming = Resuming(life.session_id, not unheard, self.continuation.path())
        arguments = self.continuation.command.arguments
        is_prompted = arguments.is_one_turn or (bool(arguments.prompt) and life.is_anew) or life.is_told
        self.generation, self.turn = generation, Turn(next_look=0.0) if unheard else starting(is_prompted, anyio.current_time())
        self.unheard, self._is_given, self.began = unheard, bool(settings), time.time()
        self.proof, self._off = Proof(anyio.current_time()), ""
        self._on_session(life.session_id)
        if self._parts is not None:
            self._parts.renewed()
        if self._is_shown and settings and generation > 1:
            assert self._shown is not None
            self._shown.tell(banner.notice(self._why(), life.how, cut=cut, goes_on=bool(self._go_on())))
        return life, ConversationStarted((), life.how, life.session_id, cut, unheard)

    def said(self, unheard: str) -> tuple[Event, ...]:
        """What there is to say of the conversation with the life that was started; once."""
        return () if self.recovery is None else self.recovery.begun(unheard)

    def runs(self, handle: Handle) -> None:
        """The life that was started."""
        if self._resuming is not None:
            self._resuming.handle = handle

    def learned(self, session_id: str, transcript: str | None) -> None:
        """The program says which conversation it is in."""
        if self._resuming is not None and self.recovery is not None:
            self.recovery.resumed()
        self._resuming = None
        if self._expected not in (None, session_id):
            # 1.0 says another id when it begins to resume one, and goes on with the one that it was given
            session_id, transcript = self._expected, None
        self._expected = None
        if self.continuation.learned(session_id, transcript):
            self._on_session(session_id)

    def answered(self) -> None:
        """A turn of its conversation has been answered."""
        if self.recovery is not None:
            self.recovery.talked()

    @property
    def is_typed(self) -> bool:
        """Whether somebody has just pressed keys that may be half a prompt."""
        return self._is_shown and self._shown is not None and self._shown.is_typed()

    def judged(self, exit: Exit) -> Exit:
        """An end of it, for what it is."""
        self._listen()
        in_turn, is_over = self.turn.is_in_turn and not self.unheard and self.proof.is_heard, False
        if self.stream is not None:
            self.stream.catch_up()
            in_turn, is_over = self.stream.is_in_turn, self.stream.is_over
        exit = judged(exit, in_turn=in_turn, is_over=is_over, is_crash_only=self._crash_only)
        resuming, self._resuming = self._resuming, None
        if self.recovery is None or resuming is None or not resuming.is_refused(exit):
            return exit
        self.recovery.refused(resuming.session_id)
        reason = f"{exit.reason}: it did not resume the conversation {resuming.session_id}"
        return attrs.evolve(exit, kind=ExitKind.ABNORMAL, reason=reason)

    def _is_cut(self) -> bool:
        """Whether the life that has ended was in a turn, or in tasks that go on behind one."""
        self._listen()  # a program waits for its hooks, so what they have said is there
        turn = self.turn
        if self._is_given and not self.proof.is_heard:
            return turn.is_in_turn and not is_answered(self.continuation.path(), self.began)
        if turn.is_in_turn or turn.waits_for:
            return True
        return turn.ended_at is not None and not is_answered(self.continuation.path(), turn.began)

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

    def _settings_files(self) -> tuple[Path, ...]:
        return (*managed_files(), *self.continuation.settings_files())

    def _written(self, generation: int) -> tuple[str, ...]:
        assert self._settings is not None and self._pipe is not None
        if (switched := off_switch(self._settings_files())) is not None:
            raise SettingsUnreadable(switched)
        given = self.continuation.command.settings
        told = self._tell()
        life, mode = f"{self.number} {generation}", self.environment.get(MODE_FILE)
        settings = with_hooks(given, self.continuation.directory, os.fspath(self._pipe), life, mode, told, tools=self._tools)
        if self._is_shown:
            assert self._shown is not None
            settings = self._shown.equipped(settings, self.continuation)
        write_atomic(self._settings, json.dumps(settings).encode(), durable=False)
        return (os.fspath(self._settings),)

    def _tell(self) -> str | None:
        """Write down what the next life is told; the file of it, None for nothing."""
        told = None if self.recovery is None or self._told is None else self.recovery.told()
        if told is None or self._told is None:
            return None
        write_atomic(self._told, told.encode(), durable=False)
        return os.fspath(self._told)

    @property
    def _is_shown(self) -> bool:
        return self._shown is not None and not self.continuation.command.arguments.has("--print")


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
        recovery = self.adapter.recovery
        case = None if recovery is None else recovery.due()
        if recovery is None or case is None:
            return _Life(self).launch(ticket)
        ticket.extend(RECOVERY)
        return prepared(_Life(self), partial(_recovered, recovery, case)).launch(ticket)

    def begin(self, ticket: Ticket) -> Handle:
        """Start one life whose conversation was looked at. See `launch`."""
        life, begun = self.adapter.next(ticket.generation)
        handle = self.adapter.begin(life, self.made, ticket)
        self.adapter.runs(handle)
        for said in (*self.adapter.said(begun.unheard), begun):
            ticket.emit(attrs.evolve(said, path=ticket.path, generation=ticket.generation))
        return handle

    def describe(self) -> dict[str, Any]:
        """As of the command."""
        return self.made(self.argv, self.adapter.judged).describe()


@attrs.frozen(repr=False, eq=False)
class _Life(Value):
    """Starts one life whose conversation was looked at."""

    of: ClaudeLaunch

    @property
    def type(self) -> ChildType:
        """As of the launch."""
        return self.of.type

    @property
    def kill_timeout(self) -> float:
        """As of the launch."""
        return self.of.kill_timeout

    def launch(self, ticket: Ticket) -> Handle:
        """See `ClaudeLaunch.begin`."""
        return self.of.begin(ticket)

    def describe(self) -> dict[str, Any]:
        """As of the launch."""
        return self.of.describe()


async def _recovered(recovery: Recovery, case: Case) -> None:
    try:
        verdict = await anyio.to_thread.run_sync(recovery.recover, case)
    except Exception as error:  # boundary: our own fault must not keep a life from starting, and is told
        verdict = failed(case, describe(error))
    recovery.conclude(case, verdict)
