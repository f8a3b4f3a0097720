"""Where the process of a worker begins: in an interpreter of its own, or as a fork of a server that has everything ready.

The server has one thread, has imported what a worker needs, and has rehearsed a worker's life, so that a fork finds everything compiled
and cached. It keeps one fork in reserve, which has rehearsed once more: that has made the memory its own that a life touches, and
to be born costs it no more than its first message. The other side is `host.fork_server`.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import select
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import anyio
import attrs

from ..core import wire
from ..host.fork_server import LONGEST_NAME, REPLY
from ..host.marker import VARIABLE
from ..leaf.inherited import working_directory
from ..leaf.interrupts import apply_marks
from .connection import Connection

assert sys.platform != "win32", "no process inherits a socket there, so none can be a worker"

from .worker_process import WorkerProcess, ask_for, become, find_marker, settle  # noqa: E402

_REHEARSALS = 10
_REHEARSAL = "supervisor.runtime.rehearsal"
_PAUSE = 0.05
"""Seconds of quiet after a birth before the next fork is made for the reserve: it would take the processor from who was just born."""


def main(fd: int, backend: str) -> None:
    """Live as a worker on this socket or, with a `backend`, as a fork server, and then as a worker in each fork of it."""
    if not backend:
        sys.exit(_live(fd))
    code = ForkServer(socket.socket(fileno=fd), backend).serve()
    if code is not None:
        _leave_quickly(code)


def _live(fd: int) -> int:
    with closing(Connection(socket.socket(fileno=fd))) as connection:
        process = _settled(connection)
        return 0 if process is None else process.run()


def _settled(connection: Connection) -> WorkerProcess | None:
    """Become what the first message says; None when there is nobody any more, or it has changed its mind."""
    start = connection.first()
    if not isinstance(start, wire.Start):
        return None
    settle(start, connection)
    return WorkerProcess(connection, start)


def _leave_quickly(code: int) -> None:
    """End a fork as `multiprocessing` does: an interpreter that takes itself apart would first copy all the memory that it shares."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # closed, or nobody reads it any more: there is nobody to tell
            stream.flush()
    os._exit(code)


@attrs.frozen
class _Reserve:
    """The fork that waits: its process id, and the socket over which it is given its own."""

    pid: int
    socket: socket.socket


class ForkServer:
    """Forks for each descriptor that comes."""

    def __init__(self, control: socket.socket, backend: str) -> None:
        from . import worker_settings  # noqa: F401 - a fork that has settings finds it here

        self.control, self.backend = control, backend
        gc.disable()
        find_marker()  # while it is where the kernel has put it
        for _ in range(_REHEARSALS):
            _rehearse(backend)
        gc.collect()
        gc.freeze()
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.reserve: _Reserve | None = None
        self.preloads = False

    def serve(self) -> int | None:
        """In a fork returns the exit code after its life, None if it gets none; in the server None, when the supervisor is gone."""
        self.control.send(REPLY.pack(0))
        while True:
            if self.reserve is None and not select.select([self.control], [], [], _PAUSE)[0]:
                ours, theirs = socket.socketpair()
                with theirs:
                    pid = self._fork()
                    if pid == 0:
                        ours.close()
                        return self._wait(theirs)
                if pid > 0:
                    self.reserve = _Reserve(pid, ours)
                    continue
                ours.close()  # a bad time for a fork; the next birth tries again
            data, fds, _, _ = socket.recv_fds(self.control, 1 + LONGEST_NAME, 1)
            if not data:
                return None
            if data.startswith(b"p"):
                self.control.send(REPLY.pack(self._preload(data[1:].decode())))
                continue
            pid = -errno.EMFILE if not fds else self._from_reserve(fds[0]) or self._fork()
            if pid == 0:
                self._leave()
                return _live(fds[0])
            for fd in fds:
                os.close(fd)
            self.control.send(REPLY.pack(pid))

    def _preload(self, module: str) -> int:
        """Import a module, for all forks to come; how many threads there are then."""
        if module not in sys.modules:
            with suppress(BaseException):  # whoever runs it is told why not
                import_module(module)
            gc.collect()
            gc.freeze()
            if self.reserve is not None:
                self.reserve.socket.close()  # it has not the module, and ends
                self.reserve = None
        self.preloads = True
        return len(os.listdir("/proc/self/task"))

    def _from_reserve(self, fd: int) -> int:
        """Give a life to the fork that waits; 0 when there is none."""
        reserve, self.reserve = self.reserve, None
        if reserve is None:
            return 0
        with reserve.socket:
            try:
                socket.send_fds(reserve.socket, [b"f"], [fd])
            except ConnectionError:
                return 0  # it was killed
        return reserve.pid

    def _wait(self, end: socket.socket) -> int | None:
        """Live as the reserve: get ready, and wait for a descriptor; None when none comes."""
        self._leave()
        ask_for(0)
        _rehearse(self.backend)
        if not self.preloads:  # what a worker has to import is not imported within an event loop
            fd = _received(end)
            return None if fd is None else _live(fd)
        apply_marks()
        with ExitStack() as life:
            rest = anyio.run(self._begin, end, life, backend=self.backend)
            return None if rest is None else rest()

    async def _begin(self, end: socket.socket, life: ExitStack) -> Callable[[], int] | None:
        """Live, if this event loop will do; what is left to be done when it is over, None when there is no life to be had."""
        fd = _received(end)  # it blocks: there is nobody yet to be kept waiting in this loop
        if fd is None:
            return None
        process = _settled(life.enter_context(closing(Connection(socket.socket(fileno=fd)))))
        if process is None or not process.fits(self.backend):
            return (lambda: 0) if process is None else process.run
        life.enter_context(process.logging())
        launch = process.launch()
        if launch is None:
            return lambda: 1
        return partial(process.end, await process.live(launch))

    def _leave(self) -> None:
        """Be the server no more."""
        os.close(self.reader)
        os.close(self.writer)
        self.control.close()
        if self.reserve is not None:
            self.reserve.socket.close()
        gc.enable()

    def _fork(self) -> int:
        """Make an orphan: 0 in it; in the server its process id, or the negative error number. It has its new parent by then."""
        try:
            between = os.fork()
        except OSError as error:
            return -(error.errno or errno.EAGAIN)
        if between:
            os.waitpid(between, 0)
            try:
                return int.from_bytes(os.read(self.reader, 8), sys.byteorder, signed=True)
            except BlockingIOError:
                return -errno.EAGAIN  # the go-between was killed
        try:
            pid = os.fork()
        except OSError as error:
            pid = -(error.errno or errno.EAGAIN)
        if pid:
            os.write(self.writer, pid.to_bytes(8, sys.byteorder, signed=True))
            os._exit(0)
        return 0


def _received(end: socket.socket) -> int | None:
    """The descriptor of a life; None when none comes any more."""
    data, fds, _, _ = socket.recv_fds(end, 1, 1)
    end.close()
    return fds[0] if data and fds else None


def _rehearse(backend: str) -> None:
    """Do once what every worker does: what that imports, compiles and caches is there from then on."""
    marker, paths = os.environ.get(VARIABLE), tuple(sys.path)
    start = wire.Start(f"{_REHEARSAL}:play", [], {}, ("worker",), 1, backend, os.getpid(), 0, marker, {}, working_directory(), paths)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(wire.pack(start))
        connection = Connection(ours)
        first = connection.first()
        assert isinstance(first, wire.Start)
        become(first)
        find_spec("there_is_no_such_module")  # looks in each place of the module path
        sys.modules.pop(_REHEARSAL, None)
        WorkerProcess(connection, first).run()
