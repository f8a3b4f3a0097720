"""Exponential backoff with a cap; the jitter comes from a number that is passed in."""

from __future__ import annotations

import math

import attrs

from .errors import InvalidField, is_duration
from .value import Value


@attrs.frozen(repr=False, eq=False)
class Backoff(Value):
    """Pauses that grow from `initial` by `multiplier` up to `maximum`.

    Attributes:
        initial: Seconds of the first pause.
        multiplier: Growth per pause, >= 1.
        maximum: Seconds that no pause exceeds, jitter included.
        jitter: Ratio 0 to 1: a pause of d becomes one between d * (1 - jitter) and d * (1 + jitter).
    """

    initial: float = 1.0
    multiplier: float = 2.0
    maximum: float = 60.0
    jitter: float = 0.0

    def __attrs_post_init__(self) -> None:
        if not is_duration(self.initial) or self.initial == math.inf:
            raise InvalidField("initial", self.initial, "seconds >= 0", where="backoff")
        if not is_duration(self.multiplier) or not 1 <= self.multiplier < math.inf:
            raise InvalidField("multiplier", self.multiplier, "a factor >= 1", where="backoff")
        if not is_duration(self.maximum) or not self.initial <= self.maximum < math.inf:
            raise InvalidField("maximum", self.maximum, f"seconds >= initial ({self.initial:g})", where="backoff")
        if not is_duration(self.jitter) or self.jitter > 1:
            raise InvalidField("jitter", self.jitter, "a ratio from 0 to 1", where="backoff")

    def delay(self, attempt: int, u: float = 0.5) -> float:
        """The pause after the attempt numbered `attempt` from 0, in seconds.

        Args:
            attempt: How many attempts have been made in a row before this one.
            u: A number in [0, 1) that places the pause within the jitter; 0.5 is the middle.
        """
        if self.initial == 0:
            return 0.0
        try:
            growth = float(self.multiplier) ** attempt
        except OverflowError:
            growth = math.inf
        return min(self.maximum, min(self.maximum, self.initial * growth) * (1 + self.jitter * (2 * u - 1)))
