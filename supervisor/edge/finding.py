"""What `doctor` finds out about a host: one thing it offers or lacks, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs

from ..core.exits import describe
from ..core.value import Value

Condition = Literal["ok", "limited", "missing"]


@attrs.frozen(repr=False, eq=False)
class Finding(Value):
    """One thing that a host offers or lacks.

    Attributes:
        name: What it is about; stable, for programs.
        state: ``"ok"``; ``"limited"`` when a command can be guarded, with less than is possible elsewhere; ``"missing"`` when none can.
        says: What was found.
        remedy: What to do about it; None where nothing needs to be done or nothing can.
    """

    name: str
    state: Condition
    says: str
    remedy: str | None = None

    def as_data(self) -> dict[str, Any]:
        """As JSON data; the keys are always there."""
        return {"name": self.name, "state": self.state, "says": self.says, "remedy": self.remedy}


Check = Callable[[], Finding]
"""Finds one thing out, in milliseconds, and leaves everything as it was."""


def find(name: str, check: Check) -> Finding:
    """What a check finds; one that fails is a finding itself, for a host on which it can is the kind that is asked about."""
    try:
        return check()
    except Exception as error:  # the boundary that turns a failure into a finding
        return Finding(name, "limited", f"cannot be told: {describe(error)}", "report this: the check should not fail")
