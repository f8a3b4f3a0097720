"""Ending a runaway tool in place of restarting the leaf, where that is what helps: the session goes on, and its turn with it.

A restart for the leaf's own memory is due, at critical or worse, and the parts that `attribution.culprits` finds are why: they are ended,
whatever restart protection says: tools in the middle of a turn (that is what saves the turn), MCP servers between two turns, as a
restart would be, because a call may be under way. If the leaf is at critical after that all the same, what is left is looked at once
more; where nothing to be ended is found, the restart follows.

The parts were looked at for some sample, perhaps not the last one, and they grow. So before anything is ended, or restarted, the tree is
looked at once more (`effects.Look`): what is decided, is decided on that look, and no more is ended than it says is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from supervisor import Value, evolve

from .effects import Effect, EndTools
from .news import Event, LeafExited, LeafStarted, Sampled, ToolsEnded
from .pressure import MemoryState
from .text import mib

if TYPE_CHECKING:
    from supervisor import ProcessId

    from .attribution import Part
    from .guard import Guard

TRIES: Final = 3
"""How often tools are ended without the leaf having been below critical in between."""


@attrs.frozen(repr=False, eq=False)
class Ending(Value):
    """What is remembered of it.

    Attributes:
        under_way: Whether tools are being ended.
        tried: The heads of those that were ended since the leaf was below critical.
        tries: How often that was.
    """

    under_way: bool = False
    tried: tuple[ProcessId, ...] = ()
    tries: int = 0


UNENDED: Final = Ending()
"""Of a leaf none of whose tools was ended; one object, so that it is cheap to see that nothing has changed."""


def step(guard: Guard, event: Event) -> Guard:
    """Take note of an event that the decision has taken."""
    state = guard.ending
    match event:
        case LeafStarted() | LeafExited() if not guard.alive or guard.pressure.fresh:
            return guard if state is UNENDED and guard.attribution is None else evolve(guard, ending=UNENDED, attribution=None)
        case Sampled() if event.generation == guard.generation and guard.alive:
            if guard.attribution is not event.attribution:
                guard = evolve(guard, attribution=event.attribution)
            if not state.under_way and not guard.level.reaches(MemoryState.CRITICAL):
                return guard if state is UNENDED else evolve(guard, ending=UNENDED)
        case ToolsEnded() if state.under_way:
            # what made a restart due is gone or is not: the next samples say
            due = guard.due_since if guard.pressed else None
            state = evolve(state, under_way=False)
            return evolve(guard, ending=state, attribution=None, critical_run=0, due_since=due, outlook=guard.outlook.anew())
    return guard


def culprits_of(guard: Guard, now: float) -> tuple[Part, ...]:
    """Which parts of a leaf that needs a restart are ended in its place, if they hold what was seen last; empty where none is."""
    state, policy, attribution, total = guard.ending, guard.policy, guard.attribution, guard.pressure.total_bytes
    assert attribution is not None and total is not None
    if not policy.end_tools or policy.dry_run or guard.is_under_way or state.under_way or state.tries >= TRIES:
        return ()
    if not guard.level.reaches(MemoryState.CRITICAL):
        return ()  # it is merely foreseen
    from .attribution import ENDABLE, Kind, culprits  # here: most leaves have no tools

    waits = not guard.idle and guard.level is not MemoryState.EMERGENCY
    waits = waits and (guard.due_since is None or now < guard.due_since + policy.critical_grace)
    left = tuple(part for part in attribution.parts if part.head not in state.tried)
    return culprits(left, total, guard.pressure.thresholds, (Kind.TOOL,) if waits else ENDABLE)


def act(guard: Guard, now: float, effects: list[Effect]) -> Guard:
    """End them, now that what each part holds is known; before holding, which is for what no tool is the reason of."""
    chosen, state, total = culprits_of(guard, now), guard.ending, guard.pressure.total_bytes
    if not chosen:
        return guard
    assert total is not None
    urgent = guard.level is MemoryState.EMERGENCY
    effects.append(EndTools(chosen, _reason(chosen, total, guard.level), urgent, guard.level, total))
    tried = (*state.tried, *(part.head for part in chosen))
    return evolve(guard, ending=Ending(under_way=True, tried=tried, tries=state.tries + 1))


def _reason(chosen: tuple[Part, ...], total_bytes: int, level: MemoryState) -> str:
    held = sum(part.held_bytes for part in chosen)
    return f"memory is at {mib(total_bytes)}, {level.value}, {mib(held)} of it in {', '.join(part.role.in_words() for part in chosen)}"
