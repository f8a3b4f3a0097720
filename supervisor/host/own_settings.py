"""The settings of a process that is there already: a fork takes them itself, in the order in which the launch helper does.

Before it has a second thread: `nice` and version 1's ``tasks`` are a matter of the calling thread alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from typing import Any

from .launch_report import SettingFailed
from .settings import Settings

assert sys.platform == "linux", "no process is forked for us elsewhere"

import resource  # noqa: E402

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38


def enter(settings: Settings) -> None:
    """Go to its cgroups. In version 1 that waits for nothing; in version 2, mostly, for a grace period of the kernel's.

    Raises:
        SettingFailed: The kernel did not let it in; it is in those before that one.
    """
    files = [] if settings.clone_into is None else [f"{settings.clone_into}/cgroup.procs"]
    for file in (*files, *settings.tasks):
        _set("cgroup", _write, file, "0")


def take(settings: Settings) -> None:
    """Take all other settings. A change of user or group takes back the parent-death signal.

    Raises:
        SettingFailed: The kernel refused one.
    """
    steps: tuple[tuple[str, Callable[..., object], tuple[Any, ...]], ...] = (
        ("oom_score_adj", _write, ("/proc/self/oom_score_adj", settings.oom_score_adj)),
        ("nofile", _limit, (resource.RLIMIT_NOFILE, settings.nofile)),
        ("core", _limit, (resource.RLIMIT_CORE, settings.core)),
        ("nice", os.setpriority, (os.PRIO_PROCESS, 0, settings.nice)),
        ("umask", os.umask, (settings.umask,)),
        ("group", _become_group, (settings.gid,)),
        ("user", _become_user, (settings.uid,)),
    )
    for setting, step, arguments in steps:
        if arguments[-1] is not None:
            _set(setting, step, *arguments)


def _set(setting: str, step: Callable[..., object], *arguments: Any) -> None:
    try:
        step(*arguments)
    except OSError as error:
        raise SettingFailed(error.errno or errno.EINVAL, setting) from error


def _write(path: str, value: object) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)


def _limit(kind: int, value: int) -> None:
    both = resource.RLIM_INFINITY if value < 0 else value
    try:
        resource.setrlimit(kind, (both, both))
    except ValueError as error:  # what Python makes of EPERM; of EINVAL too, but both limits are the same
        raise PermissionError(errno.EPERM, str(error)) from error


def _become_group(gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    _control(_PR_SET_DUMPABLE)  # as after execve: else /proc/self is root's, and there are no cores


def _become_user(uid: int) -> None:
    _control(_PR_SET_NO_NEW_PRIVS)
    os.setresuid(uid, uid, uid)
    _control(_PR_SET_DUMPABLE)


def _control(option: int) -> None:
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(option, 1, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
