"""A function over many items, a bounded number of them at a time: Elixir's ``Task.Supervisor.async_stream``."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from enum import Enum
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import anyio
import anyio.lowlevel
import attrs

from ..core.errors import InvalidField, is_count, is_duration
from ..core.exits import Exit
from ..core.extra_errors import TaskTimeout
from ..core.spec import Shutdown
from ..core.value import Value
from .distant import Supervising
from .run import TIMEOUT, TaskRun

I = TypeVar("I")  # noqa: E741 (an item)
T = TypeVar("T")
Y = TypeVar("Y")


class OnTimeout(Enum):
    """What a stream does about a task that takes too long: raise `TaskTimeout` and stop everything, or stop that task and go on."""

    EXIT = "exit"
    KILL_TASK = "kill_task"


@attrs.frozen(repr=False, eq=False)
class TaskOutcome(Value, Generic[I, T]):
    """What became of one item.

    Attributes:
        input: The item.
        exit: How its task ended; its reason is ``timeout`` for one that took too long.
    """

    input: I
    exit: Exit
    _result: Callable[[], T] = attrs.field(eq=False, repr=False)

    def result(self) -> T:
        """What the task returned. What it raised is raised here.

        Raises:
            TaskExited: It was stopped or killed.
            TaskTimeout: It took too long.
        """
        return self._result()


@attrs.define(eq=False)
class Flight:
    """An item under way: started, and not read yet."""

    item: Any
    run: TaskRun[Any]
    deadline: float
    late: bool = False

    @property
    def landed(self) -> bool:
        """Whether its task is over."""
        return self.run.over.is_set()


class TaskStream(Generic[Y]):
    """The results of a function over many items; an async iterator within ``async with``.

    Items are taken and tasks started as results are read: at most `max_concurrency` items are under way, those whose results
    wait to be read included. The end of the block stops the tasks that are left and waits for them, whatever made it end.
    """

    def __init__(
        self,
        find: Callable[[], Supervising],
        items: Iterable[Any],
        function: Callable[[Any], Awaitable[Any]],
        give: Callable[[Flight], Y],
        *,
        max_concurrency: int,
        ordered: bool,
        timeout: float,
        on_timeout: OnTimeout,
        shutdown: float | Shutdown,
    ) -> None:
        where = "async_stream"
        if not is_count(max_concurrency, least=1):
            raise InvalidField("max_concurrency", max_concurrency, "an integer >= 1", where=where)
        if not is_duration(timeout):
            raise InvalidField("timeout", timeout, "seconds >= 0 or math.inf", where=where)
        if not isinstance(on_timeout, OnTimeout):
            raise InvalidField("on_timeout", on_timeout, "a member of OnTimeout", where=where)
        if not isinstance(shutdown, Shutdown) and not is_duration(shutdown):
            raise InvalidField("shutdown", shutdown, "seconds >= 0, math.inf or BRUTAL_KILL", where=where)
        if not isinstance(items, Iterable):
            raise InvalidField("items", items, "an iterable", where=where)
        if not callable(function):
            raise InvalidField("function", function, "an async function", where=where)
        self._find, self._function, self._give = find, function, give
        self._items: Iterator[Any] | None = iter(items)
        self._most, self._ordered, self._shutdown = max_concurrency, ordered, shutdown
        self._timeout, self._on_timeout = timeout, on_timeout
        self._flights: dict[Flight, None] = {}
        self._landed: deque[Flight] = deque()
        self._news = anyio.Event()
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open, self._items = False, None
        left, self._flights = self._flights, {}
        for flight in left:
            flight.run.terminate()
        with anyio.CancelScope(shield=True):
            for flight in left:
                # one that has not been launched will not be: waiting for its supervisor could be waiting for ourselves
                if flight.run.life is not None:
                    await flight.run.over.wait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Y:
        """The next result.

        Raises:
            TaskTimeout: A task took too long, under `OnTimeout.EXIT`.
            MaxChildren: The supervisor is full.
            NoProc: The supervisor is not running.
            RuntimeError: Outside of ``async with``.

        **Cancellation:** safe; no result is lost by it.
        """
        if not self._open:
            raise RuntimeError("a stream of tasks is read within: async with supervisor.async_stream(...) as results")
        await anyio.lowlevel.checkpoint()
        while True:
            self._fill()
            flight = self._next()
            if flight is not None:
                if flight.run.refused is not None:
                    raise flight.run.refused
                return self._give(flight)
            if not self._flights:
                raise StopAsyncIteration
            await self._wait()

    def _fill(self) -> None:
        """Start what may be under way."""
        while self._items is not None and len(self._flights) < self._most:
            try:
                item = next(self._items)
            except StopIteration:
                self._items = None
                return
            run: TaskRun[Any] = TaskRun(self._function, (item,), linked=True)
            flight = Flight(item, run, anyio.current_time() + self._timeout)
            run.heard = lambda flight=flight: self._hear(flight)
            run.begin(self._find(), None, self._shutdown)
            # one that could not begin is not under way: nobody would ever hear of its end
            self._flights[flight] = None

    def _next(self) -> Flight | None:
        """The flight whose result is due, if it is there; it is under way no longer."""
        if self._ordered:
            flight = next(iter(self._flights), None)
            if flight is None or not flight.landed:
                return None
        else:
            if not self._landed:
                return None
            flight = self._landed.popleft()
        del self._flights[flight]
        return flight

    def _hear(self, flight: Flight) -> None:
        if not self._ordered:
            self._landed.append(flight)
        self._news.set()

    async def _wait(self) -> None:
        """Wait for the end of a task, at most until the first of them has taken too long."""
        self._news = anyio.Event()
        flying = [flight for flight in self._flights if not flight.landed and not flight.late]
        with anyio.CancelScope(deadline=min((flight.deadline for flight in flying), default=math.inf)):
            await self._news.wait()
        now = anyio.current_time()
        for flight in flying:
            if flight.deadline <= now and not flight.landed:
                if self._on_timeout is OnTimeout.EXIT:
                    raise TaskTimeout(flight.run.path, TIMEOUT, self._timeout)
                flight.late = True
                flight.run.terminate()


def value_of(flight: Flight) -> Any:
    """What a linked stream gives: the result, or the failure raised."""
    return flight.run.get()


def outcome_of(timeout: float) -> Callable[[Flight], TaskOutcome[Any, Any]]:
    """What a stream that is not linked gives: the outcome, failure or not."""

    def outcome(flight: Flight) -> TaskOutcome[Any, Any]:
        if flight.late:

            def late() -> Any:
                raise TaskTimeout(flight.run.path, TIMEOUT, timeout)

            return TaskOutcome(flight.item, TIMEOUT, late)
        assert flight.run.exit is not None
        return TaskOutcome(flight.item, flight.run.exit, flight.run.get)

    return outcome
