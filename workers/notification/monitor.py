"""Events to Claude MPM's monitor: one request for each, one at a time, within its time; one that is gone is left alone for a while.

Where nobody has said where it is, it is looked for when there is something to tell, now and then: most runs never have one, and then
nothing of what is said to one is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import anyio

from supervisor import Event, EventsLost, Record

from .channel import Channel
from .place import MonitorPlace, is_listened_to

TIMEOUT: Final = 2.0
"""Seconds that one request may take, as Claude MPM's own hooks have it."""

LONGEST_PAUSE: Final = 60.0
"""Seconds for which a monitor that is gone is left alone at most; 1 after the first failure, and twice as long after each further one."""

LOOK: Final = 60.0
"""Seconds between two looks for a monitor that nobody has said the place of; twice as long after each one that found somebody else."""

LONGEST_LOOK: Final = 3600.0


class MonitorChannel(Channel):
    """The channel to a monitor.

    Args:
        place: Where it is.
        emit: Publishes the event of a failure.
        about: The conversation and the working directory that a path is about, each None where there is none.
        is_taken: Whether somebody listens on a port, who could be a monitor. Blocks for a few calls of the system.
    """

    patience = TIMEOUT

    def __init__(
        self,
        place: MonitorPlace,
        emit: Callable[[Event], object],
        about: Callable[[tuple[str, ...]], tuple[str | None, str | None]],
        is_taken: Callable[[int], bool] = is_listened_to,
    ) -> None:
        super().__init__("monitor", self._post, emit, wants=self._is_wanted)
        self._place, self._about, self._is_taken = place, about, is_taken
        self._known = self._found = place.is_configured
        self._pause, self._look_at = LOOK, -math.inf
        self._failures, self._again = 0, 0.0
        self._unsaid: tuple[int, int] | None = None

    def _is_wanted(self, record: Record) -> bool:
        if not self._found and not self._look(record.monotonic):
            return False
        from .envelope import is_worth

        return is_worth(record.event.name, record.event.path)

    def _look(self, now: float) -> bool:
        """Whether somebody listens there; asked again `LOOK` after the last time at the earliest, and when there is something to tell."""
        if now < self._look_at:
            return False
        self._look_at = now + self._pause
        self._found = self._is_taken(self._place.port)
        return self._found

    async def _post(self, record: Record) -> str | None:
        from .posting import BROKEN, is_there, lost, post, why  # most runs have nobody to post to

        if self._place.trouble:
            self._lose(record)
            return self._place.trouble
        if anyio.current_time() < self._again:
            self._lose(record)
            return self.trouble
        try:
            with anyio.fail_after(TIMEOUT):
                if not self._known:
                    self._known = await is_there(self._place)
                if self._known:
                    if self._unsaid is not None:
                        await post(self._place, lost(record, *self._unsaid), *self._about(record.event.path))
                        self._unsaid = None
                    await post(self._place, record, *self._about(record.event.path))
        except BROKEN as error:
            if not self._known:
                self._leave_alone()
                return None
            self._lose(record)
            self._again = anyio.current_time() + min(LONGEST_PAUSE, 2.0 ** min(self._failures, 10))
            self._failures += 1
            return f"{self._place.url}: {why(error, TIMEOUT)}"
        if self._known:
            self._failures = 0
        else:
            self._leave_alone()
        return None

    def _leave_alone(self) -> None:
        """Somebody else listens there, who is told nothing; that is no failure, and soon asked again it would say the same."""
        pause = min(self._pause * 2, LONGEST_LOOK)
        self._look_at += pause - self._pause
        self._found, self._pause = False, pause
        self._waiting.clear()

    def _lose(self, record: Record) -> None:
        """One that is lost is counted, and before the next one that arrives the monitor is told which are missing."""
        event = record.event
        first, last = (event.first, event.last) if isinstance(event, EventsLost) else (record.seq, record.seq)
        self.lost += 0 if isinstance(event, EventsLost) else 1  # those were counted when they found no room
        self._unsaid = (first if self._unsaid is None else min(first, self._unsaid[0]), last)
