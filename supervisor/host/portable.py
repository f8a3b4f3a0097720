"""The same questions where there is no /proc: answered by psutil, imported on first use. On Linux only tests ask here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .identity import ProcessId

if TYPE_CHECKING:
    import psutil

    from .lineage import Lineage


def identify(pid: int) -> ProcessId | None:
    """See `identity.identify`."""
    import psutil

    try:
        return _process_id(psutil.Process(pid))
    except psutil.Error:
        return None  # gone, or hidden from us


def is_alive(process: ProcessId) -> bool:
    """See `identity.is_alive`."""
    import psutil

    try:
        found = psutil.Process(process.pid)
        return _process_id(found) == process and _runs(found)
    except psutil.Error:
        return False


def walk(root: int) -> list[ProcessId]:
    """See `proctree.walk`."""
    import psutil

    try:
        leader = psutil.Process(root)
        members = [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return []
    found = []
    for member in members:
        try:
            if _runs(member):
                found.append(_process_id(member))
        except psutil.Error:
            continue
    return found


def group_of(pid: int) -> int | None:
    """The process group of a process; None when it is gone, or where there are no groups."""
    if sys.platform == "win32":
        return None
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def lineage(process: ProcessId) -> Lineage | None:
    """See `lineage.lineage`."""
    import psutil

    from .lineage import Lineage

    try:
        found = psutil.Process(process.pid)
        if _process_id(found) != process or not _runs(found):
            return None
        session = 0
        if sys.platform != "win32":
            session = os.getsid(process.pid)
        return Lineage(process, found.ppid(), session, tuple(found.cmdline()))
    except (psutil.Error, OSError):
        return None


def environments() -> list[tuple[ProcessId, str]]:
    """Every process but ourselves that lets its environment be read, with the value of our marker in it, empty without."""
    import psutil

    from .marker import VARIABLE

    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid():
                found.append((_process_id(process), process.environ().get(VARIABLE, "")))
        except (psutil.Error, OSError):
            continue  # gone, or not ours to read
    return found


def upwards(pid: int) -> Iterator[int | None]:
    """A process and its ancestors; None when one of them is gone or hidden before its parent is known."""
    import psutil

    try:
        process: psutil.Process | None = psutil.Process(pid)
        while process is not None:
            yield process.pid
            process = process.parent()
    except psutil.Error:
        yield None


def life_of(pid: int) -> str:
    """The value of our marker in the environment of a process; empty without, or where that may not be read."""
    import psutil

    from .marker import VARIABLE

    try:
        return psutil.Process(pid).environ().get(VARIABLE, "")
    except (psutil.Error, OSError):
        return ""


def _runs(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.AccessDenied:
        return True  # it is there, and not ours to look at


def _process_id(process: psutil.Process) -> ProcessId:
    return ProcessId(process.pid, round(process.create_time() * 1_000_000))
