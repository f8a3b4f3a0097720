"""The same questions where there is no /proc: answered by psutil, imported on first use. Never used on Linux."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .identity import ProcessId

if TYPE_CHECKING:
    import psutil


def identify(pid: int) -> ProcessId | None:
    """See `identity.identify`."""
    import psutil

    try:
        return _process_id(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return None


def is_alive(process: ProcessId) -> bool:
    """See `identity.is_alive`."""
    import psutil

    try:
        found = psutil.Process(process.pid)
        return _process_id(found) == process and found.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def walk(root: int) -> list[ProcessId]:
    """See `proctree.walk`."""
    import psutil

    try:
        leader = psutil.Process(root)
        members = [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    found = []
    for member in members:
        try:
            if member.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                found.append(_process_id(member))
        except psutil.NoSuchProcess:
            continue
    return found


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


def _process_id(process: psutil.Process) -> ProcessId:
    return ProcessId(process.pid, round(process.create_time() * 1_000_000))
