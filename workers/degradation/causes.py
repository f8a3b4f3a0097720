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
            return (ModeRequest(leaf, Cause.RESTART_FAILED, DegradationMode.READ_ONLY, f"a restart failed: {reason}"),)
        case RestartCompleted():
            # what was wrong with the old life is not wrong with the new one
            gone = (Cause.RESTART_REFUSED, Cause.RESTART_FAILED, Cause.MEMORY)
            return tuple(ModeRequest(leaf, cause, None, "it was restarted", at_once=True) for cause in gone)
        case CaptureFailed(cause=cause):
            # nothing tells that the next one would succeed: it is tried again when the cooldown is over
            said = f"state could not be captured: {cause}"
            return (
                ModeRequest(leaf, Cause.CAPTURE_FAILED, DegradationMode.WARNING, said),
                ModeRequest(leaf, Cause.CAPTURE_FAILED, None, "no capture has failed since"),
            )
        case _:
            return ()
