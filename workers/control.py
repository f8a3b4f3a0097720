"""What can be asked of a running guardian beside what can be asked of every tree. Imported when the first client connects.

Nothing is done here: supervisors are asked for restarts, the workers for captures and modes, the decision about a leaf for thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

import anyio
import attrs

from supervisor import (
    CallError,
    ControlExtension,
    ControlMethod,
    ControlParameter,
    ControlRefused,
    Size,
    StartFailed,
    StatusColumn,
    UsageError,
    child_path,
    control_reason,
    duration,
    format_bytes,
    size,
    text,
    word,
)

from .agents import AgentRefused, add, remove
from .config import MemoryThresholds, resolved
from .config.added import KEYS, added
from .event import CaptureFailed
from .event_config import ConfigurationChanged
from .health.told import health_told, standing
from .ledger import CaptureRequest, Leaf, Ledger, ModeRequest, RestartRequest
from .policy import decide
from .policy.ladder import Cause, DegradationMode
from .policy.pressure import MemoryState
from .policy.suggestion import shortage
from .reloading import reload
from .unstarted import fault_of

REASON: Final = control_reason()
RELOAD_PAUSE, LONGEST_PAUSE = 9.0, 5.0
"""Between two reloads: times the one before, and seconds at most."""
LISTED: Final = 10
"""How many agents an error names."""
AS_CONFIGURED: Final = ControlParameter(
    attrs.evolve(text(), expected="a value as in the file", accept=cast(Any, lambda value: value)), None
)
"""Checked with the others by the rules of the file, so that all faults are told."""


class GuardianControl(ControlExtension):
    """The control of one guardian."""

    columns: ClassVar[tuple[StatusColumn, ...]] = (
        StatusColumn("memory_bytes", "memory", "bytes"),
        StatusColumn("level", "level"),
        StatusColumn("mode", "mode"),
    )

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._reloading = anyio.Lock()
        self._reload_from = -math.inf

    def methods(self) -> Mapping[str, ControlMethod]:
        """The guardian's own."""
        one = ControlParameter(child_path(), None)
        threshold = ControlParameter(size(), None)
        return {
            "samples": ControlMethod(self._samples, {"path": one}),
            "suggest": ControlMethod(self._suggest, {"path": one}),
            "health": ControlMethod(self._health),
            "capture": ControlMethod(self._capture, {"path": one, "reason": REASON}, changes=True),
            "degrade": ControlMethod(
                self._degrade, {"path": one, "mode": ControlParameter(word(DegradationMode)), "reason": REASON}, changes=True
            ),
            "set_thresholds": ControlMethod(
                self._set_thresholds, {"path": one, "warning": threshold, "critical": threshold, "emergency": threshold}, changes=True
            ),
            "reload": ControlMethod(self._reload, changes=True),
            "add_agent": ControlMethod(self._add_agent, dict.fromkeys(KEYS, AS_CONFIGURED), changes=True),
            "remove_agent": ControlMethod(self._remove_agent, {"path": ControlParameter(child_path())}, changes=True),
        }

    def names(self) -> Mapping[str, tuple[str, ...]]:
        """Agents, for their leaves."""
        return {leaf.name: leaf.path for leaf in self._ledger.leaves}

    def facts(self) -> Mapping[str, Any]:
        """The run."""
        run = self._ledger.run
        notes = [*run.notes, *(["dry run: nothing is restarted or captured"] if run.dry_run else [])]
        notes += [] if self._ledger.watches else ["memory is not watched: the configuration says so"]
        host = standing(self._ledger)
        if any(leaf.parts is not None for leaf in self._ledger.leaves):
            notes += self._grown()
        notes += [f"the host is {host['health'] or 'short of memory'}: {'; '.join(host['reasons'])}"] if host["reasons"] else []
        return {
            "file": run.file,
            "state_dir": run.state_dir if run.config.persist_state else None,
            "limit_bytes": run.limit_bytes,
            "dry_run": run.dry_run,
            "notes": notes,
            "host": host,
            "agents": {leaf.name: {"path": list(leaf.path), **self._told(leaf), **self._parts(leaf)} for leaf in self._ledger.leaves},
        }

    def about(self, path: tuple[str, ...]) -> Mapping[str, Any]:
        """A leaf's memory, and what happens next."""
        leaf = self._ledger.leaf_at(path)
        if leaf is None:
            return {}
        told, coming = self._told(leaf), self._next(leaf)
        if leaf.in_turn:
            told["restart_waits"] = f"the end of its turn, {duration(leaf.guard.policy.critical_grace)} at most"
        return told if coming is None else {**told, "next": coming}

    async def idle(self) -> None:
        """Wait until no leaf is in the middle of a turn."""
        await self._ledger.idle()

    async def restart(self, path: tuple[str, ...], reason: str) -> bool:
        """Restart a leaf as the guardian does: its turn ends and state is captured first, and the new life is judged."""
        return await self._restarted(path, reason, at_once=False)

    async def restart_now(self, path: tuple[str, ...], reason: str) -> bool:
        """The same in the middle of a turn."""
        return await self._restarted(path, reason, at_once=True)

    async def _restarted(self, path: tuple[str, ...], reason: str, *, at_once: bool) -> bool:
        leaf = self._ledger.leaf_at(path) or next((leaf for leaf in self._ledger.leaves if leaf.path[:-1] == path), None)
        if leaf is None:
            return False
        if not self._is_up("watch", "health"):
            self._ledger.emit(CaptureFailed(leaf.path, reason, "the workers that would do it are down", generation=leaf.guard.generation))
            return False
        request = RestartRequest(leaf, reason, at_once=at_once)
        self._ledger.restarts.put(request)
        await request.done.wait()
        if request.error is not None:
            raise request.error
        return True

    # ------------------------------------------------------------ methods

    async def _samples(self, path: tuple[str, ...] | None) -> dict[str, Any]:
        now = anyio.current_time()
        leaves = self._ledger.leaves if path is None else [self._leaf(path)]
        return {leaf.name: {**self._told(leaf), "samples": [[round(now - at, 3), total] for at, total in leaf.history]} for leaf in leaves}

    async def _suggest(self, path: tuple[str, ...] | None) -> dict[str, Any]:
        self._watched()
        leaves = self._ledger.leaves if path is None else [self._leaf(path)]
        return {leaf.name: self._suggested(leaf) for leaf in leaves}

    async def _health(self) -> dict[str, Any]:
        return health_told(self._ledger, anyio.current_time())

    async def _capture(self, path: tuple[str, ...] | None, reason: str) -> dict[str, Any]:
        leaf, ledger = self._leaf(path), self._ledger
        if not ledger.run.config.persist_state:
            raise ControlRefused(ControlRefused.REFUSED, "persist_state is off in the configuration, so no state is kept")
        if ledger.run.dry_run:
            raise ControlRefused(ControlRefused.REFUSED, "dry run: nothing is captured")
        if not self._is_up("state"):
            raise ControlRefused(ControlRefused.REFUSED, "the worker that captures state is down")
        request = CaptureRequest(leaf, reason)
        ledger.captures.put(request)
        if not await ledger.captured(request, ledger.run.config.monitoring.capture_timeout):
            raise ControlRefused(ControlRefused.REFUSED, f"state was not captured: {request.cause}")
        return {"path": list(leaf.path), "state_file": leaf.state_file}

    async def _degrade(self, path: tuple[str, ...] | None, mode: DegradationMode, reason: str) -> dict[str, Any]:
        leaf = self._leaf(path)
        self._watched()
        wanted = None if mode is DegradationMode.NORMAL else mode
        self._ledger.modes.put(ModeRequest(leaf, Cause.REQUEST, wanted, reason, at_once=True))
        # what other causes ask for stays, so the mode may be a higher one
        return {"path": list(leaf.path), "requested": mode.value}

    async def _set_thresholds(
        self, path: tuple[str, ...] | None, warning: Size | None, critical: Size | None, emergency: Size | None
    ) -> dict[str, Any]:
        leaf = self._leaf(path)
        self._watched()
        given = {"warning": warning, "critical": critical, "emergency": emergency}
        if not any(given.values()):
            raise UsageError(["set_thresholds: none is given; name warning, critical or emergency"])
        now = leaf.agent.thresholds
        wanted = {level: value or Size(amount_bytes=getattr(now, f"{level}_bytes")) for level, value in given.items()}
        thresholds = resolved(MemoryThresholds(**wanted), self._ledger.run.limit_bytes)
        leaf.agent = attrs.evolve(leaf.agent, thresholds=thresholds)
        self._ledger.tell(leaf, decide.Reconfigured(thresholds))
        changed = tuple(f"{leaf.name}: thresholds.{level}" for level, value in given.items() if value is not None)
        self._ledger.emit(ConfigurationChanged(("guardian",), "request", changed))
        return {"path": list(leaf.path), "thresholds": limits(leaf)}

    async def _reload(self) -> dict[str, Any]:
        # one after the other, or an older reading could be in effect last; and no flood of them has more of the loop than a tenth
        async with self._reloading:
            await anyio.sleep_until(self._reload_from)
            began = anyio.current_time()
            try:
                return await reload(self._ledger)
            finally:
                now = anyio.current_time()
                self._reload_from = now + min(RELOAD_PAUSE * (now - began), LONGEST_PAUSE)

    async def _add_agent(self, **given: Any) -> dict[str, Any]:
        agent = added(self._ledger.run, given, [leaf.name for leaf in self._ledger.leaves])
        try:
            leaf = await add(self._ledger, agent)
        except AgentRefused as error:
            raise ControlRefused(ControlRefused.REFUSED, str(error)) from error
        except StartFailed as error:
            raise UsageError([fault_of(agent, error, len(self._ledger.leaves) + 1)]) from error
        return {"name": leaf.name, "path": list(leaf.path), "thresholds": limits(leaf)}

    async def _remove_agent(self, path: tuple[str, ...]) -> dict[str, Any]:
        try:
            leaf = await remove(self._ledger, self._leaf(path).name)
        except AgentRefused as error:
            raise ControlRefused(ControlRefused.REFUSED, str(error)) from error
        return {"name": leaf.name, "path": list(leaf.path)}

    # ------------------------------------------------------------ inside

    def _leaf(self, path: tuple[str, ...] | None) -> Leaf:
        leaves = self._ledger.leaves
        found = leaves if path is None else [leaf for leaf in leaves if path in ((leaf.name,), leaf.path, leaf.path[:-1], leaf.path[1:])]
        if len(found) == 1:
            return found[0]
        more = [f"{len(leaves) - LISTED} more"] if len(leaves) > LISTED else []
        names = ", ".join([*(leaf.name for leaf in leaves[:LISTED]), *more])
        if path is None:
            raise ControlRefused(ControlRefused.NOT_FOUND, f"there are several agents; name one of {names}")
        raise ControlRefused(ControlRefused.NOT_FOUND, f"no agent is called {'/'.join(path)[:80]!r}; there is {names}")

    def _suggested(self, leaf: Leaf) -> dict[str, Any]:
        workload, suggestion = leaf.workload, self._ledger.suggestion(leaf)
        observed = {"seconds": round(workload.seconds, 3), "samples": workload.samples}
        if suggestion is None:
            nothing: dict[str, Any] = {"suggested": None, "configured": limits(leaf), "reasons": [], "faults": []}
            return {**nothing, "words": [shortage(workload)], "observed": observed}
        return {**suggestion.as_data(), "words": suggestion.lines(), "observed": observed}

    def _watched(self) -> None:
        if not self._ledger.watches:
            raise ControlRefused(
                ControlRefused.REFUSED, "memory is not watched in this run: enabled or auto_start is off in the configuration"
            )

    def _is_up(self, *path: str) -> bool:
        tree = self._ledger.tree
        try:
            return tree is not None and tree.supervisor("services", *path[:-1]).which_child(path[-1]).state == "running"
        except CallError:
            return False

    def _told(self, leaf: Leaf) -> dict[str, Any]:
        guard, sample, now = leaf.guard, leaf.sample, anyio.current_time()
        pressure = guard.pressure
        told: dict[str, Any] = {
            "memory_bytes": pressure.total_bytes if guard.alive and not guard.blind else None,
            "peak_bytes": pressure.peak_bytes,
            "level": guard.level.value if self._ledger.watches and guard.alive else None,
            "mode": leaf.mode.value,
            "idle": guard.idle,
            "phase": guard.phase.value,
            "reader": leaf.reader or None,
            "sampled_ago": None if sample is None else round(now - sample.at, 3),
            "next_sample_in": round(max(0.0, leaf.due - now), 3) if guard.alive and leaf.due < float("inf") else None,
            "thresholds": limits(leaf),
            "controlled_restarts": sum(note.controlled for note in leaf.restarts),
            "gave_up": leaf.gave_up,
            "state_file": leaf.state_file,
        }
        try:
            above = self._ledger.above(leaf).tree().supervisor
        except CallError:
            above = None
        if above is not None:
            told |= {"restarts_left": above.restarts_left, "cycles_left": above.cycles_left, "intensity": above.intensity}
        return told

    def _parts(self, leaf: Leaf) -> dict[str, Any]:
        from .health.grown import grown  # here: most leaves have no parts

        return {} if leaf.parts is None else grown(self._ledger, leaf)

    def _grown(self) -> list[str]:
        """Who holds what, of the leaves above normal, and of the only one."""
        from .health.grown import line

        leaves = self._ledger.leaves
        told = [leaf for leaf in leaves if len(leaves) == 1 or leaf.level is not MemoryState.NORMAL]
        return [said for leaf in told[:LISTED] if (said := line(self._ledger, leaf))]

    def _next(self, leaf: Leaf) -> str | None:
        """What happens next to a leaf, for a person; None where the tree knows better."""
        guard, now = leaf.guard, anyio.current_time()
        critical = format_bytes(guard.pressure.thresholds.critical_bytes)
        if leaf.gave_up is not None:
            return f"restart protection gave up: {leaf.gave_up}"
        if guard.phase is decide.Phase.JUDGING:
            return "restarted; the first sample says whether it helped"
        if guard.is_under_way:
            before = None if self._ledger.turns is None else self._ledger.turns.ahead(leaf)
            return f"is being restarted: {leaf.restart_reason}" if before is None else f"waits for its restart: {before} go first"
        if not guard.alive or not self._ledger.watches:
            return None
        if guard.blind:
            return "its memory cannot be read; tried again"
        if guard.due_since is not None:
            return due(guard, now)
        soon = f"next look in {duration(max(0.0, leaf.due - now))}" if leaf.due < float("inf") else "no look is due"
        return (
            f"{soon}, restart from {critical} on"
            if guard.level is MemoryState.NORMAL
            else f"{soon}, prepared for a restart from {critical} on"
        )


def due(guard: decide.Guard, now: float) -> str:
    """When a restart that is due is asked for, for a person."""
    if guard.policy.dry_run:
        return "a restart is due; this is a dry run"
    if guard.blocked:
        return "a restart is due and refused until its memory was normal again"
    at = decide.restart_at(guard)
    return "a restart is due now" if at is None or at <= now else f"a restart is due, in {duration(at - now)} at the latest"


def limits(leaf: Leaf) -> dict[str, int]:
    """A leaf's thresholds in bytes."""
    thresholds = leaf.agent.thresholds
    return {f"{level}_bytes": getattr(thresholds, f"{level}_bytes") for level in ("warning", "critical", "emergency")}
