"""What the tests share in which a supervisor is killed: the program that is killed, and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import pytest

from supervisor import BRUTAL_KILL, ChildSpec, Restart, command, sentry_in_use
from supervisor.host import sentry
from supervisor.host.procstat import read_environment, read_stat

from ..support import ROOT, Program
from ..support import eventually_sync as within
from ..support import running as program
from .host_support import CHILDREN, PYTHON, reported
from .host_support import running as runs

PATIENCE = 45.0
"""Seconds for what takes a tenth of one: a shell on a crowded machine."""

LINUX_ONLY = [
    pytest.mark.skipif(sys.platform != "linux", reason="a sentry reads /proc as Linux has it"),
    pytest.mark.deadline(4 * PATIENCE),
]
BUILT = sentry_in_use().kind == "compiled"
KINDS = ("plain", "setsid", "stubborn", "daemon", "deaf")
BACKENDS = pytest.mark.parametrize("backend", ["trio", "asyncio"])
COMPILED = pytest.mark.skipif(not BUILT, reason="the sentry is not built")
SENTRIES = pytest.mark.parametrize("kind", [pytest.param("compiled", marks=COMPILED), "sh"])


@attrs.frozen
class Host:
    """A program with leaves that is to be killed."""

    program: Program
    report: Path
    mark: str

    def facts(self) -> dict[str, int]:
        """What it says once its leaves are up: its ``leaf`` and its ``sentry``."""
        text = within(lambda: self.program.stderr if self.program.stderr.endswith("\n") else "", PATIENCE, what=self.program.stderr)
        found: dict[str, int] = json.loads(text.splitlines()[-1])
        return found

    def present(self) -> list[int]:
        """The processes that it started and that live: its sentry, its leaves and their descendants."""
        needle = f"HOST={self.mark}".encode()
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in pids if pid != self.program.pid and runs(pid) and needle in read_environment(pid).split(b"\0")]

    def family(self, count: int = len(KINDS), number: str = "") -> dict[str, int]:
        """The descendants of a leaf, once all are there."""
        return within(lambda: found if len(found := reported(Path(f"{self.report}{number}"))) >= count else {}, PATIENCE)

    def kill(self) -> None:
        """Kill the program, and nobody else."""
        self.program.send(signal.SIGKILL)
        self.program.wait()


@contextmanager
def host(folder: Path, backend: str, name: str = "host", **options: object) -> Iterator[Host]:
    """Run children/host_of_trees.py; whatever it leaves is killed in the end."""
    mark = uuid.uuid4().hex
    words = [f"{key}={value}" for key, value in options.items()]
    argv = [PYTHON, str(CHILDREN / "host_of_trees.py"), backend, str(folder / name), *words]
    with program(*argv, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "HOST": mark}, stdin=subprocess.PIPE) as started:
        made = Host(started, folder / name, mark)
        try:
            yield made
        finally:
            if started.process.poll() is None:
                made.kill()
            while left := made.present():
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


def all_gone(killed: Host, pids: Iterable[int] = ()) -> None:
    """Nothing that it started lives on, and none of these; one that is just ending shows no environment any more."""
    left: list[str] = []

    def gone() -> bool:
        left[:] = [str(read_stat(pid)) for pid in {*killed.present(), *pids} if runs(pid)]
        return not left

    try:
        within(gone, PATIENCE)
    except AssertionError as error:
        raise AssertionError("left:\n" + "\n".join(left)) from error


def leaf(**options: object) -> ChildSpec:
    return ChildSpec("leaf", command("sleep", "60", **options), restart=Restart.PERMANENT, shutdown=BRUTAL_KILL)  # type: ignore[arg-type]


def now() -> subprocess.Popen[bytes] | None:
    return sentry._sentry.process if sentry._sentry is not None else None
