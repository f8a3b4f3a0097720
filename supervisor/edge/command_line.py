"""The command line: what to run and how, and the exit code that it ends with.

    run       an application (the guardian, unless told otherwise) over one command
    app       any tree
    check     a configuration, or any tree
    demo      a demonstration
    doctor    what this host offers
    status    and others of `control.commands` and of the application: talk to a run, or about earlier ones

Nothing heavy is imported before it is known to be needed: a usage error costs no event loop, and a run only its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Final

import attrs

from .application import Session, is_attribute, load_attribute, new_run_id
from .loop_options import add_loop_options, loop_faults
from .parser import Formatter, Parser, joined_values, takes_next
from .saying import FAULT, Unwritten, complain, flushed, say, unwritten
from .subcommands import OWN, listed
from .usage import Fault, UsageError, did_you_mean, quote, raise_all

if TYPE_CHECKING:
    from .control.commands import ControlCommand
    from .event_file import EventFile
    from .redactor import Redactor
    from .run_command import RunCommand
    from .seam import Application

USAGE, GAVE_UP, INTERRUPTED = 2, 75, 130
DEFAULT_APPLICATION: Final = "workers.application:application"
SUBCOMMANDS: Final = ("run", "app", "check", "demo", "doctor")
CONTROL: Final = ("status", "events", "restart", "stop")
"""Those that talk to a run; an application has more of its own."""
LATER: Final = ("top",)


def main(argv: Sequence[str] | None = None, *, application: str = DEFAULT_APPLICATION, environ: Mapping[str, str] | None = None) -> int:
    """Run the program.

    Args:
        argv: Its arguments, without its name; default: those of this process.
        application: ``MODULE:ATTRIBUTE`` of the `Application` that ``run``, ``check``, ``demo`` and ``doctor`` are about.
        environ: The environment; default: that of this process.

    Returns:
        The exit code: 2 for usage, 70 for a fault of ours, 75 when restart protection gave up, 130 when interrupted before
        anything ran; else the application's.
    """
    for stream in (sys.stdout, sys.stderr):
        # a name that the terminal's encoding lacks is no reason for a traceback
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    program = _Program(application, os.environ if environ is None else environ)
    try:
        code = program.run(list(sys.argv[1:] if argv is None else argv))
    except UsageError as error:
        complain(program.redactor.text(_as_text(program.name, error.faults)))
        code = USAGE
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Unwritten as stopped:
        return unwritten(stopped.error, 0)
    except SystemExit as leaving:
        # argparse, after it printed help
        code = leaving.code if isinstance(leaving.code, int) else 0
    return flushed(code)


class _Program:
    """One invocation."""

    def __init__(self, application: str, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.name = program_name()
        self._application = application
        self._redactor: Redactor | None = None

    @property
    def redactor(self) -> Redactor:
        """The application's; of one that cannot be loaded nothing has run that could have secrets."""
        if self._redactor is None:
            from .redactor import NOTHING

            try:
                self._redactor = getattr(self._loaded(), "redactor", lambda: NOTHING)()
            except UsageError:
                self._redactor = NOTHING
        return self._redactor

    def run(self, argv: list[str]) -> int:
        before, command = split(argv)
        first = before[0] if before and not before[0].startswith("-") else None
        if first in LATER:
            raise UsageError([Fault(first, "not available in this version")])
        rest = before if first is None else before[1:]
        if first is not None and first not in SUBCOMMANDS:
            other = self._run_commands().get(first) if first not in CONTROL else None
            return self._talk(first, rest, command) if other is None else self._run_as(first, other, rest, command)
        others = {"app": self._app, "check": self._check, "demo": self._demo, "doctor": self._doctor}
        if first in others:
            return others[first](rest, command)
        return self._run(rest, command, prefix=before[: len(before) - len(rest)])

    def _run(self, words: list[str], command: list[str] | None, prefix: list[str]) -> int:
        parser = self._parser(
            "[run] [options] -- COMMAND [ARG ...]",
            f"       {self.name} SUBCOMMAND [--help]",
            "Run COMMAND under the guardian: its memory is watched, and it is restarted before memory is gone.",
        )
        parser.after = self._listed
        parser.add_argument("--version", action="store_true", help="print the version and where this program is, and exit")
        add_loop_options(parser)
        if "--version" in words:
            from .version import version

            say(version())
            return 0
        application = self._load()
        application.add_options(parser)
        options = self._parse(parser, words, command, prefix)
        if command == []:
            raise UsageError([f"no command after --; write: {self.name} [options] -- COMMAND [ARG ...]"])
        options.command = command
        return self._start("run", application, options, application.configure)

    def _run_as(self, first: str, other: RunCommand, words: list[str], command: list[str] | None) -> int:
        """A run with options of its own."""
        parser = self._parser(f"{first} {other.usage}", "", other.description)
        add_loop_options(parser)
        other.add_options(parser)
        options = self._parse(parser, words, command, [first])
        options.command = command
        return self._start("run", self._load(), options, other.configure)

    def _demo(self, words: list[str], command: list[str] | None) -> int:
        parser = self._parser("demo [options]", "", OWN["demo"])
        add_loop_options(parser)
        self._no_command("demo", command)
        options = self._parse(parser, words, command, ["demo"])
        application = self._load()
        return self._start("demo", application, options, application.demo)

    def _check(self, words: list[str], command: list[str] | None) -> int:
        parser = self._parser(
            "check [FILE | MODULE:ATTRIBUTE]",
            "",
            OWN["check"],
        )
        parser.add_argument("file", metavar="FILE", nargs="?", help="TOML, or YAML with the yaml extra; or a tree, as for app")
        self._no_command("check", command)
        options = self._parse(parser, words, command, ["check"])
        if options.file is not None and is_attribute(options.file) and not os.path.exists(options.file):
            from .trees import check_tree

            say(check_tree(options.file))
        else:
            say(self.redactor.text(self._load().check(options.file, self.environ)))
        return 0

    def _talk(self, first: str, words: list[str], command: list[str] | None) -> int:
        """A subcommand that talks to a run."""
        own = self._subcommands()
        if first not in CONTROL and first not in own:
            raise UsageError([self._no_subcommand([first, *words], command, [*own, *self._run_commands()])])
        from .control.commands import COMMANDS, CommandContext, perform

        told = own[first] if first in own else COMMANDS[first]
        parser = self._parser(f"{first} {told.usage}", "", told.description)
        told.add_options(parser)
        if not told.takes_command:
            self._no_command(first, command)
        options = self._parse(parser, words, command, [first])
        options.command = command
        return perform(told, CommandContext(self.environ, self.name, self._loaded), options)

    def _subcommands(self) -> Mapping[str, ControlCommand]:
        return self._offered("subcommands")

    def _run_commands(self) -> Mapping[str, RunCommand]:
        return self._offered("run_commands")

    def _offered(self, what: str) -> Mapping[str, Any]:
        """What the application offers, which may be nothing; one that cannot be loaded is no answer to a word that nobody knows."""
        try:
            return getattr(self._loaded(), what, dict)()
        except UsageError:
            return {}

    def _listed(self, width: int) -> str:
        from .control.commands import COMMANDS

        own, others = self._subcommands(), self._run_commands()
        return listed(
            {**OWN, **{name: one.description for name, one in others.items()}},
            {name: one.description for name, one in {**COMMANDS, **own}.items()},
            self.name,
            width,
        )

    def _doctor(self, words: list[str], command: list[str] | None) -> int:
        parser = self._parser(
            "doctor [--json]",
            "",
            OWN["doctor"],
        )
        parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
        self._no_command("doctor", command)
        options = self._parse(parser, words, command, ["doctor"])
        from . import doctor
        from .doctor_checks import CHECKS
        from .version import version

        findings = doctor.examine(CHECKS)
        try:
            findings += doctor.examine(self._loaded().doctor(self.environ))
        except UsageError as error:
            findings += (doctor.incomplete(error),)
        say(self.redactor.text(doctor.as_json(findings, version()) if options.json else doctor.as_text(findings)))
        return doctor.exit_code(findings)

    def _app(self, words: list[str], command: list[str] | None) -> int:
        parser = self._parser("app MODULE:ATTRIBUTE [options]", "", OWN["app"])
        parser.add_argument("tree", metavar="MODULE:ATTRIBUTE", nargs="?", help="a Supervisor, or a function that returns one")
        add_loop_options(parser)
        self._no_command("app", command)
        options = self._parse(parser, words, command, ["app"])
        if options.tree is None:
            raise UsageError([f"app needs a tree: {self.name} app MODULE:ATTRIBUTE"])
        from .trees import load_tree, run_tree

        faults = loop_faults(options)
        tree = None
        try:
            tree = load_tree(options.tree)
        except UsageError as error:
            faults += error.faults
        raise_all(faults)
        assert tree is not None
        return self._in_loop("app", options, partial(run_tree, tree))

    def _start(self, kind: str, application: Application, options: argparse.Namespace, configure: Callable[..., Any]) -> int:
        """Check everything, then run it."""
        faults = loop_faults(options)
        configured: Any = None
        try:
            configured = configure(options, self.environ)
        except UsageError as error:
            faults += error.faults
        raise_all(faults)
        return self._in_loop(kind, options, partial(application.run, configured))

    def _in_loop(self, kind: str, options: argparse.Namespace, run: Callable[[Session], Awaitable[int]]) -> int:
        from ..core.errors import RestartIntensityExceeded, StartFailed
        from .service import ServiceManager
        from .signals import StopRequest, run_with_signals

        backend, events = options.backend, options.events
        redactor = self.redactor
        event_file = _open_events(events, redactor) if events is not None else None
        service = ServiceManager.from_environ(os.environ, lambda line: complain(f"{self.name}: {line}"))

        async def body(stop: StopRequest) -> int:
            session = Session(
                run=new_run_id(),
                backend=backend,
                stop=stop,
                service=service,
                redactor=redactor,
                event_file=event_file,
                stdin_is_terminal=_is_terminal(0),
                stdout_is_terminal=_is_terminal(1),
                stderr_is_terminal=_is_terminal(2),
            )
            if options.no_control:
                return await service.during(lambda: run(session), stop)
            from .control.listening import Control

            with Control(session.run, kind, backend, environ=self.environ, redactor=redactor) as control:
                controlled = attrs.evolve(session, control=control)
                return await service.during(lambda: run(controlled), stop)

        try:
            return run_with_signals(body, backend)
        except RestartIntensityExceeded as error:
            complain(redactor.text(f"{self.name}: {error}"))
            return GAVE_UP
        except StartFailed as error:
            complain(redactor.text(f"{self.name}: {error}"))
            return FAULT
        except UsageError:
            raise
        except Exception as error:  # the outermost boundary: a fault of ours becomes exit code 70, with what is needed to find it
            import traceback

            complain(redactor.text(f"{self.name}: internal error: {error!r}\n{''.join(traceback.format_exception(error))}"))
            return FAULT
        finally:
            if event_file is not None:
                event_file.close()
                if event_file.lost:
                    why = event_file.failure or "written again since"
                    complain(redactor.text(f"{self.name}: {event_file.lost} events are missing in {events}: {why}"))

    def _load(self) -> Application:
        try:
            return self._loaded()
        except UsageError as error:
            # nobody named it, so it is no fault of usage
            complain(f"{self.name}: this installation is incomplete: {error}")
            raise SystemExit(FAULT) from error

    def _loaded(self) -> Application:
        loaded: Any = load_attribute(self._application)
        application: Application = loaded
        return application

    def _parser(self, usage: str, more_usage: str, description: str) -> Parser:
        return Parser(
            prog=self.name,
            usage=f"%(prog)s {usage}" + (f"\n{more_usage}" if more_usage else ""),
            description=description,
            allow_abbrev=False,
            formatter_class=Formatter,
        )

    def _parse(self, parser: Parser, words: list[str], command: list[str] | None, prefix: list[str]) -> argparse.Namespace:
        options, extra = parser.parse_known_args(joined_values(words))
        if not extra:
            return options
        if extra[0].startswith("-"):
            name = extra[0].partition("=")[0]
            raise UsageError([Fault(name[:80], f"unknown option{did_you_mean(name, parser.option_strings)}; see --help")])
        if prefix and prefix != ["run"]:
            raise UsageError([f"unexpected {quote(extra[0])} after {prefix[0]}; see {self.name} {prefix[0]} --help"])
        if command is not None:
            raise UsageError([f"unexpected {quote(extra[0])} before --; the command begins after --"])
        at = next(index for index, word in enumerate(words) if word == extra[0] and not takes_next(parser, words[:index]))
        raise UsageError([self._put_dashes([*prefix, *words[:at]], words[at:])])

    def _no_subcommand(self, before: list[str], command: list[str] | None, more: Iterable[str]) -> Fault:
        near = did_you_mean(before[0], [*SUBCOMMANDS, *CONTROL, *more])
        if command is not None:
            return Fault("", f"unexpected {quote(before[0])} before --{near}; the command begins after --")
        if near:
            return Fault("", f"no subcommand is called {quote(before[0])}{near}; {self._put_dashes([], before)}")
        return Fault("", self._put_dashes([], before))

    def _put_dashes(self, options: list[str], command: list[str]) -> str:
        import shlex

        written = " ".join([self.name, *map(shlex.quote, options), "--", *map(shlex.quote, command)])
        return f"put -- before the command: {written if len(written) <= 400 else written[:397] + '...'}"

    def _no_command(self, subcommand: str, command: list[str] | None) -> None:
        if command is not None:
            raise UsageError([f"{subcommand} takes no command; leave out --"])


def split(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """What is ours and what is the command's: the first ``--`` divides them, every later one is the command's own."""
    words = list(argv)
    if "--" not in words:
        return words, None
    at = words.index("--")
    return words[:at], words[at + 1 :]


def program_name() -> str:
    """What the person called: the script's name, or ``python -m supervisor``."""
    called = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else ""
    return "python -m supervisor" if called in ("", "__main__.py", "-m", "-c") else called


def _open_events(path: str, redactor: Redactor) -> EventFile:
    from .event_file import EventFile

    return EventFile(path, redactor=redactor)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _as_text(name: str, faults: Sequence[Fault]) -> str:
    if len(faults) == 1:
        return f"{name}: {faults[0]}"
    return "\n".join([f"{name}: {len(faults)} faults:", *(f"  {fault}" for fault in faults)])
