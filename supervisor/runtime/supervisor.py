"""The tree as its users see it: `Supervisor` owns one, `DynamicSupervisor` one whose children come by call."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from ..core.errors import InvalidField, NoProc, is_name
from ..core.event import Event
from ..core.exits import Exit
from ..core.history import History, checked_history
from ..core.message import Hurry, Stop
from ..core.spec import ChildSpec, Strategy, SupervisorFlags
from ..leaf.interrupts import interrupts_wait
from .block import Block
from .bus import Sink, Subscription
from .node import Node
from .ref import SHUTDOWN, DynamicFlags, Flags, SupervisorRef

if TYPE_CHECKING:
    from .distant import Supervising


class Supervisor(SupervisorRef):
    """The root of a supervision tree, as an async context manager.

    Entering returns once every child has acknowledged, in order. Leaving stops all children in reverse start order, each within
    its own `shutdown`, whatever made the block end: its own end, an error in it, an outer cancellation. Everything the
    tree started is then gone; a task that ignores its cancellation has been reported as `ChildUnresponsive`, and the block
    cannot be left before it ends.

    Args:
        id: The first element of every path in the tree.
        children: Started in this order.
        history: What was spent of its restart budgets before it starts, see `subtree`.
        flags: The fields of `SupervisorFlags`, with OTP's defaults.

    Attributes:
        specs: The specifications that it was made with.
        flags: The flags that it was made with.

    Raises:
        SpecError: On construction; nothing was started.
        StartFailed: From ``async with``, bare: a child did not come up; those before it have been stopped.
        RestartIntensityExceeded: From the end of the block, bare: the tree gave up. The body has been cancelled.

    **Cancellation:** an outer cancellation ends the block; leaving it takes up to the sum of the children's `shutdown`.
    """

    def __init__(self, id: str, children: Iterable[ChildSpec] = (), *, history: History | None = None, **flags: Unpack[Flags]) -> None:
        if not is_name(id):
            raise InvalidField("id", id, "a non-empty string", where="supervisor")
        super().__init__(self._find, (id,))
        self.id = id
        self.flags = SupervisorFlags(**flags)
        self.specs = self.flags.check(children, where=id)
        self._block = Block(self.path, self.flags, self.specs, checked_history(history, where=id))
        self._sinks: list[Sink] = []
        self._context: AbstractAsyncContextManager[None] | None = None
        self.run_id: str | None = None

    @interrupts_wait
    async def __aenter__(self) -> Self:
        if self._context is not None:
            raise RuntimeError("a Supervisor can be entered once; make a new one")
        if self.run_id is None:
            # seldom needed: the launcher has given it one
            import uuid

            self.run_id = uuid.uuid4().hex
        self._context = self._block.open(self.run_id, self._sinks)
        await self._context.__aenter__()
        return self

    @interrupts_wait
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        assert self._context is not None
        return await self._context.__aexit__(kind, error, trace)

    # ------------------------------------------------------------ the whole tree

    @property
    def exit(self) -> Exit | None:
        """How the tree ended, None before that."""
        return self._block.exit

    @property
    def abandoned(self) -> int:
        """Children that were given up because they did not end when killed."""
        return self._block.root.tree.abandoned if self._block.root is not None else 0

    def subscribe(self, capacity: int = 1000) -> Subscription:
        """The tree's events from now on, for ``async with``; a reader more than `capacity` records behind loses the oldest.

        Raises:
            NoProc: The tree is not running.
            InvalidField: `capacity` is no integer >= 1.
        """
        return self._node_here().tree.bus.subscribe(capacity)

    def add_sink(self, sink: Sink) -> None:
        """Call `sink(record)` for every event, at once and on the tree's own task: it must return soon.

        Added before the block is entered it sees the first event. A sink that raises is taken off, the tree goes on, and the
        error leaves the block at its end, unless another does.
        """
        if self._block.root is None:
            self._sinks.append(sink)
        else:
            self._block.root.tree.bus.add_sink(sink)

    def emit(self, event: Event) -> None:
        """Publish an event on the tree's bus.

        Raises:
            NoProc: The block has not been entered.
        """
        self._entered().tree.bus.publish(event)

    def stop(self, exit: Exit = SHUTDOWN) -> None:
        """Stop the tree in order, and cancel the block's body; returns at once, and changes nothing when asked again.

        Raises:
            NoProc: The block has not been entered.
            InvalidField: `exit` is no `Exit`.
        """
        self._entered().feed(Stop(self._checked(exit)))

    def hurry(self) -> None:
        """As `stop`, killing instead of asking; also after a `stop`."""
        self._entered().feed(Hurry(Exit.killed()))

    # ------------------------------------------------------------ inside

    def _entered(self) -> Node:
        if self._block.root is None:
            raise NoProc(self.path)
        return self._block.root

    def _find(self, path: tuple[str, ...]) -> Supervising:
        return self._entered().find(path)


class DynamicSupervisor(Supervisor):
    """A `Supervisor` that starts empty and whose children come by `start_child`: Elixir's of that name, OTP's ``simple_one_for_one``.

    Every child has a specification of its own; ids may repeat. A child that ends and is not restarted, declines its start, or is
    terminated is forgotten, whatever its restart type. At the end all children are asked at the same time, each with its own `shutdown`.
    As a child of another supervisor: `dynamic`.

    Args:
        id: The first element of every path in the tree.
        flags: The fields of `SupervisorFlags` but `strategy` and `auto_shutdown`, with OTP's defaults; `max_children` limits how many
            there may be at a time.

    Raises:
        SpecError: On construction; nothing was started.
        RestartIntensityExceeded: From the end of the block, as from that of a `Supervisor`.
    """

    def __init__(self, id: str, **flags: Unpack[DynamicFlags]) -> None:
        super().__init__(id, strategy=Strategy.SIMPLE_ONE_FOR_ONE, **flags)
