"""The guardian's tree, and one run of it from the first child to the exit code.

    guardian (one_for_one)
    ├── services (one_for_one, holds)   state
    │                                   watch (rest_for_one, holds): probe → health → degradation → host
    │                                   turns, where an agent tells of them
    └── agents (one_for_one, holds)     per agent one supervisor that carries its restart protection, with the child `leaf`

"Holds": a give-up keeps the supervisor up and tries again when the circuit half-opens; nothing here escalates to the root.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from supervisor import (
    AbnormalExit,
    Breaker,
    ChildSpec,
    Exit,
    GiveUp,
    Launch,
    NoProc,
    OrphansSwept,
    ProcessId,
    Record,
    Restart,
    StartFailed,
    Strategy,
    Supervisor,
    Value,
    command,
    dynamic,
    exit_code,
    hung_up,
    subtree,
    task,
)

from .application import application as application
from .config import Agent, GuardianRun, LeafRestart
from .config.flags import flags_of
from .degradation.causes import listen
from .degradation.worker import degradation
from .event import MonitoringStarted, MonitoringStopped, RunFinished
from .health.host_watch import host_watch
from .health.worker import health
from .ledger import Leaf, Ledger
from .policy import decide
from .probe import reader_names
from .probe.place import placed_probe
from .state.worker import state

if TYPE_CHECKING:
    from supervisor import Attached, ControlExtension, Session

    from .degradation.adapter import LeafAdapter

USAGE, FAULT, GAVE_UP = 2, 70, 75


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
        placed_probe(ledger, ("guardian", "services", "watch", "probe"), **_HOLDING),
        ChildSpec("health", task(health, ledger)),
        ChildSpec("degradation", task(degradation, ledger)),
    ]
    if ledger.run.config.health.interval:
        # the last one: nothing depends on it, so nothing is restarted because of it
        watch.append(ChildSpec("host", task(host_watch, ledger)))
    services = [
        ChildSpec("state", task(state, ledger)),
        ChildSpec("watch", subtree(watch, strategy=Strategy.REST_FOR_ONE, **_HOLDING)),
    ]
    if ledger.roster is not None and ledger.roster.hooks is not None:
        from .claude.turns import turns_spec  # most agents tell of no turns

        services.append(turns_spec(ledger, ledger.roster.hooks))
    agents = (
        subtree([agent_spec(ledger, leaf) for leaf in ledger.leaves], **_HOLDING) if ledger.shared is None else dynamic(**ledger.shared)
    )
    branches = [ChildSpec("services", subtree(services, **_HOLDING))] if ledger.watches else []
    return Supervisor("guardian", [*branches, ChildSpec("agents", agents)], **_HOLDING)


def budgets(run: GuardianRun) -> list[str]:
    """How often the tree of a run restarts what never stops failing, and where that is beyond reason; nothing is started."""
    from supervisor import describe_worst, nested_budgets, worst_cases  # here: a run has no use for them

    tree = guardian(Ledger(run, leaves_of(run)))
    cases = worst_cases(tree.id, tree.flags, tree.specs)
    return [*describe_worst(cases), *(f"warning: {line}" for line in nested_budgets(cases))]


def agent_spec(ledger: Ledger, leaf: Leaf) -> ChildSpec:
    """What the supervisor of the agents is told of one."""
    history = partial(ledger.spent, leaf)
    above = subtree([leaf_spec_of(ledger, leaf)], history=history, **protection(leaf.agent, judged=ledger.watches))
    return ChildSpec(leaf.name, above)


def leaf_spec_of(ledger: Ledger, leaf: Leaf) -> ChildSpec:
    """What the supervisor above a leaf is told of it."""
    run = ledger.run
    # one leaf has the terminal; whoever else read from it would share out its keys, and whoever wrote would write into its screen
    unseen = ledger.interactive and not leaf.has_terminal
    detached = run.detached or unseen or leaf.configured is None or (ledger.reads and not leaf.has_terminal)
    env = None if leaf.adapter is None else leaf.adapter.environment
    made: dict[str, Any] = {"env": env, "attached": leaf.attached, "adapter": leaf.adapter}
    return leaf_spec(leaf.agent, detached=detached, unseen=unseen, dry_run=run.dry_run, **made)


def leaf_spec(
    agent: Agent,
    *,
    detached: bool = False,
    unseen: bool = False,
    dry_run: bool = False,
    env: Mapping[str, str] | None = None,
    attached: Attached | None = None,
    adapter: LeafAdapter | None = None,
) -> ChildSpec:
    """The leaf of an agent. A dry run restarts nothing, whatever happens.

    Args:
        agent: What is run, and its protection.
        detached: Whether it gets no input and no terminal.
        unseen: Whether what it writes is read here and shown to nobody, but for its last lines when it fails.
        dry_run: Whether it is a dry run.
        env: What the command is told in its environment, under what it was configured.
        attached: A process that runs already and is the first life; the command is what follows, if the process was adopted.
        adapter: What starts it; None for the command as it is.
    """
    policy, wanted = agent.restart_policy, agent.command
    foreign = attached is not None and not attached.adopt
    restart, abnormal = _RESTART[LeafRestart.NEVER if dry_run or foreign else wanted.restart]

    def made(argv: tuple[str, ...], judge: Any, *, stdin: int | str | None = None, stdout: int | None = None) -> Launch:
        return command(
            *argv,
            env={**(env or {}), **wanted.env},
            cwd=wanted.working_directory,
            ready=wanted.ready,
            watchdog=wanted.watchdog or None,
            abnormal=abnormal,
            judge=judge,
            kill_timeout=policy.force_kill_timeout,
            stdin=("null" if detached else "inherit") if stdin is None else stdin,
            stdout=(_into_nothing if unseen else "inherit") if stdout is None else stdout,
            stderr=_into_nothing if unseen else "inherit",
            terminal="never" if detached else "auto",
            cgroup="memory",
        )

    leaf = made(wanted.argv, None) if adapter is None else adapter.launch(wanted.argv, made)
    if attached is not None:
        leaf = attrs.evolve(attached, then=leaf if attached.adopt else None)
    return ChildSpec("leaf", leaf, restart=restart, shutdown=policy.graceful_timeout, start_timeout=wanted.start_timeout)


def _into_nothing(chunk: bytes) -> None:
    """Nobody sees it."""


def protection(agent: Agent, *, judged: bool = False) -> dict[str, Any]:
    """The flags of the supervisor above a leaf."""
    return {**flags_of(agent.restart_policy), "judged": judged}


def leaves_of(run: GuardianRun) -> list[Leaf]:
    """The leaves of a run, before anything runs."""
    return [leaf_of(run, agent) for agent in run.agents]


def leaf_of(run: GuardianRun, agent: Agent) -> Leaf:
    """The leaf of an agent, before it runs."""
    guard = decide.watch(policy_of(run, agent), agent.thresholds)
    return Leaf(agent, ("guardian", "agents", agent.name, "leaf"), guard, configured=agent.name)


def policy_of(run: GuardianRun, agent: Agent) -> decide.Policy:
    """How the guardian decides about an agent."""
    monitoring, restarts = run.config.monitoring, agent.restart_policy
    return decide.Policy(
        monitoring.critical_samples,
        monitoring.critical_grace,
        run.dry_run,
        hold_for=monitoring.emergency_capture_timeout,
        host_reserve=monitoring.host_reserve.of(run.limit_bytes) or 0,
        blind_restart_after=monitoring.blind_restart_after,
        prediction_horizon=monitoring.prediction_horizon,
        stability_period=restarts.stability_period,
        ineffective_window=restarts.ineffective_window,
        end_tools=restarts.end_tools,
    )


@attrs.frozen(repr=False, eq=False)
class Outcome(Value):
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
        sinks: Get every event; the last one is `RunFinished`, however the run ends.
        swept: Processes of abandoned runs that were killed before; reported as soon as there is a tree to report it.

    Returns:
        The exit code and who decided it.

    Raises:
        StartFailed: A leaf could not be started; everything that had started has been stopped.

    **Cancellation:** stops the tree in order.
    """
    ledger.began, ledger.interactive = anyio.current_time(), session.is_interactive
    tree = ledger.tree = guardian(ledger)
    tree.run_id = session.run
    for sink in (*sinks, ledger.observe):
        tree.add_sink(sink)
    control = session.control
    if control is not None:
        tree.add_sink(control.keep)
    tree.add_sink(partial(listen, ledger))
    source = "signal"
    failure: Exception | None = None
    outcome = Outcome(FAULT, "fault")
    async with anyio.create_task_group() as tasks:
        block = anyio.CancelScope()
        tasks.start_soon(stop_when_asked, tree, session, block)
        if control is not None:
            tasks.start_soon(control.serve, tree, session.stop, partial(extension, ledger))
        try:
            with block:
                async with tree:
                    began(ledger, swept)
                    session.service.ready()
                    if control is not None:
                        control.began()
                    try:
                        source = await over(ledger)
                    finally:
                        stopped(ledger)
        except Exception as error:  # raised again below, where no task group wraps it
            failure = error
        if failure is None:
            outcome = Outcome(code_of(ledger, source, session.stop.signal), source)
        elif isinstance(failure, StartFailed) and (leaf := ledger.leaf_at(innermost(failure).path)) is not None:
            outcome = Outcome(USAGE, "command")
            if (ended := ended_unready(failure)) is not None:
                leaf.exit, failure, outcome = ended, None, Outcome(exit_code(ended), "command")
        with suppress(NoProc):  # if not even the tree came about, there is nobody to tell
            ledger.emit(RunFinished(("guardian",), outcome.code, outcome.source))
        if control is not None:
            await control.flushed()
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return outcome


def extension(ledger: Ledger) -> ControlExtension:
    """What can be asked of a guardian; imported when the first client connects."""
    from .control import GuardianControl

    return GuardianControl(ledger)


def ended_unready(error: StartFailed) -> Exit | None:
    """How a leaf ended by itself before it was ready, if that is why the tree did not start: then its end is the run's."""
    exit = innermost(error).exit
    return None if exit.code is None and exit.signal is None else exit


def innermost(error: StartFailed) -> StartFailed:
    """The failed start that made those of the supervisors above it fail."""
    while isinstance(cause := error.__cause__, StartFailed):
        error = cause
    return error


def began(ledger: Ledger, swept: tuple[ProcessId, ...]) -> None:
    """Say what is watched, and what was found of earlier runs."""
    if swept:
        ledger.emit(OrphansSwept(("guardian",), tuple(process.pid for process in swept), "left behind by a run whose guardian died"))
    if ledger.run.resumed is not None:
        from .resuming import told  # most runs start from nothing

        told(ledger)
    if not ledger.watches:
        return
    for leaf in ledger.leaves:
        monitored(ledger, leaf)


def monitored(ledger: Ledger, leaf: Leaf) -> None:
    """Say that a leaf is watched from now on, once; one that ended while it came up is not."""
    child = ledger.child(leaf)
    if leaf.watched or child is None or ledger.is_down(leaf):
        return
    leaf.watched = True
    limits = leaf.agent.thresholds
    marks = limits.warning_bytes, limits.critical_bytes, limits.emergency_bytes
    ledger.emit(MonitoringStarted(leaf.path, reader_of(ledger, leaf), *marks, generation=child.generation))


def reader_of(ledger: Ledger, leaf: Leaf) -> str:
    """What reads the memory of a leaf that runs, if nothing is wrong with it."""
    command = ledger.command(leaf)
    group = None if command is None else command.group
    return next(iter(reader_names(None if group is None else group.memory)), "")


def stopped(ledger: Ledger) -> None:
    """Say that nothing is watched any more."""
    for leaf in ledger.leaves:
        unmonitored(ledger, leaf)


def unmonitored(ledger: Ledger, leaf: Leaf) -> None:
    """Say that a leaf is not watched any more, if it was."""
    if leaf.watched:
        leaf.watched = False
        ledger.emit(MonitoringStopped(leaf.path, leaf.samples, leaf.guard.pressure.peak_bytes, generation=leaf.guard.generation))


async def over(ledger: Ledger) -> str:
    """Wait until the leaves leave nothing to guard, and say because of whom.

    **Cancellation:** at any time, without effect.
    """
    while (source := finished(ledger)) is None:
        await ledger.changed()
    return source


def finished(ledger: Ledger) -> str | None:
    """Whether the leaves leave nothing to guard, and because of whom."""
    if ledger.interactive and hung_up() and any(leaf.exit is not None for leaf in ledger.leaves):
        return "command"  # nobody is there any more to use a new life
    if ledger.shared is None and len(ledger.leaves) == 1 and ledger.leaves[0].gave_up is not None:
        return "protection"
    return "command" if ledger.shared is None and all(ledger.is_down(leaf) for leaf in ledger.leaves) else None


async def stop_when_asked(tree: Supervisor, session: Session, block: anyio.CancelScope) -> None:
    """Leave the tree's block when asked to, also while a leaf is still starting; kill instead of asking once asked twice."""
    await session.stop.wait()
    block.cancel()
    await session.stop.wait_hurried()
    tree.hurry()


def code_of(ledger: Ledger, source: str, signal: int | None = None) -> int:
    """The exit code of the run: of several leaves the first one that failed; without any, the signal that ended the run."""
    if source == "protection":
        return GAVE_UP
    codes = [exit_code(leaf.exit) for leaf in ledger.leaves if leaf.exit is not None]
    if not codes and signal is not None:
        return 128 + signal
    return next((code for code in codes if code), 0)
