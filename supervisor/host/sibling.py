"""A child of ours that a sibling of its has made on our behalf: what `subprocess.Popen` is for those that we made ourselves."""

from __future__ import annotations

import os
import signal
import sys
from types import TracebackType


class Sibling:
    """A child that has to be reaped here, exactly once; used like a `subprocess.Popen`.

    Attributes:
        pid: Its process id.
        returncode: As of `subprocess`: the exit code or minus the signal's number; None until it was reaped.
    """

    __slots__ = ("pid", "returncode")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Reap it if it is dead."""
        return self._reap(wait=False)

    def wait(self) -> int | None:
        """Wait for its end, and reap it."""
        return self._reap(wait=True)

    def kill(self) -> None:
        """Kill it, unless it was reaped."""
        if sys.platform != "win32" and self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def __enter__(self) -> Sibling:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wait()

    def _reap(self, *, wait: bool) -> int | None:
        if self.returncode is None and sys.platform != "win32":
            try:
                pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
            except ChildProcessError:
                self.returncode = 0  # somebody else has reaped it; subprocess says the same then
            else:
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode
