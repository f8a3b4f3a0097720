"""Sessions of Claude Code that a program talks in, under one guardian: their memory is watched, and they share a budget of restarts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.abc
import attrs

from supervisor import CallError, ChildSpec, InvalidField, Launch, NoProc, Record, Subscription, evolve

from .agents import AgentRefused, add, remove
from .claude.launch import ClaudeLaunch
from .claude.session import ClaudeSession
from .claude.session_place import between_turns
from .config import MemoryGuardianConfig, config_of, described
from .config.added import added
from .config.flags import flags_of
from .control import GuardianControl
from .guardian import leaf_spec_of
from .ledger import Leaf, Ledger
from .monitoring import Monitoring

if TYPE_CHECKING:
    from types import TracebackType

    from .claude.notices import Notice


class ClaudeSessions:
    """A guardian whose agents are sessions that this program talks in; they come and go.

    An async context manager: everything that it starts lives within its block. All sessions are children of one dynamic supervisor, so
    `restart_policy` of the configuration counts for all of them together: crashes of any of them spend one budget, controlled restarts
    another. Each session has the thresholds of the configuration for itself; that the host's memory is enough for all of them,
    ``host_reserve`` sees to: when less is left, the one that has grown most is restarted when it is idle.

    Args:
        config: As the file has it; None is the default. Its command is not run: its other keys are those of each session.

    Raises:
        UsageError: All faults of the configuration on this host.
        InvalidField: `config` is no configuration.

    **Cancellation:** of the block: all sessions are ended at once, by a signal, and waited for.
    """

    def __init__(self, config: MemoryGuardianConfig | None = None) -> None:
        config = attrs.evolve(config_of(config, "ClaudeSessions"), auto_start=True, agents=())
        self._run = attrs.evolve(described(config), agents=())
        self.config = config
        self._sinks: list[Callable[[Record], object]] = []
        self._tasks: anyio.abc.TaskGroup | None = None
        self._now: Monitoring | None = None

    async def __aenter__(self) -> Self:
        if self._now is not None:
            raise RuntimeError("these ClaudeSessions were entered before; make another one")
        shared = {**flags_of(self.config.restart_policy), "judged": self.config.enabled}
        now = self._now = Monitoring(self._run, shared=shared)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(now.run, tuple(self._sinks), name="memory guardian")
        try:
            await now.settled.wait()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        if now.failure is not None:
            await self.__aexit__(None, None, None)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        tasks, now = self._tasks, self._now
        assert tasks is not None and now is not None
        now.stop.request()
        if error is not None and isinstance(error, anyio.get_cancelled_exc_class()):
            return await tasks.__aexit__(kind, error, trace)
        await tasks.__aexit__(None, None, None)  # an error of the block leaves it bare
        if now.failure is not None and error is None:
            raise now.failure
        return None

    def session(
        self,
        argv: Sequence[str],
        *,
        name: str | None = None,
        cwd: str | PathLike[str] | None = None,
        env: Mapping[str, str | None] | None = None,
        grace: float = 5.0,
        stderr: str = "inherit",
        on_notice: Callable[[Notice], object] | None = None,
    ) -> ClaudeSession:
        """A session, for ``async with`` within the block.

        Beside what the start of any session raises, that of this one raises `AgentRefused` where the host is short of memory, and
        `UsageError` where its name is in use.

        Args:
            argv: As of `ClaudeSession`.
            name: Its own among the sessions and agents of this project; by default the command's, with a number where that is in use.
            cwd: As of `ClaudeSession`.
            env: As of `ClaudeSession`.
            grace: As of `ClaudeSession`.
            stderr: As of `ClaudeSession`.
            on_notice: As of `ClaudeSession`.

        Raises:
            InvalidField: An argument has an illegal value.
        """
        options: dict[str, Any] = {"cwd": cwd, "env": env, "grace": grace, "stderr": stderr, "on_notice": on_notice}
        return ClaudeSession(argv, **options, name=name or "claude", place=_Guarded(self, named=name is not None))

    @property
    def ledger(self) -> Ledger:
        """What the guardian knows. For its sessions.

        Raises:
            RuntimeError: Outside of the block.
        """
        now = self._now
        if now is None or not now.settled.is_set() or now.ended.is_set():
            raise RuntimeError("ClaudeSessions work within their block: async with ClaudeSessions() as sessions")
        return now.known

    def subscribe(self, capacity: int = 1000) -> Subscription:
        """The events from now on, for ``async with``; see `supervisor.Supervisor.subscribe`.

        Raises:
            RuntimeError: Outside of the block.
            InvalidField: `capacity` is no integer >= 1.
        """
        tree = self.ledger.tree
        assert tree is not None
        return tree.subscribe(capacity)

    def add_sink(self, sink: Callable[[Record], object]) -> None:
        """Call `sink(record)` for every event, when it is added before the block; see `supervisor.Supervisor.add_sink`."""
        self._sinks.append(sink)

    def get_statistics(self) -> dict[str, dict[str, Any]]:
        """What is known of each session that is open, by its name.

        Returns:
            ``process_id``, ``memory_bytes`` and ``peak_bytes`` (None when unknown), ``level`` and ``mode`` by their values, ``idle``,
            ``restarts`` (``total``, and of them ``controlled``), and ``gave_up``: why it stays down, None when it does not.

        Raises:
            RuntimeError: Outside of the block.
        """
        return {leaf.name: _told(self.ledger, leaf) for leaf in self.ledger.leaves}


class _Guarded:
    """Where the program of a session lives that a guardian watches."""

    def __init__(self, sessions: ClaudeSessions, *, named: bool) -> None:
        self._sessions, self._named = sessions, named
        self._leaf: Leaf | None = None

    async def start(self, session: ClaudeSession) -> None:
        """See `Place.start`."""
        ledger = self._sessions.ledger
        given = {
            "argv": (*session.command.program, *session.command.arguments),
            "name": session.name if self._named else None,
            "working_directory": session.directory,
            "restart": "failure",
        }
        agent = added(ledger.run, given, [leaf.name for leaf in ledger.leaves])
        env = {**agent.command.env, **{name: value for name, value in session.env.items() if value is not None}}
        agent = attrs.evolve(agent, command=attrs.evolve(agent.command, env=env))
        removed = {name: value for name, value in session.env.items() if value is None}

        def spec(ledger: Ledger, leaf: Leaf) -> ChildSpec:
            whole = leaf_spec_of(ledger, leaf)
            launch: Any = whole.start
            if not isinstance(launch, ClaudeLaunch):
                raise InvalidField("argv", session.command.program, "a command that is known as Claude Code", where="ClaudeSessions")
            made = launch.made

            def with_more(*args: Any, **options: Any) -> Launch:
                command: Any = made(*args, **options)
                changed: Launch = evolve(command, env={**command.env, **removed}, stderr=session.stderr, terminal="never")
                return changed

            return evolve(whole, id=leaf.name, start=evolve(launch, made=with_more))

        self._leaf = await add(ledger, agent, stream=session.stream, spec=spec)
        session.name = self._leaf.name

    async def stop(self, session: ClaudeSession) -> None:
        """See `Place.stop`."""
        leaf = self._leaf
        if leaf is None or leaf.gone:
            return
        try:
            ledger = self._sessions.ledger
        except RuntimeError:
            return  # all of it has ended
        try:
            await remove(ledger, leaf.name)
        except (NoProc, AgentRefused):
            return  # the tree ends, and it with that; or it is gone

    async def cycle(self, session: ClaudeSession, reason: str) -> None:
        """See `Place.cycle`."""
        ledger, leaf = self._sessions.ledger, self._leaf
        assert leaf is not None
        if await GuardianControl(ledger).restart(leaf.path, reason):
            return
        async with between_turns(session):  # nobody watches who would see to that
            await ledger.above(leaf).cycle_child(leaf.path[-1], reason=reason)

    def pid(self, session: ClaudeSession) -> int | None:
        """See `Place.pid`."""
        leaf = self._leaf
        try:
            child = None if leaf is None or leaf.gone else self._sessions.ledger.child(leaf)
        except RuntimeError:
            return None
        return None if child is None else child.pid

    def is_gone(self, session: ClaudeSession) -> bool:
        """See `Place.is_gone`."""
        leaf = self._leaf
        try:
            # between two lives of a restart it is down, too
            return leaf is not None and (leaf.gone or (self._sessions.ledger.is_down(leaf) and not leaf.guard.is_under_way))
        except (RuntimeError, CallError):
            return True

    async def leave(
        self, session: ClaudeSession, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """See `Place.leave`."""
        await self.stop(session)
        return None


def _told(ledger: Ledger, leaf: Leaf) -> dict[str, Any]:
    child, guard = ledger.child(leaf), leaf.guard
    known = child is not None and child.generation == guard.generation and guard.alive and not guard.blind
    sample = leaf.sample if known and guard.pressure.total_bytes is not None else None
    return {
        "process_id": None if child is None else child.pid,
        "memory_bytes": None if sample is None else sample.total_bytes,
        "peak_bytes": guard.pressure.peak_bytes,
        "level": None if sample is None else guard.level.value,
        "mode": leaf.mode.value,
        "idle": guard.idle,
        "gave_up": leaf.gave_up if child is not None and child.pid is None else None,
        "restarts": {"total": len(leaf.restarts), "controlled": sum(note.controlled for note in leaf.restarts)},
    }
