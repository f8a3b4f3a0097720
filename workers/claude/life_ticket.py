"""The ticket of a life whose end is heard by somebody else first."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from supervisor import Event, Exit, Ticket


class LifeTicket:
    """A `Ticket`.

    Args:
        ticket: The one from the supervisor.
        on_exit: Called with the end of the life, before the supervisor hears of it.
    """

    def __init__(self, ticket: Ticket, on_exit: Callable[[Exit], object]) -> None:
        self._ticket, self._on_exit = ticket, on_exit

    @property
    def path(self) -> tuple[str, ...]:
        """See `Ticket.path`."""
        return self._ticket.path

    @property
    def generation(self) -> int:
        """See `Ticket.generation`."""
        return self._ticket.generation

    def started(self, value: object = None) -> None:
        """See `Ticket.started`."""
        self._ticket.started(value)

    def ignored(self) -> None:
        """See `Ticket.ignored`."""
        self._ticket.ignored()

    def exited(self, exit: Exit) -> None:
        """See `Ticket.exited`."""
        self._on_exit(exit)
        self._ticket.exited(exit)

    def extend(self, seconds: float) -> None:
        """See `Ticket.extend`."""
        self._ticket.extend(seconds)

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> Any:
        """See `Ticket.spawn`."""
        return self._ticket.spawn(run, name)

    def emit(self, event: Event) -> None:
        """See `Ticket.emit`."""
        self._ticket.emit(event)
