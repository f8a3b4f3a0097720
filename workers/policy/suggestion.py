"""Which thresholds the observed workload asks for, and why.

Imported when somebody asks; what is kept until then is in `workload.py`.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from supervisor import Value, duration, format_bytes

from .outlook import about
from .pressure import MemoryState, Thresholds
from .workload import Workload

OBSERVED: Final = 300.0
"""Seconds that must have been observed before anything is suggested."""
SAMPLES: Final = 10
SHARES: Final = {MemoryState.WARNING: 0.7, MemoryState.CRITICAL: 0.8, MemoryState.EMERGENCY: 0.9}
"""Shares of the limit that no suggestion goes beyond."""
ROOMY: Final = 0.65
"""Share of the limit up to which a leak is given room, since each restart costs a turn."""
APART: Final = 3600.0
"""Seconds between two restarts of a leaking leaf that are worth that room."""
TOO_OFTEN: Final = 600.0
"""Seconds between two restarts below which the configured critical looks wrong."""
NOTICE: Final = 300.0
"""Seconds from warning to critical that a growing leaf should have: to capture, and to find an idle moment."""


@attrs.frozen(repr=False, eq=False)
class Suggestion(Value):
    """Thresholds, and why.

    Attributes:
        thresholds: What is suggested.
        configured: What is configured.
        reasons: Why, a sentence each.
        faults: What is wrong with the configured ones, a sentence each; empty: nothing is.
    """

    thresholds: Thresholds
    configured: Thresholds
    reasons: tuple[str, ...]
    faults: tuple[str, ...]

    def lines(self) -> list[str]:
        """For a person: the three thresholds, then why, then what is wrong with the configured ones."""
        rows = [
            f"{level.value:<10}{format_bytes(self.thresholds.enter_bytes(level)):>12}"
            f"   (configured: {format_bytes(self.configured.enter_bytes(level))})"
            for level in _LEVELS
        ]
        return [*rows, *(f"because {reason}" for reason in self.reasons), *(f"as configured, {fault}" for fault in self.faults)]

    def as_data(self) -> dict[str, Any]:
        """For a program: sizes in bytes."""
        return {
            "suggested": {f"{level.value}_bytes": self.thresholds.enter_bytes(level) for level in _LEVELS},
            "configured": {f"{level.value}_bytes": self.configured.enter_bytes(level) for level in _LEVELS},
            "reasons": list(self.reasons),
            "faults": list(self.faults),
        }

    def summary(self) -> str | None:
        """One line about thresholds that look wrong; None when they do not."""
        if not self.faults:
            return None
        marks = ", ".join(f"{level.value} {format_bytes(self.thresholds.enter_bytes(level))}" for level in _LEVELS)
        return f"{self.faults[0]}; suggested: {marks}"


def shortage(workload: Workload) -> str | None:
    """Why nothing is suggested yet; None when enough was observed."""
    if workload.samples >= SAMPLES and workload.seconds >= OBSERVED:
        return None
    return (
        f"too little was observed yet: {workload.samples} samples over {duration(workload.seconds)}; "
        f"it takes {SAMPLES} samples over {duration(OBSERVED)}"
    )


def suggest(workload: Workload, configured: Thresholds, limit_bytes: int | None = None) -> Suggestion | None:
    """What the thresholds should be.

    Args:
        workload: What was observed.
        configured: What is configured.
        limit_bytes: How much memory this host, or its control group, has; None when that is not known.

    Returns:
        None when too little was observed: less than `OBSERVED` seconds, or fewer than `SAMPLES` samples.
    """
    if shortage(workload) is not None:
        return None
    start, half, most = workload.start_bytes, workload.percentile(0.5), workload.percentile(0.99)
    seen = (
        f"half of the time it needs up to {format_bytes(half)}, 99 % of it up to {format_bytes(most)}, "
        f"and {format_bytes(workload.peak_bytes)} at most"
    )
    reasons = [seen, f"a new life needs {format_bytes(start)} in its first two minutes"]
    if workload.growth > 0:
        warning, critical, emergency = _leaking(workload, start, half, limit_bytes, reasons)
    else:
        # what it needs now and then is no leak: the peak is to fit below warning
        warning = max(start, workload.peak_bytes) * 5 // 4
        critical, emergency = warning * 5 // 4, warning * 3 // 2
        reasons.append("no lasting growth was seen, so warning is 25 % above its peak")
    suggested = _within(warning, critical, emergency, limit_bytes, reasons)
    return Suggestion(suggested, configured, tuple(reasons), tuple(_faults(workload, configured, limit_bytes)))


def _leaking(workload: Workload, start: int, half: int, limit_bytes: int | None, reasons: list[str]) -> tuple[int, int, int]:
    rate = workload.growth
    room = int(start + rate * APART)
    if limit_bytes is not None:
        room = min(room, int(limit_bytes * ROOMY))
    notice = int(rate * NOTICE)
    # the median of a leaking leaf says how long it leaked; what a new life needs is the floor
    critical = max(start * 3 // 2 + notice, room)
    warning = max(start * 5 // 4, min(critical - notice, critical * 4 // 5))
    emergency = critical + max(critical // 5, int(rate * NOTICE / 2))
    every = (critical - start) / rate
    reasons.append(
        f"it grows by up to {format_bytes(int(rate * 60))} a minute: critical gives it about {about(every)} between two restarts, "
        f"and warning comes at least {about((critical - warning) / rate)} earlier"
    )
    return warning, critical, emergency


def _within(warning: int, critical: int, emergency: int, limit_bytes: int | None, reasons: list[str]) -> Thresholds:
    """In order, and below the limit."""
    wanted = dict(zip(_LEVELS, (warning, critical, emergency), strict=True))
    if limit_bytes is not None:
        most = {level: max(3, int(limit_bytes * SHARES[level])) for level in _LEVELS}
        if any(wanted[level] > most[level] for level in _LEVELS):
            reasons.append(
                f"this host has {format_bytes(limit_bytes)}, of which {SHARES[MemoryState.EMERGENCY]:.0%} is the most for emergency"
            )
            wanted = {level: min(wanted[level], most[level]) for level in _LEVELS}
    low = max(1, wanted[MemoryState.WARNING])
    middle = max(low + 1, wanted[MemoryState.CRITICAL])
    return Thresholds(low, middle, max(middle + 1, wanted[MemoryState.EMERGENCY]))


def _faults(workload: Workload, configured: Thresholds, limit_bytes: int | None) -> list[str]:
    """The gravest first."""
    faults = []
    start, half = workload.start_bytes, workload.percentile(0.5)
    critical = configured.critical_bytes
    if start >= critical:
        faults.append(
            f"critical ({format_bytes(critical)}) is no more than a new life needs ({format_bytes(start)}): a restart cannot help"
        )
    elif workload.growth > 0 and (every := (critical - start) / workload.growth) < TOO_OFTEN:
        faults.append(f"critical ({format_bytes(critical)}) leaves a new life about {about(every)} until the next restart")
    if limit_bytes is not None and configured.emergency_bytes > limit_bytes:
        faults.append(
            f"emergency ({format_bytes(configured.emergency_bytes)}) is above all the memory there is ({format_bytes(limit_bytes)})"
        )
    if half >= configured.warning_bytes and start < critical:
        faults.append(f"warning ({format_bytes(configured.warning_bytes)}) is passed half of the time ({format_bytes(half)})")
    return faults


_LEVELS: Final = (MemoryState.WARNING, MemoryState.CRITICAL, MemoryState.EMERGENCY)
