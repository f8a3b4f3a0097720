"""Agents that come and go while the guardian runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from supervisor import AlreadyStarted, CallError, ChildNotFound, OrphansSwept

from .config import Agent
from .guardian import agent_spec, monitored, unmonitored
from .ledger import Leaf, Ledger

if TYPE_CHECKING:
    from supervisor import ChildSpec, Supervisor

    from .claude.stream import ClaudeStream
    from .roster import Roster


class AgentRefused(Exception):
    """An agent is not taken in, or not let go, now."""


async def add(
    ledger: Ledger, agent: Agent, *, stream: ClaudeStream | None = None, spec: Callable[[Ledger, Leaf], ChildSpec] = agent_spec
) -> Leaf:
    """Take in an agent and start it: from its first process on it is guarded like the others.

    Args:
        ledger: Of the run, which is up.
        agent: The agent; a derived name that is in use gets a number.
        stream: What a program in this process talks to it by; None for its own input and output.
        spec: Makes what the supervisor of the agents is told of it.

    Returns:
        Its leaf, which is up.

    Raises:
        AgentRefused: The host is short of memory or unhealthy, or the run takes nobody in.
        UsageError: A name given by hand is in use, or the state directory cannot be used.
        StartFailed: The command does not start; nothing of it is left.
        CallError: The run is ending.

    **Cancellation:** takes everything back, which is waited for.
    """
    tree, roster = _of(ledger)
    if (why := ledger.no_more_agents()) is not None:
        raise AgentRefused(f"no agent is taken in now: {why}")
    before = len(roster.swept)
    leaf = await roster.enrol(agent, stream=stream)
    try:
        if len(roster.swept) > before:
            pids = tuple(process.pid for process in roster.swept[before:])
            ledger.emit(OrphansSwept(("guardian",), pids, "left behind by a run whose guardian died"))
        if roster.hooks is not None:
            from .claude.turns import turns_spec  # most agents tell of no turns

            with suppress(AlreadyStarted):
                await tree.supervisor("services").start_child(turns_spec(ledger, roster.hooks))
        await tree.supervisor("agents").start_child(spec(ledger, leaf))
    except BaseException:
        with anyio.CancelScope(shield=True):  # as long as stopping it may take
            await _taken_down(tree, leaf)
        roster.dismiss(leaf)
        raise
    if ledger.watches:
        monitored(ledger, leaf)
    return leaf


async def remove(ledger: Ledger, name: str) -> Leaf:
    """Stop an agent within its `graceful_timeout`, and forget it.

    Its name is free; what its restart protection has spent is kept for whoever has that name next.

    Returns:
        Its leaf, which is no longer one of the ledger's.

    Raises:
        AgentRefused: There is no such agent, or it is the only one: then the run is to be stopped.
        CallError: The run is ending, or somebody starts the agent again at the same time.

    **Cancellation:** what has begun is waited for.
    """
    tree, roster = _of(ledger)
    leaf = next((leaf for leaf in ledger.leaves if leaf.name == name), None)
    if leaf is None:
        raise AgentRefused(f"no agent is called {name!r}")
    if ledger.shared is None and len(ledger.leaves) == 1:
        raise AgentRefused(f"{name!r} is the only agent; stop the run instead")
    with anyio.CancelScope(shield=True):
        above = tree.supervisor("agents")
        if ledger.shared is None:
            await above.terminate_child(name)
            await above.delete_child(name)
        else:
            with suppress(ChildNotFound):  # it has ended, and is forgotten already
                await above.terminate_child(name)
    unmonitored(ledger, leaf)
    roster.dismiss(leaf)
    return leaf


def _of(ledger: Ledger) -> tuple[Supervisor, Roster]:
    if ledger.tree is None or ledger.roster is None:
        raise AgentRefused("this run takes in no agents")
    return ledger.tree, ledger.roster


async def _taken_down(tree: Supervisor, leaf: Leaf) -> None:
    with suppress(CallError):
        tree.supervisor("agents", leaf.name).stop()  # else a start that is under way would be waited for
    with suppress(CallError):  # it is gone already, as after a start that failed
        above = tree.supervisor("agents")
        await above.terminate_child(leaf.name)
        await above.delete_child(leaf.name)
