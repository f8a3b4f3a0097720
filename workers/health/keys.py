"""Keys that somebody presses at a leaf: half a prompt is lost with a life that ends, so one that can wait does, as for the end of a turn.

What was typed cannot be seen, only that something was, a moment ago. As a turn it holds a restart that is due for `critical_grace` at most,
and none in an emergency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..policy import decide

if TYPE_CHECKING:
    from ..ledger import Leaf


def heeded(leaf: Leaf, event: decide.Event) -> tuple[decide.Event, ...]:
    """What to decide on in place of an event about a leaf that has a terminal. Blocks for one call of the file system at most.

    Whoever types is looked for where a restart may follow: with a sample at warning or above, and at the end of a turn that one waits for.
    """
    assert leaf.is_typed is not None
    guard = leaf.guard
    match event:
        case decide.LeafStarted():
            leaf.typed = False
        case decide.IdleChanged(idle):
            leaf.typed = idle and guard.due_since is not None and leaf.is_typed()
            return (decide.IdleChanged(idle and not leaf.typed),)
        case decide.Sampled(total_bytes=total) if leaf.typed or total >= guard.pressure.thresholds.warning_bytes:
            return _looked(leaf, event)
        case decide.HostShort(reason) if reason:
            return _looked(leaf, event)
    return (event,)


def _looked(leaf: Leaf, event: decide.Event) -> tuple[decide.Event, ...]:
    assert leaf.is_typed is not None
    if not leaf.guard.idle and not leaf.typed:
        return (event,)  # in a turn
    before, leaf.typed = leaf.typed, leaf.is_typed()
    return (event,) if before is leaf.typed else (decide.IdleChanged(not leaf.typed), event)
