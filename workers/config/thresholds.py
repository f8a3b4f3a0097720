"""From thresholds as they were given to thresholds in bytes."""

from __future__ import annotations

from typing import Final

from supervisor import Size, format_bytes

from ..policy.errors import PolicyError, ThresholdOrder
from ..policy.pressure import Thresholds
from .model import MemoryThresholds

GIB: Final = 1 << 30
DEFAULTS: Final = {"warning": (12 * GIB, 0.50), "critical": (15 * GIB, 0.65), "emergency": (18 * GIB, 0.75)}


def resolve(thresholds: MemoryThresholds, limit_bytes: int | None) -> Thresholds:
    """Thresholds in bytes.

    One that is not given is the lower of its default size and its default share of `limit_bytes`. Around a given critical,
    warning is 80 % and emergency 120 % of it where nothing else was given, and also wherever a default would break the
    order. A given warning or emergency moves a default critical out of its way: to 125 % of warning, to 1/1.2 of emergency,
    or to the middle of the two.

    Raises:
        ThresholdOrder: What was given is not in order.
        PolicyError: A share of an unknown limit, or a threshold of less than one byte.
    """
    given: dict[str, int] = {}
    for name in DEFAULTS:
        wanted: Size | None = getattr(thresholds, name)
        if wanted is not None:
            amount = wanted.of(limit_bytes)
            if amount is None:
                raise PolicyError(
                    f"{name} = {wanted}: this host's memory is unknown; write a size such as {format_bytes(DEFAULTS[name][0])}"
                )
            given[name] = amount
    default = {name: min(most, int(share * limit_bytes)) if limit_bytes else most for name, (most, share) in DEFAULTS.items()}
    low, high = given.get("warning"), given.get("emergency")
    if "critical" in given:
        middle = given["critical"]
    elif (low is None or low < default["critical"]) and (high is None or default["critical"] < high):
        middle = default["critical"]
    elif low is not None and high is not None:
        if low >= high:
            raise ThresholdOrder("warning", low, "emergency", high)
        middle = (low + high) // 2
    else:
        middle = max(low + 1, low * 5 // 4) if low is not None else (high or 0) * 5 // 6
    alone = list(given) == ["critical"]
    if low is None:
        low = default["warning"] if not alone and default["warning"] < middle else middle * 4 // 5
    if high is None:
        high = default["emergency"] if not alone and default["emergency"] > middle else max(middle + 1, middle * 6 // 5)
    return Thresholds(low, middle, high)
