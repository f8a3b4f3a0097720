"""What goes wrong with a session, for whoever talks in it."""

from __future__ import annotations

from supervisor import Exit


class SessionError(Exception):
    """Something is wrong with a session of Claude Code."""


class TurnCutError(SessionError):
    """The program ended in the middle of this turn; the session goes on, but nothing will answer it.

    What the turn had done by then is done. It was not said again, because it was not declared idempotent, or had ended too many lives.

    Attributes:
        prompt: What was said, as it was given to `ClaudeSession.send`.
    """

    def __init__(self, prompt: object) -> None:
        self.prompt = prompt
        super().__init__("the program ended in the middle of this turn, which is not said again")

    def __reduce__(self) -> tuple[type[TurnCutError], tuple[object]]:
        return type(self), (self.prompt,)


class SessionEndedError(SessionError):
    """The session is over, and what was asked of it gets no answer.

    Attributes:
        exit: How its last life ended; None where there was none.
    """

    def __init__(self, exit: Exit | None = None) -> None:
        self.exit = exit
        super().__init__("the session is over" + ("" if exit is None else f": {exit.reason}"))

    def __reduce__(self) -> tuple[type[SessionEndedError], tuple[Exit | None]]:
        return type(self), (self.exit,)


class RequestTimeoutError(SessionError):
    """A control request was not answered in time: 2.0.77 answers none that it does not know.

    Attributes:
        subtype: What was asked.
        seconds: How long an answer was waited for.
    """

    def __init__(self, subtype: str, seconds: float) -> None:
        self.subtype, self.seconds = subtype, seconds
        super().__init__(f"{subtype}: no answer within {seconds:g} s")

    def __reduce__(self) -> tuple[type[RequestTimeoutError], tuple[str, float]]:
        return type(self), (self.subtype, self.seconds)


class RequestFailedError(SessionError):
    """A control request was refused, or the program ended before it answered.

    Attributes:
        subtype: What was asked.
        reason: Why, as the program says it.
    """

    def __init__(self, subtype: str, reason: str) -> None:
        self.subtype, self.reason = subtype, reason
        super().__init__(f"{subtype}: {reason}")

    def __reduce__(self) -> tuple[type[RequestFailedError], tuple[str, str]]:
        return type(self), (self.subtype, self.reason)
