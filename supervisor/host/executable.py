"""Which file a command means, found as its child would find it, with an error that says what is wrong."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from typing import Final

_DEFAULT_PATH: Final = os.defpath


def check_directory(directory: str) -> None:
    """Make sure that a process can be started in a directory.

    Raises:
        FileNotFoundError: It does not exist.
        NotADirectoryError: It is something else.
        PermissionError: It may not be entered.
    """
    try:
        mode = os.stat(directory).st_mode
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "working directory does not exist", directory) from None
    except NotADirectoryError:
        raise NotADirectoryError(errno.ENOTDIR, "working directory lies below a file", directory) from None
    except PermissionError:
        raise PermissionError(errno.EACCES, "working directory cannot be reached", directory) from None
    if not stat.S_ISDIR(mode):
        raise NotADirectoryError(errno.ENOTDIR, "working directory is not a directory", directory)
    if not os.access(directory, os.X_OK):
        raise PermissionError(errno.EACCES, "working directory may not be entered", directory)


def resolve(command: str, environment: Mapping[str, str], directory: str | None) -> str:
    """The path of the file that a command names.

    Args:
        command: A name, looked up in the child's own ``PATH``, or a path.
        environment: The child's environment.
        directory: The child's working directory, None for ours; relative paths are relative to it.

    Returns:
        A path that can be executed from within that directory.

    Raises:
        FileNotFoundError: There is no such command.
        PermissionError: There is, and it is not executable, or a directory.
    """
    if not command:
        raise FileNotFoundError(errno.ENOENT, "the command is empty", command)
    base = directory or ""
    if os.sep in command:
        if _usable(os.path.join(base, command), command):
            return command
        raise FileNotFoundError(errno.ENOENT, "no such command", command)
    unusable: PermissionError | None = None
    searched = environment.get("PATH", _DEFAULT_PATH)
    for entry in searched.split(os.pathsep):
        # an empty entry is the current directory, which for the child is its working directory
        candidate = os.path.join(entry or os.curdir, command)
        try:
            if _usable(os.path.join(base, candidate), candidate):
                return candidate
        except PermissionError as error:
            unusable = unusable or error
    if unusable is not None:
        raise unusable
    raise FileNotFoundError(errno.ENOENT, f"command not found (PATH is {searched!r})", command)


def _usable(path: str, shown: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    if stat.S_ISDIR(mode):
        raise PermissionError(errno.EACCES, "is a directory, not a command", shown)
    if not stat.S_ISREG(mode) or not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, "is not executable (chmod +x makes it so)", shown)
    return True
