"""One run of the guardian within a program: what the launcher does around a run, without a console, signals or a control socket."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Final

import anyio
import anyio.to_thread

from supervisor import Attached, Fault, Record, ServiceManager, Session, StartFailed, StopRequest, UsageError

from .config import GuardianRun
from .event import StateCaptured
from .guardian import Outcome, run_guardian
from .ledger import Leaf, Ledger
from .protection import RestartProtection
from .redactor import redacted_text
from .roster import Roster
from .running import cannot_start, channels_of, scratch
from .unstarted import check_key

log: Final = logging.getLogger("memory_guardian")


def warn(text: str) -> None:
    """Tell whoever reads the log, and no secrets."""
    log.warning("%s", redacted_text(text))


class _Up(ServiceManager):
    """Is told, as a service manager would be, that the tree is up."""

    def __init__(self, up: anyio.Event) -> None:
        super().__init__()
        self._up = up

    def ready(self) -> None:
        """See `ServiceManager.ready`."""
        self._up.set()


class Monitoring:
    """One run, from its first process to its end.

    Args:
        run: What is run.
        attached: A process that runs already and is the first life.
        protection: Is kept up to date; None for none.
        given: Whether what that has spent is what the run begins with.
        shared: See `Ledger.shared`.

    Attributes:
        stop: Asks it to stop.
        settled: Set when it is up, or has ended before it was.
        ended: Set when nothing of it is left.
        ledger: What it knows; None until it has begun.
        outcome: What it came to; None before its end, and after a failure.
        failure: Why it failed; None if it did not.
        began: When it began, monotonic.
        over: When it ended, monotonic.
        captures: How many snapshots it has made.
    """

    def __init__(
        self,
        run: GuardianRun,
        attached: Attached | None = None,
        protection: RestartProtection | None = None,
        *,
        given: bool = False,
        shared: dict[str, Any] | None = None,
    ) -> None:
        self._run, self._attached, self._protection, self._given, self._shared = run, attached, protection, given, shared
        self.stop = StopRequest()
        self.settled, self.ended = anyio.Event(), anyio.Event()
        self.ledger: Ledger | None = None
        self.outcome: Outcome | None = None
        self.failure: Exception | None = None
        self.began = anyio.current_time()
        self.over: float | None = None
        self.captures = 0

    @property
    def known(self) -> Ledger:
        """What it knows, once it has begun."""
        assert self.ledger is not None
        return self.ledger

    @property
    def leaf(self) -> Leaf:
        """The one that is watched."""
        return self.known.leaves[0]

    async def run(self, sinks: Iterable[Callable[[Record], object]]) -> None:
        """Run to the end; never raises but what is no `Exception`.

        **Cancellation:** stops the tree in order.
        """
        try:
            with ExitStack() as claims:
                await self._run_claimed(claims, list(sinks))
        except Exception as error:  # told to whoever waits for the outcome
            self.failure = error
        finally:
            self.over = anyio.current_time()
            self.follow()
            self.settled.set()
            self.ended.set()

    def follow(self) -> None:
        """Have the protection say what the tree has spent."""
        if self.ledger is not None and self._protection is not None:
            self._protection.follow(self.ledger.spent(self.leaf))

    async def _run_claimed(self, claims: ExitStack, sinks: list[Callable[[Record], object]]) -> None:
        if self._run.config.encryption.key:
            await anyio.to_thread.run_sync(check_key, self._run)
        ledger = Ledger(self._run, [])
        ledger.shared = self._shared
        session = Session(run=uuid.uuid4().hex, backend="", stop=self.stop, service=_Up(self.settled))
        directory = scratch(ledger, session.run, claims, warn)
        roster = ledger.roster = Roster(ledger, warn, directory)
        claims.callback(ledger.close)
        claims.callback(roster.close)
        for agent in self._run.agents:
            leaf = await roster.enrol(agent, agent.name)
            leaf.attached = self._attached
            if self._given and self._protection is not None:
                leaf.spent = self._protection.history
        self.ledger = ledger
        channels = channels_of(ledger, directory, os.environ)
        try:
            async with AsyncExitStack() as telling:
                if channels:
                    from .notification.channel import serving  # most runs tell nobody

                    await telling.enter_async_context(serving(channels, self.stop.wait_hurried))
                told = [self._observe, *sinks, *(one.offer for one in channels)]
                self.outcome = await run_guardian(ledger, session, told, tuple(roster.swept))
        except StartFailed as error:
            raise self._unstarted(ledger, error) from error

    def _observe(self, record: Record) -> None:
        if isinstance(record.event, StateCaptured):
            self.captures += 1

    def _unstarted(self, ledger: Ledger, error: StartFailed) -> Exception:
        fault = cannot_start(ledger, error)
        if fault is None:
            return error
        if self._attached is not None:
            fault = Fault("process_id", f"process {self._attached.process.pid} cannot be attached to: {error}")
        return UsageError([fault])
