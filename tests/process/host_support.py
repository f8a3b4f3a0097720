"""What the tests of the host and of commands share."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from supervisor.host.identity import ProcessId, identify, is_alive
from supervisor.host.procstat import read_stat
from supervisor.leaf.command import Command, command

from ..support_ticket import Life

CHILDREN = Path(__file__).resolve().parent.parent / "children"
PYTHON = sys.executable


def family(report: Path, action: str, *kinds: str, **options: object) -> Command:
    """The launch of children/family.py; it acknowledges once all its descendants are there."""
    return command(PYTHON, str(CHILDREN / "family.py"), str(report), action, *kinds, ready="fd", **options)  # type: ignore[arg-type]


def other(*argv: str, own_session: bool = False, ended: bool = False, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
    """A subprocess of the program that is no leaf; `ended` waits until it is dead, without reaping it."""
    process = subprocess.Popen(argv, start_new_session=own_session, pass_fds=pass_fds)
    if ended:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process


def reported(report: Path) -> dict[str, int]:
    """The pids that a family has written down, by kind."""
    with suppress(FileNotFoundError):
        return {kind: int(pid) for kind, pid in (line.split() for line in report.read_text().splitlines())}
    return {}


def running(pid: int) -> bool:
    """Whether a process of that pid runs (a zombie does not)."""
    stat = read_stat(pid)
    return stat is not None and not stat.dead


def children(pid: int) -> set[int]:
    """The children of a process, or rather of its first thread."""
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def identified(pid: int) -> ProcessId:
    """The identity of a process that must be there."""
    process = identify(pid)
    assert process is not None
    return process


def zombies() -> list[int]:
    """Our own dead children that nobody has reaped."""
    return [pid for pid in sorted(children(os.getpid())) if not is_alive(identified(pid))]


def reap(pid: int) -> None:
    """Take a dead child of ours away."""
    os.waitpid(pid, 0)


def is_there(path: str) -> bool:
    """Whether there is such a file or directory."""
    return os.path.exists(path)


def directory_of(life: Life) -> str:
    directory = life.handle.cgroup
    assert directory is not None
    return directory
