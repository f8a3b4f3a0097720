"""What of this process a worker in a process of its own takes over."""

from __future__ import annotations

import os
import sys
from typing import Literal


def event_loop() -> Literal["trio", "asyncio"]:
    """The library whose event loop runs here."""
    trio = sys.modules.get("trio")
    return "trio" if trio is not None and trio.lowlevel.in_trio_run() else "asyncio"


def working_directory() -> str:
    """Where we are; empty when that was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def log_level() -> int:
    """The level of the root logger, without importing the library of logging."""
    logging = sys.modules.get("logging")
    return 30 if logging is None else int(logging.root.level)
