"""What the system tells of a leaf's processes and of this host. Blocks, briefly; what it does not tell is None."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

import attrs

from supervisor import ProcessId, Value, identify

from .subject import Subject

PROCESSES: Final = 100
"""Processes of a tree whose open files are looked at."""

DESCRIPTORS: Final = 1024
"""Descriptors of one process that are looked at."""

OPEN_FILES: Final = 200

_LIMIT: Final = re.compile(r"(Max [a-z ]+?) {2,}(\S+) +(\S+)")


@attrs.frozen(repr=False, eq=False)
class Seen(Value):
    """What was seen; it holds secrets.

    Attributes:
        working_directory: The leaf's, resolved.
        environment: Of its root process.
        cwd: Where that is now.
        limits: Its resource limits, soft and hard, by the kernel's names.
        open_files: The files of the project that its processes have open.
        host: The name of this host.
        versions: Of what runs here.
    """

    working_directory: str
    environment: dict[str, str]
    cwd: str | None
    limits: dict[str, tuple[str, str]] | None
    open_files: tuple[str, ...] | None
    host: str
    versions: dict[str, str]


def look(subject: Subject) -> Seen:
    """Look at a leaf's processes. What was read of a process that ended meanwhile is dropped."""
    directory = os.path.realpath(subject.working_directory)
    environment, cwd, limits = subject.environment, None, None
    root = subject.process
    if root is not None:
        cwd, limits = _link(f"/proc/{root.pid}/cwd"), _limits(root.pid)
        if environment is None:
            environment = _environment(root.pid)
        if identify(root.pid) != root:
            # it ended while it was read: what was read may be another's
            environment, cwd, limits = subject.environment, None, None
    files = open_files(subject.processes or (() if root is None else (root,)), directory)
    return Seen(directory, environment or {}, cwd, limits, files, platform.node(), _versions())


def open_files(processes: Iterable[ProcessId], directory: str) -> tuple[str, ...] | None:
    """The files below a directory that processes have open, relative to it, at most `OPEN_FILES`; None where none of them can be asked."""
    below = directory.rstrip("/") + "/"
    found: dict[str, None] = {}
    asked = False
    for _, process in zip(range(PROCESSES), processes, strict=False):
        links = _links(process.pid)
        if links is None or identify(process.pid) != process:
            continue
        asked = True
        found.update(dict.fromkeys(link.removeprefix(below) for link in links if link.startswith(below)))
    return tuple(sorted(found)[:OPEN_FILES]) if asked else None


def _links(pid: int) -> list[str] | None:
    links = []
    try:
        with os.scandir(f"/proc/{pid}/fd") as descriptors:
            for _, descriptor in zip(range(DESCRIPTORS), descriptors, strict=False):
                link = _link(descriptor.path)
                if link is not None and not link.endswith(" (deleted)") and os.path.isfile(link):
                    links.append(link)
    except OSError:
        return None
    return links


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _limits(pid: int) -> dict[str, tuple[str, str]] | None:
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    except OSError:
        return None
    found = (_LIMIT.match(line) for line in lines)
    return {match[1]: (match[2], match[3]) for match in found if match is not None}


def _environment(pid: int) -> dict[str, str]:
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in entries if entry)
    return {name: value for name, sign, value in pairs if sign}


@cache
def _versions() -> dict[str, str]:
    from importlib import metadata

    try:
        own = metadata.version("memory-guardian")
    except metadata.PackageNotFoundError:
        own = "unknown"
    return {"memory-guardian": own, "python": platform.python_version(), "system": f"{platform.system()} {platform.release()}"}
