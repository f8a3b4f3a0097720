"""A small real `Ticket`, and a life started with it: for tests of launches without a supervisor around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
from anyio.abc import TaskGroup

from supervisor.core.event import Event
from supervisor.core.exits import Exit
from supervisor.leaf.command import Command
from supervisor.leaf.running import RunningCommand


@attrs.define(eq=False)
class LifeTicket:
    """Keeps what a launch reports, and holds it to the contract of `Ticket`. Each event goes to `heard` as well."""

    task_group: TaskGroup
    path: tuple[str, ...] = ("root", "leaf")
    generation: int = 1
    value: object = None
    exit: Exit | None = None
    declines: bool = False
    heard: Callable[[Event], object] | None = None
    events: list[Event] = attrs.field(factory=list)
    extensions: list[float] = attrs.field(factory=list)
    ready: anyio.Event = attrs.field(factory=anyio.Event)
    over: anyio.Event = attrs.field(factory=anyio.Event)
    scopes: list[anyio.CancelScope] = attrs.field(factory=list)

    def started(self, value: object = None) -> None:
        assert not self.ready.is_set() and self.exit is None
        self.value = value
        self.ready.set()

    def ignored(self) -> None:
        assert self.declines, "a command is never ignored"
        assert not self.ready.is_set() and self.exit is None

    def exited(self, exit: Exit) -> None:
        assert self.exit is None, "reported twice"
        self.exit = exit
        self.over.set()

    def extend(self, seconds: float) -> None:
        assert self.exit is None
        self.extensions.append(seconds)

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> anyio.CancelScope:
        scope = anyio.CancelScope(shield=True)

        async def shielded() -> None:
            with scope:
                await run()

        self.scopes.append(scope)
        self.task_group.start_soon(shielded, name=name)
        return scope

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if self.heard is not None:
            self.heard(event)

    async def wait_exit(self, timeout: float = 20.0) -> Exit:
        """The end of the life.

        **Cancellation:** stops waiting.
        """
        with anyio.fail_after(timeout):
            await self.over.wait()
        assert self.exit is not None
        return self.exit

    async def wait_ready(self, timeout: float = 20.0) -> object:
        """The value of the acknowledgement.

        **Cancellation:** stops waiting.
        """
        with anyio.fail_after(timeout):
            await self.ready.wait()
        return self.value


@attrs.frozen
class Life:
    """One life of a command."""

    handle: RunningCommand
    ticket: LifeTicket


@asynccontextmanager
async def living(launch: Command, path: tuple[str, ...] = ("root", "leaf"), generation: int = 1) -> AsyncIterator[Life]:
    """Launch a command, and kill it in the end if it still runs.

    **Cancellation:** the command is killed.
    """
    async with anyio.create_task_group() as group:
        ticket = LifeTicket(group, path, generation)
        handle = launch.launch(ticket)
        try:
            yield Life(handle, ticket)
        finally:
            if ticket.exit is None:
                handle.kill()
                with anyio.CancelScope(shield=True):
                    await ticket.wait_exit()
