"""The real Claude Code over many lives: nothing that was said is lost, and memory stays bounded.

How long is in the environment: a few lives and turns by default, fifty restarts where CI says so, an hour's turns for ``make endurance``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..claude_code import Api, remove_tool_files, scripted_api
from ..support import eventually_sync
from .claude_run import LEAF, guarding_claude, restart, wait_request
from .guarded import Tables
from .test_claude_guards import KEEPER

RESTARTS = int(os.environ.get("CLAUDE_RESTARTS", "6"))
TURNS = int(os.environ.get("CLAUDE_TURNS", "10"))
LIFETIME = 90.0 + max(6 * TURNS, 8 * RESTARTS)
"""Seconds that one of these tests may take."""
KEPT = 60
"""MiB that the server keeps for each call."""

MANY: Tables = {"restart": {"max_attempts": 1000, "circuit_failures": 1000, "ineffective_window": 0}}
LEAKING: Tables = {
    "thresholds": {"warning": "440MiB", "critical": "520MiB", "emergency": "3GiB"},
    "restart": {**MANY["restart"], "stability_period": 1},
    "monitoring": {"normal_interval": 0.1, "warning_interval": 0.1, "critical_interval": 0.1, "critical_samples": 2, "critical_grace": 60},
}
"""The program alone is normal, also when it has just resumed; after some ten calls its tree is critical."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with scripted_api(tmp_path, LIFETIME) as api:
        yield api
    remove_tool_files(tmp_path)


def conversation(api: Api) -> list[str]:
    """What had been said when the API was asked the last time; the subagents that 2.0.77 warms up have conversations of their own."""
    return [turn for turn in api.turns if turn[0].startswith("message ")][-1]


def asked(api: Api) -> Counter[str]:
    """How often the API was asked for the first answer to each prompt."""
    firsts = [request["body"]["messages"][-1] for request in api.requests if request.get("n_tools")]
    texts = [
        block["text"].strip()
        for message in firsts
        if message["role"] == "user"
        for block in ([{"type": "text", "text": message["content"]}] if isinstance(message["content"], str) else message["content"])
        if block.get("type") == "text"
    ]
    return Counter(text for text in texts if "message " in text)


def transcripts(folder: Path) -> list[Path]:
    """Those of the program's conversations."""
    return list((folder / "config" / "projects").glob("*/*.jsonl"))


@pytest.mark.deadline(LIFETIME)
def test_over_many_restarts_nothing_is_lost(api: Api, tmp_path: Path) -> None:
    """Each prompt reaches the API once, in order; every fifth end is a kill in the middle of an answer, which is told as cut."""
    said: list[str] = []
    cut: list[int] = []
    with guarding_claude(tmp_path, "trio", api, "native", tables=MANY) as run:
        for number in range(1, RESTARTS + 1):
            said.append(f"message {number} FAKE: {json.dumps([{'text': f'done {number}', 'hang': not number % 5}])}")
            run.say(said[-1])
            if number % 5:
                assert run.wait_results(number)[-1] == f"done {number}"
                restart(run)
            else:
                wait_request(api, said[-1])
                # the program writes a prompt down a moment after it has asked for the answer
                eventually_sync(
                    lambda: any(f"message {len(said)} " in file.read_text() for file in transcripts(tmp_path)), 20, what="the prompt"
                )
                cut.append(number + 1)
                os.kill(run.wait_for("child_started", number, path=LEAF)["data"]["pid"], signal.SIGKILL)
                assert "ended in the middle of this turn" in run.wait_results(number)[-1]
        said.append('message of the last life FAKE: [{"text": "goodbye"}]')
        run.say(said[-1])
        assert run.wait_results(len(said))[-1] == "goodbye"
        run.end_input()
        assert run.finish().returncode == 0

    assert conversation(api) == said and set(asked(api).values()) == {1}
    begun = [(event["generation"], event["data"]["how"], event["data"]["cut"]) for event in run.named("conversation_started")]
    assert begun == [(1, "new", False), *((number, "resumed", number in cut) for number in range(2, RESTARTS + 2))]
    assert len({event["data"]["session_id"] for event in run.named("conversation_started")}) == 1


@pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])
@pytest.mark.deadline(LIFETIME)
def test_hours_of_work_with_a_server_that_leaks(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """Whenever its tree has grown to critical that is ended between two turns; each turn has its tools and its answer, and none is cut."""
    servers = json.dumps({"mcpServers": {"keeper": {"command": sys.executable, "args": ["-S", str(KEEPER), str(tmp_path / "called")]}}})
    words = ("--mcp-config", servers, "--strict-mcp-config", "--allowedTools", "Bash,mcp__keeper__keep")
    said = []
    with guarding_claude(tmp_path, backend, api, build, *words, tables=LEAKING, env={"ENABLE_TOOL_SEARCH": "false"}) as run:
        for number in range(1, TURNS + 1):
            work = [
                {"tool": "mcp__keeper__keep", "input": {"mib": KEPT}},
                {"tool": "Bash", "input": {"command": f"echo {number} >> worked"}},
                {"text": f"done {number}"},
            ]
            said.append(f"message {number} FAKE: {json.dumps(work)}")
            run.say(said[-1])
            assert run.wait_results(number)[-1] == f"done {number}"
        reliefs = TURNS * KEPT // 520
        eventually_sync(lambda: len(run.named("restart_completed")) + len(run.named("tool_ended")) >= reliefs, 30, what="the last relief")
        run.end_input()
        run.finish()

    assert (tmp_path / "worked").read_text().split() == [str(number) for number in range(1, TURNS + 1)]
    called = [line.split() for line in (tmp_path / "called").read_text().splitlines()]
    assert len(called) == TURNS and max(Counter(pid for pid, _ in called).values()) * KEPT <= 700
    assert conversation(api) == said and set(asked(api).values()) == {1}
    assert not any(event["data"]["cut"] for event in run.named("conversation_started")) and not run.named("restart_failed")
