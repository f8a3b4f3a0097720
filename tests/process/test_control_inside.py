"""Who is inside of what is supervised may read and change nothing, whatever it does to be taken for somebody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor import ChildSpec, ChildStarted, Supervisor, command, run_token
from supervisor.edge.control import peer as peers
from supervisor.edge.control.peer import Peer
from supervisor.host import reaper
from supervisor.host.ancestry import is_ours
from supervisor.host.identity import identify
from supervisor.host.marker import VARIABLE

from ..support import eventually, eventually_sync
from .conftest import Enclosed
from .control_support import Asker, controlled

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

ASK = """
import json, os, signal, socket, sys, time

socket_file, result = sys.argv[2:4]

def dial():
    directory, name = os.path.split(socket_file)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(f"/proc/self/fd/{os.open(directory, os.O_PATH)}/{name}")
    return connection

def ask(connection):
    stream = connection.makefile("rwb")
    told = {}
    for method, params in (("ping", {}), ("status", {}), ("restart", {"path": "leaf"}), ("stop", {}), ("stop", {"path": "leaf"})):
        stream.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\\n")
        stream.flush()
        answer = json.loads(stream.readline())
        told.setdefault(method, answer.get("error", {}).get("code", 0))
        told["said"] = answer.get("error", {}).get("message", "")
    with open(result + ".part", "w") as file:
        json.dump(told, file)
    os.rename(result + ".part", result)

def leave():
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
"""

WAYS = {
    "directly": "ask(dial())\ntime.sleep(1000)",
    "from a child": """
if os.fork():
    time.sleep(1000)
ask(dial())
time.sleep(1000)
""",
    "as a daemon": """
if os.fork():
    time.sleep(1000)
leave()
ask(dial())
time.sleep(1000)
""",
    "as a daemon with an empty environment": """
if "again" in sys.argv:
    ask(dial())
    time.sleep(1000)
if os.fork():
    time.sleep(1000)
leave()
os.execve(sys.executable, [sys.executable, "-S", "-E", "-c", sys.argv[1], *sys.argv[1:4], "again"], {})
""",
    "over a connection of one that is dead": """
connection = None
there, here = os.pipe()
if os.fork():
    time.sleep(1000)
if (opener := os.fork()) == 0:
    connection = dial()
    if os.fork():
        os._exit(0)
    os.read(there, 1)
    ask(connection)
    time.sleep(1000)
os.waitpid(opener, 0)
os.write(here, b"x")
time.sleep(1000)
""",
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_leaf_can_change_nothing(tmp_path: Path, way: str, cgroup: Enclosed, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told what there is and refused what would change it; the error says why."""
    # as a launcher declares it: else nobody could tell at the end whose a daemon without environment and cgroup was
    monkeypatch.setattr(reaper, "_sole_owner", True)
    result = tmp_path / "result"
    program = ASK + WAYS[way]
    with_socket = tmp_path / "socket"
    starter = f"import os, sys, time\nwhile not os.path.exists({str(with_socket)!r}): time.sleep(0.01)\n"
    starter += (
        f"file = open({str(with_socket)!r}).read()\nsys.argv[1:] = [sys.argv[1], file, {str(result)!r}, *sys.argv[2:]]\nexec(sys.argv[1])"
    )
    leaf = ChildSpec("leaf", command(sys.executable, "-S", "-E", "-c", starter, program, cgroup=cgroup), shutdown=5.0)
    async with controlled(Supervisor("root", [leaf]), tmp_path / "run") as run:
        assert run.control.listener is not None
        part = tmp_path / "part"
        part.write_text(run.control.listener.place.file)
        part.rename(with_socket)
        await eventually(result.exists, 20)
        told = json.loads(result.read_text())
        assert (told["ping"], told["status"]) == (0, 0)
        assert (told["restart"], told["stop"]) == (-32001, -32001)
        said = "is gone" if "dead" in way else "is supervised by this run itself, and may read but change nothing"
        assert said in told["said"]
        assert not run.stop.requested
        assert len(run.of(ChildStarted)) == 1


async def test_who_is_outside_may_change_it(tmp_path: Path) -> None:
    """Another process of the same user that is no descendant of ours: here, this one itself and one that init has adopted."""
    result = tmp_path / "result"
    async with controlled(Supervisor("root", [ChildSpec("leaf", command("sleep", "1000"))], intensity=9), tmp_path / "run") as run:
        with Asker(run.control) as asker:
            assert (await asker.call("restart", path="leaf"))["generation"] == 2
        assert not result.exists()


def orphan(tmp_path: Path, env: dict[str, str]) -> int:
    """A process that is nobody's descendant here, with this environment alone."""
    pid_file = tmp_path / "pid"
    subprocess.run(
        ["/bin/sh", "-c", f"setsid sleep 1000 >/dev/null 2>&1 & echo $! > {pid_file}.part; mv {pid_file}.part {pid_file}"],
        env={"PATH": os.environ["PATH"], **env},
        check=True,
    )
    pid = int(pid_file.read_text())
    eventually_sync(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    return pid


@pytest.fixture
def orphaned(tmp_path: Path) -> Any:
    """Make orphans that are gone in the end."""
    pids: list[int] = []

    def make(env: dict[str, str]) -> int:
        pids.append(orphan(tmp_path, env))
        return pids[-1]

    yield make
    for pid in pids:
        os.kill(pid, 9)


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        (None, False),
        (lambda: f"{run_token()}:1:root/leaf:1", True),
        (lambda: f"0123456789abcdef:1:x:1;{run_token()}:1:root/leaf:1", True),
        (lambda: "0123456789abcdef:1:root/leaf:1", False),
        (lambda: f"x{run_token()}:1:root/leaf:1", False),
    ],
)
def test_the_mark_alone_is_enough(orphaned: Callable[[dict[str, str]], int], value: Callable[[], str] | None, inside: bool) -> None:
    """Of this run, among those of supervisors above or below; that of another run is none."""
    process = identify(orphaned({} if value is None else {VARIABLE: value()}))
    assert process is not None

    assert is_ours(process) is inside
    assert Peer(os.geteuid(), process.pid, process).is_welcome
    assert (Peer(os.geteuid(), process.pid, process).objection() is not None) is inside


def test_a_descendant_is_ours_and_we_are_not() -> None:
    """By descent alone, however far."""
    with subprocess.Popen(["/bin/sh", "-c", "env -i sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        own, one = identify(os.getpid()), identify(grandchild)
        assert own is not None and one is not None
        assert is_ours(one) is True
        assert is_ours(own) is False
        os.kill(grandchild, 9)
    assert is_ours(one) is None


def test_who_cannot_be_seen_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is gone, of another pid namespace, or nobody can look: each is said."""
    own = identify(os.getpid())
    assert own is not None
    assert Peer(0, 7, None).objection() == (
        "process 7, which has connected, is gone or cannot be seen, so nobody can tell whether it is one of those that are supervised here"
    )
    assert "the process that asks is gone or cannot be seen" in (Peer(None, None, None).objection() or "")

    def exhausted(process: object) -> bool:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(peers, "is_ours", exhausted)
    assert Peer(0, own.pid, own).objection() == "nobody can tell who asks: Too many open files"


def test_only_the_same_user_and_root_are_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the modes of the directories say."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert [Peer(uid, 7, None).is_welcome for uid in (1000, 0, 1001, None, -1)] == [True, True, False, True, False]


async def test_another_user_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a reason, and without having been heard."""
    async with controlled(Supervisor("root"), tmp_path) as run:
        uid = os.geteuid()
        monkeypatch.setattr("supervisor.edge.control.server.of_unix", lambda connected: Peer(uid + 4711, 7, None))
        with Asker(run.control) as asker:
            await asker.send(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
            answer = await asker.line()
            assert answer["error"]["code"] == -32001 and str(uid + 4711) in answer["error"]["message"]
            assert await asker.line() is None
        with anyio.fail_after(5):
            await eventually(lambda: run.connections == 0)
