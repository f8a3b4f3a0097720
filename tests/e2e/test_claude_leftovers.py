"""What the real Claude Code leaves behind when it ends, or is ended, and what is left of that under the guardian: nothing."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..claude_code import Api, wrapper
from ..support import ROOT, eventually_sync, run_supervisor
from .claude_run import LEAF, ClaudeRun, guarding_claude
from .guarded import runs, sentry_of

both = pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])
"""Both builds, and both event loops: what the program does is no question of the loop."""

TASKS = "setsid sh -c 'echo $$ >> {file}; sleep 61' & (setsid sh -c 'trap \"\" TERM; echo $$ >> {file}; sleep 62; sleep 63' &); sleep 64"
"""A task in the background: itself, one in a session of its own, and one whose parent has gone and that ignores SIGTERM."""


@contextmanager
def guarding(folder: Path, backend: str, api: Api, build: str, command: tuple[str, ...] | None = None) -> Iterator[ClaudeRun]:
    """A session with an MCP server that nothing ends, and one that ends when it is told to."""
    server = {
        name: {"command": sys.executable, "args": ["-S", "-E", str(ROOT / "tests/children/mcp_server.py"), str(folder / "pids"), *more]}
        for name, more in (("stubborn", ["stubborn"]), ("tame", []))
    }
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": server}))
    words = ("--mcp-config", str(folder / "mcp.json"), "--allowedTools", "Bash")
    with guarding_claude(folder, backend, api, build, *words, command=command) as run:
        yield run


def pids(folder: Path) -> list[int]:
    """All that has said that it runs, in all lives."""
    file = folder / "pids"
    return list(map(int, file.read_text().split())) if file.exists() else []


def leave(run: ClaudeRun, count: int) -> list[int]:
    """Have the session begin what it could leave behind; what is there then, of this life: two servers and two tasks, and the program."""
    before = pids(run.folder)
    script = [{"tool": "Bash", "input": {"command": TASKS.format(file=run.folder / "pids"), "run_in_background": True}}, {"text": "begun"}]
    run.say(f"FAKE: {json.dumps(script)}")
    run.wait_results(count)

    def there() -> list[int]:
        found = pids(run.folder)
        return found if len(found) >= len(before) + 2 and len(found) % 4 == 0 else []

    found = eventually_sync(there, 20, what="the servers and the tasks")
    assert all(runs(pid) for pid in found[-4:])
    root = run.named("child_started", path=LEAF)[-1]["data"]["pid"]
    return [*found[-4:], root, *descendants(root)]


def descendants(root: int) -> list[int]:
    """The processes below one."""
    found, below = [], [root]
    while below:
        pid = below.pop()
        try:
            children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            continue
        found += children
        below += children
    return found


def gone(left: list[int]) -> bool:
    return not any(runs(pid) for pid in left)


@both
def test_between_two_lives_nothing_is_left(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """A controlled restart, a SIGKILL, and the end of the input: with each, servers and tasks of the life are gone, however stubborn."""
    with guarding(tmp_path, backend, api, build) as run:
        left = leave(run, 1)
        asked = run_supervisor("restart", "claude", "--now", cwd=tmp_path, env=run.env)
        assert asked.returncode == 0, asked.stderr
        eventually_sync(lambda: gone(left), 20, what="the end of what the restarted life had begun")

        left = leave(run, 2)
        os.kill(left[4], signal.SIGKILL)
        eventually_sync(lambda: gone(left), 20, what="the end of what the killed life had begun")
        run.wait_for("conversation_started", 3)

        left = leave(run, 3)
        run.end_input()
        if build == "native":  # it waits for its tasks
            os.kill(left[4], signal.SIGTERM)
        run.finish(60)
    assert gone(left)


@both
def test_when_a_signal_ends_it_nothing_is_left(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """SIGINT, after which it ends with code 0, and 2.0.77 leaves to themselves what it had begun."""
    with guarding(tmp_path, backend, api, build) as run:
        left = leave(run, 1)
        os.kill(left[4], signal.SIGINT)
        assert run.finish(60).returncode == 0 and gone(left)


@both
def test_when_a_part_of_it_is_killed_nothing_is_left(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """The wrapper of the native build alone, whose program would live on; and the guardian, whose sentry ends them then."""
    command = ("node", str(wrapper())) if build == "native" else None
    with guarding(tmp_path, backend, api, build, command=command) as run:
        count = 1
        if command is not None:
            left = leave(run, count)
            os.kill(left[4], signal.SIGKILL)
            eventually_sync(lambda: gone(left), 20, what="the end of what the wrapper had begun")
            run.wait_for("conversation_started", 2)
            count = 2
        left = leave(run, count)
        sentry = sentry_of(run.program.pid)
        run.program.send(signal.SIGKILL)
        run.program.wait()
        eventually_sync(lambda: gone([*left, sentry]), 20, what="the end of all that the guardian had")
