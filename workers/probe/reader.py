"""The memory reader: what every way of reading the memory of a process tree looks like, and which one this host gets."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import attrs

from supervisor import ProcessId, Value

Strays = Callable[[], Iterable[int]]
"""Yields pids that belong to the tree and do not hang below its root, such as adopted orphans. Called at each refresh."""

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
        total_bytes: The sum over `processes`.
        processes: The live members, the root first.
        reader: The name of the reader that took it.
    """

    at: float
    total_bytes: int
    processes: tuple[ProcessMemory, ...]
    reader: str


class MemoryReader(Protocol):
    """Reads the memory of one tree; not safe for use from several threads at once."""

    @property
    def name(self) -> str:
        """Which way of reading this is."""

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


def open_reader(root: ProcessId, strays: Strays | None = None) -> MemoryReader:
    """A reader for the tree of `root`, of the kind this host gets.

    Raises:
        NoReader: There is none.
    """
    if sys.platform != "win32" and reader_name() == PROCFS:
        from .procfs import ProcfsReader

        return ProcfsReader(root, strays)
    from .psutil_reader import PsutilReader

    return PsutilReader(root, strays)


def reader_name() -> str:
    """The kind of reader this host gets; found out once.

    Raises:
        NoReader: There is none.
    """
    global _chosen
    if _chosen is None:
        _chosen = _choose()
    return _chosen


_chosen: str | None = None


def _choose() -> str:
    if sys.platform == "linux" and _procfs_works():
        return PROCFS
    if importlib.util.find_spec("psutil") is None:
        raise NoReader("neither /proc nor psutil can read the memory of processes here; install psutil")
    return PSUTIL


def _procfs_works() -> bool:
    own = os.getpid()
    try:
        with open(f"/proc/{own}/statm", "rb") as statm, open(f"/proc/{own}/task/{own}/children", "rb") as children:
            children.read()
            return int(statm.read().split()[1]) > 0
    except (OSError, ValueError, IndexError):
        return False
