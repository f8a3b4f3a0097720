"""From file, environment and options to one checked run: all faults at once, or nothing left to decide."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from supervisor import Fault, InvalidField, LoadedConfig, UsageError, Value, format_bytes, load_config, made_config, raise_all

from ..policy.errors import PolicyError, ThresholdOrder
from ..policy.pressure import Thresholds
from .host import absolute, default_state_dir, host_limit_bytes, unusable_state_dir
from .likeness import may_be_claude
from .model import (
    AgentConfig,
    CommandConfig,
    DegradationConfig,
    Isolation,
    MemoryGuardianConfig,
    MemoryThresholds,
    RestartPolicy,
    illegal_name,
)
from .thresholds import DEFAULTS, resolve

if TYPE_CHECKING:
    import argparse

PREFIX: Final = "MEMORY_GUARDIAN_"
MODE_FILE: Final = "MEMORY_GUARDIAN_MODE_FILE"
"""In a leaf's environment: where its mode is. No setting of a guardian that runs within one."""


@attrs.frozen(repr=False, eq=False)
class Agent(Value):
    """One agent of a run, with nothing left to decide.

    Attributes:
        name: Its id in the tree.
        name_given: Whether somebody chose the name; a derived one takes the next free suffix.
        command: What to run; its `working_directory` is absolute.
        thresholds: In bytes, of this host.
        restart_policy: Restart protection.
        degradation: How it hears of its mode, and when that is left.
    """

    name: str
    name_given: bool
    command: CommandConfig
    thresholds: Thresholds
    restart_policy: RestartPolicy
    degradation: DegradationConfig = DegradationConfig()


@attrs.frozen(repr=False, eq=False)
class Resumed(Value):
    """The captured state that a run starts from.

    Attributes:
        state_id: Its id.
        file: Its file.
        working_directory: Where the command worked, and works again.
        session_id: The conversation's id, for whoever knows how the command goes on with one; None where none was captured.
        title: What the terminal is to be called.
        withheld: Variables of the agent's own that were not in the state, for they were secrets.
    """

    state_id: str
    file: str
    working_directory: str
    session_id: str | None
    title: str
    withheld: tuple[str, ...] = ()


@attrs.frozen(repr=False, eq=False)
class GuardianRun(Value):
    """A checked configuration with the options of one run.

    Attributes:
        config: As configured.
        agents: At least one.
        state_dir: Absolute; it may not exist yet.
        limit_bytes: What shares of memory are shares of; None when unknown.
        dry_run: Decide and report, never act.
        file: The configuration file, if there is one.
        notes: What a person should know although it is no fault.
        detached: The leaves get no input and no terminal, so that the screen is ours; for the demonstration.
        scratch: A directory that is made before the run begins; None for none.
        again: Makes the run anew from the same options and environment and from the file as it is now; raises `UsageError` with all faults.
            None where there is nothing to make it from.
        resumed: What it starts from; None for nothing.
    """

    config: MemoryGuardianConfig
    agents: tuple[Agent, ...]
    state_dir: str
    limit_bytes: int | None
    dry_run: bool = False
    file: str | None = None
    notes: tuple[str, ...] = ()
    detached: bool = False
    scratch: str | None = None
    again: Callable[[], GuardianRun] | None = attrs.field(default=None, eq=False)
    resumed: Resumed | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``run``; values are read by `configure`, so that all faults are reported together."""
    parser.add_argument("--config", metavar="FILE", help="configuration, TOML (or YAML with the yaml extra)")
    for level, effect in (("warning", "prepare and look more often"), ("critical", "restart when idle"), ("emergency", "restart at once")):
        parser.add_argument(f"--{level}", metavar="SIZE", help=f"{effect} from here on: 12GiB, 80%%, or a number of MiB")
    parser.add_argument("--interval", metavar="SECONDS", help="look at the memory at least this often")
    parser.add_argument("--state-dir", metavar="DIR", help="where captured state is kept")
    parser.add_argument("--name", metavar="NAME", help="the agent's name; default: the command's base name")
    parser.add_argument("--dry-run", action="store_true", help="decide and report, never act")
    parser.add_argument(
        "--resume", metavar="STATE", nargs="?", const="latest", help="start from a captured state: its id, or the latest of this project"
    )


def configure(options: argparse.Namespace, environ: Mapping[str, str]) -> GuardianRun:
    """The run that options, environment and file describe.

    Args:
        options: Of `add_options`, and `command`: the command's argv, or None where the command line has none.
        environ: The environment.

    Raises:
        UsageError: All faults.
    """
    faults: list[Fault] = []
    if options.command is None and options.config is None:
        faults.append(Fault("", "no command; put -- before it: [options] -- COMMAND [ARG ...]"))
    loaded = load_config(
        MemoryGuardianConfig,
        file=options.config,
        environ=environ,
        prefix=PREFIX,
        not_ours=(MODE_FILE,),
        options={
            **{("thresholds", level): (f"--{level}", getattr(options, level)) for level in DEFAULTS},
            ("monitoring", "normal_interval"): ("--interval", options.interval),
            ("guardian", "state_dir"): ("--state-dir", options.state_dir),
            ("command", "name"): ("--name", options.name),
            ("command", "argv"): ("COMMAND", options.command),
        },
    )
    loaded.faults[:0] = faults
    if loaded.config.agents and options.command is not None:
        loaded.faults.append(Fault("agents", "a file with [[agents]] runs these; leave out -- COMMAND", options.config))
    if loaded.config.agents and options.name is not None:
        loaded.faults.append(Fault("--name", "each of [[agents]] has its own name"))
    return attrs.evolve(_finish(loaded, options.config, dry_run=options.dry_run), again=partial(configure, options, environ))


def configure_values(
    values: Mapping[tuple[str, str], tuple[str, object]],
    environ: Mapping[str, str],
    *,
    file: str | None = None,
    notes: Iterable[str] = (),
    faults: Iterable[Fault] = (),
) -> GuardianRun:
    """The run that values and environment describe, where they come from something else than a file of ours.

    Args:
        values: Per table and key where it was said, for faults, and the value; they override the environment.
        environ: The environment.
        file: What it was read from.
        notes: What a person should know beside what is found here.
        faults: What is wrong already.

    Raises:
        UsageError: All faults.
    """
    loaded = load_config(MemoryGuardianConfig, environ=environ, prefix=PREFIX, not_ours=(MODE_FILE,), options=values)
    loaded.faults[:0] = faults
    run = _finish(loaded, file)
    return attrs.evolve(run, notes=(*notes, *run.notes))


def check(file: str | None, environ: Mapping[str, str]) -> str:
    """What a file and the environment amount to on this host, for a person.

    Raises:
        UsageError: All faults.
    """
    return summary(checked(file, environ))


def checked(file: str | None, environ: Mapping[str, str]) -> GuardianRun:
    """The run that a file and the environment describe.

    Raises:
        UsageError: All faults.
    """
    return _finish(load_config(MemoryGuardianConfig, file=file, environ=environ, prefix=PREFIX, not_ours=(MODE_FILE,)), file)


def config_of(config: object, where: str) -> MemoryGuardianConfig:
    """The configuration that was given, or the default one.

    Raises:
        InvalidField: It is none.
    """
    if config is not None and not isinstance(config, MemoryGuardianConfig):
        raise InvalidField("config", config, "a MemoryGuardianConfig, or None", where=where)
    return config or MemoryGuardianConfig()


def described(config: MemoryGuardianConfig) -> GuardianRun:
    """The run that a configuration made in Python describes, on this host.

    Raises:
        UsageError: All faults.
    """
    loaded = made_config(config)
    raise_all(loaded.faults)  # what is no section at all cannot be judged further
    return _finish(loaded, None)


def summary(run: GuardianRun) -> str:
    """What a run amounts to on this host, for a person."""
    from ..redaction import redact_arguments

    lines = [f"{run.file or 'defaults and environment'}: valid"]
    of = f" of {format_bytes(run.limit_bytes)}" if run.limit_bytes else ""
    for agent in run.agents:
        limits = (agent.thresholds.warning_bytes, agent.thresholds.critical_bytes, agent.thresholds.emergency_bytes)
        warning, critical, emergency = map(format_bytes, limits)
        lines.append(
            f"  agent {agent.name}: {' '.join(redact_arguments(agent.command.argv))}  (restart after: {agent.command.restart.value})"
        )
        lines.append(f"    warning {warning}, critical {critical}, emergency {emergency}{of}")
    lines.append(f"  state: {run.state_dir}")
    return "\n".join([*lines, *(f"  note: {note}" for note in run.notes)])


def _finish(loaded: LoadedConfig[MemoryGuardianConfig], file: str | None, *, dry_run: bool = False) -> GuardianRun:
    config = loaded.config
    limit = host_limit_bytes()
    state_dir = absolute(config.state_dir or default_state_dir())
    wrong = unusable_state_dir(state_dir) if config.persist_state else None
    if wrong:
        loaded.fault("guardian", "state_dir", wrong)
    if config.encryption.key and not _is_installed("cryptography"):
        loaded.fault("encryption", "key", "encryption needs the extra: pip install 'memory-guardian[secure]'")
    parts = list(zip(config.agents, loaded.items.get("agents", []), strict=True)) or [
        (AgentConfig(config.command, config.thresholds, config.restart_policy, config.degradation), loaded.values)
    ]
    agents: list[Agent] = []
    names: list[str] = []
    notes: list[str] = []
    for part, values in parts:
        said = attrs.evolve(loaded, values=values)
        if part.command.name in names:
            said.fault("command", "name", f"two agents are called {part.command.name!r}")
        agent, noted = agent_of(part, said, [*names, *(other.command.name for other, _ in parts if other.command.name)], limit)
        names.append(part.command.name or (agent.name if agent else ""))
        agents += [agent] if agent is not None else []
        notes += noted
    if config.workers.isolation is Isolation.PROCESS and sys.platform == "win32":
        notes.append("workers.isolation: workers have no processes of their own on Windows, so they run as tasks")
    raise_all(list(dict.fromkeys(loaded.faults)))
    return GuardianRun(config, tuple(agents), state_dir, limit, dry_run, file, tuple(notes))


def _is_installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def agent_of(
    part: AgentConfig, said: LoadedConfig[MemoryGuardianConfig], taken: Iterable[str], limit: int | None
) -> tuple[Agent | None, list[str]]:
    """The agent that a part of the configuration describes.

    Args:
        part: The part.
        said: Who said what in it; gets the faults.
        taken: Names that a derived one may not be.
        limit: What shares of memory are shares of; None when unknown.

    Returns:
        The agent, None where its thresholds cannot be told; and what a person should know of it.
    """
    name = part.command.name or free_name(part.command.argv, taken)
    directory = absolute(part.command.working_directory)
    if not os.path.isabs(directory):
        said.fault("command", "working_directory", "the current directory has been removed; change to one that exists")
    elif not os.path.isdir(directory):
        wrong = "is no directory" if os.path.lexists(directory) else "is not there"
        said.fault("command", "working_directory", f"{directory!r} {wrong}")
    notes: list[str] = []
    agent: Agent | None = None
    limits = _resolved(said, part.thresholds, limit)
    if limits is not None:
        command = attrs.evolve(part.command, working_directory=directory)
        agent = Agent(name, part.command.name is not None, command, limits, part.restart_policy, part.degradation)
        notes += _above(name, said, limits, limit)
    notes += [f"{name}: its outputs are read for the line, so it gets no terminal"] if part.command.ready.startswith("line:") else []
    tells = may_be_claude(part.command)
    notes += [f"{name}: continue_prompt is for Claude Code, and has no effect"] if part.restart_policy.continue_prompt and not tells else []
    return agent, notes


def resolved(thresholds: MemoryThresholds, limit_bytes: int | None) -> Thresholds:
    """Thresholds in bytes; see `resolve`.

    Raises:
        UsageError: They cannot be.
    """
    try:
        return resolve(thresholds, limit_bytes)
    except ThresholdOrder as error:
        raise UsageError([Fault(error.lower, _order(error))]) from error
    except PolicyError as error:
        raise UsageError([str(error)]) from error


def _order(error: ThresholdOrder) -> str:
    return f"{error.lower} ({format_bytes(error.lower_bytes)}) must be below {error.upper} ({format_bytes(error.upper_bytes)})"


def _resolved(said: LoadedConfig[MemoryGuardianConfig], thresholds: MemoryThresholds, limit: int | None) -> Thresholds | None:
    if not said.is_sound("thresholds"):
        # defaults stand in for what is wrong; judging their order would invent faults
        return None
    try:
        return resolve(thresholds, limit)
    except ThresholdOrder as error:
        at = error.lower if said.was_given("thresholds", error.lower) else error.upper
        said.fault("thresholds", at, _order(error))
    except PolicyError as error:
        at = next((level for level in DEFAULTS if said.was_given("thresholds", level)), "warning")
        said.fault("thresholds", at, str(error))
    return None


def _above(name: str, said: LoadedConfig[MemoryGuardianConfig], resolved: Thresholds, limit: int | None) -> list[str]:
    """A note for each given threshold that this host's memory cannot reach."""
    given = {level: getattr(resolved, f"{level}_bytes") for level in DEFAULTS if said.was_given("thresholds", level)}
    return [f"{name}: {level} is above this host's memory and will not be reached" for level, at in given.items() if limit and at > limit]


def free_name(argv: tuple[str, ...], taken: Iterable[str]) -> str:
    """A legal name from a command: its base name, with the next free number where siblings have it."""
    base = "".join(char if char.isprintable() else "-" for char in os.path.basename(argv[0].rstrip("/")))
    base = base.strip().lstrip(".")[:48].strip()
    name = first = base if illegal_name(base) is None else "agent"
    number, used = 1, set(taken)
    while name in used:
        number += 1
        name = f"{first}-{number}"
    return name
