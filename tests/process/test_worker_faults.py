"""What a worker can do to its supervisor, and what can befall either of them: nothing hurts, nothing hangs, nothing is left."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from supervisor import (
    ChildExited,
    ChildSpec,
    ExitKind,
    NoProc,
    OrphansSwept,
    Restart,
    StartFailed,
    StartMethodUnavailable,
    serve,
    task,
)
from supervisor.core.wire import MAX_FRAME, ProtocolError
from supervisor.host import fork_server, reaper
from supervisor.leaf import link
from tests.children import working
from tests.process.host_support import running, zombies
from tests.process.worker_support import METHODS, child, exits, methods, tree
from tests.support import ROOT, eventually, eventually_sync, no_descriptors
from tests.support import running as program

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="the fork server needs Linux")]


def memory() -> int:
    """Bytes of this process that are in memory and its own."""
    resident, shared = Path("/proc/self/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * resource.getpagesize()


@methods
async def test_a_flood_leaves_room_for_others(method: str) -> None:
    """A worker that publishes and logs without end takes turns with everybody else, fills nothing, and is killed in time."""
    async with tree(child("floods", method=method, shutdown=0.1), child("up", id="other", method=method)) as watched:
        root = watched.root
        watched.records.clear()
        before = memory()
        async with anyio.create_task_group() as group, root.subscribe(100) as events:
            for number in range(50):
                assert await root.call("other", "add", number, 1, timeout=20) == number + 1
            await root.terminate_child("child")
            assert events.lost > 0
            group.cancel_scope.cancel()
        watched.records.clear()
        assert memory() - before < 100 << 20
        assert exits(watched) == []
    assert [event.killed for event in watched.events(ChildExited)] in ([True, False], [False])


def framed(data: bytes) -> bytes:
    """With its length before it."""
    return struct.pack(">I", len(data)) + data


@methods
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (framed(b"oops"), "no message"),
        (b"HTTP/1.1 200 OK\r\n\r\n", f"{MAX_FRAME} are the most"),
        (struct.pack(">I", MAX_FRAME + 1), f"{MAX_FRAME} are the most"),
        (framed(b'{"m":"absent"}'), "no message"),
        (framed(b'{"m":"shutdown"}'), "Shutdown out of turn"),
        (framed(b'{"m":"ready","value":null}'), "Ready out of turn"),
        (framed(b'{"m":"extended","seconds":-1.0}'), "no time"),
        (framed(b'{"m":"emitted","event":3}'), "no event"),
        (framed(b'{"m":"emitted","event":{"!":"supervisor.core.event:OrphansSwept","v":{}}}'), "can be made of this"),
        (framed(b'{"m":"exited","kind":"odd","reason":"","exception":null}'), "no way to end"),
        (framed(b'{"m":"exited","kind":"normal","reason":"normal","exception":null}') + framed(b'{"m":"alive"}'), "after its last word"),
        (framed(b"[" * 5000), "no message"),
    ],
)
async def test_garbage_ends_a_worker(method: str, data: bytes, says: str) -> None:
    """What is no message, or none that may come now: the worker is killed, and the exit says protocol error."""
    async with tree(child("up", method=method)) as watched:
        with pytest.raises(NoProc):
            await watched.root.call("child", "write_raw", data)
        (exit,) = await eventually(lambda: exits(watched))
        assert exit.kind is ExitKind.ABNORMAL
        assert exit.reason.startswith("protocol error: ") and says in exit.reason
        assert isinstance(exit.exception, ProtocolError)


@methods
async def test_half_a_message_is_none(method: str) -> None:
    """Killed in the middle of a message, a worker has the exit of its signal."""
    async with tree(child("tears", method=method)) as watched:
        (exit,) = await eventually(lambda: exits(watched))
        assert exit.signal == signal.SIGKILL
        assert watched.events(working.Said) == []


async def test_what_was_said_before_death_arrives() -> None:
    """Events of a worker that ends without a word are published before its end is."""
    async with tree(child("up")) as watched:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(watched.root.call, "child", "say", number)
        with pytest.raises(NoProc):
            await watched.root.call("child", "exit", 0)
        await eventually(lambda: exits(watched))
        kinds = [type(event) for event in watched.all]
        assert kinds.count(working.Said) == 20
        assert kinds.index(ChildExited) > max(index for index, kind in enumerate(kinds) if kind is working.Said)


@methods
async def test_a_stalled_worker_costs_a_call_its_time_and_no_more(method: str) -> None:
    """Stopped by a signal it reads nothing: calls run out of time, memory stays bounded, and it can be stopped."""
    async with tree(child("up", method=method, shutdown=0.2)) as watched:
        root = watched.root
        pid = await root.call("child", "pid")
        os.kill(pid, signal.SIGSTOP)
        text = "x" * 500_000  # one for all: what counts is what is made of it here
        before = memory()
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(timed_out, root, text)
        assert memory() - before < 60 << 20
        await root.terminate_child("child")
        assert not running(pid)


async def timed_out(root: object, text: str) -> None:
    with pytest.raises(TimeoutError):
        await root.call("child", "add", text, "", timeout=0.5)  # type: ignore[attr-defined]


async def test_a_worker_that_reads_no_answers_gets_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its calls are bounded, and with them what waits to be read by it; over the limit it has lost its way."""
    asked = 0

    def large() -> str:
        nonlocal asked
        asked += 1
        return "x" * 500_000

    async def serving(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        serve("large", large)
        task_status.started()
        await anyio.sleep_forever()

    monkeypatch.setattr(link, "CALLS", 100)
    before = memory()
    async with tree(ChildSpec("task", task(serving)), child("calls_without_reading", ["root", "task"])) as watched:
        (exit,) = await eventually(lambda: exits(watched), 30)
        assert exit.reason == "protocol error: Called out of turn"
        assert asked < 2 * link.CALLS
        assert memory() - before < 100 << 20


async def test_closing_the_socket_is_an_end() -> None:
    """A worker that nobody can reach any more does not live on."""
    async with tree(child("closes")) as watched:
        (exit,) = await eventually(lambda: exits(watched), 20)
        assert exit.reason == "protocol error: it closed its socket and went on"


@methods
async def test_who_lingers_after_the_last_word_is_ended(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that does not end keeps the process no longer than that; the word stands."""
    monkeypatch.setattr(link, "LINGER", 0.3)
    async with tree(child("lingers", method=method)) as watched:
        (exit,) = await eventually(lambda: exits(watched))
        assert exit.kind is ExitKind.NORMAL


@methods
@pytest.mark.parametrize("way", ["spawn", "fork"])
async def test_what_it_leaves_behind_is_swept(method: str, way: str) -> None:
    """A grandchild in a session of its own, or a fork that holds the socket, does not survive the worker."""
    async with tree(child("up", method=method)) as watched:
        grandchild = await watched.root.call("child", way)
        assert running(grandchild)
        os.kill(await watched.root.call("child", "pid"), signal.SIGKILL)
        await eventually(lambda: exits(watched))
        assert not running(grandchild)
        assert grandchild in {pid for event in watched.events(OrphansSwept) for pid in event.pids}


async def test_an_unmarked_orphan_of_a_fork_is_known_by_its_marker() -> None:
    """A fork of a fork shows the environment of the life that it came from: it is swept as an orphan too."""
    async with tree(child("up"), child("up", id="other")) as watched:
        grandchild = await watched.root.call("child", "fork")
        handle = watched.root.handle("child")
        assert handle is not None and grandchild in [member.pid for member in handle.members()]  # type: ignore[attr-defined]
        await watched.root.terminate_child("child")
        assert not running(grandchild)
        assert await watched.root.call("other", "add", 1, 2) == 3


# ---------------------------------------------------------------- the supervisor's end


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("busy", [[], ["busy"]])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_outlives_a_supervisor_that_is_killed(backend: str, busy: list[str], method: str) -> None:
    """SIGKILL of the parent ends the worker, busy or not, and the fork server, without a sentry too."""
    script = ROOT / "tests" / "children" / "host_of_worker.py"
    with program(sys.executable, script, backend, method, "none", *busy, env={"PYTHONPATH": str(ROOT)}) as host:
        pids = [int(word) for word in eventually_sync(lambda: host.stdout.endswith("\n") and host.stdout, 30).split()]  # type: ignore[union-attr]
        assert len(pids) == (2 if method == "fork_server" else 1)
        host.process.kill()
        eventually_sync(lambda: not any(map(running, pids)), what="the end of all")


def test_without_a_death_signal_the_socket_tells_a_busy_worker() -> None:
    """Where the kernel tells nobody of a parent's death, a thread sees the hang-up, whatever the others do."""
    ours, theirs = socket.socketpair()
    program = (
        "import threading, sys; from supervisor.runtime.worker_process import end_with\n"
        "threading.Thread(target=end_with, args=(0,), daemon=True).start(); print(flush=True)\n"
        "while True: pass"
    )
    with (
        ours,
        theirs,
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=theirs.fileno(), stdout=subprocess.PIPE) as process,
    ):
        theirs.close()
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        ours.send(b"unread")
        assert process.poll() is None
        ours.close()
        assert process.wait(20) == 1


# ---------------------------------------------------------------- the fork server's end


def servers() -> list[int]:
    return list(reaper._servers)


async def test_a_killed_fork_server_is_replaced_when_it_is_needed() -> None:
    """Its workers live on, it leaves no zombie, and the next start brings another."""
    async with tree(child("up")) as watched:
        (first,) = servers()
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: servers() == [])
        assert zombies() == []
        assert await watched.root.call("child", "add", 1, 2) == 3
        await watched.root.start_child(child("up", id="next", method="fork_server"))
        (second,) = servers()
        assert second != first


async def test_a_fork_server_that_is_stopped_is_replaced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is stopped will not answer: that is looked at, not waited out."""
    monkeypatch.setattr(fork_server, "FORK_TIMEOUT", 600.0)
    async with tree(child("up")) as watched:
        (first,) = servers()
        os.kill(first, signal.SIGSTOP)
        with anyio.fail_after(60):
            await watched.root.start_child(child("up", id="next", method="fork_server"))
        assert first not in servers()


async def test_a_fork_server_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start waits for it so long and no longer, and is then served by another."""
    monkeypatch.setattr(fork_server, "FORK_TIMEOUT", 1.0)
    monkeypatch.setattr(fork_server, "PATIENCE", 600.0)
    async with tree(child("up")) as watched:
        (first,) = servers()
        os.kill(first, signal.SIGSTOP)
        await watched.root.start_child(child("up", id="next", method="fork_server"))
        assert first not in servers()
        await eventually(lambda: not running(first))
        assert zombies() == []


async def test_without_a_fork_server_a_fresh_interpreter_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be had, ``auto`` goes on without, and ``fork_server`` says so."""
    monkeypatch.setattr(fork_server, "_BOOT", f"import sys\nif sys.argv[2]: sys.exit(3)\n{fork_server._BOOT}")
    async with tree(child("up")) as watched:
        assert await watched.root.call("child", "add", 1, 2) == 3
        assert servers() == []
        with pytest.raises(StartFailed) as failed:
            await watched.root.start_child(child("up", id="next", method="fork_server"))
        assert isinstance(failed.value.__cause__, StartMethodUnavailable)
    assert zombies() == []


@methods
async def test_stopped_before_its_process_is_there(method: str) -> None:
    """A start that is given up leaves neither process nor descriptor."""
    async with tree() as watched:
        with anyio.move_on_after(0.02):
            await watched.root.start_child(child("up", method=method))
        await watched.root.terminate_child("child")
        assert [info.id for info in watched.root.which_children()] == []


@methods
@pytest.mark.parametrize("free", range(9))
async def test_out_of_descriptors_is_a_failed_start(method: str, free: int) -> None:
    """Whichever descriptor cannot be had: the start fails with that error, and the next one succeeds."""
    async with tree(child("up", id="other", method=method)) as watched:
        await watched.root.call("other", "pid")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        causes: list[BaseException | None] = []
        spare = os.dup(0)
        used = len(os.listdir("/proc/self/fd"))
        held = [os.dup(0) for _ in range(max(0, spare - used))]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare, *held, 0) + free, hard))
        try:
            await watched.root.start_child(child("up", method=method))
        except StartFailed as error:
            causes.append(error.__cause__)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in (spare, *held):
                os.close(fd)
        assert all(isinstance(cause, OSError) and cause.errno == errno.EMFILE for cause in causes)
        await watched.root.start_child(child("up", id="next", method=method))
        assert await watched.root.call("next", "add", 1, 2) == 3
    assert zombies() == []


@pytest.mark.parametrize("method", METHODS)
async def test_start_and_stop_leave_nothing_behind(method: str) -> None:
    """Life after life: no descriptor, no zombie, no task."""
    async with tree(child("up", method=method)) as watched:
        root = watched.root
        await root.start_child(child("up", id="again", method=method))
        await root.terminate_child("again")
        before = os.listdir("/proc/self/fd")
        for _ in range(5):
            await root.start_child(child("up", id="again", method=method, restart=Restart.TEMPORARY))
            await root.terminate_child("again")
        assert len(os.listdir("/proc/self/fd")) <= len(before)
        assert zombies() == []


@pytest.mark.parametrize("spare", [0, 1, 2, 3])
def test_a_server_that_cannot_be_started_leaves_nothing(spare: int) -> None:
    """Out of descriptors at every step: orphans are not ours any more than before."""
    server = fork_server.ForkServer(lambda run, name: pytest.fail("it runs"), "trio")
    with no_descriptors(spare), pytest.raises(OSError, match="Too many open files"):
        fork_server._Running.start(server._spawn, server)
    assert reaper._active is None
