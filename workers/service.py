"""The guardian as a service that another program's container holds: without an event loop of its own, or beside its loop.

The names are those of Claude MPM's service interfaces (`initialize`, `start`, `stop`, `restart`, `is_running`, `shutdown`, `dispose`),
and a status has the shape that its Memory Guardian's had. Nothing of Claude MPM is imported.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Final

import anyio.from_thread
import anyio.to_thread
import psutil

from supervisor import Record, UsageError, load_config, raise_all

from .api import MemoryGuardian, ProcessState
from .config import MemoryGuardianConfig
from .event import RestartFailed, RestartRefused, RunFinished
from .mpm.importing import judged
from .mpm.keys import said_by, said_in
from .mpm.reading import read_yaml
from .redactor import redacted_text

log: Final = logging.getLogger("memory_guardian")
MIB: Final = 1 << 20
ENDED: Final = (ProcessState.STOPPED, ProcessState.FAILED)
LATEST: Final = 5
"""Restarts that a status names."""

_alone = threading.Lock()
"""Held by the service that runs: what guards against our own sudden death is the process's, and belongs to one event loop."""


class GuardianService:
    """Watches one command, or a process that runs already, from a thread of its own; one such service runs in a process at a time.

    What goes wrong, wrong arguments too, is logged, told by `faults`, by `status` and by False: no call raises. All calls may come from
    any thread. Those that start or stop something wait for that, and for each other; on an event loop there is `AsyncGuardianService`. A
    program that ends without stopping it stops it then; of one that is killed nothing is left either.

    Args:
        config: As of `initialize`.
        backend: The event loop of the thread: ``"asyncio"`` or ``"trio"``.

    Attributes:
        faults: What is wrong with the configuration, or why it did not start or did not end well.
    """

    def __init__(self, config: Any = None, backend: str = "asyncio") -> None:
        self.faults: tuple[str, ...] = ()
        self._given, self._backend = config, backend
        self._config: MemoryGuardianConfig | None = None
        self._stack: ExitStack | None = None
        self._portal: anyio.from_thread.BlockingPortal | None = None
        self._guardian: MemoryGuardian | None = None
        self._lock = threading.RLock()
        self._asking = threading.Lock()  # the event loop does not end while it is asked
        self._state = ProcessState.NOT_STARTED
        self._is_over = True
        self._refused = ""
        self._is_shut_down = False

    def initialize(self, config: Any = None) -> bool:
        """Judge a configuration; nothing is started. A container that makes the service calls it without one, which changes nothing later.

        Args:
            config: A `MemoryGuardianConfig`; a path: of a TOML file of ours, or of Claude MPM's ``memory_guardian.yaml``; a mapping in the
                shape of that, or what has one as its `to_dict()`. None is that of the constructor, or Claude MPM's variables, which
                override its file as well.

        Returns:
            Whether it is valid; `faults` has what is not.
        """
        with self._lock:
            if config is not None:
                self._given = config
            try:
                self._config = _config_of(self._given)
            except UsageError as error:
                self._config = None
                return self._failed(*map(str, error.faults))
            self.faults = ()
            return True

    def start(self, process_id: int | None = None) -> bool:
        """Run the command and watch it, or watch a process that runs already; returns when that is up.

        Args:
            process_id: The process; None runs the command. See `MemoryGuardian.start_monitoring`.

        Returns:
            Whether it runs now; `faults` says why not.
        """
        with self._lock:
            if self.is_running():
                return True
            self.stop()
            if (self._config is None and not self.initialize()) or self._config is None:
                return False
            if not self._config.enabled:
                return self._failed("it is turned off by its configuration (enabled)")
            if not _alone.acquire(blocking=False):
                return self._failed("another GuardianService of this process runs; stop that first")
            stack = ExitStack()
            stack.callback(_alone.release)
            before, self._state = self._state, ProcessState.STARTING
            try:
                portal = stack.enter_context(anyio.from_thread.start_blocking_portal(self._backend, name="memory-guardian"))
                guardian = portal.call(MemoryGuardian, self._config)
                guardian.add_sink(self._observe)
                stack.enter_context(portal.wrap_async_context_manager(guardian))
                self._is_over = False
                portal.call(guardian.start_monitoring, process_id)
            except Exception as error:  # told to whoever started it: a service that is up or not
                faults = error.faults if isinstance(error, UsageError) else (error,)
                self._failed(*map(str, faults))
                self._closed(stack)
                self._state = before
                return False
            except BaseException:  # an interrupt while it was waited for
                self._closed(stack)
                self._state = before
                raise
            stack.callback(atexit.unregister, self.stop)
            atexit.register(self.stop)
            self._stack, self._portal, self._guardian = stack, portal, guardian
            self._is_shut_down, self.faults = False, ()
            return True

    def stop(self) -> None:
        """Stop in order, and wait for that: the command within its times, then the thread. Without effect where nothing runs."""
        with self._lock:
            with self._asking:
                stack, self._stack, self._portal = self._stack, None, None
            if stack is not None:
                self._state = ProcessState.STOPPING
                self._closed(stack)
                assert self._guardian is not None
                self._state = self._guardian.state

    def restart(self) -> bool:
        """Stop, and start again; whether it runs now."""
        with self._lock:
            self.stop()
            return self.start()

    def restart_process(self, reason: str = "manual restart") -> bool:
        """Restart the watched process as the guardian does it, if restart protection admits that.

        Args:
            reason: Why, in words.

        Returns:
            Whether there is a new one; `faults` says why not.
        """
        with self._lock:
            if self._portal is None or self._guardian is None or not self.is_running():
                return self._failed("nothing is watched")
            self._refused = ""
            try:
                done = self._portal.call(self._guardian.initiate_restart, reason)
            except Exception as error:  # told to whoever asked for it: a reason that is none, or a guardian that has just ended
                return self._failed(str(error))
            if not done:
                return self._failed(self._refused or "the restart was not done")
            self.faults = ()
            return True

    def shutdown(self) -> None:
        """See `stop`."""
        self.stop()
        self._is_shut_down = True

    def dispose(self) -> None:
        """See `stop`; what a container calls when it is disposed of itself."""
        self.shutdown()

    @property
    def is_initialized(self) -> bool:
        """Whether there is a valid configuration."""
        return self._config is not None

    @property
    def is_shutdown(self) -> bool:
        """Whether it was shut down, and not started again."""
        return self._is_shut_down

    def is_running(self) -> bool:
        """Whether something is watched now."""
        return self._portal is not None and not self._is_over

    def status(self) -> dict[str, Any]:
        """What is known, in the shape of Memory Guardian's `get_status`, as JSON data; None is unknown. Never raises."""
        with self._asking:
            # what else was known is no longer so once it has stopped
            known: dict[str, Any] = {"state": self._state.value}
            if self._guardian is not None and self._portal is not None:
                known = self._portal.call(_known, self._guardian)
            return _status(self._config, known, self.faults)

    get_status = status

    def _observe(self, record: Record) -> None:
        if isinstance(record.event, RunFinished):
            self._is_over = True
        elif isinstance(record.event, RestartRefused | RestartFailed):
            self._refused = f"the restart was not done: {record.event.reason}"

    def _failed(self, *faults: str) -> bool:
        self.faults = tuple(map(redacted_text, faults))
        for fault in self.faults:
            log.error("%s", fault)
        return False

    def _closed(self, stack: ExitStack) -> None:
        try:
            stack.close()
        except Exception as error:  # a guardian that did not end well is told, by the log and by the status
            self._failed(str(error))


class AsyncGuardianService:
    """The same for a program with an event loop, which is not held up: each call waits in a thread.

    **Cancellation:** of a call is held back until it is done, so that nothing is left half started.

    Args:
        config: As of `GuardianService`.
        backend: Likewise.
    """

    def __init__(self, config: Any = None, backend: str = "asyncio") -> None:
        self.service = GuardianService(config, backend)

    async def initialize(self, config: Any = None) -> bool:
        """See `GuardianService.initialize`."""
        return await anyio.to_thread.run_sync(self.service.initialize, config)

    async def start(self, process_id: int | None = None) -> bool:
        """See `GuardianService.start`."""
        return await anyio.to_thread.run_sync(self.service.start, process_id)

    async def stop(self) -> None:
        """See `GuardianService.stop`."""
        await anyio.to_thread.run_sync(self.service.stop)

    async def restart(self) -> bool:
        """See `GuardianService.restart`."""
        return await anyio.to_thread.run_sync(self.service.restart)

    async def restart_process(self, reason: str = "manual restart") -> bool:
        """See `GuardianService.restart_process`."""
        return await anyio.to_thread.run_sync(self.service.restart_process, reason)

    async def shutdown(self) -> None:
        """See `GuardianService.shutdown`."""
        await anyio.to_thread.run_sync(self.service.shutdown)

    async def status(self) -> dict[str, Any]:
        """See `GuardianService.status`."""
        return await anyio.to_thread.run_sync(self.service.status)

    def dispose(self) -> None:
        """See `GuardianService.dispose`; it blocks, as a container calls it."""
        self.service.dispose()

    @property
    def faults(self) -> tuple[str, ...]:
        """See `GuardianService.faults`."""
        return self.service.faults

    @property
    def is_initialized(self) -> bool:
        """See `GuardianService.is_initialized`."""
        return self.service.is_initialized

    @property
    def is_shutdown(self) -> bool:
        """See `GuardianService.is_shutdown`."""
        return self.service.is_shutdown

    def is_running(self) -> bool:
        """See `GuardianService.is_running`."""
        return self.service.is_running()


def _config_of(given: Any) -> MemoryGuardianConfig:
    """The configuration that was given, in any of its forms.

    Raises:
        UsageError: All faults.
    """
    if isinstance(given, MemoryGuardianConfig):
        return given
    said = said_by(os.environ)
    if isinstance(given, str | os.PathLike):
        file = os.fspath(given)
        if not str(file).lower().endswith((".yaml", ".yml")):
            loaded = load_config(MemoryGuardianConfig, file=str(file))
            raise_all(loaded.faults)
            return loaded.config
        found = read_yaml(str(file))
        return judged({**found.said, **said}, found.faults)[1].config
    elif given is not None:
        to_dict: Callable[[], Any] | None = getattr(given, "to_dict", None)
        try:
            content = to_dict() if callable(to_dict) else given
        except Exception as error:  # another program's own class: it is no configuration then
            raise UsageError([f"to_dict() of the {type(given).__name__} that was given failed: {error!r}"[:300]]) from error
        if not isinstance(content, Mapping):
            raise UsageError([f"expected a configuration, got a {type(given).__name__}"])
        said = said_in(content, "config")
    return judged(said)[1].config


def _known(guardian: MemoryGuardian) -> dict[str, Any]:
    """What a guardian that has started knows; on its own thread."""
    known: dict[str, Any] = {**guardian.get_statistics(), "active": guardian.state not in ENDED}
    if known["active"]:
        leaf = guardian.monitoring.leaf
        marks, notes = leaf.thresholds, leaf.restarts[-LATEST:]
        known["limits"] = (marks.warning_bytes, marks.critical_bytes, marks.emergency_bytes)
        known["notes"] = [{"timestamp": one.time, "reason": redacted_text(one.reason), "controlled": one.controlled} for one in notes]
    return known


def _status(config: MemoryGuardianConfig | None, known: Mapping[str, Any], faults: tuple[str, ...]) -> dict[str, Any]:
    uptime = known.get("uptime")
    protection = known.get("protection") or {}
    left = protection.get("attempts_left")
    host = psutil.virtual_memory()
    limits = known.get("limits", (None, None, None))
    return {
        "enabled": None if config is None else config.enabled,
        "process": {
            "state": known.get("state", ProcessState.NOT_STARTED.value),
            "pid": known.get("process_id"),
            "uptime_seconds": uptime,
            "uptime_hours": None if uptime is None else uptime / 3600,
        },
        "memory": {
            "current_mb": _mib(known.get("memory_bytes")),
            "peak_mb": _mib(known.get("peak_bytes")),
            "average_mb": None,
            "state": known.get("level"),
            "thresholds": dict(zip(("warning_mb", "critical_mb", "emergency_mb"), map(_mib, limits), strict=True)),
            "system": {"total_mb": _mib(host.total), "available_mb": _mib(host.available)},
        },
        "restarts": {
            "total": known.get("restarts", {}).get("total", 0),
            "consecutive_failures": protection.get("consecutive_failures"),
            "can_restart": None if left is None else left > 0 and protection.get("circuit") != "open",
            "recent_attempts": known.get("notes", []),
        },
        "monitoring": {
            "active": known.get("active", False),
            "check_interval": None if config is None else config.monitoring.normal_interval,
            "samples": known.get("samples", 0),
        },
        "mode": known.get("mode"),
        "faults": list(faults),
    }


def _mib(amount: int | None) -> float | None:
    return None if amount is None else round(amount / MIB, 2)
