"""A turn of a session: what was said, and what comes of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import anyio.lowlevel

from .messages import Message, ResultMessage
from .session_errors import TurnCutError

KEPT: Final = 10_000
"""Messages of a turn that are kept for whoever reads it later; of more the oldest are dropped, and counted."""

Content = str | Sequence[Mapping[str, Any]]
"""What can be said: a text, or content blocks as the API has them."""


class Turn:
    """A prompt, and what comes of it: an async iterator of its messages, the `ResultMessage` last. `ClaudeSession.send` makes it.

    What was read is not kept. Where the program ended in the middle of it the iterator raises `TurnCutError`, and `SessionEndedError` where
    the session did before its result. It can be cancelled at any time; no message is lost that was not handed out.

    Attributes:
        prompt: What was said.
        idempotent: Whether it is said again when it was cut.
        repeated: How often it was.
        dropped: Messages that nobody had read in time.
        is_claimed: Whether somebody has begun to read it, or never will.
    """

    def __init__(self, prompt: Content, line: bytes, *, idempotent: bool, wait: Callable[[Callable[[], bool]], Awaitable[None]]) -> None:
        self.prompt, self.idempotent, self.repeated, self.dropped = prompt, idempotent, 0, 0
        self.is_claimed = False
        self.line = line
        self._wait = wait
        self._messages: deque[Message] = deque()
        self._end: ResultMessage | None = None
        self._is_read = False

    @property
    def is_over(self) -> bool:
        """Whether its result is there."""
        return self._end is not None

    def __aiter__(self) -> Turn:
        return self

    async def __anext__(self) -> Message:
        self.is_claimed = True
        await anyio.lowlevel.checkpoint()
        if not self._messages:
            if self._is_read:
                raise StopAsyncIteration
            await self._wait(lambda: bool(self._messages))
        message = self._messages.popleft()
        if isinstance(message, ResultMessage):
            self._is_read = True
            if message.is_cut:
                raise TurnCutError(self.prompt)
        return message

    async def result(self) -> ResultMessage:
        """The end of this turn; what comes before it goes to nobody.

        Raises:
            TurnCutError: The program ended in the middle of it.
            SessionEndedError: The session ended before it had its result.

        **Cancellation:** at any time; it may be waited for again.
        """
        self.drop()
        await self._wait(lambda: self.is_over)
        assert self._end is not None
        if self._end.is_cut:
            raise TurnCutError(self.prompt)
        return self._end

    def drop(self) -> None:
        """Nobody wants more of it than its end."""
        self.is_claimed = self._is_read = True
        self._messages.clear()

    def take(self, message: Message) -> None:
        """Take in a message. For the session."""
        if isinstance(message, ResultMessage):
            self._end = message
        if self._is_read:
            return
        if len(self._messages) >= KEPT:
            self._messages.popleft()
            self.dropped += 1
        self._messages.append(message)
