"""Whether a new life holds what it was started for: judged by its memory, and by nothing that can be said at once.

A controlled restart is a success when the life has been up for ``stability_period`` and is below critical. It is a failure when memory
is back at critical within ``ineffective_window``, or was never below warning until it was judged: then the leaf weighs that much from the
start, and a restart frees nothing. What a leaf weighs from the start is its floor; thresholds below it could only make it loop.
"""

from __future__ import annotations

from enum import Enum

import attrs

from supervisor import Value, evolve

from .effects import Helped, Ineffective
from .pressure import MemoryState, Thresholds
from .text import mib


class Judgement(Enum):
    """What is said of a controlled restart."""

    HELPED = "helped"
    BACK_AT_CRITICAL = "back_at_critical"
    STARTS_ABOVE_WARNING = "starts_above_warning"


@attrs.frozen(repr=False, eq=False)
class Probation(Value):
    """A life on trial.

    Attributes:
        began: When it began, monotonic.
        controlled: Whether a controlled restart began it.
        lowest_bytes: The least memory seen until it was settled; None before its first sample.
        settled: Whether it has been up for the stability period, so that its floor is known.
        failed: Whether its restart was said to have failed.
    """

    began: float
    controlled: bool = False
    lowest_bytes: int | None = None
    settled: bool = False
    failed: bool = False


def observe(
    probation: Probation, total_bytes: int, level: MemoryState, thresholds: Thresholds, *, stability: float, window: float, now: float
) -> tuple[Probation, Judgement | None]:
    """Take one sample of the life.

    Args:
        probation: What is known of it.
        total_bytes: Its memory.
        level: The level of that.
        thresholds: Those in force.
        stability: Seconds after which it is judged.
        window: Seconds within which critical is a failure of the restart.
        now: Monotonic seconds.

    Returns:
        What is known now, and what is to be said of its restart, once each.
    """
    age, critical = now - probation.began, level.reaches(MemoryState.CRITICAL)
    judged: Judgement | None = None
    if not probation.settled:
        lowest = total_bytes if probation.lowest_bytes is None else min(total_bytes, probation.lowest_bytes)
        if age >= stability or lowest != probation.lowest_bytes:
            probation = evolve(probation, lowest_bytes=lowest, settled=age >= stability)
        if probation.settled:
            judged = Judgement.HELPED if lowest < thresholds.warning_bytes else Judgement.STARTS_ABOVE_WARNING
    if critical:
        judged = Judgement.BACK_AT_CRITICAL if age <= max(window, stability) else None
    if not probation.controlled or probation.failed:
        return probation, None
    if judged is None or judged is Judgement.HELPED:
        return probation, judged
    return evolve(probation, failed=True), judged


def said(judgement: Judgement, probation: Probation, total_bytes: int, thresholds: Thresholds, now: float) -> Helped | Ineffective:
    """A judgement as an effect, with its reason in words."""
    if judgement is Judgement.HELPED:
        return Helped()
    if judgement is Judgement.BACK_AT_CRITICAL:
        after, critical = f"{now - probation.began:.1f} s after the restart", mib(thresholds.critical_bytes)
        return Ineffective(f"memory is at {mib(total_bytes)} {after}, critical is {critical}", total_bytes)
    lowest, warning = mib(probation.lowest_bytes), mib(thresholds.warning_bytes)
    return Ineffective(f"memory was never below {lowest} since the restart, warning is {warning}", total_bytes)


def floor_of(before: Probation, after: Probation, configured: Thresholds, known: int | None) -> int | None:
    """What the leaf weighs from the start, where that is above its warning: a failed restart shows it, and a lighter life takes it back."""
    lowest = after.lowest_bytes
    if lowest is not None and lowest < configured.warning_bytes:
        return None if after.settled else known
    return lowest if after.failed and not before.failed else known


def raised(configured: Thresholds, floor_bytes: int | None) -> Thresholds:
    """Thresholds that leave a leaf room above what it weighs from the start. Emergency stays where it was asked for, and critical below it.

    Args:
        configured: What was asked for; nothing is ever below it.
        floor_bytes: What the leaf weighs; None when that is not known.
    """
    if floor_bytes is None:
        return configured
    emergency = configured.emergency_bytes
    critical = max(configured.critical_bytes, min(floor_bytes * 3 // 2, emergency * 19 // 20))
    warning = max(configured.warning_bytes, min(floor_bytes * 5 // 4, critical - 1))
    return evolve(configured, warning_bytes=warning, critical_bytes=critical)
