"""A tree, or a part of one, at one moment: nested frozen values, for people and programs."""

from __future__ import annotations

from typing import Any

import attrs

from ..core.breaker import CircuitState
from ..core.event import jsonable
from ..core.exits import Exit
from ..core.launch import ChildType
from ..core.spec import ChildSpec, Strategy, or_infinity
from ..core.state import Lifecycle, State, in_start_order
from ..core.value import Value
from .distant import Supervising
from .node import Node
from .snapshot import ChildInfo, child_info

_STATES = {Lifecycle.NEW: "starting", Lifecycle.BOOTING: "starting", Lifecycle.RUNNING: "running", Lifecycle.CLOSING: "stopping"}


@attrs.frozen(repr=False, eq=False)
class SupervisorInfo(Value):
    """What only a running supervisor has.

    Attributes:
        restarts_left: Restarts after failures that the window of `period` seconds still admits, of `intensity`.
        cycles_left: The same for controlled restarts.
        circuit: Of the restarts after failures; closed where there is no breaker.
        reopens_in: Seconds until an open circuit is half-open, else None.
        max_children: Of a dynamic supervisor, else infinite.
        children: In start order.
    """

    strategy: Strategy
    intensity: int
    period: float
    restarts_left: int
    cycles_left: int
    circuit: CircuitState
    reopens_in: float | None
    max_children: float
    children: tuple[TreeInfo, ...]


@attrs.frozen(repr=False, eq=False)
class TreeInfo(Value):
    """One child, and everything below it.

    Attributes:
        state: As in `ChildInfo`.
        pid: Of an OS process, else None.
        generation: The number of the present or latest life, 0 before the first.
        restarts: How often the supervisor started it again.
        uptime: Seconds since it acknowledged, of the root since the block was entered; None when it does not run.
        exit: How the latest life ended, None before that.
        retry_in: Seconds until its next restart is tried, None when it does not wait for one.
        spec: Its specification; None for the root, which has none.
        status: What a command says of itself for people, None when it has said nothing.
        supervisor: For a running supervisor what only that has, its children among it; else None.
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
    retry_in: float | None
    spec: ChildSpec | None
    supervisor: SupervisorInfo | None
    status: str | None = None

    def as_data(self) -> dict[str, Any]:
        """The tree as JSON data: a supervisor's own fields are beside those of every child, `children` the last of them."""
        data = {field.name: jsonable(getattr(self, field.name)) for field in attrs.fields(TreeInfo) if field.name != "supervisor"}
        if self.supervisor is not None:
            data |= {field.name: jsonable(getattr(self.supervisor, field.name)) for field in attrs.fields(SupervisorInfo)}
            data["max_children"] = or_infinity(self.supervisor.max_children)
        return data


def tree_info(node: Supervising, row: ChildInfo | None = None, spec: ChildSpec | None = None) -> TreeInfo:
    """A running supervisor and everything below it; `row` and `spec` as its own supervisor knows it, None for the root."""
    if row is None:
        assert isinstance(node, Node)  # the root is always here
        row = root_info(node, node.now())
    return _info(row, spec, None, _supervisor(node))


def root_info(node: Node, now: float) -> ChildInfo:
    """The root as if it were a child."""
    state = _STATES.get(node.state.lifecycle, "undefined")
    uptime = now - node.tree.began
    return ChildInfo(node.path[-1], node.path, ChildType.SUPERVISOR, state, None, 1, 0, uptime, None)


def _supervisor(node: Supervising) -> SupervisorInfo:
    state, now = node.state, node.now()
    flags, circuit = state.flags, state.crash.circuit
    reopens_in = circuit.reopens - now if circuit.reopens is not None and circuit.state(now) is CircuitState.OPEN else None
    return SupervisorInfo(
        flags.strategy,
        flags.intensity,
        flags.period,
        state.crash.left(flags, now),
        state.cycle.left(flags, now),
        circuit.state(now),
        reopens_in,
        flags.max_children,
        _children(node, state, now),
    )


def _children(node: Supervising, state: State, now: float) -> tuple[TreeInfo, ...]:
    retries = {id: at for at, id in state.retries}
    children: list[TreeInfo] = []
    for child in in_start_order(state):
        id = child.spec.id
        below = node.below(id)
        retry_in = max(0.0, retries[id] - now) if id in retries else None
        supervisor = None if below is None else _supervisor(below)
        children.append(_info(child_info(state, child, now), child.spec, retry_in, supervisor, node.status(id)))
    return tuple(children)


def _info(
    row: ChildInfo, spec: ChildSpec | None, retry_in: float | None, supervisor: SupervisorInfo | None, status: str | None = None
) -> TreeInfo:
    return TreeInfo(
        row.id,
        row.path,
        row.type,
        row.state,
        row.pid,
        row.generation,
        row.restarts,
        row.uptime,
        row.exit,
        retry_in,
        spec,
        supervisor,
        status,
    )
