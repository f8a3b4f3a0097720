"""Which ways of reading there are for a leaf on this host, best first; which one is used, and which takes over when it fails."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import attrs

from supervisor import ProcessId, Value

from ..policy import succession
from .reader import CGROUP1, CGROUP2, PROCFS, PSUTIL, MemoryReader, MemorySample, NoReader, Strays

Maker = Callable[[], MemoryReader]

# psutil may be missing, and an import takes descriptors
_FAILURES: Final = (OSError, ImportError)


@attrs.frozen(repr=False, eq=False)
class ReaderChange(Value):
    """Another reader than before is in use. `before` is None after a time in which none worked."""

    before: str | None
    after: str
    reason: str


class ReaderChain:
    """A `MemoryReader` made of several, best first: when one fails the next takes over, and back once the better one works again.

    Attributes:
        changes: What became of them since somebody took it away.
    """

    __slots__ = ("_best", "_gone", "_makers", "_open", "_reasons", "_state", "changes")

    def __init__(self, makers: Sequence[tuple[str, Maker]]) -> None:
        self._makers = makers
        self._open: dict[int, MemoryReader] = {}
        self._state = succession.succession(len(makers))
        self._reasons = dict.fromkeys(range(len(makers)), "")
        self._best: MemoryReader | None = None
        self._gone = False
        self.changes: list[ReaderChange] = []

    @property
    def name(self) -> str:
        """The name of the reader in use, or of the last one that was."""
        return self._makers[self._state.current or 0][0]

    @property
    def refresh_period(self) -> float:
        """That of the reader in use."""
        reader = self._open.get(self._state.current or 0)
        return 0.0 if reader is None else reader.refresh_period

    def read(self, now: float, refresh: bool = True) -> MemorySample | None:
        """See `MemoryReader.read`.

        Raises:
            OSError: None of them can read now; the text holds the reasons of all.
        """
        places: Sequence[int]
        if self._best is not None:
            try:
                return self._best.read(now, refresh)  # as nearly always
            except _FAILURES as error:
                self._failed(0, error, now)
            places = range(1, len(self._makers))
        else:
            places = succession.order(self._state, now)
        if self._gone:
            return None
        before = self._state.current
        for place in places:
            try:
                reader = self._open.get(place) or self._opened(place)
                sample = reader.read(now, refresh or place != before)
            except _FAILURES as error:
                self._failed(place, error, now)
                continue
            self._state = succession.worked(self._state, place, now)
            if place == 0 and not self._state.records[0].pause:
                self._best = reader
            if place != before:
                self._changed(before, place)
            return sample
        self._state = succession.blinded(self._state)
        raise OSError("; ".join(self._reasons.values()))

    def close(self) -> None:
        """See `MemoryReader.close`."""
        self._gone = True
        self._best = None
        for place in list(self._open):
            self._drop(place)

    def _failed(self, place: int, error: Exception, now: float) -> None:
        self._best = None
        self._reasons[place] = f"{self._makers[place][0]}: {_said(error)}"
        self._state = succession.failed(self._state, place, now)
        self._drop(place)

    def _opened(self, place: int) -> MemoryReader:
        reader = self._open[place] = self._makers[place][1]()
        return reader

    def _drop(self, place: int) -> None:
        if (reader := self._open.pop(place, None)) is not None:
            reader.close()

    def _changed(self, before: int | None, place: int) -> None:
        if before is not None and before != place:
            self._drop(before)
        after = self._makers[place][0]
        if before is None or place < before:
            self.changes.append(ReaderChange(None if before is None else self._makers[before][0], after, f"{after} works again"))
        else:
            self.changes.append(ReaderChange(self._makers[before][0], after, self._reasons[before]))


def open_reader(root: ProcessId, strays: Strays | None = None, cgroup: str | None = None) -> ReaderChain:
    """A reader for the tree of `root`, of the kinds that this host has; nothing is opened before the first reading.

    Args:
        root: The root process.
        strays: See `Strays`.
        cgroup: The directory in which the memory controller counts for the tree, if there is one.

    Raises:
        NoReader: There is none.
    """
    names = reader_names(cgroup)
    if not names:
        raise NoReader("neither /proc nor psutil can read the memory of processes here; install psutil")
    return ReaderChain([(name, partial(make_reader, name, root, strays, cgroup)) for name in names])


def make_reader(name: str, root: ProcessId, strays: Strays | None = None, cgroup: str | None = None) -> MemoryReader:
    """The reader of that name.

    Raises:
        ImportError: It needs something that is not installed.
    """
    if sys.platform != "win32":
        if cgroup is not None and name in (CGROUP2, CGROUP1):
            from .cgroup import CgroupReader

            return CgroupReader(name, root, cgroup, strays)
        if name == PROCFS:
            from .procfs import ProcfsReader

            return ProcfsReader(root, strays)
    from .psutil_reader import PsutilReader

    return PsutilReader(root, strays)


def reader_names(cgroup: str | None = None) -> tuple[str, ...]:
    """The kinds of readers for a leaf that is counted in this cgroup, or in none; best first."""
    global _processes
    if _processes is None:
        _processes = _found()
    counted = counter(cgroup)
    # a cgroup says how much there is, and never whose it is: that is read from /proc
    return (counted, *_processes) if counted is not None and PROCFS in _processes else _processes


def counter(cgroup: str | None) -> str | None:
    """What counts memory in a cgroup: version 2, version 1, or nothing."""
    if cgroup is None:
        return None
    if os.path.exists(f"{cgroup}/memory.current"):
        return CGROUP2
    if os.path.exists(f"{cgroup}/memory.usage_in_bytes"):
        return CGROUP1
    return None


def reader_name() -> str:
    """The kind of reader that a leaf without a cgroup gets on this host.

    Raises:
        NoReader: There is none.
    """
    names = reader_names()
    if not names:
        raise NoReader("neither /proc nor psutil can read the memory of processes here; install psutil")
    return names[0]


_processes: tuple[str, ...] | None = None


def _found() -> tuple[str, ...]:
    names = [PROCFS] if sys.platform == "linux" and _procfs_works() else []
    if importlib.util.find_spec("psutil") is not None:
        names.append(PSUTIL)
    return tuple(names)


def _procfs_works() -> bool:
    own = os.getpid()
    try:
        with open(f"/proc/{own}/statm", "rb") as statm, open(f"/proc/{own}/task/{own}/children", "rb") as children:
            children.read()
            return int(statm.read().split()[1]) > 0
    except (OSError, ValueError, IndexError):
        return False


def _said(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
