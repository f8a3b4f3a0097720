"""Why a run or a command did not start, as a fault of its configuration."""

from __future__ import annotations

import errno

from supervisor import Fault, StartFailed, UsageError

from .config import Agent, GuardianRun
from .guardian import innermost


def fault_of(agent: Agent, error: StartFailed, among: int) -> Fault:
    """The fault of an agent whose command did not start.

    Args:
        agent: The agent.
        error: The failure, of the command or of the tree around it.
        among: How many agents there are; of several it is said which.
    """
    failed = innermost(error)
    cause = failed.__cause__
    command = agent.command
    words = f"{command.argv[0]!r}" if among == 1 else f"{agent.name}: {command.argv[0]!r}"
    if isinstance(cause, TimeoutError) and command.ready != "spawn":
        return Fault("command.start_timeout", f"{words} was started and did not say that it is ready: {error.exit.reason}")
    why = cause.strerror if isinstance(cause, OSError) and cause.strerror else failed.exit.reason
    if isinstance(cause, OSError) and cause.errno == errno.EMFILE:
        why += f"; {among} agents take more of them than this process may have (ulimit -Hn)"
    return Fault("command.argv", f"{words} cannot be started: {why}")


def check_key(run: GuardianRun) -> None:
    """Look whether the key is there with which state is to be encrypted: without it nothing would be captured. Blocks.

    Raises:
        UsageError: It cannot be had.
    """
    config = run.config
    if not (config.encryption.key and config.persist_state and config.enabled and config.auto_start) or run.dry_run:
        return
    from .state.keys import KeyUnavailable, load_keys

    try:
        load_keys(config.encryption.key)
    except KeyUnavailable as error:
        raise UsageError([Fault("encryption.key", f"{error}; the subcommand states rekey --new-key makes one")]) from error
