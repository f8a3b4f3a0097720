"""A circuit breaker over restarts: closed, open, half-open.

Time alone leads from open to half-open, and half-open admits exactly one trial. Nothing here reads a clock: the state of a
circuit is a function of its history and `now`.
"""

from __future__ import annotations

import math
from enum import Enum

import attrs

from .errors import InvalidField, is_count, is_duration
from .value import Value, evolve


class CircuitState(Enum):
    """Closed admits, open refuses, half-open admits one trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@attrs.frozen(repr=False, eq=False)
class Breaker(Value):
    """The policy of a circuit.

    Attributes:
        failures: Failed attempts in a row that open the circuit, >= 1.
        reset: Seconds for which an open circuit refuses, before it is half-open.
    """

    failures: int = 3
    reset: float = 1800.0

    def __attrs_post_init__(self) -> None:
        if not is_count(self.failures, least=1):
            raise InvalidField("failures", self.failures, "an integer >= 1", where="breaker")
        if not is_duration(self.reset) or not 0 < self.reset < math.inf:
            raise InvalidField("reset", self.reset, "seconds > 0", where="breaker")


@attrs.frozen(repr=False, eq=False)
class Circuit(Value):
    """The history of one circuit.

    Attributes:
        failures: Failed attempts since the last success.
        reopens: When an open circuit becomes half-open; None while it is closed.
        trial: Whether the one trial of the half-open circuit is under way.
    """

    failures: int = 0
    reopens: float | None = None
    trial: bool = False

    def state(self, now: float) -> CircuitState:
        """What the circuit is at `now`."""
        if self.reopens is None:
            return CircuitState.CLOSED
        return CircuitState.HALF_OPEN if now >= self.reopens else CircuitState.OPEN

    def permits(self, now: float) -> bool:
        """Whether an attempt would be admitted at `now`."""
        return self.reopens is None or (now >= self.reopens and not self.trial)

    def attempt(self, now: float) -> Circuit:
        """The circuit after an admitted attempt: a half-open one has spent its trial."""
        return evolve(self, trial=True) if self.state(now) is CircuitState.HALF_OPEN else self

    def released(self) -> Circuit:
        """The circuit after an attempt that was cut short: a half-open one may try again."""
        return evolve(self, trial=False)

    def succeeded(self) -> Circuit:
        """The circuit after a success: closed, with no failures."""
        return CLOSED

    def failed(self, policy: Breaker, now: float) -> Circuit:
        """The circuit after a failed attempt: open if that was one too many, or if it was the trial."""
        failures = self.failures + 1
        if self.trial or failures >= policy.failures:
            return evolve(self.trip(policy, now), failures=failures)
        return evolve(self, failures=failures)

    def trip(self, policy: Breaker, now: float) -> Circuit:
        """The circuit opened at `now`, whatever it was."""
        return Circuit(failures=self.failures, reopens=now + policy.reset)


CLOSED = Circuit()
