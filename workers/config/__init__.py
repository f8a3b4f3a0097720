"""The guardian's configuration: every key with its default and its rules, and what a run makes of it.

model        the classes, which mirror the tables of the file
mpm          Claude MPM beside us
thresholds   from what was given to bytes
host         this host's memory limit, and where state goes
captured     what the subcommands about captured states need to know; imported by them alone
run          file, environment and options to one checked run; ``docs/configuration.md`` is the reference for people
"""

from __future__ import annotations

from .host import default_state_dir, host_limit_bytes
from .model import (
    AgentConfig,
    ClaudeEvents,
    CommandConfig,
    DegradationConfig,
    EncryptionConfig,
    HealthConfig,
    HooksConfig,
    Isolation,
    LeafRestart,
    MemoryGuardianConfig,
    MemoryThresholds,
    MonitoringConfig,
    NotificationsConfig,
    PlatformOverrides,
    RestartPolicy,
    StateConfig,
    WorkersConfig,
    illegal_name,
)
from .mpm import MpmConfig
from .run import Agent, GuardianRun, Resumed, add_options, check, checked, config_of, configure, described, resolved, summary
from .thresholds import resolve

__all__ = [
    "Agent",
    "AgentConfig",
    "ClaudeEvents",
    "CommandConfig",
    "DegradationConfig",
    "EncryptionConfig",
    "GuardianRun",
    "HealthConfig",
    "HooksConfig",
    "Isolation",
    "LeafRestart",
    "MemoryGuardianConfig",
    "MemoryThresholds",
    "MonitoringConfig",
    "MpmConfig",
    "NotificationsConfig",
    "PlatformOverrides",
    "RestartPolicy",
    "Resumed",
    "StateConfig",
    "WorkersConfig",
    "add_options",
    "check",
    "checked",
    "config_of",
    "configure",
    "default_state_dir",
    "described",
    "host_limit_bytes",
    "illegal_name",
    "resolve",
    "resolved",
    "summary",
]
