"""Launches that are only looked at: what a specification says of them, without what could start them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from supervisor.core.launch import ChildType
from supervisor.core.spec import ChildSpec, Strategy, SupervisorFlags

from .machine_driver import Scripted


@attrs.frozen
class Working(Scripted):
    """As a task."""

    def describe(self) -> dict[str, Any]:
        return {"task": "app:main"}


@attrs.frozen
class Supervising(Scripted):
    """As a supervisor whose children are known."""

    specs: tuple[ChildSpec, ...] = ()
    flags: SupervisorFlags = SupervisorFlags()

    def describe(self) -> dict[str, Any]:
        return {"supervisor": [spec.id for spec in self.specs], "strategy": self.flags.strategy.value}


@attrs.frozen
class Asking(Scripted):
    """As a supervisor that asks for its children at its start."""

    flags: SupervisorFlags = SupervisorFlags()

    def describe(self) -> dict[str, Any]:
        return {"supervisor": "app:init", "strategy": self.flags.strategy.value}


def subtree(children: Iterable[ChildSpec] = (), **flags: Any) -> Supervising:
    """As the function of that name."""
    return Supervising(ChildType.SUPERVISOR, specs=tuple(children), flags=SupervisorFlags(**flags))


def dynamic(**flags: Any) -> Supervising:
    """As the function of that name."""
    return subtree(strategy=Strategy.SIMPLE_ONE_FOR_ONE, **flags)
