"""What can run beside the process of a command, as a part of its life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .running import RunningCommand


class Companion(Protocol):
    """A part of one life of a command that runs beside its process: it waits for readiness, or hears what it reports."""

    async def run(self, life: RunningCommand) -> None:
        """Live beside the root process.

        **Cancellation:** it is cancelled when that is dead, and may return before.
        """

    def conclude(self, life: RunningCommand) -> None:
        """The root process is dead, others of its tree may live: take in its last words. Not called when the life is given up."""

    def close(self) -> None:
        """Give back what it holds."""
