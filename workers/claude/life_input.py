"""What the lives of one leaf read: what the user types, lines that are passed on to them, or a prompt that came through a pipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from supervisor import Exit, Handle, Launch, Ticket, Value

from .piped import PipedPrompt
from .stream import ClaudeStream

if TYPE_CHECKING:
    from ..degradation.adapter import Made
    from .arguments import Arguments
    from .continuation import Life


@attrs.frozen(repr=False, eq=False)
class LifeInput(Value):
    """Whether somebody reads our own standard input for them; neither where it is theirs.

    Attributes:
        stream: What is said to them in lines.
        piped: The prompt that they are told.
    """

    stream: ClaudeStream | None = None
    piped: PipedPrompt | None = None

    @property
    def other(self) -> str | None:
        """The standard input of a life that cannot be told what is read, as of `command`; None for what is configured."""
        return None if self.stream is None and self.piped is None else "null"

    @property
    def is_busy(self) -> bool:
        """Whether lines say that a turn is under way."""
        return self.stream is not None and self.stream.is_busy

    def begin(self, life: Life, arguments: Arguments, made: Made, judge: Callable[[Exit], Exit], ticket: Ticket) -> Handle:
        """Start a life.

        Args:
            life: The life.
            arguments: Of its command.
            made: Makes what starts it.
            judge: Judges its end.
            ticket: Of the life.

        Raises:
            OSError: As of the command, or out of descriptors.
        """

        def with_pipes(stdin: int, stdout: int) -> Launch:
            return made(life.argv, judge, stdin=stdin, stdout=stdout)

        if self.stream is not None and arguments.streams:
            return self.stream.begin(with_pipes, ticket, how=life.how, session_id=life.session_id)
        if self.piped is not None and arguments.is_one_turn:
            return self.piped.begin(lambda stdin: made(life.argv, judge, stdin=stdin), ticket, anew=life.is_anew)
        # what comes through our own input is read for another command than this one has become
        return made(life.argv, judge, stdin=self.other).launch(ticket)
