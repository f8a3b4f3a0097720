"""What is done about a leaf whose memory cannot be read: nothing, or, if that is wanted, a restart after some time.

Nothing here reads a clock or memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor import evolve

from .news import Event, LeafStarted

if TYPE_CHECKING:
    from .guard import Guard


def noted(guard: Guard, event: Event, now: float) -> Guard:
    """Take note of since when this life cannot be seen."""
    if not guard.blind:
        return guard if guard.blind_since is None else evolve(guard, blind_since=None)
    if guard.blind_since is None or isinstance(event, LeafStarted):
        return evolve(guard, blind_since=now)
    return guard


def is_due(guard: Guard, now: float) -> bool:
    """Whether a restart is to be asked for because nothing has been seen for too long."""
    moment = wake(guard)
    return moment is not None and now >= moment


def wake(guard: Guard) -> float | None:
    """When that is: at an idle moment, at the latest after the grace; None when it is not wanted."""
    after = guard.policy.blind_restart_after
    if not after or guard.blind_since is None or not guard.alive or guard.is_under_way or guard.blocked or guard.reported is not None:
        return None
    moment = guard.blind_since + after + (0.0 if guard.idle else guard.policy.critical_grace)
    return moment if guard.not_before is None else max(moment, guard.not_before)


def reason(guard: Guard, now: float) -> str:
    """Why, in words."""
    since = now if guard.blind_since is None else guard.blind_since
    return f"memory could not be read for {now - since:.0f} s"
