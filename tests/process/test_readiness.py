"""How real commands say that they are up: sd_notify, a line of output, a probe; on both event loops."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from supervisor import (
    ChildSpec,
    ChildStatus,
    Event,
    Lines,
    NotificationIgnored,
    OutputFailed,
    OutputLine,
    RotatingFile,
    StartFailed,
    Supervisor,
    command,
    line,
    probe,
)
from supervisor.core.errors import BadCombination, InvalidField
from supervisor.core.exits import ExitKind
from supervisor.host import launching
from supervisor.leaf.command import Command

from ..support import eventually, eventually_sync, needs
from ..support_ticket import Life, LifeTicket, living

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="sd_notify needs Linux")]

NOTIFIER = Path(__file__).parent.parent / "children" / "notifier.py"


def notifier(*words: str, **options: Any) -> Command:
    """A command that plays these words; its output goes nowhere unless said otherwise."""
    quiet = {"stdin": "null", "stdout": "null"} | options
    return command(sys.executable, "-S", "-I", str(NOTIFIER), *words, **quiet)


def events(life: Life, kind: type) -> list[Any]:
    return [event for event in life.ticket.events if isinstance(event, kind)]


@contextlib.contextmanager
def output(fd: int) -> Iterator[int]:
    """Put a pipe in the place of one of our own outputs; its reading end, which does not block."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    kept = os.dup(fd)
    os.dup2(writer, fd)
    os.close(writer)
    try:
        yield reader
    finally:
        os.dup2(kept, fd)
        os.close(kept)
        os.close(reader)


@contextlib.contextmanager
def no_descriptors(left: int = 0) -> Iterator[None]:
    """So many can be had, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    filled: list[int] = []
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                filled.append(os.dup(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + left, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in filled:
            os.close(descriptor)


def taken(reader: int) -> bytes:
    data = b""
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(reader, 65536):
            data += chunk
    return data


# ---------------------------------------------------------------- sd_notify


async def test_ready_acknowledges(tmp_path: Path) -> None:
    """Under ``ready="notify"`` nothing but ``READY=1`` counts; said again, it changes nothing."""
    go = tmp_path / "go"
    words = ("send:READY=0|STATUS=warming up", f"await:{go}", "send:READY=1", "send:READY=1|STATUS=up", "hang")
    async with living(notifier(*words, ready="notify")) as life:
        await eventually(lambda: life.handle.status == "warming up")
        assert not life.ticket.ready.is_set()
        go.touch()
        assert await life.ticket.wait_ready() == life.handle.process_id
        await eventually(lambda: life.handle.status == "up")
    assert [event.status for event in events(life, ChildStatus)] == ["warming up", "up"]


async def test_a_descendant_may_say_it(tmp_path: Path) -> None:
    """Any process of the tree, also one in a session of its own, as with ``NotifyAccess=all``."""
    async with living(notifier(f"fork:{tmp_path / 'pid'}", "send:READY=1", "hang", ready="notify")) as life:
        await life.ticket.wait_ready()
        assert not events(life, NotificationIgnored)


async def test_an_orphan_may_say_it(tmp_path: Path) -> None:
    """Who was re-parented is known by what it carries in its environment."""
    script = f'setsid sh -c "{sys.executable} -S -I {NOTIFIER} await:{tmp_path / "go"} send:READY=1 hang" & exec sleep 60'
    async with living(command("sh", "-c", f"({script.removesuffix(' exec sleep 60')}); exec sleep 60", ready="notify")) as life:
        (tmp_path / "go").touch()
        await life.ticket.wait_ready()


async def test_last_breath_acknowledges() -> None:
    """A command that says it and ends at once has started, however late the news are read."""
    for _ in range(5):
        async with living(notifier("send:READY=1", "exit:3", ready="notify")) as life:
            assert (await life.ticket.wait_exit()).code == 3
            assert life.ticket.ready.is_set()


async def test_the_last_words_are_heard_and_kept(tmp_path: Path) -> None:
    """What a command says while we are busy, and dies: it has started, and its status is kept."""
    go = tmp_path / "go"
    async with living(notifier("send:STATUS=one", f"await:{go}", "send:READY=1|STATUS=two", "exit:3", ready="notify")) as life:

        def be_busy(event: Event) -> None:
            if not go.exists():
                go.touch()
                eventually_sync(lambda: os.waitid(os.P_PID, life.handle.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))

        life.ticket.heard = be_busy
        assert (await life.ticket.wait_exit()).code == 3
        assert life.ticket.ready.is_set()
    assert life.handle.status == "two"
    assert [event.status for event in events(life, ChildStatus)] == ["one", "two"]


async def test_an_end_before_it_is_no_start() -> None:
    """A command that ends unacknowledged reports its end and nothing else."""
    async with living(notifier("send:STATUS=no", "exit:4", ready="notify")) as life:
        assert (await life.ticket.wait_exit()).code == 4
        assert not life.ticket.ready.is_set()


async def test_strangers_are_not_heard(tmp_path: Path) -> None:
    """A message from outside of the tree is ignored and told once; it neither starts, nor stops, nor leads."""
    env = tmp_path / "env"
    async with living(notifier(f"env:{env}", "hang", ready="notify")) as life:
        await eventually(env.exists)
        address = env.read_text().split("\n")[1]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            for _ in range(3):
                sender.sendto(f"READY=1\nSTATUS=mine\nMAINPID={os.getpid()}\nWATCHDOG=trigger".encode(), f"\0{address[1:]}")
        await eventually(lambda: events(life, NotificationIgnored))
        await anyio.sleep(0.05)  # that nothing more happens can only be seen by waiting
        assert [event.pid for event in events(life, NotificationIgnored)] == [os.getpid()]
        assert not life.ticket.ready.is_set() and life.handle.status is None and life.ticket.exit is None


async def test_without_descriptors_a_sender_is_still_known(tmp_path: Path) -> None:
    """Who it is can be looked up with those that are kept in reserve."""
    go = tmp_path / "go"
    async with living(notifier(f"fork:{tmp_path / 'pid'}", f"await:{go}", "send:READY=1", "hang", ready="notify")) as life:
        await eventually((tmp_path / "pid").exists)
        with no_descriptors():
            go.mkdir()
            await life.ticket.wait_ready()


async def test_nonsense_is_told_once_and_harmless() -> None:
    """What is no message, or too long, or has numbers that are none, is reported by its reason; what is right beside it counts."""
    long = b"STATUS=" + b"x" * 5000
    words = ("raw:00ff00", f"raw:{long.hex()}", "raw:", "send:MAINPID=0", "send:MAINPID=-5|READY=1", "hang")
    async with living(notifier(*words, ready="notify")) as life:
        await life.ticket.wait_ready()
        assert [event.reason for event in events(life, NotificationIgnored)] == [
            "longer than 4096 bytes, or with a NUL inside",
            "malformed: MAINPID",
        ]


async def test_time_that_is_asked_for_reaches_the_ticket() -> None:
    """``EXTEND_TIMEOUT_USEC`` in seconds."""
    async with living(notifier("send:EXTEND_TIMEOUT_USEC=2500000", "send:READY=1", "hang", ready="notify")) as life:
        await life.ticket.wait_ready()
        assert life.ticket.extensions == [2.5]


async def test_a_slow_start_may_ask_for_time(tmp_path: Path) -> None:
    """Past its `start_timeout`, a command that has asked for time is still waited for; and so is its stop."""
    needs("systemd-notify", "systemd")
    go, stopped = tmp_path / "go", tmp_path / "stopped"
    script = (
        f"trap 'systemd-notify EXTEND_TIMEOUT_USEC=60000000; sleep 0.6; touch {stopped}; exit 0' TERM;"
        f"systemd-notify EXTEND_TIMEOUT_USEC=60000000; while [ ! -e {go} ]; do sleep 0.01; done;"
        "systemd-notify --ready; while :; do sleep 0.01; done"
    )
    spec = ChildSpec("slow", command("sh", "-c", script, ready="notify", stdin="null"), start_timeout=0.5, shutdown=0.5)

    async def later() -> None:
        await anyio.sleep(0.8)
        go.touch()

    async with anyio.create_task_group() as group:
        group.start_soon(later)
        async with Supervisor("root", [spec]) as root:
            assert root.which_child("slow").state == "running"
    assert stopped.exists()


async def test_silence_past_its_time_is_a_failed_start() -> None:
    """The cause is the timeout."""
    tree = Supervisor("root", [ChildSpec("mute", notifier("hang", ready="notify"), start_timeout=0.2)])
    with pytest.raises(StartFailed, match=r"root/mute.*no acknowledgement within 0\.2 s") as failed:
        async with tree:
            raise AssertionError("it started")
    assert isinstance(failed.value.__cause__, TimeoutError)


async def test_systemd_notify_works_unchanged() -> None:
    """The distribution's own program, which waits by a barrier until its message was read: from a shell, a child of the command."""
    needs("systemd-notify", "systemd")
    script = "systemd-notify --ready --status='at your service' && exec sleep 60; exit 9"
    async with living(command("sh", "-c", script, ready="notify", stdin="null")) as life:
        await life.ticket.wait_ready()
        assert life.handle.status == "at your service"
        # it runs on only if systemd-notify ended well, that is, if the barrier's descriptor was closed
        await eventually(lambda: Path(f"/proc/{life.handle.pid}/comm").read_text() == "sleep\n")
        assert not events(life, NotificationIgnored)


async def test_who_waits_by_a_barrier_may_be_gone_when_it_is_read(tmp_path: Path) -> None:
    """Nobody asks who sent it: that it was read is all that it says."""
    env, go = tmp_path / "env", tmp_path / "go"
    async with living(notifier(f"env:{env}", f"await:{go}", "send:READY=1", "hang", ready="notify")) as life:
        await eventually(env.exists)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"BARRIER=1", "\0" + env.read_text().split("\n")[1][1:])
        go.touch()
        await life.ticket.wait_ready()
        assert not events(life, NotificationIgnored)


async def test_descriptors_that_come_along_are_never_kept() -> None:
    """A message with descriptors costs us none, and closes those that a barrier waits for."""
    script = """
import array, os, signal, socket
address = os.environ["NOTIFY_SOCKET"]
here, there = os.pipe()
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [there] * 200))]
    sender.sendmsg([b"STATUS=with 200"], rights, 0, "\\0" + address[1:])
    sender.sendmsg([b"BARRIER=1"], rights, 0, "\\0" + address[1:])
    os.close(there)
    os.read(here, 1)
    sender.sendto(b"READY=1", "\\0" + address[1:])
signal.pause()
"""
    async with living(command(sys.executable, "-S", "-I", "-c", script, ready="notify", stdin="null")) as life:
        before = len(os.listdir("/proc/self/fd"))
        await life.ticket.wait_ready()
        assert len(os.listdir("/proc/self/fd")) == before
        assert life.handle.status == "with 200"


async def test_what_a_manager_told_us_reaches_no_leaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own ``NOTIFY_SOCKET`` and watchdog are not the leaf's, whether it has its own or none; what is asked for by name is."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/manager")
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    for options, seen in (
        ({}, ["-", "-", "-"]),
        ({"env": {"LANG": "C"}}, ["-", "-", "-"]),
        ({"env": {"NOTIFY_SOCKET": "/run/other"}}, ["/run/other", "-", "-"]),
    ):
        file = tmp_path / str(len(os.listdir(tmp_path)))
        async with living(notifier(f"env:{file}", "exit:0", **options)) as life:
            await life.ticket.wait_exit()
        assert file.read_text().split("\n")[1:] == seen


@pytest.mark.parametrize("mechanism", launching.Mechanism)
@pytest.mark.parametrize("env", [{}, {"LANG": "C"}], ids=["same", "own"])
async def test_the_environment_of_a_watched_command(
    tmp_path: Path, mechanism: launching.Mechanism, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket, its period in microseconds, and its own pid, by whatever way it was launched."""
    if mechanism is launching.Mechanism.HELPER and not os.access(launching.helper_path(), os.X_OK):
        pytest.skip("no compiled launch helper")
    if mechanism is not launching.Mechanism.HELPER:
        assert launching._without_helper() is launching.Mechanism.SETPRIV or mechanism is launching.Mechanism.NONE
    monkeypatch.setattr(launching, "_chosen", mechanism)
    file = tmp_path / "env"
    async with living(notifier(f"env:{file}", "send:READY=1", "exit:0", ready="notify", watchdog=30, env=env)) as life:
        assert (await life.ticket.wait_exit()).code == 0
    pid, address, period, watched = file.read_text().split("\n")
    assert (address[0], period, watched) == ("@", "30000000", pid) and int(pid) == life.handle.pid


@pytest.mark.parametrize("left", range(8))
async def test_out_of_descriptors_is_a_failed_start(left: int) -> None:
    """Whatever there is no descriptor for any more: the start fails, or it works, and what was made for it is given back."""
    before = set(os.listdir("/proc/self/fd"))
    async with anyio.create_task_group() as group:
        ticket = LifeTicket(group)
        with no_descriptors(left), pytest.raises(OSError, match="Too many open files"):
            notifier("hang", ready="line:up", watchdog=5, stdout="inherit").launch(ticket)
    assert set(os.listdir("/proc/self/fd")) == before


# ---------------------------------------------------------------- a line of its output


@pytest.mark.parametrize(("word", "fd"), [("print", 1), ("err", 2)])
async def test_a_line_acknowledges_and_everything_is_passed_on(tmp_path: Path, word: str, fd: int) -> None:
    """On either output; what comes before it, after it and without a newline reaches our own output in order."""
    go, more = tmp_path / "go", tmp_path / "more"
    words = (f"{word}:not ready", f"await:{go}", f"{word}:ready on port 8080", f"await:{more}", f"{word}:then", "exit:0")
    with output(fd) as reader:
        async with living(notifier(*words, ready=line(r"^ready on port \d+$"), stdout="inherit")) as life:
            got = b""
            while b"not ready\n" not in got:
                await anyio.sleep(0.005)
                got += taken(reader)
            assert not life.ticket.ready.is_set()
            go.touch()
            await life.ticket.wait_ready()
            more.touch()
            assert (await life.ticket.wait_exit()).kind is ExitKind.NORMAL
            got += taken(reader)
    assert got == b"not ready\nready on port 8080\nthen\n"


async def test_the_last_words_are_read_and_passed_on() -> None:
    """A command that prints its line and ends at once has started; a line without an end is none, and is passed on."""
    with output(1) as reader:
        async with living(notifier("print:up", "part:bye", "exit:0", ready="line:up", stdout="inherit")) as life:
            await life.ticket.wait_exit()
            assert life.ticket.ready.is_set()
        async with living(notifier("part:up", "exit:0", ready="line:up", stdout="inherit")) as life:
            await life.ticket.wait_exit()
            assert not life.ticket.ready.is_set()
        assert taken(reader) == b"up\nbyeup"


async def test_who_does_not_read_us_holds_up_the_command_and_not_us() -> None:
    """With our output full the event loop goes on, the command waits, and nothing is lost once there is room."""
    script = "import sys; print('up', flush=True); sys.stdout.write('x' * 1_000_000 + '\\n'); sys.stdout.flush()"
    with output(1) as reader:
        async with living(command(sys.executable, "-S", "-I", "-c", script, ready="line:up", stdin="null")) as life:
            await life.ticket.wait_ready()
            for _ in range(20):
                await anyio.sleep(0.005)  # the loop runs
            assert life.ticket.exit is None
            got = b""
            while len(got) < 1_000_004:
                await anyio.lowlevel.checkpoint()
                got += taken(reader)
            assert (await life.ticket.wait_exit()).code == 0
    assert got == b"up\n" + b"x" * 1_000_000 + b"\n"


@pytest.mark.parametrize("way", ["path", "rotating", "lines", "sink", "function", "merged", "full disk"])
async def test_a_line_is_found_wherever_the_output_goes(tmp_path: Path, way: str) -> None:
    """One pipe is read, and what it goes to has everything; what cannot be written is found all the same."""
    file, got = tmp_path / "log", list[bytes]()

    def take(line: OutputLine) -> None:
        got.append(f"{line.text}\n".encode())

    target: Any = {
        "path": str(file), "rotating": RotatingFile(file, 1000), "lines": Lines(), "sink": Lines(take),
        "function": got.append, "merged": got.append, "full disk": "/dev/full",
    }[way]  # fmt: skip
    go, word = tmp_path / "go", "err" if way == "merged" else "print"
    words = ("print:up and", f"await:{go}", f"{word}:now up", "part:bye", "exit:3")
    stderr = "stdout" if way == "merged" else "null"
    async with living(notifier(*words, ready="line:up$", stdout=target, stderr=stderr)) as life:
        await anyio.sleep(0.05)  # that the first line does not count can only be seen by waiting
        assert not life.ticket.ready.is_set()
        go.touch()
        await life.ticket.wait_ready()
        exit = await life.ticket.wait_exit()
    assert (exit.code, exit.output[-3:]) == (3, ("up and", "now up", "bye"))
    if way == "lines":
        got = [f"{event.text}\n".encode() for event in events(life, OutputLine)]
    elif way in ("path", "rotating"):
        got = [file.read_bytes()]
    if way == "full disk":
        assert [event.errno for event in events(life, OutputFailed)][:1] == [errno.ENOSPC]
    else:
        assert b"".join(got).removesuffix(b"\n") == b"up and\nnow up\nbye"


async def test_a_line_that_is_there_before_we_look_counts(tmp_path: Path) -> None:
    """Printed before anything of ours has run."""
    file = tmp_path / "env"
    async with living(notifier("print:up", f"env:{file}", "hang", ready="line:up", stdout=[].append)) as life:
        eventually_sync(file.exists)
        await life.ticket.wait_ready()


async def test_a_line_is_found_on_either_output_at_once(tmp_path: Path) -> None:
    """Halves of it on two outputs are none; both are read until one of them has it."""
    out, err, go = tmp_path / "out", tmp_path / "err", tmp_path / "go"
    words = ("part:u", "err:p", f"await:{go}", "err:up", "print:p", "exit:0")
    async with living(notifier(*words, ready="line:^up$", stdout=str(out), stderr=str(err))) as life:
        await eventually(lambda: err.exists() and err.read_text() == "p\n")
        assert not life.ticket.ready.is_set()
        go.touch()
        await life.ticket.wait_ready()
        await life.ticket.wait_exit()
    assert (out.read_text(), err.read_text()) == ("up\n", "p\nup\n")


async def test_a_line_needs_an_output_that_we_read() -> None:
    """Refused when it is written, with the remedy."""
    for stderr in ("null", "stdout"):
        with pytest.raises(BadCombination, match="an output that is not"):
            command("x", ready="line:up", stdout="null", stderr=stderr)
    with pytest.raises(InvalidField, match="regular expression"):
        command("x", ready="line:(")


# ---------------------------------------------------------------- a probe


async def test_a_probe_acknowledges() -> None:
    """Asked again and again; what it raises is a failed attempt."""
    answers: list[object] = [False, ConnectionRefusedError("not yet"), None, True]
    asked: list[object] = []

    async def answer() -> object:
        await anyio.lowlevel.checkpoint()
        asked.append(answers[len(asked)])
        if isinstance(asked[-1], Exception):
            raise asked[-1]
        return asked[-1]

    async with living(command("sleep", "60", ready=probe(answer, interval=0.01))) as life:
        await life.ticket.wait_ready()
    assert asked == answers


async def test_the_last_error_of_a_probe_is_the_cause() -> None:
    """A start that took too long names what the probe ran into."""
    error = ConnectionRefusedError("nobody listens")

    async def refuse() -> bool:
        raise error

    tree = Supervisor("root", [ChildSpec("p", command("sleep", "60", ready=probe(refuse, interval=0.01)), start_timeout=0.3)])
    with pytest.raises(StartFailed, match=r"no acknowledgement within 0\.3 s; ConnectionRefusedError: nobody listens") as failed:
        async with tree:
            raise AssertionError("it started")
    assert failed.value.__cause__ is error


async def test_a_probe_that_hangs_is_cancelled_with_the_command() -> None:
    """However the command ends, nothing asks on."""
    left: list[str] = []

    async def hang() -> bool:
        try:
            await anyio.sleep_forever()
        finally:
            left.append("cancelled")
        return True

    async with living(command("sh", "-c", "sleep 0.1; exit 3", ready=probe(hang))) as life:
        assert (await life.ticket.wait_exit()).code == 3
    assert left == ["cancelled"] and not life.ticket.ready.is_set()


async def test_redis_starts_when_it_says_so(tmp_path: Path) -> None:
    """The distribution's redis-server, unchanged: supervised by systemd, as it thinks; it answers once it is up, and stops when asked."""
    needs("redis-server", "redis")
    address = tmp_path / "redis.sock"
    words = ("--supervised", "systemd", "--port", "0", "--unixsocket", str(address), "--save", "", "--dir", str(tmp_path))
    spec = ChildSpec(
        "redis", command("redis-server", *words, ready="notify", stdin="null", stdout="null"), start_timeout=20.0, shutdown=10.0
    )
    async with Supervisor("root", [spec]) as root:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(address))
            client.sendall(b"PING\r\n")
            assert client.recv(100) == b"+PONG\r\n"
        status = root.tree().supervisor
        assert status is not None and status.children[0].status == "Ready to accept connections"
    assert not address.exists()
