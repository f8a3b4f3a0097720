"""What the guardian does when the host runs out of memory: it gives up one of its own leaves before the kernel chooses for it.

Pure: `step(guard, seen, candidates, now) -> (guard, effects)`. The levels are those of a leaf's memory, of the memory that the host (or the
container around us) has left, or of the time for which all its tasks waited for memory at once (PSI).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import attrs

from supervisor import Value

from .errors import InvalidPolicy
from .pressure import LEVELS, MemoryState
from .text import mib

RATE_WINDOW: Final = 60.0
"""Seconds for which a fast fall of the available memory is expected to come again."""


@attrs.frozen(repr=False, eq=False)
class HostLimits(Value):
    """When the host is short.

    Attributes:
        warning_bytes: Available memory at which it is told, 0 for never.
        critical_bytes: At which nothing is started any more, and what has grown is restarted; below `warning_bytes`.
        emergency_bytes: At which it is restarted although it may have grown little; below `critical_bytes`.
        warning_stall: Share of the time that everything waited for memory (PSI full avg10) above which it is told, 0 to 1.
        critical_stall: Above which, for `stall_period` seconds, it is as short as at `critical_bytes`.
        stall_period: See there.
        pause: Seconds after a choice before the next one: what it gives back is seen only then.
        leave_ratio: A level is left only this much above its limit, or below its stall.
        fastest: The shortest time between two looks while the host is short.
        slowest: The longest while it is.

    Raises:
        InvalidPolicy: A value is out of range, or the order is wrong.
    """

    warning_bytes: int
    critical_bytes: int
    emergency_bytes: int
    warning_stall: float = 0.10
    critical_stall: float = 0.20
    stall_period: float = 10.0
    pause: float = 15.0
    leave_ratio: float = 0.10
    fastest: float = 0.1
    slowest: float = 3.0

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.emergency_bytes <= self.critical_bytes <= self.warning_bytes:
            marks = (self.warning_bytes, self.critical_bytes, self.emergency_bytes)
            raise InvalidPolicy("warning_bytes, critical_bytes, emergency_bytes", marks, "bytes >= 0, none above the one before")
        if not 0 < self.warning_stall <= self.critical_stall <= 1:
            raise InvalidPolicy("critical_stall", self.critical_stall, f"a ratio from warning_stall ({self.warning_stall}) to 1")
        for name in ("stall_period", "pause", "leave_ratio"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidPolicy(name, getattr(self, name), "a number >= 0")
        if not 0 < self.fastest <= self.slowest < math.inf:
            raise InvalidPolicy("fastest", self.fastest, f"seconds > 0, at most slowest ({self.slowest})")

    def enter_bytes(self, level: MemoryState) -> int:
        """The available memory at which a level above normal begins."""
        return (0, self.warning_bytes, self.critical_bytes, self.emergency_bytes)[level.rank]


def host_limits(total_bytes: int, *, warning: float = 0.20, critical: float = 0.15, emergency: float = 0.10) -> HostLimits:
    """Limits as shares of the host's memory."""
    return HostLimits(int(total_bytes * warning), int(total_bytes * critical), int(total_bytes * emergency))


@attrs.frozen(repr=False, eq=False)
class HostSeen(Value):
    """One look at the host's memory; what is unknown is None.

    Attributes:
        available_bytes: What programs can still have without swapping.
        total_bytes: What there is.
        stall: PSI ``full avg10`` as a ratio.
    """

    available_bytes: int | None = None
    total_bytes: int | None = None
    stall: float | None = None


@attrs.frozen(repr=False, eq=False)
class Candidate(Value):
    """A leaf that could be restarted.

    Attributes:
        name: The agent's.
        total_bytes: What it holds.
        grown_bytes: What of this it did not hold when it began: a restart gives that back, and no more.
        idle: Whether it is between turns.
    """

    name: str
    total_bytes: int
    grown_bytes: int
    idle: bool = True


@attrs.frozen(repr=False, eq=False)
class HostGuard(Value):
    """What is known of the host. Times are monotonic seconds.

    Attributes:
        by_memory: The level of what is available; normal before the first look.
        by_stall: The level of the waiting.
        seen: The latest look; None before the first.
        at: When that was.
        fall: The fastest fall of the available memory within `RATE_WINDOW`, as (time, bytes per second); None when there was none.
        stalled_since: Since when it has stalled more than `critical_stall`; None while it has not.
        chosen_at: When a leaf was chosen last.
        reason: Why the level is what it is, in words.
    """

    by_memory: MemoryState = MemoryState.NORMAL
    by_stall: MemoryState = MemoryState.NORMAL
    seen: HostSeen | None = None
    at: float = -math.inf
    fall: tuple[float, float] | None = None
    stalled_since: float | None = None
    chosen_at: float = -math.inf
    reason: str = ""

    @property
    def level(self) -> MemoryState:
        """How short the host is of memory: the worse of the two."""
        return max(self.by_memory, self.by_stall, key=lambda level: level.rank)

    @property
    def is_short(self) -> bool:
        """Whether nothing may be started that need not be."""
        return self.level.reaches(MemoryState.CRITICAL)


@attrs.frozen(repr=False, eq=False)
class HostLevelChanged(Value):
    """Say that the level changed, and why."""

    old: MemoryState
    new: MemoryState
    reason: str


@attrs.frozen(repr=False, eq=False)
class Choose(Value):
    """A restart of this leaf is due now, because the host is short."""

    name: str
    reason: str


HostEffect = HostLevelChanged | Choose


def step(
    guard: HostGuard, seen: HostSeen, candidates: Iterable[Candidate], limits: HostLimits, now: float
) -> tuple[HostGuard, tuple[HostEffect, ...]]:
    """Take one look at `now`.

    Args:
        guard: What was known.
        seen: The look.
        candidates: The leaves that run, and of which no restart is due or under way.
        limits: When the host is short.
        now: Monotonic seconds.

    Returns:
        What is known, and what is to be done.
    """
    stalls = seen.stall is not None and seen.stall > limits.critical_stall
    since = (now if guard.stalled_since is None else guard.stalled_since) if stalls else None
    stalled = since is not None and now - since >= limits.stall_period
    old = guard.level
    guard = attrs.evolve(
        guard,
        by_memory=_by_memory(guard.by_memory, seen.available_bytes, limits),
        by_stall=_by_stall(guard.by_stall, seen.stall, limits, stalled=stalled),
        seen=seen,
        at=now,
        fall=_fall(guard, seen, now),
        stalled_since=since,
    )
    effects: list[HostEffect] = []
    reason = _reason(guard, seen)
    if guard.level is not old:
        effects.append(HostLevelChanged(old, guard.level, reason))
        guard = attrs.evolve(guard, reason=reason)
    if guard.is_short and now - guard.chosen_at >= limits.pause:
        chosen = choose(candidates, guard.level, seen.total_bytes)
        if chosen is not None:
            effects.append(Choose(chosen.name, f"{reason}, and of {mib(chosen.total_bytes)} this has grown by {mib(chosen.grown_bytes)}"))
            guard = attrs.evolve(guard, chosen_at=now)
    return guard, tuple(effects)


def choose(candidates: Iterable[Candidate], level: MemoryState, total_bytes: int | None) -> Candidate | None:
    """The leaf whose restart gives back the most; one that is between turns goes first. None where it would give back next to nothing.

    Next to nothing is less than a hundredth of the host's memory, in an emergency less than a thousandth: for less a restart costs
    more than it gives.
    """
    share = 1000 if level is MemoryState.EMERGENCY else 100
    least = max(1, (total_bytes or 0) // share)
    worth = [one for one in candidates if one.grown_bytes >= least and (one.idle or level is MemoryState.EMERGENCY)]
    return max(worth, key=lambda one: (one.idle, one.grown_bytes), default=None)


def period(guard: HostGuard, limits: HostLimits, normal: float, now: float) -> float:
    """Seconds until the next look: `normal`, or sooner where the memory falls fast or is short.

    The time in which the fastest recent fall reaches the next level; while the host is short, and there is a level to reach, between
    `HostLimits.fastest` and `HostLimits.slowest`.
    """
    calm = guard.level is MemoryState.NORMAL
    longest = normal if calm else min(normal, limits.slowest)
    available = None if guard.seen is None else guard.seen.available_bytes
    if available is None or guard.fall is None or now - guard.fall[0] > RATE_WINDOW:
        return longest
    below = 0 if guard.level is MemoryState.EMERGENCY else limits.enter_bytes(LEVELS[guard.level.rank + 1])
    return min(longest, max(limits.fastest, (available - below) / guard.fall[1]))


def _by_memory(held: MemoryState, available_bytes: int | None, limits: HostLimits) -> MemoryState:
    if available_bytes is None:
        return held  # blind is not well
    for level in reversed(LEVELS[1:]):
        mark = limits.enter_bytes(level)
        if mark and available_bytes <= (mark * (1 + limits.leave_ratio) if held.reaches(level) else mark):
            return level
    return MemoryState.NORMAL


def _by_stall(held: MemoryState, stall: float | None, limits: HostLimits, *, stalled: bool) -> MemoryState:
    if stall is None:
        return held
    stays = 1 - limits.leave_ratio
    if stalled or (held is MemoryState.CRITICAL and stall > limits.critical_stall * stays):
        return MemoryState.CRITICAL
    bound = limits.warning_stall * (1 if held is MemoryState.NORMAL else stays)
    return MemoryState.WARNING if stall > bound else MemoryState.NORMAL


def _reason(guard: HostGuard, seen: HostSeen) -> str:
    if guard.level is MemoryState.NORMAL:
        return "the host has memory again"
    if guard.by_stall.rank > guard.by_memory.rank and seen.stall is not None:
        return f"everything on the host waited for memory {seen.stall:.0%} of the time"
    if not seen.total_bytes or seen.available_bytes is None:
        return f"the host has {mib(seen.available_bytes)} of memory left"
    return f"the host has {seen.available_bytes / seen.total_bytes:.0%} of its memory left"


def _fall(guard: HostGuard, seen: HostSeen, now: float) -> tuple[float, float] | None:
    before = None if guard.seen is None else guard.seen.available_bytes
    kept = guard.fall if guard.fall is not None and now - guard.fall[0] <= RATE_WINDOW else None
    if before is None or seen.available_bytes is None or now <= guard.at or seen.available_bytes >= before:
        return kept
    rate = (before - seen.available_bytes) / (now - guard.at)
    return (now, rate) if kept is None or rate >= kept[1] else kept
