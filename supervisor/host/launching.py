"""What stands between the fork and the command: the compiled launch helper, `setpriv`, or nothing.

Chosen once, at the first use. The helper asks for the parent-death signal, takes the terminal's foreground before the command runs
and reports why a command could not be executed. `setpriv` only does the first. No `preexec_fn`: it would turn vfork into fork.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import Enum
from typing import Final

from ..core.exits import signal_name

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


def wrap(
    path: str,
    argv: tuple[str, ...],
    *,
    death_signal: int,
    foreground_fd: int | None,
    error_fd: int | None,
    variables: Mapping[str, str] | None = None,
    pid_variable: str | None = None,
) -> tuple[str, list[str]]:
    """What to execute in place of a command, so that the command runs as wished.

    Args:
        path: The command's file.
        argv: Its arguments, its own name first.
        death_signal: What it gets when the calling thread dies; 0 for nothing.
        foreground_fd: A terminal whose foreground it becomes before it runs; None for none.
        error_fd: Where the helper reports why it could not execute; None without a helper.
        variables: What the helper sets in the environment. They are seen in the process list for an instant.
        pid_variable: A variable that gets the command's own pid; None for none.

    Returns:
        The file to execute and its arguments.
    """
    chosen = mechanism()
    if chosen is Mechanism.HELPER:
        options = ["_launch"]
        if death_signal:
            options += ["-d", str(int(death_signal)), "-p", str(os.getpid())]
        if foreground_fd is not None:
            options += ["-f", str(foreground_fd)]
        if error_fd is not None:
            options += ["-e", str(error_fd)]
        for name, value in (variables or {}).items():
            options += ["-v", f"{name}={value}"]
        if pid_variable is not None:
            options += ["-w", pid_variable]
        return _HELPER, [*options, "--", path, *argv]
    if pid_variable is not None and os.name == "posix":
        # a shell has the pid that the command will have
        script = f'{pid_variable}=$$; export {pid_variable}; exec "$@"'
        path, argv = "/bin/sh", ("sh", "-c", script, "sh", path, *argv[1:])
    if chosen is Mechanism.SETPRIV and death_signal:
        return _setpriv, ["setpriv", "--pdeathsig", signal_name(death_signal).removeprefix("SIG"), "--", path, *argv[1:]]
    return path, list(argv)


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
