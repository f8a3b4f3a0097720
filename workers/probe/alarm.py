"""One descriptor that becomes readable when the kernel has something to say of any leaf, or of the host.

An event loop asks whether a descriptor can be read, and the files of the kernel always can: what is new in them is *urgent*, which no
loop asks for. An epoll in between does, and can itself be waited for by every loop.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Final

import anyio

PRESSURE: Final = "/proc/pressure/memory"

TRIGGER: Final = b"some 200000 2000000\0"
"""A tenth of the time somebody waits for memory. Windows that are no multiple of two seconds are for the privileged."""

assert sys.platform == "linux", "epoll is Linux's"


class Alarm:
    """It waits for all sources of a host at once, so that a thousand leaves are one wait."""

    def __init__(self, pressure: str = PRESSURE) -> None:
        """Begin with the host's shortage of memory alone, where the kernel tells of that.

        Raises:
            OSError: No descriptors.
        """
        self._epoll = select.epoll()
        self._pressure = -1
        try:
            self._pressure = os.open(pressure, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            os.write(self._pressure, TRIGGER)
            self._epoll.register(self._pressure, select.EPOLLPRI)
        except OSError:
            # an old kernel, or a sandbox: it is a second line, the intervals are the first
            if self._pressure >= 0:
                os.close(self._pressure)
            self._pressure = -1

    @property
    def hears_pressure(self) -> bool:
        """Whether a shortage of the host's memory is told."""
        return self._pressure >= 0

    def add(self, fd: int, mask: int) -> None:
        """Wait for this descriptor as well.

        Raises:
            OSError: The kernel cannot wait for it.
        """
        self._epoll.register(fd, mask)

    def remove(self, fd: int) -> None:
        """Wait for it no longer; before it is closed, or a copy of it in a fork of ours would go on to wake us."""
        self._epoll.unregister(fd)

    async def wait(self) -> tuple[set[int], bool]:
        """Wait until something is told.

        Returns:
            The descriptors of which, and whether the host is short of memory.

        **Cancellation:** leaves the wait; nothing is lost.
        """
        await anyio.wait_readable(self._epoll.fileno())
        heard = {fd for fd, _ in self._epoll.poll(0)}
        # whoever asked our epoll whether it has something has taken the pressure's word away by asking
        pressed = self._pressure in heard or (not heard and self._pressure >= 0)
        return heard - {self._pressure}, pressed

    def close(self) -> None:
        """Give back its own descriptors."""
        self._epoll.close()
        if self._pressure >= 0:
            os.close(self._pressure)
            self._pressure = -1
