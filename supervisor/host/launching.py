"""What stands between the fork and the command: the compiled launch helper, `setpriv`, or nothing.

Chosen once, at the first use. The helper asks for the parent-death signal, takes the terminal's foreground before the command runs,
applies its settings and reports why a command could not be executed. `setpriv` only does the first and changes the user; a shell before
it takes the settings. No `preexec_fn`: it would turn vfork into fork.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from enum import Enum
from typing import Final

from ..core.exits import signal_name
from .settings import PLAIN, Settings, niceness_to_add

_HELPER: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_launch")


class Mechanism(Enum):
    """How commands are launched, best first."""

    HELPER = "helper"
    SETPRIV = "setpriv"
    NONE = "none"


_chosen: Mechanism | None = None
_setpriv = ""


def mechanism() -> Mechanism:
    """The way commands are launched on this host; looked up once."""
    global _chosen
    if _chosen is None:
        _chosen = _best()
    return _chosen


def launch_mechanism() -> str:
    """The name of the way commands are launched on this host, for reports: ``helper``, ``setpriv`` or ``none``."""
    return mechanism().value


def helper_failed() -> None:
    """The helper cannot be executed here (another machine's, or a file system without execution): do without it from now on."""
    global _chosen
    _chosen = _without_helper()


def comes_between(*, death_signal: int, foreground_fd: int | None, pid_variable: str | None, settings: Settings = PLAIN) -> bool:
    """Whether anything is to be done between the fork and the command; if not, the command is what the fork executes. See `wrap`."""
    return bool(death_signal) or foreground_fd is not None or pid_variable is not None or settings != PLAIN


def wrap(
    path: str,
    argv: tuple[str, ...],
    *,
    death_signal: int,
    foreground_fd: int | None,
    error_fd: int | None,
    variables: Mapping[str, str] | None = None,
    pid_variable: str | None = None,
    settings: Settings = PLAIN,
    own_session: bool = True,
) -> tuple[str, list[str]]:
    """What to execute in place of a command, so that the command runs as wished.

    Args:
        path: The command's file.
        argv: Its arguments, its own name first.
        death_signal: What it gets when the calling thread dies; 0 for nothing.
        foreground_fd: A terminal whose foreground it becomes before it runs; None for none.
        error_fd: Where the helper reports why it could not execute; None to do without the helper.
        variables: What the helper sets in the environment. They are seen in the process list for an instant.
        pid_variable: A variable that gets the command's own pid; None for none.
        settings: What the command gets before it runs.
        own_session: Whether it leads a session, else a process group; for a helper that makes a new process.

    Returns:
        The file to execute and its arguments.

    Raises:
        OSError: The settings need a program that is not there.
    """
    chosen = mechanism()
    if error_fd is not None:
        # the settings before the death signal: a change of user would clear it
        options = ["_launch", "-e", str(error_fd), *settings.options(own_session)]
        if death_signal:
            options += ["-d", str(int(death_signal)), "-p", str(os.getpid())]
        if foreground_fd is not None:
            options += ["-f", str(foreground_fd)]
        for name, value in (variables or {}).items():
            options += ["-v", f"{name}={value}"]
        if pid_variable is not None:
            options += ["-w", pid_variable]
        return _HELPER, [*options, "--", path, *argv]
    words = _privileged(settings, death_signal if chosen is Mechanism.SETPRIV else 0)
    script = settings.script()
    if pid_variable is not None:
        script += f"\n{pid_variable}=$$; export {pid_variable}"  # a shell has the pid that the command will have
    if settings.nice is not None:
        words = ["nice", "-n", str(niceness_to_add(settings.nice)), *words]
    if not words and not script:
        return path, list(argv)
    # what comes between knows no name of the command's own besides its path
    words += [path, *argv[1:]]
    if not script and settings.nice is None:
        return _setpriv, words
    return "/bin/sh", ["sh", "-c", f'{script}\nexec "$@"', "sh", *words]


def _privileged(settings: Settings, death_signal: int) -> list[str]:
    """What `setpriv` is to do, and in this order does: drop groups, change group and user, ask for the death signal; empty for nothing."""
    words: list[str] = []
    if settings.gid is not None or settings.uid is not None:
        if not _setpriv and _without_helper() is not Mechanism.SETPRIV:
            raise OSError(errno.ENOTSUP, "changing the user takes the compiled launch helper or setpriv (limits.user, limits.group)")
        words += ["--clear-groups", "--regid", str(settings.gid)]
        if settings.uid is not None:
            words += ["--reuid", str(settings.uid), "--no-new-privs"]
    if death_signal:
        words += ["--pdeathsig", signal_name(death_signal).removeprefix("SIG")]
    return [_setpriv, *words, "--"] if words else []


def helper_path() -> str:
    """Where the compiled helper is, or would be."""
    return _HELPER


def _best() -> Mechanism:
    return Mechanism.HELPER if os.name == "posix" and os.access(_HELPER, os.X_OK) else _without_helper()


def _without_helper() -> Mechanism:
    global _setpriv
    if sys.platform == "linux":
        import shutil
        import subprocess

        found = shutil.which("setpriv")
        if found:
            # a busybox has one that knows no death signal
            asked = subprocess.run([found, "--help"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
            if b"--pdeathsig" in asked.stdout + asked.stderr:
                _setpriv = found
                return Mechanism.SETPRIV
    return Mechanism.NONE
