"""Keys of the configuration that only a real process shows: what the command is given, and what the hook may do at the same time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from supervisor.leaf.command import Command
from workers import CommandConfig, HealthConfig, HooksConfig, MemoryAwareRunner, MemoryGuardian, MemoryGuardianConfig, NotificationsConfig
from workers.config import described
from workers.guardian import guardian, leaf_spec, leaves_of
from workers.ledger import Ledger

from ..support import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="runs a shell")]


def config(folder: Path, *argv: str) -> MemoryGuardianConfig:
    """A guardian that keeps everything in the folder."""
    return MemoryGuardianConfig(
        state_dir=str(folder / "state"),
        command=CommandConfig(argv=argv, name="shell"),
        health=HealthConfig(interval=0.0),
        notifications=NotificationsConfig(desktop=False),
    )


async def test_a_command_has_its_environment_and_its_directory(tmp_path: Path) -> None:
    """``env`` is added to what it inherits, and it runs in ``working_directory``."""
    made = config(tmp_path, "sh", "-c", 'printf "%s|%s" "$A_COLOUR" "${PATH:+path}" > here')
    (tmp_path / "inner").mkdir()
    command = attrs.evolve(made.command, env={"A_COLOUR": "grey blue"}, working_directory=str(tmp_path / "inner"))
    assert await MemoryAwareRunner(attrs.evolve(made, command=command)).run() == 0
    assert (tmp_path / "inner" / "here").read_text() == "grey blue|path"


async def test_so_many_hooks_run_at_once(tmp_path: Path) -> None:
    """With a ``concurrency`` of three the third event is told while the hooks of the first two still run."""
    script = f"echo >> {tmp_path}/told; until test -e {tmp_path}/go; do sleep 0.05; done"
    hooks = HooksConfig(on_event=("sh", "-c", script), timeout=60.0, concurrency=3)

    def begun() -> int:
        return (tmp_path / "told").read_text().count("\n") if (tmp_path / "told").exists() else 0

    async with MemoryGuardian(attrs.evolve(config(tmp_path, "sleep", "60"), hooks=hooks)) as watching:
        await watching.start_monitoring()
        try:
            await eventually(lambda: begun() == 3, 20, what="three hooks at once")
            assert begun() == 3
        finally:
            (tmp_path / "go").touch()


def test_how_long_a_killed_command_may_take(tmp_path: Path) -> None:
    """``force_kill_timeout`` is the time of the command's own kill, after which it is given up, as the tests of faults show."""
    made = config(tmp_path, "sleep", "60")
    (agent,) = described(attrs.evolve(made, restart_policy=attrs.evolve(made.restart_policy, force_kill_timeout=7.5))).agents
    start = leaf_spec(agent).start
    assert isinstance(start, Command) and start.kill_timeout == 7.5


@pytest.mark.parametrize("interval", [0.0, 5.0])
def test_the_host_is_looked_at_unless_that_is_off(interval: float, tmp_path: Path) -> None:
    """With an ``interval`` of 0 in ``[health]`` there is no worker that would look."""
    run = described(attrs.evolve(config(tmp_path, "sleep", "60"), health=HealthConfig(interval=interval)))
    ledger = Ledger(run, leaves_of(run))
    services: Any = guardian(ledger).specs[0].start
    watch = services.specs[-1].start.specs
    ledger.close()
    assert ("host" in [spec.id for spec in watch]) is bool(interval)
