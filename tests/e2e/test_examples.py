"""The examples do what their first lines say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..leaks import end, read_process
from ..support import ROOT, eventually_sync, running

AGENT = str(ROOT / "examples" / "leaky_agent.py")


def turns(conversation: Path) -> list[dict[str, Any]]:
    """The whole records of a conversation file."""
    if not conversation.exists():
        return []
    return [json.loads(line) for line in conversation.read_text().splitlines(keepends=True) if line.endswith("\n")]


def arguments(conversation: Path, *more: str) -> list[str]:
    """A command line for a small and fast agent."""
    return [sys.executable, AGENT, "--conversation", str(conversation), "--step-mib", "8", "--interval", "0.02", "--life", "30", *more]


def test_the_agent_ends_after_its_turns_and_leaves_nothing(tmp_path: Path) -> None:
    """One life: as many records as turns, exit code 0, no process left."""
    conversation = tmp_path / "conversation.jsonl"
    with running(*arguments(conversation, "--turns", "4")) as program:
        ended = program.wait()

    assert ended.returncode == 0, ended.stderr
    assert [turn["turn"] for turn in turns(conversation)] == [1, 2, 3, 4]
    assert "done after 4 turns and 1 life" in ended.stdout


def test_a_killed_agent_resumes_where_it_was(tmp_path: Path) -> None:
    """SIGKILL in the middle costs at most the turn under way, and a torn last line is repaired."""
    conversation = tmp_path / "conversation.jsonl"
    with running(*arguments(conversation, "--turns", "10000")) as program:
        eventually_sync(lambda: len(turns(conversation)) >= 3)
        program.send(signal.SIGKILL)
        program.wait()
    _sweep_tool(conversation)
    done = len(turns(conversation))
    with conversation.open("ab") as file:
        file.write(b'{"turn": 99, "li')

    with running(*arguments(conversation, "--turns", str(done + 2))) as program:
        ended = program.wait()

    assert f"resumed at turn {done} (life 2" in ended.stdout
    assert [turn["turn"] for turn in turns(conversation)] == list(range(1, done + 3))
    assert [turn["life"] for turn in turns(conversation)] == [1] * done + [2] * 2


def test_its_child_leaks_and_not_its_root(tmp_path: Path) -> None:
    """The memory is real, it climbs in the server, and the root stays small."""
    conversation = tmp_path / "conversation.jsonl"
    with running(*arguments(conversation, "--turns", "10000", "--most-mib", "80")) as program:
        eventually_sync(lambda: len(turns(conversation)) >= 11)
        record = turns(conversation)[-1]
        leaked, root = _private_mib(record["mcp"]), _private_mib(record["agent"])
        program.send(signal.SIGKILL)
        program.wait()
    _sweep_tool(conversation)

    assert record["agent"] == program.pid
    assert 80 <= leaked < 120
    assert root < 24


def test_asked_to_end_it_answers_and_its_tool_does_not(tmp_path: Path) -> None:
    """SIGTERM ends the agent and its server with 143; the tool ignores it in a session of its own: the guardian's case."""
    conversation = tmp_path / "conversation.jsonl"
    with running(*arguments(conversation, "--turns", "10000")) as program:
        eventually_sync(lambda: turns(conversation))
        record = turns(conversation)[-1]
        assert os.getsid(record["tool"]) == record["tool"]
        assert os.getpgid(record["mcp"]) == program.pid
        os.killpg(program.pid, signal.SIGTERM)
        os.kill(record["tool"], signal.SIGTERM)
        ended = program.wait()
        eventually_sync(lambda: not _runs(record["mcp"]))

    assert ended.returncode == 143
    assert _runs(record["tool"])
    _sweep_tool(conversation)


def test_nobody_listening_is_no_error(tmp_path: Path) -> None:
    """A reader that goes away ends the agent without a traceback."""
    process = subprocess.Popen(
        arguments(tmp_path / "c.jsonl", "--turns", "10000"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    with process.stderr:
        process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
    process.wait(10)
    eventually_sync(lambda: turns(tmp_path / "c.jsonl"))
    _sweep_tool(tmp_path / "c.jsonl")

    assert told == ""


def _sweep_tool(conversation: Path) -> None:
    tool = read_process(turns(conversation)[-1]["tool"])
    if tool is not None:
        end(tool)
        eventually_sync(lambda: not _runs(tool.pid))


def _runs(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and process.state != "Z"  # how soon init reaps is not ours


def _private_mib(pid: int) -> float:
    resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE") / 2**20
