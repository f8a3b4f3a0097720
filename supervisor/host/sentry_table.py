"""The file that the sentry reads once we are dead: a line for each life of a command, and one for the terminal."""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

LINE: Final = 512
"""Bytes of a line of the table. A power of two: none crosses a page, so that our death cannot leave half of one."""

TERMINAL: Final = 0
"""The line for the terminal."""


class Table:
    """Lines that are taken and given back, the first one for the terminal.

    Attributes:
        fd: The file, close-on-exec and no standard stream.
    """

    def __init__(self) -> None:
        self.fd = _memory_file()
        self._free: list[int] = []
        self._lines = TERMINAL + 1
        try:
            self.free(TERMINAL)
        except OSError:
            self.close()
            raise

    def take(self, fields: dict[str, object]) -> int:
        """Take a line for a tree; once it is written its place is there, so that no later writing fails."""
        line = self._free[-1] if self._free else self._lines
        self.write(line, "+", fields)
        if self._free:
            self._free.pop()
        else:
            self._lines += 1
        return line

    def give_back(self, line: int) -> None:
        """The tree is gone."""
        self.free(line)
        self._free.append(line)

    def write(self, line: int, state: str, fields: dict[str, object]) -> None:
        """Write a line anew, in one piece."""
        text = os.fsencode(" ".join([state, *(f"{key}={value}" for key, value in fields.items())]))
        self._put(line, text)

    def add(self, line: int, key: str, value: object) -> None:
        """Add a field to a line; the others stay."""
        if sys.platform != "win32":
            self._put(line, os.pread(self.fd, LINE, line * LINE).rstrip() + f" {key}={value}".encode())

    def _put(self, line: int, text: bytes) -> None:
        assert len(text) < LINE, "every field is bounded"
        if sys.platform != "win32":
            os.pwrite(self.fd, text.ljust(LINE - 1) + b"\n", line * LINE)

    def free(self, line: int) -> None:
        """Write a line that says nothing."""
        self.write(line, "-", {})

    def close(self) -> None:
        """Give back the descriptor."""
        os.close(self.fd)


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        try:
            return above_standard(os.memfd_create("sentry"))
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EACCES):
                raise
    import tempfile  # for kernels and sandboxes that have no such call

    fd, path = tempfile.mkstemp(prefix="sentry-")
    os.unlink(path)
    return above_standard(fd)


def above_standard(fd: int) -> int:
    """A descriptor whose number is that of no standard stream, even when ours are closed."""
    if fd > 2 or sys.platform == "win32":
        return fd
    import fcntl

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)
