"""Where a process comes from: who started it, the session that it is in, and the words that it was started with."""

from __future__ import annotations

import os
import sys
from typing import Final

import attrs

from ..core.value import Value
from .identity import ProcessId, is_alive
from .procstat import read_bytes, read_stat

WORDS: Final = 64 * 1024
"""Bytes of a command line that are read."""


@attrs.frozen(repr=False, eq=False)
class Lineage(Value):
    """The place of one process.

    Attributes:
        process: Which one.
        parent: The pid of its parent now, which is another one once that has died.
        session: The id of its session, the pid of whoever began that; 0 where there are no sessions.
        words: Its command line as it shows it; a program can show something else than it was given, or nothing.
    """

    process: ProcessId
    parent: int
    session: int
    words: tuple[str, ...]


def lineage(process: ProcessId) -> Lineage | None:
    """The place of this very process; None when it is dead, or may not be looked at.

    Raises:
        OSError: Out of descriptors.
    """
    if sys.platform != "linux":
        from . import portable

        return portable.lineage(process)
    stat = read_stat(process.pid)
    if stat is None or stat.created != process.created or stat.dead:
        return None
    words = tuple(os.fsdecode(word) for word in (read_bytes(f"/proc/{process.pid}/cmdline") or b"")[:WORDS].split(b"\0"))
    return Lineage(process, stat.parent, stat.session, words[:-1] if words[-1:] == ("",) else words) if is_alive(process) else None
