"""What a benchmark yields: figures with what they are compared with, and the statistics that make them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from enum import Enum
from time import perf_counter_ns
from typing import Any, TypeVar

import attrs

T = TypeVar("T")


class Effort(Enum):
    """How long to measure."""

    FULL = "full"
    QUICK = "quick"
    SMOKE = "smoke"
    """Only enough to see that a benchmark still runs; its figures mean nothing."""

    def pick(self, full: T, quick: T, smoke: T) -> T:
        """The value for this effort."""
        return {Effort.FULL: full, Effort.QUICK: quick, Effort.SMOKE: smoke}[self]


@attrs.frozen
class Summary:
    """Samples, condensed. All fields but `count` are in the unit of the figure."""

    median: float
    p99: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Summary:
        """Condense samples, at least one."""
        ordered = sorted(samples)
        p99 = ordered[min(len(ordered) - 1, math.ceil(0.99 * len(ordered)) - 1)]
        return cls(statistics.median(ordered), p99, ordered[0], ordered[-1], len(ordered))


@attrs.frozen
class Peer:
    """What a figure is compared with: a floor (the same thing without us) or somebody else's way."""

    name: str
    value: Summary


@attrs.frozen
class Target:
    """What a figure must reach. `limit` is in the figure's unit."""

    text: str
    limit: float


@attrs.frozen
class Figure:
    """One row of the table.

    Attributes:
        peers: The first one is what the target, if relative, refers to.
    """

    name: str
    unit: str
    ours: Summary
    peers: tuple[Peer, ...] = ()
    target: Target | None = None

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the target; None where there is none."""
        return None if self.target is None else self.ours.median <= self.target.limit

    def as_data(self) -> dict[str, Any]:
        """The figure as JSON data."""
        return {**attrs.asdict(self), "met": self.met}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Figure:
        """The opposite of `as_data`."""
        return cls(
            data["name"],
            data["unit"],
            Summary(**data["ours"]),
            tuple(Peer(peer["name"], Summary(**peer["value"])) for peer in data["peers"]),
            None if data["target"] is None else Target(**data["target"]),
        )


def at_most(limit: float, unit: str) -> Target:
    """An absolute target."""
    return Target(f"<= {limit:g} {unit}", limit)


def at_most_times(factor: float, peer: Peer) -> Target:
    """A target relative to a peer of the same run."""
    return Target(f"<= {factor:g} x {peer.name}", factor * peer.value.median)


def at_most_above(more: float, unit: str, peer: Peer) -> Target:
    """A target that is a distance from a peer of the same run."""
    return Target(f"<= {more:g} {unit} more than {peer.name}", peer.value.median + more)


def microseconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    began = perf_counter_ns()
    call()
    return (perf_counter_ns() - began) / 1000


def interleaved(calls: dict[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, Summary]:
    """Time several calls in turns, so that a neighbour's load falls on all of them alike.

    Args:
        calls: By name: what to call, and how often in each round.
        rounds: How many rounds count; one more goes before them.

    Returns:
        Microseconds a call, by name.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, (call, times) in calls.items():
            taken = [microseconds(call) for _ in range(times)]
            if number:
                samples[name] += taken
    return {name: Summary.of(values) for name, values in samples.items()}


def per_item(calls: dict[str, Callable[[], object]], items: int, rounds: int) -> dict[str, Summary]:
    """As `interleaved`, for calls that each do something `items` times: microseconds an item."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            taken = microseconds(call) / items
            if number:
                samples[name].append(taken)
    return {name: Summary.of(values) for name, values in samples.items()}
