"""The calls: `SupervisorRef` is a supervisor anywhere in a running tree, addressed by its path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

import anyio
import attrs

from ..core.backoff import Backoff
from ..core.breaker import Breaker
from ..core.budget import Verdict
from ..core.calls import cycle_verdict
from ..core.errors import BadCombination, ChildNotFound, ChildNotRunning, InvalidField, NoProc, is_name
from ..core.exits import Exit
from ..core.history import RestartHistory, history_of
from ..core.launch import ChildType
from ..core.message import (
    CycleChild,
    DeleteChild,
    Reconfigure,
    Reply,
    Request,
    ResetBudgets,
    RestartChild,
    StartChild,
    TerminateChild,
)
from ..core.spec import AutoShutdown, ChildSpec, GiveUp, Strategy, check_childspecs
from ..core.state import State
from .node import Node
from .snapshot import ChildCounts, ChildInfo, child_info, count

if TYPE_CHECKING:
    from ..core.ports import Handle
    from .current import ChildRef
    from .distant import Supervising
    from .partition import PartitionSupervisorRef
    from .tasks import TaskSupervisorRef
    from .tree_info import TreeInfo

T = TypeVar("T")

SHUTDOWN = Exit.shutdown()


class DynamicFlags(TypedDict, total=False):
    """The keyword arguments of `DynamicSupervisor` and `dynamic`: the fields of `SupervisorFlags` that apply to them."""

    intensity: int
    period: float
    backoff: Backoff | None
    breaker: Breaker | None
    on_give_up: GiveUp
    stability: float
    judged: bool
    max_children: float


class Flags(DynamicFlags, total=False):
    """The keyword arguments of `Supervisor` and `subtree`: the fields of `SupervisorFlags`."""

    strategy: Strategy
    auto_shutdown: AutoShutdown


def _nothing(_reply: Reply) -> Any:
    return None


def _answered(node: Supervising, request: StartChild | RestartChild | CycleChild, reply: Reply) -> ChildInfo:
    child = node.state.children.get(reply.id)
    if child is None:
        # it declined to start, and was forgotten
        kind = request.spec.type if isinstance(request, StartChild) else ChildType.WORKER
        return ChildInfo(reply.id, (*node.path, reply.id), kind, "undefined", None, 0, 0, None, None)
    return child_info(node.state, child, node.now(), reply.value)


class SupervisorRef:
    """A supervisor in a running tree, addressed by its path; it stays valid when that supervisor is restarted.

    Every call raises `NoProc` while there is no such supervisor running. The async ones wait for their answer;
    **Cancellation:** leaves the wait, not the call: what was asked for still happens.
    """

    def __init__(self, find: Callable[[tuple[str, ...]], Supervising], path: tuple[str, ...]) -> None:
        self._find_node, self.path = find, path

    def supervisor(self, *ids: str) -> SupervisorRef:
        """A supervisor below this one."""
        return SupervisorRef(self._find_node, (*self.path, *ids))

    def task_supervisor(self, *ids: str) -> TaskSupervisorRef:
        """A supervisor below this one that is one of `tasks`."""
        from .tasks import TaskSupervisorRef

        return TaskSupervisorRef(self._find_node, (*self.path, *ids))

    def partition_supervisor(self, *ids: str) -> PartitionSupervisorRef:
        """A supervisor below this one that is one of `partitions`."""
        from .partition import PartitionSupervisorRef

        return PartitionSupervisorRef(self._find_node, (*self.path, *ids))

    async def start_child(self, spec: ChildSpec) -> ChildInfo:
        """Add a child at the end of the start order and start it.

        Under a dynamic supervisor ids need not be unique: a child whose id is taken gets one with a number, see the answer's `id`.

        Returns:
            The child; its `state` is ``undefined`` when it declined to start (and a temporary or dynamic one is then forgotten).

        Raises:
            AlreadyStarted: A child of that id runs.
            AlreadyPresent: A child of that id exists and does not run.
            MaxChildren: A dynamic supervisor has as many children as it may have.
            SpecError: The specification cannot be under this supervisor.
            StartFailed: It did not come up; its specification is not kept.
        """
        return await self._call_about(StartChild(spec))

    async def terminate_child(self, id: str) -> None:
        """Stop a child within its `shutdown`, or cancel its restart; it stays down, and a temporary or dynamic one is forgotten.

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
            SimpleOneForOne: This supervisor is dynamic.
        """
        return await self._call_about(RestartChild(id))

    async def delete_child(self, id: str) -> None:
        """Forget a child that is not running.

        Raises:
            ChildNotFound: No such child.
            ChildRunning: It runs.
            ChildRestarting: It waits for its next restart.
            SimpleOneForOne: This supervisor is dynamic.
        """
        await self._call(DeleteChild(id))

    async def reconfigure(self, children: Iterable[ChildSpec], **flags: Unpack[Flags]) -> None:
        """Give a running supervisor new specifications and flags, by the rules of OTP's ``code_change``.

        Nothing is started or stopped. A child whose id is named gets the new specification, which counts from its next start or
        stop on; one that is new is added and not running, `restart_child` starts it; those that are not named are kept, after
        the others in the start order. Flags that are not given keep the value that they have when the request is served. A supervisor
        that is itself restarted begins with its own specification again.

        Raises:
            SpecError: Flags or specifications that cannot be; nothing has changed.
            TypeError: There is no flag of that name.
        """
        specs = check_childspecs(children, where="/".join(self.path))
        with suppress(BadCombination):  # whether they go together with the others is decided when those are known
            attrs.evolve(self._node().state.flags, **flags)
        await self._call(Reconfigure(flags, specs))

    def stop(self, exit: Exit = SHUTDOWN) -> None:
        """Let this supervisor stop all its children and end with `exit`; returns at once, and changes nothing when asked again.

        What is above it then treats that as any end of a child: OTP's ``supervisor:stop``. At the root it is the end of the
        block, whose body is cancelled.

        Raises:
            InvalidField: `exit` is no `Exit`.
        """
        self._node().stop(self._checked(exit))

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
        return await self._call_about(CycleChild(id, reason))

    def cycle_verdict(self, id: str) -> Verdict:
        """What `cycle_child` would be answered now; asking costs nothing."""
        node = self._node()
        if id not in node.state.children:
            raise ChildNotFound(self.path, id)
        return cycle_verdict(node.state, node.now())

    def cycles_left(self) -> int:
        """How many controlled restarts the window still admits now, whatever cooldown and circuit say."""
        node = self._node()
        return node.state.cycle.left(node.state.flags, node.now())

    def judge(self, id: str, generation: int, *, success: bool) -> None:
        """Say whether the controlled restart that began this life helped; ignored when that life is over.

        A success can be taken back as long as the life lasts: then the failures and cooldowns before it count again.
        """
        self._node().judge(id, generation, success=success)

    def history(self) -> RestartHistory:
        """What this supervisor has spent of its restart budgets, for one that is to go on with it: see `subtree`."""
        node = self._node()
        return history_of(node.state, node.now())

    async def reset_budgets(self) -> None:
        """Forget all restarts, cooldowns and failures, and close the circuits."""
        await self._call(ResetBudgets())

    def which_children(self) -> tuple[ChildInfo, ...]:
        """All children in reverse start order, as in OTP; one consistent snapshot."""
        node = self._node()
        now = node.now()
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
        return child_info(node.state, child, node.now())

    def count_children(self) -> ChildCounts:
        """How many children there are, and how many live."""
        return count(self._node().state)

    async def call(self, id: str, name: str, *args: Any, timeout: float = 5.0) -> Any:
        """Call a function that a child serves (see `serve`), wherever that child runs: OTP's ``gen_server:call``.

        Args:
            id: The child.
            name: What it serves the function as.
            args: Passed to the function. To another process they cross as copies, see docs/workers.md.
            timeout: Seconds, or ``math.inf``.

        Returns:
            What the function returned, as a copy from another process.

        Raises:
            ChildNotFound: No such child.
            NoProc: It does not run, or ended before it had answered.
            NotServed: It serves no function of that name.
            CallTimeout: It did not answer in time.
            WorkerFailed: The function raised, in another process. In this one what it raised is raised itself.
            TypeError: An argument cannot leave this process.

        **Cancellation:** leaves the wait; in another process the function goes on.
        """
        from .calling import call_child

        return await call_child(self._node(), (*self.path, id), name, args, timeout)

    def child(self, id: str) -> ChildRef:
        """The present life of a child, for a `Registry`.

        Raises:
            ChildNotFound: No such child.
            ChildNotRunning: It has no life now.
            NoProc: The supervisor is in another process: a registry knows what lives in its own.
        """
        from .current import ChildRef

        node = self._node_here()
        if id not in node.state.children:
            raise ChildNotFound(self.path, id)
        life = node.lives.get(id)
        if life is None:
            raise ChildNotRunning(self.path, id)
        return ChildRef(life)

    def tree(self) -> TreeInfo:
        """This supervisor and everything below it at this moment; `render` makes a text of it, `TreeInfo.as_data` JSON data."""
        from .tree_info import tree_info  # here: a run that nobody asks needs none

        node = self._node()
        if len(self.path) == 1:
            return tree_info(node)
        above = self._find_node(self.path[:-1])
        child = above.state.children[self.path[-1]]
        return tree_info(node, child_info(above.state, child, above.now()), child.spec)

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
        """The handle of a child's present life, for workers that look at what a leaf runs; None when it has none here."""
        node = self._node()
        life = node.lives.get(id) if isinstance(node, Node) else None
        return life.handle if life is not None else None

    @property
    def state(self) -> State:
        """The machine's state, a frozen value."""
        return self._node().state

    def _node(self) -> Supervising:
        return self._find_node(self.path)

    def _node_here(self) -> Node:
        node = self._node()
        if not isinstance(node, Node):
            raise NoProc(self.path, text="is in another process")
        return node

    def _checked(self, exit: Exit) -> Exit:
        if not isinstance(exit, Exit):
            raise InvalidField("exit", exit, "an Exit, as Exit.shutdown()", where="/".join(self.path))
        return exit

    async def _call_about(self, request: StartChild | RestartChild | CycleChild) -> ChildInfo:
        node = self._node()
        # looked up when the answer comes and not by the caller: when that wakes up, the child may be gone again
        return await self._call(request, lambda reply: _answered(node, request, reply))

    async def _call(self, request: Request, result: Callable[[Reply], T] = _nothing) -> T:
        id = getattr(request, "id", None)
        if hasattr(request, "id") and not is_name(id):
            raise InvalidField("id", id, "a child's id, a non-empty string", where="/".join(self.path))
        answered = anyio.Event()
        results: list[T] = []
        errors: list[Exception] = []

        def answer(reply: Reply) -> None:
            if reply.error is None:
                results.append(result(reply))
            else:
                errors.append(reply.error)
            answered.set()

        self._node().call(request, answer)
        await answered.wait()
        if errors:
            raise errors[0]
        return results[0]
