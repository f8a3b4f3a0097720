"""The memory reader: what every way of reading the memory of a process tree looks like, and what it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import attrs

from supervisor import ProcessId, Value

Strays = Callable[[], Iterable[int]]
"""Yields pids that belong to the tree and do not hang below its root, such as adopted orphans. Called at each refresh."""

CGROUP2: Final = "cgroup2"
CGROUP1: Final = "cgroup1"
PROCFS: Final = "procfs"
PSUTIL: Final = "psutil"


@attrs.frozen(repr=False, eq=False)
class ProcessMemory(Value):
    """What one process would give back if it ended: its private resident memory, without shared memory and file pages."""

    process: ProcessId
    bytes: int


@attrs.frozen(repr=False, eq=False)
class MemorySample(Value):
    """The memory of a tree at one time.

    Attributes:
        at: The time that was passed to `read`.
        total_bytes: Of the tree together: what the kernel counts for its cgroup, else the sum over `processes`, which counts pages
            that are shared since a fork once for each.
        processes: The live members, the root first.
        reader: The name of the reader that took it.
    """

    at: float
    total_bytes: int
    processes: tuple[ProcessMemory, ...]
    reader: str


_at, _total, _processes, _reader = (getattr(MemorySample, name).__set__ for name in ("at", "total_bytes", "processes", "reader"))


def again(sample: MemorySample, at: float) -> MemorySample:
    """The same sample, taken once more: what nearly all looks at idle leaves make, at a third of the constructor's price."""
    same = object.__new__(MemorySample)
    _at(same, at)
    _total(same, sample.total_bytes)
    _processes(same, sample.processes)
    _reader(same, sample.reader)
    return same


class MemoryReader(Protocol):
    """Reads the memory of one tree; not safe for use from several threads at once."""

    @property
    def name(self) -> str:
        """Which way of reading this is."""

    @property
    def refresh_period(self) -> float:
        """Seconds after which a look for new members is worth its price; until then the known ones may be read alone."""

    def read(self, now: float, refresh: bool = True) -> MemorySample | None:
        """Read the tree.

        Args:
            now: The time the sample will bear.
            refresh: Look for new members first; False reads the known ones only, which costs a tenth.

        Returns:
            The sample; None when the root process is gone.

        Raises:
            OSError: It cannot be read now: out of descriptors, or not permitted.
        """

    def close(self) -> None:
        """Give back all descriptors; reading after that finds the root gone."""


class NoReader(RuntimeError):
    """This host offers no way to read the memory of processes."""
