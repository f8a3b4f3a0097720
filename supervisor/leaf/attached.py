"""A process that runs already, started by somebody else: it is watched to its end, and ended only if it was adopted.

Its exit status is its parent's to know, so its end counts as normal.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterable
from typing import Any, Final

import anyio
import attrs

from ..core.errors import InvalidField, is_count
from ..core.exits import Exit, ExitKind, describe
from ..core.launch import ChildType, Launch
from ..core.ports import Cancellable, Handle, Ticket
from ..core.value import Value
from ..host.identity import ProcessId, identify, is_alive, open_pidfd, send_signal
from ..host.proctree import walk
from ..host.spare import with_reserve
from ..host.sweep import kill_all, sweep
from .arguments import check_kill_timeout

_PAUSE: Final = 0.1
"""Seconds between looks where nothing tells of a death."""


@attrs.frozen(repr=False, eq=False)
class Attached(Value):
    """Watches a process, and runs something else once that has ended; see `attached`."""

    process: ProcessId
    adopt: bool = False
    then: Launch | None = None
    kill_timeout: float = attrs.field(default=10.0, kw_only=True)

    @property
    def type(self) -> ChildType:
        """Always a worker."""
        return ChildType.WORKER

    def launch(self, ticket: Ticket) -> Handle:
        """Watch the process from now on; if it has ended, start what comes after it.

        Raises:
            ProcessLookupError: It has ended, and nothing comes after it.
            PermissionError: It is adopted and may not be signalled.
            OSError: Out of descriptors.
        """
        pidfd = open_pidfd(self.process)
        if pidfd is None and not is_alive(self.process):
            if self.then is None:
                raise ProcessLookupError(errno.ESRCH, f"process {self.process.pid} has ended")
            return self.then.launch(ticket)
        try:
            if self.adopt:
                send_signal(self.process, 0)
        except BaseException:  # nobody else knows of the descriptor
            if pidfd is not None:
                os.close(pidfd)
            raise
        running = AttachedProcess(self.process, self.adopt, ticket, pidfd)
        running.begin()
        return running

    def describe(self) -> dict[str, Any]:
        """The process, and what comes after it."""
        then = {} if self.then is None else {"then": self.then.describe()}
        return {"attached": self.process.pid, "adopted": self.adopt, **then}


@attrs.define(eq=False)
class AttachedProcess:
    """A process that is watched: its `Handle`.

    Attributes:
        process_id: Its identity.
        adopted_by_us: Whether it is ended when it is asked to end.
    """

    process_id: ProcessId
    adopted_by_us: bool
    _ticket: Ticket
    _pidfd: int | None
    _task: Cancellable | None = None
    _asked: bool = False
    _members: dict[ProcessId, None] = attrs.field(factory=dict)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process_id.pid

    @property
    def group(self) -> None:
        """Its control group is somebody else's."""
        return None

    @property
    def is_stopping(self) -> bool:
        """Whether its watch, or it, was asked to end."""
        return self._asked

    def members(self) -> tuple[ProcessId, ...]:
        """The live processes of its tree, itself first; what left the tree before it was seen is not among them."""
        found = walk(self.pid)
        ours = dict.fromkeys(found if found[:1] == [self.process_id] else ())
        return tuple(process for process in ours | self._members if is_alive(process))

    def adopted(self) -> tuple[ProcessId, ...]:
        """Orphans that have come to us: none, they go to whoever is above it."""
        return ()

    def remember(self, members: Iterable[ProcessId]) -> None:
        """Take in members of its tree that were seen elsewhere."""
        self._members = dict.fromkeys(members)

    def begin(self) -> None:
        """Watch it."""
        self._ticket.started()
        self._task = self._ticket.spawn(self._watch, f"attached process {self.pid}")

    def terminate(self) -> None:
        """End the watch and leave it alone; if it was adopted, send it SIGTERM."""
        self._asked = True
        if not self.adopted_by_us:
            assert self._task is not None
            self._task.cancel()
            return
        self.remember(self.members())  # while descent can be seen
        with_reserve(send_signal)(self.process_id, signal.SIGTERM)

    def kill(self) -> None:
        """As `terminate`, and if it was adopted kill its whole tree."""
        self._asked = True
        if self.adopted_by_us:
            kill_all(self.members)
        else:
            self.terminate()

    async def _watch(self) -> None:
        exit = Exit.shutdown()
        try:
            await self._death()
            if self.adopted_by_us:
                await sweep(self._left)
            if not self._asked:
                exit = Exit(ExitKind.NORMAL, "it ended; how is known to its parent alone")
        except OSError as error:  # the boundary where a watch that fails becomes an exit
            exit = Exit.failed(error, reason=f"it cannot be watched: {describe(error)}")
        finally:
            if self._pidfd is not None:
                os.close(self._pidfd)
                self._pidfd = None
            self._ticket.exited(exit)

    def _left(self) -> Iterable[ProcessId]:
        return (process for process in self._members if is_alive(process))

    async def _death(self) -> None:
        if self._pidfd is not None:
            await anyio.wait_readable(self._pidfd)
            return
        while True:  # nothing tells of it
            if not is_alive(self.process_id):
                return
            await anyio.sleep(_PAUSE)


def attached(pid: int, *, adopt: bool = False, then: Launch | None = None, kill_timeout: float = 10.0) -> Attached:
    """A process that runs already as a child; it is not signalled unless it is adopted.

    Args:
        pid: The process. Which one that is, is settled now: another one that gets its number later is never taken for it.
        adopt: Whether it is ours to end: SIGTERM when it is to end, SIGKILL for its whole tree after `shutdown` seconds. Otherwise the end
            of this child is the end of the watch alone.
        then: What a life after the end of the process runs; without it there is none.
        kill_timeout: Seconds after a kill after which it is given up as unresponsive.

    Raises:
        InvalidField: There is no such process, it is this one, or one above this one is to be adopted.
    """
    where = "attached"
    if not is_count(pid, least=1):
        raise InvalidField("pid", pid, "the id of a process", where=where)
    process = identify(pid)
    if process is None or not is_alive(process):
        raise InvalidField("pid", pid, "the id of a process that runs", where=where)
    if not isinstance(adopt, bool):
        raise InvalidField("adopt", adopt, "True or False", where=where)
    if pid == os.getpid() or (adopt and pid in _above(os.getpid())):
        raise InvalidField("pid", pid, "a process that is not this one, nor above it if it is adopted", where=where)
    if then is not None and not isinstance(then, Launch):
        raise InvalidField("then", then, "what a child specification starts, or None", where=where)
    check_kill_timeout(kill_timeout, where=where)
    return Attached(process, adopt, then, kill_timeout=kill_timeout)


def _above(pid: int) -> set[int]:
    """The ancestors of a process, init included."""
    found: set[int] = set()
    if sys.platform != "linux":
        import psutil

        return {parent.pid for parent in psutil.Process(pid).parents()}
    from ..host.procstat import read_stat

    while pid > 1 and (stat := read_stat(pid)) is not None:
        pid = stat.parent
        found.add(pid)
    return found
