"""What a child specification starts; what it is given, and answers with, is in `ports.py`, for type checkers alone."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from .ports import Handle, Ticket


class ChildType(Enum):
    """OTP's child types: they set the default `shutdown` and what `count_children` counts."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


@runtime_checkable
class Launch(Protocol):
    """What a child specification starts: a task, an OS command, a worker process or a supervisor."""

    @property
    def type(self) -> ChildType:
        """Whether a started child is a supervisor."""

    @property
    def kill_timeout(self) -> float:
        """Seconds after `kill` after which the child is given up as unresponsive; may be ``math.inf``."""

    def launch(self, ticket: Ticket) -> Handle:
        """Start one life and return at once.

        Raises:
            Exception: The start failed; the interpreter turns it into an `Exit` with this exception.
        """

    def describe(self) -> dict[str, Any]:
        """What would be started, as JSON data for events and reports; no secrets."""
