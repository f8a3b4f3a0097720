"""A child that is an async function in this process.

It can be cancelled, and then only be waited for: see `ChildUnresponsive`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from ..core.exits import Exit
from ..core.launch import ChildType
from ..core.value import Value
from .interrupts import interrupts_strike

if TYPE_CHECKING:
    from ..core.ports import Cancellable, Handle, Ticket


class Ignore(Exception):
    """Raised by a task before it acknowledges, to decline its start: OTP's ``ignore``."""


def task(run: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> TaskLaunch:
    """An async function as a child.

    Args:
        run: Called anew for every life. If it has a parameter ``task_status``, the child is up when it calls
            ``task_status.started(value)``, and it may raise `Ignore` before that; otherwise it is up at once.
        args: Passed to `run`.
        kwargs: Passed to `run`.

    Returns:
        The `start` of a `ChildSpec`. Returning is a normal exit, raising an abnormal one, and being cancelled by its
        supervisor a `shutdown`.

    Raises:
        TypeError: `run` is not callable.

    **Cancellation:** the task is cancelled when its supervisor stops it, and by nothing else.
    """
    if not callable(run):
        raise TypeError(f"task() needs an async function, not {run!r}; pass its arguments after it: task(f, 1, 2)")
    return TaskLaunch(run, args, kwargs, acknowledges=_takes_task_status(run))


def _takes_task_status(run: Callable[..., Any]) -> bool:
    try:
        return "task_status" in inspect.signature(run).parameters
    except (TypeError, ValueError):  # a callable without a signature, such as some built in ones
        return False


@attrs.frozen(repr=False, eq=False)
class TaskLaunch(Value):
    """Starts a task; see `task`."""

    run: Callable[..., Awaitable[Any]]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = attrs.field(factory=dict)
    acknowledges: bool = attrs.field(default=False, kw_only=True)
    kill_timeout: float = attrs.field(default=1.0, kw_only=True)

    @property
    def type(self) -> ChildType:
        """A worker."""
        return ChildType.WORKER

    def launch(self, ticket: Ticket) -> Handle:
        """Start one life in the tree's task group."""
        life = TaskLife(self, ticket)
        if not self.acknowledges:
            # before the task exists: should the event loop run it to its end within `spawn`, it was up
            ticket.started()
        life.scope = ticket.spawn(life.run, "/".join(ticket.path))
        return life

    def describe(self) -> dict[str, Any]:
        """The function's name."""
        return {"task": f"{getattr(self.run, '__module__', '?')}:{getattr(self.run, '__qualname__', repr(self.run))}"}


class TaskLife:
    """One life of a task. As a handle it is what the supervisor holds; as a ``task_status`` it is what the task is given."""

    __slots__ = ("acknowledged", "asked", "launch", "scope", "ticket")

    pid = None

    def __init__(self, launch: TaskLaunch, ticket: Ticket) -> None:
        self.launch, self.ticket = launch, ticket
        self.acknowledged, self.asked = not launch.acknowledges, False
        self.scope: Cancellable | None = None

    def started(self, value: object = None) -> None:
        """Acknowledge the start; a second call is an error, as in trio and anyio.

        Raises:
            RuntimeError: It was called before.
        """
        if self.acknowledged:
            raise RuntimeError("task_status.started() was called twice")
        self.acknowledged = True
        self.ticket.started(value)

    def terminate(self) -> None:
        """Cancel the task."""
        self.asked = True
        if self.scope is not None:
            self.scope.cancel()

    kill = terminate

    @interrupts_strike
    async def run(self) -> None:
        """Run the function and report its end; never raises."""
        launch = self.launch
        try:
            if launch.acknowledges:
                await launch.run(*launch.args, task_status=self, **launch.kwargs)
            else:
                await launch.run(*launch.args, **launch.kwargs)
        except GeneratorExit:  # the event loop itself was thrown away, and the tree with it
            raise
        except BaseException as error:  # the boundary where a task's failure becomes an exit
            exit = self.outcome(error)
        else:
            exit = Exit.normal() if self.acknowledged else _silent()
        # not in the handler: what the report sets in motion would have this error as its context. Siblings stopped one after
        # the other would then chain all their cancellations, which keeps their frames alive and costs O(n) for each.
        if exit is None:
            self.ticket.ignored()
        else:
            self.ticket.exited(exit)

    def outcome(self, error: BaseException) -> Exit | None:
        """What an exception that left the function means; None: it declined its start."""
        cancelled = anyio.get_cancelled_exc_class()
        if self.asked and isinstance(error, BaseExceptionGroup):
            # a task group inside the function may add its cancellations to what failed meanwhile
            rest = error.split(cancelled)[1]
            if rest is None:
                return Exit.shutdown()
            error = rest
        if isinstance(error, cancelled):
            # on asyncio awaiting what somebody else has cancelled looks like being cancelled, but it is a failure
            return Exit.shutdown() if self.asked else Exit.failed(error, reason="cancelled, but not by its supervisor")
        if isinstance(error, Ignore):
            if not self.acknowledged:
                return None
            return Exit.failed(error, reason="raised Ignore after it had acknowledged its start")
        return Exit.failed(error)


def _silent() -> Exit:
    return Exit.failed(RuntimeError("returned without task_status.started()"))
