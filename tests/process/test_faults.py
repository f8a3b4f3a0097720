"""Faults of the system that no other file is about: see the table in docs/faults.md."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor import (
    ChildExited,
    ChildSpec,
    ChildUnresponsive,
    NoProc,
    Record,
    Restart,
    StartFailed,
    Supervisor,
    command,
)
from supervisor.host.identity import identify, send_signal
from supervisor.host.procstat import read_stat

from ..support import ROOT, eventually, eventually_sync, read_events, running
from ..support_ticket import living
from .host_support import PYTHON, identified
from .host_support import running as runs

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="Linux's processes")]

SYS_EXIT = {"x86_64": 60, "aarch64": 93}


@contextmanager
def cgroup(controller: str) -> Iterator[Path]:
    """A group of the test's own, empty at the end of the block."""
    folder = Path("/sys/fs/cgroup", controller, f"test-{os.getpid()}")
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no {controller} controller of the first version of cgroups that may be used here: {error}")
    try:
        yield folder
    finally:
        eventually_sync(lambda: gone(folder))


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Within the block the kernel runs no instruction of that process, and no signal ends it: as if it were stuck in a device."""
    with cgroup("freezer") as folder:
        try:
            (folder / "cgroup.procs").write_text(str(pid))
            (folder / "freezer.state").write_text("FROZEN")
            eventually_sync(lambda: (folder / "freezer.state").read_text().strip() == "FROZEN")
            yield
        finally:
            (folder / "freezer.state").write_text("THAWED")


def gone(folder: Path) -> bool:
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()


WITHOUT_PROCESSES = """
import errno, os, signal, sys
import anyio
from supervisor import Backoff, ChildSpec, StartFailed, Supervisor, command

folder = sys.argv[2]
def write(name, text):
    with open(os.path.join(folder, name), "w") as file:
        file.write(text)

async def main():
    leaf = ChildSpec("leaf", command("sleep", "60", stdin="null"))
    failed = anyio.Event()
    failures = []
    def note(record):
        if record.event.name == "child_start_failed":
            failures.append(record.event.exit.exception.errno)
            if len(failures) == 4:
                failed.set()
    write("cgroup.procs", "0")
    async with Supervisor("root", [leaf], intensity=1000, backoff=Backoff(0.02, 1.0, 0.02)) as root:
        root.add_sink(note)
        write("pids.max", "1")
        try:
            await root.start_child(ChildSpec("second", command("sleep", "60", stdin="null")))
        except StartFailed as error:
            print("refused", errno.errorcode[error.__cause__.errno])
        os.kill(root.which_child("leaf").pid, signal.SIGKILL)
        await failed.wait()
        write("pids.max", "max")
        while root.which_child("leaf").state != "running":
            await anyio.sleep(0.01)
        print("again", *sorted({errno.errorcode[number] for number in failures}))

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_fork_that_fails_is_a_failed_start_and_tried_again(backend: str) -> None:
    """EAGAIN: a first start fails with it; a restart is tried again, after its delay, until there are processes again."""
    with cgroup("pids") as folder:
        with running(sys.executable, "-c", WITHOUT_PROCESSES, backend, str(folder), cwd=ROOT) as program:
            finished = program.wait(30)
        assert finished.stdout.splitlines() == ["refused EAGAIN", "again EAGAIN"], finished.stderr


async def test_a_leaf_that_the_kernel_cannot_end_is_given_up_and_reported() -> None:
    """Killed and still there after its `kill_timeout`, as in D state: the call is answered, the others go on."""
    events: list[Record] = []
    stuck = ChildSpec("stuck", command("sleep", "60", stdin="null", kill_timeout=0.2), shutdown=0.1)
    root = Supervisor("root", [stuck, ChildSpec("other", command("sleep", "60", stdin="null"))])
    root.add_sink(events.append)
    async with root:
        pid = root.which_child("stuck").pid
        assert pid is not None
        with frozen(pid):
            with anyio.fail_after(20):
                await root.terminate_child("stuck")
            (given_up,) = [record.event for record in events if isinstance(record.event, ChildUnresponsive)]
            assert given_up.pid == pid
            assert root.abandoned == 1
            assert root.which_child("other").state == "running"
        await eventually(lambda: not runs(pid))


@pytest.mark.skipif(platform.machine() not in SYS_EXIT, reason="the number of the system call is another")
async def test_a_leaf_whose_first_thread_has_ended_is_alive() -> None:
    """The kernel shows a zombie, and other threads run on: neither ended nor forgotten, and asked to end like any other."""
    script = f"""
import ctypes, os, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
os.write(int(os.environ["NOTIFY_FD"]), b"\\n")
ctypes.CDLL(None).syscall({SYS_EXIT[platform.machine()]}, 0)
"""
    async with living(command(PYTHON, "-I", "-S", "-c", script, ready="fd")) as life:
        await life.ticket.wait_ready()
        await eventually(lambda: (stat := read_stat(life.handle.pid)) is not None and stat.state == b"Z")
        assert life.ticket.exit is None
        assert life.handle.members()[0] == life.handle.process_id
        life.handle.terminate()
        assert (await life.ticket.wait_exit()).signal == signal.SIGTERM


async def test_a_recycled_pid_is_a_stranger() -> None:
    """A process that really has the pid of one that belonged to the leaf is neither signalled nor swept."""
    following = Path("/proc/sys/kernel/ns_last_pid")
    if not os.access(following, os.W_OK):
        pytest.skip("only root may choose the next pid")
    async with living(command("sleep", "60")) as life:
        with subprocess.Popen(["sleep", "60"], start_new_session=True) as member:  # noqa: ASYNC220 (it does not block)
            former = identified(member.pid)
            life.handle.remember([former])
            member.kill()
        for _ in range(200):
            time.sleep(0.011)  # noqa: ASYNC251 (creation is told in ticks of a hundredth; no host uses up its pids in one)
            following.write_text(str(former.pid - 1))  # noqa: ASYNC240 (the same)
            stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)  # noqa: ASYNC220 (it does not block)
            if stranger.pid == former.pid:
                break
            stranger.kill()
            stranger.wait()
        else:
            pytest.skip("somebody else was always faster")
        try:
            assert identify(stranger.pid) != former
            assert not send_signal(former, signal.SIGKILL)
            life.handle.kill()
            await life.ticket.wait_exit()
            assert runs(stranger.pid)
            assert not life.ticket.events
        finally:
            stranger.kill()
            stranger.wait()


async def test_a_wall_clock_that_jumps_changes_no_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour forth or back between any two looks: restarts are counted, and delays waited for, by a clock that cannot jump."""
    wall = time.time()
    jumps = iter(range(1_000_000))
    monkeypatch.setattr(time, "time", lambda: wall + (3600.0 if next(jumps) % 2 else -3600.0))
    events: list[Record] = []
    crashing = ChildSpec("crashing", command("sh", "-c", "exit 1", stdin="null"), restart=Restart.PERMANENT)
    root = Supervisor("root", [crashing], intensity=5, period=3600.0)
    root.add_sink(events.append)
    with anyio.fail_after(20), pytest.raises(Exception, match="gave up"):
        async with root:
            await anyio.sleep_forever()
    assert len([record for record in events if isinstance(record.event, ChildExited)]) == 6
    clocked = [record.monotonic for record in events]
    assert clocked == sorted(clocked)


async def test_starts_during_a_stop_are_refused() -> None:
    """While the tree stops, nothing new begins: whoever asks is told that there is no such supervisor any more, and no process is left."""
    deaf = command("sh", "-c", "trap '' TERM; echo > /dev/fd/$NOTIFY_FD; while :; do sleep 0.05; done", ready="fd", stdin="null")
    root = Supervisor("root", [ChildSpec("deaf", deaf, shutdown=0.5)])
    refused = anyio.Event()

    async def ask() -> None:
        await eventually(lambda: root.which_child("deaf").state == "stopping")
        with pytest.raises(NoProc):
            await root.start_child(ChildSpec("late", command("sleep", "60", stdin="null")))
        refused.set()

    async with anyio.create_task_group() as tasks:
        async with root:
            tasks.start_soon(ask)
        assert refused.is_set()


async def test_what_cannot_be_executed_is_a_failed_start_with_its_reason(tmp_path: Path) -> None:
    """A file that is no program for this machine, and a script whose interpreter is not there: typed, with the system's own error."""
    garbage, orphaned = tmp_path / "garbage", tmp_path / "orphaned"
    garbage.write_bytes(b"\x7fELF\0\0\0\0")
    orphaned.write_text("#!/no/such/interpreter\n")
    for file, error in ((garbage, OSError), (orphaned, FileNotFoundError)):
        file.chmod(0o755)
        with pytest.raises(StartFailed) as raised:
            async with Supervisor("root", [ChildSpec("leaf", command(str(file), stdin="null"))]):
                raise AssertionError("it started")
        assert isinstance(raised.value.__cause__, error)


STOPPED = """
import os, sys, anyio
from supervisor import ChildSpec, Restart, Supervisor, command

async def main():
    leaf = ChildSpec("leaf", command("sh", "-c", "exec sleep 60", stdin="null"), restart=Restart.PERMANENT)
    root = Supervisor("root", [leaf], intensity=1000)
    root.add_sink(lambda record: os.write(1, f"{record.event.name} {getattr(record.event, 'pid', None)}\\n".encode()))
    async with root:
        await anyio.sleep(50)

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_supervisor_that_was_stopped_catches_up(backend: str) -> None:
    """SIGSTOP while its leaf dies: the end is seen and the leaf replaced as soon as it is continued, once."""
    with running(sys.executable, "-c", STOPPED, backend, cwd=ROOT) as program:

        def started() -> list[int]:
            return [int(line.split()[1]) for line in program.stdout.splitlines() if line.startswith("child_started")]

        eventually_sync(lambda: len(started()) == 1)
        program.send(signal.SIGSTOP)
        eventually_sync(lambda: (stat := read_stat(program.pid)) is not None and stat.state == b"T")
        os.kill(started()[0], signal.SIGKILL)
        eventually_sync(lambda: not runs(started()[0]))
        assert len(started()) == 1
        for _ in range(3):
            program.send(signal.SIGCONT)
        eventually_sync(lambda: len(started()) == 2)
        os.kill(started()[1], signal.SIGSTOP)
        os.kill(started()[1], signal.SIGCONT)
        assert runs(started()[1])
        program.send(signal.SIGINT)
        program.wait(20)
        assert not [pid for pid in started() if runs(pid)]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_storm_of_signals_stops_a_run_once(backend: str, tmp_path: Path) -> None:
    """Signals that mean nothing are survived, however many; of those that end a run, many are one."""
    words = [sys.executable, "-m", "supervisor", "--backend", backend, "--state-dir", tmp_path / "state", "--events", tmp_path / "events"]
    with running(*map(str, words), "--", "sleep", "60", cwd=ROOT) as program:
        eventually_sync(lambda: _of_leaf(tmp_path / "events", "child_started"), 20)
        for number in range(400):
            program.send((signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH, signal.SIGURG)[number % 4])
        assert program.process.poll() is None
        for _ in range(100):
            with suppress(ProcessLookupError):
                program.send(signal.SIGTERM)
        assert program.wait(20).returncode in (143, -signal.SIGTERM)
    assert len(_of_leaf(tmp_path / "events", "child_exited")) == 1
    assert not _of_leaf(tmp_path / "events", "child_unresponsive")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_launcher_without_standard_streams(closed: str, tmp_path: Path) -> None:
    """With standard streams that were closed the leaf runs, and none of its files takes their numbers."""
    leaf = f"ls -l /proc/self/fd > {tmp_path}/seen; exit 7"
    run = f'exec "$0" -m supervisor --state-dir {tmp_path}/state -- sh -c "{leaf}" {closed}'
    with running("sh", "-c", run, sys.executable, cwd=ROOT) as program:
        assert program.wait(30).returncode == 7, program.stderr
    others = [line for line in (tmp_path / "seen").read_text().splitlines() if str(tmp_path / "state") in line or "events" in line]
    assert others == []


def _of_leaf(path: Path, name: str) -> list[dict[str, Any]]:
    return [event for event in read_events(path) if event["event"] == name and event["path"][-1] == "leaf"]
