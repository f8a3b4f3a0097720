"""What a process gets before its first instruction: its cgroup, its limits, its user; by the launch helper, or by a shell and `setpriv`."""

from __future__ import annotations

import errno
import math
import os
import shlex
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from .descriptors import given

if TYPE_CHECKING:
    from ..core.limits import Limits
    from .cgroup.group import Group

OOM_RAISE: Final = 100
"""By how much a leaf's out-of-memory score is above ours: a tenth of all memory, as between systemd's user manager and its units."""

FIELDS: Final = {
    "C": "cgroup",
    "g": "cgroup",
    "o": "oom_score_adj",
    "n": "nofile",
    "c": "core",
    "i": "nice",
    "G": "group",
    "U": "user",
}
"""What the options of the launch helper set, for its reports of failure."""


class Settings(NamedTuple):
    """All None and empty: as ours, but for an out-of-memory score that is raised by `OOM_RAISE`.

    Attributes:
        clone_into: The cgroup (version 2) in which it begins.
        tasks: Files of cgroups (version 1) to which it writes 0.
        required: Whether it must not run outside of those.
        core: Bytes, -1 for any.
        uid: Its user; other groups than `gid` are dropped then, and no privileges are gained any more.
        gid: Its group; None only without `uid`.
        soft_nofile: The soft limit of descriptors alone, where ours is higher than the one that we were given.
    """

    clone_into: str | None = None
    tasks: tuple[str, ...] = ()
    required: bool = False
    oom_score_adj: int | None = None
    nofile: int | None = None
    core: int | None = None
    nice: int | None = None
    umask: int | None = None
    uid: int | None = None
    gid: int | None = None
    soft_nofile: int | None = None

    def options(self, own_session: bool) -> list[str]:
        """The options for the launch helper, in the order in which they have to take effect."""
        words: list[str] = []
        if self.clone_into is not None:
            words += ["-C", self.clone_into, "-s", str(int(own_session))]
        for file in self.tasks:
            words += ["-g", file]
        words += ["-O", str(OOM_RAISE)] if self.oom_score_adj is None else ["-o", str(self.oom_score_adj)]
        numbers = ("N", self.soft_nofile), ("n", self.nofile), ("c", self.core), ("i", self.nice), ("u", self.umask)
        for letter, value in (*numbers, ("G", self.gid), ("U", self.uid)):
            if value is not None:
                words += [f"-{letter}", str(value)]
        return words

    def script(self) -> str:
        """The lines of a shell that do the same, but for the user; each ends it with 125 if it fails. Empty when there is nothing to do."""
        joins = [f"{self.clone_into}/cgroup.procs"] if self.clone_into is not None else []
        lines = []
        for file in (*joins, *self.tasks):
            join = f"echo 0 > {shlex.quote(file)}"
            lines.append(f"{join} || exit 125" if self.required else f"{{ {join}; }} 2> /dev/null")
        if self.oom_score_adj is not None:
            lines.append(f"echo {self.oom_score_adj} > /proc/self/oom_score_adj || exit 125")
        if self.soft_nofile is not None:
            lines.append(f"ulimit -S -n {self.soft_nofile} 2> /dev/null")
        if self.nofile is not None:
            lines.append(f"ulimit -n {self.nofile} || exit 125")
        if self.core is not None:
            lines.append(f"ulimit -c {'unlimited' if self.core < 0 else self.core // 512} || exit 125")
        if self.umask is not None:
            lines.append(f"umask {self.umask:04o}")
        return "\n".join(lines)


PLAIN: Final = Settings()


def settings_for(limits: Limits | None, group: Group | None) -> Settings:
    """What the process of a life with these limits, and in this cgroup, gets.

    Raises:
        PermissionError: Only root may run a command as another user.
        OSError: There is no such user or group, or this platform does not know one of the limits.
    """
    clone_into, tasks = (None, ()) if group is None else (group.clone_into, group.tasks)
    soft = given()
    if limits is None:
        return PLAIN if group is None and soft is None else Settings(clone_into, tasks, soft_nofile=soft)
    if sys.platform == "win32":
        for name in ("nofile", "core", "oom_score_adj", "nice", "umask"):
            if getattr(limits, name) is not None:
                raise OSError(errno.ENOTSUP, f"there is no such limit on Windows (limits.{name})")
    uid, gid = _ids(limits)
    core = limits.core
    return Settings(
        clone_into,
        tasks,
        limits.needs_cgroup and limits.required,
        limits.oom_score_adj,
        limits.nofile,
        None if core is None else -1 if core == math.inf else int(core),
        limits.nice,
        limits.umask,
        uid,
        gid,
        soft if limits.nofile is None else None,
    )


def niceness_to_add(wanted: int) -> int:
    """What nice(1) has to add to ours."""
    if sys.platform == "win32":
        return 0
    return wanted - os.getpriority(os.PRIO_PROCESS, 0)


def raise_score(pid: int) -> None:
    """Have a child that has just been started killed before us, where no launch helper has seen to that; nothing where that cannot be."""
    if sys.platform == "linux":
        with suppress(OSError, ValueError):
            with open("/proc/self/oom_score_adj") as ours:
                value = min(1000, int(ours.read()) + OOM_RAISE)
            with open(f"/proc/{pid}/oom_score_adj", "w") as file:
                file.write(str(value))


def _ids(limits: Limits) -> tuple[int | None, int | None]:
    if limits.user is None and limits.group is None:
        return None, None
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, "a command cannot run as another user on Windows (limits.user, limits.group)")
    if os.geteuid() != 0:
        raise PermissionError(errno.EPERM, "only root may run a command as another user or group (limits.user, limits.group)")
    import grp
    import pwd

    uid = gid = None
    if limits.user is not None:
        try:
            entry = pwd.getpwnam(limits.user) if isinstance(limits.user, str) else pwd.getpwuid(limits.user)
        except KeyError:
            if isinstance(limits.user, str) or limits.group is None:
                text = "there is no such user" if isinstance(limits.user, str) else "that user has no entry, so limits.group must be given"
                raise OSError(errno.EINVAL, f"{text} (limits.user)", str(limits.user)) from None
            uid = limits.user
        else:
            uid, gid = entry.pw_uid, entry.pw_gid
    if limits.group is not None:
        try:
            gid = grp.getgrnam(limits.group).gr_gid if isinstance(limits.group, str) else limits.group
        except KeyError:
            raise OSError(errno.EINVAL, "there is no such group (limits.group)", str(limits.group)) from None
    return uid, gid
