"""What the real Claude Code leaves behind when it is killed: nothing, whoever was killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from ..claude_code import Api, wrapper
from ..support import eventually_sync
from .claude_run import LEAF, guarding_claude
from .guarded import runs
from .test_claude_guards import KEEPER, scripted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes as Linux has them")


@pytest.mark.parametrize(
    ("build", "backend", "killed"), [("native", "trio", "wrapper"), ("node", "asyncio", "program"), ("native", "asyncio", "guardian")]
)
def test_nothing_is_left_of_what_was_killed(build: str, backend: str, killed: str, api: Api, tmp_path: Path) -> None:
    """A stubborn MCP server, and a command in a session of its own, end with the program or its wrapper, or with the guardian.

    The former in the middle of a turn: the next life goes on with the conversation, and the turn is told to have been cut.
    """
    called, tool = tmp_path / "called", tmp_path / "tool"
    servers = json.dumps({"mcpServers": {"keeper": {"command": sys.executable, "args": ["-S", str(KEEPER), str(called), "stubborn"]}}})
    words = ("--mcp-config", servers, "--strict-mcp-config", "--allowedTools", "Bash,mcp__keeper__keep")
    command = ("node", str(wrapper())) if killed == "wrapper" else None
    with guarding_claude(tmp_path, backend, api, build, *words, command=command, env={"ENABLE_TOOL_SEARCH": "false"}) as run:
        run.say(
            scripted(
                {"tool": "mcp__keeper__keep", "input": {"mib": 0}},
                {"tool": "Bash", "input": {"command": f"echo $$ > {tool}; sleep 120", "run_in_background": killed == "guardian"}},
                {"text": "both run"},
            )
        )
        eventually_sync(lambda: tool.exists() and tool.read_text().endswith("\n"), 40, what="the command")
        root = run.wait_for("child_started", path=LEAF)["data"]["pid"]
        left = [int(called.read_text().split()[0]), int(tool.read_text()), root]
        if killed == "wrapper":
            left.append(int(Path(f"/proc/{root}/task/{root}/children").read_text()))
        assert all(map(runs, left))
        os.kill(run.program.pid if killed == "guardian" else root, signal.SIGKILL)
        eventually_sync(lambda: not any(map(runs, left)), 20, what="the end of all of them")
        if killed == "guardian":
            assert run.program.wait().returncode == -signal.SIGKILL
            (lock,) = (tmp_path / "home" / ".local" / "state" / "memory-guardian" / "conversations").iterdir()
            with guarding_claude(tmp_path, backend, api, build, "-p", "hello", streams=False, tag="2") as after:
                assert after.finish(40).returncode == 0
            assert not lock.exists()
            return
        run.wait_for("child_restarted", path=LEAF)
        run.say(scripted({"text": "still here"}))
        assert "ended in the middle of this turn" in run.wait_results(1)[0]
        eventually_sync(lambda: "still here" in run.results, 40, what="the answer of the next life")
        run.end_input()
        run.finish(40)

    begun = [(event["data"]["how"], event["data"]["cut"]) for event in run.named("conversation_started")]
    assert begun == [("new", False), ("resumed", True)]
    (last,) = (turn for turn in api.turns if "still here" in turn[-1])
    assert "both run" in last[0]
