"""The guardian as the launcher sees it: options, configuration, the demonstration, and one run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from supervisor import ControlCommand, Event, Finding, Redactor, Renderer, Session, Words

    from .config import GuardianRun


class GuardianApplication:
    """The launcher's default application; see `supervisor.edge.application.Application`."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """The options of ``run``."""
        from .config import add_options

        add_options(parser)

    def configure(self, options: argparse.Namespace, environ: Mapping[str, str]) -> GuardianRun:
        """File, environment and options, checked; nothing is started or created.

        Raises:
            UsageError: All faults.
        """
        if options.resume is not None:
            from .resuming import configure_resumed

            return configure_resumed(options, environ)
        from .config import configure

        return configure(options, environ)

    def check(self, file: str | None, environ: Mapping[str, str]) -> str:
        """What a configuration amounts to, and how often its tree restarts what never stops failing.

        Raises:
            UsageError: All faults.
        """
        from .config import checked, summary
        from .guardian import budgets

        run = checked(file, environ)
        return "\n".join([summary(run), *(f"  {line}" for line in budgets(run))])

    def demo(self, options: argparse.Namespace, environ: Mapping[str, str]) -> GuardianRun:
        """The demonstration: a small agent that leaks real memory.

        Raises:
            UsageError: It cannot run here.
        """
        from .demo import demonstration

        return demonstration()

    def doctor(self, environ: Mapping[str, str]) -> Iterable[tuple[str, Callable[[], Finding]]]:
        """What the guardian needs of this host."""
        from .doctor import checks

        return checks(environ)

    def subcommands(self) -> Mapping[str, ControlCommand]:
        """What can be asked of a running guardian beside what can be asked of every tree."""
        from .control_commands import COMMANDS

        return COMMANDS

    def renderer(self) -> Renderer:
        """The guardian's words for events."""
        from supervisor import Renderer

        from .event_config import ConfigurationChanged, ConfigurationRejected
        from .event_conversation import ConversationCut, ConversationStarted
        from .event_state import StateRestored, StatesPruned
        from .words import WORDS, subject

        kinds = (ConfigurationChanged, ConfigurationRejected, ConversationCut, ConversationStarted, StateRestored, StatesPruned)
        seldom: dict[type[Event], Words] = {kind: kind.words for kind in kinds}
        return Renderer({**WORDS, **seldom}, subject=subject)

    def redactor(self) -> Redactor:
        """What keeps secrets out of events, answers and messages."""
        from .redactor import REDACTOR

        return REDACTOR

    async def run(self, configured: GuardianRun, session: Session) -> int:
        """Guard the agents until they end or the session is asked to stop.

        Raises:
            UsageError: A name given by hand is in use, or a command cannot be started.
        """
        from .running import run

        return await run(configured, session)


application = GuardianApplication()
