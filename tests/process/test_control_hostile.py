"""A hostile or slow client neither slows nor grows the guardian: real launchers, real sockets, their real memory."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from supervisor import ChildSpec, Client, ControlExtension, Event, Supervisor, task
from supervisor.edge.control import connection as connections
from supervisor.edge.control import finding, place, server, wire
from supervisor.edge.control.client import connected

from ..support import Program, eventually, eventually_sync, supervising
from .control_support import Asker, controlled, resident_bytes

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

MIB = 1 << 20
GROWTH = 24 * MIB
"""What a launcher may grow by under attack: the modules that serve, a line for each client, an answer or two."""

TREE = """
import anyio
from supervisor import ChildSpec, Event, Supervisor, task

async def tick(*, task_status):
    # what an attack must not hold up
    task_status.started()
    late = 0.0
    while True:
        began = anyio.current_time()
        await anyio.sleep(0.02)
        late = max(late, anyio.current_time() - began - 0.02)
        with open("late.part", "w") as file:
            file.write(str(late))
        import os
        os.rename("late.part", "late")

def root():
    return Supervisor("root", [ChildSpec("tick", task(tick))])
"""


@attrs.define
class Attacked:
    """A launcher, and where it listens."""

    program: Program
    folder: Path
    at: place.Place
    before: int

    def dial(self) -> socket.socket:
        """A connection."""
        return connected(self.at, 20)

    def answers(self) -> None:
        """It still answers whoever asks in order, in bounded time, and has not grown."""
        began = time.monotonic()
        with Client(self.at, patience=20) as client:
            assert client.call("ping", timeout=20) == "pong"
        assert time.monotonic() - began < 20
        assert resident_bytes(self.program.pid) - self.before < GROWTH

    @property
    def late(self) -> float:
        """The longest time that another task of the loop has waited beyond its time, in seconds."""
        return float((self.folder / "late").read_text())


@pytest.fixture(scope="module", params=["trio", "asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The event loop of the launcher."""
    name: str = request.param
    return name


@contextlib.contextmanager
def attacked(folder: Path, backend: str) -> Iterator[Attacked]:
    """Run a launcher; in the end it still answers and has not grown, and no task of its was held up for long."""
    (folder / "attacked.py").write_text(TREE)
    runtime = folder / "r"
    runtime.mkdir()
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    with supervising("app", "attacked:root", "--backend", backend, cwd=folder, env=environ) as program:
        eventually_sync(lambda: (folder / "late").exists() and bool(finding.found(environ)), 20, what=program.stderr)
        told = Attacked(program, folder, finding.found(environ)[0], 0)
        with Client(told.at) as client:
            # everything that serves is loaded now
            client.call("status")
            client.call("events")
        told.before = resident_bytes(program.pid)
        yield told
        told.answers()
        # generous: the machine is shared
        assert told.late < 3
        assert program.process.poll() is None


def test_a_line_of_100_megabytes(tmp_path: Path, backend: str) -> None:
    """Is not read to its end: a quarter of a megabyte, and it is told why and hung up on."""
    with attacked(tmp_path, backend) as run, run.dial() as connection:
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 100 * MIB:
                sent += connection.send(b"x" * 65536)
        assert sent < 2 * MIB


def test_garbage_and_deep_nesting(tmp_path: Path, backend: str) -> None:
    """Each line is answered as an error, whatever it holds."""
    lines = [b"\0\xff\x80", b"[" * 200_000, b'{"a":' * 40_000, b"9" * 10_000, b"[]", b"null", b"[[],[],[]]", b'"' + b"\\" * 99]
    with attacked(tmp_path, backend) as run, run.dial() as connection, connection.makefile("rb") as stream:
        for line in lines:
            connection.sendall(line + b"\n")
            answer = json.loads(stream.readline())
            for one in answer if isinstance(answer, list) else [answer]:
                assert one["error"]["code"] in (wire.PARSE_ERROR, wire.INVALID_REQUEST), line[:40]


@pytest.mark.deadline(90)
def test_a_flood_of_requests(tmp_path: Path, backend: str) -> None:
    """From eight clients that never pause for seconds: another one is served meanwhile, and the loop's other tasks run."""
    stop = threading.Event()
    answered: list[int] = []

    def flood(run: Attacked) -> None:
        count = 0
        with run.dial() as connection, contextlib.suppress(OSError):
            while not stop.is_set():
                connection.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "status"}\n' * 20)
                for _ in range(20):
                    count += bool(connection.recv(1 << 16))
        answered.append(count)

    with attacked(tmp_path, backend) as run:
        threads = [threading.Thread(target=flood, args=(run,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        used = cpu_seconds(run.program.pid)
        began = time.monotonic()
        try:
            while time.monotonic() - began < 4:
                run.answers()
        finally:
            stop.set()
            share = (cpu_seconds(run.program.pid) - used) / (time.monotonic() - began)
            for thread in threads:
                thread.join(30)
        assert sum(answered) > 0
        # a tenth is what is measured and charged, and not all is
        assert share < 0.6


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_one_that_never_reads(tmp_path: Path, backend: str) -> None:
    """Asks and asks and takes no answer: it is not read from any more, and of its answers one waits."""
    with attacked(tmp_path, backend) as run, contextlib.ExitStack() as held:
        for _ in range(8):
            connection = held.enter_context(run.dial())
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(20_000):
                    connection.send(b"[" + b",".join([b'{"jsonrpc": "2.0", "id": 1, "method": "status"}'] * 30) + b"]\n")
        run.answers()


def test_half_lines_and_silence(tmp_path: Path, backend: str) -> None:
    """A client that says half a word or nothing holds one place, and not for long: the newest always gets one."""
    with attacked(tmp_path, backend) as run, contextlib.ExitStack() as held:
        for number in range(100):
            connection = held.enter_context(run.dial())
            if number % 2:
                connection.sendall(b'{"jsonrpc": "2.0", "id"')
        run.answers()
        first = held.enter_context(run.dial())
        run.answers()
        first.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        assert b"pong" in first.recv(1000)


@pytest.mark.deadline(120)
def test_thousands_of_connections(tmp_path: Path, backend: str) -> None:
    """One after the other and many at once: there are never more than so many, and descriptors are not used up."""
    with attacked(tmp_path, backend) as run:
        descriptors = len(os.listdir(f"/proc/{run.program.pid}/fd"))
        with contextlib.ExitStack() as held:
            for number in range(2000):
                connection = run.dial()
                if number % 4:
                    connection.close()
                else:
                    held.callback(connection.close)
            run.answers()
            assert len(os.listdir(f"/proc/{run.program.pid}/fd")) <= descriptors + server.CONNECTIONS + 2
        eventually_sync(lambda: len(os.listdir(f"/proc/{run.program.pid}/fd")) <= descriptors + 1, 20)


EVENTFUL = pytest.mark.anyio


async def forever(*, task_status: Any) -> None:
    """Run until cancelled."""
    task_status.started()
    await anyio.sleep_forever()


class Long(Event):
    """An event with much to say."""

    name = "long"

    def as_data(self) -> dict[str, Any]:
        """What it says."""
        return {"said": "x" * 10_000}


def quiet() -> Supervisor:
    """A tree that does nothing."""
    return Supervisor("root", [ChildSpec("idle", task(forever))])


@EVENTFUL
async def test_a_follower_that_does_not_read_loses_events_and_is_told_which(tmp_path: Path) -> None:
    """It keeps its place among the events that are kept; publishing never waits for it, and nothing is kept for it alone."""
    async with controlled(quiet(), tmp_path) as run:
        with Asker(run.control) as asker:
            await asker.call("events", follow=True)
            began = run.records[-1].seq
            for _ in range(1000):
                run.tree.emit(Long(("root",)))
            await anyio.sleep(0.05)
            for _ in range(1000):
                run.tree.emit(Long(("root",)))
            last = run.records[-1].seq
            seen: list[int] = []
            lost: list[tuple[int, int]] = []
            while not seen or seen[-1] < last:
                event = (await asker.line())["params"]
                if event["event"] == "events_lost":
                    lost.append((event["data"]["from"], event["data"]["to"]))
                    seen += range(event["data"]["from"], event["data"]["to"] + 1)
                else:
                    seen.append(event["seq"])

    assert lost and last == began + 2000
    assert seen == list(range(1, last + 1))


@EVENTFUL
async def test_who_says_nothing_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason; who has asked once may be silent."""
    monkeypatch.setattr(connections, "FIRST_REQUEST", 0.05)
    async with controlled(quiet(), tmp_path) as run:
        with Asker(run.control) as silent, Asker(run.control) as heard:
            assert await heard.call("ping") == "pong"
            assert "no request within 0.05 s" in (await silent.line())["error"]["message"]
            assert await silent.line() is None
            assert await heard.call("ping") == "pong"


@EVENTFUL
async def test_too_many_clients_make_room_by_merit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has said nothing goes first, then who has been idle longest; who follows or waits for a change goes last."""
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    async with controlled(quiet(), tmp_path) as run:
        with Asker(run.control) as follower, Asker(run.control) as idle, Asker(run.control) as silent:
            await follower.call("events", follow=True)
            await idle.call("ping")
            await eventually(lambda: run.connections == 3)
            with Asker(run.control) as fourth:
                assert await fourth.call("ping") == "pong"
                assert await silent.line() is None
                with Asker(run.control) as fifth:
                    assert await fifth.call("ping") == "pong"
                    assert await idle.line() is None
                    run.tree.emit(Long(("root",)))
                    while (await follower.line()).get("params", {}).get("event") != "long":
                        pass
                    assert await fourth.call("ping") == "pong"
                    assert run.connections == 3


@EVENTFUL
async def test_no_more_than_so_many_changes_are_under_way(tmp_path: Path) -> None:
    """More are not even read before one is done: not of one client, and not more bytes of all than are kept."""
    release = anyio.Event()
    begun = 0

    class Slow(ControlExtension):
        async def restart(self, path: tuple[str, ...], reason: str) -> bool:
            nonlocal begun
            begun += 1
            await release.wait()
            return True

    call = b'{"jsonrpc": "2.0", "id": 1, "method": "restart", "params": ["idle"]}\n'
    async with controlled(quiet(), tmp_path, Slow) as run:
        with Asker(run.control) as asker, Asker(run.control) as other:
            await asker.send(call * (connections.IN_FLIGHT + 5))
            await eventually(lambda: begun == connections.IN_FLIGHT)
            assert await other.call("ping") == "pong"
            assert begun == connections.IN_FLIGHT
            long = b'[{"jsonrpc": "2.0", "id": 1, "method": "restart", "params": ["idle"]}, "' + b"x" * 200_000 + b'"]\n'
            for _ in range(server.HELD_BYTES // len(long) + 1):
                await other.send(long)
            busy = await other.line()
            assert [answer["error"]["code"] for answer in busy] == [wire.BUSY, wire.BUSY]
            release.set()
            for _ in range(connections.IN_FLIGHT + 5):
                assert (await asker.line())["result"]["state"] == "running"


@EVENTFUL
async def test_answers_that_nobody_takes_are_bounded_for_all_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has let them wait longest is hung up on first."""
    monkeypatch.setattr(server, "UNSENT_BYTES", 1 << 20)
    async with controlled(quiet(), tmp_path) as run:
        for _ in range(100):
            run.tree.emit(Long(("root",)))
        batch = b"[" + b",".join([b'{"jsonrpc": "2.0", "id": 1, "method": "events"}'] * 3) + b"]\n"
        with Asker(run.control) as one, Asker(run.control) as two, Asker(run.control) as three:
            for asker in (one, two, three):
                await asker.send(batch)
                await anyio.sleep(0.05)
            # of three there is room for one at most
            assert [await asker.line() is None for asker in (one, two)] == [True, True]


@EVENTFUL
async def test_an_answer_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it each call of a batch is told so."""
    monkeypatch.setattr(connections, "LARGEST_ANSWER", 5_000)
    async with controlled(quiet(), tmp_path) as run:
        with Asker(run.control) as asker:
            await asker.send(b"[" + b",".join([b'{"jsonrpc": "2.0", "id": 1, "method": "status"}'] * 30) + b"]\n")
            answers = await asker.line()

    assert "result" in answers[0]
    assert answers[-1]["error"]["code"] == wire.BUSY
