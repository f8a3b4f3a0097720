"""The cgroups of whole runs: those of ours, and what runs that are over have left."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from ..identity import ProcessId
from ..procstat import read_bytes
from . import files
from .layout import is_cgroup

PREFIX: Final = "supervisor-"
"""What the cgroup of a run is called: this, and the run's token."""


class RunCgroups:
    """The cgroups of a run that is over, as far as they are still there: an `Enclosure` of whoever of it lives.

    Args:
        directories: Where they were, as the run had written down.
        tokens: The run's tokens: what is not called by one of them, is no cgroup, or has a supervisor that lives, is not touched.
        spared: Processes that are not to be touched; while one of them is in there, nothing is killed or frozen at once.
    """

    def __init__(self, directories: Iterable[str], tokens: Collection[str], spared: Collection[ProcessId] = ()) -> None:
        mountinfo = (read_bytes("/proc/self/mountinfo") or b"").decode(errors="surrogateescape")
        self.directories = tuple(
            directory
            for directory in directories
            if os.path.basename(directory) in {PREFIX + token for token in tokens}
            and is_cgroup(mountinfo, directory)
            and is_abandoned(directory)
        )
        self._spared = frozenset(spared)

    def members(self) -> list[ProcessId]:
        """Who is in there now, apart from those that are spared.

        Raises:
            OSError: Out of descriptors.
        """
        return [process for process in self._all() if process not in self._spared]

    def kill(self) -> list[ProcessId] | None:
        """Kill all in there at once, and say who they were; None where that cannot be, or somebody in there is spared.

        Raises:
            OSError: Out of descriptors.
        """
        found = self._all()
        if not self._spared.isdisjoint(found):
            return None
        done = [files.kill(directory) for directory in self.directories]
        return list(dict.fromkeys((*found, *self._all()))) if any(done) else None

    def freeze(self) -> bool:
        """Let nothing in there run any further; whether that can be done, and nobody in there is spared."""
        if not self._spared.isdisjoint(self._all()):
            return False
        done = [files.freeze(directory) for directory in self.directories]
        return any(done)

    def thaw(self) -> None:
        """Undo `freeze`."""
        for directory in self.directories:
            files.thaw(directory)

    def remove(self) -> None:
        """Remove them, except where something still runs."""
        for directory in self.directories:
            files.remove(directory)

    def _all(self) -> list[ProcessId]:
        return list(dict.fromkeys(process for directory in self.directories for process in files.members(directory)))


def make_run(run: str) -> None:
    """Make the cgroup of our run, and lock it as long as it is there.

    The lock says that this run's supervisor lives: the kernel lets go of it when we die, however that happens.

    Raises:
        OSError: It cannot be made, or there are no descriptors.
    """
    for pause in _PAUSES:
        with suppress(FileExistsError):
            os.mkdir(run)
        try:
            fd = os.open(run, _FLAGS)
        except FileNotFoundError:
            continue  # another supervisor's tidying has come between
        except OSError:
            with suppress(OSError):
                os.rmdir(run)  # nobody would know that it is ours
            raise
        if _lock(fd) and _is(fd, run):
            _let_go(run)
            _held[run] = fd
            return
        os.close(fd)
        time.sleep(pause)


def remove_runs() -> None:
    """Remove the cgroups of our run, in all hierarchies, in which there are none, and let go of their locks."""
    for run in list(_held):
        try:
            os.rmdir(run)
        except FileNotFoundError:
            _let_go(run)
        except OSError:
            continue  # not empty yet: tried again with the next
        else:
            _let_go(run)


def is_abandoned(run: str) -> bool:
    """Whether there is a cgroup of a run whose supervisor is dead."""
    with suppress(OSError), _opened(run) as fd:
        return _lock(fd)
    return False


def tidy(directory: str, own: str) -> None:
    """Remove the cgroups that supervisors have left which were killed; what still runs in one keeps it, and so does its supervisor.

    Args:
        directory: The cgroup in which those of the runs are.
        own: That of our own run.
    """
    with suppress(OSError):
        with os.scandir(directory) as entries:
            runs = [entry.path for entry in entries if entry.name.startswith(PREFIX) and entry.path != own]
        for run in runs:
            with suppress(OSError), _opened(run) as fd:
                if _lock(fd):
                    files.remove(run)


@contextmanager
def _opened(run: str) -> Iterator[int]:
    fd = os.open(run, _FLAGS)
    try:
        yield fd
    finally:
        os.close(fd)


_held: dict[str, int] = {}
_PAUSES: Final = (0.0005, 0.001, 0.002, 0.004, 0.008)
"""Seconds: longer than somebody else's tidying holds an empty cgroup."""
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)


def _lock(fd: int) -> bool:
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go(run: str) -> None:
    if (fd := _held.pop(run, None)) is not None:
        os.close(fd)


def _forget() -> None:
    """A fork of ours is no supervisor of our run, and must not hold its lock when we are dead."""
    for run in list(_held):
        _let_go(run)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _is(fd: int, path: str) -> bool:
    """Whether a descriptor is of what has this path now: between opening and locking it could have been removed, and made anew."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
