"""Which of several ways to read memory is in use: the best that works.

One that failed is tried again after a pause, which doubles while it keeps failing, so that two of them do not alternate. Nothing here
reads a clock or memory.
"""

from __future__ import annotations

import math
from typing import Final

import attrs

from supervisor import Value

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
SETTLED: Final = 60.0
"""Seconds for which one must have worked before its failures are forgotten."""


@attrs.frozen(repr=False, eq=False)
class Record(Value):
    """What is remembered of one: the `pause` in seconds after its last failure (0: none is remembered), and when that is over."""

    pause: float = 0.0
    not_before: float = -math.inf


@attrs.frozen(repr=False, eq=False)
class Succession(Value):
    """The ways, best first, by their places.

    Attributes:
        records: One for each.
        current: The place of the one in use; None when none works.
        since: Since when it is in use, monotonic.
    """

    records: tuple[Record, ...]
    current: int | None = 0
    since: float = -math.inf


def succession(count: int) -> Succession:
    """Of so many ways, at least one; the best is in use until it fails."""
    return Succession((Record(),) * count)


def order(state: Succession, now: float) -> tuple[int, ...]:
    """The places to try for the next reading, until one works: better ones whose pause is over, the current one, worse ones, the rest."""
    places = range(len(state.records))
    if state.current is None:
        return tuple(places)
    better = [place for place in places[: state.current] if state.records[place].not_before <= now]
    rest = [place for place in places[: state.current] if place not in better]
    return (*better, *places[state.current :], *rest)


def failed(state: Succession, place: int, now: float) -> Succession:
    """One could not read."""
    pause = min(max(FIRST_PAUSE, 2 * state.records[place].pause), LONGEST_PAUSE)
    return attrs.evolve(state, records=_replaced(state, place, Record(pause, now + pause)))


def worked(state: Succession, place: int, now: float) -> Succession:
    """One could read: it is the current one now."""
    if place != state.current:
        return attrs.evolve(state, current=place, since=now)
    if state.records[place].pause and now - state.since >= SETTLED:
        return attrs.evolve(state, records=_replaced(state, place, Record()))
    return state


def blinded(state: Succession) -> Succession:
    """None could read."""
    return attrs.evolve(state, current=None)


def _replaced(state: Succession, place: int, record: Record) -> tuple[Record, ...]:
    return (*state.records[:place], record, *state.records[place + 1 :])
