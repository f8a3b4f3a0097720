"""What other platforms get in place of Linux's calls, as far as it can run here: their pure parts, and the calls that Linux has as well."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import pytest

from supervisor.core.exits import ExitKind
from supervisor.host import identity, job_object, kqueue, portable
from supervisor.host.identity import ProcessId
from supervisor.host.spawn import Spawned, spawn
from supervisor.host.waitstatus import AbnormalExit, WaitStatus, classify
from supervisor.leaf.command import command

from ..support import eventually_sync
from ..support_ticket import living
from .host_support import PYTHON, other, running

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="compares with what Linux says")


@contextmanager
def spawned(*argv: str) -> Iterator[Spawned]:
    """A process that is killed and reaped afterwards."""
    process = spawn(argv, marker="m")
    try:
        yield process
    finally:
        if not process.reaped:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process.reap()
        process.close()


@LINUX
def test_stops_are_seen_without_waitid() -> None:
    """macOS has waitpid alone before Python 3.13: each stop is seen once, and a death on the way is not lost."""
    with spawned("sleep", "60") as process:
        assert process._stopped_by_waitpid() is None
        for _ in range(2):
            os.kill(process.pid, signal.SIGSTOP)
            assert eventually_sync(process._stopped_by_waitpid) == signal.SIGSTOP
            assert process._stopped_by_waitpid() is None
            os.kill(process.pid, signal.SIGCONT)
        os.kill(process.pid, signal.SIGTERM)
        eventually_sync(lambda: (process._stopped_by_waitpid(), process.reaped)[1])
        assert process._popen is not None and process._popen.returncode == -signal.SIGTERM
        assert process._stopped_by_waitpid() is None


@pytest.mark.anyio
async def test_a_thread_for_each_leaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a descriptor to wait for, the death of the fiftieth leaf is noticed as soon as that of the first."""
    monkeypatch.setattr(identity, "_pidfd", False)
    async with AsyncExitStack() as stack:
        lives = [await stack.enter_async_context(living(command("sleep", "60"), ("root", str(number)))) for number in range(50)]
        for life in lives:
            await life.ticket.wait_ready()
        os.kill(lives[-1].handle.pid, signal.SIGKILL)
        assert (await lives[-1].ticket.wait_exit()).signal == signal.SIGKILL


@LINUX
def test_psutil_says_what_proc_says() -> None:
    """The portable answers name the same processes, alive and dead."""
    parent = subprocess.Popen([PYTHON, "-c", "import subprocess; subprocess.run(['sleep', '60'])"])
    try:
        members = eventually_sync(lambda: members if len(members := portable.walk(parent.pid)) == 2 else None)
        assert members is not None
        root, child = members
        assert root == portable.identify(parent.pid) and root.pid == parent.pid
        assert all(portable.is_alive(process) for process in members)
        assert not portable.is_alive(ProcessId(root.pid, root.created + 1))
        assert portable.group_of(child.pid) == os.getpgid(child.pid)
        os.kill(child.pid, signal.SIGKILL)
        eventually_sync(lambda: not portable.is_alive(child))
    finally:
        parent.kill()
        parent.wait()
    assert portable.walk(parent.pid) == [] and portable.identify(parent.pid) is None and portable.group_of(parent.pid) is None


@LINUX
def test_psutil_finds_the_marked() -> None:
    """The environments that may be read are found with their marker, and a zombie has none."""
    with spawned("sleep", "60") as process:
        eventually_sync(lambda: "m" in {marker for found, marker in portable.environments() if found.pid == process.pid})
    dead = other("true", ended=True)
    assert not portable.is_alive(portable.identify(dead.pid) or ProcessId(0, 0)) and not running(dead.pid)
    dead.wait()


def test_the_limits_of_a_job_are_laid_out_as_windows_wants_them() -> None:
    """The sizes and the place of the flags are those of a 64-bit winnt.h; the one flag ends the job with its last handle."""
    if ctypes.sizeof(ctypes.c_void_p) == 8:
        assert ctypes.sizeof(job_object.BasicLimits) == 64 and ctypes.sizeof(job_object.ExtendedLimits) == 144
    limits = job_object.kill_on_close()
    assert bytes(limits)[16:20] == (0x2000).to_bytes(4, sys.byteorder)
    assert bytes(limits).count(0) == ctypes.sizeof(limits) - 1


def test_what_asks_a_group_on_windows() -> None:
    """What means "please end" becomes Ctrl-Break; whatever else ends the process."""
    break_event = getattr(signal, "CTRL_BREAK_EVENT", 1)
    assert job_object.console_event(signal.SIGTERM) == job_object.console_event(signal.SIGINT) == break_event
    assert job_object.console_event(9) is None


@pytest.mark.skipif(sys.platform == "win32", reason="there they exist")
def test_there_are_no_jobs_elsewhere() -> None:
    """A platform without job objects says so, and kqueues likewise."""
    with pytest.raises(OSError, match="Windows"):
        job_object.JobObject()
    with spawned("sleep", "60") as process:
        assert process.end_job() is False and running(process.pid)
        if sys.platform == "linux":
            assert kqueue.watch_exit(process.pid) is None and process.exit_fd == process.pidfd


class Queue:
    """What of select.kqueue is used."""

    def __init__(self) -> None:
        self.closed = 0

    def fileno(self) -> int:
        return 1234

    def close(self) -> None:
        self.closed += 1


def test_a_queue_is_what_is_waited_for() -> None:
    """Where there is a kqueue its descriptor is waited for, and it is closed with the process, once."""
    with spawned("true") as process:
        queue = Queue()
        process._exit_queue = kqueue.ExitQueue(queue)
        assert process.exit_fd == 1234
        process.wait()
        process.close()
        process.close()
        assert queue.closed == 1 and process.exit_fd is None


@pytest.mark.parametrize(
    ("code", "asked", "signum", "kind"),
    [
        (0, None, None, ExitKind.NORMAL),
        (3, None, None, ExitKind.SHUTDOWN),
        (0xC000013A, None, signal.SIGINT, ExitKind.SHUTDOWN),
        (0xC000013A, signal.SIGTERM, signal.SIGTERM, ExitKind.SHUTDOWN),
        (0xC0000005, None, signal.SIGSEGV, ExitKind.ABNORMAL),
        (0xC0000005, signal.SIGTERM, signal.SIGSEGV, ExitKind.ABNORMAL),
        (0xC0000409, None, signal.SIGABRT, ExitKind.ABNORMAL),
    ],
)
def test_deaths_on_windows(code: int, asked: int | None, signum: int | None, kind: ExitKind) -> None:
    """A status of the kernel's in place of an exit code is the signal that it would be elsewhere; every other code is an answer."""
    status = WaitStatus.from_windows(code, asked=asked)
    exit = classify(status, AbnormalExit.CRASH, asked=asked)
    assert (exit.signal, exit.kind) == (signum, kind)
    assert (exit.code is None) is (signum is not None)
