"""The channel to Claude MPM's monitor: each event once and in order, and a monitor that is slow, gone or broken is nobody's trouble."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import attrs
import pytest

from supervisor import ChildStarted, Event, Record
from workers.config import MpmConfig
from workers.event import NotificationFailed, RestartRefused
from workers.notification import monitor as room
from workers.notification.channel import QUEUE, serving
from workers.notification.monitor import MonitorChannel
from workers.notification.place import EVENTS, PORT, MonitorPlace, is_listened_to, monitor_place

from ..support import ROOT, eventually

pytestmark = pytest.mark.anyio
LEAF = ("guardian", "agents", "claude", "leaf")


def record(seq: int, event: Event | None = None) -> Record:
    return Record("run", seq, float(seq), 0.0, event or ChildStarted(LEAF, generation=seq))


async def never() -> None:
    await anyio.sleep_forever()


async def took(stream: anyio.abc.SocketStream) -> None:
    await stream.send(b"HTTP/1.1 204 No Content\r\n\r\n")


@attrs.define
class Monitor:
    """An HTTP server that answers as it is told, and what it was asked."""

    answer: Callable[[anyio.abc.SocketStream], Awaitable[None]] = took
    who: bytes = json.dumps({"service": "claude-mpm-monitor"}).encode()
    bodies: list[dict[str, Any]] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)
    open: int = 0
    most: int = 0
    port: int = 0

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            async with stream:
                taken = b""
                while b"\r\n\r\n" not in taken:
                    taken += await stream.receive()
                head, _, body = taken.partition(b"\r\n\r\n")
                first, *fields = head.decode().split("\r\n")
                self.asked.append(first)
                if first.startswith("GET"):
                    await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + self.who)
                    return
                length = next(int(field.split(":")[1]) for field in fields if field.lower().startswith("content-length"))
                while len(body) < length:
                    body += await stream.receive()
                self.bodies.append(json.loads(body))
                await self.answer(stream)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass  # who asked has gone
        finally:
            self.open -= 1

    @property
    def seqs(self) -> list[int]:
        return [body["data"]["data"]["seq"] for body in self.bodies]


@asynccontextmanager
async def monitoring(monitor: Monitor) -> AsyncIterator[Monitor]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=monitor.port)
    monitor.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, monitor.serve)
        yield monitor
        tasks.cancel_scope.cancel()


def channel(
    port: int, emitted: list[Event] | None = None, *, known: bool = True, is_taken: Callable[[int], bool] = is_listened_to
) -> MonitorChannel:
    place, kept = MonitorPlace(port=port, is_configured=known), list[Event]() if emitted is None else emitted
    return MonitorChannel(place, kept.append, lambda path: ("session", "/project"), is_taken)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def test_each_event_in_order_one_at_a_time() -> None:
    """The envelope, with the conversation and the working directory; all before the block is left."""
    async with monitoring(Monitor()) as monitor:
        told = channel(monitor.port)
        async with serving([told], never):
            for seq in range(1, 31):
                told.offer(record(seq))
        assert monitor.seqs == list(range(1, 31)) and monitor.most == 1
    assert set(monitor.asked) == {f"POST {EVENTS} HTTP/1.1"}
    body = monitor.bodies[0]["data"]
    assert (body["type"], body["subtype"], body["session_id"], body["cwd"]) == ("claude", "started", "session", "/project")
    assert told.said == ""


async def test_secrets_stay_here() -> None:
    """What is posted went through the redactor."""
    secret = "ghp_" + "A1b2C3d4" * 4 + "E5f6"
    async with monitoring(Monitor()) as monitor:
        told = channel(monitor.port)
        async with serving([told], never):
            told.offer(record(1, RestartRefused(LEAF, f"token {secret}")))
    assert len(monitor.bodies) == 1 and secret not in json.dumps(monitor.bodies)
    assert "redacted" in json.dumps(monitor.bodies)


async def test_who_is_not_there_is_left_alone_and_told_later_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One failure is one event; what comes meanwhile is lost and counted, and the next that arrives is preceded by what is missing."""
    port, emitted = free_port(), list[Event]()
    told = channel(port, emitted)
    async with serving([told], never):
        for seq in range(1, 6):
            told.offer(record(seq))
        await eventually(lambda: told.is_idle)
        assert [type(event) for event in emitted] == [NotificationFailed] and told.lost == 5
        assert told.said == f"5 events lost; http://127.0.0.1:{port}{EVENTS}: connection refused"
        async with monitoring(Monitor(port=port)) as monitor:
            told.offer(record(6))
            await eventually(lambda: told.is_idle)
            assert monitor.asked == []  # not before its pause is over
            monkeypatch.setattr(told, "_again", 0.0)
            told.offer(record(7))
            await eventually(lambda: len(monitor.bodies) == 2)
        first, second = (body["data"]["data"] for body in monitor.bodies)
        assert (first["name"], first["details"]) == ("events_lost", {"from": 1, "to": 6})
        assert (second["name"], second["seq"]) == ("child_started", 7)
        told.offer(record(8))  # it is gone again: the pause begins anew
        await eventually(lambda: told.is_idle)
        assert told._again - anyio.current_time() <= 1 and told.lost == 7


async def test_what_found_no_room_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the word of that does not arrive: the next one says all that is missing."""
    port = free_port()
    told = channel(port)
    for seq in range(1, QUEUE + 11):
        told.offer(record(seq))
    async with serving([told], never):
        await eventually(lambda: told.is_idle)
        told.offer(record(QUEUE + 11))
        await eventually(lambda: told.is_idle)
        assert told.lost == QUEUE + 11
        monkeypatch.setattr(told, "_again", 0.0)
        async with monitoring(Monitor(port=port)) as monitor:
            told.offer(record(QUEUE + 12))
            await eventually(lambda: len(monitor.bodies) == 2)
    assert monitor.bodies[0]["data"]["data"]["details"] == {"from": 1, "to": QUEUE + 11}


async def test_the_pause_grows_and_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds after which a monitor that is gone is tried again: 1, 2, 4 and so on, a minute at most."""
    told = channel(free_port())
    pauses = []
    async with serving([told], never):
        for seq in range(1, 10):
            before = anyio.current_time()
            monkeypatch.setattr(told, "_again", 0.0)
            told.offer(record(seq))
            await eventually(lambda: told.is_idle)
            pauses.append(told._again - before)
    wanted = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(low <= pause < low + 2 for pause, low in zip(pauses, wanted, strict=True))


async def broken(stream: anyio.abc.SocketStream) -> None:
    await stream.send(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")


async def silent(stream: anyio.abc.SocketStream) -> None:
    await stream.receive()  # until whoever asks goes away


async def closing(stream: anyio.abc.SocketStream) -> None:
    await stream.aclose()


async def foreign(stream: anyio.abc.SocketStream) -> None:
    await stream.send(b"SSH-2.0-OpenSSH_9.2\r\n")


async def trickling(stream: anyio.abc.SocketStream) -> None:
    while True:
        await stream.send(b"H")
        await anyio.sleep(0.05)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (broken, "status 500"),
        (silent, "no answer within 0.3 s"),
        (trickling, "no answer within 0.3 s"),
        (closing, "it broke off"),
        (foreign, "what answers there speaks no HTTP"),
    ],
)
async def test_whatever_it_answers(answer: Callable[[Any], Awaitable[None]], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a failure, told once, within the time of one request; nothing waits for it."""
    monkeypatch.setattr(room, "TIMEOUT", 0.3)
    emitted: list[Event] = []
    async with monitoring(Monitor(answer)) as monitor:
        told = channel(monitor.port, emitted)
        async with serving([told], never):
            for seq in range(1, 4):
                told.offer(record(seq))
            await eventually(lambda: told.is_idle)
    (failed,) = emitted
    assert isinstance(failed, NotificationFailed) and failed.channel == "monitor"
    assert failed.reason == f"http://127.0.0.1:{monitor.port}{EVENTS}: {why}"
    assert told.lost == 3


async def slow(stream: anyio.abc.SocketStream) -> None:
    await anyio.sleep(0.7)
    await took(stream)


async def test_the_end_waits_for_it_no_longer_than_its_patience() -> None:
    """What could not be told by then is counted as lost; nothing of the request under way is left."""
    async with monitoring(Monitor(slow)) as monitor:
        told = channel(monitor.port)
        with anyio.fail_after(8):
            async with serving([told], never, patience=60.0):
                for seq in range(1, 31):
                    told.offer(record(seq))
                await eventually(lambda: monitor.bodies)
        await eventually(lambda: monitor.open == 0)
    assert told.said == f"{30 - len(monitor.bodies)} events lost" and len(monitor.bodies) < 8


async def test_more_than_fits_is_lost_and_told() -> None:
    """The queue is bounded; a monitor that could not keep up hears which it has not got."""
    async with monitoring(Monitor()) as monitor:
        told = channel(monitor.port)
        for seq in range(1, QUEUE + 50):
            told.offer(record(seq))
        async with serving([told], never):
            await eventually(lambda: told.is_idle)
            told.offer(record(1000))
    names = [body["data"]["data"]["name"] for body in monitor.bodies]
    assert names.count("events_lost") == 1 and told.lost == 49
    assert monitor.bodies[-2]["data"]["data"]["details"] == {"from": QUEUE + 1, "to": QUEUE + 49}


@pytest.mark.parametrize(
    ("who", "count"),
    [(b'{"service": "claude-mpm-monitor"}', 3), (b'{"service": "something else"}', 0), (b"hello", 0), (b"[" * 5000, 0), (b"{}", 0)],
)
async def test_one_that_was_found_is_asked_who_it_is(who: bytes, count: int) -> None:
    """Whatever else listens there is asked once, gets no events, and is no failure."""
    emitted: list[Event] = []
    async with monitoring(Monitor(who=who)) as monitor:
        told = channel(monitor.port, emitted, known=False)
        async with serving([told], never):
            for seq in range(1, 4):
                told.offer(record(seq))
    assert monitor.asked[0] == "GET /health HTTP/1.1" and len(monitor.asked) == 1 + count
    assert (len(monitor.bodies), emitted, told.said) == (count, [], "")


def record_at(seconds: float, seq: int) -> Record:
    return attrs.evolve(record(seq), monotonic=seconds)


async def test_one_that_is_started_later_is_found() -> None:
    """It is looked for when there is something to tell, once in a minute at most; what was before it is not lost."""
    looks: list[int] = []

    def is_taken(port: int) -> bool:
        looks.append(port)
        return monitor is not None

    monitor, port, emitted = None, free_port(), list[Event]()
    told = channel(port, emitted, known=False, is_taken=is_taken)
    async with serving([told], never):
        for seconds in (100.0, 100.1, 130.0, 159.9):
            told.offer(record_at(seconds, int(seconds)))
        assert looks == [port] and told.is_idle
        async with monitoring(Monitor(port=port)) as monitor:
            told.offer(record_at(159.95, 2))
            assert looks == [port]
            told.offer(record_at(160.0, 3))
            told.offer(record_at(160.1, 4))
            assert looks == [port, port]
            await eventually(lambda: len(monitor.bodies) == 2)
            assert monitor.seqs == [3, 4] and monitor.asked[0] == "GET /health HTTP/1.1"
    assert (emitted, told.said) == ([], "")


@pytest.mark.parametrize("who", [b'{"service": "something else"}', None])
async def test_somebody_else_on_the_port_is_asked_less_and_less(who: bytes | None) -> None:
    """After 2, 4, 8 minutes and so on, at most an hour; whether it speaks HTTP or not, it is told nothing, and is no failure."""
    asked: list[int] = []

    async def speak(stream: anyio.abc.SocketStream) -> None:
        asked.append(int(now))
        async with stream:
            await stream.receive()
            await stream.send(b"SSH-2.0-OpenSSH_9.2\r\n" if who is None else b"HTTP/1.1 200 OK\r\n\r\n" + who)

    emitted, now = list[Event](), 0.0
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, speak)
        told = channel(listener.extra(anyio.abc.SocketAttribute.local_port), emitted, known=False)
        async with serving([told], never):
            for minute in range(300):
                now = minute * 60.0
                told.offer(record_at(now, minute))
                await eventually(lambda: told.is_idle)
        tasks.cancel_scope.cancel()
    assert [minute // 60 for minute in asked] == [0, 2, 6, 14, 30, 62, 122, 182, 242]
    assert (emitted, told.said) == ([], "")


async def test_one_that_was_found_and_goes_is_a_failure() -> None:
    """From then on it is one like any other: told again when it comes back."""
    emitted: list[Event] = []
    async with monitoring(Monitor()) as monitor:
        told = channel(monitor.port, emitted, known=False)
        async with serving([told], never):
            told.offer(record_at(0.0, 1))
            await eventually(lambda: monitor.bodies)
            monitor.answer = broken
            told.offer(record_at(1.0, 2))
            await eventually(lambda: emitted)
    assert isinstance(emitted[0], NotificationFailed) and told.lost == 1


IDLE = """
import sys, runpy
sys.argv = ["supervisor", "--backend", "asyncio", "--", "true"]
try:
    runpy.run_module("supervisor", run_name="__main__")
except SystemExit:
    pass
print(sorted(name for name in sys.modules if name.startswith(("workers.mpm", "workers.notification"))))
"""


def test_where_no_monitor_is_nothing_of_it_is_imported() -> None:
    """A run without one costs a look at a port now and then, and not what speaks to it."""
    if is_listened_to(PORT):
        pytest.skip("there is a monitor")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", IDLE], env=environ, capture_output=True, text=True, timeout=50)
    assert done.stdout.splitlines() == [
        "['workers.notification', 'workers.notification.channel', 'workers.notification.monitor', 'workers.notification.place']"
    ], done.stderr


# ---------------------------------------------------------------- where it is


@pytest.mark.parametrize(
    ("said", "environ", "place"),
    [
        ("off", {"CLAUDE_MPM_SERVER_PORT": "9"}, None),
        ("http://127.0.0.1:9000", {}, MonitorPlace("127.0.0.1", 9000)),
        ("http://box", {}, MonitorPlace("box", 8765)),
        ("http://[::1]:9/", {}, MonitorPlace("::1", 9)),
        ("http://box:9/other/path", {"CLAUDE_MPM_SERVER_PORT": "1"}, MonitorPlace("box", 9, "/other/path")),
        ("auto", {"CLAUDE_MPM_SERVER_PORT": "8770"}, MonitorPlace("127.0.0.1", 8770)),
        ("auto", {"CLAUDE_MPM_MONITOR_PORT": "8771"}, MonitorPlace("127.0.0.1", 8771)),
        ("auto", {"CLAUDE_MPM_SERVER_HOST": "box", "CLAUDE_MPM_SERVER_PORT": "1", "CLAUDE_MPM_MONITOR_PORT": "2"}, MonitorPlace("box", 1)),
        ("auto", {"CLAUDE_MPM_SERVER_HOST": "box"}, MonitorPlace("box", 8765)),
    ],
)
def test_where_it_is_said_to_be(said: str, environ: dict[str, str], place: MonitorPlace | None) -> None:
    """By the configuration, else by Claude MPM's own variables."""
    assert monitor_place(MpmConfig(said).monitor, environ) == place


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "8765.0", "9" * 50])
async def test_a_variable_that_is_no_port_is_a_failure(port: str) -> None:
    """It names the variable; nothing is posted anywhere."""
    place = monitor_place("auto", {"CLAUDE_MPM_SERVER_PORT": port})
    emitted: list[Event] = []
    assert place is not None
    told = MonitorChannel(place, emitted.append, lambda path: (None, None))
    async with serving([told], never):
        told.offer(record(1))
        await eventually(lambda: told.is_idle)
    (failed,) = emitted
    assert isinstance(failed, NotificationFailed) and failed.reason.startswith("CLAUDE_MPM_SERVER_PORT: expected a port")


@pytest.mark.skipif(sys.platform == "win32", reason="there it is not looked for")
def test_a_port_that_nobody_listens_on() -> None:
    """It is not a monitor's, and it can be listened on afterwards."""
    port = free_port()
    assert not is_listened_to(port)
    with socket.create_server(("127.0.0.1", port)):
        assert is_listened_to(port)


@pytest.mark.skipif(sys.platform == "win32", reason="there it is not looked for")
def test_a_listener_of_somebody_else_is_told_nothing(tmp_path: Path) -> None:
    """Anybody on a machine can listen on a port; what we do is for this user alone."""
    (tmp_path / "net").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for owner, ours in ((os.geteuid(), True), (os.geteuid() + 1, False)):
            line = f"   0: 0100007F:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 {owner:5} 0 12345 1\n"
            (tmp_path / "net" / "tcp").write_text(f"  sl  local_address rem_address   st ...\n{line}")
            assert is_listened_to(port, str(tmp_path)) is ours
