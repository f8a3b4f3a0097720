"""An Erlang/OTP-style supervision tree for Python, on anyio (trio and asyncio).

The public names are imported when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .core.backoff import Backoff as Backoff
    from .core.breaker import Breaker as Breaker
    from .core.breaker import CircuitState as CircuitState
    from .core.budget import Admitted as Admitted
    from .core.budget import Refused as Refused
    from .core.budget import Wait as Wait
    from .core.errors import AlreadyPresent as AlreadyPresent
    from .core.errors import AlreadyStarted as AlreadyStarted
    from .core.errors import BadCombination as BadCombination
    from .core.errors import CallError as CallError
    from .core.errors import ChildNotFound as ChildNotFound
    from .core.errors import ChildNotRunning as ChildNotRunning
    from .core.errors import ChildRestarting as ChildRestarting
    from .core.errors import ChildRunning as ChildRunning
    from .core.errors import DuplicateChildName as DuplicateChildName
    from .core.errors import InvalidField as InvalidField
    from .core.errors import NoProc as NoProc
    from .core.errors import RestartIntensityExceeded as RestartIntensityExceeded
    from .core.errors import RestartPostponed as RestartPostponed
    from .core.errors import RestartRefused as RestartRefused
    from .core.errors import SpecError as SpecError
    from .core.errors import StartFailed as StartFailed
    from .core.errors import SupervisorError as SupervisorError
    from .core.event import ChildExited as ChildExited
    from .core.event import ChildRestarted as ChildRestarted
    from .core.event import ChildStarted as ChildStarted
    from .core.event import ChildStartFailed as ChildStartFailed
    from .core.event import ChildTerminated as ChildTerminated
    from .core.event import ChildUnresponsive as ChildUnresponsive
    from .core.event import Event as Event
    from .core.event import EventsLost as EventsLost
    from .core.event import OrphansSwept as OrphansSwept
    from .core.event import Record as Record
    from .core.event import RestartDeferred as RestartDeferred
    from .core.event import SupervisorGaveUp as SupervisorGaveUp
    from .core.exits import Exit as Exit
    from .core.exits import ExitKind as ExitKind
    from .core.ports import ChildType as ChildType
    from .core.ports import Handle as Handle
    from .core.ports import Launch as Launch
    from .core.ports import Ticket as Ticket
    from .core.spec import BRUTAL_KILL as BRUTAL_KILL
    from .core.spec import AutoShutdown as AutoShutdown
    from .core.spec import ChildSpec as ChildSpec
    from .core.spec import GiveUp as GiveUp
    from .core.spec import Restart as Restart
    from .core.spec import Strategy as Strategy
    from .core.spec import SupervisorFlags as SupervisorFlags
    from .core.spec import check_childspecs as check_childspecs
    from .leaf.task import Ignore as Ignore
    from .leaf.task import task as task
    from .runtime.bus import Subscription as Subscription
    from .runtime.snapshot import ChildCounts as ChildCounts
    from .runtime.snapshot import ChildInfo as ChildInfo
    from .runtime.subtree import subtree as subtree
    from .runtime.supervisor import Supervisor as Supervisor
    from .runtime.supervisor import SupervisorRef as SupervisorRef

_MODULES = {
    "core.backoff": ("Backoff",),
    "core.breaker": ("Breaker", "CircuitState"),
    "core.budget": ("Admitted", "Refused", "Wait"),
    "core.errors": (
        "AlreadyPresent",
        "AlreadyStarted",
        "BadCombination",
        "CallError",
        "ChildNotFound",
        "ChildNotRunning",
        "ChildRestarting",
        "ChildRunning",
        "DuplicateChildName",
        "InvalidField",
        "NoProc",
        "RestartIntensityExceeded",
        "RestartPostponed",
        "RestartRefused",
        "SpecError",
        "StartFailed",
        "SupervisorError",
    ),
    "core.event": (
        "ChildExited",
        "ChildRestarted",
        "ChildStartFailed",
        "ChildStarted",
        "ChildTerminated",
        "ChildUnresponsive",
        "Event",
        "EventsLost",
        "OrphansSwept",
        "Record",
        "RestartDeferred",
        "SupervisorGaveUp",
    ),
    "core.exits": ("Exit", "ExitKind"),
    "core.ports": ("ChildType", "Handle", "Launch", "Ticket"),
    "core.spec": (
        "BRUTAL_KILL",
        "AutoShutdown",
        "ChildSpec",
        "GiveUp",
        "Restart",
        "Strategy",
        "SupervisorFlags",
        "check_childspecs",
    ),
    "leaf.task": ("Ignore", "task"),
    "runtime.bus": ("Subscription",),
    "runtime.snapshot": ("ChildCounts", "ChildInfo"),
    "runtime.subtree": ("subtree",),
    "runtime.supervisor": ("Supervisor", "SupervisorRef"),
}

_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
