"""What a policy refuses to be made of."""

from __future__ import annotations


class PolicyError(ValueError):
    """A policy that cannot be."""


class InvalidPolicy(PolicyError):
    """One field of a policy has an illegal value."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field, self.value, self.expected = field, value, expected
        super().__init__(f"{field} = {value!r}: expected {expected}")


class ThresholdOrder(PolicyError):
    """Two neighbouring thresholds are not in order; `lower` and `upper` are the names of the pair."""

    def __init__(self, lower: str, lower_bytes: int, upper: str, upper_bytes: int) -> None:
        self.lower, self.lower_bytes, self.upper, self.upper_bytes = lower, lower_bytes, upper, upper_bytes
        super().__init__(f"{lower} = {lower_bytes} must be below {upper} = {upper_bytes} (bytes)")
