"""The guardian's own subcommands, beside those of every tree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from supervisor import CommandContext, ControlCommand, Fault, UsageError, a_child, add_json, format_bytes, needed, which_guardian

from .policy.ladder import DegradationMode

if TYPE_CHECKING:
    import argparse

MODES: Final = tuple(mode.value for mode in DegradationMode)
LEVELS: Final = ("warning", "critical", "emergency")
AGENT_KEYS: Final = ("name", "restart", *LEVELS)


def _capture(context: CommandContext, options: argparse.Namespace) -> int:
    with context.connect(options.guardian, options.path) as client:
        done = client.call("capture", timeout=None, path=options.path, **_reason(options))
    context.tell(options, done, f"{'/'.join(done['path'])} is captured: {done['state_file']}")
    return 0


def _degrade(context: CommandContext, options: argparse.Namespace) -> int:
    if options.path is None or options.mode is None:
        raise UsageError([f"degrade needs a child and a mode, which is one of {', '.join(MODES)}"])
    if options.mode not in MODES:
        raise UsageError([Fault("MODE", f"expected one of {', '.join(MODES)}, got {options.mode[:60]!r}")])
    with context.connect(options.guardian, options.path) as client:
        done = client.call("degrade", path=options.path, mode=options.mode, **_reason(options))
    context.tell(options, done, f"{'/'.join(done['path'])}: mode {done['requested']} is asked for")
    return 0


def _suggest(context: CommandContext, options: argparse.Namespace) -> int:
    with context.connect(options.name) as client:
        done = client.call("suggest")
    lines = [line for agent, told in done.items() for line in (f"{agent}:", *(f"  {words}" for words in told["words"]))]
    context.tell(options, done, "\n".join(lines))
    return 0


def _health(context: CommandContext, options: argparse.Namespace) -> int:
    with context.connect(options.name) as client:
        done = client.call("health")
    context.tell(options, done, "\n".join(done["words"]))
    return 0


def _reload(context: CommandContext, options: argparse.Namespace) -> int:
    with context.connect(options.name) as client:
        done = client.call("reload")
    said = [
        *(f"in effect: {key}" for key in done["changed"]),
        *(f"from the leaf's next start or stop on: {key}" for key in done["next_life"]),
        *(f"needs a new start of the guardian: {key}" for key in done["next_run"]),
    ]
    context.tell(options, done, "\n".join(said) or "nothing has changed")
    return 0


def _add(context: CommandContext, options: argparse.Namespace) -> int:
    if not options.command:
        raise UsageError(["add needs a command; put -- before it: add [options] -- COMMAND [ARG ...]"])
    given: dict[str, Any] = {key: value for key in AGENT_KEYS if (value := getattr(options, key)) is not None}
    if options.env:
        given["env"] = dict(_variable(word) for word in options.env)
    # as for any program: where it is started from
    directory = os.path.abspath(options.working_directory or os.curdir)
    with context.connect(options.guardian) as client:
        done = client.call("add_agent", timeout=None, argv=options.command, working_directory=directory, **given)
    context.tell(options, done, f"{'/'.join(done['path'])} is up, {_said(done['thresholds'])}")
    return 0


def _variable(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not name or not equals:
        raise UsageError([Fault("--env", f"expected NAME=VALUE, got {word[:60]!r}")])
    return name, value


def _remove(context: CommandContext, options: argparse.Namespace) -> int:
    path = needed(options, "path", "the agent to remove")
    with context.connect(options.guardian, path) as client:
        done = client.call("remove_agent", timeout=None, path=path)
    context.tell(options, done, f"{done['name']} is stopped and removed")
    return 0


def _thresholds(context: CommandContext, options: argparse.Namespace) -> int:
    path = needed(options, "path", "the agent whose thresholds are to be changed")
    given = {level: value for level in LEVELS if (value := getattr(options, level)) is not None}
    if not given:
        raise UsageError([f"thresholds needs {', '.join(f'--{level} SIZE' for level in LEVELS)}, or some of them"])
    with context.connect(options.guardian, path) as client:
        done = client.call("set_thresholds", path=path, **given)
    context.tell(options, done, f"{'/'.join(done['path'])}: {_said(done['thresholds'])}")
    return 0


def _said(thresholds: Mapping[str, int]) -> str:
    return ", ".join(f"{level} {format_bytes(thresholds[f'{level}_bytes'])}" for level in LEVELS)


def _reason(options: argparse.Namespace) -> dict[str, Any]:
    return {} if options.reason is None else {"reason": options.reason}


def _add_capture_options(parser: argparse.ArgumentParser) -> None:
    a_child(parser)
    parser.add_argument("--reason", metavar="TEXT", help="why, for the events")


def _add_degrade_options(parser: argparse.ArgumentParser) -> None:
    a_child(parser)
    parser.add_argument("mode", metavar="MODE", nargs="?", help=", ".join(MODES))
    parser.add_argument("--reason", metavar="TEXT", help="why, for the events")


def _add_sizes(parser: argparse.ArgumentParser) -> None:
    for level in LEVELS:
        parser.add_argument(f"--{level}", metavar="SIZE", help="12GiB, 80%%, or a number of MiB; default: as it is")


def _add_agent_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", metavar="NAME", help="the agent's name; default: the command's base name")
    parser.add_argument("--working-directory", metavar="DIR", help="where it runs; default: the current directory")
    parser.add_argument("--env", metavar="NAME=VALUE", action="append", help="a variable for it; may be given several times")
    parser.add_argument("--restart", metavar="WHEN", help="crash, failure, always or never; default: as in [command]")
    _add_sizes(parser)
    which_guardian(parser)


def _add_threshold_options(parser: argparse.ArgumentParser) -> None:
    a_child(parser)
    _add_sizes(parser)


def _add_guardian_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="which guardian, where several run")
    add_json(parser)


def _add_states_options(parser: argparse.ArgumentParser) -> None:
    from .states_commands import add_options  # here, and below: no other subcommand reads states

    add_options(parser)


def _states(context: CommandContext, options: argparse.Namespace) -> int:
    from .states_commands import run

    return run(context, options)


def _import_mpm(context: CommandContext, options: argparse.Namespace) -> int:
    from .mpm.importing import run  # here: most people have nothing to import

    return run(context, options)


def _add_import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", help="memory_guardian.yaml; without one, the variables CLAUDE_MPM_... alone")
    add_json(parser)


COMMANDS: Final[Mapping[str, ControlCommand]] = {
    "import-mpm": ControlCommand(
        "[FILE] [--json]",
        "Turn Claude MPM's memory_guardian.yaml and its variables into a configuration, which says what each key has become.",
        _add_import_options,
        _import_mpm,
    ),
    "capture": ControlCommand("[PATH] [--reason TEXT]", "Capture the state of an agent now.", _add_capture_options, _capture),
    "degrade": ControlCommand(
        "PATH MODE [--reason TEXT]", "Ask for a mode of an agent; normal takes that back.", _add_degrade_options, _degrade
    ),
    "thresholds": ControlCommand(
        "PATH [--warning SIZE] [--critical SIZE] [--emergency SIZE]",
        "Set thresholds of an agent, until the next reload.",
        _add_threshold_options,
        _thresholds,
    ),
    "add": ControlCommand(
        "[options] -- COMMAND [ARG ...]",
        "Have a guardian take in another agent, which runs COMMAND without a terminal.",
        _add_agent_options,
        _add,
        takes_command=True,
    ),
    "remove": ControlCommand("PATH", "Stop an agent and forget it, while the others go on.", a_child, _remove),
    "suggest": ControlCommand(
        "[NAME] [--json]", "Say which thresholds the observed workload asks for, and why.", _add_guardian_options, _suggest
    ),
    "health": ControlCommand("[NAME] [--json]", "Say how the host is, why, and what its agents use of it.", _add_guardian_options, _health),
    "reload": ControlCommand(
        "[NAME] [--json]", "Have a guardian read its configuration again; a broken one changes nothing.", _add_guardian_options, _reload
    ),
    "states": ControlCommand(
        "list | show | diff | export | restore | prune | rekey [--help]",
        "Read and restore what was captured.",
        _add_states_options,
        _states,
    ),
}
