"""The block of a tree: what ``async with Supervisor(...)`` does from its first line to its last, and what leaves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio

from ..core.errors import NoProc, Path
from ..core.exits import Exit, describe
from ..core.history import History, told
from ..core.spec import ChildSpec, SupervisorFlags
from ..leaf.interrupts import apply_marks, interrupts_wait
from .bus import Sink
from .node import Node
from .tree import Tree


class Block:
    """One block, entered once.

    Attributes:
        root: The tree's top supervisor, from the moment the block is entered.
        exit: How the tree ended, None before that.
        partitions: See `Node`.
    """

    def __init__(self, path: Path, flags: SupervisorFlags, specs: tuple[ChildSpec, ...], history: History | None = None) -> None:
        self._path, self._flags, self._specs, self._history = path, flags, specs, history
        self.partitions: int | None = None
        self.root: Node | None = None
        self.exit: Exit | None = None
        self._failure: BaseException | None = None
        self._body: anyio.CancelScope | None = None

    @asynccontextmanager
    @interrupts_wait
    async def open(self, run: str, sinks: Iterable[Sink]) -> AsyncIterator[None]:
        """Start the tree, let the body run, stop the tree; then one error leaves bare, if there was any."""
        apply_marks()
        spent = told(self._history, where="/".join(self._path))
        up, over = anyio.Event(), anyio.Event()

        def finished(exit: Exit, error: Exception | None) -> None:
            self.exit = exit
            if error is not None:
                self._blame(error)
            up.set()
            over.set()
            if self._body is not None:
                self._body.cancel()

        try:
            async with anyio.create_task_group() as tasks:
                tree = Tree(tasks, run=run, sinks=sinks, fail=self._fail)
                root = Node(tree, self._path, self._flags, self._specs, up.set, finished, partitions=self.partitions, history=spent)
                self.root = tree.root = root
                try:
                    root.boot()
                    await up.wait()
                    if self._failure is None:
                        with anyio.CancelScope() as self._body:
                            if over.is_set():
                                self._body.cancel()
                            yield
                except BaseException as error:  # kept, so that it leaves bare after the children have been stopped
                    self._blame(error)
                await self._stop(root, over)
                tree.close()
        except BaseException as error:  # an outer cancellation while a child that was given up is waited for
            self._blame(error)
        for fault in self.root.tree.bus.faults if self.root is not None else ():
            self._blame(fault)
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure  # its traceback holds this frame

    async def _stop(self, root: Node, over: anyio.Event) -> None:
        root.terminate()
        while not over.is_set():
            try:
                with anyio.CancelScope(shield=True):
                    await over.wait()
            except BaseException as error:  # kept: asyncio's task.cancel() and an interrupt pass a shield, children are still to be stopped
                self._blame(error)
                if isinstance(error, KeyboardInterrupt):
                    root.kill()

    def _fail(self, error: BaseException) -> None:
        """See `Tree.fail`."""
        self._blame(error)
        if self.root is not None:
            self.root.terminate()

    def _blame(self, error: BaseException) -> None:
        """An error that wants to leave the block: the weightiest does, among equals the first; a failure that stays is noted on it."""
        kept = self._failure
        if kept is None or kept is error:
            self._failure = error
            return
        first, second = (error, kept) if _weight(error) > _weight(kept) else (kept, error)
        self._failure = first
        if _weight(second):
            first.add_note(f"meanwhile: {describe(second)}")


def _weight(error: BaseException) -> int:
    """A cancellation must not hide a failure, nor must the body's complaint that the tree is gone hide why it is gone."""
    if isinstance(error, anyio.get_cancelled_exc_class()):
        return 0
    return 1 if isinstance(error, NoProc) else 2
