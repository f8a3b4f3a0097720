"""The launcher below a service manager that a test pretends to be, and commands that think that it is one itself."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from ..support import ROOT, eventually_sync, needs, read_events, run_supervisor, supervising
from .guarded import LEAF, guarding

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sd_notify needs Linux")

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@attrs.define
class Manager:
    """Listens where a service manager would."""

    address: str
    inbox: socket.socket
    heard: list[str] = attrs.field(factory=list)

    def listen(self) -> list[str]:
        """All messages so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(self.inbox.recv(5000).decode())
        return self.heard

    def wait_for(self, message: str) -> None:
        """Until that was said."""
        eventually_sync(lambda: message in self.listen(), what=f"{message} of {self.heard}")


@contextlib.contextmanager
def manager(address: str) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as inbox:
        inbox.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        yield Manager(address, inbox)


@pytest.fixture(params=["path", "abstract"])
def above(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A manager at either kind of address."""
    name = f"manager-{os.getpid()}"
    with manager(f"@{name}" if request.param == "abstract" else str(tmp_path / name)) as found:
        yield found


def test_a_guardian_tells_its_manager(above: Manager, backend: str, tmp_path: Path) -> None:
    """Ready once its leaf is, a status meanwhile, stopping when it is asked to; and the leaf never hears of the manager."""
    go, env = tmp_path / "go", tmp_path / "env"
    script = f"env > {env}.new; mv {env}.new {env}; while [ ! -e {go} ]; do sleep 0.01; done; echo > /dev/fd/$NOTIFY_FD; exec sleep 60"
    words = ("--backend", backend, "--state-dir", tmp_path / "state", "--", "sh", "-c", script)
    more = {"NOTIFY_SOCKET": above.address, "WATCHDOG_USEC": "60000000", "MEMORY_GUARDIAN_COMMAND_READY": "fd"}
    with supervising(*words, cwd=tmp_path, env=more) as program:
        eventually_sync(env.exists)
        above.wait_for("WATCHDOG=1")
        assert "READY=1" not in above.listen()
        go.touch()
        above.wait_for("READY=1")
        program.send(signal.SIGTERM)
        above.wait_for("STOPPING=1")
        finished = program.wait()
    assert finished.returncode == 143
    assert not [line for line in env.read_text().splitlines() if line.startswith(VARIABLES)]
    statuses = [message for message in above.heard if message.startswith("STATUS=")]
    assert any(re.fullmatch(r"STATUS=\d\d:\d\d:\d\d  sh  started \(pid \d+\)", status) for status in statuses), statuses
    order = [message for message in above.listen() if message in ("READY=1", "STOPPING=1")]
    assert order == ["READY=1", "STOPPING=1"]


def test_a_tree_tells_its_manager(above: Manager, backend: str, tmp_path: Path) -> None:
    """``app`` as well; a run that ends by itself says so."""
    (tmp_path / "mytree.py").write_text(
        "from supervisor import *\n"
        "def tree():\n"
        "    leaf = ChildSpec('leaf', command('sh', '-c', 'read line < go', stdin='null'), restart=Restart.TEMPORARY, significant=True)\n"
        "    return Supervisor('root', [leaf], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)\n"
    )
    os.mkfifo(tmp_path / "go")
    with supervising("app", "mytree:tree", "--backend", backend, cwd=tmp_path, env={"NOTIFY_SOCKET": above.address}) as program:
        above.wait_for("READY=1")
        (tmp_path / "go").write_text("go\n")
        assert program.wait().returncode == 0
    assert above.listen()[-1] == "STOPPING=1"
    assert not [message for message in above.heard if message.startswith("WATCHDOG")]


def test_signs_of_life_come_from_the_event_loop(above: Manager, backend: str, tmp_path: Path) -> None:
    """At half of the period; a loop that is stuck sends none, though the process lives."""
    (tmp_path / "mytree.py").write_text(
        "import time, anyio, pathlib\n"
        "from supervisor import *\n"
        "async def stuck():\n"
        "    while not pathlib.Path('stick').exists():\n"
        "        await anyio.sleep(0.01)\n"
        "    time.sleep(3)\n"
        "    await anyio.sleep_forever()\n"
        "def tree():\n"
        "    return Supervisor('root', [ChildSpec('stuck', task(stuck))])\n"
    )
    more = {"NOTIFY_SOCKET": above.address, "WATCHDOG_USEC": "200000"}
    with supervising("app", "mytree:tree", "--backend", backend, cwd=tmp_path, env=more) as program:
        eventually_sync(lambda: above.listen().count("WATCHDOG=1") >= 5)
        (tmp_path / "stick").touch()
        since, count = time.monotonic(), len(above.listen())
        while time.monotonic() - since < 1.0:  # ten times as long as between two signs
            if len(above.listen()) > count:
                since, count = time.monotonic(), len(above.heard)
            assert program.process.poll() is None
            time.sleep(0.01)
        eventually_sync(lambda: len(above.listen()) > count, what="signs of life again")
        program.send(signal.SIGTERM)
        program.wait()


def test_a_watchdog_for_somebody_else_is_none_of_ours(above: Manager, tmp_path: Path) -> None:
    """``WATCHDOG_PID`` names another process."""
    more = {"NOTIFY_SOCKET": above.address, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}
    done = run_supervisor("--state-dir", tmp_path / "state", "--", "sleep", "0.2", cwd=tmp_path, env=more)
    assert done.returncode == 0
    assert "READY=1" in above.listen() and "WATCHDOG=1" not in above.heard


@pytest.mark.parametrize("address", ["vsock:2:1234", "relative", "@", "/no/such/socket", "/" + "x" * 200])
def test_a_manager_that_cannot_be_told_costs_nothing_but_a_note(address: str, tmp_path: Path) -> None:
    """The run goes on, and says once why nobody hears of it."""
    done = run_supervisor("--state-dir", tmp_path / "state", "--", "sh", "-c", "exit 3", cwd=tmp_path, env={"NOTIFY_SOCKET": address})
    assert done.returncode == 3
    assert done.stderr.count("note: the service manager") == 1, done.stderr


def test_redis_under_the_guardian(backend: str, tmp_path: Path) -> None:
    """The distribution's redis-server, unchanged, by configuration alone: ready when it says so, its status told, stopped in order."""
    needs("redis-server", "redis")
    address, events = tmp_path / "redis.sock", tmp_path / "events"
    argv = ["redis-server", "--supervised", "systemd", "--port", "0", "--unixsocket", str(address), "--save", ""]
    file = tmp_path / "guardian.toml"
    file.write_text(f'[command]\nargv = {argv}\nready = "notify"\nstart_timeout = 20\n'.replace("'", '"'))
    words = ("--backend", backend, "--config", file, "--events", events, "--state-dir", tmp_path / "state")
    with supervising(*words, cwd=tmp_path) as program:
        eventually_sync(lambda: [event for event in read_events(events) if event["event"] == "monitoring_started"], 20.0)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(address))
            client.sendall(b"PING\r\n")
            assert client.recv(100) == b"+PONG\r\n"
        program.send(signal.SIGTERM)
        finished = program.wait()
    assert finished.returncode == 0
    told = read_events(events)
    statuses = [event["data"]["status"] for event in told if event["event"] == "child_status"]
    assert "Ready to accept connections" in statuses
    assert not [event for event in told if event["event"] == "notification_ignored"]


def test_a_silent_agent_is_restarted(backend: str, tmp_path: Path) -> None:
    """``watchdog`` of the configuration: silence is a crash with that reason, under the restart word ``crash`` as well."""
    with guarding(tmp_path, backend, "stay", "/", "exit:5", tables={"command": {"watchdog": 0.5}}) as run:
        finished = run.finish()
    assert finished.returncode == 5
    exit = run.named("child_exited", path=LEAF)[0]["data"]["exit"]
    assert (exit["kind"], exit["reason"], exit["signal"]) == ("abnormal", "watchdog: no message within 0.5 s", "SIGABRT")


def test_an_agent_is_up_when_it_prints_its_line(backend: str, tmp_path: Path) -> None:
    """``ready = "line:REGEX"``; what is passed on is its output, byte by byte."""
    script = ("say:warming up", "await:go", "say:listening on port 80", "say:bye", "exit:0")
    with guarding(tmp_path, backend, *script, tables={"command": {"ready": r"line:^listening on port \d+$"}}) as run:
        eventually_sync(lambda: "warming up" in run.program.stdout)
        assert not run.named("child_started", path=LEAF)
        run.touch("go")
        finished = run.finish()
    assert (finished.returncode, finished.stdout) == (0, "warming up\nlistening on port 80\nbye\n")
    assert run.named("child_started", path=LEAF)


def test_an_agent_that_never_says_that_it_is_up(backend: str, tmp_path: Path) -> None:
    """The fault names the key and what was waited for."""
    with guarding(tmp_path, backend, "stay", tables={"command": {"ready": "notify", "start_timeout": 0.5}}) as run:
        finished = run.program.wait()
    assert finished.returncode == 2
    assert "command.start_timeout" in finished.stderr and "no acknowledgement within 0.5 s" in finished.stderr


def test_the_unit_file_of_the_documentation_is_sound(tmp_path: Path) -> None:
    """As `systemd-analyze` sees it, which wants a program that exists."""
    text = (ROOT / "docs" / "systemd.md").read_text()
    units = re.findall(r"```ini\n(.*?)```", text, re.DOTALL)
    assert units
    needs("systemd-analyze", "systemd")
    for number, unit in enumerate(units):
        file = tmp_path / f"agent{number}.service"
        file.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit, flags=re.MULTILINE))
        done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, "")
