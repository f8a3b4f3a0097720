"""Which of the hooks that are heard become events of the stream, and how many a second at most. Pure: time is an argument."""

from __future__ import annotations

from typing import Final

import attrs

from supervisor import Value

from ..config import ClaudeEvents
from ..event_conversation import ClaudeHook
from .settings import BACKGROUND, STOPPED, USED

RATE: Final = 20.0
"""Events a second in the long run, for each leaf."""

BURST: Final = 100.0
"""Events that may come at once after a pause."""


@attrs.frozen(repr=False, eq=False)
class Allowance(Value):
    """How many events may come now: a bucket of `BURST` tokens, into which `RATE` of them drop each second.

    Attributes:
        tokens: How many there are.
        at: When that was so, monotonic.
        missed: How many hooks found none since the last that did.
    """

    tokens: float = BURST
    at: float = 0.0
    missed: int = 0

    def spend(self, now: float) -> tuple[Allowance, bool]:
        """Take a token, if there is one; whether there was."""
        tokens = min(BURST, self.tokens + max(0.0, now - self.at) * RATE)
        if tokens < 1:
            return Allowance(tokens, now, self.missed + 1), False
        return Allowance(tokens - 1, now), True


def hook_event(
    wanted: ClaudeEvents, allowance: Allowance, heard: str, tool: str | None, session_id: str | None, now: float
) -> tuple[Allowance, ClaudeHook | None]:
    """The event of a hook, for a path that is still to be said; None where it is none.

    Args:
        wanted: Which are.
        allowance: How many may come.
        heard: What the hook said it is.
        tool: The tool, where it said that.
        session_id: The conversation.
        now: Monotonic.
    """
    if wanted is ClaudeEvents.OFF or (wanted is ClaudeEvents.TURNS and heard == USED):
        return allowance, None
    left, admitted = allowance.spend(now)
    if not admitted:
        return left, None
    background = heard == BACKGROUND
    return left, ClaudeHook((), STOPPED if background else heard, tool, session_id, background, allowance.missed)
