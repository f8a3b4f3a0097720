"""``python -m supervisor``, and the script ``memory-guardian``."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """Run the program with the arguments of this process; returns its exit code."""
    leave_at_interrupt()
    drop_current_directory()
    keep_no_generated_sources()
    from .edge.command_line import main as run

    code = run()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU"):
        # it is over: nothing is left to be stopped, and the exit code is decided
        signal.signal(getattr(signal, name, signal.SIGTERM), signal.SIG_IGN)
    return code


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


def keep_no_generated_sources() -> None:
    """Do without the sources of the methods that attrs generates.

    It keeps them for debuggers, in lines, which makes 0.7 MiB of the resident memory of an idle guardian. Called before the first
    attrs class is made; a traceback through such a method then lacks that one line of source.
    """
    # not at the top: until the current directory is dropped, nothing may be imported that could lie in it
    import linecache
    from typing import Any

    class Cache(dict[str, Any]):
        def setdefault(self, name: str, entry: Any = None) -> Any:
            return entry if name.startswith("<attrs generated ") else super().setdefault(name, entry)

    linecache.cache = Cache(linecache.cache)


if __name__ == "__main__":
    sys.exit(main())
