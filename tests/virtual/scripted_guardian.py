"""The guardian's decisions over hours of virtual time: a scripted leaf whose memory is a function, under the real health worker."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import anyio
import attrs

from supervisor import ChildSpec, ChildStarted, Event, Record, Supervisor, subtree, task
from supervisor.testing import Scripted, settle
from workers.config import Agent, CommandConfig, GuardianRun, MemoryGuardianConfig, MonitoringConfig, RestartPolicy
from workers.guardian import leaves_of, protection
from workers.health.worker import health
from workers.ledger import CaptureRequest, Leaf, Ledger
from workers.policy import decide
from workers.policy.pressure import Thresholds
from workers.probe import MemorySample
from workers.words import status

MIB = 1024 * 1024
LIMITS = Thresholds(100 * MIB, 200 * MIB, 300 * MIB)
Memory = Callable[[float], float | None]
"""MiB by seconds of a life; None is unknown."""
AT_ONCE = RestartPolicy(max_attempts=5, initial_cooldown=0.0, max_cooldown=0.0, circuit_failures=1000)
"""Restarts that wait for nothing."""


@attrs.define(eq=False)
class Watched:
    """One leaf under the health worker and its restart protection; the probe and the captures are stood in for.

    Attributes:
        memory: What it holds.
        monitoring: How it is watched.
        policy: Its restart protection.
        dry_run: Whether it is a dry run.
        busy: Whether it is always in the middle of a turn.
        deaf: Whether no capture ever ends.
        lifetime: Seconds after which each of its lives crashes; None for never.
        host_available: What the host is said to have left, bytes.
    """

    memory: Memory
    monitoring: MonitoringConfig = MonitoringConfig()
    policy: RestartPolicy = AT_ONCE
    dry_run: bool = False
    busy: bool = False
    deaf: bool = False
    lifetime: float | None = None
    host_available: int | None = None
    records: list[Record] = attrs.field(factory=list)
    sampled: list[float] = attrs.field(factory=list)
    born: dict[int, float] = attrs.field(factory=dict)
    said: set[str] = attrs.field(factory=set)

    async def run(self, seconds: float) -> Ledger:
        """Run for so long."""
        command = CommandConfig(argv=(sys.executable,))
        config = MemoryGuardianConfig(command=command, restart_policy=self.policy, monitoring=self.monitoring)
        agent = Agent("agent", True, command, LIMITS, self.policy)
        run = GuardianRun(config, (agent,), "", 1 << 30, dry_run=self.dry_run)
        ledger = Ledger(run, leaves_of(run))
        leaf = Scripted()
        above = subtree([ChildSpec("leaf", leaf)], **protection(agent, judged=True))
        tree = ledger.tree = Supervisor(
            "guardian", [ChildSpec("health", task(health, ledger)), ChildSpec("agents", subtree([ChildSpec("agent", above)]))]
        )
        tree.add_sink(ledger.observe)
        tree.add_sink(self.records.append)
        async with anyio.create_task_group() as tasks:
            async with tree:
                tasks.start_soon(self.probe, ledger, ledger.leaves[0])
                tasks.start_soon(self.capture, ledger)
                if self.lifetime is not None:
                    tasks.start_soon(self.crash, leaf, self.lifetime)
                await anyio.sleep(seconds)
            tasks.cancel_scope.cancel()
        ledger.close()
        return ledger

    async def probe(self, ledger: Ledger, leaf: Leaf) -> None:
        while True:
            now = anyio.current_time()
            child = ledger.child(leaf)
            if child is not None and child.state == "running" and leaf.due <= now:
                if self.busy and child.generation not in self.born:
                    ledger.tell(leaf, decide.IdleChanged(False))
                amount = self.memory(now - self.born.setdefault(child.generation, now))
                leaf.due = math.inf
                if amount is None:
                    ledger.tell(leaf, decide.Unread("nothing can read it"))
                else:
                    total = int(amount * MIB)
                    self.sampled.append(now)
                    leaf.saw(MemorySample(now, total, (), "scripted"))
                    ledger.tell(leaf, decide.Sampled(total, child.generation, host_available=self.host_available))
                await settle()
                self.said.add(status(leaf))
            # what does not run is not looked at, however long that has been due
            await ledger.looked(min(leaf.due, now + 30.0) if leaf.due > now else now + 1.0)

    async def capture(self, ledger: Ledger) -> None:
        while True:
            request = await ledger.captures.get()
            if isinstance(request, CaptureRequest) and not self.deaf:
                request.ok = True
                request.done.set()

    async def crash(self, leaf: Scripted, lifetime: float) -> None:
        number = 1
        while True:
            await leaf.running(number)
            await anyio.sleep(lifetime)
            leaf.crash()
            number += 1

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of a type."""
        return [record.event for record in self.records if type(record.event) is kind]

    def times(self, kind: type[Event], *path: str) -> list[float]:
        """When the events of a type were said, in seconds of the run; of a path that ends so, if one is given."""
        found = [record for record in self.records if type(record.event) is kind]
        return [record.monotonic for record in found if not path or record.event.path[-len(path) :] == path]

    @property
    def lives(self) -> list[float]:
        """When each life of the leaf began."""
        return self.times(ChildStarted, "leaf")
