"""What a run has of its control while nobody connects: a socket that listens, and the latest events."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import anyio

from ...core.exits import describe
from .place import HAS_UNIX, Listener, listen
from .ring import Ring

if TYPE_CHECKING:
    from ...core.event import Record
    from ...runtime.supervisor import Supervisor
    from ..signals import StopRequest
    from .extension import ControlExtension
    from .server import Server

FLUSH: Final = 0.2
"""Seconds for which the end of a run waits for followers that have not taken the last events."""


class Control:
    """The control of one run, for the application that runs it; a context manager around the block that has the tree.

    Within it the tree gets `keep` as a sink, and `serve` runs in a task of that block. Where nobody can listen, the run goes on
    without and the tree says so.

    Args:
        run: The run's id.
        kind: What the launcher was told to do: ``"run"``, ``"demo"`` or ``"app"``.
        backend: The event loop, for who asks.
        environ: Names the places where the socket may be; default: that of this process.
        tcp: Whether to listen by TCP on the loopback address instead; default: where there are no sockets in the file system.

    Attributes:
        listener: What clients connect to; None outside of the block and where nobody can listen.
        ring: The latest events.
    """

    def __init__(
        self, run: str, kind: str = "app", backend: str = "", *, environ: Mapping[str, str] | None = None, tcp: bool = not HAS_UNIX
    ) -> None:
        self.run, self.kind, self.backend = run, kind, backend
        self.ring = Ring()
        self.listener: Listener | None = None
        self._environ, self._tcp = os.environ if environ is None else environ, tcp
        self._failure: str | None = None
        self._server: Server | None = None

    def __enter__(self) -> Control:
        try:
            self.listener = listen(self.run, self._environ, tcp=self._tcp)
        except OSError as error:
            self._failure = error.strerror or str(error)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def keep(self, record: Record) -> None:
        """Keep an event for those who ask for it; a sink of the tree's bus."""
        self.ring.keep(record)

    def began(self, tree: Supervisor) -> None:
        """The tree is up: say so if nobody can connect to it."""
        if self._failure is not None:
            self._say(tree, self._failure)

    async def serve(self, tree: Supervisor, stop: StopRequest, extension: Callable[[], ControlExtension] | None = None) -> None:
        """Serve clients. Everything that is needed for it is imported when the first one connects.

        Args:
            tree: What they ask about.
            stop: What asks the run to stop.
            extension: Makes what the application adds, when the first client connects.

        **Cancellation:** hangs up on all clients; what they asked the tree for still happens.
        """
        if self.listener is None:
            return
        try:
            await anyio.wait_readable(self.listener.socket)
            from .basics import Basics
            from .extension import ControlExtension
            from .server import Server

            more = ControlExtension() if extension is None else extension()
            async with anyio.create_task_group() as tasks:
                basics = Basics(self, tree, stop, more, tasks)
                self._server = Server(self.listener, self.ring, basics.methods(), basics.faulted)
                await self._server.run()
        except Exception as error:  # the boundary that keeps a fault of the control from the run: it becomes an event, and nobody is served
            self._close()
            cause: Exception = error
            while isinstance(cause, ExceptionGroup):
                cause = cause.exceptions[0]
            self._say(tree, describe(cause))
        finally:
            self._server = None

    async def flushed(self) -> None:
        """The run is over: give those who follow its events a moment to take the last ones.

        **Cancellation:** at any time, without effect.
        """
        if self._server is not None:
            with anyio.move_on_after(FLUSH):
                await self._server.flushed()

    @staticmethod
    def _say(tree: Supervisor, reason: str) -> None:
        from .unavailable import ControlUnavailable

        tree.emit(ControlUnavailable((tree.id,), reason))

    def _close(self) -> None:
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.close()
