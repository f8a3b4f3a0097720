"""Health: folds samples and news of each leaf into its level, and carries out what the decision asks for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import anyio

from ..ledger import Leaf, Ledger
from ..policy import decide
from .turns import Turns

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus

SETTLING: Final = 0.5
"""Seconds from a start to the first sample: what a process weighs before it has loaded anything says nothing."""


async def health(ledger: Ledger, *, task_status: TaskStatus[None]) -> None:
    """Decide, until cancelled.

    **Cancellation:** at any time; a restart that was asked for goes on in the supervisor, its outcome is then unknown here.
    """
    ledger.turns = Turns(ledger)  # whoever had a turn, or waited for one, went with this worker's last life
    async with anyio.create_task_group() as tasks:
        for leaf in ledger.leaves:
            if leaf.guard.phase in (decide.Phase.ASKED, decide.Phase.RESTARTING):
                # whoever carried it out went with this worker's last life
                decided(ledger, leaf, decide.RestartBroken("the health worker was restarted meanwhile"), tasks)
        tasks.start_soon(serve_requests, ledger, tasks)
        task_status.started()
        wakes = wakes_of(ledger)
        while True:
            with anyio.CancelScope(deadline=min(wakes.values(), default=math.inf)) as waiting:
                news = await ledger.news.get()
            while not waiting.cancelled_caught:
                decided(ledger, news.leaf, news.event, tasks)
                # of a thousand leaves few ever wait for a time
                wakes.pop(news.leaf.name, None)
                if news.leaf.gone:  # and another one may have its name
                    wakes = wakes_of(ledger)
                elif (at := decide.next_wake(news.leaf.guard)) is not None:
                    wakes[news.leaf.name] = at
                try:
                    news = ledger.news.take()  # to wait for each of a thousand samples costs as much as to decide
                except anyio.WouldBlock:
                    break
            if waiting.cancelled_caught:
                for leaf in ledger.leaves:
                    decided(ledger, leaf, decide.Tick(), tasks)
                wakes = wakes_of(ledger)
            ledger.turns.grant()  # what one sweep saw is known: the largest of it goes first


def wakes_of(ledger: Ledger) -> dict[str, float]:
    """Who waits for a time, and for which."""
    return {leaf.name: at for leaf in ledger.leaves if (at := decide.next_wake(leaf.guard)) is not None}


def decided(ledger: Ledger, leaf: Leaf, event: decide.Event, tasks: TaskGroup) -> None:
    """Take one event about one leaf, and do what follows from it; nothing follows for one that is no longer there."""
    if leaf.gone:
        return
    now = anyio.current_time()
    leaf.guard, wanted = decide.step(leaf.guard, event, now)
    if leaf.on_due is not None:
        leaf.put_off(now)
    if isinstance(event, decide.IdleChanged | decide.LeafStarted | decide.LeafExited):
        ledger.turned()
    elif isinstance(event, decide.Reconfigured):
        ledger.look(leaf, now)
    if isinstance(event, decide.Sampled):
        # from the sample on, as the probe reckons: while the interval stays the same, it need not be woken to be told so
        since = now if leaf.sample is None else leaf.sample.at
        ledger.look(leaf, since + ledger.pause(leaf, now))
        ledger.on_sample()
    elif isinstance(event, decide.LeafStarted):
        ledger.look(leaf, now + SETTLING)
    elif isinstance(event, decide.Unread):
        from .holding import limited

        limited(leaf, blind=True)  # each life anew
    if wanted:
        # here: nothing follows from the samples of a leaf that is well, and what does begins long before an emergency as a rule
        from .acting import perform

        for effect in wanted:
            perform(ledger, leaf, effect, tasks)
    turn = None if ledger.turns is None or leaf.guard.phase is not decide.Phase.ASKED else ledger.turns.waiting(leaf)
    if ledger.turns is not None and turn is not None and turn.wanted is not None and decide.is_void(leaf.guard, turn.wanted, now):
        ledger.turns.withdraw(turn)
        decided(ledger, leaf, decide.RestartWithdrawn(), tasks)


async def serve_requests(ledger: Ledger, tasks: TaskGroup) -> None:
    """Carry out the restarts that somebody asks for."""
    while True:
        request = await ledger.restarts.get()
        from .restart import requested  # here: as for `perform`

        assert ledger.turns is not None
        tasks.start_soon(requested, ledger, request, ledger.turns.join(request.leaf))
        ledger.turns.grant()
