"""The process of a worker: what it becomes, what runs in it, and how it talks to its supervisor."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import anyio
import anyio.abc

from ..core import wire
from ..core.errors import NoProc
from ..core.exits import Exit
from ..core.extra_errors import CallTimeout
from ..core.launch import ChildType, Launch
from ..core.message import Judge, Reply, Stop
from ..core.ports import Handle
from ..core.term import ForeignValue, NotPortable, decode, encode, modules
from ..host.marker import VARIABLE
from ..leaf.interrupts import apply_marks
from ..leaf.link import CALLS
from ..leaf.records import RecordHandler
from ..leaf.task import task
from .connection import Connection
from .worker_ticket import WorkerTicket

assert sys.platform != "win32", "no process inherits a socket there, so none can be a worker"

ORPHANED: Final = 5.0
"""Seconds that a worker has to unwind when its supervisor is gone."""
ORPHANED_TREE: Final = 1.0
"""Seconds that a supervisor has then to kill what is below it and to sweep; what is left of its children after that, the kernel kills."""

_PR_SET_PDEATHSIG: Final = 1


def settle(start: wire.Start, connection: Connection) -> None:
    """Become the process that the first message says."""
    if sys.platform == "linux" and start.settings is not None:
        from .worker_settings import take_settings  # here: most workers have none

        take_settings(start, connection)  # before a second thread, and before the death signal, which a change of user takes back
    ask_for(start.death_signal)
    if sys.platform != "linux" or not start.death_signal:
        grace = 0.0 if start.death_signal else ORPHANED_TREE
        threading.Thread(target=end_with, args=(connection.fileno(), grace), name="supervisor watch", daemon=True).start()
    if os.getppid() != start.parent:
        os._exit(0)  # it was gone before the kernel was told
    with suppress(PermissionError):  # who was not forked leads one already
        os.setsid()
    become(start)


def ask_for(death_signal: int) -> None:
    """Ask the kernel for a signal when our parent dies; 0 for none."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)


def become(start: wire.Start) -> None:
    """Have the environment, the marker, the directory and the module path that the first message says."""
    for name, value in start.env.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if start.marker is not None:
        _set_marker(start.marker)
    if start.cwd:
        with suppress(OSError):  # it was removed; then it is missing here as it is there
            os.chdir(start.cwd)
    if start.paths is not None:
        sys.path[:] = start.paths


def end_with(fd: int, grace: float = 0.0) -> None:
    """End this process when the other end of a socket is closed, whatever it is busy with, after `grace` seconds to do so itself."""
    poll = select.poll()
    poll.register(fd, 0)  # reading is somebody else's; a hang-up is always told
    poll.poll()
    time.sleep(grace)
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
        with self.logging():
            launch = self.launch()
            apply_marks()
            return 1 if launch is None else self.end(anyio.run(self.live, launch, backend=self.start.backend))

    def fits(self, backend: str) -> bool:
        """Whether it can live in an event loop of this kind that runs already: nothing is imported in it, nor has it begun in vain."""
        start = self.start
        return start.launch is None and not start.env and start.backend == backend and start.function.partition(":")[0] in sys.modules

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Have what is logged in the block logged by the supervisor."""
        import logging

        handler = RecordHandler(self.connection.send)
        logging.root.addHandler(handler)
        logging.root.setLevel(self.start.log_level)
        try:
            yield
        finally:
            logging.root.removeHandler(handler)

    def end(self, exit: Exit | None) -> int:
        """Say how it has ended, once its event loop is over as well; the exit code."""
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

    def launch(self) -> Launch | None:
        """What is launched here; None when it cannot be had, which is said."""
        try:
            return self._launch()
        except BaseException as error:  # the boundary where a function that cannot be had becomes an exit
            self._say(Exit.failed(error))
            return None

    def _launch(self) -> Launch:
        from importlib import import_module

        if self.start.launch is not None:
            launch = self._received(self.start.launch)
            if not isinstance(launch, Launch):
                raise TypeError(f"{launch!r} cannot be launched")
            return launch
        module, _, name = self.start.function.partition(":")
        function: Any = import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
        args, kwargs = decode(self.start.args), decode(self.start.kwargs)
        return task(function, *args, **kwargs)

    def _received(self, data: Any) -> Any:
        """A value from the supervisor, whose modules this process may well import: it runs what it is told to run."""
        from importlib import import_module

        for module in dict.fromkeys(modules(data)):
            import_module(module)
        return decode(data)

    async def live(self, launch: Launch) -> Exit | None:
        """Run it; how it has ended, None where there is nobody to tell."""
        self._calls = anyio.Semaphore(CALLS - 1)
        ticket = WorkerTicket(self)
        async with anyio.create_task_group() as self.tasks:
            self.tasks.start_soon(self._listen, ticket)
            if self.start.watchdog is not None:
                faulthandler.enable(2)  # who is silent gets SIGABRT, and says where it is stuck
                self.tasks.start_soon(self._ping, self.start.watchdog / 2)
            supervises = launch.type is ChildType.SUPERVISOR
            if supervises:
                ticket.plant()
            try:
                self._handle = launch.launch(ticket)
            except Exception as error:  # the boundary where a launch that raises becomes a failed start
                ticket.exited(Exit.failed(error))
            await ticket.gone.wait()
            if supervises:
                self._leave(ticket)
            self.tasks.cancel_scope.cancel()
        return None if self.connection.broken else ticket.exit

    def _leave(self, ticket: WorkerTicket) -> None:
        """All supervisors have ended."""
        tree = ticket.tree
        tree.close()
        if tree.fault is not None:
            ticket.exit = Exit.failed(tree.fault)
        if tree.abandoned and ticket.exit is not None:
            # what does not end keeps this process, and nobody else will say it: the supervisor kills who has said how it ends and stays
            self._say(ticket.exit)
            self.connection.broken = True

    async def _listen(self, ticket: WorkerTicket) -> None:
        there = True
        while there:
            while (message := self.connection.next()) is not None:
                match message:
                    case wire.Shutdown():
                        self._unwind()
                    case wire.Called():
                        self.tasks.start_soon(self._answer, ticket, message)
                    case wire.Requested():
                        self._serve(ticket, message)
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
        if ticket.handle is None:
            self._unwind()
        else:
            ticket.handle.kill()  # a supervisor: nobody waits for its children any more

    async def _ping(self, interval: float) -> None:
        while True:
            self.connection.send(wire.Alive())
            await anyio.sleep(interval)

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

    def _serve(self, ticket: WorkerTicket, message: wire.Requested) -> None:
        """Have a supervisor here do what it is asked to, and send its answer."""

        def answer(reply: Reply) -> None:
            if reply.error is not None:
                self.connection.send(wire.Replied(message.number, encode(reply.error), failed=True))
                return
            try:
                self.connection.send(wire.Replied(message.number, encode((reply.id, reply.value))))
            except (NotPortable, wire.FrameTooLarge):  # what a child has acknowledged with; that it is up is true anyway
                value = ForeignValue(f"{type(reply.value).__module__}:{type(reply.value).__qualname__}", {})
                self.connection.send(wire.Replied(message.number, encode((reply.id, value))))

        try:
            request = self._received(message.request)
            if ticket.tree.root is None:
                raise NoProc(message.path)
            node = ticket.tree.root.find(message.path)
            match request:
                case Judge():
                    node.judge(request.id, request.generation, success=request.success)
                case Stop():
                    node.stop(request.exit)
                case _:
                    node.call(request, answer)
                    return
            answer(Reply(0))
        except Exception as error:  # the boundary where a request that cannot be served becomes its answer
            answer(Reply(0, error=error))

    def _say(self, exit: Exit) -> None:
        exception = None if exit.exception is None else encode(exit.exception)
        self.connection.send(wire.Exited(exit.kind.value, exit.reason, exception))
