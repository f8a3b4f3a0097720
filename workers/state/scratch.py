"""A private directory for the files of one run that matter only while it lasts: modes of leaves, events on their way to a hook."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from supervisor import ProcessId, identify, is_alive

from .files import StateWriteFailed, private_directory, write_atomic
from .runs import pid_namespace

WRITTEN: Final = "written"
_NAME: Final = re.compile(r"[0-9a-f]{8}-([0-9]{1,10})-([0-9]{1,20})-([0-9]{0,20})\.run")


class RunDirectory:
    """A directory that is there from its making until `close`. What killed runs have left beside it is removed when it is made.

    Attributes:
        path: Where it is; 0700, and nobody else's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def close(self) -> None:
        """Remove it with all that is in it, and the directory above if nothing else is there. May be called again."""
        _remove(self.path)
        with suppress(OSError):
            self.path.parent.rmdir()


def run_directory(run: str, environ: Mapping[str, str]) -> RunDirectory:
    """Make the directory of a run at the first place where that is possible.

    Args:
        run: The run's id.
        environ: Names the places: the user's runtime directory, its state, a directory of temporary files.

    Raises:
        StateWriteFailed: It is possible nowhere; the one of the last place.
    """
    own = identify(os.getpid())
    assert own is not None
    space = _namespace()
    name = f"{run[:8]}-{own.pid}-{own.created}-{space}.run"
    failures = []
    for base in places(environ):
        try:
            private_directory(base, base.parent)
            path = private_directory(base / name, base)
            _try_out(path)
        except StateWriteFailed as error:
            failures.append(error)
        else:
            _remove_stale(base, space)
            return RunDirectory(path)
    raise failures[-1]


def _try_out(path: Path) -> None:
    """Write a file there: a disk that is full may still have room for a directory. Where that fails the directory goes."""
    try:
        write_atomic(path / WRITTEN, b"\n", durable=False)
        os.unlink(path / WRITTEN)
    except StateWriteFailed:
        RunDirectory(path).close()
        raise


def places(environ: Mapping[str, str]) -> list[Path]:
    """Where it can be, the best place first."""
    found = []
    if os.path.isabs(runtime := environ.get("XDG_RUNTIME_DIR", "")):
        found.append(Path(runtime, "memory-guardian"))
    state = environ.get("XDG_STATE_HOME", "")
    home = state if os.path.isabs(state) else os.path.join(environ.get("HOME", ""), ".local", "state")
    if os.path.isabs(home):
        found.append(Path(home, "memory-guardian", "run"))
    temporary = environ.get("TMPDIR", "")
    if sys.platform != "win32":
        found.append(Path(temporary if os.path.isabs(temporary) else "/tmp", f"memory-guardian-{os.geteuid()}"))
    elif os.path.isabs(local := environ.get("LOCALAPPDATA", "")):
        found.append(Path(local, "memory-guardian", "run"))
    return found


def _namespace() -> str:
    return re.sub(r"\D", "", pid_namespace() or "")


def _remove_stale(base: Path, space: str) -> None:
    """What is named after a process that is no more; pids of another namespace mean nothing here."""
    with suppress(OSError):
        for name in os.listdir(base):
            match = _NAME.fullmatch(name)
            if match is not None and match[3] == space and not is_alive(ProcessId(int(match[1]), int(match[2]))):
                _remove(base / name)


def _remove(directory: Path) -> None:
    with suppress(OSError):
        for name in os.listdir(directory):
            with suppress(OSError):
                os.unlink(directory / name)
        os.rmdir(directory)
