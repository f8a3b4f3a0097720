"""Looks in threads, each within its time: a file system that does not answer keeps one thread, and nobody waits for it."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import anyio
import attrs

from supervisor import ProcessId

from ..policy.host import HostSeen
from .metrics import DiskSpace, HealthMetrics, Looker, Subject, disk_space

T = TypeVar("T")


class Looks:
    """The looks of one life of the health worker.

    Args:
        places: The paths whose disk space matters: what is there, and where.
        patience: Seconds that a look may take; what has not answered by then is unknown.
    """

    def __init__(self, places: Sequence[tuple[str, str]], *, patience: float) -> None:
        self._places = places
        self._patience = patience
        self._looker = Looker()
        self._hung: dict[str, threading.Thread] = {}

    def memory(self) -> HostSeen:
        """The host's memory, for some tens of microseconds."""
        if sys.platform == "linux":
            from .linux import memory
        else:
            from .portable import memory
        return memory()

    async def everything(
        self, now: float, leaves: Iterable[tuple[str, tuple[ProcessId, ...]]], groups: Mapping[str, str] | None = None
    ) -> HealthMetrics | None:
        """One whole look; None when not even /proc has answered in time.

        Args:
            now: When, monotonic.
            leaves: Names and processes.
            groups: The directories of their control groups, of those that have one, by name.

        **Cancellation:** leaves at once; a thread that waits for a disk ends when that answers.
        """
        subjects = [Subject(name, members, (groups or {}).get(name)) for name, members in leaves if members]
        metrics = await self._in_time("host", lambda: self._looker.look(now, subjects))
        return None if metrics is None else attrs.evolve(metrics, disks=await self.disks())

    async def disks(self) -> tuple[DiskSpace, ...]:
        """The file systems. First all at once; once one has not answered, each by itself, so that the others are still known.

        **Cancellation:** as `everything`.
        """
        if not self._hung:
            found = await self._in_time("disks", lambda: disk_space(self._places))
            if found is not None:
                return found
        each: list[DiskSpace] = []
        for what, path in self._places:
            found = await self._in_time(f"{what} {path}", partial(disk_space, [(what, path)]))
            each += found or (DiskSpace(what, path),)
        if not any(thread.is_alive() for thread in self._hung.values()):
            self._hung.clear()
        return tuple(each)

    async def _in_time(self, key: str, look: Callable[[], T]) -> T | None:
        """What a look says; None when it takes too long, when the last one of the same key still does, and where nothing can be started."""
        before = self._hung.pop(key, None)
        if before is not None and before.is_alive():
            self._hung[key] = before
            return None
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            return None  # out of descriptors, which the next look will tell
        answer: list[T] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                answer.append(look())
            except BaseException as error:  # raised again by whoever waits
                failures.append(error)
            finally:
                theirs.close()

        with ours:
            # not of the loop's own: those are waited for at the end, and what waits for a dead server never ends
            thread = threading.Thread(target=run, name=f"health look at {key}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                theirs.close()
                return None  # out of threads
            with anyio.move_on_after(self._patience) as waiting:
                await anyio.wait_readable(ours)
        if waiting.cancelled_caught:
            self._hung[key] = thread
            return None
        if failures and not isinstance(failures[0], OSError):
            raise failures[0]
        return answer[0] if answer else None
