"""The desktop's own notifications, where there is a desktop: ``notify-send``, or ``osascript`` on macOS."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from supervisor import Event, Record

from ..event import DegradationChanged, HealthChanged, HostMemoryChanged, ToolEnded
from ..policy.health import Health
from ..policy.ladder import DegradationMode
from ..policy.pressure import MemoryState
from .channel import Channel
from .program import run_program

TIMEOUT: Final = 5.0
"""Seconds that a notification may take."""

LONGEST: Final = 400
"""Characters of a text."""

Notify = Callable[[str, str, bool], tuple[str, ...]]
"""Makes a command from a title, a text, and whether it is urgent."""


def desktop(environ: Mapping[str, str], emit: Callable[[Event], object], title: Callable[[Event], tuple[str, str]]) -> Channel | None:
    """The channel to the desktop; None where there is none, or nobody is logged in to one.

    Args:
        environ: Says whether there is a session.
        emit: Publishes an event.
        title: A title and a text for an event.
    """
    notify = command_for(environ)
    if notify is None:
        return None

    async def tell(record: Record) -> str | None:
        head, text = title(record.event)
        return await run_program(notify(head[:LONGEST], text[:LONGEST], is_urgent(record.event)), TIMEOUT, path=("guardian", "desktop"))

    return Channel("desktop", tell, emit, wants=lambda record: is_worth(record.event))


def command_for(environ: Mapping[str, str], platform: str = sys.platform) -> Notify | None:
    """What notifies on this host; None where nothing can.

    The program is found once, by an absolute path: what a relative entry of ``PATH`` finds depends on where we are.
    """
    make, name = (_applescript, "osascript") if platform == "darwin" else (_notify_send, "notify-send")
    if platform == "win32" or (platform != "darwin" and not _has_session(environ)):
        return None
    found = _absolute(name, environ)
    return None if found is None else partial(make, found)


def is_worth(event: Event) -> bool:
    """Whether a person who looks elsewhere wants to know: what the guardian does without asking, or cannot do."""
    match event:
        case DegradationChanged(old=old, new=new):
            return max(old.rank, new.rank) >= DegradationMode.READ_ONLY.rank
        case HealthChanged(old=before, new=after):
            return Health.UNHEALTHY in (before, after)
        case HostMemoryChanged(old=milder, new=worse):
            return worse.rank > milder.rank and worse.reaches(MemoryState.CRITICAL)
        case ToolEnded():
            return True
        case _:
            return False


def is_urgent(event: Event) -> bool:
    """Whether it wants to be seen at once."""
    match event:
        case DegradationChanged(new=mode):
            return mode is DegradationMode.EMERGENCY
        case HealthChanged(new=health):
            return health is Health.UNHEALTHY
        case HostMemoryChanged(new=level):
            return level is MemoryState.EMERGENCY
        case _:
            return False


def _has_session(environ: Mapping[str, str]) -> bool:
    if environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return True
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    return os.path.isabs(runtime) and os.path.exists(os.path.join(runtime, "bus"))


def _absolute(name: str, environ: Mapping[str, str]) -> str | None:
    entries = [entry for entry in environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(entry)]
    return shutil.which(name, path=os.pathsep.join(entries)) if entries else None


def _notify_send(program: str, title: str, text: str, urgent: bool) -> tuple[str, ...]:
    urgency = "critical" if urgent else "normal"
    # its text is markup
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (program, "--app-name=memory-guardian", f"--urgency={urgency}", "--", title, escaped)


def _applescript(program: str, title: str, text: str, urgent: bool) -> tuple[str, ...]:
    # as arguments, never as a part of the script
    script = ("on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run")
    return (program, *(word for line in script for word in ("-e", line)), title, text)
