"""The real Claude Code, both builds, against a scripted API."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import datetime
from pathlib import Path

import pytest

from workers.state.store import StateStore

from ..claude_code import BUILDS, Api, claude_code, surroundings, wrapper
from ..support import eventually_sync, run_supervisor, running, supervising
from .claude_run import LEAF, guarding_claude, transcripts, wait_request
from .guarded import Tables

both = pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])
"""Both builds, and both event loops: what the program does is no question of the loop."""

DUE: Tables = {
    "thresholds": {"warning": "10MiB", "critical": "20MiB", "emergency": "8GiB"},
    "restart": {"max_attempts": 1, "ineffective_window": 0},
    "monitoring": {"warning_interval": 0.2, "critical_interval": 0.2, "normal_interval": 0.2, "critical_samples": 40},
}
"""Its memory is critical from the start on, and a restart is due after eight seconds: by then the program has begun its first turn."""


@pytest.mark.parametrize("build", BUILDS)
def test_it_talks_to_the_scripted_api_alone(build: str, api: Api, tmp_path: Path) -> None:
    """The environment of the tests is enough for a turn, and all that the program writes is in the test's own folder."""
    with running(str(claude_code(build)), "-p", "hello", cwd=tmp_path, env=surroundings(tmp_path, api.url)) as program:
        done = program.wait()

    assert (done.returncode, done.stdout.strip()) == (0, "ok: hello"), done.stderr
    assert ["hello"] in api.turns
    assert list((tmp_path / "config" / "projects").glob("*/*.jsonl"))


@both
def test_a_controlled_restart_between_two_turns_goes_on_with_the_conversation(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """The new life resumes the session that the old one was given, and the API hears what was said before."""
    with guarding_claude(tmp_path, backend, api, build) as run:
        run.say("my number is 41")
        assert run.wait_results(1) == ["ok: my number is 41"]
        asked = run_supervisor("restart", "claude", "--json", cwd=tmp_path, env=surroundings(tmp_path, api.url))
        assert asked.returncode == 0, asked.stderr
        run.say("and my letter is x")
        assert run.wait_results(2)[1] == "ok: and my letter is x"
        run.end_input()
        finished = run.finish()

    begun = [(event["generation"], event["data"]["how"]) for event in run.named("conversation_started")]
    assert begun == [(1, "new"), (2, "resumed")] and finished.returncode == 0
    assert ["my number is 41", "and my letter is x"] in api.turns
    (session,) = {event["data"]["session_id"] for event in run.named("conversation_started")}
    assert session in [path.stem for path in transcripts(tmp_path)]
    captured = StateStore(tmp_path / "state").load(run.named("state_captured")[0]["data"]["file"])
    assert captured.conversation is not None and captured.conversation["session_id"] == session
    assert [message["text"] for message in captured.conversation["messages"]] == ["my number is 41", "ok: my number is 41"]

    with guarding_claude(tmp_path, backend, api, build, options=("--resume",), tag="-resumed") as later:
        later.say("another day")
        later.wait_results(1)
        later.end_input()
        later.finish()
    (begun_later,) = later.named("conversation_started")
    assert (begun_later["data"]["how"], begun_later["data"]["session_id"]) == ("resumed", session)
    assert ["my number is 41", "and my letter is x", "another day"] in api.turns


@both
def test_a_restart_waits_for_the_end_of_the_turn(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """Its memory is critical from the start on; it is restarted when the answer is there and in the transcript, and not before."""
    with guarding_claude(tmp_path, backend, api, build, tables=DUE) as run:
        run.say('FAKE: [{"tool": "Bash", "input": {"command": "sleep 8; echo slept"}}, {"text": "the answer", "delay": 1}]')
        started = wait_request(api, "the answer")["t"]
        assert run.wait_results(1) == ["the answer"] and time.time() - started >= 8
        run.wait_for("child_restarted")
        run.say("go on")
        assert run.wait_results(2)[1] == "end of script"
        run.end_input()
        run.finish()

    initiated = run.wait_for("restart_initiated")
    assert datetime.fromisoformat(initiated["time"]).timestamp() >= started + 9
    assert any("go on" in texts and any("the answer" in text for text in texts) for texts in api.turns)
    said = [record for path in transcripts(tmp_path) for record in map(json.loads, path.read_text().splitlines())]
    assert [
        r["message"]["content"][0]["text"] for r in said if r["type"] == "assistant" and not r["message"]["content"][0].get("name")
    ] == [
        "the answer",
        "end of script",
    ]
    assert [event["data"]["cut"] for event in run.named("conversation_started")] == [False, False]


@both
def test_prompts_that_wait_are_not_lost(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """They were read while a turn lasted, by a life whose restart was due: it has them answered first."""
    with guarding_claude(tmp_path, backend, api, build, tables=DUE) as run:
        run.say('FAKE: [{"text": "the first", "delay": 9}]')
        wait_request(api, "the first")
        run.say("the second")
        run.say("the third")
        run.wait_for("child_restarted", timeout=40)
        run.say("the fourth")
        eventually_sync(lambda: any(texts[-1].strip() == "the fourth" for texts in api.turns), 30, what="the fourth")
        run.end_input()
        run.finish()

    (*_, last) = api.turns
    assert [text.strip() for text in last[1:]] == ["the second", "the third", "the fourth"]


@both
def test_a_crash_in_the_middle_of_an_answer_goes_on_with_the_conversation(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """The new life is told to be in the same conversation, and that the turn was cut; what was answered before is not lost."""
    with guarding_claude(tmp_path, backend, api, build) as run:
        run.say("first")
        run.wait_results(1)
        run.say('FAKE: [{"text": "never heard to its end", "chunks": 20, "drip": 5}]')
        wait_request(api, "never heard")
        run.wait_idle(False)
        os.kill(run.wait_for("child_started", path=LEAF)["data"]["pid"], signal.SIGKILL)
        run.wait_for("conversation_started", 2)
        run.say("second")
        run.wait_results(2)
        run.end_input()
        run.finish()

    begun = [(event["data"]["how"], event["data"]["cut"]) for event in run.named("conversation_started")]
    assert begun == [("new", False), ("resumed", True)]
    assert next(texts for texts in api.turns if texts[-1] == "second")[0] == "first"


def test_who_works_on_one_task_is_told_to_go_on_with_it(api: Api, tmp_path: Path) -> None:
    """A crash in the middle of it: the next life says the rest, in the same conversation, and ends with the task."""
    tables: Tables = {"restart": {"continue_prompt": 'FAKE: [{"text": "the rest"}]'}}
    task = 'FAKE: [{"tool": "Bash", "input": {"command": "true"}}, {"hang": true}]'
    with guarding_claude(tmp_path, "trio", api, "native", "-p", task, tables=tables, streams=False) as run:
        eventually_sync(lambda: any((request.get("step") or {}).get("hang") for request in api.requests), 30, what="the second request")
        os.kill(run.wait_for("child_started", path=LEAF)["data"]["pid"], signal.SIGKILL)
        finished = run.finish(40)

    assert (finished.returncode, finished.stdout.strip()) == (0, "the rest")
    assert [(event["data"]["how"], event["data"]["cut"]) for event in run.named("conversation_started")] == [
        ("new", False),
        ("resumed", True),
    ]
    assert len(api.turns[-1]) == 2 and api.turns[-1][0] == task


def test_an_interrupt_is_no_success(api: Api, tmp_path: Path) -> None:
    """The program ends with code 0, which is the run's; but nobody takes it for the end of its task."""
    with guarding_claude(tmp_path, "trio", api, "native", "-p", 'FAKE: [{"hang": true}]', streams=False) as run:
        wait_request(api, "hang")
        os.kill(run.wait_for("child_started", path=LEAF)["data"]["pid"], signal.SIGINT)
        finished = run.finish(40)

    exit = run.named("child_exited", path=LEAF)[-1]["data"]["exit"]
    assert (finished.returncode, exit["kind"], exit["code"]) == (0, "shutdown", 0) and "interrupted" in exit["reason"]


def test_the_wrapper_of_the_package_and_a_conversation_that_the_program_names(api: Api, tmp_path: Path) -> None:
    """Where npm runs no scripts a script of Node's is between; ``--continue`` is learned from the program, and resumed by its id."""
    environ = surroundings(tmp_path, api.url)
    with running(str(claude_code("native")), "-p", "long ago", cwd=tmp_path, env=environ) as before:
        assert before.wait().returncode == 0
    (transcript,) = transcripts(tmp_path)
    with guarding_claude(tmp_path, "asyncio", api, "native", "--continue", command=("node", str(wrapper()))) as run:
        run.say("and now")
        run.wait_results(1)
        os.kill(run.wait_for("child_started", path=LEAF)["data"]["pid"], signal.SIGKILL)
        run.wait_for("conversation_started", 2)
        run.say("and then")
        run.wait_results(2)
        run.end_input()
        run.finish()

    begun = [(event["data"]["how"], event["data"]["session_id"]) for event in run.named("conversation_started")]
    assert begun == [("as_given", None), ("resumed", transcript.stem)]
    assert ["long ago", "and now", "and then"] in api.turns


def test_a_conversation_that_somebody_else_is_in(backend: str, tmp_path: Path) -> None:
    """It is not entered a second time: exit code 2, and what to do; whoever is in it goes on."""
    session = "aaaaaaaa-0000-4000-8000-000000000001"
    stand_in = tmp_path / "claude"
    stand_in.write_text('#!/bin/sh\nprintf "%s " "$@" >> told; echo >> told; read -r line\n')
    stand_in.chmod(0o755)
    words = ("--backend", backend, "--state-dir", tmp_path / "state", "--", stand_in, "--resume", session)
    reader, writer = os.pipe()
    try:
        with supervising(*words, cwd=tmp_path, stdin=reader) as first:
            eventually_sync((tmp_path / "told").exists, what="the first one")
            second = run_supervisor(*words, cwd=tmp_path)
            os.write(writer, b"\n")
            assert first.wait().returncode == 0
    finally:
        os.close(reader)
        os.close(writer)
    assert second.returncode == 2 and "--fork-session" in second.stderr
    (told,) = (tmp_path / "told").read_text().splitlines()
    assert told.startswith("--settings ") and told.endswith(f" --resume {session} ")


@both
def test_a_turn_that_is_interrupted_is_over(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """No hook says so: it is seen in the registry, and where there is none in the transcript; the next turn is one again."""
    with guarding_claude(tmp_path, backend, api, build, "--allowedTools", "Bash") as run:
        run.say('FAKE: [{"tool": "Bash", "input": {"command": "touch began; sleep 60"}}]')
        eventually_sync((tmp_path / "began").exists, 30, what="the tool")
        run.wait_idle(False)
        run.interrupt()
        run.wait_idle(True)
        run.say('FAKE: [{"tool": "Bash", "input": {"command": "touch again; sleep 60"}}]')
        eventually_sync((tmp_path / "again").exists, 60, what="the tool of the next turn")
        run.wait_idle(False)


@both
def test_modes_bind_a_program_that_runs(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """Read-only and back, and no new prompts in an emergency: no restart, and both the model and the user are told why."""

    def trying(name: str) -> str:
        write = {"tool": "Write", "input": {"file_path": str(tmp_path / name), "content": "x"}}
        shell = {"tool": "Bash", "input": {"command": f"touch {tmp_path / name}.sh"}}
        return f"{'long ' * 20_000 if name == 'a' else ''} FAKE: {json.dumps([write, shell, {'text': f'tried {name}'}])}"

    def degrade(mode: str) -> None:
        asked = run_supervisor("degrade", "claude", mode, "--reason", f'the "disk" is {mode}', cwd=tmp_path, env=run.env)
        assert asked.returncode == 0, asked.stderr
        (file,) = (tmp_path / "home").rglob("claude.mode")
        eventually_sync(lambda: file.read_text() == f"{mode}\n", 10, what=mode)

    def answers() -> list[str]:
        (*_, last) = (request for request in api.requests if request.get("n_tools"))
        return [json.dumps(block) for block in last["body"]["messages"][-1]["content"] if block.get("type") == "tool_result"]

    with guarding_claude(tmp_path, backend, api, build, "--permission-mode", "acceptEdits", "--allowedTools", "Bash") as run:
        run.wait_for("monitoring_started")
        for number, (mode, name) in enumerate([("normal", "a"), ("read_only", "b"), ("normal", "c")], start=1):
            degrade(mode)
            run.say(trying(name))
            assert run.wait_results(number)[-1] == f"tried {name}"
            told = "".join(answers())
            assert ("read-only for now (the 'disk' is read_only): no tool" in told) is (mode == "read_only")
            assert "printf" not in told  # the words, and not the hook's source
        degrade("emergency")
        run.say("unheard of")
        run.wait_results(4)
        if build == "native":
            (refused,) = (line["content"] for line in run.lines if line.get("subtype") == "informational")
            assert "no new prompts for now (the 'disk' is emergency)" in refused and "printf" not in refused
        degrade("normal")
        run.say("goodbye")
        run.wait_results(5)
        run.end_input()
        run.finish()

    assert [name for name in ("a", "a.sh", "b", "b.sh", "c", "c.sh") if (tmp_path / name).exists()] == ["a", "a.sh", "c", "c.sh"]
    warned = [f"spared for now (the 'disk' is {mode})" for mode in ("read_only", "normal")]
    assert [any(words in json.dumps(request.get("body")) for request in api.requests) for words in warned] == [True, False]
    assert not any("unheard of" in text for texts in api.turns for text in texts)
    assert len(run.named("conversation_started")) == 1
