"""The one seam between the machine's interpreter and what a child can be.

A `Launch` is what a child specification starts; it is given a `Ticket` for one life and answers with a `Handle`.
Every call here is synchronous and returns at once: a launch that has to wait spawns a task through its ticket.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from .event import Event
from .exits import Exit

if TYPE_CHECKING:
    from .wire import Mirrored


class Cancellable(Protocol):
    """The scope of a task that was spawned."""

    def cancel(self) -> object:
        """Ask the task to unwind; returns at once."""


Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]], str], Cancellable]
"""Runs a task, of that name, in the tree's task group."""


class Closable(Protocol):
    """What a tree owns for its children."""

    def close(self) -> None:
        """The tree has ended."""


C = TypeVar("C", bound=Closable)


class Ticket(Protocol):
    """One life of a child, as its launch sees it.

    Exactly one of `started`, `ignored` and `exited` is called first; after `started`, `exited` is called exactly once.
    An `exited` before `started` means that the start failed. Calls after the last one are ignored.
    """

    @property
    def path(self) -> tuple[str, ...]:
        """The ids from the root down to this child."""

    @property
    def generation(self) -> int:
        """The number of this life, from 1; it never repeats under one path of a living supervisor."""

    def started(self, value: object = None) -> None:
        """Acknowledge: the child is up. `value` becomes the result of the call that started it."""

    def ignored(self) -> None:
        """Decline to start: OTP's ``ignore``. Nothing runs and nothing more is reported."""

    def exited(self, exit: Exit) -> None:
        """The life is over and everything it owned is gone."""

    def extend(self, seconds: float) -> None:
        """Ask for time: the wait for the start or for the end of this life ends no sooner than so many seconds from now."""

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> Cancellable:
        """Run a task in the tree's task group.

        It must not raise, and it is shielded from outer cancellation: only the returned scope cancels it.
        """

    def emit(self, event: Event) -> None:
        """Publish an event on the tree's bus."""


@runtime_checkable
class TreeTicket(Ticket, Protocol):
    """The ticket of a child in a running tree, for launches that need more than their own life."""

    def shared(self, make: Callable[[Spawn], C]) -> C:
        """What all children of the tree share: made at the first call with this `make`, closed when all supervisors have ended."""

    async def call(self, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
        """Call a function that some child of the tree serves; see `SupervisorRef.call`.

        **Cancellation:** leaves the wait.
        """

    def mirrored(self, message: Mirrored) -> None:
        """A supervisor in a process of the child has changed."""

    def handed(self, handle: Handle) -> None:
        """This is the child's handle from now on, in place of the one that its launch answered with."""


class Handle(Protocol):
    """A child that was launched and has not been reported as exited."""

    @property
    def pid(self) -> int | None:
        """The process id of the child's root process, None when it lives in this process."""

    def terminate(self) -> None:
        """Ask the child to end; returns at once."""

    def kill(self) -> None:
        """Insist; returns at once. A task can only be cancelled, so for it this is `terminate` again."""
