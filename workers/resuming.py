"""``run --resume``: a run that starts from a captured state, in its working directory and with the agent's own variables."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import attrs

from supervisor import Fault, UsageError, raise_all

from .config import CommandConfig, GuardianRun, Resumed, configure
from .config.captured import configure_states
from .event_state import StateRestored
from .state.files import project_key
from .state.keys import KeyUnavailable
from .state.restore import Restoration, RestoreRefused, restoration, title_sequence
from .state.seal import seal_of
from .state.selection import NoSuchState, chosen
from .state.store import StateStore, StateUnreadable

if TYPE_CHECKING:
    from .ledger import Ledger

OPTION = "--resume"


def configure_resumed(options: Namespace, environ: Mapping[str, str]) -> GuardianRun:
    """The run that options, environment and file describe, started from the state that `options.resume` names.

    The state's working directory is the command's. The agent's own variables of the state are added, but never over one that is set here or
    configured. Without a command on the command line and without a file, the captured command is run.

    Raises:
        UsageError: All faults: also when there is no such state, or it cannot be restored here.
    """
    faults: list[Fault] = []
    ready: tuple[Restoration, str] | None = None
    command = options.command
    try:
        ready = _found(options, environ)
    except UsageError as error:
        faults += error.faults
    if ready is not None and command is None and options.config is None:
        if ready[0].has_whole_command:
            command = list(ready[0].argv)
        else:
            faults.append(Fault(OPTION, "the captured command held a secret, which was removed; write the command after --"))
            command = ["true"]  # judged no further
    made = Namespace(**{**vars(options), "command": command})
    try:
        run = configure(made, environ)
    except UsageError as error:
        raise UsageError(list(dict.fromkeys([*faults, *error.faults]))) from error
    raise_all(faults)
    assert ready is not None
    return _started_from(run, ready, environ)


def told(ledger: Ledger) -> None:
    """Say that the leaf has started from a state, if it has."""
    resumed = ledger.run.resumed
    if resumed is not None:
        leaf = ledger.leaves[0]
        data = resumed.state_id, resumed.file, resumed.working_directory, resumed.session_id, resumed.withheld
        ledger.emit(StateRestored(leaf.path, *data, generation=leaf.guard.generation))


def set_title(resumed: Resumed, terminal: int) -> None:
    """Give a terminal its title back; one that takes nothing stays as it is."""
    try:
        os.write(terminal, title_sequence(resumed.title))
    except OSError:
        return  # a title is for looks: the run goes on without


def _found(options: Namespace, environ: Mapping[str, str]) -> tuple[Restoration, str]:
    """What the named state gives back, and its file.

    Raises:
        UsageError: There is none, or it cannot be restored here; or the configuration is wrong.
    """
    config, state_dir = configure_states(options.config, environ, state_dir=options.state_dir)
    try:
        store = StateStore(state_dir, seal_of(config.encryption, environ))
        project = os.path.realpath(os.path.expanduser(config.command.working_directory))
        entry = chosen(store, project_key(project), options.resume, options.name)
        wrong = store.untrusted(entry.key)
        if wrong:
            raise RestoreRefused(entry.state_id, wrong)
        ready = restoration(store.load(entry.path), entry.key)
        given = config.command.working_directory != type(config.command)().working_directory
        if given and os.path.commonpath((project, ready.working_directory)) != project:
            raise RestoreRefused(entry.state_id, f"it is of {ready.working_directory}, which is not in the configured {project}")
    except NoSuchState as error:
        raise UsageError([Fault(OPTION, f"{error}; the subcommand states list --all says which there are in {state_dir}")]) from error
    except (KeyUnavailable, RestoreRefused, StateUnreadable) as error:
        raise UsageError([Fault(OPTION, str(error))]) from error
    except OSError as error:
        raise UsageError([Fault(OPTION, f"{error.filename}: {error.strerror}")]) from error
    return ready, str(entry.path)


def _started_from(run: GuardianRun, ready: tuple[Restoration, str], environ: Mapping[str, str]) -> GuardianRun:
    """A run whose one agent starts from a state.

    Raises:
        UsageError: It has several agents.
    """
    if len(run.agents) != 1:
        raise UsageError([Fault(OPTION, "is for a run of one agent; the file's [[agents]] are several")])
    restored, file = ready
    (agent,) = run.agents
    env = {name: value for name, value in restored.environment.items() if name not in environ} | dict(agent.command.env)
    wanted = attrs.evolve(agent.command, working_directory=restored.working_directory, env=env)
    talk = restored.conversation
    resumed = Resumed(
        restored.state_id, file, restored.working_directory, None if talk is None else talk.session_id, restored.title, restored.withheld
    )
    notes = run.notes
    if resumed.session_id is not None and not _goes_on(wanted, environ):
        talked = f"the conversation {resumed.session_id} was captured; this command does not know how to go on with it"
        notes += (f"{agent.name}: {talked}; its summary: states show --summary {resumed.state_id}",)
    again = None if run.again is None else partial(_again, run, ready, environ)
    return attrs.evolve(run, agents=(attrs.evolve(agent, command=wanted),), notes=notes, resumed=resumed, again=again)


def _goes_on(command: CommandConfig, environ: Mapping[str, str]) -> bool:
    from .claude.recognition import recognised

    return recognised(command.argv, {**environ, **command.env}, command.working_directory) is not None


def _again(run: GuardianRun, ready: tuple[Restoration, str], environ: Mapping[str, str]) -> GuardianRun:
    assert run.again is not None
    return _started_from(run.again(), ready, environ)
