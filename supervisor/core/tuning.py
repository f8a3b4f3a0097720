"""How often a leaf is restarted before its tree gives up, and where that is more than anybody meant.

A supervisor that gives up ends, its own supervisor restarts it with an empty history, and the leaf has its whole budget again. So budgets
multiply down a tree: a leaf that always fails is started (i + 1) times for each supervisor of intensity i above it, all factors together.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final, Protocol, runtime_checkable

import attrs

from .launch import Launch
from .spec import ChildSpec, GiveUp, Restart, SupervisorFlags
from .text import counted, duration
from .value import Value

MANY_RESTARTS: Final = 100
"""Restarts of one leaf in one burst that somebody should have meant."""
MANY_TIMES: Final = 10
"""How many times the largest budget above it a leaf may get through the others, before it is worth a word."""


class Ends(Enum):
    """What becomes of a leaf that never stops failing."""

    GIVES_UP = "gives_up"
    HOLDS = "holds"
    STAYS_DOWN = "stays_down"
    NEVER = "never"


@attrs.frozen(repr=False, eq=False)
class Level(Value):
    """One supervisor above a leaf.

    Attributes:
        path: Of the supervisor.
        flags: Its budget.
        restart: The restart type of the child below it, on the way down to the leaf.
    """

    path: tuple[str, ...]
    flags: SupervisorFlags
    restart: Restart = Restart.PERMANENT


@attrs.frozen(repr=False, eq=False)
class Outlook(Value):
    """What a leaf that never stops failing comes to.

    Attributes:
        ends: The top supervisor gives up; one on the way holds; one on the way is not restarted, and stays down; or it never ends.
        at: The path of the supervisor that this is about.
        starts: How often each supervisor lets its child be started before it gives up, from the leaf up; the leaf is started as often
            as their product says.
        restarts: How often the leaf is started again until the end; ``math.inf`` where there is none.
        seconds: How long that takes; ``math.inf`` where there is no end.
        every: Seconds between two restarts after that: of the trials of a supervisor that holds, or of a loop that never ends. None
            where there are none.
    """

    ends: Ends
    at: tuple[str, ...]
    starts: tuple[int, ...]
    restarts: float
    seconds: float
    every: float | None = None


def outlook(levels: Iterable[Level], life: float = 0.0) -> Outlook:
    """What becomes of a leaf of which every life lasts `life` seconds and ends in a failure.

    Args:
        levels: The supervisors above the leaf, from the one directly above it up to the root.
        life: Seconds from a start to the failure; 0 is the worst burst.

    Pauses are taken in the middle of their jitter; what a restart itself takes is part of `life`.
    """
    starts: tuple[int, ...] = ()
    at: tuple[str, ...] = ()
    for level in levels:
        at, flags = level.path, level.flags
        if not _restarts(level, is_leaf=not starts):
            return Outlook(Ends.STAYS_DOWN, at, starts, math.prod(starts) - 1.0, life)
        admitted = _admitted(flags, life)
        if admitted is None:
            every = max(life, _pause(flags, _LATE, life)) / math.prod(starts)
            return Outlook(Ends.NEVER, at, starts, math.inf, math.inf, every)
        starts = (*starts, admitted + 1)
        # a pause is counted from the attempt on, so the life that it follows is within it; after the last life there is none
        life = life if admitted == 0 else 2 * life + _lasting(flags, admitted - 1, life)
        if flags.on_give_up is GiveUp.HOLD:
            assert flags.breaker is not None  # a supervisor that holds has one
            return Outlook(Ends.HOLDS, at, starts, math.prod(starts) - 1.0, life, flags.breaker.reset)
    return Outlook(Ends.GIVES_UP, at, starts, math.prod(starts) - 1.0, life)


def sustained(levels: Iterable[Level]) -> float:
    """Restarts per second of a leaf that its tree bears for ever: what fails any less often never makes it give up.

    Counts windows alone: backoff makes it less. 0 where the first failure of all is already too much.
    """
    starts, most = 1, 0.0
    for number, level in enumerate(levels):
        flags = level.flags
        if not _restarts(level, is_leaf=number == 0):
            break
        most = max(most, flags.intensity * starts / flags.period)
        starts *= flags.intensity + 1
        if flags.on_give_up is GiveUp.HOLD:
            break
    return most


def _restarts(level: Level, *, is_leaf: bool) -> bool:
    """Whether a child that fails is restarted at all; what a supervisor ends with after it gave up is clean: rule 28."""
    return level.restart is Restart.PERMANENT or (is_leaf and level.restart is Restart.TRANSIENT)


def _admitted(flags: SupervisorFlags, life: float) -> int | None:
    """How many restarts a supervisor admits in a row before it gives up; None if it never does.

    The intervals between attempts never shrink, so the window is fullest at the first moment at which it can be full.
    """
    failures = flags.breaker.failures if flags.breaker is not None and life < flags.stability else None
    if failures is not None and failures <= flags.intensity:
        return failures
    return flags.intensity if _lasting(flags, flags.intensity, life) <= flags.period else failures


def _lasting(flags: SupervisorFlags, attempts: int, life: float) -> float:
    """Seconds from the first attempt until the one after so many: each lasts its life, and at least its pause."""
    total, pause = 0.0, math.nan
    for number in range(attempts):
        before, pause = pause, _pause(flags, number, life)
        if pause == before:
            return total + (attempts - number) * max(life, pause)
        total += max(life, pause)
    return total


def _pause(flags: SupervisorFlags, number: int, life: float) -> float:
    """The cooldown after the attempt of that number, from 0; a life that lasts ends the growth."""
    if flags.backoff is None:
        return 0.0
    return flags.backoff.delay(0 if life >= flags.stability else number)


_LATE: Final = sys.maxsize
"""An attempt whose pause has stopped growing."""


# ---------------------------------------------------------------- whole trees


@runtime_checkable
class Branch(Protocol):
    """The launch of a supervisor whose children are known before it runs."""

    @property
    def specs(self) -> tuple[ChildSpec, ...]:
        """Its children, in start order."""

    @property
    def flags(self) -> SupervisorFlags:
        """Its budget."""


@runtime_checkable
class Wrapper(Protocol):
    """A launch that starts what another one does."""

    @property
    def start(self) -> Launch:
        """What it starts."""


@attrs.frozen(repr=False, eq=False)
class Worst(Value):
    """The worst burst of one leaf.

    Attributes:
        path: Of the leaf; the last id is ``*`` for children that are not known yet: of a dynamic supervisor, or asked for at its start.
        levels: The supervisors above it, from the one directly above it up to the root.
        outlook: Of a leaf that fails as soon as it is started.
        sustained: Restarts per second that its tree bears for ever; see `sustained`.
    """

    path: tuple[str, ...]
    levels: tuple[Level, ...]
    outlook: Outlook
    sustained: float


def worst_cases(id: str, flags: SupervisorFlags, specs: Iterable[ChildSpec]) -> tuple[Worst, ...]:
    """The worst burst of every leaf of a tree, in start order.

    Args:
        id: Of the root.
        flags: Of the root.
        specs: The root's children.
    """
    return tuple(Worst(path, levels, outlook(levels), sustained(levels)) for path, levels in _leaves((id,), flags, tuple(specs), ()))


def _leaves(
    path: tuple[str, ...], flags: SupervisorFlags, specs: tuple[ChildSpec, ...], above: tuple[Level, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[Level, ...]]]:
    if flags.dynamic:
        yield (*path, "*"), (Level(path, flags), *above)
    for spec in specs:
        levels = (Level(path, flags, spec.restart), *above)
        start = spec.start
        while isinstance(start, Wrapper):
            start = start.start
        below: object = getattr(start, "flags", None)
        if isinstance(start, Branch):
            yield from _leaves((*path, spec.id), start.flags, start.specs, levels)
        elif isinstance(below, SupervisorFlags):
            # its children are asked for when it starts
            yield (*path, spec.id, "*"), (Level((*path, spec.id), below), *levels)
        else:
            yield (*path, spec.id), levels


def nested_budgets(cases: Iterable[Worst]) -> tuple[str, ...]:
    """Where nested budgets multiply beyond reason, for a person: one line for each supervisor with such leaves.

    Beyond reason are more than `MANY_RESTARTS` restarts of one leaf, if they are at least `MANY_TIMES` as many as any one supervisor on
    the way admits: a large intensity was written by somebody who meant it, a large product by nobody.
    """
    return tuple(
        f"{_told(case, siblings)}: nested budgets multiply ({' x '.join(map(str, reversed(case.outlook.starts)))} starts)"
        for case, siblings in _grouped(filter(_is_beyond_reason, cases))
    )


def describe_worst(cases: Iterable[Worst]) -> tuple[str, ...]:
    """The worst bursts of a tree for a person: one line for the leaves of a supervisor that come to the same."""
    return tuple(_told(case, siblings) for case, siblings in _grouped(cases))


def _is_beyond_reason(case: Worst) -> bool:
    ends = case.outlook
    return MANY_RESTARTS < ends.restarts < math.inf and ends.restarts >= MANY_TIMES * (max(ends.starts) - 1)


def _grouped(cases: Iterable[Worst]) -> Iterator[tuple[Worst, int]]:
    """The first leaf of each supervisor of those that come to the same, and how many more there are."""
    found: dict[object, tuple[Worst, int]] = {}
    for case in cases:
        key = (case.path[:-1], case.outlook)
        first, siblings = found.get(key, (case, -1))
        found[key] = (first, siblings + 1)
    yield from found.values()


def _told(case: Worst, siblings: int) -> str:
    ends, where = case.outlook, "/".join(case.outlook.at)
    name = "/".join(case.path) + (f" and {counted(siblings, 'sibling', 'siblings')}" if siblings else "")
    if ends.ends is Ends.NEVER:
        return f"{name}: restarted for ever, every {duration(ends.every or 0.0)} at last: the window of {where} never fills"
    if not ends.starts:
        return f"{name}: never restarted"
    then = {
        Ends.STAYS_DOWN: f"and then {where} leaves down what gave up",
        Ends.HOLDS: f"before {where} holds and tries once every {duration(ends.every or 0.0)}",
        Ends.GIVES_UP: f"before {where} gives up",
    }[ends.ends]
    within = f" within {duration(ends.seconds)}" if ends.seconds else ""
    return f"{name}: restarted {counted(int(ends.restarts), 'time', 'times')}{within} {then}"
