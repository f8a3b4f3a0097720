"""``run-guarded``: the options of Claude MPM's command of that name, for ours. Defaults are ours where an option is not given."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from supervisor import Fault, RunCommand, UsageError

from ..claude.recognition import recognised
from ..config import GuardianRun
from ..config.run import PREFIX, configure_values
from ..notification.place import is_port
from .keys import LONGEST_COOLDOWN, UNLIMITED, Key, said_by, translated
from .reading import Read, read_yaml

if TYPE_CHECKING:
    import argparse

LONGEST_PROMPT: Final = 100_000
"""Bytes of a prompt on a command line; the system's own bound is 128 KiB for one word."""

VALUES: Final[Mapping[str, tuple[Key, str, str]]] = {
    "--memory-threshold": (("thresholds", "critical"), "MB", "restart when idle from here on; warning is 80 and emergency 120 %% of it"),
    "--warning-threshold": (("thresholds", "warning"), "MB", "prepare and look more often from here on"),
    "--emergency-threshold": (("thresholds", "emergency"), "MB", "restart at once from here on"),
    "--check-interval": (("monitoring", "normal_interval"), "SECONDS", "look at the memory at least this often"),
    "--max-restarts": (("restart", "max_attempts"), "COUNT", "restarts within an hour; 0 is no limit"),
    "--restart-cooldown": (("restart", "initial_cooldown"), "SECONDS", "pause after the first restart"),
    "--graceful-timeout": (("restart", "graceful_timeout"), "SECONDS", "time to end before it is killed"),
    "--state-dir": (("guardian", "state_dir"), "DIR", "where captured state is kept"),
}
"""Options with a value that are keys of ours."""

_LOGS: Final = "what happens is shown as lines; --events FILE writes all of it down, and status and events ask the run"
WITHOUT: Final[Mapping[str, str]] = {
    "--quiet": "a session on a terminal has the screen to itself anyway",
    "--verbose": _LOGS,
    "--show-stats": "where the terminal is not the session's, a status line shows it; status and top tell it at any time",
    "--no-hooks": 'Claude MPM\'s hook service is not started here; mpm.monitor = "off" keeps events from its monitor',
    "--no-tickets": "no tickets are made here",
    "--no-native-agents": "no agents are deployed here: claude-mpm does that",
    "--accept-experimental": "nothing has to be accepted",
    "--force-experimental": "nothing has to be forced",
}
"""Switches that change nothing here, and why."""
WITHOUT_VALUES: Final[Mapping[str, tuple[str, str]]] = {
    "--stats-interval": ("SECONDS", WITHOUT["--show-stats"]),
    "--logging": ("LEVEL", _LOGS),
    "--log-dir": ("DIR", _LOGS),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options, in groups as there."""
    for name, (_, metavar, words) in VALUES.items():
        parser.add_argument(name, metavar=metavar, help=words)
    state = parser.add_mutually_exclusive_group()
    state.add_argument("--enable-state-preservation", dest="persist", action="store_const", const=True, help="keep state (default)")
    state.add_argument("--no-state-preservation", dest="persist", action="store_const", const=False, help="keep no state on disk")
    parser.add_argument("--config", "--config-file", dest="config", metavar="FILE", help="Claude MPM's memory_guardian.yaml")
    parser.add_argument("-i", "--input", metavar="TEXT|FILE", help="the first prompt, or a file with it")
    parser.add_argument("--non-interactive", action="store_true", help="answer the prompt, of --input or standard input, and end")
    parser.add_argument("--websocket-port", metavar="PORT", help="post events to Claude MPM's monitor on this port")
    for name, why in WITHOUT.items():
        parser.add_argument(name, action="store_true", help=f"no effect: {why}")
    for name, (metavar, why) in WITHOUT_VALUES.items():
        parser.add_argument(name, metavar=metavar, help=f"no effect: {why}")


def configure(options: argparse.Namespace, environ: Mapping[str, str]) -> GuardianRun:
    """The run that options, their file, their variables and ours describe.

    Args:
        options: Of `add_options`; `command` is what follows ``--``: Claude Code's arguments, with or without the program before them.
        environ: The environment. Our variables override theirs and the file, options override all.

    Raises:
        UsageError: All faults.
    """
    faults: list[Fault] = []
    found = read_yaml(options.config) if options.config is not None else Read({})
    faults += found.faults
    translation = translated({**found.said, **said_by(environ)})
    values: dict[Key, tuple[str, object]] = {}
    for at, one in translation.values.items():
        if f"{PREFIX}{at[0]}_{at[1]}".upper() not in environ:
            values[at] = (f"{one.place}: {translation.origins[at]}", one.value)
    values |= dict(_options(options))
    port = options.websocket_port
    if port is not None and not is_port(port):
        del values["mpm", "monitor"]
        faults.append(Fault("--websocket-port", f"expected a port from 1 to 65535, got {port[:60]!r}"))
    base = values.get(("command", "argv"), ("", ["claude"]))[1]
    if isinstance(base, list) and all(isinstance(word, str) for word in base):
        try:
            values["command", "argv"] = ("COMMAND", _command(options, base, environ))
        except UsageError as error:
            faults += error.faults
    notes = [str(note) for note in translation.notes]
    notes += [f"{name} has no effect: {why}" for name, why in _without(options)]
    run = configure_values(values, environ, file=options.config, notes=notes, faults=faults)
    return attrs.evolve(run, again=partial(configure, options, environ))


def _given(options: argparse.Namespace, name: str) -> object:
    return getattr(options, name.removeprefix("--").replace("-", "_"))


def _options(options: argparse.Namespace) -> Iterator[tuple[Key, tuple[str, object]]]:
    for name, (at, _, _) in VALUES.items():
        value = _given(options, name)
        if value is None:
            continue
        if name == "--max-restarts" and value == "0":
            value = str(UNLIMITED)
        elif name == "--restart-cooldown" and _seconds(value) > LONGEST_COOLDOWN:
            value = str(LONGEST_COOLDOWN)  # as there: none is longer than the longest
        yield at, (name, value)
    if options.persist is not None:
        name = "--enable-state-preservation" if options.persist else "--no-state-preservation"
        yield ("guardian", "persist_state"), (name, options.persist)
    if options.websocket_port is not None:
        yield ("mpm", "monitor"), ("--websocket-port", f"http://127.0.0.1:{options.websocket_port}")


def _seconds(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0  # judged as any other value


def _without(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for name, why in WITHOUT.items():
        if _given(options, name):
            yield name, why
    for name, (_, why) in WITHOUT_VALUES.items():
        if _given(options, name) is not None:
            yield name, why


def _command(options: argparse.Namespace, base: list[str], environ: Mapping[str, str]) -> list[str]:
    """The whole command line: the program, the prompt, and its arguments.

    Raises:
        UsageError: The prompt cannot be read, or is too long.
    """
    given = list(options.command or ())
    words = given if given and _is_program(given, environ) else [*base, *given]
    found = recognised(tuple(words), environ, os.getcwd()) if words else None
    length = 1 if found is None else len(found.program)
    prompt = [] if options.input is None else [_prompt(options.input)]
    head = ["-p"] if options.non_interactive else []
    # the prompt comes first: an option that takes all the words it can get would take it as well
    return [*words[:length], *head, *prompt, *words[length:]]


def _is_program(words: list[str], environ: Mapping[str, str]) -> bool:
    name = os.path.basename(words[0]).lower()
    return name in ("claude", "claude.exe", "claude.cmd") or recognised(tuple(words), environ, os.getcwd()) is not None


def _prompt(given: str) -> str:
    """The text, or that of the file of this name, as there."""
    text = given
    try:
        kind = stat.S_IFMT(os.stat(given).st_mode)
    except (OSError, ValueError):
        kind = 0  # no name of a file
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        # it would be read once, and again at each reload: whoever waits for its writer waits for ever
        how = "with --non-interactive and without --input the prompt is read from standard input"
        raise UsageError([Fault("--input", f"{given[:60]!r} is a pipe or a device: expected a text or a file; {how}")])
    if kind == stat.S_IFREG:
        try:
            with open(given, encoding="utf-8") as file:
                text = file.read(LONGEST_PROMPT + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError([Fault("--input", f"{given[:60]!r} cannot be read: {error}")]) from None
    if len(text.encode("utf-8", "surrogateescape")) > LONGEST_PROMPT:
        raise UsageError([Fault("--input", "is too long for a command line; with --non-interactive, standard input has no bound")])
    if not text.strip():
        raise UsageError([Fault("--input", "expected a text, got an empty one")])
    return f" {text}" if text.startswith("-") else text


GUARDED: Final = RunCommand(
    "[options] [-- CLAUDE ARGUMENTS]",
    "Run Claude Code under the guardian, with the options of claude-mpm run-guarded.",
    add_options,
    configure,
)
