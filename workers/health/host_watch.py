"""Watches the host beside the leaves: a verdict about its health, and what to do when it is short of memory.

A look at everything is due every ``health.interval``, a look at the memory alone more often, soonest while that is short or falls fast, and
at once when the kernel says that somebody waits for memory. All that a look needs is imported at the first one, which comes a few seconds
after the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from ..ledger import Ledger

FIRST: Final = 5.0
"""Seconds from the start to the first look, at most."""

CALM: Final = 5.0
"""Seconds between two looks at the memory alone, at most: the first fall comes without a warning, and a look costs next to nothing."""


async def host_watch(ledger: Ledger, *, task_status: TaskStatus[None]) -> None:
    """Look, judge and act, until cancelled.

    **Cancellation:** at any time; a thread that waits for a disk ends when that answers.
    """
    interval = ledger.run.config.health.interval
    task_status.started()
    await anyio.sleep(min(FIRST, interval))
    from .host_looks import health_looked, memory_looked, places
    from .looks import Looks

    looks = Looks(places(ledger), patience=min(FIRST, interval))
    wholly = anyio.current_time()
    while True:
        now = anyio.current_time()
        if now >= wholly:
            wholly = now + interval
            await health_looked(ledger, looks)
            now = anyio.current_time()
        pause = memory_looked(ledger, looks, now)
        await ledger.strain(max(now, min(now + min(pause, CALM), wholly)))
