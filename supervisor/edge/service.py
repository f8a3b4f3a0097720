"""The service manager above the launcher, systemd as a rule: told by sd_notify(3) that the run is up, what it does, and that it is alive.

The event loop is imported when there is one: a usage error costs none.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..core.event import Record
    from ..host.sd_notify import Notifier
    from .render import Renderer
    from .signals import StopRequest


class ServiceManager:
    """Whoever started this process and wants to hear of it; nobody, unless `from_environ` finds one.

    Nothing here raises: a manager that cannot be told is told of once, on standard error, and the run goes on.

    Args:
        notifier: Sends to it; None when nobody listens.
        period: Seconds within which it wants a sign of life, again and again; None when it wants none.
        complain: Called with a line for people.
    """

    def __init__(
        self, notifier: Notifier | None = None, period: float | None = None, complain: Callable[[str], object] = lambda line: None
    ) -> None:
        self._notifier, self._period, self._complain = notifier, period, complain
        self._is_ready = self._is_stopping = self._failed = False

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str], complain: Callable[[str], object]) -> ServiceManager:
        """The manager that the environment names. It named itself to us alone: its variables are taken out, so that no leaf has them."""
        address = environ.get("NOTIFY_SOCKET")
        if not address:
            return cls()
        from ..host.notify_names import VARIABLES
        from ..host.sd_notify import Notifier, watchdog_period

        period = watchdog_period(environ, os.getpid())
        for name in VARIABLES:
            environ.pop(name, None)
        try:
            return cls(Notifier(address), period, complain)
        except (ValueError, OSError) as error:
            complain(f"note: the service manager is told nothing: NOTIFY_SOCKET: {error}")
            return cls()

    async def during(self, run: Callable[[], Awaitable[int]], stop: StopRequest) -> int:
        """Run something, and meanwhile say that it is alive, and at once when it is asked to stop.

        The signs of life come from a task of the event loop: they stop when that is stuck. What `run` raises leaves bare.
        """
        if self._notifier is None:
            return await run()
        import anyio

        outcome: int | Exception
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._announce_stop, stop)
            if self._period is not None:
                tasks.start_soon(self._ping, self._period)
            try:
                outcome = await run()
            except Exception as error:  # raised again below, where no task group wraps it
                outcome = error
            tasks.cancel_scope.cancel()
        self.stopping()
        self._notifier.close()
        self._notifier = None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def ready(self) -> None:
        """The run is up: its children have acknowledged. Said again, it changes nothing."""
        if not self._is_ready:
            self._is_ready = True
            self._send("READY=1", wait=True)

    def stopping(self) -> None:
        """The run is about to end. Said again, it changes nothing."""
        if not self._is_stopping:
            self._is_stopping = True
            self._send("STOPPING=1", wait=True)

    def sinks(self, renderer: Renderer) -> list[Callable[[Record], object]]:
        """What shows the latest event, in a renderer's words, as the status of the service; nothing where nobody looks."""
        return [lambda record: self._status(renderer.line(record))] if self._notifier is not None else []

    def _status(self, line: str | None) -> None:
        if line is not None:
            self._send(f"STATUS={line}")

    async def _announce_stop(self, stop: StopRequest) -> None:
        await stop.wait()
        self.stopping()

    async def _ping(self, period: float) -> None:
        import anyio

        while True:
            # as sd_watchdog_enabled(3) has it: at half of the time; sooner again where there was no room in its queue
            sent = self._send("WATCHDOG=1")
            await anyio.sleep(period / 2 if sent else period / 10)

    def _send(self, message: str, *, wait: bool = False) -> bool:
        if self._notifier is None:
            return False
        try:
            self._notifier.send(message, wait=wait)
        except (BlockingIOError, TimeoutError):
            return False
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._complain(f"note: the service manager cannot be told of this run: {error.strerror or error}")
            return False
        return True
