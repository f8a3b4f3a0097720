"""The subcommands that talk to a run: what they take, what they call, and what a person or a program reads."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from ...core.text import printable
from ...core.value import Value
from ..saying import complain, say
from ..usage import Fault, UsageError, quote
from . import wire
from .client import Client, ControlError, chosen

if TYPE_CHECKING:
    from ..seam import Application

REFUSED: Final = 1


@attrs.frozen(eq=False)
class CommandContext:
    """What a subcommand is performed with.

    Attributes:
        environ: The environment, which names the places of sockets.
        program: What the launcher is called.
        application: Loads the launcher's application, for its words.
    """

    environ: Mapping[str, str]
    program: str
    application: Callable[[], Application]

    def connect(self, guardian: str | None, child: str | None = None) -> Client:
        """Connect to the guardian that is meant; see `client.chosen`."""
        return chosen(self.environ, guardian, self.program, child=child)

    def tell(self, options: argparse.Namespace, data: Any, text: str) -> None:
        """Print an answer: as JSON where that was asked for."""
        say(json.dumps(data) if options.json else text)

    def refuse(self, why: str) -> int:
        """Say on standard error why something was not done; returns the exit code."""
        complain(f"{self.program}: {why}")
        return REFUSED

    def table(
        self, rows: Sequence[tuple[str, ...]], *, right: Sequence[int] = (), spared: Sequence[int] = (), cut: int | None = None
    ) -> str:
        """Rows, the headings among them, as lines that fit the terminal.

        Args:
            rows: Each with a text for each column.
            right: The columns with numbers.
            spared: The ones that a narrow terminal goes without, the first one first.
            cut: The one that is cut first.
        """
        from ..table import Layout, table

        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        unicode = (sys.stdout.encoding or "ascii").lower().replace("-", "") in ("utf8", "utf16")
        layout = Layout(least=(0,) * len(rows[0]), right=tuple(right), spared=tuple(spared), cut=cut)
        return table([tuple(map(printable, row)) for row in rows], layout, width=width, unicode=unicode)


@attrs.frozen(repr=False, eq=False)
class ControlCommand(Value):
    """One subcommand.

    Attributes:
        usage: What follows its name.
        description: What it does.
        add_options: Adds what it takes to its parser.
        run: Does it; returns the exit code, raises `UsageError` or `ControlError`.
        takes_command: Whether a command follows after ``--``; it is `options.command` then, None where nothing follows.
    """

    usage: str
    description: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[CommandContext, argparse.Namespace], int]
    takes_command: bool = False


def perform(command: ControlCommand, context: CommandContext, options: argparse.Namespace) -> int:
    """Run a subcommand.

    Returns:
        The exit code: 1 when the guardian refused or could not be reached.

    Raises:
        UsageError: It cannot be meant so.
    """
    try:
        return command.run(context, options)
    except ControlError as error:
        if error.code in (wire.NOT_FOUND, wire.INVALID_PARAMS, wire.REJECTED):
            faults = error.data.get("faults") if isinstance(error.data, dict) else None
            raise UsageError([Fault("", str(fault)) for fault in faults or [str(error)]]) from error
        return context.refuse(str(error))


def which_guardian(parser: argparse.ArgumentParser) -> None:
    """The options of subcommands about one child: which guardian, if it is not plain, and JSON."""
    parser.add_argument(
        "--guardian",
        metavar="NAME",
        help="of several guardians the one with this child, the beginning of its run's id, its pid or its socket",
    )
    add_json(parser)


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option for programs."""
    parser.add_argument("--json", action="store_true", help="JSON instead of words")


def a_child(parser: argparse.ArgumentParser) -> None:
    """A child, and `which_guardian`."""
    parser.add_argument("path", metavar="PATH", nargs="?", help="a child: its name, its path, or the end of that")
    which_guardian(parser)


def needed(options: argparse.Namespace, name: str, what: str) -> str:
    """The value of a positional argument that was left out by mistake.

    Raises:
        UsageError: It was.
    """
    value: str | None = getattr(options, name)
    if value is None:
        raise UsageError([f"needs {what}; see --help"])
    return value


def _one_guardian(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="which guardian, where several run: see the line that lists them")
    add_json(parser)


def _status(context: CommandContext, options: argparse.Namespace) -> int:
    with context.connect(options.name) as client:
        status = client.call("status")
    if options.json:
        say(json.dumps(status))
        return 0
    from .status_view import render

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    unicode = (sys.stdout.encoding or "ascii").lower().replace("-", "") in ("utf8", "utf16")
    say(render(status, status.get("notes", ()), width=width, unicode=unicode))
    return 0


def _add_events_options(parser: argparse.ArgumentParser) -> None:
    _one_guardian(parser)
    parser.add_argument("--follow", action="store_true", help="go on with what happens, until the run is over")
    parser.add_argument("--since", metavar="N", default="0", help="only events after number N; default: all that are kept")


def _events(context: CommandContext, options: argparse.Namespace) -> int:
    if not (options.since.isascii() and options.since.isdigit() and len(options.since) < 19):
        raise UsageError([Fault("--since", f"expected the number of an event, got {quote(options.since)}")])
    since = int(options.since)
    from ..render import Renderer
    from . import told

    def tell(event: Mapping[str, Any]) -> None:
        line = json.dumps(event, separators=(",", ":")) if options.json else told.line(event, renderer)
        if line is not None:
            say(line)

    with context.connect(options.name) as client:
        # the application has words for what it runs itself
        renderer = Renderer() if client.call("version")["kind"] == "app" else getattr(context.application(), "renderer", Renderer)()
        if options.follow:
            client.call("events", since=since, follow=True)
            for event in client.events():
                tell(event)
            return 0
        # not beyond what there was when we asked: a run that is busy would never let us end
        last = None
        while last is None or since < last:
            page = client.call("events", since=since)
            last = page["last"] if last is None else last
            for event in page["events"]:
                tell(event)
            since = page["since"]
    return 0


def _add_restart_options(parser: argparse.ArgumentParser) -> None:
    a_child(parser)
    parser.add_argument("--reason", metavar="TEXT", help="why, for the events")
    parser.add_argument("--now", action="store_true", help="do not wait for the end of the turn that it is in")


def _restart(context: CommandContext, options: argparse.Namespace) -> int:
    path = needed(options, "path", "the child to restart")
    with context.connect(options.guardian, path) as client:
        more: dict[str, Any] = {} if options.reason is None else {"reason": options.reason}
        if options.now:
            more["now"] = True
        elif (waits := _row(client.call("status")["tree"], client.call("resolve", path=path)).get("restart_waits")) is not None:
            complain(f"{context.program}: {path} is busy: the restart waits for {waits}; --now would not")
        row = client.call("restart", timeout=None, path=path, **more)
    pid = "" if row["pid"] is None else f", pid {row['pid']}"
    context.tell(options, row, f"{'/'.join(row['path'])} is {row['state']}: life {row['generation']}{pid}")
    return 0


def _row(tree: Mapping[str, Any], path: list[str]) -> Mapping[str, Any]:
    """What ``status`` says of one child; nothing where it has come or gone meanwhile."""
    if tree["path"] == path:
        return tree
    return next((found for child in tree.get("children", ()) if (found := _row(child, path))), {})


def _add_stop_options(parser: argparse.ArgumentParser) -> None:
    a_child(parser)
    parser.add_argument("--when-idle", action="store_true", help="only when nobody is in the middle of a turn; of the whole run")


def _stop(context: CommandContext, options: argparse.Namespace) -> int:
    if options.when_idle and options.path is not None:
        raise UsageError([Fault("--when-idle", "is for the whole run; leave out PATH")])
    with context.connect(options.guardian, options.path) as client:
        if options.path is not None:
            done = client.call("stop", timeout=None, path=options.path)
        else:
            done = client.call("stop", when_idle=options.when_idle)
        if done["stopping"] is not None:
            client.wait()
    context.tell(options, done, f"{'/'.join(done['path'])} is stopped")
    return 0


COMMANDS: Final[Mapping[str, ControlCommand]] = {
    "status": ControlCommand(
        "[NAME] [--json]", "Say how a guardian and all its children are, and what happens next.", _one_guardian, _status
    ),
    "events": ControlCommand(
        "[NAME] [--follow] [--since N] [--json]", "Say what has happened in a run, and what happens.", _add_events_options, _events
    ),
    "restart": ControlCommand(
        "PATH [--reason TEXT] [--now]", "Restart a child in order, as far as restart protection admits it.", _add_restart_options, _restart
    ),
    "stop": ControlCommand(
        "[PATH] [--when-idle]", "Stop a child, or without PATH the whole run, and wait until it is stopped.", _add_stop_options, _stop
    ),
}
