"""The worker that hears of turns: what hooks say and what is seen elsewhere becomes what the decision about each leaf knows."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from supervisor import ChildSpec, ProcessId, task

from ..policy import decide
from ..state.restore import is_session
from ..state.sessions import session_of
from .adapter import ClaudeAdapter
from .on_disk import is_answered
from .settings import PROMPTED, STOPPED
from .turn import Seen, Turn, heard, looked

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from ..ledger import Leaf, Ledger
    from .hook_pipe import HookPipe, Told


async def turns(ledger: Ledger, pipe: HookPipe, *, task_status: TaskStatus[None]) -> None:
    """Hear of turns, until cancelled. What is known belongs to the leaves' adapters, and what hooks say meanwhile waits in the pipe.

    **Cancellation:** at any time; what was looked at is looked at again.
    """
    task_status.started()
    while True:
        ours = list(adapted(ledger))
        wakes = [adapter.turn.next_look for _, adapter in ours]
        with anyio.CancelScope(deadline=min((at for at in wakes if at is not None), default=math.inf)):
            await anyio.wait_readable(pipe.fd)
        for told in pipe.take():
            take(ledger, told)
        now = anyio.current_time()
        for leaf, adapter in ours:
            if adapter.turn.next_look is not None and adapter.turn.next_look <= now:
                await look(ledger, leaf, adapter)


def turns_spec(ledger: Ledger, pipe: HookPipe) -> ChildSpec:
    """The worker that hears of turns, as a child of the services."""
    return ChildSpec("turns", task(turns, ledger, pipe))


def adapted(ledger: Ledger) -> list[tuple[Leaf, ClaudeAdapter]]:
    """The leaves that are Claude Code."""
    return [(leaf, leaf.adapter) for leaf in ledger.leaves if isinstance(leaf.adapter, ClaudeAdapter)]


def take(ledger: Ledger, told: Told) -> None:
    """Take in what a hook said; one of an earlier life says nothing of this one."""
    for leaf, adapter in adapted(ledger):
        if adapter.number != told.number or adapter.generation != told.generation:
            continue
        if told.session_id is not None and is_session(told.session_id):
            adapter.learned(told.session_id, told.transcript)
        moved(ledger, leaf, adapter, heard(adapter.turn, told.event, anyio.current_time(), time.time()))


async def look(ledger: Ledger, leaf: Leaf, adapter: ClaudeAdapter) -> None:
    """Look elsewhere for the turn of a leaf."""
    turn, continuation = adapter.turn, adapter.continuation
    processes = () if leaf.sample is None else tuple(one.process for one in leaf.sample.processes)
    seen = await anyio.to_thread.run_sync(_seen, continuation.config, processes, continuation.path, turn.began, turn.ended_at is None)
    if adapter.turn is turn:  # else something was heard meanwhile
        moved(ledger, leaf, adapter, looked(turn, seen, anyio.current_time(), waiting=adapter.waiting))


def _seen(config: Path | None, processes: tuple[ProcessId, ...], path: object, began: float, registry: bool) -> Seen:
    assert callable(path)
    session = session_of(config, processes) if registry and config is not None else None
    return Seen(None if session is None else session.status, is_answered(path(), began))


def moved(ledger: Ledger, leaf: Leaf, adapter: ClaudeAdapter, turn: Turn) -> None:
    """What is known has changed: tell the decision whether the leaf is in a turn, if that has."""
    before, adapter.turn = adapter.is_busy, turn
    if adapter.is_busy is not before or adapter.is_busy is leaf.guard.idle:
        ledger.tell(leaf, decide.IdleChanged(not adapter.is_busy))


def noticed(ledger: Ledger, leaf: Leaf, adapter: ClaudeAdapter, pipe: HookPipe | None, busy: bool) -> None:
    """The lines of a leaf say that a turn begins or ends; without hooks nobody looks whether its answer is written."""
    turn, stream = adapter.turn, adapter.stream
    if pipe is not None and (busy or turn.up_by is None) and not (busy and stream is not None and not stream.is_in_turn):
        turn = heard(turn, PROMPTED if busy else STOPPED, anyio.current_time(), time.time())
        pipe.stir()
    moved(ledger, leaf, adapter, turn)
