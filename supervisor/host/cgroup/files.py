"""The kernel's files of one cgroup: who is in it, killing and freezing it, removing it with all below."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from ..identity import ProcessId
from ..procstat import read_bytes, read_stat

PROCESSES = "cgroup.procs"
V2_EVENTS = "memory.events"
V1_OOM = "memory.oom_control"
_V2_KILL = "cgroup.kill"
_V2_FREEZE = "cgroup.freeze"
_V1_FREEZE = "freezer.state"


def write(directory: str, name: str, text: str) -> None:
    """Write a file of a cgroup.

    Raises:
        OSError: There is no such file, it may not be written, or the kernel refuses the value.
    """
    fd = os.open(f"{directory}/{name}", os.O_WRONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def read(directory: str, name: str) -> str | None:
    """Read a file of a cgroup; None when it cannot be."""
    try:
        data = read_bytes(f"{directory}/{name}")
    except OSError:
        return None
    return None if data is None else data.decode()


def below(directory: str) -> Iterator[str]:
    """A cgroup and all below it, parents first."""
    yield directory
    try:
        if os.stat(directory).st_nlink == 2:
            return  # the kernel counts the directories in a directory
        with os.scandir(directory) as entries:
            children = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for child in children:
        yield from below(child)


def is_empty(directory: str) -> bool:
    """Whether nothing runs in a cgroup, and none is below it; zombies do not run. False when that cannot be told."""
    try:
        return read_bytes(f"{directory}/{PROCESSES}") == b"" and os.stat(directory).st_nlink == 2
    except OSError:
        return False


def members(directory: str) -> list[ProcessId]:
    """The live processes in a cgroup and below it, as far as our pid namespace shows them.

    Raises:
        OSError: Out of descriptors.
    """
    found = []
    for pid in (listed := _pids(directory)):
        stat = read_stat(pid)
        if stat is not None and not stat.dead:
            found.append(ProcessId(pid, stat.created))
    if not found:
        return []
    # who is still listed was so when its creation time was read: a stranger cannot have come between with its pid
    still = set(_pids(directory)) & set(listed)
    return [process for process in found if process.pid in still]


def kill(directory: str) -> bool:
    """Kill all in a cgroup and below at once, those that are just being forked included; False where the kernel cannot.

    Raises:
        OSError: Out of descriptors.
    """
    return _try(directory, _V2_KILL, "1")


def freeze(directory: str) -> bool:
    """Let nothing in a cgroup run any further; it takes a moment. False where the kernel cannot.

    Raises:
        OSError: Out of descriptors.
    """
    return _try(directory, _V2_FREEZE, "1") or _try(directory, _V1_FREEZE, "FROZEN")


def thaw(directory: str) -> bool:
    """Let all in a cgroup and below run again, whoever has frozen it; in version 1 a frozen process does not even die before.

    Raises:
        OSError: Out of descriptors.
    """
    done = False
    for each in below(directory):
        done = _try(each, _V2_FREEZE, "0") or _try(each, _V1_FREEZE, "THAWED") or done
    return done


def remove(directory: str) -> bool:
    """Remove a cgroup and all below it, in which nothing may run; whether it is gone."""
    gone = True
    for each in reversed(list(below(directory))):
        try:
            os.rmdir(each)
        except FileNotFoundError:
            continue
        except OSError:
            gone = False
    return gone


def can_kill(directory: str) -> bool:
    """Whether `kill` works in this cgroup."""
    return os.access(f"{directory}/{_V2_KILL}", os.W_OK)


def can_freeze(directory: str) -> bool:
    """Whether `freeze` works in this cgroup."""
    return any(os.access(f"{directory}/{name}", os.W_OK) for name in (_V2_FREEZE, _V1_FREEZE))


def counter(directory: str, file: str, name: str) -> int | None:
    """The number behind a name in a file of lines ``NAME NUMBER``; None without."""
    for line in (read(directory, file) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return None


def counts_memory(directory: str) -> bool:
    """Whether a memory controller counts in this cgroup."""
    return os.path.exists(f"{directory}/memory.stat")


def oom_kills(directory: str) -> int | None:
    """How many in a cgroup the out-of-memory killer has killed; None when that is not counted."""
    return next((count for file in (V2_EVENTS, V1_OOM) if (count := counter(directory, file, "oom_kill")) is not None), None)


def _pids(directory: str) -> list[int]:
    found = []
    for each in below(directory):
        try:
            data = read_bytes(f"{each}/{PROCESSES}") or b""
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):
                continue  # removed meanwhile, or of threads, whose processes are listed above it
            raise
        found += [pid for word in data.split() if (pid := int(word)) > 0]  # 0: of a pid namespace that we do not see
    return found


def _try(directory: str, name: str, text: str) -> bool:
    try:
        write(directory, name, text)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return False
    return True
