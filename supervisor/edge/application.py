"""The seam between the launcher and the application that it runs; the launcher knows the application by name only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from ..core.errors import SpecError
from ..core.exits import describe
from ..core.value import Value
from .redactor import NOTHING, Redactor
from .service import ServiceManager
from .usage import UsageError

if TYPE_CHECKING:
    import argparse

    from ..runtime.supervisor import Supervisor
    from .control.commands import ControlCommand
    from .control.listening import Control
    from .event_file import EventFile
    from .finding import Check
    from .render import Renderer
    from .signals import StopRequest


@attrs.frozen(repr=False, eq=False)
class Session(Value):
    """What the launcher gives a run.

    Attributes:
        run: The run's id, a random UUID as 32 hexadecimal digits.
        backend: ``"trio"`` or ``"asyncio"``.
        stop: Set by the signals; the application may set it as well.
        service: The service manager above us, to be told when the run is up; may be nobody.
        control: What clients on the control socket are served by, see `Control`; None for nothing. The launcher opens and closes it.
        redactor: What every way out of the run goes through.
        event_file: The open file of ``--events``, or None. The launcher closes it.
        stdin_is_terminal: Whether standard input is a terminal.
        stdout_is_terminal: Whether standard output is one.
        stderr_is_terminal: Whether standard error is one.
    """

    run: str
    backend: str
    stop: StopRequest
    service: ServiceManager = attrs.field(factory=ServiceManager, kw_only=True)
    control: Control | None = attrs.field(default=None, kw_only=True)
    redactor: Redactor = attrs.field(default=NOTHING, kw_only=True)
    event_file: EventFile | None = None
    stdin_is_terminal: bool = False
    stdout_is_terminal: bool = False
    stderr_is_terminal: bool = False

    @property
    def is_interactive(self) -> bool:
        """Whether a person types into the run and sees what it prints."""
        return self.stdin_is_terminal and self.stdout_is_terminal


class Application(Protocol):
    """What ``run``, ``check``, ``demo`` and ``doctor`` are about.

    All but `run` start and create nothing: a signal may end the process at any moment until `run` is called.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of ``run``. Their values should be read in `configure`, so that all faults are reported at once."""

    def configure(self, options: argparse.Namespace, environ: Mapping[str, str]) -> Any:
        """Check everything that can be checked before anything runs.

        Args:
            options: What `add_options` asked for, and `command`: the argv after ``--``, or None where there is no ``--``.
            environ: The environment.

        Returns:
            What `run` is to be given.

        Raises:
            UsageError: All faults.
        """

    def check(self, file: str | None, environ: Mapping[str, str]) -> str:
        """What a configuration amounts to, for a person.

        Raises:
            UsageError: All faults.
        """

    def demo(self, options: argparse.Namespace, environ: Mapping[str, str]) -> Any:
        """As `configure`, for a demonstration that ends by itself.

        Raises:
            UsageError: All faults.
        """

    def doctor(self, environ: Mapping[str, str]) -> Iterable[tuple[str, Check]]:
        """What the application itself needs of this host, for ``doctor``: the names of findings, and how each is found."""

    def subcommands(self) -> Mapping[str, ControlCommand]:
        """Subcommands of the application's own, which talk to a run of it, by name. May be left out where there are none."""

    def renderer(self) -> Renderer:
        """The application's words for events that came from a run of it. May be left out where it has none."""

    def redactor(self) -> Redactor:
        """What takes secrets out of events, answers and messages. May be left out where nothing does."""

    async def run(self, configured: Any, session: Session) -> int:
        """Run until the end, or until `session.stop`.

        Returns:
            The exit code.

        Raises:
            UsageError: It turned out only now that this cannot be run; the program ends with 2.
            RestartIntensityExceeded: The program ends with 75.
        """


def new_run_id() -> str:
    """A random UUID (version 4) as 32 hexadecimal digits."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return raw.hex()


def is_attribute(name: str) -> bool:
    """Whether a name is of the form ``MODULE:ATTRIBUTE``."""
    module_name, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module_name.split("."), *attribute.split(".")])


def load_attribute(name: str) -> object:
    """Import ``MODULE:ATTRIBUTE``; the attribute may be dotted.

    Raises:
        UsageError: There is no such thing, or importing it failed; the text says where.
    """
    from importlib import import_module

    module_name, _, attribute = name.partition(":")
    if not is_attribute(name):
        raise UsageError([f"expected MODULE:ATTRIBUTE, such as mytree:root, got {name[:80]!r}"])
    try:
        value: object = import_module(module_name)
    except Exception as error:  # whatever a user's module raises becomes one line with its place
        raise UsageError([f"{name}: cannot import {module_name}: {describe(error)}{_where(error)}"]) from error
    for part in attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise UsageError([f"{name}: {module_name} has no attribute {attribute!r}"]) from None
    return value


def load_tree(name: str) -> Supervisor:
    """The tree that ``app MODULE:ATTRIBUTE`` names: a supervisor that has not been entered, or a callable that makes one.

    A module beside the current directory can be imported, but never instead of an installed one.

    Raises:
        UsageError: It cannot be loaded, or is no tree.
    """
    from ..runtime.supervisor import Supervisor

    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    value = load_attribute(name)
    if callable(value):
        try:
            value = value()
        except SpecError as error:
            raise UsageError([f"{name}: {error}"]) from error
        except Exception as error:  # as above: the user's code, one line with its place
            raise UsageError([f"{name}: calling it failed: {describe(error)}{_where(error)}"]) from error
    if isinstance(value, Supervisor):
        return value
    if isinstance(value, CoroutineType):
        value.close()  # else it would warn that nobody awaited it
    raise UsageError([f"{name}: expected a Supervisor or a function (not async) that returns one, got {type(value).__name__}"])


def check_tree(name: str) -> str:
    """What the tree that ``check MODULE:ATTRIBUTE`` names amounts to, for a person; nothing of it is started.

    Raises:
        UsageError: It cannot be loaded, or is no tree.
    """
    from ..core.tuning import describe_worst, nested_budgets, worst_cases

    tree = load_tree(name)
    cases = worst_cases(tree.id, tree.flags, tree.specs)
    lines = [f"{name}: valid", *(f"  {line}" for line in describe_worst(cases))]
    return "\n".join([*lines, *(f"  warning: {line}" for line in nested_budgets(cases))])


async def run_tree(tree: Supervisor, session: Session) -> int:
    """Run a tree until a signal stops it or it ends by itself.

    **Cancellation:** stops all children, as leaving the tree's block does.

    Raises:
        RestartIntensityExceeded: The tree gave up.
        StartFailed: A child did not start.
    """
    import anyio

    from .render import Renderer

    tree.run_id = session.run
    if session.event_file is not None:
        tree.add_sink(session.event_file.write)
    for sink in session.service.sinks(Renderer(redact=session.redactor.text)):
        tree.add_sink(sink)
    control = session.control
    if control is not None:
        tree.add_sink(control.keep)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        block = anyio.CancelScope()
        if control is not None:
            tasks.start_soon(control.serve, tree, session.stop)

        async def watch() -> None:
            await session.stop.wait()
            # a tree that is still starting is stopped as well
            block.cancel()
            await session.stop.wait_hurried()
            tree.hurry()

        tasks.start_soon(watch)
        try:
            with block:
                async with tree:
                    session.service.ready()
                    if control is not None:
                        control.began()
                    # the tree cancels this when it ends by itself
                    await anyio.sleep_forever()
        except Exception as error:  # raised again below, where no task group wraps it
            failure = error
        if control is not None:
            await control.flushed()
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return 0


def _where(error: BaseException) -> str:
    """The place of the innermost frame of an exception that is not the import system's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    at, frame = "", error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if not file.startswith("<") and file != __file__ and "importlib" not in file:
            at = f" ({file}:{frame.tb_lineno})"
        frame = frame.tb_next
    return at
