"""The guardian as classes, for programs in Python: faces of the same tree, workers and policies that the launcher runs."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.abc
import attrs

from supervisor import (
    Attached,
    CallError,
    ChildNotRunning,
    ChildRestarting,
    InvalidField,
    NoProc,
    Record,
    RestartPostponed,
    StartFailed,
    Subscription,
    UsageError,
    attached,
)
from supervisor import RestartRefused as Refusal

from .config import MemoryGuardianConfig, config_of, described
from .control import GuardianControl
from .event import RestartRefused
from .monitoring import Monitoring, log
from .policy.pressure import MemoryState
from .probe import MemorySample
from .protection import RestartProtection
from .redactor import redacted_text

if TYPE_CHECKING:
    from .health.monitor import HealthReport
    from .state.manager import StateManager


class ProcessState(Enum):
    """Where the watched process is in its life."""

    NOT_STARTED = "not_started"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    RESTARTING = "restarting"
    FAILED = "failed"


class MemoryGuardian:
    """Watches the memory of one command, or of a process that runs already, and restarts it before it runs away.

    An async context manager: everything that it starts lives within its block, and calls outside of it raise `RuntimeError`. Leaving the
    block stops the monitoring in order. Signals, the terminal's screen and the control socket are left to the program around it.

    Args:
        config: As the file has it; None is the default. `auto_start` is for the launcher: here `start_monitoring` starts.
        state_manager: States are kept where it keeps them, in place of the configuration's `state_dir`.
        restart_protection: Goes on with what this one has spent, by its policy, and has it say what was spent since. Not in use elsewhere.

    Attributes:
        config: The configuration.
        protection: The restart protection, as `restart_protection` or made from the configuration.

    Raises:
        UsageError: All faults of the configuration on this host.
        InvalidField: An argument is of the wrong kind.
    """

    def __init__(
        self,
        config: MemoryGuardianConfig | None = None,
        state_manager: StateManager | None = None,
        restart_protection: RestartProtection | None = None,
    ) -> None:
        where = "MemoryGuardian"
        if restart_protection is not None and not isinstance(restart_protection, RestartProtection):
            raise InvalidField("restart_protection", restart_protection, "a RestartProtection, or None", where=where)
        config = config_of(config, where)
        if state_manager is not None:
            from .state.manager import keeping

            config = keeping(state_manager, config, where)
        if restart_protection is not None:
            config = attrs.evolve(config, restart_policy=restart_protection.policy)
        self._run = described(attrs.evolve(config, auto_start=True))
        if config.agents:
            raise UsageError(["agents: MemoryGuardian watches one command, that of [command]; python -m supervisor runs several"])
        self.config = config
        self.protection = restart_protection or RestartProtection(config)
        self._given = restart_protection is not None
        self._sinks: list[Callable[[Record], object]] = []
        self._tasks: anyio.abc.TaskGroup | None = None
        self._now: Monitoring | None = None
        self._told = False

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise RuntimeError("this MemoryGuardian is in use; make another one")
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        tasks, now = self._tasks, self._now
        assert tasks is not None
        if now is not None:
            now.stop.request()
        try:
            if error is not None and isinstance(error, anyio.get_cancelled_exc_class()):
                return await tasks.__aexit__(kind, error, trace)
            await tasks.__aexit__(None, None, None)  # an error of the block leaves it bare
        finally:
            self._tasks = None
        if now is not None and now.failure is not None and not self._told:
            if error is None:
                raise now.failure
            log.error("the guardian failed, too: %s", redacted_text(str(now.failure)))
        return None

    # ------------------------------------------------------------ monitoring

    async def start_monitoring(self, process_id: int | None = None) -> None:
        """Run the command and watch it, or watch a process that runs already; returns once that is up.

        A process that was attached to is never signalled and never restarted, unless ``adopt`` is on in the configuration's command:
        then it is ended with its whole tree when the monitoring stops, and the command takes its place when its memory asks for that.

        Args:
            process_id: The process; None runs the command.

        Raises:
            UsageError: The command cannot be started, or a name given by hand is in use.
            InvalidField: There is no such process, or it is this one, or one above this one that would be adopted.
            RuntimeError: Outside of the block, or it is monitoring already.

        **Cancellation:** what was started is stopped in order, before the end of the block.
        """
        tasks = self._inside()
        if self._now is not None and not self._now.ended.is_set():
            raise RuntimeError("it is monitoring already; stop_monitoring() ends that")
        now = Monitoring(self._run, self._attached(process_id), self.protection, given=self._given)
        self._now, self._told = now, False
        tasks.start_soon(now.run, tuple(self._sinks), name="memory guardian")
        try:
            await now.settled.wait()
        except BaseException:
            now.stop.request()
            raise
        self._raise_failure(now)

    async def stop_monitoring(self) -> None:
        """Stop in order, and wait for that; without effect when nothing is monitored. A process that is not ours goes on.

        Raises:
            RuntimeError: Outside of the block.

        **Cancellation:** leaves the wait; the stop goes on.
        """
        self._inside()
        if self._now is not None:
            self._now.stop.request()
            await self._now.ended.wait()
            self._raise_failure(self._now)

    async def wait(self) -> int | None:
        """Wait until there is nothing more to watch.

        Returns:
            The exit code, as the launcher's: the command's own, 128 and the signal that ended it, or 75 when restart protection gave
            up. None when the process that was attached to ended, whose exit code its parent alone knows.

        Raises:
            RuntimeError: Outside of the block, or nothing was started.

        **Cancellation:** leaves the wait, and nothing else.
        """
        now = self._started()
        await now.ended.wait()
        self._raise_failure(now)
        assert now.outcome is not None
        exit = now.leaf.exit
        unknown = now.leaf.attached is not None and exit is not None and exit.code is None and exit.signal is None
        return None if unknown and now.outcome.source == "command" else now.outcome.code

    async def initiate_restart(self, reason: str) -> bool:
        """Restart now, as the guardian does it: restart protection admits it, state is captured, the new life is judged.

        Returns:
            Whether there is a new life. If not, an event says why: `RestartRefused`, with ``not_owned: ...`` for a process that was
            attached to and not adopted, or `RestartFailed`.

        Raises:
            RuntimeError: Outside of the block, or nothing is monitored.
            InvalidField: `reason` is no text, or empty.

        **Cancellation:** leaves the wait; a restart that was admitted goes on.
        """
        said: object = reason
        if not isinstance(said, str) or not said.strip():
            raise InvalidField("reason", reason, "a text that says why", where="initiate_restart")
        now = self.monitoring
        leaf, ledger = now.leaf, now.known
        outcome: list[CallError | StartFailed | None] = []

        async def restart() -> None:
            try:
                if leaf.not_owned:  # also where nobody watches who would say so
                    raise Refusal(leaf.path[:-1], leaf.path[-1], leaf.not_owned, None)
                if not await GuardianControl(ledger).restart(leaf.path, reason):
                    await ledger.above(leaf).cycle_child(leaf.path[-1], reason=reason)
                outcome.append(None)
            except (CallError, StartFailed) as error:
                outcome.append(error)
            tasks.cancel_scope.cancel()

        async def ended() -> None:
            await now.ended.wait()  # with it goes whoever would answer
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(restart)
            tasks.start_soon(ended)
        now.follow()
        error = outcome[0] if outcome else NoProc(leaf.path[:-1])
        said_why = refusal(error)
        if said_why is not None:
            ledger.emit(RestartRefused(leaf.path, *said_why, reason, generation=leaf.guard.generation))
        return error is None

    # ------------------------------------------------------------ what is known

    @property
    def state(self) -> ProcessState:
        """Where the watched process is in its life."""
        now = self._now
        if now is None:
            return ProcessState.NOT_STARTED
        if now.ended.is_set():
            failed = now.outcome is None or (not now.stop.requested and now.outcome.code != 0)
            return ProcessState.FAILED if failed else ProcessState.STOPPED
        if now.stop.requested:
            return ProcessState.STOPPING
        if now.ledger is None or not now.settled.is_set():
            return ProcessState.STARTING
        child = now.ledger.child(now.leaf)
        if child is not None and child.state == "running":
            return ProcessState.RUNNING
        return ProcessState.STOPPED if now.ledger.is_down(now.leaf) else ProcessState.RESTARTING

    @property
    def memory_state(self) -> MemoryState | None:
        """The level of its memory; None while it is unknown."""
        return None if self.get_memory_usage() is None or self._now is None else self._now.leaf.guard.level

    @property
    def process_id(self) -> int | None:
        """The root process that is watched; None when there is none."""
        now = self._now
        child = None if now is None or now.ledger is None or now.ended.is_set() else now.ledger.child(now.leaf)
        return None if child is None else child.pid

    def get_memory_usage(self) -> MemorySample | None:
        """The latest sample: the bytes of the whole tree of processes, and of each member.

        Returns:
            The sample; None while it is unknown: nothing runs, none was taken yet (the first follows half a second after a start), or it
            cannot be read.
        """
        now = self._now
        if now is None or now.ledger is None or now.ended.is_set():
            return None
        guard, child = now.leaf.guard, now.ledger.child(now.leaf)
        if child is None or child.generation != guard.generation:
            return None  # the latest sample is of an earlier life
        return now.leaf.sample if guard.alive and not guard.blind and guard.pressure.total_bytes is not None else None

    def get_health(self) -> HealthReport | None:
        """The latest look at the host and the leaf, and the verdict; one is taken every ``health.interval``, the first after 5 s at most.

        Returns:
            The report; None before the first look, and where nobody looks.
        """
        now = self._now
        ledger = None if now is None else now.ledger
        if ledger is None or ledger.metrics is None or ledger.verdict is None:
            return None
        from .health.monitor import HealthReport

        return HealthReport(ledger.metrics, ledger.verdict.health, ledger.verdict.reasons)

    def get_statistics(self) -> dict[str, Any]:
        """What has happened since `start_monitoring`, also when that is over.

        Returns:
            ``state`` and ``level`` (None when unknown) and ``mode`` by their values, ``process_id``, ``uptime`` (seconds of monitoring),
            ``samples``, ``memory_bytes`` and ``peak_bytes`` (None when unknown), ``restarts`` (``total``, and of them ``controlled``),
            ``captures``, ``state_file`` (the latest capture, or None), and ``protection`` (see `RestartProtection.get_statistics`, of what
            the tree has spent: ``attempts_in_window``, ``attempts_left``, ``consecutive_failures``, ``cooldown_remaining``, ``circuit``).

        Raises:
            RuntimeError: Nothing was started.
        """
        now = self._now
        if now is None or now.ledger is None:
            raise RuntimeError("nothing was started; await start_monitoring() first")
        if now.over is None:
            now.follow()
        leaf, sample, level = now.leaf, self.get_memory_usage(), self.memory_state
        spent = self.protection.get_statistics()
        return {
            "state": self.state.value,
            "process_id": self.process_id,
            "uptime": (anyio.current_time() if now.over is None else now.over) - now.began,
            "samples": leaf.samples,
            "memory_bytes": None if sample is None else sample.total_bytes,
            "peak_bytes": leaf.guard.pressure.peak_bytes,
            "level": None if level is None else level.value,
            "mode": leaf.mode.value,
            "restarts": {"total": len(leaf.restarts), "controlled": sum(note.controlled for note in leaf.restarts)},
            "captures": now.captures,
            "state_file": leaf.state_file,
            "protection": {key: value for key, value in spent.items() if key not in ("total_attempts", "successful", "failed")},
        }

    def subscribe(self, capacity: int = 1000) -> Subscription:
        """The events from now on, for ``async with``; it ends with the monitoring. See `supervisor.Supervisor.subscribe`.

        Raises:
            RuntimeError: Outside of the block, or nothing is monitored.
            InvalidField: `capacity` is no integer >= 1.
        """
        tree = self.monitoring.known.tree
        assert tree is not None
        return tree.subscribe(capacity)

    def add_sink(self, sink: Callable[[Record], object]) -> None:
        """Call `sink(record)` for every event from the next `start_monitoring` on; see `supervisor.Supervisor.add_sink`."""
        self._sinks.append(sink)

    # ------------------------------------------------------------ inside

    def _attached(self, process_id: int | None) -> Attached | None:
        if process_id is None:
            return None
        agent = self._run.agents[0]
        return attached(process_id, adopt=agent.command.adopt, kill_timeout=agent.restart_policy.force_kill_timeout)

    def _inside(self) -> anyio.abc.TaskGroup:
        if self._tasks is None:
            raise RuntimeError("a MemoryGuardian works within its block: async with MemoryGuardian(config) as guardian")
        return self._tasks

    def _started(self) -> Monitoring:
        self._inside()
        if self._now is None:
            raise RuntimeError("nothing was started; await start_monitoring() first")
        return self._now

    @property
    def monitoring(self) -> Monitoring:
        """The run that is under way, for what reaches into it.

        Raises:
            RuntimeError: Outside of the block, or nothing is monitored.
        """
        now = self._started()
        if not now.settled.is_set() or now.ended.is_set():
            raise RuntimeError("nothing is monitored now")
        return now

    def _raise_failure(self, now: Monitoring) -> None:
        if now.failure is not None:
            self._told = True
            raise now.failure


def refusal(error: CallError | StartFailed | None) -> tuple[str, float | None] | None:
    """Why a restart was not begun, and in how many seconds it may be; None where it was, or nobody is left to be told."""
    match error:
        case Refusal(reason=reason, retry_in=retry_in):
            return reason, retry_in
        case RestartPostponed(remaining=remaining):
            return "a cooldown is not over", remaining
        case ChildRestarting():
            return "a restart of it is under way already", None
        case ChildNotRunning():
            return "it does not run", None
        case _:
            return None
