"""What a run has of its control while nobody connects: a socket that listens, and the latest events."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

from ...core.errors import NoProc
from ...core.exits import describe
from ..redactor import NOTHING, Redactor

if TYPE_CHECKING:
    from ...core.event import Record
    from ...runtime.supervisor import Supervisor
    from ..signals import StopRequest
    from .extension import ControlExtension
    from .place import Listener
    from .ring import Ring
    from .server import Server

FLUSH: Final = 0.2
"""Seconds for which the end of a run waits for followers that have not taken the last events."""
STARTING: Final = 0.1
"""Seconds for which a tree that is starting has the processor to itself: the commands come first."""


class Control:
    """The control of one run, for the application that runs it; a context manager around the block that has the tree.

    Within it the tree gets `keep` as a sink, and `serve` runs in a task of that block. Where nobody can listen, the run goes on
    without and the tree says so.

    Args:
        run: The run's id.
        kind: What the launcher was told to do: ``"run"``, ``"demo"`` or ``"app"``.
        backend: The event loop, for who asks.
        environ: Names the places where the socket may be; default: that of this process.
        tcp: Whether to listen by TCP on the loopback address instead; None: where there are no sockets in the file system.
        redactor: Takes secrets out of events and answers.

    Attributes:
        listener: What clients connect to; None before it is opened, outside of the block, and where nobody can listen.
        ring: The latest events; None before it is opened.
        opened: Set when the tree was up, or had its time to start, and clients can connect if that is possible at all.
    """

    def __init__(
        self,
        run: str,
        kind: str = "app",
        backend: str = "",
        *,
        environ: Mapping[str, str] | None = None,
        tcp: bool | None = None,
        redactor: Redactor = NOTHING,
    ) -> None:
        self.run, self.kind, self.backend = run, kind, backend
        self.ring: Ring | None = None
        self.listener: Listener | None = None
        self.opened = anyio.Event()
        self._environ, self._tcp = os.environ if environ is None else environ, tcp
        self._redactor = redactor
        self._early: list[Record] = []
        self._up = anyio.Event()
        self._server: Server | None = None

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def keep(self, record: Record) -> None:
        """Keep an event for those who ask for it; a sink of the tree's bus."""
        if self.ring is not None:
            self.ring.keep(record)
        elif not self.opened.is_set():
            self._early.append(record)

    def began(self) -> None:
        """The tree is up."""
        self._up.set()

    async def serve(self, tree: Supervisor, stop: StopRequest, extension: Callable[[], ControlExtension] | None = None) -> None:
        """Serve clients. Everything that is needed for it is imported when the first one connects.

        Args:
            tree: What they ask about.
            stop: What asks the run to stop.
            extension: Makes what the application adds, when the first client connects.

        **Cancellation:** hangs up on all clients; what they asked the tree for still happens.
        """
        with anyio.move_on_after(STARTING):
            await self._up.wait()
        self._open(tree)
        if self.listener is None or self.ring is None:
            return
        try:
            await anyio.wait_readable(self.listener.socket)
            from .basics import Basics
            from .extension import ControlExtension
            from .server import Server

            more = ControlExtension() if extension is None else extension()
            async with anyio.create_task_group() as tasks:
                basics = Basics(self, self.ring, tree, stop, more, tasks)
                self._server = Server(self.listener, self.ring, basics.methods(), basics.faulted, self._redactor)
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

    def _open(self, tree: Supervisor) -> None:
        from .place import HAS_UNIX, listen
        from .ring import Ring

        try:
            self.listener = listen(self.run, self._environ, tcp=not HAS_UNIX if self._tcp is None else self._tcp)
        except OSError as error:
            self._say(tree, error.strerror or str(error))
        else:
            self.ring = Ring(redactor=self._redactor)
            for record in self._early:
                self.ring.keep(record)
        self._early.clear()
        self.opened.set()

    @staticmethod
    def _say(tree: Supervisor, reason: str) -> None:
        from .unavailable import ControlUnavailable

        with suppress(NoProc):  # if not even the tree came about, there is nobody to tell
            tree.emit(ControlUnavailable((tree.id,), reason))

    def _close(self) -> None:
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.close()
