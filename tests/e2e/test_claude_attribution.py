"""The real Claude Code with something in its tree that grows: a tool, an MCP server, or the program itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ..claude_code import Api
from ..support import ROOT, run_supervisor
from .claude_run import LEAF, ClaudeRun, guarding_claude
from .guarded import Tables

both = pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])

LEAKING: Tables = {
    "thresholds": {"warning": "420MiB", "critical": "560MiB", "emergency": "3GiB"},
    "restart": {"tool_timeout": 5},
    "monitoring": {"warning_interval": 0.2, "critical_interval": 0.2, "normal_interval": 0.2, "critical_samples": 2},
}
"""The program alone is normal; with 500 MiB more it is critical, and a restart would be due after two samples."""

PATIENT: Tables = {**LEAKING, "monitoring": {**LEAKING["monitoring"], "critical_samples": 20}}
"""Four seconds of it: until then a call of the server's is over."""

LEAK = "import time\nheld = bytearray(b'x') * (500 << 20)\ntime.sleep(60)"


def status(run: ClaudeRun) -> dict[str, Any]:
    asked = run_supervisor("status", "--json", cwd=run.folder, env=run.env)
    assert asked.returncode == 0, asked.stderr
    told: dict[str, Any] = json.loads(asked.stdout)["agents"]["claude"]
    return told


def results(api: Api) -> list[str]:
    """What tools came to, in the latest request, as the model is told."""
    (*_, last) = (request for request in api.requests if request.get("n_tools"))
    blocks = [block for message in last["body"]["messages"] if message["role"] == "user" for block in message["content"]]
    return [json.dumps(block["content"]) for block in blocks if isinstance(block, dict) and block.get("type") == "tool_result"]


@both
def test_a_runaway_tool_is_ended_and_the_session_goes_on(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """In the middle of its turn: the model is told how the command ended, the turn goes on, and nothing is restarted."""
    (tmp_path / "leak.py").write_text(LEAK)
    command = f"{sys.executable} -S -E leak.py; echo ended with $?"
    with guarding_claude(tmp_path, backend, api, build, "--allowedTools", "Bash", tables=LEAKING) as run:
        run.say(f"FAKE: {json.dumps([{'tool': 'Bash', 'input': {'command': command}}, {'text': 'and on'}])}")
        assert run.wait_results(1) == ["and on"]
        ended = run.wait_for("tool_ended")["data"]
        told = status(run)
        run.say('FAKE: [{"text": "still here"}]')
        assert run.wait_results(2)[1] == "still here"
        run.end_input()
        run.finish()

    assert (ended["role"], ended["name"], ended["how"]) == ("tool", "Bash", "terminated")
    assert ended["freed_bytes"] == ended["held_bytes"] >= 250 << 20 and "in tool Bash" in ended["reason"]
    assert "ended with 143" in results(api)[0]
    assert run.named("restart_initiated") == [] and len(run.named("child_started", path=LEAF)) == 1
    assert told["growth"]["tools"][0]["name"] == "Bash" and told["growth"]["turns"][0]["tools"] == {"Bash": 1}
    assert {part["role"] for part in told["memory_by"]} == {"program"}


@both
def test_an_mcp_server_that_leaks_is_ended_and_the_program_starts_it_anew(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """Between two turns, as a call of it may be under way. `--mcp-config` says what it is; another is started when needed."""
    server = {"command": sys.executable, "args": ["-S", "-E", str(ROOT / "tests" / "children" / "leaking_server.py")]}
    (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": {"leaking": server}}))
    words = ("--mcp-config", "servers.json", "--allowedTools", "Bash,mcp__leaking__leak")
    critical = f"until grep -q critical {tmp_path}/events.jsonl; do sleep 0.1; done; sleep 1"
    leaks = [{"tool": "mcp__leaking__leak", "input": {"mib": 500}}, {"tool": "Bash", "input": {"command": critical}}, {"text": "and on"}]
    goes_on = [{"tool": "mcp__leaking__leak", "input": {"mib": 3}}, {"text": "as before"}]
    with guarding_claude(tmp_path, backend, api, build, *words, tables=PATIENT, env={"ENABLE_TOOL_SEARCH": "false"}) as run:
        run.say("hello")
        run.wait_results(1)
        run.say(f"FAKE: {json.dumps(leaks)}")
        assert run.wait_results(2)[1] == "and on"
        ended = run.wait_for("tool_ended")["data"]
        assert len([event for event in run.named("claude_hook") if event["data"]["hook"] == "Stop"]) == 2
        run.say(f"FAKE: {json.dumps(goes_on)}")
        assert run.wait_results(3)[2] == "as before"
        told = status(run)
        run.end_input()
        run.finish()

    assert (ended["role"], ended["name"]) == ("mcp", "leaking")
    assert ended["freed_bytes"] == ended["held_bytes"] >= 500 << 20
    before, _, after = results(api)
    assert "holds 500 MiB" in before and "holds 3 MiB" in after and str(ended["pid"]) in before and str(ended["pid"]) not in after
    assert run.named("restart_initiated") == [] and len(run.named("tool_ended")) == 1
    assert {(part["role"], part["name"]) for part in told["memory_by"]} == {("program", ""), ("mcp", "leaking")}
    assert told["growth"]["turns"][-2]["tools"] == {"mcp": 1, "Bash": 1}


def test_the_program_itself_is_restarted(api: Api, tmp_path: Path) -> None:
    """What its tool holds is not why it is at critical: the tool ends with its turn, then the leaf is restarted; the reason says why."""
    due: Tables = {
        "thresholds": {"warning": "10MiB", "critical": "20MiB", "emergency": "8GiB"},
        "restart": {"max_attempts": 1, "ineffective_window": 0},
        "monitoring": {"warning_interval": 0.2, "critical_interval": 0.2, "normal_interval": 0.2, "critical_samples": 10},
    }
    command = f"{sys.executable} -S -E -c 'import time; held = bytearray(b\"x\") * (9 << 20); time.sleep(3)'; echo ended with $?"
    with guarding_claude(tmp_path, "trio", api, "native", "--allowedTools", "Bash", tables=due) as run:
        run.say(f"FAKE: {json.dumps([{'tool': 'Bash', 'input': {'command': command}}, {'size': 4_000_000}])}")
        run.wait_for("child_restarted", timeout=40)
        run.end_input()
        run.finish()

    assert "ended with 0" in results(api)[0] and run.named("tool_ended") == []
    reason = run.named("restart_initiated")[0]["data"]["reason"]
    assert "grew" in reason and "in 1 turn" in reason and "in the program itself" in reason
