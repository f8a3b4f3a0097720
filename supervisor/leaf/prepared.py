"""A launch with something to be done before each life, which may take its time and does not hold up the tree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from ..core.errors import InvalidField
from ..core.exits import Exit
from ..core.launch import ChildType, Launch
from ..core.ports import Cancellable, Handle, Ticket, TreeTicket
from ..core.value import Value


@attrs.frozen(repr=False, eq=False)
class Prepared(Value):
    """Prepares each life of a launch; see `prepared`."""

    then: Launch
    before: Callable[[], Awaitable[object]]

    @property
    def type(self) -> ChildType:
        """As of the launch."""
        return self.then.type

    @property
    def kill_timeout(self) -> float:
        """As of the launch."""
        return self.then.kill_timeout

    def launch(self, ticket: Ticket) -> Handle:
        """Begin to prepare."""
        preparing = _Preparing(self, ticket)
        preparing.begin()
        return preparing

    def describe(self) -> dict[str, Any]:
        """As of the launch."""
        return self.then.describe()


@attrs.define(eq=False)
class _Preparing:
    """The `Handle` until there is the launch's own."""

    _how: Prepared
    _ticket: Ticket
    _task: Cancellable | None = None
    _asked: bool = False

    @property
    def pid(self) -> None:
        """There is no process yet."""
        return

    def begin(self) -> None:
        """Prepare, and then launch."""
        self._task = self._ticket.spawn(self._prepare, f"preparing {'/'.join(self._ticket.path)}")

    def terminate(self) -> None:
        """Do without this life."""
        self._asked = True
        assert self._task is not None
        self._task.cancel()

    def kill(self) -> None:
        """As `terminate`."""
        self.terminate()

    async def _prepare(self) -> None:
        ticket = self._ticket
        over = False
        try:
            await self._how.before()
            over = True
        except Exception as error:  # the boundary where a preparation that raises becomes a failed start
            over = True
            ticket.exited(Exit.failed(error))
            return
        finally:
            if not over:
                ticket.exited(Exit.shutdown())
        if self._asked:  # after the last moment at which that could cancel anything
            ticket.exited(Exit.shutdown())
            return
        try:
            handle = self._how.then.launch(ticket)
        except Exception as error:  # the boundary where a launch that raises becomes a failed start
            ticket.exited(Exit.failed(error))
            return
        if isinstance(ticket, TreeTicket):
            ticket.handed(handle)


def prepared(launch: Launch, before: Callable[[], Awaitable[object]]) -> Launch:
    """A launch before each life of which something is done.

    Until that is over the child is starting, for `start_timeout` and whoever waits; when it is, the child is what `launch` starts.

    Args:
        launch: What is started.
        before: What is done. One that raises is a failed start. **Cancellation:** when the child is to end; there is no life then.

    Raises:
        InvalidField: An argument has an illegal value.
    """
    if not isinstance(launch, Launch):
        raise InvalidField("launch", launch, "what a child specification starts", where="prepared")
    if not callable(before):
        raise InvalidField("before", before, "an async function", where="prepared")
    return Prepared(launch, before)
