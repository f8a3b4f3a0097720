"""Where our own cgroups are: read from the texts of /proc/self/mountinfo and /proc/self/cgroup, and from nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


class Layout(Enum):
    """Which versions of cgroups a process sees mounted."""

    V2 = "v2"
    """Version 2 alone."""

    HYBRID = "hybrid"
    """Controllers of version 1, and a version 2 beside them, which has no controllers or few."""

    V1 = "v1"
    """Version 1 alone."""

    NONE = "none"
    """None that shows our own cgroup."""


class Hierarchy(NamedTuple):
    """One mounted hierarchy, and our own cgroup in it.

    Attributes:
        controllers: What version 1 controls here, a named hierarchy as ``name=...``; empty for version 2, which says it in files.
        mount: Where it is mounted.
        path: Our own cgroup as /proc/self/cgroup names it.
        directory: Our own cgroup's directory.
        writable: Whether it is mounted for writing.
    """

    controllers: frozenset[str]
    mount: str
    path: str
    directory: str
    writable: bool

    @property
    def version(self) -> int:
        """1 or 2."""
        return 1 if self.controllers else 2


def read_layout(mountinfo: str, cgroup: str) -> tuple[Hierarchy, ...]:
    """The hierarchies in which our own cgroup can be reached, version 2 first.

    Args:
        mountinfo: What is in /proc/self/mountinfo.
        cgroup: What is in /proc/self/cgroup.

    In a container the mount may show only a part of the hierarchy, or the path may be relative to a cgroup namespace; a mount that
    does not show our own cgroup is left out.
    """
    mounts = [entry for line in mountinfo.splitlines() if (entry := _mount(line)) is not None]
    found = []
    for line in cgroup.splitlines():
        _, separator, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if not (separator and colon and path.startswith("/")):
            continue
        controllers = frozenset(name for name in names.split(",") if name)
        candidates = []
        for known, root, mount, writable in mounts:
            if controllers <= known if controllers else not known:
                inside = _inside(root, path)
                if inside is not None:
                    candidates.append(Hierarchy(controllers, mount, path, (mount.rstrip("/") + inside).rstrip("/") or "/", writable))
        if candidates:
            # the same hierarchy can be mounted several times; one for reading only is of less use
            found.append(next((candidate for candidate in candidates if candidate.writable), candidates[0]))
    return tuple(sorted(found, key=lambda hierarchy: -hierarchy.version))


def is_cgroup(mountinfo: str, directory: str) -> bool:
    """Whether a directory, which need not exist, is a cgroup below another one that is mounted; a path with ``..`` or the like is not."""
    parts = directory.split("/")
    if parts[0] or not all(parts[1:]) or {".", ".."} & set(parts):
        return False
    mounts = [entry[2] for line in mountinfo.splitlines() if (entry := _mount(line)) is not None]
    return any(directory.startswith(mount.rstrip("/") + "/") for mount in mounts)


def layout_of(hierarchies: Iterable[Hierarchy]) -> Layout:
    """Which versions there are; a named hierarchy of version 1, which systemd keeps for itself, counts like any other."""
    versions = {hierarchy.version for hierarchy in hierarchies}
    if versions == {1, 2}:
        return Layout.HYBRID
    return Layout.V2 if 2 in versions else Layout.V1 if 1 in versions else Layout.NONE


def _mount(line: str) -> tuple[frozenset[str], str, str, bool] | None:
    """Controllers (none: version 2), root, mount point and whether it may be written, of a line about a cgroup mount."""
    front, separator, back = line.partition(" - ")
    words, kind = front.split(" "), back.split(" ")
    if not separator or len(words) < 6 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
        return None
    options = kind[2].split(",")
    writable = "rw" in words[5].split(",") and "rw" in options
    controllers = frozenset(options) - {"rw", "ro"} if kind[0] == "cgroup" else frozenset()
    if kind[0] == "cgroup" and not controllers:
        return None
    return controllers, _plain(words[3]), _plain(words[4]), writable


def _inside(root: str, path: str) -> str | None:
    """A cgroup's path below the mount of a root; None when that mount does not show it, or does not show where."""
    if ".." in root.split("/") or ".." in path.split("/"):
        return None  # above the root of our cgroup namespace the names are not told
    if root == "/":
        return path
    if path == root:
        return ""
    return path[len(root) :] if path.startswith(root + "/") else None


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
