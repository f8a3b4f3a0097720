"""Degradation: the ladder of each leaf. What is asked for is put together, held for its cooldown, carried out, and said."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio

from ..event import DegradationChanged, NotificationFailed
from ..policy import ladder as rungs
from .adapter import AdapterFailed

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from ..ledger import Leaf, Ledger, ModeRequest
    from ..policy.ladder import ModeChange


async def degradation(ledger: Ledger, *, task_status: TaskStatus[None]) -> None:
    """Carry out mode changes, until cancelled. The ladders are the leaves' own, and survive this worker's restart.

    **Cancellation:** at any time; what was not carried out is when the worker is back.
    """
    task_status.started()
    for leaf in ledger.leaves:
        await enforced(ledger, leaf)
    while True:
        got: list[ModeRequest] = []
        wakes = [leaf.ladder.settles_at for leaf in ledger.leaves]
        with anyio.CancelScope(deadline=min((at for at in wakes if at is not None), default=math.inf)):
            got.append(await ledger.modes.get())
        for request in got:
            await asked(ledger, request)
        for leaf in ledger.leaves:
            await settled(ledger, leaf)


async def asked(ledger: Ledger, request: ModeRequest) -> None:
    """Take one request; whoever is no longer there has no mode."""
    leaf, cause = request.leaf, request.cause
    if leaf.gone:
        return
    timing = {"now": anyio.current_time(), "cooldown": 0.0 if request.at_once else leaf.agent.degradation.mode_cooldown}
    if request.mode is not None:
        leaf.because[cause] = request.reason
        leaf.ladder, change = rungs.degrade(leaf.ladder, request.mode, cause, **timing)
    elif request.at_once:
        leaf.ladder, change = rungs.forget(leaf.ladder, cause)
    else:
        leaf.ladder, change = rungs.recover(leaf.ladder, cause, **timing)
    await moved(ledger, leaf, change, request.reason)


async def settled(ledger: Ledger, leaf: Leaf) -> None:
    """Leave the rungs whose cooldown is over."""
    leaf.ladder, change = rungs.settle(leaf.ladder, anyio.current_time())
    seconds = leaf.agent.degradation.mode_cooldown
    if change is not None:
        await moved(ledger, leaf, change, f"for {seconds:g} s nothing has asked for {change.old.value}")


async def moved(ledger: Ledger, leaf: Leaf, change: ModeChange | None, reason: str) -> None:
    """Say that the mode changed, and have the leaf hear of it."""
    if change is None:
        return
    left = [leaf.because[cause] for cause in leaf.ladder.causes() if cause in leaf.because]
    if change.new.rank < change.old.rank and left:
        reason = f"{reason}; still: {left[0]}"
    leaf.mode_reason = reason
    ledger.emit(DegradationChanged(leaf.path, change.old, change.new, reason, generation=leaf.guard.generation))
    if leaf.show is not None:
        leaf.show()
    await enforced(ledger, leaf)


async def enforced(ledger: Ledger, leaf: Leaf) -> None:
    """Have the leaf hear of its mode, unless it has; that it cannot is said once."""
    if leaf.adapter is None or leaf.enforced is leaf.mode:
        return
    leaf.enforced = leaf.mode
    try:
        await leaf.adapter.degrade(leaf.mode, leaf.mode_reason)
    except AdapterFailed as error:
        if leaf.unheard != error.channel:
            ledger.emit(NotificationFailed(leaf.path, error.channel, error.reason, generation=leaf.guard.generation))
        leaf.unheard = error.channel
    else:
        leaf.unheard = ""
