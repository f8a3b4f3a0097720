"""The process of a worker: what it becomes, what runs in it, and how it talks to its supervisor."""

from __future__ import annotations

import contextvars
import ctypes
import os
import select
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, cast

import anyio
import anyio.abc

from ..core import wire
from ..core.errors import NoProc
from ..core.event import Event
from ..core.exits import Exit
from ..core.extra_errors import CallTimeout
from ..core.ports import C, Handle, Launch, Spawn
from ..core.term import decode, encode
from ..host.marker import VARIABLE
from ..leaf.interrupts import apply_marks
from ..leaf.link import AT_ONCE, CALLS
from ..leaf.records import RecordHandler
from ..leaf.task import task
from .calling import run_served
from .node import Life, Monitor
from .tree import CURRENT

ORPHANED: Final = 5.0
"""Seconds that a worker has to unwind when its supervisor is gone."""

_PR_SET_PDEATHSIG: Final = 1


def settle(start: wire.Start, connection: Connection) -> None:
    """Become the process that the first message says."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, start.death_signal, 0, 0, 0)
    else:
        threading.Thread(target=end_with, args=(connection.fileno(),), name="supervisor watch", daemon=True).start()
    if os.getppid() != start.parent:
        os._exit(0)  # it was gone before the kernel was told
    with suppress(PermissionError):  # who was not forked leads one already
        os.setsid()
    if start.env is not None:
        for name in [name for name in os.environ if name not in start.env]:
            del os.environ[name]
        for name, value in start.env.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
    if start.marker is not None:
        _set_marker(start.marker)
    if start.cwd:
        with suppress(OSError):  # it was removed; then it is missing here as it is there
            os.chdir(start.cwd)
    if start.paths is not None:
        sys.path[:] = start.paths


def end_with(fd: int) -> None:
    """End this process when the other end of a socket is closed, whatever it is busy with."""
    poll = select.poll()
    poll.register(fd, 0)  # reading is somebody else's; a hang-up is always told
    poll.poll()
    os._exit(1)


def _libc() -> Any:
    global _library
    if _library is None:
        _library = ctypes.CDLL(None)
        _library.getenv.restype = ctypes.c_void_p
    return _library


def find_marker() -> None:
    """Note where the kernel shows the life's variable to others: the environment that the server was started with."""
    global _marker
    value = os.environb.get(VARIABLE.encode(), b"")
    _marker = (_libc().getenv(VARIABLE.encode()), len(value))


def _set_marker(value: str) -> None:
    os.environ[VARIABLE] = value
    place, room = _marker
    if place and len(value) <= room:
        ctypes.memmove(place, value.encode().ljust(room, b"\0"), room)


_library: Any = None
_marker: tuple[int | None, int] = (None, 0)


# ---------------------------------------------------------------- the worker


class Connection:
    """The worker's end of the socket.

    What is sent is on its way when `send` returns, from any thread; it waits while the supervisor does not read. Receiving never waits.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._frames = wire.Frames()
        self._lock = threading.RLock()
        self._queue: deque[bytes] = deque()
        self._sending = self.broken = False

    def fileno(self) -> int:
        """Its number."""
        return self._socket.fileno()

    def send(self, message: wire.Message) -> None:
        """Send a message; when nobody is there any more it is dropped.

        Raises:
            FrameTooLarge: It is too long.
        """
        frame = wire.pack(message)
        with self._lock:
            self._queue.append(frame)
            if self._sending:
                return  # a signal handler, in the middle of another message, which is followed by this one
            self._sending = True
            try:
                while self._queue and not self.broken:
                    self._socket.sendall(self._queue.popleft())
            except ConnectionError:
                self.broken = True
            finally:
                self._sending = False

    def close(self) -> None:
        """Close it; what is sent from now on is dropped."""
        self.broken = True
        self._socket.close()

    def first(self) -> wire.Message | None:
        """Wait for the first message; None when nobody is there any more."""
        while (message := self.next()) is None:
            if not self._fill(0):
                return None
        return message

    def next(self) -> wire.Message | None:
        """The next message that has come whole."""
        frame = self._frames.next()
        return None if frame is None else wire.unpack(frame)

    async def fill(self) -> bool:
        """Wait until more has come; False at the end."""
        while True:
            await anyio.wait_readable(self._socket)
            try:
                return self._fill(socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue

    def _fill(self, flags: int) -> bool:
        try:
            data = self._socket.recv(AT_ONCE, flags)
        except ConnectionError:
            return False
        self._frames.feed(data)
        return bool(data)


class WorkerTicket:
    """The life of the function that runs here, as its launch and as `current_child` see it."""

    node: Any

    def __init__(self, process: WorkerProcess) -> None:
        self.process = process
        self.path: tuple[str, ...] = process.start.path
        self.id, self.generation = self.path[-1], process.start.generation
        self.monitors: dict[Monitor, None] = {}
        self.served: dict[str, Callable[..., Any]] | None = {}
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
        self.process.connection.send(wire.Emitted(encode(event)))

    def shared(self, make: Callable[[Spawn], C]) -> C:
        """Nothing that runs here shares anything."""
        raise NotImplementedError(make)

    async def call(self, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
        """See `Ticket.call`."""
        if path == self.path:
            return await run_served(cast(Life, self), name, args, timeout)
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

    def _end(self, exit: Exit | None) -> None:
        self.over = True
        self.served = None
        monitors, self.monitors = self.monitors, {}
        for gone in monitors:
            gone(exit)
        self.gone.set()


class WorkerProcess:
    """What runs in a worker's process: the function, and the ear for its supervisor."""

    tasks: anyio.abc.TaskGroup

    def __init__(self, connection: Connection, start: wire.Start) -> None:
        self.connection, self.start = connection, start
        self._handle: Handle | None = None
        self._numbers = 0
        self._waiting: dict[int, tuple[anyio.Event, list[wire.Replied]]] = {}

    def run(self) -> int:
        """Live, and say how it ended; the exit code."""
        import logging

        handler = RecordHandler(self.connection.send)
        logging.root.addHandler(handler)
        logging.root.setLevel(self.start.log_level)
        try:
            return self._run()
        finally:
            logging.root.removeHandler(handler)

    def _run(self) -> int:
        try:
            launch = self._launch()
        except BaseException as error:  # the boundary where a function that cannot be had becomes an exit
            self._say(Exit.failed(error))
            return 1
        apply_marks()
        exit = anyio.run(self._live, launch, backend=self.start.backend)
        if exit is not None:
            self._say(exit)
        return 0 if exit is None or exit.is_clean else 1

    async def call(self, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
        """Call a child that is not here."""
        self._numbers += 1
        number, answered, replies = self._numbers, anyio.Event(), list[wire.Replied]()
        message = wire.Called(number, path, name, encode(args), None if timeout == float("inf") else timeout)
        try:
            with anyio.move_on_after(timeout):
                async with self._calls:
                    self._waiting[number] = (answered, replies)
                    self.connection.send(message)
                    await answered.wait()
        finally:
            self._waiting.pop(number, None)
        if not replies:
            raise CallTimeout(path[:-1], path[-1], name, timeout)
        value = decode(replies[0].value)
        if replies[0].failed:
            raise value
        return value

    def _launch(self) -> Launch:
        from importlib import import_module

        module, _, name = self.start.function.partition(":")
        function: Any = import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
        args, kwargs = decode(self.start.args), decode(self.start.kwargs)
        return task(function, *args, **kwargs)

    async def _live(self, launch: Launch) -> Exit | None:
        self._calls = anyio.Semaphore(CALLS - 1)
        ticket = WorkerTicket(self)
        async with anyio.create_task_group() as self.tasks:
            self.tasks.start_soon(self._listen, ticket)
            self._handle = launch.launch(ticket)
            await ticket.gone.wait()
            self.tasks.cancel_scope.cancel()
        return ticket.exit

    async def _listen(self, ticket: WorkerTicket) -> None:
        there = True
        while there:
            while (message := self.connection.next()) is not None:
                match message:
                    case wire.Shutdown():
                        self._unwind()
                    case wire.Called():
                        self.tasks.start_soon(self._answer, ticket, message)
                    case wire.Replied(number=number):
                        if number in self._waiting:
                            answered, replies = self._waiting[number]
                            replies.append(message)
                            answered.set()
            there = await self.connection.fill()
        # nobody will kill us
        timer = threading.Timer(ORPHANED, os._exit, (1,))
        timer.daemon = True
        timer.start()
        self._unwind()

    def _unwind(self) -> None:
        if self._handle is not None:
            self._handle.terminate()

    async def _answer(self, ticket: WorkerTicket, call: wire.Called) -> None:
        try:
            value = await ticket.call(call.path, call.name, tuple(decode(call.args)), float("inf"))
            reply = wire.Replied(call.number, encode(value))
            wire.pack(reply)
        except Exception as error:  # the boundary where a call that failed becomes its answer
            reply = wire.Replied(call.number, encode(error), failed=True)
        self.connection.send(reply)

    def _say(self, exit: Exit) -> None:
        exception = None if exit.exception is None else encode(exit.exception)
        self.connection.send(wire.Exited(exit.kind.value, exit.reason, exception))
