"""What befalls a tree: signals from nowhere, calls at the wrong moment, a host without resources."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Any

import anyio
from anyio.abc import TaskGroup

from supervisor import Supervisor, SupervisorError, TreeInfo

from ..support import no_descriptors
from .growth import Growth
from .invariants import Stray, processes

PATIENCE = 60.0
"""Seconds within which every call is answered."""


class Faults:
    """Chooses and performs; what takes time runs beside the rest, in `tasks`."""

    def __init__(self, root: Supervisor, growth: Growth, random: Random, tasks: TaskGroup) -> None:
        self._root, self._growth, self._random, self._tasks = root, growth, random, tasks
        self.done: dict[str, int] = {}

    async def strike(self) -> None:
        """One fault, or one call."""
        kinds: dict[Callable[[], Coroutine[Any, Any, None]], int] = {
            self.signal: 30,
            self.pause: 6,
            self.call: 40,
            self.grow: 12,
            self.no_descriptors: 3,
            self.busy: 3,
            self.storm: 2,
        }
        (kind,) = self._random.choices(list(kinds), weights=list(kinds.values()))
        self.done[kind.__name__] = self.done.get(kind.__name__, 0) + 1
        await kind()

    async def signal(self) -> None:
        """Somebody kills a process of ours, a root or any other."""
        victim = self._victim()
        if victim is not None:
            number = self._random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGINT, signal.SIGHUP])
            with suppress(ProcessLookupError):
                os.kill(victim.pid, number)

    async def pause(self) -> None:
        """Somebody stops a process, and perhaps continues it."""
        victim = self._victim()
        if victim is not None:
            with suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGSTOP)
            if self._random.random() < 0.5:
                self._tasks.start_soon(self._continue, victim.pid)

    async def call(self) -> None:
        """A call to a supervisor somewhere in the tree, which may be busy or about to end; several at a time are under way."""
        path, children = self._random.choice(list(_supervisors(self._root.tree())))
        ref = self._root.supervisor(*path[1:])
        id = self._random.choice(children).id if children else "none"
        verb = self._random.choice(["terminate", "restart", "restart", "delete", "cycle", "cycle"])
        self._tasks.start_soon(self._answered, getattr(ref, f"{verb}_child"), id)

    async def grow(self) -> None:
        """A new leaf, or a supervisor, somewhere; not without bound."""
        supervisors = list(_supervisors(self._root.tree()))
        if sum(len(children) for _, children in supervisors) > 50:
            return
        path, _ = self._random.choice(supervisors)
        spec = self._growth.leaf() if self._random.random() < 0.8 else self._growth.supervisor(1)
        self._tasks.start_soon(self._answered, self._root.supervisor(*path[1:]).start_child, spec)

    async def no_descriptors(self) -> None:
        """For a moment this process can open no more files, or only a few."""
        with no_descriptors(self._random.randint(0, 3)):
            await anyio.sleep(self._random.uniform(0.01, 0.1))

    async def busy(self) -> None:
        """The event loop is kept busy by somebody else."""
        time.sleep(self._random.uniform(0.01, 0.08))  # noqa: ASYNC251 (that is the fault)

    async def storm(self) -> None:
        """Signals to this process that mean nothing."""
        for _ in range(50):
            os.kill(os.getpid(), self._random.choice([signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH, signal.SIGURG]))

    def _victim(self) -> Stray | None:
        alive = list(processes())
        return self._random.choice(alive) if alive else None

    async def _continue(self, pid: int) -> None:
        await anyio.sleep(self._random.uniform(0.01, 0.5))
        # the pid may be another's by now, whom this does no harm
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    async def _answered(self, call: Callable[..., Coroutine[Any, Any, Any]], argument: Any) -> None:
        with anyio.fail_after(PATIENCE), suppress(SupervisorError):
            await call(argument)


def _supervisors(info: TreeInfo) -> list[tuple[tuple[str, ...], tuple[TreeInfo, ...]]]:
    if info.supervisor is None:
        return []
    below = [found for child in info.supervisor.children for found in _supervisors(child)]
    return [(info.path, info.supervisor.children), *below]
