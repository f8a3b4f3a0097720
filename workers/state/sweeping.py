"""Ends what abandoned runs left behind: runs whose lock is free although nobody closed them, because their guardian was killed."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs

from supervisor import ProcessId, RunCgroups, Value, identify, is_alive, marked, sweep, walk

from .files import SUFFIX as TEMPORARY
from .lock import Lock, try_lock
from .runs import LOCK, RECORD, RUNS, RunClaim, RunRecord, read_record, runs_directory

BOUND: Final = 2.0
"""Seconds after which the sweep of one run gives up on processes that the kernel cannot end."""


@attrs.frozen(repr=False, eq=False)
class SweptRun(Value):
    """What was found of one abandoned run.

    Attributes:
        name: Its agent's name.
        killed: The processes that had to be killed.
        left: The ones that could not be, for want of permission or of time; the record of such a run is kept.
    """

    name: str
    killed: tuple[ProcessId, ...] = ()
    left: tuple[ProcessId, ...] = ()


async def sweep_abandoned(
    state_dir: Path | str, project: str, claim: RunClaim | None = None, *, bound: float = BOUND, others: bool = True
) -> tuple[SweptRun, ...]:
    """Kill what abandoned runs of a project left behind, and remove their records.

    Touched are only processes of this boot that a record names by pid and creation time, that carry one of its markers or are in one
    of its cgroups, and what descends from those; never a process of a run that is alive, this one's own, nor one that either descends from.

    Args:
        state_dir: The state directory.
        project: The project's key.
        claim: This run's own name, taken already: what the run before left behind under it is swept too, and its record begins.
        bound: Seconds for each run.
        others: Whether runs of other names are looked for as well.

    Returns:
        One value for each abandoned run of which something was alive.

    Raises:
        StateWriteFailed: The state directory cannot be used.

    **Cancellation:** what was not killed yet stays, and so does its record.
    """
    # a directory or two, and nearly always nothing in them: not worth a thread, whose memory would stay
    directory = runs_directory(state_dir, project)
    swept = []
    if claim is not None and claim.left_behind is not None:
        result = await _sweep_run(claim.left_behind, directory, bound)
        swept.append(result)
        claim.swept()
    for name in _names(directory) if others else ():
        lock = try_lock(directory / (name + LOCK))
        if lock is None:
            continue  # alive, or being swept by another
        try:
            swept.append(await _sweep_free(name, directory, lock, bound))
        finally:
            lock.release()
    return tuple(result for result in swept if result.killed or result.left)


async def _sweep_free(name: str, directory: Path, lock: Lock, bound: float) -> SweptRun:
    path = directory / (name + RECORD)
    record = read_record(path)
    if record is not None:
        if record.is_held_by_another:
            return SweptRun(name)  # its lock's file was removed, it lives
        result = await _sweep_run(record, directory, bound)
        if result.left:
            return result
    else:
        result = SweptRun(name)
    _forget(path)
    return result


def _forget(path: Path) -> None:
    """Remove a record, and what its guardian was writing when it was killed."""
    from glob import escape

    for leftover in (path, *path.parent.glob(f".{escape(path.name)}.*{TEMPORARY}")):
        with contextlib.suppress(OSError):
            os.unlink(leftover)


async def _sweep_run(record: RunRecord, directory: Path, bound: float) -> SweptRun:
    if not record.is_of_this_boot:
        return SweptRun(record.name)
    import anyio.to_thread

    spared = await anyio.to_thread.run_sync(_spared, directory.parent.parent)
    cgroups = RunCgroups(record.cgroups, {marker.partition(":")[0] for marker in record.markers}, spared)
    result = await sweep(lambda: _remains(record, cgroups, spared), bound=bound, enclosure=cgroups)
    cgroups.remove()
    return SweptRun(record.name, result.killed, result.left)


def _remains(record: RunRecord, cgroups: RunCgroups, spared: frozenset[ProcessId]) -> list[ProcessId]:
    """What is alive of a run, parents before their children."""
    found: dict[ProcessId, None] = {}
    carrying = [process for marker in record.markers for process in marked(marker)]
    for process in (*record.members, *carrying, *cgroups.members()):
        if process not in found:
            members = walk(process.pid)
            # walked by pid: only if it is still this very process are these its descendants
            found.update(dict.fromkeys(members if members and members[0] == process else ()))
    return [process for process in found if process not in spared]


def _spared(state_dir: Path) -> frozenset[ProcessId]:
    """The processes of all runs that are alive, this process's own included: their trees, and what they descend from."""
    own = identify(os.getpid())
    supervisors = [] if own is None else [own]
    spared: set[ProcessId] = set()
    for path in state_dir.glob(f"*/{RUNS}/*{RECORD}"):
        record = read_record(path)
        if record is not None and record.is_held_by_another:
            supervisors.append(record.supervisor)
            spared.update(record.members)
    for process in (*supervisors, *spared):
        if is_alive(process):
            spared.update(walk(process.pid))
    for supervisor in supervisors:
        spared.update(_ancestors(supervisor.pid))
    return frozenset(spared)


def _ancestors(pid: int) -> Iterator[ProcessId]:
    seen = set()
    while pid > 1 and pid not in seen:
        seen.add(pid)
        parent = _parent(pid)
        process = None if parent is None else identify(parent)
        if process is None:
            return
        yield process
        pid = process.pid


def _parent(pid: int) -> int | None:
    if sys.platform == "linux":
        try:
            # the name may hold blanks and parentheses; the last parenthesis ends it
            return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
        except OSError:
            return None
    else:
        import psutil

        try:
            return psutil.Process(pid).ppid()
        except psutil.Error:
            return None


def _names(directory: Path) -> list[str]:
    names = {entry.name.removesuffix(ending) for ending in (LOCK, RECORD) for entry in _ending(directory, ending)}
    return sorted(names)


def _ending(directory: Path, ending: str) -> Iterable[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return [entry for entry in entries if entry.name.endswith(ending) and not entry.name.startswith(".")]
