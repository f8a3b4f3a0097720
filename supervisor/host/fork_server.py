"""A process that has imported everything a worker needs, and forks: a worker is there in a millisecond instead of an interpreter's start.

The server is started like any command and has one thread, so that its forks are safe. What it forks becomes our own child: the server
forks a go-between that forks the worker and ends, so the worker is an orphan, and orphans come to us (see `reaper`). Until it has
read its first message the worker does nothing, so nobody can take it for a stranger: it is registered by then.

The other side is in `runtime.worker_main`. It keeps one fork in reserve, which is our child from its birth on.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import anyio
import attrs

from ..core.extra_errors import StartMethodUnavailable
from ..core.ports import Cancellable, Spawn
from . import reaper
from .environment import child_environment
from .identity import ProcessId, open_pidfd, send_signal
from .marker import new_marker
from .notify_names import hidden
from .procstat import read_stat
from .sentry import Post, watch_over
from .spare import with_reserve
from .spawn import Spawned, spawn

BOOT_TIMEOUT: Final = 30.0
"""Seconds within which the server must have imported what it needs."""
FORK_TIMEOUT: Final = 5.0
"""Seconds within which it must have forked."""
PATIENCE: Final = 0.25
"""Seconds after which we look whether somebody has stopped it, so that it will not answer at all."""
ROOM: Final = 160
"""Characters by which the server's marker is longer than it must be: a fork writes its own over it."""

REPLY: Final = struct.Struct("i")
"""0 when the server is up; then for each module the number of threads, and for each fork its process id or the negative error number."""
LONGEST_NAME: Final = 1000
"""Bytes of a module's name that is imported on request."""

_BOOT: Final = """\
import sys
fd, backend, sys.path[:] = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
sys.argv[1:] = []
from supervisor.runtime.worker_main import main
main(fd, backend)
"""


def interpreter(fd: int, backend: str = "", paths: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The command line of an interpreter that lives as a worker on this descriptor or, with a `backend`, as a fork server.

    It finds modules in these `paths`, by default where this process does, and nowhere else: the directory that it runs in is on the path
    only if it is here.
    """
    flags: list[str] = getattr(subprocess, "_args_from_interpreter_flags", list)()
    return (sys.executable, *(flag for flag in flags if flag != "-P"), "-P", "-c", _BOOT, str(fd), backend, *(paths or module_path()))


def module_path() -> tuple[str, ...]:
    """Where this process finds modules, as absolute paths."""
    return tuple(os.path.abspath(path) for path in sys.path)


@attrs.define(eq=False)
class ForkServer:
    """The fork server of one tree, started when it is first needed and again when it has died.

    Attributes:
        backend: The event loop that it has imported, as anyio calls it.
        environment: What it is started with, and so what its forks have; apart from the marker.
        paths: Where it finds modules, likewise.
    """

    _spawn: Spawn
    backend: str
    environment: Mapping[str, str] = attrs.field(factory=lambda: child_environment(hidden()))
    paths: tuple[str, ...] = attrs.field(factory=lambda: module_path())
    _running: _Running | None = None
    _fatal: set[str] = attrs.field(factory=set)
    _lock: anyio.Lock = attrs.field(factory=anyio.Lock)
    _closed: bool = False

    @property
    def pid(self) -> int | None:
        """Of the server, None while there is none."""
        return None if self._running is None or self._running.gone else self._running.spawned.pid

    async def fork(self, fd: int, marker: str, born: Callable[[Spawned], None], preload: tuple[str, ...] = ()) -> None:
        """Have a worker forked that lives on this descriptor, and whose life has this marker.

        Args:
            fd: The worker's end of a socket. It stays ours to close.
            marker: As in `spawn`.
            born: Called at once with the worker, which does nothing before it is told to.
            preload: Modules that the server imports first, unless it has; one that it does not survive, or that starts threads in it, is
                left to the workers from then on.

        Raises:
            StartMethodUnavailable: Servers died, or did not answer, or their forks died, again and again.
            OSError: There are no resources for one more process or descriptor.

        **Cancellation:** leaves the wait for the server; once that was asked to fork, what it answers is waited for.
        """
        async with self._lock:
            for _ in range(3):
                if self._closed:
                    break
                running = self._running
                if running is None or running.gone:
                    running = self._running = _Running.start(self._spawn, self)
                try:
                    await running.boot()
                    for module in preload:
                        if module not in running.loaded | self._fatal and len(module.encode()) <= LONGEST_NAME:
                            await running.preload(module)
                    pid = await running.fork(fd)
                except (ConnectionError, anyio.ClosedResourceError, TimeoutError):
                    if running.loading is not None:
                        self._give_up_on(running.loading)
                    running.end()
                    continue
                if (spawned := _adopted(pid, marker)) is not None:
                    born(spawned)
                    return
            raise StartMethodUnavailable("the fork server died, or what it had forked, again and again")

    def _give_up_on(self, module: str) -> None:
        import logging

        self._fatal.add(module)
        text = "the fork server cannot have imported %s, which ends it or starts threads: each worker imports it for itself"
        logging.getLogger("supervisor.worker").warning(text, module)

    def differences(self) -> dict[str, str | None]:
        """What a life that begins now has in its environment instead of what a fork has; None for what it has not."""
        now = child_environment(hidden())
        if now == self.environment:
            return {}
        changed = {name: value for name, value in now.items() if self.environment.get(name) != value}
        return {**dict.fromkeys(self.environment.keys() - now.keys()), **changed}

    def close(self) -> None:
        """End it; the task that watches it takes it away."""
        self._closed = True
        if self._running is not None:
            self._running.end()


@attrs.define(eq=False)
class _Running:
    """One life of the server.

    Attributes:
        loaded: The modules that it has been told to import, and has lived on.
        loading: The one that it is importing.
    """

    spawned: Spawned
    control: socket.socket
    post: Post
    gone: bool = False
    loaded: set[str] = attrs.field(factory=set)
    loading: str | None = None
    _booted: bool = False
    _ending: Cancellable | None = None

    @classmethod
    def start(cls, spawn_task: Spawn, server: ForkServer) -> _Running:
        """Start it; it needs a while until it can fork."""
        if sys.platform != "linux":
            raise StartMethodUnavailable("a fork server needs Linux")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        marker = f"{new_marker(('fork-server',), 1)}{'_' * ROOM}"
        # as long as there is a server there is a sentry: a worker that comes alone need not wait for the start of one
        post = watch_over(marker)
        try:
            ours.setblocking(False)
            if not reaper.adopt_orphans():
                raise StartMethodUnavailable("orphans do not come to us, so nor would what a fork server forks")
            words = interpreter(theirs.fileno(), server.backend, server.paths)
            env = {**dict.fromkeys(os.environ.keys() - server.environment.keys()), **server.environment}
            spawned = spawn(words, marker=marker, env=env, stdin="null", pass_fds=(theirs.fileno(),))
        except BaseException:  # also an interrupt: there is no server that could end what was begun for it
            ours.close()
            post.close()
            reaper.release()
            raise
        finally:
            theirs.close()
        reaper.register_server(spawned.pid)
        post.runs(spawned.id, own_session=True)
        running = cls(spawned, ours, post)
        running._ending = spawn_task(running.watch, "fork server")
        return running

    async def boot(self) -> None:
        """Wait until it can fork: until it is up, and has imported what somebody wanted who waits no more."""
        if not self._booted:
            with anyio.fail_after(BOOT_TIMEOUT):
                await self._reply()
            self._booted = True
        if self.loading is not None:
            with anyio.fail_after(BOOT_TIMEOUT):
                threads = await self._reply()
            if threads > 1:
                raise ConnectionAbortedError(errno.ECONNABORTED, "no process with threads can be forked")
            self.loaded.add(self.loading)
            self.loading = None

    async def preload(self, module: str) -> None:
        """Have it import a module.

        Raises:
            ConnectionError: It has ended, or has threads now; `loading` says of which module.
        """
        self.control.send(b"p" + module.encode())
        self.loading = module
        await self.boot()

    async def fork(self, fd: int) -> int:
        """Have it fork; the new process's id."""
        if sys.platform == "win32":
            raise StartMethodUnavailable("a fork server needs Linux")
        with anyio.CancelScope(shield=True), anyio.fail_after(FORK_TIMEOUT):
            socket.send_fds(self.control, [b"f"], [fd])
            pid = await self._reply()
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid), "fork server")
        return pid

    async def _reply(self) -> int:
        while not self.gone:
            with anyio.move_on_after(PATIENCE) as patience:
                await anyio.wait_readable(self.control)
            if patience.cancelled_caught and self._is_stopped():
                raise TimeoutError("the fork server is stopped")
            if self.gone:
                break  # and the socket closed, in the same turn
            try:
                data = self.control.recv(REPLY.size)
            except BlockingIOError:
                continue
            if len(data) != REPLY.size:
                break
            number: int = REPLY.unpack(data)[0]
            return number
        raise ConnectionResetError(errno.ECONNRESET, "the fork server is gone")

    def _is_stopped(self) -> bool:
        stat = with_reserve(read_stat)(self.spawned.pid)
        return stat is not None and stat.state in (b"T", b"t")

    def end(self) -> None:
        """Have it killed and taken away."""
        self.gone = True
        if self._ending is not None:
            self._ending.cancel()

    async def watch(self) -> None:
        """Its life: until it dies, or is to end."""
        try:
            await self._death()
        finally:
            self.gone = True
            send_signal(self.spawned.id, 9)
            with anyio.CancelScope(shield=True):
                await self._death()
            with_reserve(self._end_forks)()
            self.spawned.reap()
            reaper.unregister_server(self.spawned.pid)
            self.spawned.close()
            anyio.notify_closing(self.control)
            self.control.close()
            self.post.close()
            reaper.release()

    def _end_forks(self) -> None:
        """Take away the forks that have no life: they are strangers in the server's session, which nobody else can be in."""
        while forks := [stat.pid for stat in reaper.strangers() if stat.session == self.spawned.pid]:
            for pid in forks:
                with suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, 9)  # a child of ours: its pid is its own until it is taken away
                    os.waitpid(pid, 0)

    async def _death(self) -> None:
        while self.spawned.status() is None:
            if self.spawned.pidfd is None:
                await anyio.sleep(0.005)
            else:
                await anyio.wait_readable(self.spawned.pidfd)


def _adopted(pid: int, marker: str) -> Spawned | None:
    """The process that was forked for us; None when it has died before it was told to live, and was taken away as a stranger."""
    stat = read_stat(pid)
    if stat is None or stat.parent != os.getpid():
        return None
    process = ProcessId(pid, stat.created)
    try:
        pidfd = open_pidfd(process, dead=True)
    except OSError:
        with suppress(ChildProcessError):
            os.kill(pid, 9)  # nothing may run that nobody watches
            os.waitpid(pid, 0)
        raise
    return Spawned(process, marker, pidfd, True)
