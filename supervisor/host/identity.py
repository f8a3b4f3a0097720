"""Which process is meant: a pid together with its creation time, so that a recycled pid is never mistaken for it."""

from __future__ import annotations

import errno
import os
import signal
import sys

import attrs

from .procstat import read_stat


@attrs.frozen
class ProcessId:
    """One process for all time.

    Attributes:
        pid: The kernel's process id, which is used again after the process is gone.
        created: When the kernel created it: on Linux clock ticks since boot, elsewhere microseconds since the epoch.
    """

    pid: int
    created: int


def identify(pid: int) -> ProcessId | None:
    """The process that has this pid now, dead but unreaped ones included; None when there is none."""
    if sys.platform == "linux":
        stat = read_stat(pid)
        return None if stat is None else ProcessId(pid, stat.created)
    else:
        from . import portable

        return portable.identify(pid)


def is_alive(process: ProcessId) -> bool:
    """Whether this very process runs: a zombie does not, and another process of its pid is not it."""
    if sys.platform == "linux":
        stat = read_stat(process.pid)
        return stat is not None and stat.created == process.created and not stat.dead
    else:
        from . import portable

        return portable.is_alive(process)


def send_signal(process: ProcessId, signum: int) -> bool:
    """Send a signal to this very process, without a moment in which its pid could become another's.

    Returns:
        Whether it was alive and got the signal.

    Raises:
        PermissionError: It is alive and not ours to signal.
    """
    if (fd := open_pidfd(process)) is not None:
        try:
            return _send_by_pidfd(fd, signum)
        finally:
            os.close(fd)
    if has_pidfd() or not is_alive(process):
        return False
    try:
        os.kill(process.pid, signum)
    except ProcessLookupError:
        return False
    return True


def open_pidfd(process: ProcessId, *, dead: bool = False) -> int | None:
    """A descriptor of this very process, close-on-exec, readable once it is dead; None when it is, or without pidfds.

    Args:
        process: Whose.
        dead: Whether it may be dead already; for children of ours, whose pid is not recycled before we reap them.

    Raises:
        OSError: Out of descriptors.
    """
    if sys.platform == "linux" and has_pidfd():
        try:
            fd = os.pidfd_open(process.pid)
        except (ProcessLookupError, ValueError):
            return None
        kept = False
        try:
            # only now does the check hold: the descriptor stays with whom it was opened for
            kept = dead or is_alive(process)
        finally:
            if not kept:
                os.close(fd)
        return fd if kept else None
    return None


def has_pidfd() -> bool:
    """Whether this host has pidfds; asked of the kernel until it answers."""
    global _pidfd
    if _pidfd is None:
        try:
            _pidfd = _probe_pidfd()
        except OSError:
            return True  # out of descriptors, which says nothing; who needs one gets the error
    return _pidfd


_pidfd: bool | None = None


def _probe_pidfd() -> bool:
    if sys.platform == "linux" and hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal"):
        try:
            fd = os.pidfd_open(os.getpid())
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            return False  # an old kernel, or a sandbox that forbids the call
        try:
            signal.pidfd_send_signal(fd, 0)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True
    return False


def _send_by_pidfd(fd: int, signum: int) -> bool:
    if sys.platform == "linux":
        try:
            signal.pidfd_send_signal(fd, signum)
        except ProcessLookupError:
            return False
        return True
    return False
