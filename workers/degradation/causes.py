"""What events ask the ladder for: memory, restarts and captures that failed. Refused restarts and health ask directly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor import Event, Record, format_bytes

from ..event import CaptureFailed, MemoryLevelChanged, RestartCompleted, RestartFailed
from ..ledger import ModeRequest
from ..policy.ladder import Cause, DegradationMode, asked_by_memory

if TYPE_CHECKING:
    from ..ledger import Leaf, Ledger


def listen(ledger: Ledger, record: Record) -> None:
    """A sink of the tree's bus: what an event about a leaf asks for goes to the degradation worker."""
    leaf = ledger.leaf_at(record.event.path)
    if leaf is not None:
        for request in requests(leaf, record.event):
            ledger.modes.put(request)


def requests(leaf: Leaf, event: Event) -> tuple[ModeRequest, ...]:
    """What an event about a leaf asks for."""
    match event:
        case MemoryLevelChanged(new=level, total_bytes=total):
            return (ModeRequest(leaf, Cause.MEMORY, asked_by_memory(level), f"memory is {level.value}, {format_bytes(total)}"),)
        case RestartFailed(reason=reason, memory_mb=None):
            return _for_a_while(leaf, Cause.RESTART_FAILED, DegradationMode.READ_ONLY, f"a restart failed: {reason}")
        case RestartCompleted():
            # what was wrong with the old life is not wrong with the new one
            gone = (Cause.RESTART_REFUSED, Cause.RESTART_FAILED, Cause.MEMORY)
            return tuple(ModeRequest(leaf, cause, None, "it was restarted", at_once=True) for cause in gone)
        case CaptureFailed(cause=cause, part=""):
            return _for_a_while(leaf, Cause.CAPTURE_FAILED, DegradationMode.WARNING, f"state could not be captured: {cause}")
        case _:
            return ()


def _for_a_while(leaf: Leaf, cause: Cause, mode: DegradationMode, reason: str) -> tuple[ModeRequest, ModeRequest]:
    """For the cooldown alone: nothing would tell that the next attempt succeeds, and in that mode it might never be made."""
    return ModeRequest(leaf, cause, mode, reason), ModeRequest(leaf, cause, None, f"{cause.value}: not since")
