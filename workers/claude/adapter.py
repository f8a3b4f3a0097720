"""Claude Code as a leaf: how each of its lives is started, how it hears of its mode, and what the guardian hears of its turns."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import attrs

from supervisor import ChildType, Event, Exit, ExitKind, Handle, Launch, Ticket, Value, describe, prepared

from ..config.run import MODE_FILE
from ..degradation.adapter import LeafAdapter, Made
from ..event_conversation import ConversationStarted, How
from ..policy.ladder import DegradationMode
from ..state.files import StateWriteFailed, write_atomic
from .continuation import Continuation
from .exits import judged
from .managed import managed_off_switch, managed_settings
from .recovery import Case, Recovery, failed
from .resuming import Resuming
from .settings import SettingsUnreadable, off_switch, with_hooks
from .turn import Turn

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
        on_session: Called with each conversation that it comes to be in.
        recovery: Looks after its conversation between its lives; None for nobody.
        hear: Takes in what its hooks have said so far.

    Attributes:
        turn: What is known of its turns.
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
        recovery: Recovery | None = None,
        hear: Callable[[], object] = lambda: None,
    ) -> None:
        self.continuation, self.number, self.generation, self.turn = continuation, number, 0, Turn()
        self._mode, self._settings, self._pipe = mode, settings, pipe
        self._crash_only, self._go_on, self._unheard, self._on_session = is_crash_only, go_on, unheard, on_session
        self.recovery, self._hear = recovery, hear
        self._resuming: Resuming | None = None
        self._expected: str | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """See `LeafAdapter.environment`."""
        return {} if self._mode is None else self._mode.environment

    def launch(self, argv: tuple[str, ...], made: Made) -> Launch:
        """See `LeafAdapter.launch`; another command than before takes effect with the next life, one that is no Claude Code as it is."""
        if not self.continuation.follows(argv):
            return made(argv, None)
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
        for file in (self._settings, self._told, None if self._told is None else self._told.with_name(f"{self._told.name}.once")):
            if file is not None:
                with suppress(OSError):
                    file.unlink()

    @property
    def _told(self) -> Path | None:
        """What a life is told as it begins its conversation."""
        return None if self._settings is None else self._settings.with_suffix(f"{os.extsep}told")

    def next(self, generation: int) -> tuple[tuple[str, ...], ConversationStarted]:
        """The command of the next life, and what there is to say of it. Blocks for a few reads and one write.

        Raises:
            InUse: Somebody else is in the conversation that the command asks for.
        """
        cut = self.turn.is_busy
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
        self.generation, self.turn = generation, Turn(is_busy=arguments.is_one_turn and not unheard)
        self._on_session(life.session_id)
        return life.argv, ConversationStarted((), life.how, life.session_id, cut, unheard)

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

    def judged(self, exit: Exit) -> Exit:
        """An end of it, for what it is."""
        self._hear()
        exit = judged(exit, in_turn=self.turn.is_busy, is_crash_only=self._crash_only)
        resuming, self._resuming = self._resuming, None
        if self.recovery is None or resuming is None or not resuming.is_refused(exit):
            return exit
        self.recovery.refused(resuming.session_id)
        reason = f"{exit.reason}: it did not resume the conversation {resuming.session_id}"
        return attrs.evolve(exit, kind=ExitKind.ABNORMAL, reason=reason)

    def _written(self, generation: int) -> tuple[str, ...]:
        assert self._settings is not None and self._pipe is not None
        if (switched := managed_off_switch(managed_settings()) or off_switch(self.continuation.settings_files())) is not None:
            raise SettingsUnreadable(switched)
        given = self.continuation.command.arguments.values("--settings")
        told = self._tell()
        settings = with_hooks(
            given, self.continuation.directory, os.fspath(self._pipe), f"{self.number} {generation}", self.environment.get(MODE_FILE), told
        )
        write_atomic(self._settings, json.dumps(settings).encode(), durable=False)
        return (os.fspath(self._settings),)

    def _tell(self) -> str | None:
        """Write down what the next life is told; the file of it, None for nothing."""
        told = None if self.recovery is None or self._told is None else self.recovery.told()
        if told is None or self._told is None:
            return None
        write_atomic(self._told, told.encode(), durable=False)
        return os.fspath(self._told)


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
        argv, begun = self.adapter.next(ticket.generation)
        handle = self.made(argv, self.adapter.judged).launch(ticket)
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
