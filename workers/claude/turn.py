"""What is known of the turns of one leaf: `heard` and `looked` take what was said and seen, and say until when that can be believed. Pure.

Hooks come first. An end is not believed before the answer is in the transcript: a program that is killed between the two would have
lost it. A turn that is interrupted, or that fails, ends without a hook: while one lasts and nothing is heard of it, the program's own
registry and the transcript are looked at.

A life is busy from its start: until it says that it is up where nobody has given it a prompt, else until that turn is over.
"""

from __future__ import annotations

from typing import Final

import attrs

from supervisor import Value, evolve

from .settings import BACKGROUND, PROMPTED, STARTED, STOPPED, USED

SETTLING: Final = 0.05
"""Seconds between looks for an answer in the transcript."""

NEXT: Final = 0.25
"""Seconds after the end of a turn within which a prompt that waits begins the next one; 2.0 tells of those in no other way."""

SETTLED: Final = 2.0
"""Seconds after which the end of a turn is believed without."""

STARTING: Final = 120.0
"""Seconds after which a life that has not said that it is up is busy no longer."""

QUIET: Final = 2.0
"""Seconds without news of a turn after which it is looked for elsewhere, and between such looks."""


@attrs.frozen(repr=False, eq=False)
class Turn(Value):
    """What is known. Times are monotonic, but for `began`.

    Attributes:
        is_busy: Whether a turn has begun and not ended, or tasks go on in the background.
        began: When it began, in seconds since the epoch.
        ended_at: When its end was heard of; None when it was not, or when its answer was seen since.
        waits_for: Whether tasks in the background go on.
        next_look: When to look elsewhere; None for never.
        quiet: How many looks in a row have found no turn.
        up_by: When a life that has said nothing yet is busy no longer; None when it has.
        is_prompted: Whether a prompt was given to that life, so that its turn follows.
        is_seen: Whether the registry alone says so: it works on what is no turn, as the summary of ``/compact``.
    """

    is_busy: bool = False
    began: float = 0.0
    ended_at: float | None = None
    waits_for: bool = False
    next_look: float | None = None
    quiet: int = 0
    up_by: float | None = None
    is_prompted: bool = True
    is_seen: bool = False

    @property
    def has_begun(self) -> bool:
        """Whether a turn has begun, or must, and neither it nor what goes on behind it is known to be over."""
        return self.is_busy and not self.is_seen and (self.up_by is None or self.is_prompted)

    @property
    def is_in_turn(self) -> bool:
        """Whether a turn has begun, or must, and its end was not heard of."""
        return self.has_begun and self.ended_at is None and not self.waits_for


def starting(is_prompted: bool, now: float) -> Turn:
    """A life begins at `now`, with a prompt or without."""
    return Turn(is_busy=True, next_look=now + STARTING, up_by=now + STARTING, is_prompted=is_prompted)


@attrs.frozen(repr=False, eq=False)
class Seen(Value):
    """What was found elsewhere.

    Attributes:
        status: What the registry says: idle, busy, or None where it says nothing.
        is_answered: Whether the transcript ends with what ends a turn, said since the turn began, and no prompt waits.
        works_on: Whether the program is seen to work on although nothing says so: in the transcript of a life without hooks, or in
            what goes on behind a turn of a build that does not tell of it.
    """

    status: str | None
    is_answered: bool
    works_on: bool = False


def heard(turn: Turn, event: str, now: float, wall: float) -> Turn:
    """Take what a hook said at `now`; `wall` is the time since the epoch."""
    if event == PROMPTED or (event == USED and not (turn.is_busy and not turn.is_seen)):
        return Turn(is_busy=True, began=wall, next_look=now + QUIET)
    if event == STARTED and turn.up_by is not None and not turn.is_prompted:
        return Turn()
    turn = evolve(turn, up_by=None) if turn.up_by is not None else turn
    if event == USED:
        return evolve(turn, ended_at=None, waits_for=False, next_look=now + QUIET, quiet=0)
    if event == STOPPED and turn.is_busy:
        return evolve(turn, ended_at=now, waits_for=False, next_look=now, quiet=0)
    if event == BACKGROUND and turn.is_busy:
        return evolve(turn, ended_at=None, waits_for=True, next_look=None, quiet=0)
    if event == STARTED and turn.is_busy:
        return evolve(turn, began=turn.began or wall, next_look=now + QUIET)
    return turn


def looked(turn: Turn, seen: Seen, now: float, *, waiting: float = NEXT) -> Turn:
    """Take what was found elsewhere at `now`; a prompt that waits begins the next turn within `waiting` seconds."""
    if turn.up_by is not None:
        return Turn() if now >= turn.up_by else evolve(turn, next_look=turn.up_by)
    if not turn.is_busy and seen.status == "busy":
        return Turn(is_busy=True, next_look=now + QUIET, is_seen=True)
    if not turn.is_busy or turn.waits_for:
        return evolve(turn, next_look=None)
    if turn.ended_at is not None:
        since = now - turn.ended_at
        if seen.works_on and seen.status is None and since >= waiting:
            return evolve(turn, next_look=now + QUIET)
        if since >= (waiting if seen.is_answered else SETTLED):
            return Turn()
        return evolve(turn, next_look=now + SETTLING)
    over = seen.status == "idle" or (seen.status is None and ((seen.is_answered and not seen.works_on) or turn.is_seen))
    if over and turn.quiet:
        return Turn()  # twice in a row: the registry lags behind
    return evolve(turn, next_look=now + QUIET, quiet=turn.quiet + 1 if over else 0)


def seen_alone(turn: Turn, seen: Seen, now: float) -> Turn:
    """Take what was found at `now` where no hooks tell: the registry's word, else the transcript's; an end has to be seen twice."""
    busy = seen.status != "idle" if seen.status is not None else seen.works_on
    if turn.is_busy and not busy and not turn.quiet:
        return evolve(turn, next_look=now + QUIET, quiet=1)
    return Turn(is_busy=busy, next_look=now + QUIET)
