"""The looks at the host, and what follows from them."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from ..config import LeafRestart
from ..event import HealthChanged, HostMemoryChanged
from ..ledger import ModeRequest
from ..policy import decide
from ..policy import host as shortage
from ..policy import verdict as judging
from ..policy.ladder import Cause, DegradationMode
from ..policy.pressure import MemoryState
from ..policy.verdict import Health, HealthLimits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor import ProcessId

    from ..config import HealthConfig
    from ..ledger import Leaf, Ledger
    from .looks import Looks
    from .metrics import LeafMetrics

ASKS: Final = {Health.HEALTHY: None, Health.DEGRADED: DegradationMode.WARNING, Health.UNHEALTHY: DegradationMode.READ_ONLY}
"""What the verdict asks of every leaf's ladder."""


async def health_looked(ledger: Ledger, looks: Looks) -> None:
    """Look at everything, and say what has become of the verdict."""
    leaves = {leaf.name: leaf for leaf in ledger.leaves}
    groups = {name: group for name, leaf in leaves.items() if (group := group_of(ledger, leaf)) is not None}
    seen = [(name, members(leaf)) for name, leaf in leaves.items()]
    metrics = await looks.everything(anyio.current_time(), seen, groups)
    if metrics is None:
        return
    ledger.metrics = metrics = attrs.evolve(metrics, leaves=tuple(known(ledger, leaves[one.name], one) for one in metrics.leaves))
    before = ledger.verdict or judging.Verdict()
    ledger.verdict, change = judging.step(before, metrics.readings(), limits_of(ledger.run.config.health))
    if change is not None:
        ledger.emit(HealthChanged(("guardian",), change.old, change.new, change.reasons))
    worst = ledger.verdict.lasting
    if worst.health is not before.lasting.health:
        reason = "the host is healthy again" if worst.health is Health.HEALTHY else worst.text
        for leaf in ledger.leaves:
            ledger.modes.put(ModeRequest(leaf, Cause.HEALTH, ASKS[worst.health], reason))


def known(ledger: Ledger, leaf: Leaf, metrics: LeafMetrics) -> LeafMetrics:
    """What was seen of a leaf, with what the probe and its supervisor know of it."""
    child, guard = ledger.child(leaf), leaf.guard
    total = guard.pressure.total_bytes if guard.alive and not guard.blind else None
    return attrs.evolve(metrics, memory_bytes=total, uptime=None if child is None else child.uptime)


def group_of(ledger: Ledger, leaf: Leaf) -> str | None:
    """The directory of a leaf's control group; None when it has none, or does not run."""
    command = ledger.command(leaf)
    return None if command is None or command.group is None else command.group.directory


def memory_looked(ledger: Ledger, looks: Looks, now: float) -> float:
    """Look at the memory, and have a restart due where the host needs one.

    Returns:
        Seconds until the next look.
    """
    config = ledger.run.config.health
    seen = looks.memory()
    limits = host_limits(config, seen.total_bytes)
    if limits is None:
        return config.interval
    known = ledger.host or shortage.HostGuard()
    candidates = [candidate(leaf) for leaf in ledger.leaves if is_candidate(leaf, now)]
    ledger.host, effects = shortage.step(known, seen, candidates, limits, now)
    for effect in effects:
        match effect:
            case shortage.HostLevelChanged(old=old, new=new, reason=reason):
                ledger.emit(HostMemoryChanged(("guardian",), old, new, reason, seen.available_bytes, seen.total_bytes, seen.stall))
                asked = DegradationMode.WARNING if new.reaches(MemoryState.CRITICAL) else None
                for leaf in ledger.leaves:
                    ledger.modes.put(ModeRequest(leaf, Cause.HOST, asked, reason))
                    if asked is None and leaf.guard.pressed:
                        ledger.tell(leaf, decide.HostShort())
            case shortage.Choose(name=name, reason=reason):
                for leaf in ledger.leaves:
                    if leaf.name == name:
                        ledger.tell(leaf, decide.HostShort(reason))
    return shortage.period(ledger.host, limits, config.interval, now)


def is_candidate(leaf: Leaf, now: float) -> bool:
    """Whether a restart of the leaf can be asked for: it runs, it may be restarted at all, and none is due, under way or refused."""
    guard = leaf.guard
    if leaf.not_owned or leaf.agent.command.restart is LeafRestart.NEVER:
        return False  # chosen again and again it would keep the turn from those that can give something back
    waits = guard.blocked or (guard.not_before is not None and guard.not_before > now)
    return guard.alive and not guard.is_under_way and guard.due_since is None and guard.pressure.total_bytes is not None and not waits


def candidate(leaf: Leaf) -> shortage.Candidate:
    """A leaf as the host sees it."""
    guard = leaf.guard
    total = guard.pressure.total_bytes or 0
    began = None if guard.probation is None else guard.probation.lowest_bytes
    return shortage.Candidate(leaf.name, total, total - (total if began is None else began), guard.idle)


def members(leaf: Leaf) -> tuple[ProcessId, ...]:
    """The processes of a leaf as they were last seen."""
    return () if leaf.sample is None or not leaf.guard.alive else tuple(member.process for member in leaf.sample.processes)


def places(ledger: Ledger) -> list[tuple[str, str]]:
    """The paths whose disk space matters."""
    directories = [leaf.agent.command.working_directory for leaf in ledger.leaves]
    return places_of(ledger.run.state_dir if ledger.run.config.persist_state else None, directories)


def places_of(state_dir: str | None, directories: Iterable[str]) -> list[tuple[str, str]]:
    """The paths whose disk space matters, with those of the agents' working directories."""
    found = [] if state_dir is None else [("state directory", state_dir)]
    try:
        found.append(("temporary directory", tempfile.gettempdir()))
    except FileNotFoundError:
        pass  # there is none, which whoever needs one will say
    claude = os.environ.get("CLAUDE_CONFIG_DIR") or os.path.join(os.path.expanduser("~"), ".claude")
    found.append(("Claude's home", claude))
    return [
        *found,
        *(("working directory", path) for path in dict.fromkeys(directories)),
    ]


def limits_of(config: HealthConfig) -> HealthLimits:
    """The limits that are configured."""
    return HealthLimits(
        cpu=config.cpu,
        memory=config.memory,
        disk=config.disk,
        disk_free_bytes=config.disk_free.amount_bytes or 0,
        open_files=config.open_files,
        threads=config.threads,
    )


def host_limits(config: HealthConfig, total_bytes: int | None) -> shortage.HostLimits | None:
    """When this host is short; None where that cannot be told, or is not wanted."""
    marks = [mark.of(total_bytes) for mark in (config.host_warning, config.host_critical, config.host_emergency)]
    warning, critical, emergency = (0 if mark is None else mark for mark in marks)
    # a share and a size can be the wrong way round on a host of this size: then the milder one gives way
    critical = max(critical, emergency)
    warning = max(warning, critical)
    return shortage.HostLimits(warning, critical, emergency) if warning else None
