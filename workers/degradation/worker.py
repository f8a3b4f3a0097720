"""Degradation: carries out the changes of mode that the decision asks for, one after the other, and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..event import DegradationChanged

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from ..ledger import Ledger


async def degradation(ledger: Ledger, *, task_status: TaskStatus[None]) -> None:
    """Carry out mode changes, until cancelled.

    In this form a mode turns off what the guardian itself does (the ladder's table says what); reaching into the leaf is
    its adapter's part.

    **Cancellation:** at any time.
    """
    task_status.started()
    while True:
        request = await ledger.modes.get()
        leaf, change = request.leaf, request.change
        ledger.emit(DegradationChanged(leaf.path, change.old, change.mode, change.reason, generation=leaf.guard.generation))
