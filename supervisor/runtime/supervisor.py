"""The tree as its users see it: `Supervisor` owns one, `SupervisorRef` calls a supervisor anywhere in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypedDict, TypeVar, Unpack

import anyio

from ..core.backoff import Backoff
from ..core.breaker import Breaker
from ..core.budget import Verdict
from ..core.calls import cycle_verdict
from ..core.errors import ChildNotFound, InvalidField, NoProc, is_name
from ..core.event import Event
from ..core.exits import Exit
from ..core.message import CycleChild, DeleteChild, Hurry, Request, ResetBudgets, RestartChild, StartChild, Stop, TerminateChild
from ..core.ports import Handle
from ..core.spec import AutoShutdown, ChildSpec, GiveUp, Strategy, SupervisorFlags, check_childspecs
from ..core.state import Lifecycle, State
from .block import Block
from .bus import Sink, Subscription
from .node import Node
from .snapshot import ChildCounts, ChildInfo, child_info, count

T = TypeVar("T")


class Flags(TypedDict, total=False):
    """The keyword arguments of `Supervisor` and `subtree`: the fields of `SupervisorFlags`."""

    strategy: Strategy
    intensity: int
    period: float
    auto_shutdown: AutoShutdown
    backoff: Backoff | None
    breaker: Breaker | None
    on_give_up: GiveUp
    stability: float


def _nothing(_value: object) -> Any:
    return None


def _answered(node: Node, spec: ChildSpec, value: object) -> ChildInfo:
    child = node.state.children.get(spec.id)
    if child is None:
        return ChildInfo(spec.id, (*node.path, spec.id), spec.type, "undefined", None, 0, 0, None, None)
    return child_info(node.state, child, node.tree.clock(), value)


class SupervisorRef:
    """A supervisor in a running tree, addressed by its path; it stays valid when that supervisor is restarted.

    Every call raises `NoProc` while there is no such supervisor running. The async ones wait for their answer;
    **Cancellation:** leaves the wait, not the call: what was asked for still happens.
    """

    def __init__(self, root: Supervisor, path: tuple[str, ...]) -> None:
        self._root, self.path = root, path

    def supervisor(self, *ids: str) -> SupervisorRef:
        """A supervisor below this one."""
        return SupervisorRef(self._root, (*self.path, *ids))

    async def start_child(self, spec: ChildSpec) -> ChildInfo:
        """Add a child at the end of the start order and start it.

        Returns:
            The child; its `state` is ``undefined`` when it declined to start (and a temporary one is then forgotten).

        Raises:
            AlreadyStarted: A child of that id runs.
            AlreadyPresent: A child of that id exists and does not run.
            SpecError: The specification cannot be under this supervisor.
            StartFailed: It did not come up; its specification is not kept.
        """
        return await self._call_about(spec, StartChild(spec))

    async def terminate_child(self, id: str) -> None:
        """Stop a child within its `shutdown`, or cancel its restart; it stays down, and a temporary one is forgotten.

        Raises:
            ChildNotFound: No such child.
        """
        await self._call(TerminateChild(id))

    async def restart_child(self, id: str) -> ChildInfo:
        """Start a child that is not running; for a running one see `cycle_child`.

        Raises:
            ChildNotFound: No such child.
            ChildRunning: It runs.
            ChildRestarting: It waits for its next restart.
            StartFailed: It did not come up; its specification is kept.
        """
        return await self._call_about(self.get_childspec(id), RestartChild(id))

    async def delete_child(self, id: str) -> None:
        """Forget a child that is not running.

        Raises:
            ChildNotFound: No such child.
            ChildRunning: It runs.
            ChildRestarting: It waits for its next restart.
        """
        await self._call(DeleteChild(id))

    async def cycle_child(self, id: str, *, reason: str = "") -> ChildInfo:
        """Restart a running child in a controlled way: stop it within its `shutdown`, then start it.

        The request is admitted by a budget of its own, of the same intensity, period, backoff and breaker as restarts
        after failures. Under `REST_FOR_ONE` and `ONE_FOR_ALL` the siblings that a failure would take along restart too.

        Returns:
            The new life.

        Raises:
            ChildNotFound: No such child.
            ChildNotRunning: It does not run.
            ChildRestarting: It waits for its next restart.
            RestartRefused: The budget is spent, or the child is temporary; the child was left alone.
            RestartPostponed: A cooldown is not over; the child was left alone.
            StartFailed: It did not come up again; from here on that is an ordinary failed restart.
        """
        return await self._call_about(self.get_childspec(id), CycleChild(id, reason))

    def cycle_verdict(self, id: str) -> Verdict:
        """What `cycle_child` would be answered now; asking costs nothing."""
        node = self._node()
        if id not in node.state.children:
            raise ChildNotFound(self.path, id)
        return cycle_verdict(node.state, node.tree.clock())

    def cycles_left(self) -> int:
        """How many controlled restarts the window still admits now, whatever cooldown and circuit say."""
        node = self._node()
        return node.state.cycle.left(node.state.flags, node.tree.clock())

    def judge(self, id: str, generation: int, *, success: bool) -> None:
        """Say whether the controlled restart that began this life helped; ignored when that life is over."""
        self._node().judge(id, generation, success=success)

    async def reset_budgets(self) -> None:
        """Forget all restarts, cooldowns and failures, and close the circuits."""
        await self._call(ResetBudgets())

    def which_children(self) -> tuple[ChildInfo, ...]:
        """All children in reverse start order, as in OTP; one consistent snapshot."""
        node = self._node()
        now = node.tree.clock()
        rows = sorted(node.state.children.values(), key=lambda child: -child.position)
        return tuple(child_info(node.state, child, now) for child in rows)

    def which_child(self, id: str) -> ChildInfo:
        """One child.

        Raises:
            ChildNotFound: No such child.
        """
        node = self._node()
        child = node.state.children.get(id)
        if child is None:
            raise ChildNotFound(self.path, id)
        return child_info(node.state, child, node.tree.clock())

    def count_children(self) -> ChildCounts:
        """How many children there are, and how many live."""
        return count(self._node().state)

    def get_childspec(self, id: str) -> ChildSpec:
        """The specification of a child.

        Raises:
            ChildNotFound: No such child.
        """
        child = self._node().state.children.get(id)
        if child is None:
            raise ChildNotFound(self.path, id)
        return child.spec

    def handle(self, id: str) -> Handle | None:
        """The handle of a child's present life, None when it has none; for workers that look at what a leaf runs."""
        life = self._node().lives.get(id)
        return life.handle if life is not None else None

    @property
    def state(self) -> State:
        """The machine's state, a frozen value."""
        return self._node().state

    def _node(self) -> Node:
        return self._root._find(self.path)

    async def _call_about(self, spec: ChildSpec, request: Request) -> ChildInfo:
        node = self._node()
        # looked up when the answer comes and not by the caller: when that wakes up, the child may be gone again
        return await self._call(request, lambda value: _answered(node, spec, value))

    async def _call(self, request: Request, result: Callable[[object], T] = _nothing) -> T:
        id = getattr(request, "id", None)
        if hasattr(request, "id") and not is_name(id):
            raise InvalidField("id", id, "a child's id, a non-empty string", where="/".join(self.path))
        answered = anyio.Event()
        results: list[T] = []
        errors: list[Exception] = []

        def answer(value: object, error: Exception | None) -> None:
            if error is None:
                results.append(result(value))
            else:
                errors.append(error)
            answered.set()

        self._node().call(request, answer)
        await answered.wait()
        if errors:
            raise errors[0]
        return results[0]


class Supervisor(SupervisorRef):
    """The root of a supervision tree, as an async context manager.

    Entering returns once every child has acknowledged, in order. Leaving stops all children in reverse start order, each within
    its own `shutdown`, whatever made the block end: its own end, an error in it, an outer cancellation. Everything the
    tree started is then gone; a task that ignores its cancellation has been reported as `ChildUnresponsive`, and the block
    cannot be left before it ends.

    Args:
        id: The first element of every path in the tree.
        children: Started in this order.
        flags: The fields of `SupervisorFlags`, with OTP's defaults.

    Raises:
        SpecError: On construction; nothing was started.
        StartFailed: From ``async with``, bare: a child did not come up; those before it have been stopped.
        RestartIntensityExceeded: From the end of the block, bare: the tree gave up. The body has been cancelled.

    **Cancellation:** an outer cancellation ends the block; leaving it takes up to the sum of the children's `shutdown`.
    """

    def __init__(self, id: str, children: Iterable[ChildSpec] = (), **flags: Unpack[Flags]) -> None:
        if not is_name(id):
            raise InvalidField("id", id, "a non-empty string", where="supervisor")
        super().__init__(self, (id,))
        self.id = id
        checked = SupervisorFlags(**flags)
        self._block = Block(self.path, checked, check_childspecs(children, checked.auto_shutdown, where=id))
        self._sinks: list[Sink] = []
        self._context: AbstractAsyncContextManager[None] | None = None
        self.run_id: str | None = None

    async def __aenter__(self) -> Supervisor:
        if self._context is not None:
            raise RuntimeError("a Supervisor can be entered once; make a new one")
        if self.run_id is None:
            # seldom needed: the launcher has given it one
            import uuid

            self.run_id = uuid.uuid4().hex
        self._context = self._block.open(self.run_id, self._sinks)
        await self._context.__aenter__()
        return self

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
        return self._node().tree.bus.subscribe(capacity)

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

    def stop(self) -> None:
        """Stop the tree in order, and cancel the block's body; returns at once, and changes nothing when asked again.

        Raises:
            NoProc: The block has not been entered.
        """
        self._entered().feed(Stop(Exit.shutdown()))

    def hurry(self) -> None:
        """As `stop`, killing instead of asking; also after a `stop`."""
        self._entered().feed(Hurry(Exit.killed()))

    # ------------------------------------------------------------ inside

    def _entered(self) -> Node:
        if self._block.root is None:
            raise NoProc(self.path)
        return self._block.root

    def _find(self, path: tuple[str, ...]) -> Node:
        node = self._entered()
        if node.state.lifecycle is Lifecycle.FINISHED:
            raise NoProc(path)
        for id in path[1:]:
            life = node.lives.get(id)
            handle = life.handle if life is not None else None
            if not isinstance(handle, Node):
                raise NoProc(path)
            node = handle
        return node
