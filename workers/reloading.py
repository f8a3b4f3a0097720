"""Reading the configuration again while the guardian runs: what can change takes effect, what cannot is named, nonsense changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

import attrs

from supervisor import CallError, Fault, UsageError

from .config import Agent, GuardianRun
from .event_config import ConfigurationChanged, ConfigurationRejected
from .guardian import agent_spec, leaf_spec_of, policy_of, protection
from .ledger import Leaf, Ledger
from .policy import decide

STOPPING: Final = ("graceful_timeout", "force_kill_timeout")
"""Keys of ``[restart]`` that belong to the leaf itself."""
FIXED: Final = {
    **{key: f"guardian.{key}" for key in ("enabled", "auto_start", "persist_state", "state_dir")},
    "workers": "workers.isolation",
    "hooks": "hooks",
    "notifications": "notifications",
    "encryption": "encryption.key",
    "mpm": "mpm.monitor",
}
"""What only a new start can change."""


async def reload(ledger: Ledger) -> dict[str, Any]:
    """Read file, environment and options again.

    Returns:
        The keys that are in effect now, that are for the leaf's next life, and for the next run.

    Raises:
        UsageError: All faults; the last good configuration stays, and an event says so.
    """
    run = ledger.run
    try:
        wanted = read_again(run)
    except UsageError as error:
        ledger.emit(ConfigurationRejected(("guardian",), run.file, tuple(map(str, error.faults))))
        raise
    now: list[str] = []
    next_life: list[str] = []
    next_run = [FIXED[key] for key in differing(run.config, wanted.config) if key in FIXED]
    monitoring = list(differing(run.config.monitoring, wanted.config.monitoring))
    now += [f"monitoring.{key}" for key in monitoring]
    now += [f"state.{key}" for key in differing(run.config.state, wanted.config.state)]
    for key in differing(run.config.health, wanted.config.health):
        (next_run if key == "interval" else now).append(f"health.{key}")
    # what a new start is needed for stays as it is: it must not be taken for what is in effect
    kept = {key: getattr(run.config, key) for key in FIXED}
    kept["health"] = attrs.evolve(wanted.config.health, interval=run.config.health.interval)
    ledger.run = attrs.evolve(run, config=attrs.evolve(wanted.config, **kept), limit_bytes=wanted.limit_bytes)
    ledger.intervals = wanted.config.monitoring.intervals()
    by_name = {agent.name: agent for agent in wanted.agents}
    for leaf in ledger.leaves:
        if leaf.configured is None:  # it was added, and has its own
            await apply(ledger, leaf, leaf.agent, False)
            continue
        agent = by_name.pop(leaf.configured, None)
        if agent is None:
            next_run.append(f"{leaf.name}: is no longer there")
            continue
        agent = attrs.evolve(agent, name=leaf.name)
        changed, later = changes(leaf.agent, agent)
        now += changed
        next_life += later
        if agent.degradation.signal != leaf.agent.degradation.signal:
            next_run.append(f"{leaf.name}: degradation.signal")
            agent = attrs.evolve(agent, degradation=attrs.evolve(agent.degradation, signal=leaf.agent.degradation.signal))
        await apply(ledger, leaf, agent, bool(changed or later))
    next_run += [f"{name}: is new" for name in by_name]
    if now or next_life or next_run:
        ledger.emit(ConfigurationChanged(("guardian",), "reload", tuple(now), tuple(next_life), tuple(next_run)))
    return {"changed": now, "next_life": next_life, "next_run": next_run}


def read_again(run: GuardianRun) -> GuardianRun:
    """Make the run anew from what it was made of.

    Raises:
        UsageError: All faults.
    """
    if run.again is None:
        raise UsageError(["this run was not made from a configuration"])
    if run.file is not None and os.path.exists(run.file) and not os.path.isfile(run.file):
        # whoever has put a pipe there must not have the guardian wait for what comes out of it
        raise UsageError([Fault("", "the configuration file is no regular file", run.file)])
    return run.again()


def changes(old: Agent, new: Agent) -> tuple[list[str], list[str]]:
    """The keys of an agent that differ: those that take effect at once, and those for its leaf's next life."""
    now = [f"{new.name}: thresholds.{key.removesuffix('_bytes')}" for key in differing(old.thresholds, new.thresholds)]
    later = [f"{new.name}: command.{key}" for key in differing(old.command, new.command) if key != "name"]
    if old.degradation.mode_cooldown != new.degradation.mode_cooldown:
        now.append(f"{new.name}: degradation.mode_cooldown")
    for key in differing(old.restart_policy, new.restart_policy):
        (later if key in STOPPING else now).append(f"{new.name}: restart.{key}")
    return now, later


async def apply(ledger: Ledger, leaf: Leaf, agent: Agent, tree: bool) -> None:
    """Let the decision, and where need be the tree, know of a leaf's new configuration."""
    leaf.agent = agent
    ledger.tell(leaf, decide.Reconfigured(agent.thresholds, policy_of(ledger.run, agent)))
    if not tree or ledger.tree is None:
        return
    try:
        await ledger.above(leaf).reconfigure([leaf_spec_of(ledger, leaf)], **protection(agent, judged=ledger.watches))
    except CallError:
        pass  # it is down, and begins with the one that its own supervisor gets now
    await ledger.tree.supervisor("agents").reconfigure([agent_spec(ledger, leaf)])


def differing(old: Any, new: Any) -> Iterator[str]:
    """The fields in which two values of a class differ."""
    for field in attrs.fields(type(old)):
        if getattr(old, field.name) != getattr(new, field.name):
            yield field.name
