"""What can be asked of every tree: how it is, what happened, a restart, a stop."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from ...core.breaker import CircuitState
from ...core.errors import NoProc
from ...core.event import jsonable
from ...core.exits import describe
from ...core.text import duration
from ...runtime.tree_info import TreeInfo
from ..kinds import boolean, integer
from ..usage import did_you_mean, quote
from .method import ControlMethod, ControlParameter, ControlRefused, child_path, control_reason
from .unavailable import ControlUnavailable
from .wire import INVALID_PARAMS, NOT_FOUND, REFUSED

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from ...runtime.supervisor import Supervisor
    from ..signals import StopRequest
    from .connection import Connection
    from .extension import ControlExtension
    from .listening import Control
    from .ring import Ring

PROTOCOL: Final = 1
PAGE_BYTES: Final = 1 << 18


class Basics:
    """The methods of every tree over one that runs.

    Args:
        control: Its control.
        ring: Its latest events.
        tree: The tree.
        stop: Asks the run to stop.
        extension: What the application adds.
        tasks: Lives as long as clients are served.
    """

    def __init__(
        self, control: Control, ring: Ring, tree: Supervisor, stop: StopRequest, extension: ControlExtension, tasks: TaskGroup
    ) -> None:
        self._control, self._ring, self._tree, self._stop, self._extension, self._tasks = control, ring, tree, stop, extension, tasks
        self._waits_for_idle = False

    def methods(self) -> Mapping[str, ControlMethod]:
        """All methods of this run, those of the application over ours."""
        reason = control_reason()
        return {
            "ping": ControlMethod(self._ping),
            "version": ControlMethod(self._version),
            "status": ControlMethod(self._status),
            "tree": ControlMethod(self._whole_tree),
            "events": ControlMethod(
                self._events,
                {"since": ControlParameter(integer(0, 1 << 62), 0), "follow": ControlParameter(boolean(), False)},
                connected=True,
            ),
            "resolve": ControlMethod(self._resolved, {"path": ControlParameter(child_path())}),
            "restart": ControlMethod(
                self._restart,
                {"path": ControlParameter(child_path()), "reason": reason, "now": ControlParameter(boolean(), False)},
                changes=True,
            ),
            "stop": ControlMethod(
                self._stopped,
                {"path": ControlParameter(child_path(), None), "when_idle": ControlParameter(boolean(), False)},
                changes=True,
            ),
            **self._extension.methods(),
        }

    def faulted(self, error: Exception) -> None:
        """Serving one client has failed by a fault of ours."""
        self._tree.emit(ControlUnavailable((self._tree.id,), f"one client was hung up on: {describe(error)}"))

    # ------------------------------------------------------------ reading

    async def _ping(self) -> str:
        return "pong"

    async def _version(self) -> dict[str, Any]:
        from ..version import version

        return {
            "program": version(),
            "protocol": PROTOCOL,
            "run": self._control.run,
            "pid": os.getpid(),
            "kind": self._control.kind,
            "names": sorted(self._extension.names()) or [self._tree.id],
            "methods": sorted(self.methods()),
        }

    async def _status(self) -> dict[str, Any]:
        tree = self._tree.tree()
        return {
            "run": self._control.run,
            "pid": os.getpid(),
            "kind": self._control.kind,
            "backend": self._control.backend,
            "time": time.time(),
            "uptime": tree.uptime,
            "events": self._ring.last,
            "stopping": "now" if self._stop.requested else "when_idle" if self._waits_for_idle else None,
            **self._extension.facts(),
            "columns": [jsonable(column) for column in self._extension.columns],
            "tree": self._told(tree),
        }

    def _told(self, info: TreeInfo) -> dict[str, Any]:
        """A child as in ``tree``, what happens next, and what the application knows of it; its children last."""
        data = attrs.evolve(info, supervisor=None).as_data()
        if (supervisor := info.supervisor) is not None:
            above = attrs.evolve(info, supervisor=attrs.evolve(supervisor, children=())).as_data()
            data |= {key: value for key, value in above.items() if key != "children"}
        data["next"] = _next(info)
        data |= self._extension.about(info.path)
        if supervisor is not None:
            data["children"] = [self._told(child) for child in supervisor.children]
        return data

    async def _whole_tree(self) -> dict[str, Any]:
        return self._tree.tree().as_data()

    async def _events(self, connection: Connection, since: int, follow: bool) -> dict[str, Any]:
        ring = self._ring
        if since > ring.last:
            raise ControlRefused(
                INVALID_PARAMS, f"since: the latest event is {ring.last}; numbers begin anew with every run", {"last": ring.last}
            )
        if follow:
            connection.follow(since)
            return {"run": self._control.run, "since": since, "last": ring.last}
        import json

        lines, reached = ring.after(since, PAGE_BYTES)
        return {"run": self._control.run, "events": [json.loads(line) for line in lines], "since": reached, "last": ring.last}

    async def _resolved(self, path: tuple[str, ...]) -> list[str]:
        return list(self.resolve(path))

    # ------------------------------------------------------------ asking for changes

    async def _restart(self, path: tuple[str, ...], reason: str, now: bool) -> dict[str, Any]:
        path = self.resolve(path)
        if len(path) == 1:
            raise ControlRefused(REFUSED, f"{path[0]} is the whole run, which only a new start begins again; stop ends it")
        above = self._tree.supervisor(*path[1:-1])
        if above.which_child(path[-1]).state == "undefined":
            await above.restart_child(path[-1])
        elif not await (self._extension.restart_now if now else self._extension.restart)(path, reason):
            await above.cycle_child(path[-1], reason=reason)
        return self._row(path)

    async def _stopped(self, path: tuple[str, ...] | None, when_idle: bool) -> dict[str, Any]:
        path = None if path is None else self.resolve(path)
        if path is None or len(path) == 1:
            if not when_idle:
                self._stop.request()
            elif not self._waits_for_idle:
                self._waits_for_idle = True
                self._tasks.start_soon(self._stop_when_idle)
            return {"path": [self._tree.id], "stopping": "when_idle" if when_idle and not self._stop.requested else "now"}
        if when_idle:
            raise ControlRefused(INVALID_PARAMS, "when_idle: is for the whole run; leave out path")
        await self._tree.supervisor(*path[1:-1]).terminate_child(path[-1])
        return {"path": list(path), "stopping": None}

    async def _stop_when_idle(self) -> None:
        await self._extension.idle()
        self._stop.request()

    def _row(self, path: tuple[str, ...]) -> dict[str, Any]:
        return {"path": list(path), **_without_children(jsonable(self._tree.supervisor(*path[1:-1]).which_child(path[-1])))}

    def resolve(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """The path of a child from what a person calls it by: the path itself, a name that the application has for it, or its last ids.

        Raises:
            ControlRefused: There is none, or there are several.
        """
        if given[0] == self._tree.id and (len(given) == 1 or self._is_there(given)):
            return given
        named = self._extension.names().get("/".join(given))
        if named is not None:
            return named
        paths = list(_paths(self._tree.tree()))
        ending = [path for path in paths if path[-len(given) :] == given]
        if len(ending) == 1:
            return ending[0]
        if ending:
            said = ", ".join("/".join(path) for path in ending[:5])
            raise ControlRefused(INVALID_PARAMS, f"path: {quote('/'.join(given))} could be {said}; write more of it")
        near = did_you_mean("/".join(given), [*self._extension.names(), *(path[-1] for path in paths), *("/".join(path) for path in paths)])
        raise ControlRefused(NOT_FOUND, f"there is no child {quote('/'.join(given))}{near}")

    def _is_there(self, path: tuple[str, ...]) -> bool:
        try:
            return any(child.id == path[-1] for child in self._tree.supervisor(*path[1:-1]).which_children())
        except NoProc:
            return False


def _paths(info: TreeInfo) -> Iterator[tuple[str, ...]]:
    yield info.path
    for child in info.supervisor.children if info.supervisor is not None else ():
        yield from _paths(child)


def _without_children(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("path", "value")}


def _next(info: TreeInfo) -> str | None:
    """What happens next to a child, for a person; None when nothing is to come by itself."""
    if info.retry_in is not None:
        return f"next restart in {duration(info.retry_in)}"
    supervisor = info.supervisor
    if supervisor is not None and supervisor.circuit is CircuitState.OPEN and supervisor.reopens_in is not None:
        return f"circuit open: one restart may be tried in {duration(supervisor.reopens_in)}"
    if supervisor is not None and supervisor.circuit is CircuitState.HALF_OPEN:
        return "circuit half-open: the next restart decides"
    return None
