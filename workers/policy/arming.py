"""At which totals the kernel is to wake the guardian, and how often it may: pure, like everything in here.

The kernel tells of what is charged to a cgroup, which is more than what counts: page cache, shared memory and the kernel's own are in it
as well. So the marks are moved up by what does not count, each wake is confirmed by reading what counts, and marks that have drifted
are set anew. A wake that could not be confirmed takes them away for a while: a program that reads files cannot make us spin.
"""

from __future__ import annotations

import math
from typing import Final

import attrs

from supervisor import Value

from .pressure import LEVELS, Thresholds

LATE: Final = 256 * 1024
"""Bytes by which a mark is set too high: the kernel counts in batches, and a wake just before a crossing confirms nothing."""

NEAR: Final = 4 * 1024 * 1024
"""Bytes before a crossing at which it is worth to look again at once."""

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
_DRIFT: Final = 4 * 1024 * 1024


@attrs.frozen(repr=False, eq=False)
class Marks(Value):
    """What the kernel was asked to tell.

    Attributes:
        totals: The totals at which levels begin, ascending.
        charges: What is charged to the cgroup at these, and where so much was given back that they have to be set anew; ascending.
        besides: What was charged and does not count when they were set.
    """

    totals: tuple[int, ...]
    charges: tuple[int, ...]
    besides: int


def marks(thresholds: Thresholds, total: int, charged: int) -> Marks:
    """Where to wake: at every level, of those above the total by what has to be charged until then.

    Levels below are in it too: whoever falls below one comes back to it.
    """
    besides = max(0, charged - total)
    totals = tuple(thresholds.enter_bytes(level) for level in LEVELS[1:])
    # the tables of the pages that are still to come are charged too: eight bytes for each
    charges = [at + besides + LATE + max(0, at - total) // 512 for at in totals]
    less = total + besides - _tolerance(totals, total)
    # less page cache than now, and the marks would lie beyond their crossings
    return Marks(totals, tuple(sorted([less, *charges] if besides and less > 0 else charges)), besides)


def has_drifted(armed: Marks, total: int, charged: int) -> bool:
    """Whether a crossing would be told too early or too late by more than it is worth to set the marks again."""
    drift = abs(max(0, charged - total) - armed.besides)
    return drift > _DRIFT and drift > _tolerance(armed.totals, total)  # the second is never less than the first, and dearer


def is_spent(armed: Marks, total: int, charged: int) -> bool:
    """Whether a mark has told of its level before that was reached: it does not tell again when it is."""
    return any(at > total and charged >= at + armed.besides for at in armed.totals)


def _tolerance(totals: tuple[int, ...], total: int) -> int:
    return max(_DRIFT, min((at - total for at in totals if at > total), default=total) // 8)


def is_near(thresholds: Thresholds, total: int) -> bool:
    """Whether the next level is so near that it is about to be crossed."""
    return any(0 < thresholds.enter_bytes(level) - total <= NEAR for level in LEVELS[1:])


@attrs.frozen(repr=False, eq=False)
class Patience(Value):
    """How soon marks may be set again: `pause` seconds after the last wake for nothing; `not_before` is when that is over."""

    pause: float = 0.0
    not_before: float = -math.inf


def disappointed(patience: Patience, now: float) -> Patience:
    """A wake was for nothing: each time in a row the pause doubles."""
    settled = now - patience.not_before > LONGEST_PAUSE
    pause = FIRST_PAUSE if settled or not patience.pause else min(2 * patience.pause, LONGEST_PAUSE)
    return Patience(pause, now + pause)
