"""One run of the guardian within a program: what the launcher does around a run, without a console, signals or a control socket."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, ExitStack
from typing import Final

import anyio
import attrs

from supervisor import Attached, Fault, Record, ServiceManager, Session, StartFailed, StopRequest, UsageError

from .config import GuardianRun
from .event import StateCaptured
from .guardian import Outcome, leaves_of, run_guardian
from .ledger import Leaf, Ledger
from .protection import RestartProtection
from .running import cannot_start, claimed, equipped, keep_last
from .state.files import project_key
from .state.protection import ProtectionRecord, ProtectionUnreadable

log: Final = logging.getLogger("memory_guardian")


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

    def __init__(self, run: GuardianRun, attached: Attached | None, protection: RestartProtection, *, given: bool) -> None:
        self._run, self._attached, self._protection, self._given = run, attached, protection, given
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
        if self.ledger is not None:
            self._protection.follow(self.ledger.spent(self.leaf))

    async def _run_claimed(self, claims: ExitStack, sinks: list[Callable[[Record], object]]) -> None:
        run = self._run
        taken, swept = await claimed(run, claims)
        run = attrs.evolve(run, agents=tuple(agent for agent, _ in taken))
        ledger = Ledger(run, leaves_of(run))
        claims.callback(ledger.close)
        leaf, held = ledger.leaves[0], taken[0][1]
        leaf.attached, leaf.claim = self._attached, held
        if held is not None:
            leaf.record = ProtectionRecord(run.state_dir, project_key(leaf.agent.command.working_directory), held.name)
            try:
                leaf.spent = leaf.kept = leaf.record.load()
            except ProtectionUnreadable as error:
                log.warning("%s: %s", leaf.name, error)
        if self._given:
            leaf.spent = self._protection.history
        self.ledger = ledger
        session = Session(run=uuid.uuid4().hex, backend="", stop=self.stop, service=_Up(self.settled))
        channels = equipped(ledger, session.run, claims, os.environ, log.warning) if ledger.watches or run.config.hooks.on_event else []
        claims.callback(keep_last, leaf)
        try:
            async with AsyncExitStack() as telling:
                if channels:
                    from .notification.channel import serving  # most runs tell nobody

                    await telling.enter_async_context(serving(channels, self.stop.wait_hurried))
                self.outcome = await run_guardian(ledger, session, [self._observe, *sinks, *(one.offer for one in channels)], swept)
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
