"""A process that need not be our child, watched to its end."""

from __future__ import annotations

import os
import sys

import anyio
import attrs

from ..core.value import Entity
from . import reaper
from .identity import ProcessId, identify, open_pidfd
from .waitstatus import WaitStatus


@attrs.define(repr=False, eq=False)
class Followed(Entity):
    """A process, and its end.

    Attributes:
        id: Its identity.
        over: Set once it is dead, or nobody follows it any more.
        status: How it ended; None while it lives, and where the kernel tells only its parent, which we are not.
    """

    id: ProcessId
    _pidfd: int
    over: anyio.Event = attrs.field(factory=anyio.Event)
    status: WaitStatus | None = None

    @classmethod
    def open(cls, pid: int) -> Followed | None:
        """The process that has this pid now; None when there is none that lives, or without pidfds.

        Raises:
            OSError: Out of descriptors.
        """
        process = identify(pid)
        pidfd = None if process is None else open_pidfd(process)
        if process is None or pidfd is None:
            return None
        reaper.leave(pid)
        return cls(process, pidfd)

    async def wait(self) -> None:
        """Wait for its end, and give back the descriptor.

        **Cancellation:** it is followed no more.
        """
        try:
            await anyio.wait_readable(self._pidfd)
            self.status = self._how()
        finally:
            self.close()

    def _how(self) -> WaitStatus | None:
        """It is not ours to reap, but an orphan that we adopted tells us how it ended."""
        if sys.platform == "linux":
            try:
                result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return None
            return None if result is None else WaitStatus.from_waitid(result.si_code, result.si_status)
        return None

    def close(self) -> None:
        """Follow it no more. May be called again."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
            reaper.take(self.id.pid)
            self.over.set()
