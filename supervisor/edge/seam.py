"""What the launcher asks of the application that it runs; for type checkers, and imported by nobody else."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from .application import Session
from .control.commands import ControlCommand
from .finding import Check
from .redactor import Redactor
from .render import Renderer
from .run_command import RunCommand


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

    def run_commands(self) -> Mapping[str, RunCommand]:
        """Other ways to say ``run``, with options of their own, by name. May be left out where there are none."""

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
