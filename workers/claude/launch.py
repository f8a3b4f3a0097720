"""What starts each life of a Claude Code: its conversation is looked after first, where that takes time in the time of its start."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import attrs

from supervisor import ChildType, Handle, Ticket, Value, describe, prepared

from .recovery import Case, Recovery, failed

if TYPE_CHECKING:
    from ..degradation.adapter import Made
    from .adapter import ClaudeAdapter

RECOVERY: Final = 120.0
"""Seconds that the repair of a transcript may take before the start of its life has failed."""


@attrs.frozen(repr=False, eq=False)
class _Life(Value):
    """Starts one life whose conversation was looked at."""

    adapter: ClaudeAdapter
    argv: tuple[str, ...]
    made: Made

    @property
    def type(self) -> ChildType:
        """Always a worker."""
        return ChildType.WORKER

    @property
    def kill_timeout(self) -> float:
        """As of the command."""
        return self.made(self.argv, self.adapter.judged).kill_timeout

    def launch(self, ticket: Ticket) -> Handle:
        """Start it.

        Raises:
            InUse: Somebody else is in the conversation that the command asks for.
            OSError: As of the command.
        """
        return self.adapter.begin(self.made, ticket)

    def describe(self) -> dict[str, Any]:
        """As of the command."""
        return self.made(self.argv, self.adapter.judged).describe()


@attrs.frozen(repr=False, eq=False)
class ClaudeLaunch(_Life):
    """Starts each life of a Claude Code with the words that get it into its conversation."""

    def launch(self, ticket: Ticket) -> Handle:
        """Start one life.

        Raises:
            InUse: Somebody else is in the conversation that the command asks for.
            OSError: As of the command.
        """
        recovery = self.adapter.conversation.recovery
        case = None if recovery is None else recovery.due()
        if recovery is None or case is None:
            return super().launch(ticket)
        ticket.extend(RECOVERY)
        life = _Life(self.adapter, self.argv, self.made)
        return prepared(life, partial(_recovered, recovery, case)).launch(ticket)


async def _recovered(recovery: Recovery, case: Case) -> None:
    try:
        verdict = await anyio.to_thread.run_sync(recovery.recover, case)
    except Exception as error:  # boundary: our own fault must not keep a life from starting, and is told
        verdict = failed(case, describe(error))
    recovery.conclude(case, verdict)
