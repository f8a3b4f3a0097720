"""What all supervisors of one tree share: the task group, the clock, the timer, the bus."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
from anyio.abc import TaskGroup

from ..core.exits import Exit
from ..leaf.interrupts import interrupts_wait
from .bus import Bus, Sink
from .timer import Timer

if TYPE_CHECKING:
    from ..core.ports import Closable, Spawn
    from ..core.wire import Mirrored
    from .node import Life, Node

C = TypeVar("C", bound="Closable")

CURRENT: ContextVar[Life] = ContextVar("CURRENT")
"""The life that a task belongs to; see `current_child`."""


class Tree:
    """Lives inside ``async with Supervisor(...)``.

    Attributes:
        root: The top supervisor; None until it has been made.
        clock: Monotonic seconds of the event loop, virtual where the loop's are.
        began: When the block was entered, by that clock.
        abandoned: Children that were given up because they did not end when killed.
        fail: Called with an error that is no child's but ours or an adapter's: the tree is stopped in order and the error
            leaves the block.
        observe: Called after each step of each supervisor, before its effects; None where nobody follows them.
    """

    observe: Callable[[Node], None] | None = None

    def __init__(self, tasks: TaskGroup, *, run: str, sinks: Iterable[Sink], fail: Callable[[BaseException], None]) -> None:
        self._tasks, self.fail = tasks, fail
        self.root: Node | None = None
        # a child is started by whoever brought the news that it must be: it gets the tree's context variables, not theirs
        self._context = contextvars.copy_context()
        self.clock: Callable[[], float] = anyio.current_time
        self.began = self.clock()
        self.bus = Bus(run, self.clock, sinks)
        self.timer = Timer(self.clock, lambda timer: self.spawn(timer.run, "supervisor timer"))
        self.abandoned = 0
        self._shared: dict[Callable[[Spawn], Closable], Closable] = {}

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], name: str, life: Life | None = None) -> anyio.CancelScope:
        """Run a task, which may be one of a child's life, that only the returned scope cancels."""
        scope = anyio.CancelScope(shield=True)
        self._context.copy().run(self._start, scope, run, name, life)
        return scope

    def seed(self) -> int:
        """A fresh seed for the jitter of one supervisor."""
        return int.from_bytes(os.urandom(8), "big")

    def shared(self, make: Callable[[Spawn], C]) -> C:
        """See `Ticket.shared`."""
        if make not in self._shared:
            self._shared[make] = make(self.spawn)
        return cast(C, self._shared[make])

    async def call(self, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
        """See `TreeTicket.call`."""
        from .calling import call_child

        assert self.root is not None  # it is known before any child is
        return await call_child(self.root, path, name, args, timeout)

    def mirrored(self, message: Mirrored) -> None:
        """See `TreeTicket.mirrored`; here nobody needs more than the handle of that child, which knows it already."""

    def close(self) -> None:
        """All supervisors have finished: end the timer, the subscriptions, and what their children shared."""
        self.timer.close()
        self.bus.close()
        for shared in self._shared.values():
            shared.close()

    def _start(self, scope: anyio.CancelScope, run: Callable[[], Coroutine[Any, Any, None]], name: str, life: Life | None) -> None:
        if life is not None:
            CURRENT.set(life)
        self._tasks.start_soon(self._within, scope, run, life, name=name)

    @interrupts_wait
    async def _within(self, scope: anyio.CancelScope, run: Callable[[], Coroutine[Any, Any, None]], life: Life | None) -> None:
        with scope:
            try:
                await run()
            except (anyio.get_cancelled_exc_class(), GeneratorExit):
                raise
            except BaseException as error:  # the boundary where a fault of ours or an adapter's stops the tree, instead of its tasks
                self.fail(error)
                if life is not None:
                    life.exited(Exit.failed(error))  # nobody else will say so: whoever waits for its end would wait for ever
