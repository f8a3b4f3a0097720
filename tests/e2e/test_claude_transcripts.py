"""Transcripts of the real Claude Code that are damaged for good, or too large: what its next life does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import uuid
from pathlib import Path

import pytest

from ..claude_code import Api, claude_code, said, surroundings
from ..support import run_supervisor, running
from .claude_run import LEAF, ClaudeRun, guarding_claude, transcripts
from .guarded import Tables


def stop_short(run: ClaudeRun) -> int:
    """Have the life do nothing more, as in the moment in which a host loses power; its process."""
    pid = int(run.named("child_started", path=LEAF)[-1]["data"]["pid"])
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_what_it_cannot_bear_is_taken_out(api: Api, tmp_path: Path) -> None:
    """2.0.77 ends over an answer without content; the life after that has the conversation without it."""
    with guarding_claude(tmp_path, "asyncio", api, "node") as run:
        run.say("my number is 41")
        run.wait_results(1)
        pid = stop_short(run)
        (transcript,) = (path for path in transcripts(tmp_path) if b"my number is 41" in path.read_bytes())
        records = [json.loads(line) for line in transcript.read_text().splitlines()]
        records[-1]["message"]["content"] = None
        transcript.write_text("".join(json.dumps(record) + "\n" for record in records))
        os.kill(pid, signal.SIGKILL)
        run.wait_for("conversation_started", 3)
        run.say("and my letter is x")
        run.wait_results(2)
        run.end_input()
        run.finish()

    ended = [event["data"]["exit"].get("code") for event in run.named("child_exited", path=LEAF)]
    repaired = run.wait_for("transcript_repaired")["data"]
    assert ended[1] == 1 and (repaired["trouble"], repaired["how"]) == ("refused", "sifted")
    assert ["my number is 41", "and my letter is x"] in api.turns and not run.named("conversation_lost")


@pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])
def test_what_was_torn_off_is_put_back(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """The end of a transcript is gone, in the middle of a record: the next life has heard all that was captured."""
    with guarding_claude(tmp_path, backend, api, build) as run:
        for number, text in enumerate(("my number is 41", "and my letter is x"), start=1):
            run.say(text)
            run.wait_results(number)
        run.wait_idle(True)
        assert run_supervisor("capture", "claude", cwd=tmp_path, env=run.env).returncode == 0
        pid = stop_short(run)
        (transcript,) = (path for path in transcripts(tmp_path) if b"my letter is x" in path.read_bytes())
        whole = transcript.read_bytes()
        os.truncate(transcript, whole.index(b"my letter is x") + 5)
        os.kill(pid, signal.SIGKILL)
        run.wait_for("conversation_started", 2)
        run.say("who are you")
        run.wait_results(3)
        run.end_input()
        run.finish()

    repaired = run.wait_for("transcript_repaired")["data"]
    assert (repaired["trouble"], repaired["how"]) == ("torn", "restored") and transcript.read_bytes().startswith(whole)
    assert ["my number is 41", "and my letter is x", "who are you"] in api.turns and not run.named("conversation_lost")


@pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])
def test_what_is_lost_begins_anew_with_what_is_known(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """Neither transcript nor journal can be read: the model is told what the last state knew, also in lives to come, and the user so."""
    with guarding_claude(tmp_path, backend, api, build) as run:
        run.say("my number is 41")
        run.wait_results(1)
        assert run_supervisor("restart", "claude", cwd=tmp_path, env=run.env).returncode == 0
        run.wait_for("child_restarted")
        pid = stop_short(run)
        (transcript,) = (path for path in transcripts(tmp_path) if b"my number is 41" in path.read_bytes())
        transcript.write_bytes(os.urandom(5000))
        shutil.rmtree(next((tmp_path / "state").glob("*/journals")))
        os.kill(pid, signal.SIGKILL)
        run.wait_for("conversation_lost")
        run.say("who are you")
        run.wait_results(2)
        if build == "node":  # which does not write down what it is told
            assert run_supervisor("restart", "claude", cwd=tmp_path, env=run.env).returncode == 0
        run.say("and now")
        run.wait_results(3)
        run.end_input()
        run.finish()

    lost = run.wait_for("conversation_lost")["data"]
    assert (lost["session_id"], lost["is_told"]) == (transcript.stem, True)
    asked = [request["body"] for request in api.requests if request.get("n_tools") and said(request["body"])[-1:] != ["Warmup"]]
    told = [json.dumps(body).count(f"takes the place of another one ({transcript.stem})") for body in asked]
    assert told == [0, 1, 1] and "Asked: my number is 41" in json.dumps(asked[-1])
    begun = [event["data"]["how"] for event in run.named("conversation_started")]
    assert begun == ["new", "resumed", "new", *(["resumed"] if build == "node" else [])]


def test_what_is_too_large_for_the_thresholds_is_not_restarted_for_ever(api: Api, tmp_path: Path) -> None:
    """Each life is critical from its start: that is said, a restart does not help and there is no third, and it goes on."""
    session = str(uuid.uuid4())
    with running(
        str(claude_code("native")), "-p", "hello", "--session-id", session, cwd=tmp_path, env=surroundings(tmp_path, api.url)
    ) as begun:
        assert begun.wait(40).returncode == 0
    (transcript,) = transcripts(tmp_path)
    lengthen(transcript, 60_000_000)
    tables: Tables = {
        "thresholds": {"warning": "80MiB", "critical": "100MiB", "emergency": "8GiB"},
        "restart": {"circuit_failures": 2, "max_attempts": 5, "stability_period": 2},
        "monitoring": {"normal_interval": 0.2, "warning_interval": 0.2, "critical_interval": 0.2, "critical_samples": 2},
    }
    with guarding_claude(tmp_path, "trio", api, "native", "--resume", session, tables=tables) as run:
        run.say("one")
        run.wait_for("restart_failed", timeout=50)
        run.say("two")
        run.wait_results(len(run.results) + 1)
        run.end_input()
        run.finish()

    # how soon after its start it has read the conversation says whether the thresholds were raised in time for no second one
    assert 1 <= len(run.named("child_restarted", path=LEAF)) <= 2
    assert run.named("memory_floor_changed") or "circuit" in run.wait_for("restart_refused")["data"]["reason"]
    (large,) = run.named("transcript_large")
    assert large["data"]["session_id"] == session and large["data"]["size_bytes"] > 60_000_000


def lengthen(transcript: Path, size: int) -> None:
    """Have a conversation go on for so many bytes."""
    records = [json.loads(line) for line in transcript.read_text().splitlines()]
    ask = next(record for record in records if record["type"] == "user")
    answer = next(record for record in reversed(records) if record["type"] == "assistant")
    parent, written = answer["uuid"], 0
    with transcript.open("a") as file:
        while written < size:
            for record, text in ((ask, "why is that so " * 20), (answer, "because it is like that " * 4000)):
                own = str(uuid.uuid4())
                message = {**record["message"], "content": [{"type": "text", "text": text}], "id": f"msg_{own}"}
                written += file.write(json.dumps({**record, "uuid": own, "parentUuid": parent, "message": message}) + "\n")
                parent = own
