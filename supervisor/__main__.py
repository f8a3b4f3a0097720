"""``python -m supervisor``, and the script ``memory-guardian``."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """Run the program with the arguments of this process; returns its exit code."""
    leave_at_interrupt()
    drop_current_directory()
    from .edge.command_line import main as run

    return run()


def leave_at_interrupt() -> None:
    """Let an interrupt end the process at once and without a traceback, while nothing runs yet that would have to be stopped.

    Termination and hangup do so by themselves. Once the event loop receives signals, this has no effect any more.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda signum, frame: os._exit(130))


def drop_current_directory() -> None:
    """Keep modules that happen to lie in the current directory from being imported in place of installed ones.

    Unless this package itself lives there: a source checkout works.
    """
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:
        # the directory is gone, and nothing can be imported from it
        return
    if here != os.path.dirname(os.path.dirname(os.path.realpath(__file__))):
        sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or here) != here]


if __name__ == "__main__":
    sys.exit(main())
