"""A supervisor as a child of a supervisor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack

import attrs

from ..core.ports import ChildType, Handle, Ticket
from ..core.spec import ChildSpec, Strategy, SupervisorFlags
from ..core.value import Value
from .node import Life, Node
from .ref import DynamicFlags, Flags


@attrs.frozen(repr=False, eq=False)
class Subtree(Value):
    """Starts a supervisor; see `subtree`."""

    specs: tuple[ChildSpec, ...]
    flags: SupervisorFlags
    partitions: int | None = attrs.field(default=None, kw_only=True)

    # a killed supervisor kills its children, and each of them is given up after its own kill_timeout
    kill_timeout: float = attrs.field(default=float("inf"), init=False)

    @property
    def type(self) -> ChildType:
        """A supervisor."""
        return ChildType.SUPERVISOR

    def launch(self, ticket: Ticket) -> Handle:
        """Start its children in order; it is up when the last one is."""
        assert isinstance(ticket, Life)
        node = Node(
            ticket.tree,
            ticket.path,
            self.flags,
            self.specs,
            ticket.started,
            lambda exit, _error: ticket.exited(exit),
            partitions=self.partitions,
        )
        # the handle is known before any child is: a child may already call its supervisor by path
        ticket.handle = node
        node.boot()
        return node

    def describe(self) -> dict[str, Any]:
        """The children's ids and the strategy."""
        return {"supervisor": [spec.id for spec in self.specs], "strategy": self.flags.strategy.value}


def subtree(children: Iterable[ChildSpec] = (), **flags: Unpack[Flags]) -> Subtree:
    """A supervisor as a child; its own exit, after it gave up or shut itself down, is a `shutdown`, as in OTP.

    Args:
        children: Started in this order.
        flags: The fields of `SupervisorFlags`, with OTP's defaults.

    Raises:
        SpecError: Also for anything wrong in its children.
    """
    checked = SupervisorFlags(**flags)
    return Subtree(checked.check(children, where="subtree"), checked)


def dynamic(**flags: Unpack[DynamicFlags]) -> Subtree:
    """A dynamic supervisor as a child: see `DynamicSupervisor`. It starts empty, also when it is restarted.

    Args:
        flags: Those of `SupervisorFlags` that a dynamic supervisor has, `max_children` among them.

    Raises:
        SpecError: A flag has an illegal value.
    """
    return Subtree((), SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE, **flags))
