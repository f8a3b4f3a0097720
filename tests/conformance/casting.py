"""What the ported cases are played by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import attrs
from anyio.abc import TaskStatus

from supervisor import ChildSpec, ChildStartFailed, Record, SupervisorRef, task


class Refused(Exception):
    """What a start fails with."""


class Boom(Exception):
    """What a child crashes with."""


@attrs.define
class Deadlock:
    """Children after ``supervisor_deadlock.erl``: while `fail_start`, each of their starts takes two seconds and fails.

    With a high enough intensity a supervisor that restarts one is in its retry loop for good, and hardly ever idle. They are real tasks.
    """

    fail_start: bool = False
    _orders: dict[str, anyio.Event] = attrs.field(factory=dict)

    def child(self, id: str, **fields: Any) -> ChildSpec:
        """A permanent child, unless `fields` of its `ChildSpec` say otherwise."""
        return ChildSpec(id, task(self._run, id), **fields)

    def crash(self, id: str) -> None:
        """Let a living child fail."""
        self._orders[id].set()

    async def _run(self, id: str, *, task_status: TaskStatus[None]) -> None:
        if self.fail_start:
            await anyio.sleep(2)
            raise Refused
        order = self._orders[id] = anyio.Event()
        task_status.started()
        await order.wait()
        raise Boom


@attrs.define
class Between:
    """What a call would be answered between two attempts: looked at whenever a start has failed, when the next is not begun yet.

    Attributes:
        states: ``which_children``: id and state, in OTP's order, the reverse of the start order.
        counts: ``count_children``: specifications, active, supervisors, workers.
    """

    states: list[tuple[str, str]] = attrs.field(factory=list)
    counts: list[int] = attrs.field(factory=list)

    def watch(self, ref: SupervisorRef) -> Callable[[Record], None]:
        """The sink for the tree."""

        def heard(record: Record) -> None:
            if isinstance(record.event, ChildStartFailed):
                self.states, self.counts = states(ref), counts(ref)

        return heard


def states(ref: SupervisorRef) -> list[tuple[str, str]]:
    """Each child's id and state, in OTP's order."""
    return [(child.id, child.state) for child in ref.which_children()]


def counts(ref: SupervisorRef) -> list[int]:
    """Specifications, active, supervisors, workers."""
    counted = ref.count_children()
    return [counted.specs, counted.active, counted.supervisors, counted.workers]
