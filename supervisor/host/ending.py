"""End some processes of a life that goes on: ask them, and kill whoever has not ended in time."""

from __future__ import annotations

import signal
from collections.abc import Collection
from functools import partial
from typing import Final

import anyio

from .identity import ProcessId, is_alive, send_signal
from .spare import with_reserve
from .sweep import BOUND, Members, Swept, dead, kill_all, sweep

LAST_WORDS: Final = 0.5
"""Seconds that those who may outlive the others have at least, to say how they ended."""

_TERM: Final = signal.SIGTERM


async def end_processes(members: Members, *, grace: float, last: Collection[ProcessId] = (), bound: float = BOUND) -> Swept:
    """SIGTERM for all of them, and SIGKILL for those that run `grace` seconds later, or have come by then.

    Args:
        members: Which ones, afresh with every call; parents before their children.
        grace: Seconds; with 0 they are killed at once.
        last: Those that get no signal before the others are dead, such as a shell that then says how its command ended; one of which there
            are no others gets it with them. They have `LAST_WORDS` for that, or the grace if it is longer.
        bound: Seconds after which processes are given up that the kernel cannot end.

    Returns:
        Who had to be killed, and who could not be.

    Raises:
        OSError: Out of descriptors.

    **Cancellation:** what was not signalled yet stays alive.
    """
    everybody = list(with_reserve(members)())
    first = [process for process in everybody if process not in last] or everybody
    killed: tuple[ProcessId, ...] = ()
    if grace > 0:
        for process in first:
            _ask(process)
    else:
        killed = kill_all(lambda: [process for process in members() if process in first]).killed
    with anyio.move_on_after(max(grace, LAST_WORDS)):
        await dead(everybody)
    swept = await sweep(partial(_living, members), bound=bound)
    return Swept(tuple(dict.fromkeys((*killed, *swept.killed))), swept.left)


def _ask(process: ProcessId) -> None:
    try:
        with_reserve(send_signal)(process, _TERM)
    except PermissionError:
        return  # whoever is not ours to signal is told of in the end, as left


def _living(members: Members) -> list[ProcessId]:
    return [process for process in members() if with_reserve(is_alive)(process)]
