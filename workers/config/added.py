"""The configuration of an agent that is added while the guardian runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from supervisor import load_config, raise_all

from .model import AgentConfig, MemoryGuardianConfig
from .run import Agent, GuardianRun, agent_of

KEYS: Final = {
    "argv": "command",
    "name": "command",
    "working_directory": "command",
    "env": "command",
    "restart": "command",
    "warning": "thresholds",
    "critical": "thresholds",
    "emergency": "thresholds",
}
"""What can be said of one, and the table of each key."""


def added(run: GuardianRun, given: Mapping[str, object], taken: Iterable[str]) -> Agent:
    """The agent that these keys describe, over the tables of the run's configuration as ``[[agents]]`` are.

    Args:
        run: The run.
        given: Values by key; None is not given.
        taken: Names that a derived one may not be.

    Raises:
        UsageError: All faults.
    """
    said = {(KEYS[key], key): (key, value) for key, value in given.items() if value is not None}
    loaded = load_config(MemoryGuardianConfig, options=said)
    command = {key: getattr(loaded.config.command, key) for table, key in said if table == "command"}
    limits = {key: getattr(loaded.config.thresholds, key) for table, key in said if table == "thresholds"}
    part = AgentConfig(
        attrs.evolve(run.config.command, **{"name": None, **command}),
        attrs.evolve(run.config.thresholds, **limits),
        run.config.restart_policy,
        run.config.degradation,
    )
    agent, _ = agent_of(part, loaded, list(taken), run.limit_bytes)
    raise_all(list(dict.fromkeys(loaded.faults)))
    assert agent is not None  # without faults there is one
    return agent
