"""A child that is an async function in a process of its own, with its own interpreter and event loop."""

from __future__ import annotations

import math
import re
import signal
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio
import attrs

from ..core.errors import InvalidField
from ..core.exits import Exit
from ..core.extra_errors import StartMethodUnavailable
from ..core.image import Image
from ..core.launch import ChildType, Launch
from ..core.message import Judge, Request, Stop
from ..core.ports import Cancellable, Ticket, TreeTicket
from ..core.term import NotPortable, encode
from ..core.value import Value
from ..core.wire import pack
from ..host import notify_names, reaper
from ..host.fork_server import ForkServer, interpreter
from ..host.identity import ProcessId
from ..host.marker import new_marker
from ..host.oom import oom_kills
from ..host.sentry import watch_over
from ..host.spawn import Spawned, spawn
from ..host.start_method import worker_start_method
from .arguments import check_kill_timeout, check_kwargs, check_watchdog
from .enclosing import Enclosed, check_limits, described, enclose, prepare_fork, remove
from .first_message import first_message, modules_of
from .inherited import event_loop
from .link import Link
from .running_worker import RunningWorker
from .task import TaskLaunch
from .watchdog import Watchdog

if TYPE_CHECKING:
    from ..core.limits import Limits

StartMethod = Literal["auto", "fork_server", "fresh"]
Backend = Literal["auto", "trio", "asyncio"]
OwnCgroup = Literal["auto", "always", "never"]

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
    preload: bool = attrs.field(default=False, kw_only=True)
    watchdog: float | None = attrs.field(default=None, kw_only=True)
    kill_timeout: float = attrs.field(default=10.0, kw_only=True)
    limits: Limits | None = attrs.field(default=None, kw_only=True)
    cgroup: OwnCgroup = attrs.field(default="auto", kw_only=True)

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
            except NotPortable as error:
                raise InvalidField(name, value, "values that can leave this process", where=where) from error
        self._check()

    def _check(self) -> None:
        where = "worker"
        if self.backend not in ("auto", "trio", "asyncio"):
            raise InvalidField("backend", self.backend, '"auto", "trio" or "asyncio"', where=where)
        if self.start_method not in ("auto", "fork_server", "fresh"):
            raise InvalidField("start_method", self.start_method, '"auto", "fork_server" or "fresh"', where=where)
        if not isinstance(self.preload, bool):
            raise InvalidField("preload", self.preload, "True or False", where=where)
        check_watchdog(self.watchdog, where=where)
        check_kill_timeout(self.kill_timeout, where=where)
        check_limits(self.limits, self.cgroup, ("auto", "always", "never"), where=where)

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
        return {"worker": self.function, **self._how()}

    def _how(self) -> dict[str, Any]:
        return {"start_method": self.start_method, "cgroup": self.cgroup, "limits": described(self.limits)}


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
        except NotPortable as error:
            raise InvalidField("function", start, "a launch that can leave this process", where="worker") from error
        self._check()

    @property
    def type(self) -> ChildType:
        """That of what is placed there."""
        return self.start.type

    def describe(self) -> dict[str, Any]:
        """What is placed there."""
        return {**self.start.describe(), **self._how()}


def worker(
    function: str | Launch,
    /,
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    backend: Backend = "auto",
    start_method: StartMethod = "auto",
    preload: bool = False,
    watchdog: float | None = None,
    kill_timeout: float = 10.0,
    limits: Limits | None = None,
    cgroup: OwnCgroup = "auto",
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
        preload: Whether the fork server imports the function's module, once for all lives, which start the sooner; see docs/workers.md.
        watchdog: Seconds for which its event loop may be stuck, from when it is up until it is asked to end. Then it gets SIGABRT, upon
            which it writes to standard error where it is stuck, all of it is killed 5 s later, and its end is abnormal. None for no
            watchdog.
        kill_timeout: Seconds after a kill after which it is given up as unresponsive.
        limits: What it may use of the machine, and as whom it runs; in force before anything of it is imported. See `Limits`.
        cgroup: ``"auto"`` gives it a cgroup of its own where that takes no time: in a fresh interpreter; and where a limit needs one.
            ``"always"`` gives one to a fork too, and the start fails where there is none to be had; ``"never"`` gives none.

    Returns:
        The `start` of a `ChildSpec`. Ends mean what they mean for a `task`; an exception arrives as `WorkerFailed`. A process that
        ends without a word has the exit of a command.

    Raises:
        InvalidField: An argument has an illegal value, or cannot leave this process.
        BadCombination: Limits that take a cgroup, and ``cgroup="never"``.

    **Cancellation:** the function is cancelled when its supervisor stops it; what is left of its processes after `shutdown` seconds
    is killed.
    """
    check_kwargs(kwargs, where="worker")
    rest: dict[str, Any] = {
        "kwargs": dict(kwargs or {}),
        "backend": backend,
        "start_method": start_method,
        "preload": preload,
        "watchdog": watchdog,
        "kill_timeout": kill_timeout,
        "limits": limits,
        "cgroup": cgroup,
    }
    return WorkerLaunch(function, args, **rest) if isinstance(function, str) else PlacedLaunch(args, start=function, **rest)


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

    @property
    def cgroup(self) -> str | None:
        """See `RunningCommand.cgroup`; None before its process is there, too."""
        return None if self._running is None else self._running.cgroup

    @property
    def ungranted(self) -> Mapping[str, str]:
        """See `RunningCommand.ungranted`."""
        return {} if self._running is None else self._running.ungranted

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
        ticket, launch = self._ticket, self.launch
        marker = new_marker(ticket.path, ticket.generation)
        kills = oom_kills()
        adopting = reaper.adopt_orphans()
        born: list[RunningWorker] = []
        post = watch_over(marker, ticket)

        def bear(enclosed: Enclosed) -> RunningWorker:
            words, insists = (launch.function or "subtree",), launch.cgroup == "always"
            running = RunningWorker.of(words, ticket, enclosed, marker, adopting, kills, self._link, post, launch.limits, insists)
            born.append(running)
            return running

        try:
            start = None
            if launch.start_method == "fork_server" or (launch.start_method == "auto" and worker_start_method() == "fork_server"):
                try:
                    start = await self._fork(marker, bear)
                except StartMethodUnavailable as error:
                    if launch.start_method != "auto":
                        raise
                    import logging

                    logging.getLogger("supervisor.worker").warning(
                        "%s: %s; it gets an interpreter of its own", "/".join(ticket.path), error
                    )
            if start is None:
                start = pack(first_message(launch, ticket))  # before there is a process: it may be too large
                fd = self._theirs.fileno()
                run = partial(spawn, interpreter(fd), marker=marker, env=notify_names.hidden(), stdin="null", pass_fds=(fd,))
                adopting = reaper.adopt_orphans()  # the last server's end may have given that up
                bear(enclose(marker, launch.limits, launch.cgroup, lambda settings: run(settings=settings)))
        except BaseException:  # mostly a cancellation: without a process there is nobody else to give this back
            if not born:
                post.close()
                reaper.release()
            raise
        self._link.begin(start)
        post.host(ticket)
        return born[0]

    async def _fork(self, marker: str, bear: Callable[[Enclosed], RunningWorker]) -> bytes:
        """Have the worker forked; what it is to be told first."""
        launch = self.launch
        supervises = launch.type is ChildType.SUPERVISOR
        made, settings = prepare_fork(marker, launch.limits, launch.cgroup, supervises=supervises)

        def born(spawned: Spawned) -> None:
            running = bear(Enclosed(spawned, *made))
            if settings is not None:
                self._link.refused = running.refused

        try:
            server = self._ticket.shared(_fork_server)
            message = first_message(launch, self._ticket, marker, server, settings)
            start = pack(message)  # before there is a process: it may be too large
            # the server is who we are, and has no limits: what is to run as somebody else is not imported there
            preload = launch.preload and (launch.limits is None or launch.limits.user is None)
            await server.fork(self._theirs.fileno(), marker, born, modules_of(message) if preload else ())
        except BaseException:  # also a cancellation: without a process nobody else knows of its cgroup
            remove(made.group)
            raise
        return start


def _fork_server(spawn_task: Any) -> ForkServer:
    return ForkServer(spawn_task, event_loop())
