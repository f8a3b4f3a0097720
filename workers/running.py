"""One run as a person sees it: names are claimed, what earlier runs left is swept, the tree runs, a summary says what happened."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from supervisor import (
    Console,
    Event,
    Fault,
    Record,
    Renderer,
    RestartDeferred,
    Session,
    StartFailed,
    Summary,
    UsageError,
    block,
    own_all_sessions,
    wants_color,
)

from .config import GuardianRun
from .guardian import GAVE_UP, Outcome, innermost, run_guardian
from .ledger import Leaf, Ledger
from .redactor import redacted_text
from .roster import Roster
from .state.files import StateWriteFailed
from .state.scratch import run_directory
from .unstarted import check_key, fault_of
from .words import WORDS, status, subject, summary_rows

if TYPE_CHECKING:
    from .notification.channel import Channel

SHOWN: Final = 5
"""How many agents the status line names."""


async def run(run: GuardianRun, session: Session) -> int:
    """Guard the agents until they end or the session is asked to stop.

    Returns:
        The exit code.

    Raises:
        UsageError: A name given by hand is in use, a command cannot be started, or the key of encryption cannot be had.
    """
    if run.config.encryption.key:
        await to_thread.run_sync(check_key, run)  # a keyring may take its time
    # a guardian starts its leaves and nothing else, so every other dead child is one that it adopted
    own_all_sessions()
    with ExitStack() as claims:
        if run.scratch is not None:
            try:
                os.makedirs(run.scratch, mode=0o700, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    [Fault("", f"{run.scratch!r} cannot be made: {error.strerror}; set TMPDIR to another directory")]
                ) from error
        console = Console(is_terminal=session.stderr_is_terminal, environ=os.environ, redact=session.redactor.text)
        ledger = Ledger(run, [])
        directory = scratch(ledger, session.run, claims, console.say)
        roster = ledger.roster = Roster(ledger, console.say, directory, relays=True)
        claims.callback(roster.close)
        for agent in run.agents:
            await roster.enrol(agent, agent.name)
        summary = Summary()
        for note in run.notes:
            console.say(f"memory-guardian: note: {note}")
        sinks: list[Callable[[Record], object]] = [summary.observe, *told(ledger, session, console)]
        sinks += session.service.sinks(Renderer(WORDS, subject=subject, redact=session.redactor.text))
        if session.event_file is not None:
            sinks.append(session.event_file.write)
        channels: list[Channel] = []
        if directory is not None:
            channels = channels_of(ledger, directory, os.environ)
        sinks += [channel.offer for channel in channels]
        if run.resumed is not None and session.is_interactive:
            from .resuming import set_title  # most runs start from nothing

            set_title(run.resumed, sys.stdout.fileno())
        try:
            async with AsyncExitStack() as telling:
                if channels:
                    from .notification.channel import serving  # here, and below: most runs tell nobody

                    await telling.enter_async_context(serving(channels, session.stop.wait_hurried))
                if any("claude" in word.lower() for word in ledger.leaves[0].agent.command.argv):
                    from .claude.relay import relaying  # here: nobody else's lines are understood

                    await telling.enter_async_context(relaying(ledger, session.stop))
                outcome = await run_guardian(ledger, session, sinks, tuple(roster.swept))
        except StartFailed as error:
            fault = cannot_start(ledger, error)
            if fault is None:
                raise
            raise UsageError([fault]) from error
        finally:
            ledger.close()
            console.close()
    rows = [*summary_rows(ledger, summary), *((f"told by {one.name}", one.said) for one in channels if one.said)]
    console.say(block("memory-guardian:", [*rows, ("exit code", explained(outcome))]))
    return outcome.code


def scratch(ledger: Ledger, run_id: str, claims: ExitStack, say: Callable[[str], None]) -> Path | None:
    """A directory for mode files and what hooks are told; None when nobody needs one, or none can be had, which is said.

    Args:
        ledger: Of the run.
        run_id: The run.
        claims: Removes it.
        say: Tells a person.
    """
    if not (ledger.watches or ledger.run.config.hooks.on_event):
        return None
    try:
        place = run_directory(run_id, os.environ)
    except StateWriteFailed as error:
        say(f"memory-guardian: no mode files and no hooks: {error}")
        return None
    claims.callback(place.close)
    return place.path


def channels_of(ledger: Ledger, directory: Path, environ: Mapping[str, str]) -> list[Channel]:
    """What tells others of events.

    Args:
        ledger: Of the run.
        directory: For their files.
        environ: Says whether there is a desktop.
    """
    config = ledger.run.config
    channels: list[Channel] = []
    if config.hooks.on_event:
        from .notification.hook import hook

        channels.append(hook(config.hooks, directory, ledger.emit))
    if config.notifications.desktop and (sys.platform == "darwin" or environ.keys() & {"DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"}):
        from .notification.desktop import desktop

        found = desktop(environ, ledger.emit, titled)
        channels += [found] if found is not None else []
    return channels


def titled(event: Event) -> tuple[str, str]:
    """A title and a text for an event, from the words for the terminal."""
    about, words = subject(event.path), WORDS.get(type(event))
    line = words(event) if words is not None else None
    title = f"memory-guardian: {about}" if about else "memory-guardian"
    return redacted_text(title), event.name if line is None else redacted_text(line.text)


def told(ledger: Ledger, session: Session, console: Console) -> list[Callable[[Record], object]]:
    """What tells a person while the run lasts: lines and a status line; while the leaf has the screen, nothing."""
    has_screen = session.is_interactive and not ledger.run.detached
    renderer = Renderer(WORDS, subject=subject, color=wants_color(session.stderr_is_terminal, os.environ))

    def say(record: Record) -> None:
        line = renderer.line(record)
        if line is not None:
            console.say(line)

    def say_between_lives(record: Record) -> None:
        # else the screen would stand still for minutes, and nobody would know why
        if isinstance(record.event, RestartDeferred) and not record.event.controlled and record.event.path == screen.path:
            say(record)

    if has_screen:
        screen = ledger.leaves[0]
        return [say_between_lives]
    # a leaf that writes to the same screen would write into the status line
    if console.has_status and not session.stdout_is_terminal:
        ledger.on_sample = lambda: console.status(status_of(ledger.leaves))
    return [say]


def status_of(leaves: Sequence[Leaf]) -> str:
    """The status line; of many agents a line has room for the first ones alone."""
    more = [f"{len(leaves) - SHOWN} more"] if len(leaves) > SHOWN else []
    return "  ".join([*map(status, leaves[:SHOWN]), *more])


def cannot_start(ledger: Ledger, error: StartFailed) -> Fault | None:
    """The fault of the command that did not start, from the failure of the tree around it; None when it was a worker of ours."""
    leaf = ledger.leaf_at(innermost(error).path)
    return None if leaf is None else fault_of(leaf.agent, error, len(ledger.leaves))


def explained(outcome: Outcome) -> str:
    """The exit code, and why it is not the command's own."""
    if outcome.code == GAVE_UP and outcome.source == "protection":
        return f"{GAVE_UP}: restart protection gave up; look at why the command keeps ending, then start it again"
    return str(outcome.code)
