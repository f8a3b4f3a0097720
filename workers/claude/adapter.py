"""Claude Code as a leaf: how each of its lives is started, how it hears of its mode, and what the guardian hears of its turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import anyio
import attrs

from supervisor import Exit, Handle, Launch, Ticket

from ..degradation.adapter import AdapterFailed, LeafAdapter, Made
from ..event_conversation import ConversationStarted
from ..policy.ladder import DegradationMode
from . import banner
from .conversation import Conversation
from .exits import judged
from .hook_events import Allowance
from .launch import ClaudeLaunch
from .leaf_hooks import LeafHooks
from .life_input import LifeInput
from .notices import Notice, TurnCut
from .on_disk import is_answered
from .proof import has_written
from .turn import NEXT, Turn, starting

if TYPE_CHECKING:
    from ..probe.parts import LeafParts
    from .continuation import Life


class ClaudeAdapter:
    """A `LeafAdapter` for Claude Code.

    Args:
        mode: Tells it of its mode; None when nothing does.
        conversation: The conversation that it is in.
        hooks: What tells of its turns and holds it to its mode.
        input: What its lives read.
        is_crash_only: Whether only its crashes are failures.
        go_on: Says what it is told to go on with a turn that was cut; empty for nothing.
        parts: Keeps account of what the parts of its tree grow by; None where nobody does.
        listen: Takes in what hooks have said by now.
        why: Says why the life before is over.

    Attributes:
        turn: What is known of its turns, by hooks and looks.
        generation: Of its present life.
        began: When that began, in seconds since the epoch.
        allowance: How many of its hooks may become events.
    """

    def __init__(
        self,
        mode: LeafAdapter | None,
        conversation: Conversation,
        hooks: LeafHooks,
        input: LifeInput,
        *,
        is_crash_only: bool,
        go_on: Callable[[], str] = lambda: "",
        parts: LeafParts | None = None,
        listen: Callable[[], object] = lambda: None,
        why: Callable[[], str] = lambda: "",
    ) -> None:
        self.conversation, self.continuation, self.hooks, self.input = conversation, conversation.continuation, hooks, input
        self.generation, self.began, self.turn, self.allowance = 0, 0.0, Turn(), Allowance()
        self._mode, self._crash_only, self._go_on, self._parts, self._listen, self._why = mode, is_crash_only, go_on, parts, listen, why
        self._was_cut = False  # as lines have said

    @property
    def is_busy(self) -> bool:
        """Whether it is in a turn, or comes up."""
        return self.turn.is_busy or self.input.is_busy

    @property
    def waiting(self) -> float:
        """Seconds within which a prompt that waits in it begins its next turn; of lines none ever waits."""
        return NEXT if self.input.stream is None else 0.0

    @property
    def is_typed(self) -> bool:
        """Whether somebody has just pressed keys that may be half a prompt."""
        return self.hooks.shown is not None and self.hooks.shown.is_typed()

    @property
    def environment(self) -> Mapping[str, str]:
        """See `LeafAdapter.environment`."""
        return {} if self._mode is None else self._mode.environment

    def launch(self, argv: tuple[str, ...], made: Made) -> Launch:
        """See `LeafAdapter.launch`; another command than before takes effect with the next life, one that is no Claude Code as it is."""
        if not self.continuation.follows(argv):
            return made(argv, None, stdin=self.input.other)
        return ClaudeLaunch(self, argv, made)

    async def degrade(self, mode: DegradationMode, reason: str) -> None:
        """See `LeafAdapter.degrade`; a mode that restricts has to be enforced by hooks."""
        if self._mode is not None:
            await self._mode.degrade(mode, reason)
        self.hooks.switched()
        self._listen()
        unenforced = self.hooks.unenforced(self.shows)
        if unenforced and mode in (DegradationMode.READ_ONLY, DegradationMode.EMERGENCY):
            raise AdapterFailed("hooks", unenforced)

    def shows(self) -> bool:
        """Whether what it has written says that the present life is up. Blocks for one call."""
        stream = self.input.stream
        return (stream is not None and stream.is_up) or has_written(self.continuation.path(), self.began)

    def begin(self, made: Made, ticket: Ticket) -> Handle:
        """Start a life, and say how it gets into its conversation.

        Raises:
            InUse: Somebody else is in the conversation that the command asks for.
            OSError: As of the command.
        """
        life, begun = self.next(ticket.generation)
        handle = self.input.begin(life, self.continuation.command.arguments, made, self.judged, ticket)
        self.conversation.runs(handle)
        for said in (*self.conversation.begun(begun.unheard), begun):
            ticket.emit(attrs.evolve(said, path=ticket.path, generation=ticket.generation))
        return handle

    def next(self, generation: int) -> tuple[Life, ConversationStarted]:
        """The next life, and what there is to say of it. Blocks for a few reads and writes.

        Raises:
            InUse: Somebody else is in the conversation that the command asks for.
        """
        cut = self._was_cut if self.input.stream is not None else self._is_cut()
        self._was_cut = False
        settings = self.hooks.equip(generation)
        unheard, go_on = self.hooks.unheard, self._go_on()
        life = self.conversation.next(settings, cut=cut, go_on=go_on, is_heard=not unheard)
        arguments = self.continuation.command.arguments
        is_prompted = arguments.is_one_turn or (bool(arguments.prompt) and life.is_anew) or life.is_told
        self.generation, self.began = generation, time.time()
        self.turn = Turn(next_look=0.0) if unheard else starting(is_prompted, anyio.current_time())
        if self._parts is not None:
            self._parts.renewed()
        if self.hooks.shown is not None and settings and generation > 1:
            self.hooks.shown.tell(banner.notice(self._why(), life.how, cut=cut, goes_on=bool(go_on)))
        return life, ConversationStarted((), life.how, life.session_id, cut, unheard)

    def judged(self, exit: Exit) -> Exit:
        """An end of it, for what it is."""
        self._listen()
        stream = self.input.stream
        in_turn, is_over = self.turn.is_in_turn and not self.hooks.unheard and self.hooks.proof.is_heard, False
        if stream is not None:
            stream.catch_up()
            in_turn, is_over = stream.is_in_turn, stream.is_over
        return self.conversation.judged(judged(exit, in_turn=in_turn, is_over=is_over, is_crash_only=self._crash_only))

    def noticed(self, notice: Notice) -> None:
        """Take note of what happens to its lines."""
        self._was_cut = self._was_cut or isinstance(notice, TurnCut)

    def close(self) -> None:
        """See `LeafAdapter.close`."""
        self.continuation.close()
        self.hooks.close()
        if self._mode is not None:
            self._mode.close()

    def _is_cut(self) -> bool:
        """Whether the life that has ended was in a turn, or in tasks that go on behind one."""
        self._listen()  # a program waits for its hooks, so what they have said is there
        turn = self.turn
        if self.hooks.is_doubted:
            return turn.is_in_turn and not is_answered(self.continuation.path(), self.began)
        if turn.is_in_turn or turn.waits_for:
            return True
        return turn.ended_at is not None and not is_answered(self.continuation.path(), turn.began)
