"""Become the leader of a session on the terminal that standard input is, as a login shell does, and then run a command.

session.py COMMAND [ARG ...]
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios

if __name__ == "__main__":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.execv(sys.argv[1], sys.argv[1:])
