"""The conversation of one leaf over its lives: what each goes on with, what the program says of it, and what becomes of a refused one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from supervisor import ExitKind

from ..event_conversation import How
from .resuming import Resuming

if TYPE_CHECKING:
    from supervisor import Event, Exit, Handle

    from .continuation import Continuation, Life
    from .recovery import Recovery


class Conversation:
    """Says which conversation each life is in. Outlives the lives.

    Args:
        continuation: How lives get into it.
        recovery: Looks after it between two lives; None for nobody.
        on_session: Called with each conversation that the leaf comes to be in.
    """

    def __init__(
        self,
        continuation: Continuation,
        recovery: Recovery | None = None,
        on_session: Callable[[str | None], object] = lambda session_id: None,
    ) -> None:
        self.continuation, self.recovery = continuation, recovery
        self._on_session = on_session
        self._resuming: Resuming | None = None
        self._expected: str | None = None

    def next(self, settings: tuple[str, ...], *, cut: bool, go_on: str, is_heard: bool) -> Life:
        """The next life. Blocks for a few reads of the transcript.

        Args:
            settings: What it is given as ``--settings``; empty for nothing.
            cut: Whether the life before ended in the middle of a turn.
            go_on: What it is told to go on with; empty for nothing.
            is_heard: Whether its hooks will tell that it is up.

        Raises:
            InUse: Somebody else is in the conversation that the command asks for.
        """
        anew = None if self.recovery is None else self.recovery.anew
        retold = anew is not None and anew.context is not None and is_heard
        life = self.continuation.next(settings, cut, go_on, retold=retold)
        self._resuming, self._expected = None, life.session_id
        if life.how is How.RESUMED and life.session_id is not None:
            self._resuming = Resuming(life.session_id, is_heard, self.continuation.path())
        self._on_session(life.session_id)
        return life

    def runs(self, handle: Handle) -> None:
        """The life that was started."""
        if self._resuming is not None:
            self._resuming.handle = handle

    def begun(self, unheard: str) -> tuple[Event, ...]:
        """What there is to say with the life that was started; once."""
        return () if self.recovery is None else self.recovery.begun(unheard)

    def learned(self, session_id: str, transcript: str | None) -> None:
        """The program says which one it is in."""
        if self._resuming is not None and self.recovery is not None:
            self.recovery.resumed()
        self._resuming = None
        expected, self._expected = self._expected, None
        if expected is not None and expected != session_id:
            # 1.0 says another id when it begins to resume one, and goes on with the one that it was given
            session_id, transcript = expected, None
        if self.continuation.learned(session_id, transcript):
            self._on_session(session_id)

    def answered(self) -> None:
        """A turn of it has been answered."""
        if self.recovery is not None:
            self.recovery.talked()

    def judged(self, exit: Exit) -> Exit:
        """The end of a life, for what it is: one that was not able to resume has failed, whatever it says."""
        resuming, self._resuming = self._resuming, None
        if self.recovery is None or resuming is None or not resuming.is_refused(exit):
            return exit
        self.recovery.refused(resuming.session_id)
        reason = f"{exit.reason}: it did not resume the conversation {resuming.session_id}"
        return attrs.evolve(exit, kind=ExitKind.ABNORMAL, reason=reason)
