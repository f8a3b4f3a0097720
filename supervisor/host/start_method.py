"""How workers are started on this host. Apart from the fork server itself, so that the question costs no event loop."""

from __future__ import annotations

import sys
from functools import cache

from . import reaper


@cache
def worker_start_method() -> str:
    """How workers are started on this host: ``fork_server``, or ``fresh`` for an interpreter of its own for each, where that cannot be."""
    return "fork_server" if sys.platform == "linux" and reaper.can_adopt() else "fresh"
