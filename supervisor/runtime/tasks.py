"""Tasks that come and go, with results: Elixir's ``Task.Supervisor``."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar, TypeVarTuple, Unpack, overload

import anyio

from ..core.errors import ChildNotRunning
from ..core.spec import ChildSpec, Restart, Shutdown, Strategy, SupervisorFlags
from ..leaf.task import task
from .ref import DynamicFlags, SupervisorRef
from .run import TaskRun, name_of
from .snapshot import ChildInfo
from .stream import OnTimeout, TaskOutcome, TaskStream, outcome_of, value_of
from .subtree import Subtree
from .supervisor import DynamicSupervisor
from .tree import CURRENT

I = TypeVar("I")  # noqa: E741 (an item)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class TaskSupervisorRef(SupervisorRef):
    """A task supervisor in a running tree, addressed by its path: a `SupervisorRef` that starts functions.

    Functions get positional arguments; for others there is `functools.partial`. Every task is a child with the function's name as its
    id, which gets a number where it is taken. `max_children` limits them all.
    """

    @overload
    async def start_child(self, spec: ChildSpec) -> ChildInfo: ...
    @overload
    async def start_child(
        self,
        spec: Callable[[*Ts], Awaitable[object]],
        /,
        *args: *Ts,
        id: str | None = None,
        restart: Restart = Restart.TEMPORARY,
        shutdown: float | Shutdown = 5.0,
    ) -> ChildInfo: ...
    async def start_child(
        self,
        spec: ChildSpec | Callable[[*Ts], Awaitable[object]],
        *args: *Ts,
        id: str | None = None,
        restart: Restart = Restart.TEMPORARY,
        shutdown: float | Shutdown = 5.0,
    ) -> ChildInfo:
        """Start a task whose result nobody waits for.

        Args:
            spec: An async function as for `task`; or a specification, as for a `DynamicSupervisor`, without the arguments below.
            args: Passed to the function.
            id: By default the function's name.
            restart: Temporary by default: it runs once.
            shutdown: Seconds between asking it to end and giving it up.

        Raises:
            MaxChildren: There are as many tasks as there may be.
            StartFailed: It has a ``task_status`` and did not come up.
            TypeError: `spec` is neither a specification nor callable.
            SpecError: The specification cannot be.
            NoProc: The supervisor is not running.
        """
        if not isinstance(spec, ChildSpec):
            spec = ChildSpec(name_of(spec) if id is None else id, task(spec, *args), restart=restart, shutdown=shutdown)
        return await super().start_child(spec)

    async def async_(
        self,
        function: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        id: str | None = None,
        shutdown: float | Shutdown = 5.0,
    ) -> TaskRun[T]:
        """Start a task for its result, linked to the caller: Elixir's ``async``.

        It is stopped when the child that called this ends, or when who waits for the result is cancelled.

        Args:
            function: Async; called with `args`.
            args: Passed to the function.
            id: By default the function's name.
            shutdown: Seconds between asking it to end and giving it up.

        Raises:
            TypeError: `function` is not callable.
            InvalidField: `id` or `shutdown` has an illegal value.
            MaxChildren: There are as many tasks as there may be.
            ChildNotRunning: The life of the calling child is over.
            NoProc: The supervisor is not running.

        **Cancellation:** starts nothing, or stops what it has started.
        """
        caller = CURRENT.get(None)
        if caller is not None and caller.over:
            raise ChildNotRunning(caller.node.path, caller.id)
        run: TaskRun[T] = TaskRun(function, args, linked=True)
        run.begin(self._node(), id, shutdown)
        if caller is not None:
            run.link(caller)
        try:
            return await _started(run)
        except anyio.get_cancelled_exc_class():
            run.ask()
            raise

    async def async_nolink(
        self,
        function: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        id: str | None = None,
        shutdown: float | Shutdown = 5.0,
    ) -> TaskRun[T]:
        """As `async_`, without the link: nothing but its supervisor stops it.

        **Cancellation:** leaves the wait, not the call: the task may run.
        """
        run: TaskRun[T] = TaskRun(function, args, linked=False)
        run.begin(self._node(), id, shutdown)
        return await _started(run)

    def async_stream(
        self,
        items: Iterable[I],
        function: Callable[[I], Awaitable[T]],
        *,
        max_concurrency: int | None = None,
        ordered: bool = True,
        timeout: float = math.inf,
        shutdown: float | Shutdown = 5.0,
    ) -> TaskStream[T]:
        """The results of a function over many items; the first failure is raised, and ends the stream.

        Args:
            items: Taken one at a time, as results are read; there may be infinitely many.
            function: Async; called with one item.
            max_concurrency: How many items are under way at most; as many as there are processors by default.
            ordered: Whether results come in the order of their items, or in the order in which they are there.
            timeout: Seconds for each task; one that takes longer raises `TaskTimeout`. It is looked at while a result is waited for.
            shutdown: Seconds between asking a task to end and giving it up.

        Returns:
            An async iterator to be used within ``async with``, whose end stops what still runs and waits for it.

        Raises:
            InvalidField: An argument has an illegal value.
        """
        return TaskStream(
            self._node,
            items,
            function,
            value_of,
            max_concurrency=processors() if max_concurrency is None else max_concurrency,
            ordered=ordered,
            timeout=timeout,
            on_timeout=OnTimeout.EXIT,
            shutdown=shutdown,
        )

    def async_stream_nolink(
        self,
        items: Iterable[I],
        function: Callable[[I], Awaitable[T]],
        *,
        max_concurrency: int | None = None,
        ordered: bool = True,
        timeout: float = math.inf,
        on_timeout: OnTimeout = OnTimeout.EXIT,
        shutdown: float | Shutdown = 5.0,
    ) -> TaskStream[TaskOutcome[I, T]]:
        """As `async_stream`, with the outcome of every item: a failure is an outcome too, and does not end the stream.

        Args:
            items: As there.
            function: As there.
            max_concurrency: As there.
            ordered: As there.
            timeout: As there.
            on_timeout: Whether a task that takes longer raises `TaskTimeout`, or is stopped and has that as its outcome.
            shutdown: As there.

        Raises:
            InvalidField: An argument has an illegal value.
        """
        return TaskStream(
            self._node,
            items,
            function,
            outcome_of(timeout),
            max_concurrency=processors() if max_concurrency is None else max_concurrency,
            ordered=ordered,
            timeout=timeout,
            on_timeout=on_timeout,
            shutdown=shutdown,
        )


class TaskSupervisor(TaskSupervisorRef, DynamicSupervisor):
    """A `DynamicSupervisor` of tasks: Elixir's ``Task.Supervisor``. As a child of another supervisor: `tasks`.

    Args:
        id: The first element of every path in the tree.
        flags: Those of a `DynamicSupervisor`, with Elixir's default of 3 restarts in 5 seconds, which count for
            tasks that are not temporary.

    Raises:
        SpecError: On construction; nothing was started.
        RestartIntensityExceeded: From the end of the block, as from that of a `Supervisor`.
    """

    def __init__(self, id: str, **flags: Unpack[DynamicFlags]) -> None:
        super().__init__(id, **with_defaults(flags))


def tasks(**flags: Unpack[DynamicFlags]) -> Subtree:
    """A task supervisor as a child: see `TaskSupervisor`, and `SupervisorRef.task_supervisor` for its calls. It starts empty.

    Args:
        flags: Those of `SupervisorFlags` that a dynamic supervisor has, `max_children` among them.

    Raises:
        SpecError: A flag has an illegal value.
    """
    return Subtree((), SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE, **with_defaults(flags)))


async def _started(run: TaskRun[T]) -> TaskRun[T]:
    await run.answered.wait()
    if run.refused is not None:
        raise run.refused
    return run


def processors() -> int:
    """How many processors the machine has."""
    return os.cpu_count() or 1


def with_defaults(flags: DynamicFlags) -> DynamicFlags:
    """The flags with Elixir's defaults."""
    return {"intensity": 3, "period": 5.0, **flags}
