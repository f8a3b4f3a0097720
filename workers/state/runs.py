"""Runs: one lock for each agent of a project, held for the life of the guardian, and beside it the record of its processes.

The lock says whether a run is alive; the record says what to look for when it is not. Guardians in several terminals share a
state directory: each run has a name of its own, and only a run whose lock is free is ever swept.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import attrs

from supervisor import ProcessId, Value, identify, is_alive

from .files import private_directory, write_atomic
from .lock import Lock, try_lock

LOCK: Final = ".lock"
RECORD: Final = ".json"
RUNS: Final = "runs"
NAMES: Final = 1000
SWEEPING: Final = 3.0
"""Seconds for which a name that another guardian is just sweeping is waited for."""

_FORMAT: Final = 1
_NAME: Final = re.compile(r"[^/\\\0.][^/\\\0]{0,199}")


class NameInUse(Exception):
    """A name that was given by hand belongs to a run that is alive.

    Attributes:
        name: The name.
        pid: The guardian that runs under it; None when it has not said yet.
    """

    def __init__(self, name: str, pid: int | None) -> None:
        self.name, self.pid = name, pid
        by = "" if pid is None else f" by process {pid}"
        super().__init__(f"the name {name!r} is in use{by}; end that run or choose another name")

    def __reduce__(self) -> tuple[type[NameInUse], tuple[str, int | None]]:
        return type(self), (self.name, self.pid)


@attrs.frozen(repr=False, eq=False)
class RunRecord(Value):
    """What is written down about a run.

    Attributes:
        name: The agent's name.
        supervisor: The process that holds the run.
        boot: The boot of the machine it belongs to; pids of another boot mean nothing.
        namespace: The pid namespace its pids are of; None where there are none.
        markers: What the environment of its processes carries: markers of lives, or a run's token.
        members: The processes last known, parents first.
        cgroups: The directories of the run's own cgroups, in which those of its leaves are.
    """

    name: str
    supervisor: ProcessId
    boot: str
    namespace: str | None = None
    markers: tuple[str, ...] = ()
    members: tuple[ProcessId, ...] = ()
    cgroups: tuple[str, ...] = ()

    @property
    def is_of_this_boot(self) -> bool:
        """Whether its pids can mean the processes they meant."""
        return self.boot != "" and (self.boot, self.namespace) == (boot_id(), pid_namespace())

    @property
    def is_held_by_another(self) -> bool:
        """Whether its supervisor is alive and not this very process."""
        return self.is_of_this_boot and self.supervisor.pid != os.getpid() and is_alive(self.supervisor)


class RunClaim:
    """A name that is this process's until it is closed or the process ends. A context manager."""

    def __init__(self, name: str, directory: Path, lock: Lock, left_behind: RunRecord | None) -> None:
        supervisor = identify(os.getpid())
        assert supervisor is not None
        self.name = name
        self.directory = directory
        self.left_behind = left_behind
        self._lock = lock
        self._record = RunRecord(name, supervisor, boot_id(), pid_namespace())
        self._written: RunRecord | None = None

    def __enter__(self) -> RunClaim:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def record(
        self, members: Iterable[ProcessId] = (), *, markers: Iterable[str] | None = None, cgroups: Iterable[str] | None = None
    ) -> None:
        """Write down which processes belong to the run now; cheap when nothing changed, else about a tenth of a millisecond.

        Args:
            members: The processes, parents first.
            markers: The markers from now on; None leaves them as they are.
            cgroups: The run's cgroups from now on; None leaves them as they are.

        Raises:
            StateWriteFailed: It could not be written.
        """
        marks = self._record.markers if markers is None else tuple(markers)
        groups = self._record.cgroups if cgroups is None else tuple(cgroups)
        self._record = attrs.evolve(self._record, members=tuple(members), markers=marks, cgroups=groups)
        # until what the run before left behind is swept, its record is the one that must not be lost
        if self._record != self._written and self.left_behind is None:
            write_record(self.directory, self._record)
            self._written = self._record

    def swept(self) -> None:
        """What the run before left behind is gone: from now on the record is this run's.

        Raises:
            StateWriteFailed: It could not be written.
        """
        self.left_behind = None
        self.record(self._record.members)

    def close(self) -> None:
        """End the run in order: nothing of it is left to sweep, so its record goes, and its name is free. Twice is allowed."""
        if self.left_behind is None and self._written is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.directory / (self.name + RECORD))
        self._written = None
        self._lock.release()


def claim(state_dir: Path | str, project: str, name: str, given_by_hand: bool = False, *, patience: float = SWEEPING) -> RunClaim:
    """Take a name for a run of a project.

    A derived name that is in use gets the next free suffix: ``claude``, ``claude-2``, and so on.

    Args:
        state_dir: The state directory, shared by all guardians of the user.
        project: The project's key, see `project_key`.
        name: The agent's name.
        given_by_hand: Whether the user chose it: then it is this one or none.
        patience: Seconds for which the thread sleeps while another guardian is just sweeping that one.

    Raises:
        NameInUse: A name given by hand belongs to a run that is alive, or a derived one has no free suffix left.
        StateWriteFailed: The state directory cannot be used.
        ValueError: The name cannot be one of a file.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of an agent: it must not be empty, hidden or hold a slash")
    directory = runs_directory(state_dir, project)
    give_up = time.monotonic() + patience
    for number in range(1, NAMES):
        candidate = name if number == 1 else f"{name}-{number}"
        lock = try_lock(directory / (candidate + LOCK))
        while lock is None and given_by_hand and time.monotonic() < give_up and not _is_run(directory, candidate):
            # held by a guardian that sweeps it or has only just begun: a matter of milliseconds
            time.sleep(0.01)
            lock = try_lock(directory / (candidate + LOCK))
        if lock is not None and (claimed := _claimed(candidate, directory, lock)) is not None:
            return claimed
        if given_by_hand:
            break
    record = read_record(directory / (name + RECORD))
    raise NameInUse(name, record.supervisor.pid if record is not None and _is_run(directory, name) else None)


def runs_directory(state_dir: Path | str, project: str) -> Path:
    """The directory of a project's locks and records, made if need be.

    Raises:
        StateWriteFailed: It cannot be made or used.
    """
    base = Path(state_dir).absolute()
    return private_directory(base / project / RUNS, base)


def write_record(directory: Path, record: RunRecord) -> None:
    """Write a record beside its lock, atomically. It need not survive a loss of power: its pids would not either.

    Raises:
        StateWriteFailed: It could not be written.
    """
    import json

    data = attrs.asdict(record, recurse=False) | {
        "format": _FORMAT,
        "supervisor": _numbers(record.supervisor),
        "members": [_numbers(member) for member in record.members],
    }
    write_atomic(directory / (record.name + RECORD), json.dumps(data).encode(), durable=False)


def read_record(path: Path) -> RunRecord | None:
    """The record in a file; None when there is none, or what is there is none."""
    import json

    try:
        data: Any = json.loads(path.read_bytes())
        if data["format"] != _FORMAT:
            return None
        namespace = data["namespace"]
        return RunRecord(
            str(data["name"]),
            _process(data["supervisor"]),
            str(data["boot"]),
            None if namespace is None else str(namespace),
            tuple(str(marker) for marker in data["markers"]),
            tuple(_process(member) for member in data["members"]),
            tuple(str(directory) for directory in data.get("cgroups", ())),
        )
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None


def boot_id() -> str:
    """What this boot of the machine is called; empty where that cannot be told, and then nothing is ever swept."""
    global _boot
    if _boot is None:
        _boot = _read_boot_id()
    return _boot


def pid_namespace() -> str | None:
    """The pid namespace of this process; None where there are none."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


_boot: str | None = None


def _read_boot_id() -> str:
    if sys.platform == "linux":
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""
    else:
        import psutil

        return f"booted {psutil.boot_time():.0f}"


def _claimed(name: str, directory: Path, lock: Lock) -> RunClaim | None:
    try:
        before = read_record(directory / (name + RECORD))
        if before is not None and before.is_held_by_another:
            # somebody removed the lock's file under a run that is alive: the name is in use all the same
            lock.release()
            return None
        claimed = RunClaim(name, directory, lock, before)
        claimed.record()
        return claimed
    except BaseException:
        lock.release()
        raise


def _is_run(directory: Path, name: str) -> bool:
    record = read_record(directory / (name + RECORD))
    return record is not None and record.is_of_this_boot and is_alive(record.supervisor)


def _numbers(process: ProcessId) -> list[int]:
    return [process.pid, process.created]


def _process(data: Any) -> ProcessId:
    pid, created = data
    if not (isinstance(pid, int) and isinstance(created, int)) or pid <= 1:
        raise ValueError(f"{data!r} is no process")
    return ProcessId(pid, created)
