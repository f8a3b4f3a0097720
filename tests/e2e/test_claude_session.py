"""A program that talks with the real Claude Code, both builds, over restarts, kills, interruptions and its end."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor import DynamicSupervisor
from workers import (
    AssistantMessage,
    ClaudeSession,
    ControlRequest,
    InitMessage,
    Message,
    OpaqueMessage,
    RequestFailedError,
    RequestTimeoutError,
    ResultMessage,
    ToolResultBlock,
    Turn,
    TurnCutError,
    UserMessage,
)

from ..claude_code import Api, claude_code, surroundings
from ..support import eventually

both = pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])


def steps(*steps: dict[str, Any]) -> str:
    return f"FAKE: {json.dumps(steps)}"


async def asked(api: Api, text: str) -> None:
    """Wait until the model is asked for an answer to something."""
    await eventually(lambda: any(text in said for texts in api.turns for said in texts), 40, what=f"a request about {text}")


@pytest.mark.deadline(150)
@both
def test_a_program_talks_with_it(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """Turns with their messages, a restart between two, a kill within one, an interruption, a mode, a request that it does not know; and
    after its end nothing is left of it, with a task in the background, too."""

    async def talk() -> None:
        options: dict[str, Any] = {"cwd": tmp_path, "env": surroundings(tmp_path, api.url), "state_dir": tmp_path / "state"}
        async with (
            DynamicSupervisor("root", intensity=9) as root,
            ClaudeSession([str(claude_code(build)), "--allowedTools", "Bash"], supervisor=root, name="it", grace=3, **options) as session,
        ):
            await session.send("my number is 41")
            messages: list[Message] = [message async for message in session.replies()]
            assert isinstance(messages[0], InitMessage) and isinstance(messages[-1], ResultMessage)
            assert [message.text for message in messages if isinstance(message, AssistantMessage)] == ["ok: my number is 41"]
            assert not [message for message in messages if isinstance(message, OpaqueMessage)]

            await session.cycle("a fresh start")
            assert (await session.ask("and my letter is x")).text == "ok: and my letter is x"
            assert api.turns[-1] == ["my number is 41", "and my letter is x"] and session.generation == 2

            turn = await session.send(steps({"text": "a slow answer", "chunks": 10, "drip": 0.15}), idempotent=True)
            await asked(api, "a slow answer")
            os.kill(session.pid or 0, signal.SIGKILL)
            assert (await turn.result()).text == "a slow answer" and turn.repeated == 1 and session.generation == 3

            turn = await session.send(steps({"hang": True, "text": "never"}))
            await asked(api, "never")
            os.kill(session.pid or 0, signal.SIGKILL)
            with pytest.raises(TurnCutError):
                await turn.result()

            turn = await session.send(steps({"tool": "Bash", "input": {"command": "touch began; sleep 60"}}))
            await eventually((tmp_path / "began").exists, 40)
            await session.interrupt()
            assert (await turn.result()).subtype == "error_during_execution"

            await session.set_permission_mode("plan")
            with pytest.raises(RequestFailedError if build == "native" else RequestTimeoutError):
                await session.request("unheard_of", timeout=10 if build == "native" else 1)
            await session.set_permission_mode("default")
            task = {"tool": "Bash", "input": {"command": "touch there; sleep 50", "run_in_background": True}}
            assert (await session.ask(steps(task, {"text": "it runs"}))).text == "it runs"
            await eventually((tmp_path / "there").exists)
        assert session.exit is not None and session.pid is None

        async with ClaudeSession([str(claude_code(build))], **options) as session:
            turn = await session.send(steps({"hang": True, "text": "no end"}))
            await asked(api, "no end")
            await session.interrupt()
            assert not (await turn.result()).is_success
        # the program takes a turn that was interrupted for its failure; there is nothing that another life would do
        assert session.generation == 1 and session.exit is not None and session.exit.is_clean

    anyio.run(talk, backend=backend)


@both
def test_a_program_is_asked_what_tools_may_do(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """Its answers are taken, each way; a restart waits for them, and a question of a life that was killed asks for none."""

    async def talk() -> None:
        options: dict[str, Any] = {"cwd": tmp_path, "env": surroundings(tmp_path, api.url), "state_dir": tmp_path / "state"}
        async with ClaudeSession([str(claude_code(build)), "--permission-prompt-tool", "stdio"], **options) as session:

            async def write(name: str) -> tuple[Turn, ControlRequest]:
                file = str(tmp_path / name)
                turn = await session.send(steps({"tool": "Write", "input": {"file_path": file, "content": "x"}}, {"text": f"tried {name}"}))
                while not isinstance(message := await anext(turn), ControlRequest):
                    pass
                assert (message.subtype, message.request["tool_name"]) == ("can_use_tool", "Write")
                assert message.request["input"] == {"file_path": file, "content": "x"}
                return turn, message

            with anyio.fail_after(120):
                turn, question = await write("allowed")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(session.cycle, "a fresh start")
                    await anyio.wait_all_tasks_blocked()
                    await session.respond(question, {"behavior": "allow", "updatedInput": {**question.request["input"], "content": "y"}})
                    assert (await turn.result()).text == "tried allowed"
                assert (tmp_path / "allowed").read_text() == "y" and session.generation == 2

                turn, question = await write("denied")
                await session.respond(question, {"behavior": "deny", "message": "not today"})
                results = [block async for message in turn if isinstance(message, UserMessage) for block in message.blocks]
                assert [block.text for block in results if isinstance(block, ToolResultBlock)] == ["not today"]

                turn, question = await write("cut")
                os.kill(session.pid or 0, signal.SIGKILL)
                with pytest.raises(TurnCutError):
                    await turn.result()
                await session.respond(question, {"behavior": "allow", "updatedInput": question.request["input"]})
                assert (await session.ask("and on")).is_success and session.generation == 3
        assert not (tmp_path / "denied").exists() and not (tmp_path / "cut").exists()

    anyio.run(talk, backend=backend)
