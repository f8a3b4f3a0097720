"""A lock that lives as long as its holder's process: the kernel drops it, however the process ends."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Final

from .files import PRIVATE_FILE, StateWriteFailed

# close-on-exec: a leaf that inherited the lock would hold it beyond its guardian's end
_THERE: Final = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_FLAGS: Final = _THERE | os.O_CREAT
_SWEEPING: Final = "sweeping"

LOOKS: Final = 200
"""How often a lock that is only looked at is tried again, half a millisecond apart."""


class Lock:
    """A held lock on a file."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd: int | None = fd

    def release(self) -> None:
        """Remove the file and drop the lock; twice is allowed."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        # removed while it is held: whoever opened it before sees that it is no longer the one of that name
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        os.close(fd)


def try_lock(path: Path) -> Lock | None:
    """Take the lock of a path, creating the file; None when somebody holds it.

    Raises:
        StateWriteFailed: The file cannot be made.
    """
    looks = 0
    try:
        while True:
            fd = os.open(path, _FLAGS, PRIVATE_FILE)
            try:
                if not _lock(fd):
                    is_held = looks == LOOKS or not _is_only_looked_at(fd)
                    os.close(fd)
                    if is_held:
                        return None
                    looks += 1
                    time.sleep(0.0005)
                    continue
                if _is_at(fd, path):
                    return Lock(path, fd)
            except BaseException:
                os.close(fd)
                raise
            # its last holder removed it between the opening and the locking
            os.close(fd)
    except OSError as error:
        raise StateWriteFailed(path, error) from error


def remove_free(directory: Path, suffix: str, most: int = 1000) -> int:
    """Remove the files of locks that nobody holds: a holder that was killed leaves its own. Blocks for some 20 us for each.

    While a file is looked at its lock is held shared, which whoever takes it tells from one that is held: it tries again. One at a time
    sweeps a directory, so that no name is removed but that of the very file whose lock nobody has.

    Args:
        directory: Where they are.
        suffix: What their names end with.
        most: How many at most.

    Returns:
        How many. None are on Windows, where such a look cannot be told from a lock that is held, and where another one sweeps just now.
    """
    if sys.platform == "win32":
        return 0
    import fcntl

    removed = 0
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(suffix)]
        alone = try_lock(directory / _SWEEPING) if names else None
    except (OSError, StateWriteFailed):
        return 0  # there is no such directory, or nothing can be removed from it
    if alone is None:
        return 0
    try:
        for name in names:
            if removed == most:
                break
            path = directory / name
            with contextlib.suppress(OSError):  # it has gone, somebody holds it, or it cannot be removed
                fd = os.open(path, _THERE)
                try:
                    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    if _is_at(fd, path):
                        os.unlink(path)
                        removed += 1
                finally:
                    os.close(fd)
    finally:
        alone.release()
    return removed


def _is_only_looked_at(fd: int) -> bool:
    """Whether a lock that could not be taken is held by nobody but a sweep."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _lock(fd: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    else:
        import fcntl

        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
