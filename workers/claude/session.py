"""A session of Claude Code that a program talks in, over the restarts in between."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Self

import anyio

from supervisor import CallError, ChildSpec, Restart, Supervisor

from .notices import LifeBegan, Notice
from .session_command import check_options, session_command
from .session_errors import SessionEndedError
from .session_place import Elsewhere, OwnTree, Place, Under, spec_of
from .session_talk import Talk

if TYPE_CHECKING:
    from types import TracebackType

    from supervisor import SupervisorRef

    from .adapter import ClaudeAdapter


class ClaudeSession(Talk):
    """A session of Claude Code that a program talks in.

    An async context manager: with its block the program begins and ends, and all that it had started. It is a child of a supervisor, its
    own or one that is given; when it crashes it is started again in the same conversation, and `send` goes on as before. It speaks
    stream-json over its standard input and output. Prompts go in one at a time, in the order of `send`.

    Nothing is read from the program while nobody waits for something of the session: it stops writing at about 1 MiB, and goes on.

    Args:
        argv: A command of Claude Code, as ``["claude"]``, with any flags and no prompt; what makes it talk in lines is added.
        cwd: Where it works; ours by default.
        env: Additions to our environment; None removes a variable.
        supervisor: The supervisor that it becomes a child of, such as a `DynamicSupervisor`; None gives it one of its own.
        name: Its id there.
        restart: After which ends it is started again.
        intensity: How often within `period`, under a supervisor of its own; one more, and the block ends with
            `RestartIntensityExceeded`. A supervisor that is given has its own.
        period: Seconds.
        grace: Seconds within which `close` has it end by itself.
        shutdown: Seconds from being asked to end by a signal to being killed.
        stderr: Where its errors go to, as of `supervisor.command`: ``"inherit"``, ``"null"``, or the path of a file that it appends to.
        state_dir: Where the locks of conversations are; the guardian's own by default.
        on_notice: Called with each notice about its lives at once, on the event loop; it must return soon and not raise.
        place: Where its program lives, in place of `supervisor`; for whoever makes sessions.

    Raises:
        InvalidField: An argument has an illegal value.

    **Cancellation:** of the block: the program is asked to end by a signal at once, and waited for as long as `shutdown` says.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: str | PathLike[str] | None = None,
        env: Mapping[str, str | None] | None = None,
        supervisor: SupervisorRef | None = None,
        name: str = "claude",
        restart: Restart = Restart.TRANSIENT,
        intensity: int = 3,
        period: float = 60.0,
        grace: float = 5.0,
        shutdown: float = 10.0,
        stderr: str = "inherit",
        state_dir: str | PathLike[str] | None = None,
        on_notice: Callable[[Notice], object] | None = None,
        place: Place | None = None,
    ) -> None:
        super().__init__()
        check_options(name, cwd, env, supervisor, restart, grace, shutdown, stderr, state_dir, on_notice)
        self.directory = os.path.abspath(os.fspath(cwd) if cwd is not None else os.curdir)
        self.env, self.name, self.grace, self.shutdown, self.restart = dict(env or {}), name, grace, shutdown, restart
        whole = {key: value for key, value in {**os.environ, **self.env}.items() if value is not None}
        self.command = session_command(argv, whole, self.directory)
        self.stderr = stderr
        self.state_dir = None if state_dir is None else os.fspath(state_dir)
        self.adapter: ClaudeAdapter | None = None
        self.generation = 0
        if place is None:
            own = Supervisor("session", intensity=intensity, period=period)
            place = OwnTree(own) if supervisor is None else Under(supervisor)
        self._place, self._on_notice = place, on_notice

    async def __aenter__(self) -> Self:
        """Start it.

        Raises:
            StartFailed: It does not start.
            CallError: The supervisor that was given takes it not.
            RuntimeError: It was started before.
        """
        if self._begun:
            raise RuntimeError("a ClaudeSession can be entered once; make a new one")
        self._begun = True
        try:
            await self._place.start(self)
        except BaseException:
            await self._finish()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        try:
            if kind is None:
                try:
                    await self.close()
                except BaseException as raised:  # most often a cancellation: as if it were the block's, or its place is never left
                    if await self._place.leave(self, type(raised), raised, raised.__traceback__):
                        return None
                    raise
            return await self._place.leave(self, kind, error, trace)
        finally:
            await self._finish()

    def spec(self, name: str | None = None) -> ChildSpec:
        """What a supervisor starts it by; for one that is not entered. Its `close` then only asks it to end.

        Args:
            name: The id of the child; its own name by default.
        """
        if self._begun:
            raise RuntimeError("this ClaudeSession is a child of a supervisor already; make a new one")
        self._begun, self._place = True, Elsewhere()
        return spec_of(self, self.name if name is None else name)

    # ------------------------------------------------------------ its lives

    @property
    def pid(self) -> int | None:
        """The process of its present life; None while there is none."""
        return self._place.pid(self)

    async def cycle(self, reason: str) -> None:
        """Restart it between two turns: what is said meanwhile goes to the next life, which is in the same conversation.

        Raises:
            CallError: The supervisor does not restart it now.
            StartFailed: The next life does not start.
            SessionEndedError: The session is over, or was closed.
            RuntimeError: It has not begun.

        **Cancellation:** before the end of the turn, without effect; a restart that has begun goes on.
        """
        self._check_begun()
        if self._is_over():
            raise SessionEndedError(self.exit)
        try:
            await self._place.cycle(self, reason)
        except CallError:
            if self._is_over() or self._is_gone():
                raise SessionEndedError(self.exit) from None
            raise

    async def close(self) -> None:
        """End it: what was said is answered first, then it gets no more, has `grace` seconds to end by itself, and is ended.

        Turns that are under way are waited for no longer than `grace`. May be called again. One that has not begun never will.

        **Cancellation:** it is ended at once, by a signal.
        """
        if self._closing:
            return
        if not self._begun:
            self._begun = True
            await self._finish()  # a child of its name is somebody else's
            return
        self._closing = True
        self.stream.close_input()
        try:
            with anyio.move_on_after(self.grace):
                while not self._ended:
                    await self._pump()
        finally:
            await self._place.stop(self)
            await self._finish()

    # ------------------------------------------------------------ inside

    def _noticed(self, notice: Notice) -> None:
        if isinstance(notice, LifeBegan):
            self.generation = notice.generation
        if self.adapter is not None:
            self.adapter.noticed(notice)
        super()._noticed(notice)
        if self._on_notice is not None:
            self._on_notice(notice)

    def _is_gone(self) -> bool:
        return self.exit is not None and self._place.is_gone(self)

    async def _finish(self) -> None:
        """No life comes any more: take what the last one wrote, and give back what the session holds."""
        self._closing = True
        self.stream.finish()
        with anyio.CancelScope(shield=True):
            while not self._ended:  # which takes nobody's time any more
                await self._pump()
        if self.adapter is not None:
            self.adapter.close()
        self._stir()
