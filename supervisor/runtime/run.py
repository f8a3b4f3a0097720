"""One task that was started for its result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

import anyio
import attrs

from ..core.exits import Exit, ExitKind
from ..core.extra_errors import TaskExited
from ..core.message import Reply, StartChild, TerminateChild
from ..core.ports import Handle, Ticket
from ..core.spec import ChildSpec, Restart, Shutdown
from ..leaf.task import TaskLaunch, TaskLife
from .distant import Supervising
from .node import Life

T = TypeVar("T")

TIMEOUT = Exit(ExitKind.ABNORMAL, "timeout")


class TaskRun(Generic[T]):
    """A task that runs under a task supervisor, and its result to come: Elixir's ``Task``. May be awaited itself, as `result`.

    Attributes:
        linked: Whether it is stopped when the child that started it ends, or who waits for its result is cancelled.
        exit: How it ended, None before that.
    """

    def __init__(self, function: Callable[..., Awaitable[T]], args: tuple[Any, ...], *, linked: bool) -> None:
        if not callable(function):
            raise TypeError(f"a task needs an async function, not {function!r}; pass its arguments after it")
        self.function, self.args, self.linked = function, args, linked
        self.exit: Exit | None = None
        self.life: Life | None = None
        self.refused: Exception | None = None
        self.answered, self.over = anyio.Event(), anyio.Event()
        self.heard: Callable[[], object] | None = None
        self._path: tuple[str, ...] = ()
        self._value: T | None = None
        self._trace: TracebackType | None = None
        self._unwanted = False
        self._caller: Life | None = None

    def __repr__(self) -> str:
        return f"TaskRun({'/'.join(self.path)}, {self.exit.reason if self.exit is not None else 'running'})"

    def __await__(self) -> Generator[Any, Any, T]:
        return self.result().__await__()

    @property
    def id(self) -> str:
        """The child's id, for `terminate_child` and the other calls of its supervisor."""
        return self.path[-1]

    @property
    def path(self) -> tuple[str, ...]:
        """The child's path."""
        return self._path if self.life is None else self.life.path

    @property
    def generation(self) -> int:
        """The number of the child's life; it has only one."""
        return 0 if self.life is None else self.life.generation

    async def result(self) -> T:
        """Wait for the end of the task, and return what it returned. What it raised is raised here.

        Raises:
            TaskExited: It was stopped, killed, or given up as unresponsive.

        **Cancellation:** stops a linked task, without waiting for its end; leaves any other alone.
        """
        try:
            await self.over.wait()
        except anyio.get_cancelled_exc_class():
            if self.linked:
                self.ask()
            raise
        return self.get()

    async def shutdown(self) -> None:
        """Have its supervisor stop the task within its `shutdown`, and wait for its end.

        **Cancellation:** leaves the wait, not the stop.
        """
        self.terminate()
        await self.over.wait()

    # ------------------------------------------------------------ for its supervisor's reference and for streams

    def begin(self, node: Supervising, id: str | None, shutdown: float | Shutdown) -> None:
        """Ask the supervisor to start it; `answered` is set when it has, or has refused."""
        launch = RunLaunch(self._run, of=self)
        spec = ChildSpec(name_of(self.function) if id is None else id, launch, restart=Restart.TEMPORARY, shutdown=shutdown)
        self._path = (*node.path, spec.id)
        node.call(StartChild(spec), self._answer)

    def link(self, caller: Life) -> None:
        """Stop the task when the caller's life, which is not over, ends."""
        if not self.over.is_set():
            self._caller = caller
            caller.monitor(self._caller_ended)

    def accept(self, life: Life) -> bool:
        """The supervisor starts it; False if nobody wants it any more."""
        if self._unwanted:
            self._ended(Exit.shutdown())
            return False
        self.life = life
        life.monitor(self._ended)
        return True

    def get(self) -> T:
        """The result of a task that is over."""
        exit = self.exit
        assert exit is not None
        if exit.kind is ExitKind.NORMAL:
            return cast(T, self._value)
        if isinstance(exit.exception, Exception):
            # the task's traceback, not that of whoever was told before
            raise exit.exception.with_traceback(self._trace)
        raise TaskExited(self.path, exit)

    def ask(self) -> None:
        """Cancel the task as an exit signal would; its supervisor stays free for other calls."""
        self._unwanted = True
        if self.life is not None and not self.life.over and self.life.handle is not None:
            self.life.handle.terminate()

    def terminate(self) -> None:
        """Have the supervisor stop it, and cancel it at once if that is busy."""
        if self.life is not None and not self.life.over:
            self.life.node.call(TerminateChild(self.life.id), lambda _reply: None)
        self.ask()

    async def _run(self) -> None:
        self._value = await self.function(*self.args)

    def _answer(self, reply: Reply) -> None:
        self.refused = reply.error
        self.answered.set()
        if reply.error is not None:
            self._done()

    def _ended(self, exit: Exit | None) -> None:
        self.exit = exit
        if exit is not None and exit.exception is not None:
            self._trace = exit.exception.__traceback__
        self._done()

    def _done(self) -> None:
        if self._caller is not None:
            self._caller.demonitor(self._caller_ended)
            self._caller = None
        if not self.over.is_set():
            self.over.set()
            if self.heard is not None:
                self.heard()

    def _caller_ended(self, _exit: Exit | None) -> None:
        self._caller = None
        self.ask()


@attrs.frozen(repr=False, eq=False)
class RunLaunch(TaskLaunch):
    """Starts a task whose result is kept."""

    of: TaskRun[Any] = attrs.field(kw_only=True)

    def launch(self, ticket: Ticket) -> Handle:
        """Start it, unless its caller went away while the supervisor was busy."""
        assert isinstance(ticket, Life)
        if not self.of.accept(ticket):
            ticket.ignored()
            return TaskLife(self, ticket)
        return TaskLaunch.launch(self, ticket)

    def describe(self) -> dict[str, Any]:
        """The function's name."""
        return TaskLaunch(self.of.function).describe()


def name_of(function: Callable[..., object]) -> str:
    """What a child that runs it is called."""
    return getattr(function, "__name__", None) or "task"
