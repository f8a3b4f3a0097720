"""What the guardian needs of a host: a reader of memory, a limit to measure against, a place for state. For ``doctor``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from supervisor import Fault, Finding, UsageError, format_bytes

from .config import checked
from .config.host import absolute, default_state_dir, host_limit_bytes, unusable_state_dir
from .probe.reader import CGROUP1, CGROUP2, PROCFS, PSUTIL
from .probe.support import probe_support

SCARCE: Final = 100 << 20
"""Bytes of disk below which captures may soon fail: a conversation of some days, compressed, and its journal."""

_VARIABLE: Final = "MEMORY_GUARDIAN_GUARDIAN_STATE_DIR"


def checks(environ: Mapping[str, str]) -> Iterable[tuple[str, Callable[[], Finding]]]:
    """The names of the findings, and how each is found."""
    return (
        ("memory-reader", memory_reader),
        ("memory-events", memory_events),
        ("memory-hold", memory_hold),
        ("memory-limit", memory_limit),
        ("configuration", partial(configuration, environ)),
        ("state-directory", partial(state_directory, environ)),
        ("git", git),
        *claude_code(environ),
    )


def claude_code(environ: Mapping[str, str]) -> Iterable[tuple[str, Callable[[], Finding]]]:
    """What concerns Claude Code."""
    from .claude.findings import checks as of_claude_code

    return of_claude_code(environ)


SAYS: Final = {
    CGROUP2: "cgroup2: what the kernel counts for the leaf's cgroup",
    CGROUP1: "cgroup1: what the kernel counts for the leaf's cgroup",
    PROCFS: "procfs: a few microseconds a process; pages shared since a fork count for each",
    PSUTIL: "psutil: a look costs milliseconds",
}


def memory_reader() -> Finding:
    """How the memory of a tree is read, and who takes over when that fails."""
    readers = probe_support().readers
    if not readers:
        return Finding("memory-reader", "missing", "neither /proc nor psutil can read the memory of processes here", "pip install psutil")
    first, *others = readers
    says = SAYS[first] + (f"; if that fails: {', '.join(others)}" if others else "; if that fails there is no other")
    if PROCFS in readers:
        return Finding("memory-reader", "ok", says)
    return Finding("memory-reader", "limited", says, "on Linux: mount -t proc proc /proc")


def memory_events() -> Finding:
    """Whether the guardian is told of a leaf that grows, or has to look."""
    support = probe_support()
    told = {"threshold": "crossings of the levels, by cgroup1's thresholds", "high": "crossings of the levels, by memory.high"}
    says = [told[support.events]] if support.events else []
    says += ["the host's pressure"] if support.pressure else []
    if support.events:
        return Finding("memory-events", "ok", " and ".join(says))
    less = "a leaf is looked at by the intervals alone" + (f"; told are {says[0]}" if says else "")
    return Finding("memory-events", "limited", less, support.remedy)


def memory_hold() -> Finding:
    """Whether a leaf that races past emergency can be held until its state is captured."""
    support = probe_support()
    ways = {
        "freeze": "frozen by its cgroup",
        "limit": "paused at a limit beyond emergency",
        "high": "slowed down at the level it crosses",
    }
    if support.holds:
        return Finding("memory-hold", "ok", ", ".join(ways[way] for way in support.holds))
    return Finding("memory-hold", "limited", "none: a leaf in an emergency grows on until it is stopped", support.remedy)


def memory_limit() -> Finding:
    """What shares of memory are shares of."""
    limit = host_limit_bytes()
    if limit is None:
        return Finding("memory-limit", "limited", "unknown: thresholds cannot be shares of it", "give thresholds as sizes, such as 12GiB")
    return Finding("memory-limit", "ok", format_bytes(limit))


def configuration(environ: Mapping[str, str]) -> Finding:
    """Whether a run could begin with what the environment sets."""
    faults = _faults(environ)
    if faults:
        said = "; ".join(map(str, faults))
        return Finding("configuration", "missing", said, "correct or unset what is named; memory-guardian check FILE checks a file")
    given = sum(name.startswith("MEMORY_GUARDIAN_") for name in environ)
    return Finding("configuration", "ok", f"defaults, and {given} from the environment" if given else "defaults")


def _faults(environ: Mapping[str, str]) -> list[Fault]:
    """All but what is wrong with the state directory, which is a finding of its own."""
    try:
        checked(None, environ)
    except UsageError as error:
        unusable = unusable_state_dir(_state_dir(environ))
        return [fault for fault in error.faults if fault.message != unusable]
    return []


def state_directory(environ: Mapping[str, str]) -> Finding:
    """Whether captured state can be written, and how much of it."""
    directory = _state_dir(environ)
    unusable = unusable_state_dir(directory)
    if unusable:
        remedy = f"name another one with --state-dir or {_VARIABLE}; or set guardian.persist_state = false, and no state is kept"
        return Finding("state-directory", "missing", f"{directory}: {unusable}", remedy)
    at = directory
    while not os.path.isdir(at):
        at = os.path.dirname(at)
    free = shutil.disk_usage(at).free
    said = f"{directory}, {format_bytes(free)} free"
    if free < SCARCE:
        return Finding("state-directory", "limited", said, f"free some space: captures need up to {format_bytes(SCARCE)}")
    return Finding("state-directory", "ok", said)


def _state_dir(environ: Mapping[str, str]) -> str:
    return absolute(environ.get(_VARIABLE) or default_state_dir())


def git() -> Finding:
    """Whether captures can say what git knows of a working directory."""
    found = shutil.which("git")
    if found is None:
        return Finding("git", "limited", "not installed: captures do not say which files have changed", "install git")
    return Finding("git", "ok", found)
