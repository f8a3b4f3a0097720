"""The guardian's tree, and one run of it from the first child to the exit code.

    guardian (one_for_one)
    ├── services (one_for_one, holds)   state
    │                                   watch (rest_for_one, holds): probe → health → degradation
    └── agents (one_for_one, holds)     per agent one supervisor that carries its restart protection, with the child `leaf`

"Holds": a give-up keeps the supervisor up and tries again when the circuit half-opens; nothing here escalates to the root.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from supervisor import (
    AbnormalExit,
    Backoff,
    Breaker,
    ChildSpec,
    Exit,
    GiveUp,
    OrphansSwept,
    ProcessId,
    Record,
    Restart,
    Strategy,
    Supervisor,
    command,
    exit_code,
    subtree,
    task,
)

from .application import GuardianApplication
from .config import Agent, GuardianRun, LeafRestart
from .degradation.worker import degradation
from .event import MonitoringStarted, MonitoringStopped, RunFinished
from .health.worker import health
from .ledger import Leaf, Ledger
from .policy import decide
from .probe import reader_name
from .probe.worker import probe
from .state.worker import state

if TYPE_CHECKING:
    from supervisor import Session

GAVE_UP = 75

application = GuardianApplication()


# a worker that keeps failing is tried again every minute; the agents never notice
_HOLDING: dict[str, Any] = {
    "intensity": 3,
    "period": 60.0,
    "on_give_up": GiveUp.HOLD,
    "breaker": Breaker(failures=3, reset=60.0),
    "stability": 60.0,
}

_RESTART = {
    LeafRestart.CRASH: (Restart.TRANSIENT, AbnormalExit.CRASH),
    LeafRestart.FAILURE: (Restart.TRANSIENT, AbnormalExit.FAILURE),
    LeafRestart.ALWAYS: (Restart.PERMANENT, AbnormalExit.FAILURE),
    LeafRestart.NEVER: (Restart.TEMPORARY, AbnormalExit.FAILURE),
}


def guardian(ledger: Ledger) -> Supervisor:
    """The tree over a ledger, not started yet."""
    watch = [
        ChildSpec("probe", task(probe, ledger)),
        ChildSpec("health", task(health, ledger)),
        ChildSpec("degradation", task(degradation, ledger)),
    ]
    services = [
        ChildSpec("state", task(state, ledger)),
        ChildSpec("watch", subtree(watch, strategy=Strategy.REST_FOR_ONE, **_HOLDING)),
    ]
    agents = [ChildSpec(leaf.name, protected(leaf.agent, detached=ledger.run.detached)) for leaf in ledger.leaves]
    branches = [ChildSpec("services", subtree(services, **_HOLDING))] if ledger.watches else []
    return Supervisor("guardian", [*branches, ChildSpec("agents", subtree(agents, **_HOLDING))], **_HOLDING)


def protected(agent: Agent, *, detached: bool = False) -> Any:
    """The supervisor above one leaf: its flags are the agent's restart protection."""
    policy, wanted = agent.restart_policy, agent.command
    restart, abnormal = _RESTART[wanted.restart]
    leaf = command(
        *wanted.argv,
        env=wanted.env,
        cwd=wanted.working_directory,
        ready="fd" if wanted.ready == "fd" else "spawn",
        abnormal=abnormal,
        kill_timeout=policy.force_kill_timeout,
        stdin="null" if detached else "inherit",
    )
    return subtree(
        [ChildSpec("leaf", leaf, restart=restart, shutdown=policy.graceful_timeout, start_timeout=wanted.start_timeout)],
        intensity=policy.max_attempts,
        period=policy.attempt_window,
        backoff=Backoff(policy.initial_cooldown, policy.cooldown_multiplier, policy.max_cooldown),
        breaker=Breaker(policy.circuit_failures, policy.circuit_reset),
        on_give_up=GiveUp.HOLD,
        stability=policy.stability_period,
    )


def leaves_of(run: GuardianRun) -> list[Leaf]:
    """The leaves of a run, before anything runs."""
    monitoring = run.config.monitoring
    policy = decide.Policy(monitoring.critical_samples, monitoring.critical_grace, run.dry_run)
    return [Leaf(agent, ("guardian", "agents", agent.name, "leaf"), decide.watch(policy, agent.thresholds)) for agent in run.agents]


@attrs.frozen
class Outcome:
    """What a run came to.

    Attributes:
        code: The exit code.
        source: Who decided it: the command, a signal, restart protection.
    """

    code: int
    source: str


async def run_guardian(
    ledger: Ledger, session: Session, sinks: list[Callable[[Record], object]], swept: tuple[ProcessId, ...] = ()
) -> Outcome:
    """Run the tree until every leaf has ended, protection gave up on the only one, or the session is asked to stop.

    Args:
        ledger: Its leaves name what is run.
        session: Says when to stop.
        sinks: Get every event.
        swept: Processes of abandoned runs that were killed before; reported as the first event.

    Returns:
        The exit code and who decided it.

    Raises:
        StartFailed: A leaf did not start; everything that had started has been stopped.

    **Cancellation:** stops the tree in order.
    """
    ledger.began = anyio.current_time()
    tree = ledger.tree = guardian(ledger)
    tree.run_id = session.run
    for sink in (*sinks, ledger.observe):
        tree.add_sink(sink)
    source = "command"
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            async with tree:
                tasks.start_soon(hurry_when_asked, tree, session)
                began(ledger, swept)
                source = await over(ledger, session)
                stopped(ledger)
        except Exception as error:  # raised again below, where no task group wraps it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    outcome = Outcome(code_of(ledger, source), source)
    ledger.emit(RunFinished(("guardian",), outcome.code, source))
    return outcome


def began(ledger: Ledger, swept: tuple[ProcessId, ...]) -> None:
    """Say what is watched, and what was found of earlier runs."""
    if swept:
        ledger.emit(OrphansSwept(("guardian",), tuple(process.pid for process in swept), "left behind by a run whose guardian died"))
    if not ledger.watches:
        return
    for leaf in ledger.leaves:
        limits = leaf.agent.thresholds
        ledger.emit(
            MonitoringStarted(
                leaf.path,
                reader_name(),
                limits.warning_bytes,
                limits.critical_bytes,
                limits.emergency_bytes,
                generation=leaf.guard.generation,
            )
        )


def stopped(ledger: Ledger) -> None:
    """Say that nothing is watched any more."""
    if not ledger.watches:
        return
    for leaf in ledger.leaves:
        ledger.emit(MonitoringStopped(leaf.path, leaf.samples, leaf.guard.pressure.peak_bytes, generation=leaf.guard.generation))


async def over(ledger: Ledger, session: Session) -> str:
    """Wait for what ends the run, and say what it was."""
    found = ["signal"]
    async with anyio.create_task_group() as tasks:

        async def watch_leaves() -> None:
            while (source := finished(ledger)) is None:
                await ledger.changed()
            found[0] = source
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch_leaves)
        await session.stop.wait()
        tasks.cancel_scope.cancel()
    return found[0]


def finished(ledger: Ledger) -> str | None:
    """Whether the leaves leave nothing to guard, and because of whom."""
    if len(ledger.leaves) == 1 and ledger.leaves[0].gave_up is not None:
        return "protection"
    return "command" if all(ledger.is_down(leaf) for leaf in ledger.leaves) else None


async def hurry_when_asked(tree: Supervisor, session: Session) -> None:
    """Kill instead of asking once a person has asked twice."""
    await session.stop.wait_hurried()
    tree.hurry()


def code_of(ledger: Ledger, source: str) -> int:
    """The exit code of the run: of several leaves the first one that failed."""
    if source == "protection":
        return GAVE_UP
    codes = [exit_code(leaf.exit or Exit.normal()) for leaf in ledger.leaves]
    return next((code for code in codes if code), 0)


def longest_stop(ledger: Ledger) -> float:
    """Seconds that an orderly stop takes at most."""
    policies = [leaf.agent.restart_policy for leaf in ledger.leaves]
    return math.fsum(policy.graceful_timeout + policy.force_kill_timeout for policy in policies) + 10.0
