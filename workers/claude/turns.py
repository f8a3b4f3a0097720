"""The worker that hears of turns: what hooks say and what is seen elsewhere becomes what the decision about each leaf knows."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from supervisor import ChildSpec, ProcessId, evolve, task

from ..event import NotificationFailed
from ..event_conversation import HooksChanged
from ..health.grown import looked_at
from ..policy import decide
from ..policy.ladder import DegradationMode
from ..policy.pressure import MemoryState
from ..state.restore import is_session
from ..state.sessions import session_of
from .adapter import ClaudeAdapter
from .behind import subagent_works, tool_runs
from .hook_events import hook_event
from .on_disk import is_answered, is_open
from .proof import looked_for
from .settings import BACKGROUND, MCP, PROMPTED, STOPPED, TOLD, USED
from .turn import QUIET, Seen, Turn, heard, looked, seen_alone

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from ..ledger import Leaf, Ledger
    from ..probe.parts import LeafParts
    from .hook_pipe import HookPipe, Told
    from .proof import Proof


HOOKS: Final = "hooks"
"""The channel by which a mode is enforced, in events."""

SWITCHES: Final = 5.0
"""Seconds between looks at what can turn hooks off."""


async def turns(ledger: Ledger, pipe: HookPipe, *, task_status: TaskStatus[None]) -> None:
    """Hear of turns, until cancelled. What is known belongs to the leaves' adapters, and what hooks say meanwhile waits in the pipe.

    **Cancellation:** at any time; what was looked at is looked at again.
    """
    task_status.started()
    switches_at = anyio.current_time() + QUIET
    while True:
        ours = list(adapted(ledger))
        wakes = [adapter.turn.next_look for _, adapter in ours] + [switches_at if ours else None]
        with anyio.CancelScope(deadline=min((at for at in wakes if at is not None), default=math.inf)):
            await anyio.wait_readable(pipe.fd)
        for told in pipe.take():
            take(ledger, told)
        now = anyio.current_time()
        if now >= switches_at:
            switches_at = now + SWITCHES
            for leaf, adapter in ours:
                await switched(ledger, leaf, adapter)
        for leaf, adapter in ours:
            if works_unheard(leaf, adapter):
                adapter.turn = evolve(adapter.turn, next_look=now + QUIET)
            if adapter.turn.next_look is not None and adapter.turn.next_look <= now:
                await look(ledger, leaf, adapter)


def works_unheard(leaf: Leaf, adapter: ClaudeAdapter) -> bool:
    """Whether a leaf at rest is to be looked at, because a restart may be near: no hook tells of ``/compact``, but the registry does."""
    if adapter.turn.is_busy or adapter.turn.next_look is not None or adapter.input.stream is not None or leaf.level is MemoryState.NORMAL:
        return False
    return not adapter.continuation.command.is_plain_node and not adapter.hooks.unheard


def turns_spec(ledger: Ledger, pipe: HookPipe) -> ChildSpec:
    """The worker that hears of turns, as a child of the services."""
    return ChildSpec("turns", task(turns, ledger, pipe))


def adapted(ledger: Ledger) -> list[tuple[Leaf, ClaudeAdapter]]:
    """The leaves that are Claude Code."""
    return [(leaf, leaf.adapter) for leaf in ledger.leaves if isinstance(leaf.adapter, ClaudeAdapter)]


def take(ledger: Ledger, told: Told) -> None:
    """Take in what a hook said; one of an earlier life says nothing of this one."""
    for leaf, adapter in adapted(ledger):
        if adapter.hooks.number != told.number or adapter.generation != told.generation:
            continue
        if adapter.hooks.is_doubted and not adapter.hooks.unheard and leaf.unheard == HOOKS:
            leaf.unheard = ""  # a mode was not believed to be enforced, and is
        proved(ledger, leaf, adapter, evolve(adapter.hooks.proof, is_heard=True, is_missing=False))
        if told.session_id is not None and is_session(told.session_id):
            adapter.conversation.learned(told.session_id, told.transcript)
        if told.event in (STOPPED, BACKGROUND):
            adapter.conversation.answered()
        if leaf.parts is not None:
            accounted(ledger, leaf, leaf.parts, told)
        tell(ledger, leaf, adapter, told)
        moved(ledger, leaf, adapter, heard(adapter.turn, told.event, anyio.current_time(), time.time()))


async def switched(ledger: Ledger, leaf: Leaf, adapter: ClaudeAdapter) -> None:
    """Look whether the hooks of a leaf have been turned off or on, and say so; without them its turns are looked for elsewhere."""
    if await anyio.to_thread.run_sync(adapter.hooks.switched):
        _tell_of_hooks(ledger, leaf, adapter)
    proof = adapter.hooks.proof
    root = ledger.process(leaf)
    if root is not None and not proof.is_heard and not adapter.hooks.unheard:
        is_up = await anyio.to_thread.run_sync(_is_up, adapter, (root, *sampled(leaf)))
        if adapter.hooks.proof is proof:  # nothing was heard meanwhile, and it is the same life
            proved(ledger, leaf, adapter, looked_for(proof, is_up, anyio.current_time()))
    # a life that comes up is not looked for before it must be up
    if adapter.hooks.unheard and (adapter.turn.next_look is None or adapter.turn.up_by is not None):
        adapter.turn = evolve(adapter.turn, next_look=anyio.current_time(), up_by=None)


def proved(ledger: Ledger, leaf: Leaf, adapter: ClaudeAdapter, proof: Proof) -> None:
    """More is known of whether the hooks of a leaf run: say so where that changes something."""
    if adapter.hooks.proved(proof):
        _tell_of_hooks(ledger, leaf, adapter)


def _tell_of_hooks(ledger: Ledger, leaf: Leaf, adapter: ClaudeAdapter) -> None:
    """Say that the hooks of a leaf are off or on, and of a mode that they enforced until now that nothing does."""
    ledger.emit(HooksChanged(leaf.path, adapter.hooks.unheard, generation=adapter.generation))
    if not adapter.hooks.unheard:
        leaf.unheard = "" if leaf.unheard == HOOKS else leaf.unheard
    elif leaf.enforced in (DegradationMode.READ_ONLY, DegradationMode.EMERGENCY) and leaf.unheard != HOOKS:
        ledger.emit(NotificationFailed(leaf.path, HOOKS, adapter.hooks.unheard, generation=adapter.generation))
        leaf.unheard = HOOKS


def _is_up(adapter: ClaudeAdapter, processes: tuple[ProcessId, ...]) -> bool:
    config = adapter.continuation.config
    return adapter.shows() or (config is not None and session_of(config, processes) is not None)


def sampled(leaf: Leaf) -> tuple[ProcessId, ...]:
    """The processes of a leaf as they were seen last."""
    return () if leaf.sample is None else tuple(one.process for one in leaf.sample.processes)


def accounted(ledger: Ledger, leaf: Leaf, parts: LeafParts, told: Told) -> None:
    """Keep account of what a leaf grows by: up to a call it came with the tools before that. Turns begin as hooks say, one a prompt."""
    if told.event == PROMPTED:
        parts.prompted(anyio.current_time())
    elif told.event == USED:
        parts.turned(True, anyio.current_time())
    if told.tool and (word := MCP if told.tool.startswith("mcp__") else told.tool) in TOLD:
        looked_at(ledger, leaf)
        parts.used(word)


def tell(ledger: Ledger, leaf: Leaf, adapter: ClaudeAdapter, told: Told) -> None:
    """Publish what a hook said, if that is wanted."""
    wanted, now = ledger.run.config.hooks.claude_code, anyio.current_time()
    session_id = adapter.continuation.session_id
    adapter.allowance, event = hook_event(wanted, adapter.allowance, told.event, told.tool, session_id, now)
    if event is not None:
        ledger.emit(evolve(event, path=leaf.path, generation=told.generation))


async def look(ledger: Ledger, leaf: Leaf, adapter: ClaudeAdapter) -> None:
    """Look elsewhere for the turn of a leaf."""
    turn, now, root = adapter.turn, anyio.current_time(), ledger.process(leaf)
    seen = await anyio.to_thread.run_sync(_seen, adapter, turn, root, sampled(leaf), time.time())
    if adapter.turn is not turn:  # something was heard meanwhile
        return
    moved(ledger, leaf, adapter, seen_alone(turn, seen, now) if adapter.hooks.unheard else looked(turn, seen, now, waiting=adapter.waiting))


def _seen(adapter: ClaudeAdapter, turn: Turn, root: ProcessId | None, sampled: tuple[ProcessId, ...], wall: float) -> Seen:
    continuation = adapter.continuation
    config, transcript = continuation.config, continuation.path()
    processes = sampled if root is None else (root, *sampled)
    session = session_of(config, processes) if turn.ended_at is None and config is not None else None
    status = None if session is None else session.status
    if adapter.hooks.unheard:
        return Seen(status, False, status is None and root is not None and is_open(transcript, adapter.began))
    answered = is_answered(transcript, turn.began)
    if root is None or not (answered and continuation.command.is_plain_node):
        return Seen(status, answered)
    return Seen(status, answered, tool_runs(root) or subagent_works(transcript, turn.began, wall))


def moved(ledger: Ledger, leaf: Leaf, adapter: ClaudeAdapter, turn: Turn) -> None:
    """What is known has changed: tell the decision whether the leaf is in a turn, if that has."""
    before, adapter.turn = adapter.is_busy, turn
    if leaf.parts is not None:
        if not turn.has_begun:
            leaf.parts.turned(False, anyio.current_time())
        if leaf.parts.is_waiting:
            looked_at(ledger, leaf)
    if adapter.is_busy is not before or adapter.is_busy is leaf.guard.idle:
        ledger.tell(leaf, decide.IdleChanged(not adapter.is_busy))


def noticed(ledger: Ledger, leaf: Leaf, adapter: ClaudeAdapter, pipe: HookPipe | None, busy: bool) -> None:
    """The lines of a leaf say that a turn begins or ends; without hooks nobody looks whether its answer is written."""
    turn, stream = adapter.turn, adapter.input.stream
    if pipe is not None and (busy or turn.up_by is None) and not (busy and stream is not None and not stream.is_in_turn):
        turn = heard(turn, PROMPTED if busy else STOPPED, anyio.current_time(), time.time())
        pipe.stir()
    moved(ledger, leaf, adapter, turn)
