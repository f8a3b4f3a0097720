"""What holds at every moment of a tree of real processes, whatever befalls it."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs

from supervisor import ChildExited, ChildStarted, Record, Supervisor, TreeInfo
from supervisor.host.marker import run_token, value_in
from supervisor.host.procstat import read_stat

LIVE = ("starting", "running", "stopping")
PER_LIFE = 6
"""Descriptors that one life may hold, at the most."""
SLACK = 24


class Broken(AssertionError):
    """An invariant does not hold."""


@attrs.frozen
class Stray:
    """A live process of ours, and the life that its environment names."""

    pid: int
    path: tuple[str, ...]
    generation: int


def processes() -> Iterator[Stray]:
    """Every live process that carries a mark of this run, by the innermost life that it belongs to."""
    token = run_token()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        environment = b""
        with suppress(OSError):
            environment = Path("/proc", name, "environ").read_bytes()
        lives = [life for life in value_in(environment).split(";") if life.startswith(f"{token}:")]
        stat = read_stat(int(name)) if lives else None
        if stat is not None and not stat.dead:
            _, _, path, generation = lives[-1].split(":")
            yield Stray(int(name), tuple(path.split("/")), int(generation))


def leaves(info: TreeInfo) -> Iterator[TreeInfo]:
    """All children that are no supervisors."""
    if info.supervisor is None:
        yield info
    else:
        for child in info.supervisor.children:
            yield from leaves(child)


class Invariants:
    """Watches one tree.

    Raises:
        Broken: From every call that finds something broken.
    """

    def __init__(self, root: Supervisor) -> None:
        self._root = root
        self._descriptors, self._threads = descriptors(), threading.active_count()
        self._up: dict[tuple[str, ...], int] = {}
        self.looks = self.starts = self.exits = 0
        self.broken: list[str] = []
        self._latest: deque[str] = deque(maxlen=40)
        root.add_sink(self._note)

    def _note(self, record: Record) -> None:
        event = record.event
        self._latest.append(f"{record.monotonic:.3f} {event}")
        if isinstance(event, ChildStarted):
            self.starts += 1
            if event.path in self._up:
                self.broken.append(f"{event.path}: generation {event.generation} started over {self._up[event.path]}")
            self._up[event.path] = event.generation or 0
        elif isinstance(event, ChildExited):
            self.exits += 1
            if self._up.pop(event.path, None) not in (None, event.generation):
                self.broken.append(f"{event.path}: generation {event.generation} ended, and another one was up")

    def look(self) -> None:
        """All live processes belong to a child that lives; descriptors and threads are bounded; events are in order."""
        self.looks += 1
        found = list(processes())
        # nothing was awaited since, so the tree is as it was
        info = self._root.tree()
        lives = {leaf.path: leaf.generation for leaf in leaves(info) if leaf.state in LIVE}
        for stray in found:
            if lives.get(stray.path) != stray.generation and _lives(stray.pid):
                self.broken.append(f"{stray} ({_command(stray.pid)}) lives, and its child is at {lives.get(stray.path, 'no life')}")
        if len(held := descriptors()) > len(self._descriptors) + PER_LIFE * len(lives) + SLACK:
            self.broken.append(f"{len(held)} descriptors with {len(lives)} lives: {held}")
        if threading.active_count() > self._threads + 2:
            self.broken.append(f"{threading.active_count()} threads")
        self._raise()

    def after(self) -> None:
        """The block was left: nothing of it is there any more."""
        for stray in processes():
            self.broken.append(f"{stray} outlived the tree")
        if children := Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
            self.broken.append(f"children are left: {[(pid, read_stat(int(pid)), _command(int(pid))) for pid in children]}")
        if left := {fd: target for fd, target in descriptors().items() if self._descriptors.get(fd) != target}:
            self.broken.append(f"descriptors are left: {left}")
        if threading.active_count() > self._threads:
            self.broken.append(f"threads are left: {threading.enumerate()}")
        self._raise()

    def _raise(self) -> None:
        if self.broken:
            raise Broken("\n".join([*self.broken, *self._latest]))


def descriptors() -> dict[int, str]:
    """This process's own, and what they are of."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing's own is closed again
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return "?"


def _lives(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and not stat.dead
