"""Where the probe runs: in the process of the guardian, or in one of its own."""

from __future__ import annotations

import sys
from typing import Any, Final

from supervisor import ChildSpec, Strategy, subtree, task

from ..config import Isolation
from ..ledger import Ledger
from .worker import probe

WATCHDOG: Final = 5.0
"""Seconds for which the sweep may be stuck where it has a process of its own."""

START: Final = 30.0
"""Seconds for its interpreter to come up there."""

MEMORY: Final = 256 << 20
"""Bytes that it may have there, beyond which the kernel kills it, where that can be limited."""


def placed_probe(ledger: Ledger, path: tuple[str, ...], **flags: Any) -> ChildSpec:
    """The child `probe`: one task, or a supervisor over the desk and the sweep.

    The desk is a task here and the sweep has a process of its own. Its end restarts nobody else.

    Args:
        ledger: Says which of them is wanted.
        path: Where in the tree it will be.
        flags: Of that supervisor.
    """
    if ledger.run.config.workers.isolation is Isolation.TASK or sys.platform == "win32":
        return ChildSpec("probe", task(probe, ledger))
    from supervisor import Limits, worker  # most guardians never need it

    from .server import desk

    where = (*path, "desk"), ledger.listens, not ledger.run.dry_run
    # a start of it never fails for want of a cgroup to limit it in
    limits = Limits(memory_max=MEMORY, required=False)
    sweep = worker("workers.probe.proxy:sweep", *where, start_method="fresh", watchdog=WATCHDOG, limits=limits)
    children = [ChildSpec("desk", task(desk, ledger, (*path, "sweep"))), ChildSpec("sweep", sweep, start_timeout=START)]
    return ChildSpec("probe", subtree(children, strategy=Strategy.REST_FOR_ONE, **flags))
