"""How much of the event loop's time all clients together may take, as a leaky bucket. Pure: time is an argument."""

from __future__ import annotations

from typing import Final

SHARE: Final = 0.1
BURST: Final = 0.25

ACCEPTED: Final = 0.0005
RECEIVED: Final = 0.00005
CALLED: Final = 0.0002
"""Seconds that are charged for what is not measured: a connection, a read, a call beside its reading and writing."""


class Pace:
    """Work is charged in seconds of the event loop's time, and leaks away at `share` of real time.

    Args:
        share: Ratio of the time that work may take in the long run.
        burst: Seconds of work that need not wait.
    """

    def __init__(self, share: float = SHARE, burst: float = BURST) -> None:
        self._share, self._burst = share, burst
        self._level = 0.0
        self._at = 0.0

    def charge(self, seconds: float, now: float) -> None:
        """Work was done."""
        self._leak(now)
        self._level += seconds

    def delay(self, now: float) -> float:
        """Seconds until more work may be done; 0 when it may be done now."""
        self._leak(now)
        return max(0.0, self._level - self._burst) / self._share

    def _leak(self, now: float) -> None:
        self._level = max(0.0, self._level - max(0.0, now - self._at) * self._share)
        self._at = now
