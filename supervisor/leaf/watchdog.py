"""When a process has been silent for too long, and what happens to it then."""

from __future__ import annotations

import math
import signal
from typing import Final

import anyio
import attrs

from ..core.exits import Exit, ExitKind
from .running import RunningCommand

ABORT_TIME: Final = 5.0
"""Seconds between the SIGABRT to a process that was silent for too long, so that it can leave a core or a traceback, and its kill."""


@attrs.define
class Watchdog:
    """When silence is too long. No effects: time is an argument, in monotonic seconds.

    Attributes:
        period: How long a silence may last; ``math.inf`` is off.
        deadline: Until when something must be heard; ``math.inf`` while nobody watches.
    """

    period: float
    deadline: float = math.inf
    running: bool = False

    def begin(self, now: float) -> None:
        """The command is up: from now on it is watched."""
        self.running = True
        self.deadline = now + self.period

    def stop(self) -> None:
        """The command was asked to end: that has a deadline of its own."""
        self.running = False
        self.deadline = math.inf

    def ping(self, now: float) -> None:
        """It was heard."""
        if self.running:
            self.deadline = now + self.period

    def change(self, period: float, now: float) -> None:
        """It wants another period, which begins now."""
        self.period = period
        self.ping(now)

    def extend(self, until: float) -> None:
        """It wants time: its silence lasts until then at least."""
        if self.running:
            self.deadline = max(self.deadline, until)

    def is_silent(self, now: float) -> bool:
        """Whether the silence is too long.

        When we look much later than at the deadline it was we who did not run: stopped by a Ctrl-Z, perhaps, together with the command.
        It is watched anew then.
        """
        if now < self.deadline:
            return False
        if now - self.deadline > self.period / 10:
            self.begin(now)
            return False
        return True


def unheard(period: float) -> str:
    """What a silence of so many seconds is called."""
    return f"no message within {period:g} s"


async def put_down(life: RunningCommand, silence: str) -> None:
    """End a life that was silent for too long: as a crash with that reason, and with time to leave a core or a traceback.

    **Cancellation:** when it is dead; this does not return.
    """
    verdict = Exit(ExitKind.ABNORMAL, f"watchdog: {silence}")
    life.condemn(verdict, by=signal.SIGABRT)
    await anyio.sleep(ABORT_TIME)
    life.condemn(verdict)
    await anyio.sleep_forever()
