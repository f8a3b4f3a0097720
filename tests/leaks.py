"""What a test must not leave behind: processes, threads, descriptors, temporary files, signal handlers, cgroups.

`Baseline.take` is called before a test and `Baseline.leaks` after it. A process counts as the test's own when it is a child of this
process, adopted ones included, or when its environment carries the test's mark: so one that was handed on to init is seen as well.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

MARK = "GUARDED_TEST"
GRACE = 2.0
"""Seconds for things that are on their way out: a killed process that init has not reaped yet."""

LINUX = sys.platform == "linux"
IDLE_THREAD = re.compile(r"Trio thread \d+")
"""trio keeps idle workers for ten seconds under this name; one that works carries its job's name."""


@attrs.frozen
class Process:
    """A process as the kernel knows it; `created` tells it from a later one of the same pid."""

    pid: int
    created: int
    state: str
    name: str
    place: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name}, state {self.state}{self.place}): {_command_line(self.pid)}"


@attrs.frozen
class Baseline:
    """What was there before the test."""

    mark: str
    processes: frozenset[tuple[int, int]]
    threads: frozenset[threading.Thread]
    descriptors: dict[int, str]
    handlers: dict[int, object]
    blocked: frozenset[int]

    @classmethod
    def take(cls, mark: str) -> Baseline:
        """Take stock.

        Args:
            mark: The value of the environment variable `MARK` while the test runs; no other test has it.
        """
        return cls(
            mark,
            frozenset((process.pid, process.created) for process in _processes(mark)),
            frozenset(threading.enumerate()),
            _descriptors(),
            _handlers(),
            frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        )

    def leaks(self) -> list[str]:
        """Name what is there now and was not before, after `GRACE`; kill leftover processes, put handlers back."""
        if not self._present():
            return []
        gc.collect()
        deadline = time.monotonic() + GRACE
        while (found := self._present()) and time.monotonic() < deadline:
            time.sleep(0.01)
        for process in self._left():
            end(process)
        for signum, handler in self.handlers.items():
            if signal.getsignal(signum) != handler:
                signal.signal(signum, handler)  # type: ignore[arg-type]
        signal.pthread_sigmask(signal.SIG_SETMASK, self.blocked)
        return found

    def _left(self) -> list[Process]:
        return [process for process in _processes(self.mark) if (process.pid, process.created) not in self.processes]

    def _present(self) -> list[str]:
        found = [str(process) for process in self._left()]
        found += [
            f"thread {thread.name!r}"
            for thread in threading.enumerate()
            if thread not in self.threads and not IDLE_THREAD.fullmatch(thread.name)
        ]
        found += [f"descriptor {fd}: {target}" for fd, target in _descriptors().items() if self.descriptors.get(fd) != target]
        found += [
            f"handler of {signal.Signals(signum).name}: {handler!r} instead of {self.handlers[signum]!r}"
            for signum, handler in _handlers().items()
            if handler != self.handlers[signum]
        ]
        found += [f"cgroup {directory}" for directory in cgroups()]
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        found += [f"blocked signal {signal.Signals(signum).name}" for signum in sorted(blocked - self.blocked)]
        return found


def end(process: Process) -> None:
    """Kill one process, never a later one of the same pid, and reap it when it is a child of ours."""
    try:
        pidfd = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        return
    try:
        now = read_process(process.pid)
        if LINUX and (now is None or now.created != process.created):
            return
        if pidfd is None:
            os.kill(process.pid, signal.SIGKILL)
        else:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, 0)
    except ProcessLookupError:
        return
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _processes(mark: str) -> Iterator[Process]:
    if not LINUX:
        yield from _processes_portable()
        return
    own = os.getpid()
    seen: set[int] = set()
    waiting = [own]
    while waiting:
        for pid in _children(waiting.pop()):
            if pid not in seen:
                seen.add(pid)
                waiting.append(pid)
    needle = f"\0{MARK}={mark}\0".encode()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in seen and int(name) != own:
            with contextlib.suppress(OSError):
                if needle in b"\0" + Path("/proc", name, "environ").read_bytes():
                    seen.add(int(name))
    for pid in sorted(seen):
        if (process := read_process(pid)) is not None:
            yield process


def _processes_portable() -> Iterator[Process]:
    import psutil

    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            yield Process(child.pid, int(child.create_time() * 1000), child.status(), child.name())


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_bytes().split())
    return found


def read_process(pid: int) -> Process | None:
    """The process of a pid, a zombie included; None when there is none."""
    try:
        head, _, tail = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return None
    fields = tail.split()
    place = f", parent {fields[1]}, group {fields[2]}, session {fields[3]}"
    return Process(pid, int(fields[19]), fields[0], head.partition("(")[2], place)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip() or "no command line"
    except OSError:
        return "command line unknown"


def _descriptors() -> dict[int, str]:
    found: dict[int, str] = {}
    if LINUX:
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the listing's own descriptor is closed again
                found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def cgroups() -> list[str]:
    """The cgroups of this process's run that are there, in whatever hierarchy."""
    marker = sys.modules.get("supervisor.host.marker")
    if not LINUX or marker is None or marker._token is None:
        return []  # no life was ever started
    from supervisor.host.cgroup.run import PREFIX

    runs = [f"{parent.rstrip('/')}/{PREFIX}{marker._token[1]}" for parent in _parents_of_cgroups()]
    return [run for run in runs if os.path.exists(run)]


def remove_cgroups_of_the_killed() -> None:
    """Do what the next start of a supervisor would: remove what those have left that tests have killed."""
    if LINUX:
        from supervisor.host.cgroup.run import tidy

        for parent in _parents_of_cgroups():
            tidy(parent, "")


def _parents_of_cgroups() -> list[str]:
    from supervisor.host.cgroup.layout import read_layout

    hierarchies = read_layout(*(Path(f"/proc/self/{name}").read_text() for name in ("mountinfo", "cgroup")))
    return [hierarchy.directory for hierarchy in hierarchies]


def _handlers() -> dict[int, object]:
    return {signum: signal.getsignal(signum) for signum in signal.valid_signals()}
