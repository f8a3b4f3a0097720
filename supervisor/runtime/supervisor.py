"""The tree as its users see it: `Supervisor` owns one, `SupervisorRef` calls a supervisor anywhere in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, TypedDict, TypeVar, Unpack

import anyio

from ..core.backoff import Backoff
from ..core.breaker import Breaker
from ..core.budget import Verdict
from ..core.errors import ChildNotFound, InvalidField, NoProc, is_name
from ..core.event import Event
from ..core.exits import Exit
from ..core.message import CycleChild, DeleteChild, Hurry, Request, ResetBudgets, RestartChild, StartChild, Stop, TerminateChild
from ..core.ports import Handle
from ..core.spec import AutoShutdown, ChildSpec, GiveUp, Strategy, SupervisorFlags, check_childspecs
from ..core.state import State
from .bus import Sink, Subscription
from .node import Node
from .snapshot import ChildCounts, ChildInfo, child_info, count
from .tree import Tree

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
        child = node.state.children.get(id)
        if child is None:
            raise ChildNotFound(self.path, id)
        budget, flags, now = node.state.cycle, node.state.flags, node.tree.clock()
        if now - child.since >= flags.stability:
            budget = budget.succeeded(id)
        return budget.verdict(flags, now)

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
        self._flags = SupervisorFlags(**flags)
        self._specs = check_childspecs(children, self._flags.auto_shutdown, where=id)
        self._sinks: list[Sink] = []
        self._context: AbstractAsyncContextManager[Supervisor] | None = None
        self._root_node: Node | None = None
        self._body: anyio.CancelScope | None = None
        self._error: Exception | None = None
        self._exit: Exit | None = None
        self.run_id: str | None = None

    async def __aenter__(self) -> Supervisor:
        if self._context is not None:
            raise RuntimeError("a Supervisor can be entered once; make a new one")
        self._context = self._open()
        return await self._context.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        assert self._context is not None
        return await self._context.__aexit__(kind, error, trace)

    # ------------------------------------------------------------ the whole tree

    @property
    def exit(self) -> Exit | None:
        """How the tree ended, None before that."""
        return self._exit

    @property
    def abandoned(self) -> int:
        """Children that were given up because they did not end when killed."""
        return self._root_node.tree.abandoned if self._root_node is not None else 0

    def subscribe(self, capacity: int = 1000) -> Subscription:
        """The tree's events from now on, for ``async with``; a reader more than `capacity` records behind loses the oldest.

        Raises:
            NoProc: The tree is not running.
        """
        return self._tree().bus.subscribe(capacity)

    def add_sink(self, sink: Sink) -> None:
        """Call `sink(record)` for every event, at once and on the tree's own task: it must return soon and must not raise.

        Added before the block is entered it sees the first event.
        """
        if self._root_node is not None:
            self._tree().bus.add_sink(sink)
        else:
            self._sinks.append(sink)

    def emit(self, event: Event) -> None:
        """Publish an event on the tree's bus."""
        self._tree().bus.publish(event)

    def stop(self) -> None:
        """Stop the tree in order, and cancel the block's body; returns at once."""
        self._root_of().feed(Stop(Exit.shutdown()))

    def hurry(self) -> None:
        """As `stop`, killing instead of asking."""
        self._root_of().feed(Hurry(Exit.killed()))

    # ------------------------------------------------------------ inside

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Supervisor]:
        failure: BaseException | None = None
        up, over = anyio.Event(), anyio.Event()

        def finished(exit: Exit, error: Exception | None) -> None:
            self._exit, self._error = exit, error
            up.set()
            over.set()
            if self._body is not None:
                self._body.cancel()

        async with anyio.create_task_group() as tasks:
            tree = Tree(tasks, run=self.run_id)
            self.run_id = tree.bus.run
            for sink in self._sinks:
                tree.bus.add_sink(sink)
            root = self._root_node = Node(tree, self.path, self._flags, self._specs, up.set, finished)
            try:
                root.boot()
                await up.wait()
                if self._error is not None:
                    raise self._error
                with anyio.CancelScope() as self._body:
                    if over.is_set():
                        self._body.cancel()
                    yield self
            except BaseException as error:  # kept, so that it leaves bare after the children have been stopped
                failure = error
            with anyio.CancelScope(shield=True):
                root.terminate()
                await over.wait()
            tree.close()
        if failure is not None:
            raise failure
        if self._error is not None:
            raise self._error

    def _root_of(self) -> Node:
        if self._root_node is None:
            raise NoProc(self.path)
        return self._root_node

    def _tree(self) -> Tree:
        return self._root_of().tree

    def _find(self, path: tuple[str, ...]) -> Node:
        node = self._root_of()
        for id in path[1:]:
            life = node.lives.get(id)
            handle = life.handle if life is not None else None
            if not isinstance(handle, Node):
                raise NoProc(path)
            node = handle
        return node
