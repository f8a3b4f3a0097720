"""The real Claude Code: what read-only refuses, what turns that off, and what goes on behind a turn."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ..claude_code import Api
from ..support import eventually_sync, run_supervisor
from .claude_run import ClaudeRun, guarding_claude

KEEPER = Path(__file__).parent / "agents" / "keeper.py"
both = pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])


def scripted(*steps: dict[str, Any]) -> str:
    """A prompt that the scripted API answers with these steps."""
    return f"FAKE: {json.dumps(list(steps))}"


def degrade(run: ClaudeRun, mode: str) -> None:
    """Ask for a mode, and wait until hooks can read it."""
    assert run_supervisor("degrade", "claude", mode, cwd=run.folder, env=run.env).returncode == 0
    (file,) = (run.folder / "home").rglob("claude.mode")
    eventually_sync(lambda: file.read_text() == f"{mode}\n", 10, what=mode)


@both
def test_read_only_reaches_subagents_and_servers_until_hooks_are_turned_off(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """Nothing that changes something passes: with bypassed permissions, in a subagent, a notebook, an MCP server, or a skill as it is read.

    The switch is told.
    """
    notebook, called, touched, skilled = (tmp_path / name for name in ("n.ipynb", "called", "touched", "skilled"))
    skill = tmp_path / ".claude" / "skills" / "toucher" / "SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text(f"---\nname: toucher\ndescription: d\nallowed-tools: Bash(touch:*)\n---\n!`touch {skilled}`\n")
    cell: dict[str, Any] = {"cell_type": "code", "id": "c1", "source": "1", "metadata": {}, "outputs": [], "execution_count": None}
    notebook.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    servers = json.dumps({"mcpServers": {"keeper": {"command": sys.executable, "args": ["-S", str(KEEPER), str(called)]}}})
    inner = scripted({"tool": "Bash", "input": {"command": f"touch {touched}"}}, {"text": "the subagent is done"})
    search = {"tool": "ToolSearch", "input": {"query": "select:NotebookEdit,mcp__keeper__keep", "max_results": 5}}
    steps: list[dict[str, Any]] = [
        *([search] if build == "native" else []),
        {"tool": "Read", "input": {"file_path": str(notebook)}},
        {"tool": "NotebookEdit", "input": {"notebook_path": str(notebook), "cell_id": "c1", "new_source": "2", "edit_mode": "replace"}},
        {"tool": "mcp__keeper__keep", "input": {"mib": 0}},
        {"tool": "Skill", "input": {"skill": "toucher"}},
        {
            "tool": "Agent" if build == "native" else "Task",
            "input": {"description": "d", "prompt": inner, "subagent_type": "general-purpose"},
        },
        {"text": "tried all"},
    ]

    def changed() -> list[bool]:
        return ["2" in json.loads(notebook.read_text())["cells"][0]["source"], called.exists(), touched.exists(), skilled.exists()]

    def tried(times: int) -> None:
        run.say(scripted(*steps))
        # the end of a subagent in the background, as the newest builds have them, is a turn of its own
        eventually_sync(lambda: run.results.count("tried all") == times and run.results[-1] in ("tried all", "end of script"), 40)
        run.wait_idle(True)

    options = ("--permission-mode", "bypassPermissions", "--mcp-config", servers, "--strict-mcp-config")
    with guarding_claude(tmp_path, backend, api, build, *options, env={"IS_SANDBOX": "1"}) as run:
        run.wait_for("monitoring_started")
        degrade(run, "read_only")
        tried(1)
        assert changed() == [False, False, False, False]
        if build == "native":  # which is no question of the build
            (tmp_path / "config" / "settings.json").write_text('{"disableAllHooks": true}')
            told = run.wait_for("hooks_changed")["data"]["unheard"]
            assert "settings.json says disableAllHooks" in told
            assert run.wait_for("notification_failed", channel="hooks")["data"]["reason"] == told
            (tmp_path / "config" / "settings.json").write_text("{}")
            assert run.wait_for("hooks_changed", 2)["data"]["unheard"] == ""
        degrade(run, "normal")
        tried(2)
        eventually_sync(lambda: changed() == [True, True, True, True], 20, what="all of it")
        run.end_input()
        run.finish()


@both
def test_read_only_overrules_hooks_that_allow(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """Somebody approves all tools by a hook of their own, which ends before ours or after it."""
    allowed = json.dumps({"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "allow"}})
    own = [{"type": "command", "command": f"sleep {seconds}; echo '{allowed}'"} for seconds in (0, 1)]
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.json").write_text(json.dumps({"hooks": {"PreToolUse": [{"matcher": "*", "hooks": own}]}}))
    steps = [
        {"tool": "Write", "input": {"file_path": str(tmp_path / "w"), "content": "x"}},
        {"tool": "Bash", "input": {"command": "touch b"}},
    ]
    with guarding_claude(tmp_path, backend, api, build) as run:
        run.wait_for("monitoring_started")
        for number, mode in enumerate(("read_only", "normal"), start=1):
            degrade(run, mode)
            run.say(scripted(*steps, {"text": "tried"}))
            run.wait_results(number)
            assert [(tmp_path / name).exists() for name in ("w", "b")] == [mode == "normal"] * 2
        run.end_input()
        run.finish()


@both
def test_tasks_in_the_background_keep_it_busy(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """The turn that began one has ended; it is idle when that has, too: the newest builds tell of it, in others its process is seen."""
    late = tmp_path / "late"
    task = {"tool": "Bash", "input": {"command": f"sleep 5; touch {late}", "run_in_background": True}}
    with guarding_claude(tmp_path, backend, api, build, "--allowedTools", "Bash") as run:
        run.say(scripted(task, {"text": "began it"}))
        assert run.wait_results(1)[0] == "began it"
        run.wait_idle(False)
        run.wait_idle(True)
        assert late.exists()


def test_without_hooks_the_registry_tells_of_turns(api: Api, tmp_path: Path) -> None:
    """Its own command turns them off: a turn is seen to begin, and to end; and a mode that nothing enforces is told of."""
    with guarding_claude(tmp_path, "trio", api, "native", "--safe-mode") as run:
        run.wait_for("conversation_started")
        run.say(scripted({"text": "an answer that takes its time", "chunks": 8, "drip": 1}))
        run.wait_idle(False)
        run.wait_results(1)
        run.wait_idle(True)
        assert run_supervisor("degrade", "claude", "read_only", cwd=tmp_path, env=run.env).returncode == 0
        assert run.wait_for("notification_failed")["data"]["channel"] == "hooks"
        run.end_input()
        run.finish()


def test_settings_that_the_program_rejects_are_told_of(api: Api, tmp_path: Path) -> None:
    """With the user's it drops our hooks, and says so nowhere: that none runs is seen, and that no mode restricts it."""
    with guarding_claude(tmp_path, "trio", api, "native", "--settings", '{"permissions":5}') as run:
        assert run.wait_for("conversation_started")["data"]["unheard"] == ""
        run.say(scripted({"text": "an answer that takes its time", "chunks": 8, "drip": 1}))
        assert "rejected --settings" in run.wait_for("hooks_changed")["data"]["unheard"]
        run.wait_results(1)
        run.wait_idle(True)
        assert run_supervisor("degrade", "claude", "read_only", cwd=tmp_path, env=run.env).returncode == 0
        assert run.wait_for("notification_failed")["data"]["channel"] == "hooks"
        run.end_input()
        run.finish()
        assert len(run.named("hooks_changed")) == 1
