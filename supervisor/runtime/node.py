"""The interpreter of one machine: it feeds inputs to `step` and performs the effects.

All of it is synchronous. Whoever has news calls `feed`, on the event loop's thread; inputs that arrive while one is being
served are queued and served in order. So there is no lock, and no task per supervisor.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from ..core.errors import NoProc
from ..core.event import Event
from ..core.exits import Exit
from ..core.history import RestartHistory, with_history
from ..core.machine import step
from ..core.message import (
    AbandonChild,
    Acknowledged,
    AskChild,
    Boot,
    Call,
    Declined,
    Effect,
    Emit,
    Ended,
    Extend,
    Finish,
    ForgetChild,
    Hurry,
    Input,
    Judge,
    KillChild,
    LaunchChild,
    Ready,
    Reply,
    Request,
    Stop,
    Tick,
)
from ..core.spec import ChildSpec, SupervisorFlags
from ..core.state import Lifecycle, initial, wake_at
from ..leaf.interrupts import interrupts_wait

if TYPE_CHECKING:
    from ..core.ports import Cancellable, Closable, Handle, Spawn
    from ..core.wire import Mirrored
    from .distant import Answer, Supervising
    from .tree import Tree

C = TypeVar("C", bound="Closable")
Monitor = Callable[[Exit | None], None]
"""Told how a life ended; None when it declined its start."""


class Life:
    """One life of a child: its ticket for the launch, its handle for the node."""

    __slots__ = ("generation", "handle", "id", "monitors", "node", "over", "served")

    def __init__(self, node: Node, id: str, generation: int) -> None:
        self.node, self.id, self.generation = node, id, generation
        self.handle: Handle | None = None
        self.monitors: dict[Monitor, None] | None = None
        self.served: dict[str, Callable[..., Any]] | None = None
        self.over = False

    @property
    def path(self) -> tuple[str, ...]:
        """The ids from the root down to this child."""
        return (*self.node.path, self.id)

    @property
    def tree(self) -> Tree:
        """The tree that the child is in."""
        return self.node.tree

    def started(self, value: object = None) -> None:
        """See `Ticket.started`."""
        if not self.over:
            self.node.feed(Acknowledged(self.id, self.generation, value=value))

    def ignored(self) -> None:
        """See `Ticket.ignored`."""
        if not self.over:
            self.end(None)
            self.node.feed(Declined(self.id, self.generation))

    def exited(self, exit: Exit) -> None:
        """See `Ticket.exited`."""
        if not self.over:
            if not isinstance(exit, Exit):
                # a launch of somebody else's: whoever waits for this end is told now, or never
                exit = Exit.failed(TypeError(f"its launch reported {exit!r} as its end, and that is no Exit"))
            self.end(exit)
            if isinstance(exit.exception, KeyboardInterrupt):
                # it happened to hit this child, but it is meant for the program
                self.tree.fail(exit.exception)
            self.node.feed(Ended(self.id, self.generation, exit))

    def extend(self, seconds: float) -> None:
        """See `Ticket.extend`."""
        if not self.over:
            self.node.feed(Extend(self.id, self.generation, seconds))

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> Cancellable:
        """See `Ticket.spawn`."""
        return self.node.tree.spawn(run, name, self)

    def emit(self, event: Event) -> None:
        """See `Ticket.emit`."""
        self.node.tree.bus.publish(event)

    def shared(self, make: Callable[[Spawn], C]) -> C:
        """See `Ticket.shared`."""
        return self.node.tree.shared(make)

    async def call(self, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
        """See `Ticket.call`."""
        return await self.node.tree.call(path, name, args, timeout)

    def mirrored(self, message: Mirrored) -> None:
        """See `TreeTicket.mirrored`."""
        self.node.tree.mirrored(message)

    def handed(self, handle: Handle) -> None:
        """See `TreeTicket.handed`."""
        if not self.over:
            self.handle = handle

    def serve(self, name: str, function: Callable[..., Any]) -> None:
        """See `calling.serve`."""
        if self.served is None:
            self.served = {}
        self.served[name] = function

    def monitor(self, gone: Monitor) -> None:
        """Call `gone` once when this life, which is not over, ends: at once, before its supervisor or anybody else hears of it."""
        if self.monitors is None:
            self.monitors = {}
        self.monitors[gone] = None

    def demonitor(self, gone: Monitor) -> None:
        """Take a `monitor` back."""
        if self.monitors is not None:
            self.monitors.pop(gone, None)

    def end(self, exit: Exit | None) -> None:
        """Nothing more is heard of this life, and it is no longer the child's."""
        self.over = True
        # a handle knows its life: without that circle both are freed at once, and what the task left behind with them
        self.handle = self.served = None
        if self.node.lives.get(self.id) is self:
            del self.node.lives[self.id]
        if self.monitors is not None:
            monitors, self.monitors = self.monitors, None
            for gone in monitors:
                gone(exit)


class Node:
    """A running supervisor. To its parent it is a handle like any other.

    Attributes:
        partitions: How many a partition supervisor began with; None for any other.
    """

    pid = None

    def __init__(
        self,
        tree: Tree,
        path: tuple[str, ...],
        flags: SupervisorFlags,
        specs: tuple[ChildSpec, ...],
        ready: Callable[[], None],
        finished: Callable[[Exit, Exception | None], None],
        *,
        partitions: int | None = None,
        history: RestartHistory | None = None,
    ) -> None:
        self.tree, self.path = tree, path
        self.partitions = partitions
        self.state = initial(path, flags, specs, seed=tree.seed())
        if history is not None:
            self.state = with_history(self.state, history, self.now())
        self.lives: dict[str, Life] = {}
        self.armed = math.inf
        self._ready, self._finished = ready, finished
        self._inbox: deque[Input] = deque()
        self._busy = self._collapsed = False
        self._answers: dict[int, Answer] = {}
        self._refs = 0

    # ------------------------------------------------------------ as a handle, and as a sleeper

    def terminate(self) -> None:
        """Stop all children in reverse start order, each within its own `shutdown`."""
        self.feed(Stop(Exit.shutdown()))

    def kill(self) -> None:
        """Kill all children, at all depths, and wait for them."""
        self.feed(Hurry(Exit.killed()))

    def wake(self) -> None:
        """A time that the machine asked for has come."""
        self.feed(Tick())

    def boot(self) -> None:
        """Start all children in order."""
        self.feed(Boot())

    def now(self) -> float:
        """See `Supervising.now`."""
        return self.tree.clock()

    def find(self, path: tuple[str, ...]) -> Supervising:
        """The supervisor of that path, this one or one below it.

        Raises:
            NoProc: It is not running.
        """
        node: Supervising = self
        if self.state.lifecycle is Lifecycle.FINISHED:
            raise NoProc(path)
        for id in path[len(self.path) :]:
            below = node.below(id)
            if below is None:
                raise NoProc(path)
            node = below
        return node

    def below(self, id: str) -> Supervising | None:
        """See `Supervising.below`."""
        life = self.lives.get(id)
        handle = life.handle if life is not None else None
        if handle is None or isinstance(handle, Node) or not hasattr(handle, "image"):
            return handle if isinstance(handle, Node) else None
        from .distant import distant  # here: most trees are in one process

        return distant(handle, (*self.path, id))

    def status(self, id: str) -> str | None:
        """See `Supervising.status`."""
        life = self.lives.get(id)
        said = None if life is None else getattr(life.handle, "status", None)
        return said if isinstance(said, str) else None  # a supervisor's is a method

    # ------------------------------------------------------------ inputs

    def call(self, request: Request, answer: Answer) -> None:
        """Ask for something; `answer(reply)` is called once, now or later."""
        self._refs += 1
        self._answers[self._refs] = answer
        self.feed(Call(self._refs, request))

    def judge(self, id: str, generation: int, *, success: bool) -> None:
        """See `SupervisorRef.judge`."""
        self.feed(Judge(id, generation, success))

    def stop(self, exit: Exit) -> None:
        """See `SupervisorRef.stop`."""
        self.feed(Stop(exit))

    @interrupts_wait
    def feed(self, event: Input) -> None:
        """Serve an input, after those that came before it."""
        self._inbox.append(event)
        if self._busy or self._collapsed:
            return
        self._busy = True
        clock, observe = self.tree.clock, self.tree.observe
        try:
            while self._inbox and not self._collapsed:
                event = self._inbox.popleft()
                if type(event) is Acknowledged:
                    event = self._with_pid(event)
                try:
                    self.state, effects = step(self.state, event, clock())
                except Exception as error:  # the boundary where a fault of the machine stops the tree
                    if isinstance(event, Stop | Hurry):
                        self._collapse(error)
                    else:
                        self.tree.fail(error)
                    continue
                if observe is not None:
                    observe(self)
                for effect in effects:
                    try:
                        _PERFORM[type(effect)](self, effect)
                    except Exception as error:  # the boundary where a fault of an adapter stops the tree; the other effects are still due
                        self.tree.fail(error)
        finally:
            self._busy = False
        at = wake_at(self.state)
        if at != self.armed:
            self.tree.timer.arm(self, at)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Serve nothing within the block; what arrived meanwhile is served at its end, in its order."""
        if self._busy:
            yield
            return
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
            if self._inbox:
                self.feed(self._inbox.pop())

    def _collapse(self, fault: Exception) -> None:
        # a machine that cannot even stop must not hang the program: the block still waits for what is killed here
        self._collapsed = True
        self.state = attrs.evolve(self.state, lifecycle=Lifecycle.FINISHED)
        for life in reversed(tuple(self.lives.values())):
            if life.handle is not None:
                life.handle.kill()
        self._finish(Finish(Exit.failed(fault), fault))

    def _with_pid(self, event: Acknowledged) -> Acknowledged:
        # asked now and not by the life itself: a launch may acknowledge before it has returned its handle
        life = self.lives.get(event.id)
        pid = life.handle.pid if life is not None and life.handle is not None else None
        return event if pid is None else attrs.evolve(event, pid=pid)

    # ------------------------------------------------------------ effects

    def _launch(self, effect: LaunchChild) -> None:
        life = self.lives[effect.id] = Life(self, effect.id, effect.generation)
        try:
            life.handle = self.state.children[effect.id].spec.start.launch(life)
        except Exception as error:  # the boundary where a launch that raises becomes a failed start
            life.exited(Exit.failed(error))

    def _emit(self, effect: Emit) -> None:
        self.tree.bus.publish(effect.event)

    def _ask(self, effect: AskChild) -> None:
        life = self._life(effect)
        if life is not None and life.handle is not None:
            life.handle.terminate()

    def _insist(self, effect: KillChild) -> None:
        life = self._life(effect)
        if life is not None and life.handle is not None:
            life.handle.kill()

    def _reply(self, effect: Reply) -> None:
        self._answers.pop(effect.ref)(effect)

    def _abandon(self, effect: AbandonChild) -> None:
        life = self._life(effect)
        if life is not None:
            life.end(Exit.killed())
            self.tree.abandoned += 1

    def _up(self, _effect: Ready) -> None:
        self._ready()

    def _finish(self, effect: Finish) -> None:
        # none is left, unless the machine has failed over it
        while self._answers:
            ref, answer = self._answers.popitem()
            answer(Reply(ref, error=NoProc(self.path)))
        self._finished(effect.exit, effect.error)

    def _forget(self, _effect: ForgetChild) -> None:
        """Nothing to do: what is known of a child outside of the state ends with its life."""

    def _life(self, effect: AskChild | KillChild | AbandonChild) -> Life | None:
        life = self.lives.get(effect.id)
        return life if life is not None and life.generation == effect.generation else None


_PERFORM: dict[type[Effect], Callable[[Node, Any], None]] = {
    LaunchChild: Node._launch,
    Emit: Node._emit,
    AskChild: Node._ask,
    KillChild: Node._insist,
    Reply: Node._reply,
    AbandonChild: Node._abandon,
    Ready: Node._up,
    Finish: Node._finish,
    ForgetChild: Node._forget,
}
