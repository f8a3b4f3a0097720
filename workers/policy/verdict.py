"""Whether the host is in a state to work in: `step(verdict, readings, limits) -> verdict`, with the reasons in words.

Each reading is judged by itself, with a band between entering and leaving, and what is merely bad must be so twice in a row before
it counts, and well twice in a row before it does not: one busy moment is no news. Unknown readings change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import attrs

from supervisor import Value, format_bytes

from .errors import InvalidPolicy
from .health import Health as Health

LOOKS: Final = 2
"""Looks in a row that are needed to enter or leave a state; the worst state is entered at once."""


@attrs.frozen(repr=False, eq=False)
class HealthLimits(Value):
    """What is too much. Ratios are 0 to 1.

    Attributes:
        cpu: Share of all processors that is busy.
        memory: Share of the memory that is in use.
        disk: Share of a file system that is in use, where less than `disk_ample_bytes` are free.
        disk_free_bytes: Free bytes of a file system below which it is degraded; a tenth of that is unhealthy.
        disk_ample_bytes: See `disk`.
        open_files: Share of the descriptors that a process, or the host, may have open.
        threads: Share of the host's threads.
        leave: Ratio by which a reading must be better than its limit to be well again.

    Raises:
        InvalidPolicy: A value is out of range.
    """

    cpu: float = 0.80
    memory: float = 0.90
    disk: float = 0.90
    disk_free_bytes: int = 1 << 30
    disk_ample_bytes: int = 20 << 30
    open_files: float = 0.80
    threads: float = 0.80
    leave: float = 0.05

    def __attrs_post_init__(self) -> None:
        for name in ("cpu", "memory", "disk", "open_files", "threads"):
            if not 0 < getattr(self, name) <= 1:
                raise InvalidPolicy(name, getattr(self, name), "a ratio above 0, at most 1")
        if not 0 <= self.leave < 1:
            raise InvalidPolicy("leave", self.leave, "a ratio from 0 to below 1")
        for name in ("disk_free_bytes", "disk_ample_bytes"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 0:
                raise InvalidPolicy(name, getattr(self, name), "bytes >= 0")


@attrs.frozen(repr=False, eq=False)
class Share(Value):
    """How much of something is used.

    Attributes:
        what: What it is, as in "cpu", "memory", "open files of claude"; the same at every look.
        limit: The name of its field of `HealthLimits`.
        used: Ratio 0 to 1; None when it is unknown.
    """

    what: str
    limit: str
    used: float | None


@attrs.frozen(repr=False, eq=False)
class Space(Value):
    """A file system; what is unknown is None.

    Attributes:
        what: What is on it, as in "state directory"; the same at every look.
        total_bytes: Its size.
        free_bytes: What is free for us.
    """

    what: str
    total_bytes: int | None
    free_bytes: int | None


Reading = Share | Space


@attrs.frozen(repr=False, eq=False)
class Judged(Value):
    """One reading over time.

    Attributes:
        health: What it counts as.
        text: Why, in words.
        differs: How many looks in a row have found something better, or something worse, than what it counts as; negative for better.
    """

    health: Health = Health.HEALTHY
    text: str = ""
    differs: int = 0


@attrs.frozen(repr=False, eq=False)
class Verdict(Value):
    """What is known of the host.

    Attributes:
        judged: By what was read.
    """

    judged: tuple[tuple[str, Judged], ...] = ()

    @property
    def health(self) -> Health:
        """The worst of all."""
        return max((one.health for _, one in self.judged), key=lambda health: health.rank, default=Health.HEALTHY)

    @property
    def lasting(self) -> Judged:
        """The worst of all but the processors: those are busy whenever somebody builds something, and nothing need be given up for that."""
        return max((one for what, one in self.judged if what != "cpu"), key=lambda one: one.health.rank, default=Judged())

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not healthy, the worst first; empty when it is."""
        bad = sorted((one for _, one in self.judged if one.health is not Health.HEALTHY), key=lambda one: -one.health.rank)
        return tuple(one.text for one in bad)


@attrs.frozen(repr=False, eq=False)
class HealthChange(Value):
    """The verdict changed."""

    old: Health
    new: Health
    reasons: tuple[str, ...]


def step(verdict: Verdict, readings: Iterable[Reading], limits: HealthLimits) -> tuple[Verdict, HealthChange | None]:
    """Take one look.

    A reading that is not there any more (a leaf has ended, a path is on another file system) is forgotten.

    Returns:
        The verdict, and the change if there was one.
    """
    known = dict(verdict.judged)
    after = Verdict(tuple((one.what, _judge(known.get(one.what, Judged()), one, limits)) for one in readings))
    changed = after.health is not verdict.health
    return after, HealthChange(verdict.health, after.health, after.reasons) if changed else None


def _judge(held: Judged, reading: Reading, limits: HealthLimits) -> Judged:
    found = _share(held, reading, limits) if isinstance(reading, Share) else _space(held, reading, limits)
    if found is None:
        return attrs.evolve(held, differs=0)
    health, text = found
    if health is held.health:
        return Judged(health, text)
    worse = health.rank > held.health.rank
    differs = (max(held.differs, 0) + 1) if worse else (min(held.differs, 0) - 1)
    if health is Health.UNHEALTHY or abs(differs) >= LOOKS:
        return Judged(health, text)
    return Judged(held.health, held.text or text, differs)


def _share(held: Judged, reading: Share, limits: HealthLimits) -> tuple[Health, str] | None:
    if reading.used is None:
        return None
    bound: float = getattr(limits, reading.limit)
    # a busy processor is no emergency, however busy; what runs out is
    worst = math.inf if reading.limit == "cpu" else (1 + bound) / 2
    text = f"{reading.what} {reading.used:.0%} (limit {bound:.0%})"
    return _level(reading.used, bound, worst, held, 1 - limits.leave), text


def _space(held: Judged, space: Space, limits: HealthLimits) -> tuple[Health, str] | None:
    if space.total_bytes is None or space.free_bytes is None or space.total_bytes <= 0:
        return None
    used = 1 - space.free_bytes / space.total_bytes
    text = f"{space.what}: {format_bytes(space.free_bytes)} free, {used:.0%} used"
    # on a small file system the limit in bytes would always be passed: there only the share counts
    least = min(limits.disk_free_bytes, int(space.total_bytes * (1 - limits.disk)))
    by_free = _level(-space.free_bytes, -least, -(least // 10), held, 1 + limits.leave)
    if space.free_bytes >= limits.disk_ample_bytes:
        return by_free, text
    by_share = _level(used, limits.disk, math.inf, held, 1 - limits.leave)
    return max(by_free, by_share, key=lambda health: health.rank), text


def _level(value: float, bound: float, worst: float, held: Judged, stays: float) -> Health:
    """The level of a value that is bad above a bound; a level that is held is left only below the bound times `stays`."""
    for health, mark in ((Health.UNHEALTHY, worst), (Health.DEGRADED, bound)):
        if value > (mark * stays if held.health.rank >= health.rank else mark):
            return health
    return Health.HEALTHY
