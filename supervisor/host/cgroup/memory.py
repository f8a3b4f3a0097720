"""When the out-of-memory killer kills in a cgroup: told by the memory controller, not asked again and again."""

from __future__ import annotations

import os
import select
import sys
from typing import Any, Final

import anyio
import attrs

from . import files

_V1_REGISTER: Final = "cgroup.event_control"
_PAUSES: Final = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
"""Seconds between version 1's word that memory has run out and the kill that it counts."""


@attrs.define(eq=False)
class OomKillWatch:
    """Waits for the next kill in a cgroup without ever looking in between.

    Version 2 marks its file as having something urgent, which no event loop asks for, so an epoll in between does; version 1 counts
    up an eventfd.
    """

    _directory: str
    _fds: list[int]
    _epoll: Any = None
    _told: int = 0

    @classmethod
    def open(cls, directory: str) -> OomKillWatch | None:
        """Begin to watch; None where the kernel does not tell.

        Raises:
            OSError: Out of descriptors.
        """
        if sys.platform != "linux":
            return None
        watch = cls(directory, [])
        try:
            return watch if watch._listen() else None
        except FileNotFoundError:  # it is gone, with one of two files open perhaps
            watch.close()
            return None
        except BaseException:  # also an interrupt
            watch.close()
            raise

    def _listen(self) -> bool:
        if sys.platform != "linux":
            return False
        if os.path.exists(f"{self._directory}/{files.V2_EVENTS}"):
            self._fds.append(os.open(f"{self._directory}/{files.V2_EVENTS}", os.O_RDONLY | os.O_CLOEXEC))
            self._epoll = select.epoll()
            self._epoll.register(self._fds[0], select.EPOLLPRI)
            return True
        self._fds.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        self._fds.append(os.open(f"{self._directory}/{files.V1_OOM}", os.O_RDONLY | os.O_CLOEXEC))
        files.write(self._directory, _V1_REGISTER, f"{self._fds[0]} {self._fds[1]}")
        return True

    async def next(self) -> int:
        """Wait for the next kills, and say how many there were since the last time.

        **Cancellation:** leaves the wait; nothing is lost.
        """
        while True:
            for pause in _PAUSES:
                count = files.oom_kills(self._directory) or 0
                if count > self._told:
                    new, self._told = count - self._told, count
                    return new
                await anyio.sleep(pause)
            await anyio.wait_readable(self._fds[0] if self._epoll is None else self._epoll.fileno())
            self._heard()

    def _heard(self) -> None:
        if sys.platform != "linux":
            return
        if self._epoll is not None:
            self._epoll.poll(0)
            os.pread(self._fds[0], 4096, 0)  # until it is read it has nothing new to say
        else:
            try:
                os.eventfd_read(self._fds[0])
            except BlockingIOError:
                return

    def close(self) -> None:
        """Give back the descriptors. May be called again."""
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        while self._fds:
            os.close(self._fds.pop())
