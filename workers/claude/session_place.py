"""Where the program of a session lives in a tree: who starts it, stops it, and restarts it between two turns."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from supervisor import CallError, ChildNotFound, ChildSpec, NoProc, Supervisor, SupervisorRef, command, evolve

from .adapter import ClaudeAdapter
from .continuation import Continuation
from .conversation import Conversation
from .equipment import lock_directory, locked
from .leaf_hooks import LeafHooks
from .life_input import LifeInput

if TYPE_CHECKING:
    from types import TracebackType

    from supervisor import Launch

    from .session import ClaudeSession

_UNHEARD: Final = "it is no agent of a guardian"


class Place(Protocol):
    """Where the program of one session lives."""

    async def start(self, session: ClaudeSession) -> None:
        """Start it.

        **Cancellation:** nothing of it is left.
        """

    async def stop(self, session: ClaudeSession) -> None:
        """Have it end now, by a signal, and wait for that; nothing is started any more. May be called again.

        **Cancellation:** what has begun is waited for.
        """

    async def cycle(self, session: ClaudeSession, reason: str) -> None:
        """Start it again between two turns."""

    def pid(self, session: ClaudeSession) -> int | None:
        """Its process; None when it does not run."""

    def is_gone(self, session: ClaudeSession) -> bool:
        """Whether its supervisor is not there any more, or has forgotten it."""

    async def leave(
        self, session: ClaudeSession, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """The block of the session ends: stop it, if it was not."""


class Under:
    """A child of a supervisor that somebody else has.

    Args:
        supervisor: The supervisor.
    """

    def __init__(self, supervisor: SupervisorRef) -> None:
        self._supervisor = supervisor

    async def start(self, session: ClaudeSession) -> None:
        """See `Place.start`."""
        await self._supervisor.start_child(spec_of(session, session.name))

    async def stop(self, session: ClaudeSession) -> None:
        """See `Place.stop`."""
        with anyio.CancelScope(shield=True), suppress(NoProc, ChildNotFound):
            await self._supervisor.terminate_child(session.name)
            with suppress(CallError):  # a dynamic supervisor has forgotten it
                await self._supervisor.delete_child(session.name)

    async def cycle(self, session: ClaudeSession, reason: str) -> None:
        """See `Place.cycle`."""
        async with between_turns(session):
            await self._supervisor.cycle_child(session.name, reason=reason)

    def pid(self, session: ClaudeSession) -> int | None:
        """See `Place.pid`."""
        try:
            return self._supervisor.which_child(session.name).pid
        except (ChildNotFound, NoProc):
            return None

    def is_gone(self, session: ClaudeSession) -> bool:
        """See `Place.is_gone`."""
        try:
            return self._supervisor.which_child(session.name).state == "undefined"
        except (ChildNotFound, NoProc):
            return True

    async def leave(
        self, session: ClaudeSession, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """See `Place.leave`."""
        await self.stop(session)
        return None


class OwnTree(Under):
    """The only child of a supervisor of its own.

    Args:
        supervisor: The supervisor, not started yet.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__(supervisor)
        self._tree = supervisor

    async def start(self, session: ClaudeSession) -> None:
        """See `Place.start`."""
        await self._tree.__aenter__()
        try:
            await super().start(session)
        except BaseException as error:
            await self._tree.__aexit__(type(error), error, error.__traceback__)
            raise

    async def leave(
        self, session: ClaudeSession, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """See `Place.leave`."""
        return await self._tree.__aexit__(kind, error, trace)


class Elsewhere:
    """A child of whoever was given its specification: all that can be done from here is to end its input."""

    async def start(self, session: ClaudeSession) -> None:
        """See `Place.start`."""
        raise RuntimeError("this session is started by the supervisor that has its spec()")

    async def stop(self, session: ClaudeSession) -> None:
        """See `Place.stop`."""

    async def cycle(self, session: ClaudeSession, reason: str) -> None:
        """See `Place.cycle`."""
        raise RuntimeError("this session is restarted by the supervisor that has its spec()")

    def pid(self, session: ClaudeSession) -> int | None:
        """See `Place.pid`."""
        return None  # whoever has the supervisor can ask it

    def is_gone(self, session: ClaudeSession) -> bool:
        """See `Place.is_gone`."""
        return False

    async def leave(
        self, session: ClaudeSession, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """See `Place.leave`."""
        return None


@asynccontextmanager
async def between_turns(session: ClaudeSession) -> AsyncIterator[None]:
    """A block in which a session is in no turn, and gets no prompt.

    **Cancellation:** before the block, without effect.
    """
    session.stream.hold(True)
    try:
        await session.wait(lambda: not session.is_busy)
        yield
    finally:
        session.stream.hold(False)


def spec_of(session: ClaudeSession, name: str) -> ChildSpec:
    """What a supervisor starts the program of a session by: each life in the conversation of the one before."""
    environ = {key: value for key, value in {**os.environ, **session.env}.items() if value is not None}
    continuation = Continuation(session.command, environ, session.directory, partial(locked, (lock_directory(session.state_dir),)))
    hooks, input = LeafHooks(continuation, _UNHEARD), LifeInput(session.stream)
    adapter = session.adapter = ClaudeAdapter(None, Conversation(continuation), hooks, input, is_crash_only=False)
    options: dict[str, Any] = {"env": session.env, "cwd": session.directory, "stderr": session.stderr, "terminal": "never"}

    def made(argv: tuple[str, ...], judge: Any, *, stdin: int | str | None = None, stdout: int | None = None) -> Launch:
        pipes: dict[str, Any] = {"stdin": "null" if stdin is None else stdin, "stdout": "null" if stdout is None else stdout}
        return command(*argv, **options, **pipes, judge=judge)

    argv = (*session.command.program, *session.command.arguments)
    # which says for the stream, too, after which ends there is no other life
    spec = session.stream.spec(name, *argv, restart=session.restart, shutdown=session.shutdown, **options)
    return evolve(spec, start=adapter.launch(argv, made))
