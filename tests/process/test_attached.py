"""A process that somebody else started as a child: watched to its end, and ended only when it was adopted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from supervisor import BRUTAL_KILL, AttachedProcess, ChildSpec, InvalidField, Restart, StartFailed, Supervisor, attached, command, identify
from supervisor.core.exits import ExitKind
from supervisor.host import identity

from ..support import eventually
from .host_support import PYTHON, running

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="processes as Linux has them")]

FAMILY = """\
import os, signal, sys, time
signal.alarm(60)
deaf = len(sys.argv) > 2
for number in range(2):
    if os.fork() == 0:
        signal.alarm(60)
        if number:
            os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        break
else:
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(sys.argv[1], "w").write("up")
time.sleep(60)
"""


@contextmanager
def foreign(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else's: this test is its parent, the tree is not."""
    with subprocess.Popen(argv) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(params=["pidfd", "looking"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How deaths are noticed."""
    if request.param == "looking":
        monkeypatch.setattr(identity, "_pidfd", False)
    return str(request.param)


async def test_its_end_is_noticed_and_is_nobodys_failure(way: str) -> None:
    """How it ended its parent knows: the child is down, and not restarted, with nothing to run after it."""
    with foreign("sleep", "60") as process:
        spec = ChildSpec("a", attached(process.pid), restart=Restart.TRANSIENT)
        async with Supervisor("root", [spec], intensity=0) as root:
            info = root.which_child("a")
            assert (info.state, info.pid) == ("running", process.pid)
            handle = root.handle("a")
            assert isinstance(handle, AttachedProcess)
            assert handle.members() == (identify(process.pid),)
            process.kill()
            await eventually(lambda: root.which_child("a").state == "undefined")
            exit = root.which_child("a").exit
            assert exit is not None
            assert exit.kind is ExitKind.NORMAL
            assert "parent" in exit.reason
            with pytest.raises(StartFailed, match="has ended"):
                await root.restart_child("a")


@pytest.mark.parametrize("shutdown", [5.0, BRUTAL_KILL])
async def test_it_is_left_alone(shutdown: object, way: str) -> None:
    """The end of the child, a kill included, is the end of the watch: the process goes on, and gets no signal."""
    with foreign("sleep", "60") as process:
        async with Supervisor("root", [ChildSpec("a", attached(process.pid), shutdown=shutdown)]) as root:  # type: ignore[arg-type]
            await root.terminate_child("a")
            assert running(process.pid)
            assert (await root.restart_child("a")).pid == process.pid
        assert running(process.pid)
        assert process.poll() is None


@pytest.mark.parametrize("deaf", [False, True])
async def test_one_that_was_adopted_ends_with_its_whole_tree(deaf: bool, tmp_path: Path, way: str) -> None:
    """It is asked first, and killed if it does not listen; no descendant is left, in a session of its own or deaf."""
    report = tmp_path / "report"
    with foreign(PYTHON, "-c", FAMILY, str(report), *(["deaf"] if deaf else [])) as process:
        await eventually(report.exists)
        spec = ChildSpec("a", attached(process.pid, adopt=True), shutdown=0.2 if deaf else 10.0)
        async with Supervisor("root", [spec]) as root:
            handle = root.handle("a")
            assert isinstance(handle, AttachedProcess)
            members = handle.members()
            assert len(members) == 3
        assert not any(running(member.pid) for member in members)
        assert process.wait() == (-signal.SIGKILL if deaf else -signal.SIGTERM)


async def test_what_comes_after_it(way: str) -> None:
    """Once it has ended the next life is a command's: after a controlled restart of one that was adopted, or because it always runs."""
    with foreign("sleep", "60") as process:
        start = attached(process.pid, adopt=True, then=command("sleep", "60"))
        async with Supervisor("root", [ChildSpec("a", start, shutdown=5.0)]) as root:
            assert root.get_childspec("a").start.describe()["then"]["command"] == "sleep"
            life = await root.cycle_child("a", reason="a test")
            assert process.wait() == -signal.SIGTERM
            assert life.generation == 2
            assert life.pid not in (None, process.pid)
        assert not running(life.pid or 0)


async def test_a_recycled_pid_is_somebody_else() -> None:
    """Which process is meant was settled when it was attached to."""
    with foreign("sleep", "60") as process:
        start = attached(process.pid)
        other = identity.ProcessId(process.pid, start.process.created + 1)
        with pytest.raises(StartFailed, match="has ended"):
            async with Supervisor("root", [ChildSpec("a", type(start)(other))]):
                pass
        assert running(process.pid)


@pytest.mark.parametrize("fields", [{"adopt": 1}, {"then": "sleep"}, {"kill_timeout": "x"}, {"kill_timeout": 0}])
async def test_wrong_arguments(fields: dict[str, object]) -> None:
    """They are named where they stand."""
    with foreign("sleep", "60") as process, pytest.raises(InvalidField, match=next(iter(fields))):
        attached(process.pid, **fields)  # type: ignore[arg-type]


async def test_whom_nobody_can_attach_to() -> None:
    """Nobody, a dead process, this one, and one above this one where it would be ours to end."""
    with foreign("true") as process:
        process.wait()
    for pid in (0, -1, True, "1", process.pid, os.getpid()):
        with pytest.raises(InvalidField, match="pid"):
            attached(pid)  # type: ignore[arg-type]
    with pytest.raises(InvalidField, match="above"):
        attached(os.getppid(), adopt=True)
    assert attached(os.getppid()).process.pid == os.getppid()
    await anyio.lowlevel.checkpoint()
