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
from .probe import NoReader, reader_name
from .probe.reader import PROCFS

SCARCE: Final = 100 << 20
"""Bytes of disk below which captures may soon fail: a conversation of some days, compressed, and its journal."""

_VARIABLE: Final = "MEMORY_GUARDIAN_GUARDIAN_STATE_DIR"


def checks(environ: Mapping[str, str]) -> Iterable[tuple[str, Callable[[], Finding]]]:
    """The names of the findings, and how each is found."""
    return (
        ("memory-reader", memory_reader),
        ("memory-limit", memory_limit),
        ("configuration", partial(configuration, environ)),
        ("state-directory", partial(state_directory, environ)),
        ("git", git),
    )


def memory_reader() -> Finding:
    """How the memory of a tree is read."""
    try:
        name = reader_name()
    except NoReader as error:
        return Finding("memory-reader", "missing", str(error), "pip install psutil")
    if name == PROCFS:
        return Finding("memory-reader", "ok", "procfs: a few microseconds a process")
    return Finding("memory-reader", "limited", f"{name}: a look costs milliseconds", "on Linux: mount -t proc proc /proc")


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
