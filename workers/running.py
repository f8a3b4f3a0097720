"""One run as a person sees it: names are claimed, what earlier runs left is swept, the tree runs, a summary says what happened."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress

import attrs

from supervisor import (
    Console,
    Fault,
    ProcessId,
    Record,
    Renderer,
    RestartDeferred,
    Session,
    StartFailed,
    Summary,
    UsageError,
    block,
    cgroup_directories,
    own_all_sessions,
    run_token,
    wants_color,
)

from .config import Agent, GuardianRun
from .guardian import GAVE_UP, Outcome, innermost, leaves_of, run_guardian
from .ledger import Leaf, Ledger
from .state.files import StateWriteFailed, project_key
from .state.protection import ProtectionRecord, ProtectionUnreadable
from .state.runs import NameInUse, RunClaim, claim
from .state.sweeping import sweep_abandoned
from .words import WORDS, status, subject, summary_rows


async def run(run: GuardianRun, session: Session) -> int:
    """Guard the agents until they end or the session is asked to stop.

    Returns:
        The exit code.

    Raises:
        UsageError: A name given by hand is in use, or a command cannot be started.
    """
    # a guardian starts its leaves and nothing else, so every other dead child is one that it adopted
    own_all_sessions()
    with ExitStack() as claims:
        if run.scratch is not None:
            try:
                os.makedirs(run.scratch, mode=0o700, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    [Fault("", f"{run.scratch!r} cannot be made: {error.strerror}; set TMPDIR to another directory")]
                ) from error
        taken, swept = await claimed(run, claims)
        configured = tuple(agent.name for agent in run.agents)
        run = attrs.evolve(run, agents=tuple(agent for agent, _ in taken))
        ledger = Ledger(run, leaves_of(run))
        ledger.configured = configured
        console = Console(is_terminal=session.stderr_is_terminal, environ=os.environ)
        for leaf, (_, held) in zip(ledger.leaves, taken, strict=True):
            leaf.claim = held
            if held is not None and not run.dry_run:
                leaf.record = ProtectionRecord(run.state_dir, project_key(leaf.agent.command.working_directory), held.name)
                try:
                    leaf.spent = leaf.kept = leaf.record.load()
                except ProtectionUnreadable as error:
                    console.say(f"memory-guardian: {leaf.name}: {error}")
        summary = Summary()
        for note in run.notes:
            console.say(f"memory-guardian: note: {note}")
        sinks: list[Callable[[Record], object]] = [summary.observe, *told(ledger, session, console)]
        sinks += session.service.sinks(Renderer(WORDS, subject=subject))
        if session.event_file is not None:
            sinks.append(session.event_file.write)
        try:
            outcome = await run_guardian(ledger, session, sinks, swept)
        except StartFailed as error:
            fault = cannot_start(ledger, error)
            if fault is None:
                raise
            raise UsageError([fault]) from error
        finally:
            for leaf in ledger.leaves:
                keep_last(leaf)
            ledger.close()
            console.close()
    console.say(block("memory-guardian:", [*summary_rows(ledger, summary), ("exit code", explained(outcome))]))
    return outcome.code


def keep_last(leaf: Leaf) -> None:
    """Write down what restart protection has spent at the very end, when its worker is gone."""
    if leaf.record is not None and leaf.is_unkept:
        with suppress(StateWriteFailed):  # said before, or nobody is left to be told
            leaf.record.save(leaf.spent)


async def claimed(run: GuardianRun, claims: ExitStack) -> tuple[list[tuple[Agent, RunClaim | None]], tuple[ProcessId, ...]]:
    """Take a name for every agent, and end what runs of the same projects left behind whose guardian died.

    Raises:
        UsageError: A name given by hand is in use, or the state directory cannot be used.
    """
    if not run.config.persist_state:
        return [(agent, None) for agent in run.agents], ()
    taken: list[tuple[Agent, RunClaim | None]] = []
    swept: list[ProcessId] = []
    for agent in run.agents:
        key = project_key(agent.command.working_directory)
        try:
            held = claims.enter_context(claim(run.state_dir, key, agent.name, agent.name_given))
            if not run.dry_run:
                for left in await sweep_abandoned(run.state_dir, key, held):
                    swept += left.killed
            # from before the first process on: what we leave behind if we are killed at once is found by this
            held.record(markers=(run_token(),), cgroups=cgroup_directories())
        except NameInUse as error:
            raise UsageError([Fault("command.name", str(error))]) from error
        except StateWriteFailed as error:
            raise UsageError([Fault("guardian.state_dir", str(error))]) from error
        taken.append((attrs.evolve(agent, name=held.name), held))
    return taken, tuple(swept)


def told(ledger: Ledger, session: Session, console: Console) -> list[Callable[[Record], object]]:
    """What tells a person while the run lasts: lines and a status line; while the leaf has the screen, nothing."""
    has_screen = session.is_interactive and not ledger.run.detached
    renderer = Renderer(WORDS, subject=subject, color=wants_color(session.stderr_is_terminal, os.environ))

    def say(record: Record) -> None:
        line = renderer.line(record)
        if line is not None:
            console.say(line)

    def say_between_lives(record: Record) -> None:
        # else the screen would stand still for minutes, and nobody would know why
        if isinstance(record.event, RestartDeferred) and not record.event.controlled:
            say(record)

    if has_screen:
        return [say_between_lives] if len(ledger.leaves) == 1 else []
    # a leaf that writes to the same screen would write into the status line
    if console.has_status and not session.stdout_is_terminal:
        ledger.on_sample = lambda: console.status("  ".join(status(leaf) for leaf in ledger.leaves))
    return [say]


def cannot_start(ledger: Ledger, error: StartFailed) -> Fault | None:
    """The fault of the command that did not start, from the failure of the tree around it; None when it was a worker of ours."""
    failed = innermost(error)
    leaf = ledger.leaf_at(failed.path)
    if leaf is None:
        return None
    cause = failed.__cause__
    if isinstance(cause, TimeoutError) and leaf.agent.command.ready != "spawn":
        return Fault(
            "command.start_timeout", f"{leaf.agent.command.argv[0]!r} was started and did not say that it is ready: {error.exit.reason}"
        )
    why = cause.strerror if isinstance(cause, OSError) and cause.strerror else failed.exit.reason
    return Fault("command.argv", f"{leaf.agent.command.argv[0]!r} cannot be started: {why}")


def explained(outcome: Outcome) -> str:
    """The exit code, and why it is not the command's own."""
    if outcome.code == GAVE_UP and outcome.source == "protection":
        return f"{GAVE_UP}: restart protection gave up; look at why the command keeps ending, then start it again"
    return str(outcome.code)
