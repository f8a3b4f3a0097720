"""Carries out that a leaf is held, released, stopped for good, or limited while nobody sees how much it has."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from supervisor import CallError

from ..event import STOPPED, LeafHeld, LeafReleased, RestartRefused, mib

if TYPE_CHECKING:
    from ..ledger import Leaf, Ledger
    from ..policy import effects


def hold(ledger: Ledger, leaf: Leaf, wanted: effects.Hold) -> None:
    """Let nothing of a leaf run, where that can be done; what cannot is restarted all the same."""
    if leaf.hold is None:
        return
    with suppress(OSError):  # no descriptors, or it has just ended
        if leaf.hold.hold(anyio.current_time() + wanted.seconds):
            way, total, generation = leaf.hold.ways[0], wanted.total_bytes, leaf.guard.generation
            ledger.emit(LeafHeld(leaf.path, way, wanted.seconds, total, mib(total), generation=generation))


def release(ledger: Ledger, leaf: Leaf, reason: str) -> None:
    """Let it go on; the probe tries that again if it fails."""
    if leaf.hold is None:
        return
    held = leaf.hold.until is not None or leaf.hold.is_paused
    with suppress(OSError):
        leaf.hold.release()
        if held:
            ledger.emit(LeafReleased(leaf.path, reason, generation=leaf.guard.generation))


def limited(leaf: Leaf, *, blind: bool) -> None:
    """While nobody can read how much a leaf has, the kernel ends it beyond emergency, where it can."""
    if leaf.hold is not None:
        with suppress(OSError):
            if blind:
                leaf.hold.cap(leaf.guard.pressure.thresholds)
            else:
                leaf.hold.uncap()


def let_end(leaf: Leaf, *, urgent: bool) -> None:
    """Its state was captured, and it is about to be asked to end: let it, but in an emergency not with ever more memory."""
    if leaf.hold is not None:
        with suppress(OSError):  # what cannot end in order is killed when its time is over
            if urgent:
                leaf.hold.let_end(leaf.guard.pressure.thresholds)
            else:
                leaf.hold.release()


async def stop(ledger: Ledger, leaf: Leaf, reason: str) -> None:
    """End a leaf that may not be restarted, before the host runs out of memory. Never raises.

    **Cancellation:** leaves the wait; the supervisor goes on.
    """
    if leaf.not_owned:
        return  # which was said when its restart was refused
    ledger.emit(RestartRefused(leaf.path, reason, None, STOPPED, generation=leaf.guard.generation))
    let_end(leaf, urgent=True)
    leaf.gave_up = reason
    try:
        await ledger.above(leaf).terminate_child(leaf.path[-1])
    except CallError:
        pass  # the supervisor above it is being stopped, and takes it along
