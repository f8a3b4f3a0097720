"""What crosses between the desk and a sweep in another process: values alone, with times by the monotonic clock of the host.

A life has a number that is given once, so that what is said of one that is over is never taken for another's.
"""

from __future__ import annotations

import time
from typing import Final

import anyio
import attrs

from supervisor import Value

from ..policy.pressure import MemoryState, Thresholds

LIMIT: Final = 3000
"""Members of one tree that are named in a sample at most, the root first; the total is that of all."""

WEIGHT: Final = 12000
"""Numbers of members and the like that go into one message."""


def ahead() -> float:
    """Seconds by which the monotonic clock of the host is ahead of the event loop's, which may begin anywhere."""
    return time.monotonic() - anyio.current_time()


# ------------------------------------------------------------ from the desk


@attrs.frozen(repr=False, eq=False)
class Judged(Value):
    """What the desk makes of a life.

    Attributes:
        life: Which one.
        due: When its next sample is due; None for not before something else is said.
        pause: Seconds from a sample to the next one, until something else is said.
        level: What its memory means.
        thresholds: Where the levels begin.
        fresh: Whether it has no level yet.
    """

    life: int
    due: float | None
    pause: float
    level: MemoryState
    thresholds: Thresholds
    fresh: bool


@attrs.frozen(repr=False, eq=False)
class Began(Value):
    """A life is to be watched: its root process, and the directory that counts its memory."""

    life: int
    pid: int
    created: int
    memory: str | None
    group: bool
    judged: Judged


@attrs.frozen(repr=False, eq=False)
class Strays(Value):
    """Processes that belong to a life and do not hang below its root."""

    life: int
    pids: list[int]


@attrs.frozen(repr=False, eq=False)
class Ended(Value):
    """A life is over, or is no longer to be watched."""

    life: int


Order = Began | Judged | Strays | Ended


# ------------------------------------------------------------ to the desk


@attrs.frozen(repr=False, eq=False)
class Opened(Value):
    """A life is read by this reader."""

    life: int
    reader: str


@attrs.frozen(repr=False, eq=False)
class Heard(Value):
    """The kernel tells of a life; everything has to be ready to hold it."""

    life: int


@attrs.frozen(repr=False, eq=False)
class Armed(Value):
    """What tells of a life's crossings from now on; empty for nothing."""

    life: int
    events: str


@attrs.frozen(repr=False, eq=False)
class Sampled(Value):
    """The memory of a life was read.

    Attributes:
        life: Which one.
        at: When.
        total_bytes: Of the tree together.
        reader: By what.
        paused: The kernel says that it stands at its limit.
        members: Of each process the pid, when it was created, and its bytes, one after the other; None for those of the last sample.
    """

    life: int
    at: float
    total_bytes: int
    reader: str
    paused: bool
    members: list[int] | None


@attrs.frozen(repr=False, eq=False)
class Unread(Value):
    """The memory of a life cannot be read."""

    life: int
    reason: str


@attrs.frozen(repr=False, eq=False)
class Changed(Value):
    """Another reader than before reads a life."""

    life: int
    before: str | None
    after: str
    reason: str


@attrs.frozen(repr=False, eq=False)
class Strained(Value):
    """The kernel says that the host is short of memory."""


Report = Strained | Opened | Heard | Armed | Sampled | Unread | Changed
