"""What this host allows: how much memory there is for a leaf, and where state is kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator


def host_limit_bytes(proc: str = "/proc") -> int | None:
    """The memory that this process and its children can have: the lower of physical memory and every control group above it.

    Args:
        proc: Where procfs is mounted.

    Returns:
        Bytes; None when the platform does not tell.
    """
    known = [amount for amount in (_physical_bytes(), *_cgroup_limits(proc)) if amount is not None and amount > 0]
    return min(known, default=None)


def _physical_bytes() -> int | None:
    if sys.platform == "linux":
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError):
            return None
    import psutil

    return int(psutil.virtual_memory().total)


def _cgroup_limits(proc: str) -> Iterator[int]:
    for filesystem, directory in _groups(proc):
        name = "memory.max" if filesystem == "cgroup2" else "memory.limit_in_bytes"
        yield from _whole(f"{directory}/{name}")


def memory_of_groups(proc: str = "/proc") -> Iterator[tuple[int, int]]:
    """Of our control group and all above it that have a limit of memory: the limit, and what of it could not be given back at once.

    Args:
        proc: Where procfs is mounted.

    Yields:
        Bytes, and bytes: what is used, without file pages that nobody has used lately.
    """
    for filesystem, directory in _groups(proc):
        names = ("memory.max", "memory.current") if filesystem == "cgroup2" else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        inactive = "inactive_file " if filesystem == "cgroup2" else "total_inactive_file "
        for limit in _whole(f"{directory}/{names[0]}"):
            for used in _whole(f"{directory}/{names[1]}"):
                cached = [int(line[len(inactive) :]) for line in _lines(f"{directory}/memory.stat") if line.startswith(inactive)]
                yield limit, max(0, used - sum(cached))


def _whole(file: str) -> Iterator[int]:
    for text in _lines(file):
        if text.isascii() and text.isdigit():
            yield int(text)


def _groups(proc: str) -> Iterator[tuple[str, str]]:
    """Our control group and all above it, as far as they are mounted here, in both versions: kind and directory."""
    mine: dict[str, str] = {}
    for line in _lines(f"{proc}/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mine["cgroup2"] = path
        elif "memory" in controllers.split(","):
            mine["cgroup"] = path
    if not mine:
        return
    for line in _lines(f"{proc}/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (filesystem, _, options) = before.split(" "), (*after.split(" "), "", "", "")[:3]
        if filesystem not in mine or len(fields) < 5 or (filesystem == "cgroup" and "memory" not in options.split(",")):
            continue
        top, mounted = _unescaped(fields[4]), _unescaped(fields[3])
        for directory in _upwards(top, _below(mine[filesystem], mounted)):
            yield filesystem, directory


def _below(path: str, mounted: str) -> str:
    """Our group relative to what is mounted; inside a container the mount may show our own group as its top."""
    if ".." in path.split("/"):
        return ""
    if mounted == "/":
        return path.strip("/")
    return path[len(mounted) :].strip("/") if path == mounted or path.startswith(f"{mounted}/") else ""


def _upwards(top: str, relative: str) -> Iterator[str]:
    parts = relative.split("/") if relative else []
    for count in range(len(parts), -1, -1):
        yield "/".join([top, *parts[:count]])


def _lines(file: str) -> list[str]:
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read(1 << 20).splitlines()
    except OSError:
        return []


def _unescaped(field: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field


def default_state_dir() -> str:
    """The platform's place for a user's state."""
    if sys.platform == "linux":
        # what platformdirs answers, without the 10 ms of its import
        base = os.environ.get("XDG_STATE_HOME", "")
        return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.local/state"), "memory-guardian")
    from platformdirs import user_state_dir

    return user_state_dir("memory-guardian", appauthor=False)


def unusable_state_dir(directory: str) -> str | None:
    """What keeps this process from writing state there, or None. Nothing is created."""
    at = directory
    while not os.path.lexists(at) and os.path.dirname(at) != at:
        at = os.path.dirname(at)
    if not os.path.isdir(at):
        return f"{at!r} is no directory"
    if not os.access(at, os.W_OK | os.X_OK | (os.R_OK if at == directory else 0)):
        return f"{at!r} cannot be read and written by this user"
    return None


def absolute(path: str) -> str:
    """A path with ``~`` replaced by the home directory, absolute."""
    try:
        return os.path.abspath(os.path.expanduser(path))
    except OSError:
        # the current directory is gone; what checks the path says so
        return os.path.expanduser(path)
