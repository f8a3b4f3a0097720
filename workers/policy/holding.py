"""Holding a leaf in an emergency: long enough to capture its state, and never longer than that.

A leaf that races past emergency is held, then captured, then restarted. One that may not be restarted is captured and runs on; it is
stopped when the host is about to run out of memory. Nothing here reads a clock or memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from supervisor import Value, evolve

from .effects import Effect, Hold, Release, Stop
from .news import Event, LeafStarted, Prepared, RestartAdmitted, RestartPostponed, RestartRefused, Sampled
from .pressure import MemoryState

if TYPE_CHECKING:
    from .guard import Guard


@attrs.frozen(repr=False, eq=False)
class Holding(Value):
    """What is remembered of it.

    Attributes:
        until: When a hold ends at the latest, monotonic; None when the leaf is not held.
        spent: Whether this emergency has had its hold.
        stopped: Whether it was said that the leaf is to be stopped.
    """

    until: float | None = None
    spent: bool = False
    stopped: bool = False


UNHELD: Final = Holding()
"""Of a leaf that is not held, and has not been in this emergency; one object, so that it is cheap to see that nothing has changed."""


def step(guard: Guard, event: Event, now: float, effects: list[Effect]) -> Guard:
    """Take an event that the decision has taken; the effects come before those of a restart."""
    if guard.policy.dry_run or not guard.policy.hold_for:
        return guard
    held = guard.holding
    match event:
        case _ if not guard.alive or isinstance(event, LeafStarted):
            held = UNHELD  # a hold ends with the life
        case Sampled() if event.generation == guard.generation and guard.ending.under_way:
            if held.until is not None:  # who is frozen cannot end; and there will be an emergency again, or none
                effects.append(Release("a tool is ended in its place"))
                held = UNHELD
        case Sampled() if event.generation == guard.generation:
            held = _sampled(guard, event, now, effects)
            if held.until is not None and guard.holding.until is None and _is_refused(guard, now):
                guard = attrs.evolve(guard, prepared=False)  # no restart will capture what it is held for
        case RestartAdmitted() if held.until is not None:
            held = evolve(held, until=now + guard.policy.hold_for)  # the capture begins now
        case RestartRefused() | RestartPostponed() if held.until is not None and not guard.is_under_way:
            guard = evolve(guard, prepared=False)  # what a restart would have captured is captured without one
        case Prepared() if held.until is not None and not guard.is_under_way:
            held = _released(held, "its state was captured" if event.ok else "its state could not be captured", effects)
        case _:
            pass
    if held.until is not None and now >= held.until:
        held = _released(held, f"it was held for {guard.policy.hold_for:g} s", effects)
    return guard if held is guard.holding else evolve(guard, holding=held)


def wake(guard: Guard) -> float | None:
    """When a hold has to be ended, if nothing else happens before."""
    return guard.holding.until


def _sampled(guard: Guard, sample: Sampled, now: float, effects: list[Effect]) -> Holding:
    held = guard.holding
    if guard.level is not MemoryState.EMERGENCY:
        if held.until is not None or sample.held:
            effects.append(Release("its memory is below emergency"))
        return UNHELD
    if held.until is None and not held.spent:
        effects.append(Hold(guard.policy.hold_for, sample.total_bytes))
        return Holding(until=now + guard.policy.hold_for)
    if held.until is None and sample.held:
        effects.append(Release("it was held before"))
    if _is_refused(guard, now) and not guard.is_under_way and not held.stopped and _is_short(guard, sample.host_available):
        reason = f"the host has {_mib(sample.host_available)} of memory left, less than its reserve of {_mib(guard.policy.host_reserve)}"
        effects.append(Stop(reason))
        return evolve(held, stopped=True)
    return held


def _is_refused(guard: Guard, now: float) -> bool:
    """Whether protection has said that there is no restart now."""
    return guard.blocked or (guard.not_before is not None and now < guard.not_before)


def _is_short(guard: Guard, available: int | None) -> bool:
    return available is not None and available < guard.policy.host_reserve


def _released(held: Holding, reason: str, effects: list[Effect]) -> Holding:
    effects.append(Release(reason))
    return evolve(held, until=None, spent=True)


def _mib(amount: int | None) -> str:
    return "unknown" if amount is None else f"{amount / (1 << 20):.0f} MiB"
