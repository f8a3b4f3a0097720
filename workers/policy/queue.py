"""Who restarts now and who waits, where many leaves want a restart at the same time. Pure.

Each restart restarts a program that takes its time, and captures state: of all leaves together only so many may at once. An urgent one
cannot wait, so it goes before all others and beyond the limit; while it lasts it counts like any other.
"""

from __future__ import annotations

from typing import Final

import attrs

from supervisor import Value

UNLIMITED: Final = 0


@attrs.frozen(repr=False, eq=False)
class Waiting(Value):
    """A restart that waits for its turn.

    Attributes:
        number: Its number; later ones have higher numbers.
        total_bytes: What its leaf weighs; 0 is unknown.
        urgent: Whether it cannot wait.
    """

    number: int
    total_bytes: int = 0
    urgent: bool = False


@attrs.frozen(repr=False, eq=False)
class RestartQueue(Value):
    """Those under way, and those that wait, in the order in which they go."""

    under_way: frozenset[int] = frozenset()
    waiting: tuple[Waiting, ...] = ()


def join(queue: RestartQueue, one: Waiting) -> RestartQueue:
    """One more waits: urgent ones first, then the largest, then whoever came first. It takes the place of what waits under its number."""
    others = [other for other in queue.waiting if other.number != one.number]
    return attrs.evolve(queue, waiting=tuple(sorted([*others, one], key=_order)))


def leave(queue: RestartQueue, number: int) -> RestartQueue:
    """One is over, or does not wait any more."""
    waiting = tuple(one for one in queue.waiting if one.number != number)
    return attrs.evolve(queue, under_way=queue.under_way - {number}, waiting=waiting)


def admit(queue: RestartQueue, at_once: int) -> tuple[RestartQueue, tuple[int, ...]]:
    """Let those begin that may.

    Args:
        queue: The queue.
        at_once: How many restarts may be under way; `UNLIMITED` for any number.

    Returns:
        The queue without them among those that wait, and their numbers in the order in which they go.
    """
    urgent = sum(one.urgent for one in queue.waiting)
    room = len(queue.waiting) if at_once == UNLIMITED else max(0, at_once - len(queue.under_way))
    going = tuple(one.number for one in queue.waiting[: max(urgent, room)])
    return RestartQueue(queue.under_way | set(going), queue.waiting[len(going) :]), going


def _order(one: Waiting) -> tuple[bool, int, int]:
    return not one.urgent, -one.total_bytes, one.number
