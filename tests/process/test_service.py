"""The guardian as a service of another program: held by a container, started and stopped from its threads, and nothing is left."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from workers import AsyncGuardianService, GuardianService, MemoryGuardianConfig
from workers.config import CommandConfig

from ..support import ROOT, eventually_sync


def theirs(tmp_path: Path, *argv: str, **more: Any) -> dict[str, Any]:
    """A configuration in the shape of Claude MPM's."""
    return {
        "process": {"command": [sys.executable, "-c", "import time; time.sleep(60)"] if not argv else list(argv)},
        "monitoring": {"normal_interval": 0.05},
        "restart_policy": {"initial_cooldown": 0, "graceful_timeout": 10},
        "persist_state": False,
        **more,
    }


@pytest.fixture
def service(tmp_path: Path, backend: str) -> Iterator[GuardianService]:
    one = GuardianService(theirs(tmp_path), backend)
    yield one
    one.stop()


@pytest.fixture(params=["trio", "asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    return cast("str", request.param)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


class Container:
    """What Claude MPM's does with a service: makes it by its signature, calls `initialize` without waiting, and disposes of it."""

    def __init__(self) -> None:
        self.made: dict[type, Any] = {}

    def get(self, kind: type) -> Any:
        if kind not in self.made:
            parameters = inspect.signature(cast("Any", kind).__init__).parameters
            values = {name: one.default for name, one in parameters.items() if name != "self"}
            assert inspect.Parameter.empty not in values.values()
            self.made[kind] = kind(**values)
            outcome = self.made[kind].initialize()
            assert not inspect.isawaitable(outcome)
        return self.made[kind]

    def dispose(self) -> None:
        for one in reversed(self.made.values()):
            one.dispose()


def test_a_container_makes_it_and_disposes_of_it(tmp_path: Path) -> None:
    """Everything has a default; what it is to do can be said later; disposing of it ends what it runs."""
    container = Container()
    service = container.get(GuardianService)
    assert service.is_initialized and not service.is_running() and container.get(GuardianService) is service
    assert service.initialize(theirs(tmp_path)) is True
    assert service.start() is True
    pid = service.status()["process"]["pid"]
    assert runs(pid)
    container.dispose()
    assert not runs(pid) and service.is_shutdown and not service.is_running()


def test_start_status_stop(service: GuardianService) -> None:
    """What it says is JSON and has the keys that Memory Guardian's had; after the stop no thread of ours is left."""
    before = service.status()
    assert (before["process"]["state"], before["monitoring"]["active"], before["enabled"]) == ("not_started", False, None)
    assert service.start() and service.is_running()
    eventually_sync(lambda: service.status()["memory"]["current_mb"] is not None, what="a sample")
    status = json.loads(json.dumps(service.get_status()))
    assert set(status) == {"enabled", "process", "memory", "restarts", "monitoring", "mode", "faults"}
    assert status["process"]["state"] == "running" and runs(status["process"]["pid"])
    assert 0 < status["memory"]["current_mb"] <= status["memory"]["peak_mb"]
    assert status["memory"]["state"] == "normal" and status["memory"]["thresholds"]["critical_mb"] > 100
    assert status["monitoring"]["active"] and status["monitoring"]["samples"] > 0
    assert status["restarts"] == {"total": 0, "consecutive_failures": 0, "can_restart": True, "recent_attempts": []}
    service.stop()
    assert not runs(status["process"]["pid"]) and not service.is_running()
    assert service.status()["process"] == {"state": "stopped", "pid": None, "uptime_seconds": None, "uptime_hours": None}
    assert not [thread for thread in threading.enumerate() if thread.name == "memory-guardian"]


def test_restarts(service: GuardianService) -> None:
    """Of the process by the guardian, and of the service as a whole."""
    assert not service.restart_process("nothing runs") and service.faults == ("nothing is watched",)
    assert service.start() and service.start() and not service.faults
    first = service.status()["process"]["pid"]
    assert service.restart_process("new tools")
    second = service.status()["process"]["pid"]
    assert second != first and not runs(first)
    (attempt,) = service.status()["restarts"]["recent_attempts"]
    assert (attempt["reason"], attempt["controlled"]) == ("new tools", True)
    assert service.restart()
    third = service.status()["process"]["pid"]
    assert third not in (first, second) and not runs(second)


def test_wrong_arguments_are_no_exception(service: GuardianService) -> None:
    """They are False, with the reason, and what runs goes on; so is a restart that protection refuses."""
    assert service.initialize({**theirs(Path()), "restart_policy": {"max_attempts": 1, "initial_cooldown": 0}})
    for wrong in ("x", -1, True, 1.5):
        assert not service.start(cast("Any", wrong)) and "expected the id of a process" in service.faults[0]
    assert service.start()
    pid = service.status()["process"]["pid"]
    for reason in (5, "", None):
        assert not service.restart_process(cast("Any", reason)) and "expected a text that says why" in service.faults[0]
        assert service.status()["process"]["pid"] == pid and service.status()["faults"] == list(service.faults)
    assert service.restart_process("the only one") and not service.faults
    assert not service.restart_process("one too many") and service.faults[0].startswith("the restart was not done: ")
    assert len(service.faults[0]) > 30 and service.is_running()


def test_a_process_that_runs_already(service: GuardianService) -> None:
    """It is watched, and is still there when the service has stopped."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        try:
            assert service.start(process.pid)
            assert service.status()["process"]["pid"] == process.pid
            assert not service.restart_process("not ours") and "not_owned" in service.faults[0]
            service.stop()
            assert process.poll() is None
        finally:
            process.kill()


def test_a_command_that_ends(tmp_path: Path, backend: str) -> None:
    """The service says so, and can be started again."""
    service = GuardianService(theirs(tmp_path, "sh", "-c", "exit 3"), backend)
    for _ in range(2):
        service.start()
        eventually_sync(lambda: not service.is_running(), what="the end")
        eventually_sync(lambda: service.status()["process"]["state"] == "failed", what="what became of it")
        assert not service.status()["monitoring"]["active"]
    service.stop()
    assert service.status()["process"]["state"] == "stopped"


def test_only_one_at_a_time(tmp_path: Path, service: GuardianService) -> None:
    """The second is refused, with the reason, until the first has stopped."""
    other = GuardianService(theirs(tmp_path))
    assert service.start() and not other.start()
    assert other.faults == ("another GuardianService of this process runs; stop that first",)
    service.stop()
    assert other.start() and not other.faults
    other.stop()


class Broken:
    """A configuration class that fails."""

    def to_dict(self) -> dict[str, Any]:
        raise KeyError("thresholds")


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"thresholds": {"critical": "lots"}}, "config: thresholds.critical: expected a size"),
        ({"thresholds": {"warning": 500, "critical": 400}}, "config: thresholds.warning: warning (500 MiB) must be below"),
        ({"process": {"command": 5}}, "config: process.command: expected a list of strings"),
        (["a"], "expected a configuration, got a list"),
        (Broken(), "to_dict() of the Broken that was given failed: KeyError('thresholds')"),
        ("/no/such.yaml", "/no/such.yaml: the configuration file cannot be read"),
        ("/no/such.toml", "/no/such.toml: the configuration file cannot be read"),
    ],
)
def test_a_wrong_configuration_is_no_exception(config: Any, fault: str) -> None:
    """It is False, with the reason; and nothing starts."""
    service = GuardianService()
    assert service.initialize(config) is False
    assert service.faults[0].startswith(fault) and not service.is_initialized
    assert not service.start() and service.status()["faults"][0].startswith(fault)


def test_what_cannot_be_started_is_no_exception(tmp_path: Path) -> None:
    """Neither is a service that is turned off."""
    service = GuardianService(theirs(tmp_path, "/no/such/program"))
    assert service.initialize() and not service.start()
    assert service.faults == ("command.argv: '/no/such/program' cannot be started: no such command",)
    assert not service.is_running() and service.status()["process"]["state"] == "not_started"
    off = GuardianService(theirs(tmp_path, enabled=False))
    assert not off.start() and "turned off" in off.faults[0]


class Saved:
    """What Memory Guardian's own configuration class is like."""

    def to_dict(self) -> dict[str, Any]:
        return {"thresholds": {"critical_mb": 900}, "process_command": ["claude-code"], "working_directory": None}


def test_all_forms_of_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, a file of ours or theirs, a mapping, what has one, or nothing but variables."""

    def made(config: Any) -> MemoryGuardianConfig:
        service = GuardianService()
        assert service.initialize(config), service.faults
        assert service._config is not None
        return service._config

    (tmp_path / "ours.toml").write_text('[command]\nargv = ["a"]\n')
    (tmp_path / "theirs.yaml").write_text("process_command: [b]\n")
    assert made(MemoryGuardianConfig(command=CommandConfig(("x",)))).command.argv == ("x",)
    assert made(tmp_path / "ours.toml").command.argv == ("a",)
    assert made(str(tmp_path / "theirs.yaml")).command.argv == ("b",)
    assert made({"process_command": ["c"]}).command.argv == ("c",)
    assert made(Saved()).command.argv == ("claude",) and made(Saved()).thresholds.critical is not None
    monkeypatch.setenv("CLAUDE_MPM_PROCESS_COMMAND", "d e")
    assert made(None).command.argv == ("d", "e")
    assert made(tmp_path / "theirs.yaml").command.argv == ("d", "e")  # as there
    assert made({"process_command": ["c"]}).command.argv == ("c",)  # said by the program itself


def test_it_can_be_asked_while_it_starts_and_stops(service: GuardianService) -> None:
    """From other threads, whatever it is doing: an answer, and never a wait for the end of that."""
    over = threading.Event()
    answers: list[str] = []

    def ask() -> None:
        while not over.is_set():
            service.is_running()
            answers.append(service.status()["process"]["state"])

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            assert service.start()
            assert service.status()["process"]["state"] == "running"
            service.stop()
    finally:
        over.set()
        for thread in threads:
            thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert {"running", "stopped"} <= set(answers) <= {"not_started", "starting", "running", "stopping", "stopped"}


@pytest.mark.anyio
async def test_beside_an_event_loop(tmp_path: Path, anyio_backend_name: str) -> None:
    """The same calls, which do not hold up the loop."""
    service = AsyncGuardianService(theirs(tmp_path), anyio_backend_name)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        assert await service.initialize() and await service.start() and service.is_running()
        pid = (await service.status())["process"]["pid"]
        assert await service.restart_process("as asked")
        assert not await service.restart_process("") and "expected a text" in service.faults[0]
        assert await service.restart() and service.faults == ()
        await service.shutdown()
        tasks.cancel_scope.cancel()
    assert turns > 5 and service.is_shutdown and not runs(pid)


FORGETFUL = """
import sys
from workers import GuardianService
words = "trap 'echo asked >asked; exit' TERM; while :; do sleep 0.1; done"
service = GuardianService({"process_command": ["sh", "-c", words], "persist_state": False})
assert service.start(), service.faults
print(service.status()["process"]["pid"], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [False, True])
def test_a_program_that_forgets_to_stop_it(killed: bool, tmp_path: Path) -> None:
    """What was started ends with the program, however that ends: in order, if there is anybody left to ask it."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", FORGETFUL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=tmp_path
    ) as program:
        assert program.stdout is not None and program.stdin is not None
        pid = int(program.stdout.readline())
        assert runs(pid)
        if killed:
            program.send_signal(signal.SIGKILL)
        program.stdin.close()
        program.wait(20)
    eventually_sync(lambda: not runs(pid), what="the end of what it started")
    assert (tmp_path / "asked").exists() is not killed
