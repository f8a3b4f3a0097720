"""What the tree looks like, as frozen values."""

from __future__ import annotations

import attrs

from ..core.exits import Exit
from ..core.launch import ChildType
from ..core.state import Child, Phase, State
from ..core.value import Value


@attrs.frozen(repr=False, eq=False)
class ChildInfo(Value):
    """One child at one moment.

    Attributes:
        state: OTP's words: ``running``, ``restarting``, ``undefined``; and ``starting``, ``stopping`` while that lasts.
        pid: Of an OS process, else None.
        generation: The number of the present or latest life, 0 before the first.
        restarts: How often the supervisor started it again.
        uptime: Seconds since it acknowledged; None when it does not run.
        exit: How the latest life ended, None before that.
        value: What the child acknowledged with, in the answer of the call that started it; None elsewhere.
    """

    id: str
    path: tuple[str, ...]
    type: ChildType
    state: str
    pid: int | None
    generation: int
    restarts: int
    uptime: float | None
    exit: Exit | None
    value: object = attrs.field(default=None, eq=False)


@attrs.frozen(repr=False, eq=False)
class ChildCounts(Value):
    """OTP's ``count_children``: all specifications, living children, and by type, dead or alive."""

    specs: int
    active: int
    supervisors: int
    workers: int


def child_info(state: State, child: Child, now: float, value: object = None) -> ChildInfo:
    """A row of the table, for people."""
    running = child.phase in (Phase.RUNNING, Phase.STOPPING, Phase.EXITED)
    return ChildInfo(
        id=child.spec.id,
        path=(*state.path, child.spec.id),
        type=child.spec.type,
        # a child whose end waits to be served is still running, as in OTP
        state=Phase.RUNNING.value if child.phase is Phase.EXITED else child.phase.value,
        pid=child.pid,
        generation=child.generation,
        restarts=child.restarts,
        uptime=now - child.since if running else None,
        exit=child.exit,
        value=value,
    )


def count(state: State) -> ChildCounts:
    """The counts of one supervisor."""
    children = list(state.children.values())
    supervisors = sum(child.spec.type is ChildType.SUPERVISOR for child in children)
    # one whose end waits to be served is dead, though `which_children` still lists it as running: as in OTP
    active = sum(child.is_live and child.phase is not Phase.EXITED for child in children)
    return ChildCounts(len(children), active, supervisors, len(children) - supervisors)
