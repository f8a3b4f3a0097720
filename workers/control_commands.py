"""The guardian's own subcommands, beside those of every tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from supervisor import CommandContext, ControlCommand, Fault, UsageError, a_child, add_json

from .policy.ladder import DegradationMode

if TYPE_CHECKING:
    import argparse

MODES: Final = tuple(mode.value for mode in DegradationMode)


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


def _reason(options: argparse.Namespace) -> dict[str, Any]:
    return {} if options.reason is None else {"reason": options.reason}


def _add_capture_options(parser: argparse.ArgumentParser) -> None:
    a_child(parser)
    parser.add_argument("--reason", metavar="TEXT", help="why, for the events")


def _add_degrade_options(parser: argparse.ArgumentParser) -> None:
    a_child(parser)
    parser.add_argument("mode", metavar="MODE", nargs="?", help=", ".join(MODES))
    parser.add_argument("--reason", metavar="TEXT", help="why, for the events")


def _add_guardian_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="which guardian, where several run")
    add_json(parser)


def _add_states_options(parser: argparse.ArgumentParser) -> None:
    from .states_commands import add_options  # here, and below: no other subcommand reads states

    add_options(parser)


def _states(context: CommandContext, options: argparse.Namespace) -> int:
    from .states_commands import run

    return run(context, options)


COMMANDS: Final[Mapping[str, ControlCommand]] = {
    "capture": ControlCommand("[PATH] [--reason TEXT]", "Capture the state of an agent now.", _add_capture_options, _capture),
    "degrade": ControlCommand(
        "PATH MODE [--reason TEXT]", "Ask for a mode of an agent; normal takes that back.", _add_degrade_options, _degrade
    ),
    "suggest": ControlCommand(
        "[NAME] [--json]", "Say which thresholds the observed workload asks for, and why.", _add_guardian_options, _suggest
    ),
    "reload": ControlCommand(
        "[NAME] [--json]", "Have a guardian read its configuration again; a broken one changes nothing.", _add_guardian_options, _reload
    ),
    "states": ControlCommand(
        "list | show | diff | export | restore | prune [--help]", "Read and restore what was captured.", _add_states_options, _states
    ),
}
