"""What runs in a worker's process, as its launch sees it, and the tree of a supervisor that runs there."""

from __future__ import annotations

import contextvars
import logging
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, cast

import anyio
from anyio.abc import TaskGroup

from ..core import wire
from ..core.errors import InvalidField, NoProc
from ..core.event import Event, jsonable
from ..core.exits import Exit
from ..core.mirror import frames, news
from ..core.ports import Handle
from ..core.state import Lifecycle, State
from ..core.term import TAG, NotPortable, encode, trimmed
from .bus import Bus
from .calling import call_child, run_served
from .connection import Connection
from .node import Life, Monitor, Node
from .tree import CURRENT, Tree

_TEXT: Final = 1000


class Process(Protocol):
    """What there is one of in a worker's process."""

    @property
    def connection(self) -> Connection:
        """To the supervisor."""

    @property
    def start(self) -> wire.Start:
        """What it was told first."""

    @property
    def tasks(self) -> TaskGroup:
        """What runs here."""

    async def call(self, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
        """Call a child that is not here."""


class WorkerTicket:
    """The life of the function that runs here, as its launch and as `current_child` see it."""

    node: Any
    tree: WorkerTree

    def __init__(self, process: Process) -> None:
        self.process = process
        self.path: tuple[str, ...] = process.start.path
        self.id, self.generation = self.path[-1], process.start.generation
        self.monitors: dict[Monitor, None] = {}
        self.served: dict[str, Callable[..., Any]] | None = {}
        self.handle: Handle | None = None
        self.exit: Exit | None = None
        self.gone = anyio.Event()
        self.over = False

    def __getattr__(self, name: str) -> Any:
        if name in ("node", "tree"):
            raise NoProc(self.path[:-1], text="is in another process")
        raise AttributeError(name)

    def started(self, value: object = None) -> None:
        """See `Ticket.started`."""
        self.process.connection.send(wire.Ready(encode(value)))

    def ignored(self) -> None:
        """See `Ticket.ignored`."""
        self.process.connection.send(wire.Ignored())
        self._end(None)

    def exited(self, exit: Exit) -> None:
        """See `Ticket.exited`."""
        self.exit = exit
        self._end(exit)

    def extend(self, seconds: float) -> None:
        """See `Ticket.extend`."""
        self.process.connection.send(wire.Extended(None if seconds == math.inf else seconds))

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> anyio.CancelScope:
        """See `Ticket.spawn`."""
        scope = anyio.CancelScope(shield=True)

        async def within() -> None:
            with scope:
                await run()

        def start() -> None:
            CURRENT.set(cast(Life, self))
            self.process.tasks.start_soon(within, name=name)

        contextvars.copy_context().run(start)
        return scope

    def emit(self, event: Event) -> None:
        """See `Ticket.emit`."""
        check_path(event, self.path)
        self.process.connection.send(wire.Emitted(encode(event)))

    async def call(self, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
        """See `Ticket.call`."""
        if path == self.path:
            return await run_served(cast(Life, self), name, args, timeout)
        if "tree" in vars(self):
            return await self.tree.call(path, name, args, timeout)
        return await self.process.call(path, name, args, timeout)

    def serve(self, name: str, function: Callable[..., Any]) -> None:
        """See `calling.serve`."""
        if self.served is not None:
            self.served[name] = function

    def monitor(self, gone: Monitor) -> None:
        """See `Life.monitor`."""
        self.monitors[gone] = None

    def demonitor(self, gone: Monitor) -> None:
        """See `Life.demonitor`."""
        self.monitors.pop(gone, None)

    def plant(self) -> None:
        """Have a tree here, whose top supervisor this is."""
        self.tree = WorkerTree(self)

    def _end(self, exit: Exit | None) -> None:
        self.over = True
        self.served = None
        monitors, self.monitors = self.monitors, {}
        for gone in monitors:
            gone(exit)
        self.gone.set()


class WorkerTree(Tree):
    """The tree below a supervisor that has this process: what happens in it is told to the process above."""

    def __init__(self, ticket: WorkerTicket) -> None:
        self._ticket = ticket
        super().__init__(ticket.process.tasks, run="", sinks=(), fail=self._fail)
        self.bus = _Outlet(ticket.process.connection, self.clock, ticket.path)
        self.observe = self._tell
        self.fault: BaseException | None = None
        self._told: dict[Node, State] = {}

    async def call(self, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
        """A child here, or one that the process above knows."""
        top = self._ticket.path
        if self.root is not None and path[: len(top)] == top:
            return await call_child(self.root, path, name, args, timeout)
        return await self._ticket.process.call(path, name, args, timeout)

    def mirrored(self, message: wire.Mirrored) -> None:
        """From a process below: the one above has to know it too."""
        self._ticket.process.connection.send(message)

    def _tell(self, node: Node) -> None:
        if self.root is None:
            self.root = node  # it is the first to take a step
        state = node.state
        try:
            for message in news(self._told.get(node), state, self.clock() - time.monotonic()):
                for frame in frames(message):
                    self._ticket.process.connection.send_frame(frame)
        except (wire.FrameTooLarge, NotPortable) as error:
            self._fail(error)  # an id of a megabyte: nobody above could follow any more
        if state.lifecycle is Lifecycle.FINISHED:
            self._told.pop(node, None)
        else:
            self._told[node] = state

    def _fail(self, error: BaseException) -> None:
        self.fault = self.fault or error
        if self.root is not None:
            self.root.terminate()


class _Outlet(Bus):
    """A bus without sinks and subscriptions: every event goes to the process above, which numbers it."""

    def __init__(self, connection: Connection, clock: Callable[[], float], top: tuple[str, ...]) -> None:
        super().__init__("", clock)
        self._connection, self._top = connection, top

    def publish(self, event: Event) -> None:
        """Send it on; one that cannot cross as it is arrives as a `ForeignEvent` with its data, abridged."""
        check_path(event, self._top)
        try:
            self._connection.send(wire.Emitted(encode(event)))
        except (NotPortable, wire.FrameTooLarge):
            kind = type(event)
            fields = {"path": encode(event.path), "generation": event.generation}
            data = {
                TAG: f"{kind.__module__}:{kind.__qualname__} as data",
                "v": fields,
                "n": event.name,
                "d": _abridged(jsonable(event.as_data())),
            }
            try:
                self._connection.send(wire.Emitted(data))
            except wire.FrameTooLarge as error:
                logging.getLogger("supervisor.worker").warning("%s: an event %s is lost: %s", "/".join(event.path), event.name, error)


def check_path(event: Event, top: tuple[str, ...]) -> None:
    """Refuse an event that the process above would take for a worker that has lost its way.

    Raises:
        InvalidField: It is about somebody else than the child that has this process, or whoever is below that.
    """
    if event.path[: len(top)] != top:
        raise InvalidField("path", event.path, f"{'/'.join(top)}, or what is below it: this process speaks for no others", where=event.name)


def _abridged(data: Any) -> Any:
    """JSON data with the ends of its texts."""
    if isinstance(data, dict):
        return {key: _abridged(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_abridged(value) for value in data]
    return trimmed(data, _TEXT) if isinstance(data, str) else data
