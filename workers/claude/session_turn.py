"""A turn of a session: what was said, and what comes of it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from .messages import Message, ResultMessage
from .session_errors import TurnCutError

KEPT: Final = 10_000
"""Messages of a turn that are kept for whoever reads it later; of more the oldest are dropped, and counted."""

Content = str | Sequence[Mapping[str, Any]]
"""What can be said: a text, or content blocks as the API has them."""


class Turn:
    """A prompt, and what comes of it. `ClaudeSession.send` makes it.

    Attributes:
        prompt: What was said.
        idempotent: Whether it is said again when it was cut.
        repeated: How often it was.
        dropped: Messages that nobody had read in time.
    """

    def __init__(self, prompt: Content, line: bytes, *, idempotent: bool, wait: Callable[[Callable[[], bool]], Awaitable[None]]) -> None:
        self.prompt, self.idempotent, self.repeated, self.dropped = prompt, idempotent, 0, 0
        self.line = line
        self._wait = wait
        self._messages: deque[Message] = deque()
        self._end: ResultMessage | None = None
        self._unread = False

    @property
    def is_over(self) -> bool:
        """Whether its result is there."""
        return self._end is not None

    async def replies(self) -> AsyncIterator[Message]:
        """The messages of this turn, its `ResultMessage` last. What was read is not kept.

        Raises:
            TurnCutError: The program ended in the middle of it.
            SessionEndedError: The session ended before it had its result.

        **Cancellation:** at any time; no message is lost that was not handed out. Whoever stops reading gets no more of it.
        """
        try:
            while True:
                await self._wait(lambda: bool(self._messages) or self.is_over)
                if not self._messages:
                    return
                message = self._messages.popleft()
                if isinstance(message, ResultMessage) and message.is_cut:
                    raise TurnCutError(self.prompt)
                yield message
        finally:
            self._unread = True
            self._messages.clear()

    async def result(self) -> ResultMessage:
        """The end of this turn; what comes before it goes to nobody.

        Raises:
            TurnCutError: The program ended in the middle of it.
            SessionEndedError: The session ended before it had its result.

        **Cancellation:** at any time; it may be waited for again.
        """
        self._unread = True
        self._messages.clear()
        await self._wait(lambda: self.is_over)
        assert self._end is not None
        if self._end.is_cut:
            raise TurnCutError(self.prompt)
        return self._end

    def take(self, message: Message) -> None:
        """Take in a message. For the session."""
        if isinstance(message, ResultMessage):
            self._end = message
        if self._unread:
            return
        if len(self._messages) >= KEPT:
            self._messages.popleft()
            self.dropped += 1
        self._messages.append(message)
