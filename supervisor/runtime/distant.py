"""A supervisor as its callers see it, wherever it runs: here it is a `Node`, elsewhere what is known of it and how it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..core.errors import NoProc
from ..core.exits import Exit
from ..core.message import Judge, Reply, Request, Stop
from ..core.state import State

if TYPE_CHECKING:
    from ..leaf.worker import WorkerLife

Answer = Callable[[Reply], None]


class Supervising(Protocol):
    """A running supervisor."""

    @property
    def path(self) -> tuple[str, ...]:
        """The ids from the root down to it."""

    @property
    def state(self) -> State:
        """Its state, a frozen value.

        Raises:
            NoProc: It runs no more.
        """

    def now(self) -> float:
        """The present moment by the clock of its state's times."""

    def call(self, request: Request, answer: Answer) -> None:
        """Ask for something; `answer(reply)` is called once, now or later."""

    def judge(self, id: str, generation: int, *, success: bool) -> None:
        """See `SupervisorRef.judge`."""

    def stop(self, exit: Exit) -> None:
        """See `SupervisorRef.stop`."""

    def below(self, id: str) -> Supervising | None:
        """The child of that id, if it is a running supervisor."""

    def status(self, id: str) -> str | None:
        """What the child of that id says of itself for people; None when it has said nothing."""


class DistantNode:
    """A supervisor in another process. Its state is as new as the latest event that has come from there."""

    def __init__(self, life: WorkerLife, path: tuple[str, ...]) -> None:
        self._life, self.path = life, path

    @property
    def state(self) -> State:
        """See `Supervising.state`."""
        image = self._life.image
        state = None if image is None else image.states.get(self.path)
        if state is None:
            raise NoProc(self.path)
        return state

    def now(self) -> float:
        """See `Supervising.now`."""
        image = self._life.image
        return time.monotonic() + (0.0 if image is None else image.ahead.get(self.path, 0.0))

    def call(self, request: Request, answer: Answer) -> None:
        """See `Supervising.call`; what cannot cross is refused with a `TypeError`."""
        self._life.request(self.path, request, lambda id, value, error: answer(Reply(0, value, error, id)))

    def judge(self, id: str, generation: int, *, success: bool) -> None:
        """See `Supervising.judge`."""
        self._tell(Judge(id, generation, success))

    def stop(self, exit: Exit) -> None:
        """See `Supervising.stop`.

        Raises:
            TypeError: The exit cannot leave this process.
        """
        self._tell(Stop(exit))

    def below(self, id: str) -> DistantNode | None:
        """See `Supervising.below`."""
        return distant(self._life, (*self.path, id))

    def status(self, id: str) -> str | None:
        """See `Supervising.status`."""
        image = self._life.image
        return None if image is None else image.status((*self.path, id))

    async def ask(self, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
        """Call a function that a child below it serves; see `SupervisorRef.call`."""
        return await self._life.ask(path, name, args, timeout)

    def _tell(self, request: Judge | Stop) -> None:
        from ..core.term import encode

        encode(request)  # nobody waits for an answer that says it cannot cross
        self._life.request(self.path, request, lambda _id, _value, _error: None)


def distant(handle: Any, path: tuple[str, ...]) -> DistantNode | None:
    """The supervisor of that path, if it runs in the process of this handle."""
    image = getattr(handle, "image", None)
    return None if image is None or path not in image.states else DistantNode(handle, path)
