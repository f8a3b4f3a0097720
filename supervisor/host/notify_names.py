"""What sd_notify(3) calls things in the environment; apart from `sd_notify.py`, for every command is started with a look at these."""

from __future__ import annotations

import os
from typing import Final

SOCKET: Final = "NOTIFY_SOCKET"
"""The environment variable with the address to send to: a path, or an abstract name after ``@``."""
WATCHDOG_USEC: Final = "WATCHDOG_USEC"
"""The environment variable with the microseconds within which a ``WATCHDOG=1`` is expected, again and again."""
WATCHDOG_PID: Final = "WATCHDOG_PID"
"""The environment variable with the pid of the process that `WATCHDOG_USEC` is meant for."""
VARIABLES: Final = (SOCKET, WATCHDOG_USEC, WATCHDOG_PID)
"""What a service manager tells its service, and nobody below that."""


def hidden() -> dict[str, None]:
    """For the environment of a child: without what a service manager above us has told us alone."""
    return {name: None for name in VARIABLES if name in os.environ}
