"""The demonstration: a small agent that leaks real memory, guarded with thresholds it reaches within seconds."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Final

from supervisor import Fault, UsageError

from .config import Agent, CommandConfig, GuardianRun, MemoryGuardianConfig, MonitoringConfig, RestartPolicy, host_limit_bytes
from .policy.pressure import Thresholds

MIB: Final = 1024 * 1024
AGENT: Final = "leaky_agent.py"
WARNING, CRITICAL, EMERGENCY = 150 * MIB, 250 * MIB, 500 * MIB


def demonstration() -> GuardianRun:
    """A run of the leaking agent that ends by itself within a minute, after two restarts; nothing is created yet.

    Raises:
        UsageError: The agent is missing from this installation.
    """
    try:
        scratch = tempfile.gettempdir()
    except FileNotFoundError:
        raise UsageError([Fault("demo", "there is no directory for temporary files; set TMPDIR to one")]) from None
    scratch = os.path.join(scratch, f"memory-guardian-demo-{secrets.token_hex(4)}")
    conversation = os.path.join(scratch, "conversation.jsonl")
    command = CommandConfig(
        argv=(sys.executable, str(agent_file()), "--conversation", conversation, "--step-mib", "16", "--interval", "0.5", "--turns", "44"),
        working_directory=scratch,
        name="leaky-agent",
    )
    policy = RestartPolicy(initial_cooldown=5.0, max_cooldown=20.0, graceful_timeout=5.0, force_kill_timeout=5.0)
    monitoring = MonitoringConfig(normal_interval=1.0, warning_interval=0.5, critical_interval=0.25, emergency_interval=0.25)
    state_dir = os.path.join(scratch, "state")
    config = MemoryGuardianConfig(state_dir=state_dir, command=command, restart_policy=policy, monitoring=monitoring)
    agent = Agent("leaky-agent", True, command, Thresholds(WARNING, CRITICAL, EMERGENCY), policy)
    return GuardianRun(config, (agent,), state_dir, host_limit_bytes(), detached=True, scratch=scratch)


def agent_file() -> Path:
    """The demonstration's program: in this package in an installation, in ``examples/`` in a checkout.

    Raises:
        UsageError: It is not there.
    """
    here = Path(__file__).resolve().parent
    for candidate in (here / "examples" / AGENT, here.parent / "examples" / AGENT):
        if candidate.is_file():
            return candidate
    raise UsageError([Fault("demo", f"the demonstration's program {AGENT} is missing from this installation")])
