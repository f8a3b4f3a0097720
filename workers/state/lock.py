"""A lock that lives as long as its holder's process: the kernel drops it, however the process ends."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

from .files import PRIVATE_FILE, StateWriteFailed

# close-on-exec: a leaf that inherited the lock would hold it beyond its guardian's end
_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


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
    try:
        while True:
            fd = os.open(path, _FLAGS, PRIVATE_FILE)
            try:
                if not _lock(fd):
                    os.close(fd)
                    return None
                if _is_at(fd, path):
                    return Lock(path, fd)
            except BaseException:
                os.close(fd)
                raise
            # its last holder removed it between the opening and the locking
            os.close(fd)
    except OSError as error:
        raise StateWriteFailed(path, error) from error


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
