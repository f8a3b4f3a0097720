"""What the tests of run locks, records and sweeps share: guardians that are really killed, and what they leave."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from supervisor import ProcessId, identify
from tests.support import ROOT
from workers.state.runs import RunRecord, boot_id, pid_namespace, read_record, runs_directory, write_record

KILLS = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")

NOBODY = ProcessId(2**22 + 1, 5)

WAITS = "import signal; signal.alarm(60); print(1, flush=True); signal.pause()"
DEEP = """
import os, signal
signal.alarm(60)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    signal.alarm(60)
    os.setsid()
    print(1, flush=True)
signal.pause()
"""
HOLDER = """
import os, signal, subprocess, sys
signal.alarm(60)
sys.path.insert(0, sys.argv[1])
from supervisor import identify
from workers.state.runs import claim
claimed = claim(sys.argv[2], "p", sys.argv[3], sys.argv[4] == "hand")
members, markers = [], []

def start(program, **options):
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True, **options)
    child.stdout.readline()
    return identify(child.pid)

for word in sys.argv[5:]:
    if word == "child":
        members.append(start(os.environ["WAITS"], close_fds=False))
    elif word == "deep":
        members.append(start(os.environ["DEEP"]))
    else:
        markers.append(word)
        start(os.environ["WAITS"], env={**os.environ, "SUPERVISOR_LIFE": word})
claimed.record(members, markers=markers)
print(claimed.name, flush=True)
sys.stdin.readline()
"""


class Holder:
    """A guardian in another process that has claimed a name."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.name = process.stdout.readline().strip()

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@contextlib.contextmanager
def holding(state_dir: Path, name: str = "claude", how: str = "derived", *plan: str) -> Iterator[Holder]:
    argv = [sys.executable, "-c", HOLDER, str(ROOT), str(state_dir), name, how, *plan]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=programs()) as process:
        try:
            yield Holder(process)
        finally:
            process.kill()


GUARDIAN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import anyio
from workers.state.runs import claim
from workers.state.sweeping import sweep_abandoned
state_dir, project, backend, name = sys.argv[2:6]
claimed = claim(state_dir, project, name) if name else None
if claimed is not None:
    claimed.record([claimed._record.supervisor])
swept = anyio.run(sweep_abandoned, state_dir, project, claimed, backend=backend)
found = {"name": claimed and claimed.name, "pending": claimed is not None and claimed.left_behind is not None,
         "swept": [[run.name, [[one.pid, one.created] for one in run.killed], len(run.left)] for run in swept]}
print(json.dumps(found), flush=True)
sys.stdin.readline()
if claimed is not None:
    claimed.close()
"""


@attrs.frozen
class Sweep:
    """What the next guardian did: its name and process, and per abandoned run what it killed."""

    name: str | None
    pid: int
    killed: dict[str, set[ProcessId]]


@contextlib.contextmanager
def sweeping(state_dir: Path, backend: str, *, name: str = "", project: str = "p") -> Iterator[Sweep]:
    """The next guardian, in a process of its own: what this one started belongs to it, and a guardian spares its own."""
    argv = [sys.executable, "-c", GUARDIAN, str(ROOT), str(state_dir), project, backend, name]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdin is not None
            found = json.loads(process.stdout.readline())
            assert not found["pending"]
            assert all(left == 0 for _, _, left in found["swept"])
            killed = {run: {ProcessId(*one) for one in ones} for run, ones, _ in found["swept"]}
            for ones in killed.values():
                for one in ones:
                    reap(one)
            yield Sweep(found["name"], process.pid, killed)
            process.stdin.write("end\n")
            process.stdin.close()
            assert process.wait(30) == 0
        finally:
            process.kill()


def swept_by(state_dir: Path, backend: str, *, project: str = "p") -> dict[str, set[ProcessId]]:
    with sweeping(state_dir, backend, project=project) as sweep:
        return sweep.killed


def reap(process: ProcessId) -> None:
    """An orphan of a test may have been handed to us; its end is then ours to collect."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, 0)


def put_down(process: ProcessId) -> None:
    """Kill what the test started and the program rightly left alone."""
    os.kill(process.pid, signal.SIGKILL)
    reap(process)


def programs() -> dict[str, str]:
    """The environment of a holder, with what it starts."""
    return {**os.environ, "WAITS": WAITS, "DEEP": DEEP}


def known(pid: int) -> ProcessId:
    process = identify(pid)
    assert process is not None
    return process


def record_of(state_dir: Path, name: str = "claude") -> RunRecord:
    record = read_record(state_dir / "p" / "runs" / f"{name}.json")
    assert record is not None
    return record


def abandon(state_dir: Path, **changes: object) -> Path:
    """Write the record of a run whose supervisor is dead."""
    with subprocess.Popen(["true"]) as gone:
        pass
    record = RunRecord("claude", ProcessId(gone.pid, 1), boot_id(), pid_namespace())
    directory = runs_directory(state_dir, "p")
    write_record(directory, attrs.evolve(record, **changes))  # type: ignore[arg-type]
    return directory / "claude.json"


@contextlib.contextmanager
def bystander(**environment: str) -> Iterator[ProcessId]:
    """A process that ends by itself after a minute; ready when this returns."""
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, env={**os.environ, **environment}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield known(process.pid)
        finally:
            process.kill()


BROKEN = [
    "", "{", "[]", "null", '{"format": 1}', '{"format": 2}',
    '{"format":1,"name":"x","supervisor":[0,1],"boot":"b","namespace":null,"markers":[],"members":[]}',
]  # fmt: skip
