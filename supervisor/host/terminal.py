"""The controlling terminal, lent to a leaf: it is the foreground while it runs, and everything is put back when it ends.

A shell does the same for its jobs. Besides the modes that the kernel keeps, a program sets modes of the terminal itself (alternate
screen, mouse reports, bracketed paste, ...); one that was killed leaves them on, so they are switched off in its place.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import attrs

from .lending import returned
from .waitstatus import ORDERLY, WRAPPED_CRASHES, WaitStatus

if sys.platform != "win32":
    import termios

_LEAVE_ALTERNATE_SCREEN: Final = "\x1b7\x1b[?1049l"
"""Saves the cursor first: on the main screen it then stays where it is, and the alternate screen keeps a saved cursor of its own."""

_RESET: Final = (
    "\x1b[?1006l\x1b[?1015l\x1b[?1005l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1016l"  # mouse
    "\x1b[?1l\x1b>\x1b[4l"  # codes of arrow keys and keypad, inserting
    "\x1b[?1004l\x1b[?2031l\x1b[?2004l\x1b[?2026l"  # reports of focus and colours, bracketed paste, synchronised output
    "\x1b(B\x0f\x1b[?7h\x1b[?25h\x1b[m"  # character set, wrapping, the cursor, colours
    "\x1b7\x1b[r\x1b8"  # the scrolling region; setting it moves the cursor
)
_RESET_KEYBOARD: Final = "\x1b[>4m\x1b[<u\x1b[0 q"  # modified keys, kitty's keys; and the cursor's shape

MODES_RESET: Final = _LEAVE_ALTERNATE_SCREEN + _RESET + _RESET_KEYBOARD
"""What is written to the terminal after a program that did not clean up behind itself."""


@attrs.define(eq=False)
class Terminal:
    """The terminal we control, borrowed for one leaf; made by `lending.borrow` and given back by `restore`.

    Every call does nothing once the terminal is gone (hung up): there is nothing left to restore then.

    Attributes:
        fd: A description of our own, so that no flag set on it reaches anybody else's.
        own_group: The process group that we share with nobody's leaf.
        foreground: Whether we had the foreground when it was borrowed.
        modes_changed: Called when other modes are to be put back than those that it was borrowed with.
        continued: Whether the leaf runs as far as we know: no stop of it was seen that it was not continued from.
    """

    fd: int
    own_group: int
    foreground: bool
    _modes: list[Any]
    _leaf_modes: list[Any] | None = None
    _lent_to: int | None = None
    modes_changed: Callable[[], object] | None = None
    continued: bool = True
    _leaf: int | None = None

    def lent(self, group: int, *, by_helper: bool) -> None:
        """A leaf was started in this process group, and has the foreground if we had it.

        `by_helper` says that the launch helper saw to it before the command began. To do it again here could take the terminal from a
        job that the leaf, a shell perhaps, has put in front since. Without a helper the leaf may have been stopped for coming too early.
        """
        self._leaf = group
        if self.foreground:
            self._lent_to = group
            if not by_helper:
                self._set_foreground(group)
                if sys.platform != "win32":
                    with suppress(OSError):
                        os.killpg(group, signal.SIGCONT)

    def suspend(self, group: int, number: int = getattr(signal, "SIGTSTP", 0)) -> None:
        """The leaf has stopped: take the terminal, and stop our own process group too, as the shell above us expects.

        Args:
            group: The leaf's.
            number: The signal that has stopped it. That it wanted the terminal in the background is told to the shell.

        Returns when that shell continues us; at once when there is nobody who could. To be called on the main thread.
        """
        if sys.platform != "win32":
            if self._is_foreground(group):
                with _no_stop(), suppress(OSError, termios.error):
                    self._leaf_modes = termios.tcgetattr(self.fd)
                    os.tcsetpgrp(self.fd, self.own_group)
                    termios.tcsetattr(self.fd, termios.TCSANOW, self._modes)
            # the kernel ignores each of these, unlike SIGSTOP, when nobody above could continue us
            stop = number if number in (signal.SIGTTIN, signal.SIGTTOU) else signal.SIGTSTP
            before = signal.signal(stop, signal.SIG_DFL)
            try:
                os.killpg(self.own_group, stop)
            finally:
                signal.signal(stop, before if before is not None else signal.SIG_DFL)

    def resume(self, group: int) -> bool:
        """Continue the leaf in front if we are in front.

        Returns:
            Whether we were.
        """
        if sys.platform != "win32":
            if not self._is_foreground(self.own_group):
                return False
            with _no_stop(), suppress(OSError, termios.error):
                self._modes = termios.tcgetattr(self.fd)  # the user may have changed them meanwhile
                if self.modes_changed is not None:
                    self.modes_changed()
                if self._leaf_modes is not None:
                    termios.tcsetattr(self.fd, termios.TCSANOW, self._leaf_modes)
                os.tcsetpgrp(self.fd, group)
                self._lent_to = group
            self.continued = True
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGCONT)
        return True

    def hand_over(self, number: int = 0) -> bool:
        """A signal of the terminal, for whoever is in front, has come to us: the leaf gets the terminal and the signal.

        A shell's ``fg`` of a job that runs puts us in front without a word. Who is told of it first is whoever gets the next key.

        Args:
            number: The signal; 0 for none.

        Returns:
            Whether we were in front in the place of a leaf.
        """
        if sys.platform == "win32" or self._leaf is None or not self.resume(self._leaf):
            return False
        if number:
            with suppress(ProcessLookupError):
                os.killpg(self._leaf, number)
        return True

    def as_saved(self) -> tuple[str, str]:
        """The modes that are put back, as ``stty -g`` writes them, and what resets the screen after a crash."""
        characters = [character if isinstance(character, int) else ord(character) for character in self._modes[6]]
        return ":".join(f"{number:x}" for number in (*self._modes[:4], *characters)), reset_sequence(os.environ.get("TERM", ""))

    def restore(self, status: WaitStatus | None) -> None:
        """The leaf is gone: take the terminal, put its modes back, and clean up what a leaf that was killed did not.

        Args:
            status: How the leaf ended; None when it never ran.

        Leaves everything as it is while some other job is in front: it is not ours then.
        """
        if sys.platform != "win32":
            lent_to, self._lent_to, self._leaf = self._lent_to, None, None
            with _no_stop(), suppress(OSError, termios.error):
                if lent_to is None or not self._may_take(lent_to):
                    return
                os.tcsetpgrp(self.fd, self.own_group)
                changed = termios.tcgetattr(self.fd) != self._modes
                termios.tcsetattr(self.fd, termios.TCSANOW, self._modes)
                # modes of the kernel left changed tell of modes of the screen left changed
                if changed or (status is not None and (status.signal is not None or status.code in WRAPPED_CRASHES)):
                    _write(self.fd, reset_sequence(os.environ.get("TERM", ""), crashed=changed or _is_crash(status)))
                    # answers and mouse reports meant for the leaf would be typed into the shell
                    termios.tcflush(self.fd, termios.TCIFLUSH)

    def give_back(self, status: WaitStatus | None) -> None:
        """`restore` it and let another leaf borrow it. May be called again.

        Args:
            status: How the leaf ended; None when it never ran.
        """
        if self.fd >= 0:
            self.restore(status)
            os.close(self.fd)
            self.fd = -1
            returned()

    def _set_foreground(self, group: int) -> None:
        if sys.platform != "win32":
            with _no_stop(), suppress(OSError):
                os.tcsetpgrp(self.fd, group)

    def _is_foreground(self, group: int) -> bool:
        if sys.platform != "win32":
            with suppress(OSError):
                return os.tcgetpgrp(self.fd) == group
        return False

    def _may_take(self, leaf_group: int) -> bool:
        if sys.platform == "win32":
            return False
        front = os.tcgetpgrp(self.fd)
        if front in (leaf_group, self.own_group):
            return True
        try:
            os.killpg(front, 0)
        except ProcessLookupError:
            return True  # a job of the leaf, gone with it
        except PermissionError:
            return False
        return False


def reset_sequence(term: str, *, crashed: bool = True) -> str:
    """What puts a terminal of this type (``$TERM``) back to normal; empty for one that knows no sequences.

    The alternate screen is left after a crash only: a program that was on it handles the signals that ask it to end, and on a main
    screen some terminals (tmux) answer by moving the cursor to where an earlier program had left it.
    """
    if term in ("", "dumb"):
        return ""
    screen = _LEAVE_ALTERNATE_SCREEN if crashed else ""
    # the Linux console misreads these
    return screen + _RESET + ("" if term.startswith("linux") else _RESET_KEYBOARD)


def _is_crash(status: WaitStatus | None) -> bool:
    """Whether the program was given no chance to clean up behind itself."""
    return status is not None and (status.code in WRAPPED_CRASHES or (status.signal is not None and status.signal not in ORDERLY))


def _write(fd: int, text: str) -> None:
    """Write as much as the terminal takes at once: a stopped one (Ctrl-S) must not stop us."""
    data = text.encode("ascii")
    with suppress(OSError):
        while data:
            data = data[os.write(fd, data) :]


@contextmanager
def _no_stop() -> Iterator[None]:
    """Let the kernel not stop us for setting the terminal from the background; the mask, unlike SIG_IGN, is no child's to inherit."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
