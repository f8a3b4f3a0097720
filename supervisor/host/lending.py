"""Whether we have a terminal to lend, and who has it; what is done with one is in `terminal.py`, which a run without one does not need."""

from __future__ import annotations

import os
import select
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .terminal import Terminal

_borrowed: Terminal | None = None


def borrow() -> Terminal | None:
    """Borrow our controlling terminal for a leaf, and note its modes.

    Returns:
        None when standard input and output are not that terminal, or another leaf has it.
    """
    global _borrowed
    if sys.platform != "win32" and _borrowed is None:
        try:
            if not (os.isatty(0) and os.isatty(1)) or os.fstat(0).st_rdev != os.fstat(1).st_rdev:
                return None
            os.tcgetpgrp(0)  # fails on a terminal that is not our session's
            fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        import termios

        from .terminal import Terminal  # here: what runs without a terminal does without all of that

        own = os.getpgrp()
        try:
            made = Terminal(fd, own, os.tcgetpgrp(fd) == own, termios.tcgetattr(fd))
        except (OSError, termios.error):
            os.close(fd)
            return None
        _borrowed = made
        return made
    return None


def returned() -> None:
    """Nobody has our terminal any more, and another leaf may borrow it."""
    global _borrowed
    _borrowed = None


def hung_up(fd: int = 0) -> bool:
    """Whether a descriptor was a terminal that has gone since; a pipe whose other end is closed is none."""
    if sys.platform == "win32":
        return False
    try:
        if not stat.S_ISCHR(os.fstat(fd).st_mode):
            return False
    except OSError:
        return False
    poll = select.poll()
    poll.register(fd, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def is_lent() -> bool:
    """Whether a leaf has our terminal."""
    return _borrowed is not None


def hand_over(number: int) -> bool:
    """See `Terminal.hand_over`; False while no leaf has our terminal."""
    return _borrowed is not None and _borrowed.hand_over(number)
