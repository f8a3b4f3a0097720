"""A child that is an async function in a process of its own, with its own interpreter and event loop."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, Literal

import anyio
import attrs

from ..core.errors import InvalidField
from ..core.exits import Exit
from ..core.extra_errors import StartMethodUnavailable
from ..core.message import Judge, Request, Stop
from ..core.mirror import Image
from ..core.ports import Cancellable, ChildType, Launch, Ticket, TreeTicket
from ..core.term import NotPortable, encode
from ..core.value import Value
from ..core.wire import Start, pack
from ..host import reaper, sd_notify
from ..host.cgroup.group import Group
from ..host.fork_server import ForkServer, interpreter, module_path
from ..host.identity import ProcessId
from ..host.marker import VARIABLE, chained, new_marker
from ..host.oom import oom_kills
from ..host.sentry import watch_over
from ..host.spare import with_reserve
from ..host.spawn import Spawned, child_environment, spawn
from ..host.start_method import worker_start_method
from ..host.tree import Tree
from ..host.waitstatus import AbnormalExit, WaitStatus
from .enclosing import enclose, say
from .inherited import event_loop, log_level, working_directory
from .link import Link
from .running import RunningCommand
from .task import TaskLaunch
from .watchdog import Watchdog, check_watchdog

StartMethod = Literal["auto", "fork_server", "fresh"]
Backend = Literal["auto", "trio", "asyncio"]

_FUNCTION: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_SIGKILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)


@attrs.frozen(repr=False, eq=False)
class WorkerLaunch(Value):
    """What `worker` makes: a `Launch`. See there for the fields."""

    function: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    backend: Backend = attrs.field(default="auto", kw_only=True)
    start_method: StartMethod = attrs.field(default="auto", kw_only=True)
    watchdog: float | None = attrs.field(default=None, kw_only=True)
    kill_timeout: float = attrs.field(default=10.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        where = "worker"
        function: object = self.function
        if not isinstance(function, str) or not _FUNCTION.fullmatch(function):
            raise InvalidField("function", function, 'the name of an async function, as "module:function"', where=where)
        if function.startswith("__main__:"):
            raise InvalidField(
                "function", function, "a function of a module that can be imported: another process has another __main__", where=where
            )
        for name, value in (("args", self.args), ("kwargs", dict(self.kwargs))):
            try:
                encode(value)
            except (NotPortable, RecursionError) as error:
                raise InvalidField(name, value, "values that can leave this process", where=where) from error
        self._check()

    def _check(self) -> None:
        where = "worker"
        if self.backend not in ("auto", "trio", "asyncio"):
            raise InvalidField("backend", self.backend, '"auto", "trio" or "asyncio"', where=where)
        if self.start_method not in ("auto", "fork_server", "fresh"):
            raise InvalidField("start_method", self.start_method, '"auto", "fork_server" or "fresh"', where=where)
        check_watchdog(self.watchdog, where=where)
        if not self.kill_timeout > 0:
            raise InvalidField("kill_timeout", self.kill_timeout, "seconds > 0 or math.inf", where=where)

    @property
    def type(self) -> ChildType:
        """A worker."""
        return ChildType.WORKER

    def launch(self, ticket: Ticket) -> WorkerLife:
        """Start one life; returns before its process is there.

        Raises:
            OSError: Out of descriptors, or no sockets of that kind on this system.
        """
        assert isinstance(ticket, TreeTicket)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        watchdog = Watchdog(math.inf if self.watchdog is None else self.watchdog)
        link = Link(ticket, ours, watchdog, image=Image() if self.type is ChildType.SUPERVISOR else None)
        life = WorkerLife(self, ticket, link, theirs)
        life.begin()
        return life

    def describe(self) -> dict[str, Any]:
        """The function's name, without its arguments."""
        return {"worker": self.function, "start_method": self.start_method}


@attrs.frozen(repr=False, eq=False)
class PlacedLaunch(WorkerLaunch):
    """Another launch, which is placed in a process of its own."""

    function: str = attrs.field(default="", init=False)
    start: Launch = attrs.field(kw_only=True)

    def __attrs_post_init__(self) -> None:
        start: object = self.start
        if not isinstance(start, TaskLaunch) and not (isinstance(start, Launch) and start.type is ChildType.SUPERVISOR):
            raise InvalidField(
                "function", start, 'the name of an async function, as "module:function", or a task or subtree', where="worker"
            )
        if self.args or self.kwargs:
            raise InvalidField("args", self.args or self.kwargs, "none: what is placed in a process brings its own", where="worker")
        try:
            encode(start)
        except (NotPortable, RecursionError) as error:
            raise InvalidField("function", start, "a launch that can leave this process", where="worker") from error
        self._check()

    @property
    def type(self) -> ChildType:
        """That of what is placed there."""
        return self.start.type

    def describe(self) -> dict[str, Any]:
        """What is placed there."""
        return {**self.start.describe(), "start_method": self.start_method}


def worker(
    function: str | Launch,
    /,
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    backend: Backend = "auto",
    start_method: StartMethod = "auto",
    watchdog: float | None = None,
    kill_timeout: float = 10.0,
) -> WorkerLaunch:
    """An async function as a child in a process of its own.

    Args:
        function: Its name, as ``"module:function"``: what `task` takes. It is imported in the worker, and nowhere else. Or what `subtree`,
            `dynamic` or `task` made: it is launched there instead of here. A supervisor is used there as it is here, see docs/workers.md.
        args: Passed to it; see docs/workers.md for what can cross.
        kwargs: Passed to it by name.
        backend: Its event loop; that of the tree by default.
        start_method: ``"auto"`` forks it from a server where the host allows that, and takes a fresh interpreter where it does not
            or where the server fails; the others insist.
        watchdog: Seconds for which its event loop may be stuck, from when it is up until it is asked to end. Then it gets SIGABRT, upon
            which it writes to standard error where it is stuck, all of it is killed 5 s later, and its end is abnormal. None for no
            watchdog.
        kill_timeout: Seconds after a kill after which it is given up as unresponsive.

    Returns:
        The `start` of a `ChildSpec`. Ends mean what they mean for a `task`; an exception arrives as `WorkerFailed`. A process that
        ends without a word has the exit of a command.

    Raises:
        InvalidField: An argument has an illegal value, or cannot leave this process.

    **Cancellation:** the function is cancelled when its supervisor stops it; what is left of its processes after `shutdown` seconds
    is killed.
    """
    rest: dict[str, Any] = {
        "kwargs": dict(kwargs or {}),
        "backend": backend,
        "start_method": start_method,
        "watchdog": watchdog,
        "kill_timeout": kill_timeout,
    }
    return WorkerLaunch(function, args, **rest) if isinstance(function, str) else PlacedLaunch(args, start=function, **rest)


@attrs.define(eq=False)
class RunningWorker(RunningCommand):
    """The process of a worker: a command that is asked to end over its socket, and that says how it ended."""

    link: Link = attrs.field(kw_only=True)

    def terminate(self) -> None:
        """Note who belongs to it, then ask it, and nobody else, to unwind."""
        if self._spawned.reaped:
            return
        with suppress(OSError):
            with_reserve(self._tree.refresh)()  # without descriptors we go by what was seen before
        self.link.shut_down()
        if sys.platform != "win32":
            self._signal_group(signal.SIGCONT)  # a stopped process reads nothing

    def _report_end(self, status: WaitStatus) -> None:
        said = self.link.said
        if self._verdict is None and self.link.ignored:
            self._ticket.ignored()
        elif said is not None and self._verdict in (None, said):
            self._ticket.exited(said)
        else:
            self._ticket.exited(self._judge(status))


@attrs.define(eq=False)
class WorkerLife:
    """One life of a worker, from before its process is there: its `Handle`."""

    launch: WorkerLaunch
    _ticket: TreeTicket
    _link: Link
    _theirs: socket.socket
    _running: RunningWorker | None = None
    _task: Cancellable | None = None
    _starting: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _asked: bool = False
    _insisted: bool = False

    @property
    def pid(self) -> int | None:
        """The id of its process, None before that is there."""
        return None if self._running is None else self._running.pid

    @property
    def process_id(self) -> ProcessId | None:
        """The identity of its process, None before that is there."""
        return None if self._running is None else self._running.process_id

    def members(self) -> tuple[ProcessId, ...]:
        """The live processes of its tree now, the worker first while it lives."""
        return () if self._running is None else self._running.members()

    def terminate(self) -> None:
        """Ask the worker to unwind; before its process is there, do without."""
        self._asked = True
        if self._running is None:
            self._starting.cancel()
        else:
            self._running.terminate()

    def kill(self) -> None:
        """Kill its whole tree."""
        self._insisted = True
        if self._running is None:
            self._starting.cancel()
        else:
            self._running.kill()

    async def call(self, name: str, *args: Any, timeout: float = 5.0) -> Any:
        """Call a function that the worker serves; see `SupervisorRef.call`."""
        return await self._link.call(self._ticket.path, name, args, timeout)

    async def ask(self, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
        """As `call`, of a child by its path: the worker itself, or one below it."""
        return await self._link.call(path, name, args, timeout)

    @property
    def image(self) -> Image | None:
        """Of the supervisors that run there; None where none do."""
        return self._link.image

    def request(self, path: tuple[str, ...], request: Request | Stop | Judge, answer: Callable[[str, Any, Exception | None], None]) -> None:
        """Ask a supervisor that runs there; `answer` is called once, with the id of the child, a value, and an error."""

        async def exchange() -> None:
            try:
                answer(*await self._link.request(path, request), None)
            except Exception as error:  # the boundary where a request that failed becomes its answer
                answer("", None, error)

        self._ticket.spawn(exchange, f"request of {'/'.join(path)}")

    def begin(self) -> None:
        """Spawn the task that lives it."""
        self._task = self._ticket.spawn(self.run, f"worker {'/'.join(self._ticket.path)}")

    async def run(self) -> None:
        """From the start of the process to the report of its end."""
        exit = Exit.shutdown()
        try:
            with self._starting:
                self._running = await self._start()
        except Exception as error:  # the boundary where a process that cannot be started becomes an exit
            exit = Exit.failed(error)
        finally:
            self._theirs.close()
            if self._running is None:
                self._link.close()
        if self._running is None:
            self._ticket.exited(Exit.killed() if self._insisted else exit)
            return
        if self._insisted:
            self._running.kill()
        elif self._asked:
            self._running.terminate()
        await self._running.watch()

    async def _start(self) -> RunningWorker:
        ticket, method = self._ticket, self.launch.start_method
        marker = new_marker(ticket.path, ticket.generation)
        kills = oom_kills()
        fd = self._theirs.fileno()
        adopting = reaper.adopt_orphans()
        born: list[RunningWorker] = []
        start = pack(self._message(marker))  # before there is a process: it may be too large
        post = watch_over(marker, ticket)

        def bear(spawned: Spawned, group: Group | None = None, trouble: str = "") -> None:
            tree = Tree(spawned.id, marker, spawned.own_session, adopting, group)
            reaper.register(tree)
            post.runs(spawned.id, own_session=True)
            words, cwd, link = (self.launch.function or "subtree",), working_directory(), self._link
            born.append(
                RunningWorker(
                    words, cwd, _SIGKILL, AbnormalExit.FAILURE, ticket, spawned, tree, None, kills, (link,), True, link=link, post=post
                )
            )  # fmt: skip
            say(ticket, {}, trouble)

        try:
            if method == "fork_server" or (method == "auto" and worker_start_method() == "fork_server"):
                server = ticket.shared(_fork_server)
                try:
                    # without a cgroup: to move a process into one waits for 10 ms, and no fork of Python's begins in one
                    await server.fork(fd, marker, bear)
                except StartMethodUnavailable as error:
                    if method != "auto":
                        raise
                    _log(f"{'/'.join(ticket.path)}: {error}; it gets an interpreter of its own")
            if not born:
                start = pack(self._message(None))
                run = partial(spawn, interpreter(fd), marker=marker, env=sd_notify.hidden(), stdin="null", pass_fds=(fd,))
                enclosed = enclose(marker, None, "auto", lambda settings: run(settings=settings))
                bear(enclosed.spawned, enclosed.group, enclosed.trouble)
        except BaseException:
            if not born:
                post.close()
                reaper.release()
            raise
        post.host(ticket)
        self._link.begin(start)
        return born[0]

    def _message(self, marker: str | None) -> Start:
        """What the worker is told first; with a `marker` also what a fork has from another time."""
        forked = marker is not None
        return Start(
            self.launch.function,
            encode(self.launch.args),
            encode(dict(self.launch.kwargs)),
            self._ticket.path,
            self._ticket.generation,
            event_loop() if self.launch.backend == "auto" else self.launch.backend,
            os.getpid(),
            0 if self.image is not None else _SIGKILL,  # one that can clean up is not killed
            None if marker is None else chained(marker, os.environ.get(VARIABLE)),
            child_environment(sd_notify.hidden()) if forked else None,
            working_directory() if forked else None,
            module_path() if forked else None,
            log_level(),
            encode(self.launch.start) if isinstance(self.launch, PlacedLaunch) else None,
            self.launch.watchdog,
        )


def _fork_server(spawn_task: Any) -> ForkServer:
    return ForkServer(spawn_task, event_loop())


def _log(text: str) -> None:
    import logging

    logging.getLogger("supervisor.worker").warning("%s", text)
