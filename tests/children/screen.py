"""A program with a screen of its own, as a text editor has: raw mode, alternate screen, hidden cursor.

It says ``ready``, then what happens to it: ``key X``, ``size COLUMNSxLINES``, ``continued``. ``q`` ends it in order, ``x`` with code 3
and the terminal left as it is, ``z`` suspends it as an editor suspends itself. With the argument ``cooked`` it changes no mode.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from types import FrameType

COOKED = "cooked" in sys.argv
BEFORE = termios.tcgetattr(0)


def say(text: str) -> None:
    os.write(1, f"<{text}>\r\n".encode())


def enter() -> None:
    if not COOKED:
        tty.setraw(0)
        os.write(1, b"\x1b[?1049h\x1b[?25l")


def leave() -> None:
    if not COOKED:
        os.write(1, b"\x1b[?25h\x1b[?1049l")
        termios.tcsetattr(0, termios.TCSANOW, BEFORE)


def resized(signum: int, frame: FrameType | None) -> None:
    columns, rows = os.get_terminal_size(0)
    say(f"size {columns}x{rows}")


def continued(signum: int, frame: FrameType | None) -> None:
    say("continued")


def interrupted(signum: int, frame: FrameType | None) -> None:
    say("interrupted")


def main() -> int:
    signal.signal(signal.SIGWINCH, resized)
    signal.signal(signal.SIGCONT, continued)
    signal.signal(signal.SIGINT, interrupted)
    enter()
    say("ready")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([0], [], [], 0.5)[0]:
            continue
        with contextlib.suppress(InterruptedError):
            for key in os.read(0, 64).decode(errors="replace"):
                if key == "q":
                    leave()
                    return 0
                if key == "x":
                    return 3
                if key == "z":
                    leave()
                    os.kill(0, signal.SIGTSTP)
                    enter()
                elif key.isprintable():
                    say(f"key {key}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
