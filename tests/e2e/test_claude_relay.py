"""The real Claude Code through pipes: its input and output go on over its lives, and each line reaches exactly one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workers.claude.continuation import GO_ON

from ..claude_code import Api, claude_code, surroundings
from ..support import ROOT, eventually_sync
from .claude_run import LEAF, STREAMS, ClaudeRun, guarding_claude, restart, wait_request

both = pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])
"""Both builds, and both event loops: what is passed on is no question of the loop."""


def answer(text: str, **more: Any) -> str:
    """A prompt that is answered like this."""
    return f"FAKE: {json.dumps([{'text': text, **more}])}"


def asked(api: Api, prompts: list[str]) -> list[str]:
    """Of these prompts, those that the model was asked, in the order in which it heard of them first."""
    heard = [text.strip() for texts in api.turns for text in texts]
    return [text for text in dict.fromkeys(heard) if text in prompts]


def pid_of(run: ClaudeRun, life: int = 1) -> int:
    """The process of one of its lives."""
    pid: int = run.wait_for("child_started", life, path=LEAF)["data"]["pid"]
    return pid


@both
def test_each_line_reaches_exactly_one_life(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """Over a controlled restart and a SIGKILL in the middle of an answer, in order, while a program writes without waiting for anything.

    The prompt whose turn was cut is reported and not said again; each line of the output is whole, also one of megabytes.
    """
    usage, size = {"input_tokens": 10, "output_tokens": 10}, 3_000_000
    prompts = [answer(f"answer {number}", delay=0.2, usage=usage) for number in range(8)]
    prompts[1] += " x" * 150_000
    prompts[2] = answer("answer 2", delay=2, usage=usage)
    prompts[4] = f"FAKE: {json.dumps([{'size': size, 'usage': usage}])}"
    prompts[5] = answer("never heard to its end", chunks=20, drip=5)
    with guarding_claude(tmp_path, backend, api, build, "--include-partial-messages") as run:
        for prompt in prompts:
            run.say(prompt)
        run.end_input()
        run.wait_results(2)
        restart(run)
        wait_request(api, "never heard")
        run.wait_results(5)
        os.kill(pid_of(run, 2), signal.SIGKILL)
        run.wait_results(8)
        finished = run.finish()
        results, lines = run.results, run.lines

    assert finished.returncode == 0
    assert "ended in the middle of this turn" in results.pop(5) and len(results.pop(4)) == size
    assert results == [f"answer {number}" for number in (0, 1, 2, 3, 6, 7)]
    assert asked(api, prompts) == prompts
    (cut,) = run.named("conversation_cut")
    assert "never heard" in cut["data"]["prompts"][0] and cut["generation"] == 2 and cut["data"]["resent"] == 0
    assert [(event["data"]["how"], event["data"]["cut"]) for event in run.named("conversation_started")] == [
        ("new", False),
        ("resumed", False),
        ("resumed", True),
    ]
    error = next(line for line in lines if line["type"] == "result" and line["is_error"])
    assert error["session_id"] == run.named("conversation_started")[0]["data"]["session_id"]


@both
def test_a_prompt_through_a_pipe_is_not_lost(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """A life that was killed before it had said it is followed by one that is given it; one that was killed later by one that goes on."""
    task = 'FAKE: [{"tool": "Bash", "input": {"command": "true"}}, {"hang": true}]'
    with guarding_claude(tmp_path, backend, api, build, "-p", "--allowedTools", "Bash", streams=False, piped=True) as run:
        os.write(run.writer, task.encode())
        run.end_input()
        os.kill(pid_of(run), signal.SIGKILL)
        second = pid_of(run, 2)
        eventually_sync(lambda: any((request.get("step") or {}).get("hang") for request in api.requests), 30, what="the second request")
        os.kill(second, signal.SIGKILL)
        finished = run.finish(60)
    assert (finished.returncode, finished.stdout.strip()) == (0, "end of script"), finished.stderr
    assert [event["data"]["how"] for event in run.named("conversation_started")] == ["new", "new", "resumed"]
    assert [text.strip() for text in api.turns[-1]] == [task, GO_ON]


def test_a_reader_that_goes_away(api: Api, tmp_path: Path) -> None:
    """The program ends as it would by itself, and nobody starts it again."""
    program = (str(claude_code("native")), *STREAMS)
    words = (sys.executable, "-m", "supervisor", "--state-dir", str(tmp_path / "state"), "--name", "claude", "--")
    environ = {name: value for name, value in {**os.environ, **surroundings(tmp_path, api.url)}.items() if value is not None}
    codes, said = [], b""
    for argv in (program, (*words, *program)):
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen(argv, cwd=tmp_path, env={**environ, "PYTHONPATH": str(ROOT)}, **pipes) as process:
            assert process.stdin is not None and process.stdout is not None and process.stderr is not None
            line = {"type": "user", "message": {"role": "user", "content": answer("x", chunks=10, drip=0.1)}}
            process.stdin.write(json.dumps(line).encode() + b"\n")
            process.stdin.flush()
            assert process.stdout.readline()
            process.stdout.close()
            process.stdin.close()
            said = process.stderr.read()
            codes.append(process.wait(30))
    assert codes[0] == codes[1] and said.count(b"started (pid") == 1
