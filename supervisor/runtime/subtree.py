"""A supervisor as a child of a supervisor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol, Unpack, cast, overload

import attrs

from ..core.errors import InvalidField
from ..core.history import History, checked_history, told
from ..core.launch import ChildType
from ..core.spec import ChildSpec, Strategy, SupervisorFlags
from ..core.value import Value
from ..leaf.task import Ignore
from .node import Node
from .ref import DynamicFlags, Flags
from .tree import Tree

if TYPE_CHECKING:
    from ..core.ports import Handle, Ticket

    class Place(Ticket, Protocol):
        """The ticket of a life that a supervisor can be."""

        handle: Handle | None

        @property
        def tree(self) -> Tree:
            """The tree that it is in."""


@attrs.frozen(repr=False, eq=False)
class Subtree(Value):
    """Starts a supervisor; see `subtree`."""

    specs: tuple[ChildSpec, ...]
    flags: SupervisorFlags
    partitions: int | None = attrs.field(default=None, kw_only=True)
    history: History | None = attrs.field(default=None, kw_only=True)

    # a killed supervisor kills its children, and each of them is given up after its own kill_timeout
    kill_timeout: float = attrs.field(default=float("inf"), init=False)

    @property
    def type(self) -> ChildType:
        """A supervisor."""
        return ChildType.SUPERVISOR

    def launch(self, ticket: Ticket) -> Handle:
        """Start its children in order; it is up when the last one is.

        Raises:
            InvalidField: Its history is none.
            Exception: Whatever the function of its history raised.
        """
        return _boot(ticket, self.flags, self.specs, self.history, self.partitions)

    def describe(self) -> dict[str, Any]:
        """The children's ids and the strategy."""
        return {"supervisor": [spec.id for spec in self.specs], "strategy": self.flags.strategy.value}


@attrs.frozen(repr=False, eq=False)
class InitSubtree(Value):
    """Starts a supervisor whose children are asked for at each start; see `subtree`."""

    init: Callable[[], Iterable[ChildSpec]]
    flags: SupervisorFlags
    history: History | None = attrs.field(default=None, kw_only=True)

    kill_timeout: float = attrs.field(default=float("inf"), init=False)

    @property
    def type(self) -> ChildType:
        """A supervisor."""
        return ChildType.SUPERVISOR

    def launch(self, ticket: Ticket) -> Handle:
        """Ask for the children, and start them in order.

        Raises:
            SpecError: What it was told is wrong.
            Exception: Whatever `init`, or the function of its history, raised.
        """
        try:
            specs = self.flags.check(self.init(), where="/".join(ticket.path))
        except Ignore:
            ticket.ignored()
            return _NOBODY
        return _boot(ticket, self.flags, specs, self.history)

    def describe(self) -> dict[str, Any]:
        """The function's name and the strategy."""
        init = f"{getattr(self.init, '__module__', '?')}:{getattr(self.init, '__qualname__', repr(self.init))}"
        return {"supervisor": init, "strategy": self.flags.strategy.value}


class _Nobody:
    """What declined to start."""

    pid = None

    def terminate(self) -> None:
        """Nothing: it does not run."""

    kill = terminate


_NOBODY: Final = _Nobody()


def _boot(
    ticket: Ticket, flags: SupervisorFlags, specs: tuple[ChildSpec, ...], history: History | None, partitions: int | None = None
) -> Node:
    ticket = cast("Place", ticket)  # a supervisor is started by a node
    spent = told(history, where="/".join(ticket.path))
    node = Node(
        ticket.tree,
        ticket.path,
        flags,
        specs,
        ticket.started,
        lambda exit, _error: ticket.exited(exit),
        partitions=partitions,
        history=spent,
    )
    # the handle is known before any child is: a child may already call its supervisor by path
    ticket.handle = node
    node.boot()
    return node


@overload
def subtree(children: Iterable[ChildSpec] = ..., *, history: History | None = ..., **flags: Unpack[Flags]) -> Subtree: ...
@overload
def subtree(children: Callable[[], Iterable[ChildSpec]], *, history: History | None = ..., **flags: Unpack[Flags]) -> InitSubtree: ...
def subtree(
    children: Iterable[ChildSpec] | Callable[[], Iterable[ChildSpec]] = (), *, history: History | None = None, **flags: Unpack[Flags]
) -> Subtree | InitSubtree:
    """A supervisor as a child; its own exit, after it gave up or shut itself down, is a `shutdown`, as in OTP.

    Args:
        children: Started in this order. A function is OTP's ``init``: it is called at every start of the supervisor for the children of
            that start, at once and on the event loop's thread. It may raise `Ignore`, and the supervisor declines its start; anything else
            that it raises, and anything wrong in what it returns, is a failed start.
        history: What was spent of its restart budgets before it starts. A function is asked at every start: a supervisor that is itself
            restarted begins with nothing spent, unless somebody remembers for it.
        flags: The fields of `SupervisorFlags`, with OTP's defaults.

    Raises:
        SpecError: Also for anything wrong in its children.
    """
    checked, history = SupervisorFlags(**flags), checked_history(history, where="subtree")
    if callable(children):
        if inspect.iscoroutinefunction(children):
            raise InvalidField("children", children, "specifications, or a function that is not async", where="subtree")
        return InitSubtree(children, checked, history=history)
    return Subtree(checked.check(children, where="subtree"), checked, history=history)


def dynamic(**flags: Unpack[DynamicFlags]) -> Subtree:
    """A dynamic supervisor as a child: see `DynamicSupervisor`. It starts empty, also when it is restarted.

    Args:
        flags: Those of `SupervisorFlags` that a dynamic supervisor has, `max_children` among them.

    Raises:
        SpecError: A flag has an illegal value.
    """
    return Subtree((), SupervisorFlags(Strategy.SIMPLE_ONE_FOR_ONE, **flags))
