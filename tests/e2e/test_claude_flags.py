"""Flags of the real Claude Code that say how a conversation begins: what the first life is given the later ones are not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest

from workers import AssistantMessage, ClaudeSession, InitMessage

from ..claude_code import Api, claude_code, surroundings


@pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])
def test_a_conversation_goes_back_once(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """To the answer that is named; what is said from there on is there after a restart."""

    async def talk() -> None:
        options: dict[str, Any] = {"cwd": tmp_path, "env": surroundings(tmp_path, api.url), "state_dir": tmp_path / "state"}
        async with ClaudeSession([str(claude_code(build))], **options) as session:
            await session.send("kept")
            answers = [message async for message in session.replies() if isinstance(message, AssistantMessage)]
            await session.ask("taken back")
            id = session.session_id
        words = ["--resume", str(id), "--resume-session-at", answers[-1].data["uuid"]]
        async with ClaudeSession([str(claude_code(build)), *words], **options) as session:
            await session.ask("said instead")
            await session.cycle("a fresh start")
            await session.ask("and on")
        assert ["kept", "taken back"] in api.turns and ["kept", "said instead"] in api.turns
        assert api.turns[-1] == ["kept", "said instead", "and on"]

    anyio.run(talk, backend=backend)


def test_a_conversation_stays_in_its_tree_of_the_repository(api: Api, tmp_path: Path) -> None:
    """The program makes one where it is given no name for it; another life finds there what the one before has done."""
    repository = tmp_path / "repository"
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    git = ["git", "-C", str(repository), "-c", "user.email=a@example.com", "-c", "user.name=a"]
    repository.mkdir()
    for words in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "first"]):
        subprocess.run([*git, *words], check=True, env={**os.environ, **own})

    async def talk() -> list[str]:
        places = []
        options: dict[str, Any] = {"cwd": repository, "env": surroundings(tmp_path, api.url, **own), "state_dir": tmp_path / "state"}
        async with ClaudeSession([str(claude_code("native")), "--worktree"], **options) as session:
            for prompt in ("first", "second"):
                await session.send(prompt)
                places += [message.cwd async for message in session.replies() if isinstance(message, InitMessage)]
                await session.cycle("a fresh start")
        return places

    first, second = anyio.run(talk, backend="trio")
    assert first == second and Path(first).is_relative_to(repository / ".claude" / "worktrees")
    assert len([*(repository / ".claude" / "worktrees").iterdir()]) == 1
