"""The connections of a run. All clients together have a bounded number of them, of bytes that wait, and of the event loop's time."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio

from ..redactor import NOTHING, Redactor
from .connection import Connection
from .pace import ACCEPTED, Pace
from .peer import Peer, of_tcp, of_unix

if TYPE_CHECKING:
    import socket

    from .method import ControlMethod
    from .place import Listener
    from .ring import Ring

CONNECTIONS: Final = 32
UNSENT_BYTES: Final = 1 << 24
HELD_BYTES: Final = 1 << 20
OUT_OF_DESCRIPTORS: Final = 1.0
"""Seconds after which a connection is accepted again when there was no descriptor for it."""


class Server:
    """Serves one run.

    Args:
        listener: What clients connect to.
        ring: The events.
        methods: What they can ask for.
        faulted: Called with what has ended a connection although it should not have.
        redactor: Takes secrets out of answers.

    Attributes:
        connections: Those that are served now.
        unsent: Bytes that clients have asked for and not taken yet, all together.
    """

    def __init__(
        self,
        listener: Listener,
        ring: Ring,
        methods: Mapping[str, ControlMethod],
        faulted: Callable[[Exception], object],
        redactor: Redactor = NOTHING,
    ) -> None:
        self.ring, self.methods, self.redactor = ring, methods, redactor
        self._faulted = faulted
        self.connections: set[Connection] = set()
        self.unsent = 0
        self._listener = listener
        self._held = 0
        self._pace = Pace()
        self._turns = anyio.Lock()
        self._sent = anyio.Event()

    async def run(self) -> None:
        """Accept and serve clients.

        **Cancellation:** hangs up on all of them.
        """
        async with anyio.create_task_group() as tasks:
            while True:
                await anyio.wait_readable(self._listener.socket)
                await self.turn(ACCEPTED)
                try:
                    connected, _ = self._listener.socket.accept()
                except (BlockingIOError, ConnectionError):
                    continue
                except OSError as error:
                    if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                        raise
                    await anyio.sleep(OUT_OF_DESCRIPTORS)
                    continue
                connected.setblocking(False)
                self._make_room()
                tasks.start_soon(self._serve, connected)

    async def flushed(self) -> None:
        """Wait until all followers have all events.

        **Cancellation:** at any time, without effect.
        """
        while any(connection.following not in (None, self.ring.last) for connection in self.connections):
            await self._sent.wait()

    def sent(self) -> None:
        """A follower has been sent what there was."""
        self._sent.set()
        self._sent = anyio.Event()

    async def turn(self, cost: float) -> None:
        """Wait until it is a client's turn, and charge so many seconds of work for it.

        **Cancellation:** at any time, without effect.
        """
        async with self._turns:
            delay = self._pace.delay(time.perf_counter())
            if delay > 0:
                await anyio.sleep(delay)
            self._pace.charge(cost, time.perf_counter())

    @contextmanager
    def charged(self) -> Iterator[None]:
        """Charge the time that the block takes; it must not wait."""
        began = time.perf_counter()
        try:
            yield
        finally:
            now = time.perf_counter()
            self._pace.charge(now - began, now)

    def relieve(self) -> None:
        """Where too many bytes wait, hang up on whoever has let them wait longest."""
        if self.unsent > UNSENT_BYTES:
            waiting = [connection for connection in self.connections if connection.unsent]
            if len(waiting) > 1:
                min(waiting, key=lambda connection: connection.active_at).hang_up()

    @contextmanager
    def holding(self, size: int) -> Iterator[bool]:
        """Keep a line of so many bytes while it is worked on; False where too much is kept already."""
        admitted = self._held + size <= HELD_BYTES
        self._held += size
        try:
            yield admitted
        finally:
            self._held -= size

    def _make_room(self) -> None:
        if len(self.connections) >= CONNECTIONS:
            least = min(self.connections, key=lambda connection: connection.merit)
            # gone from now on: it needs no second turn to be so
            self.connections.discard(least)
            least.hang_up()

    async def _serve(self, connected: socket.socket) -> None:
        token = self._listener.token
        try:
            with self.charged():
                peer = of_unix(connected) if token is None else of_tcp(connected)
        except OSError:
            peer = Peer(-1, None, None)
        connection = Connection(self, connected, peer, token=token)
        self.connections.add(connection)
        try:
            await connection.run()
        except Exception as error:  # the boundary that keeps a fault of ours about one client from the others
            self._faulted(error)
        finally:
            self.connections.discard(connection)
