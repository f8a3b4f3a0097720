"""Conversations that are damaged, refused or gone: what the next life does, by a stand-in for the program."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from supervisor import Exit, ExitKind
from workers.claude.resuming import Resuming

from ..claude_code import Api
from ..support import ROOT, run_supervisor
from .claude_run import LEAF, ClaudeRun, guarding_claude, transcripts
from .guarded import Tables

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="runs a POSIX shell")
API = Api("http://127.0.0.1:1", Path("/nowhere"))
on_one = pytest.mark.parametrize("backend", ["trio"])
"""What is done with files is no question of the loop."""
NEVER_GIVES_UP: Tables = {"restart": {"max_attempts": 9, "circuit_failures": 9}}


@contextmanager
def guarding(
    folder: Path, backend: str, *, tables: Tables = NEVER_GIVES_UP, options: tuple[str, ...] = (), tag: str = "", **env: str
) -> Iterator[ClaudeRun]:
    """Run the stand-in under the guardian."""
    program = folder / "claude"
    if not program.exists():
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {ROOT / "tests/children/claude_stand_in.py"} "$@"\n')
        program.chmod(0o755)
    with guarding_claude(folder, backend, API, "", tables=tables, command=(str(program),), options=options, env=env, tag=tag) as run:
        yield run


def told(run: ClaudeRun, *names: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of these names, in their order, with their data."""
    return [(event["event"], event["data"]) for event in run.events if event["event"] in names and event["path"] == LEAF]


def lives(folder: Path) -> list[tuple[str, str]]:
    """With which words each life was to get into its conversation."""
    found = [json.loads(line) for line in (folder / "lives").read_text().splitlines()]
    return [next((name, words[words.index(name) + 1]) for name in ("--resume", "--session-id") if name in words) for words in found]


def hooked(folder: Path) -> list[dict[str, Any]]:
    """What hooks have printed as JSON; what modes say is text."""
    return [json.loads(line) for line in (folder / "hooked").read_text().splitlines() if line.startswith("{")]


def ways(folder: Path) -> list[str]:
    return [way for way, _ in lives(folder)]


def test_a_torn_line_is_cut_before_the_next_life(backend: str, tmp_path: Path) -> None:
    """It goes on with the conversation, and the first thing that it writes is no part of that line."""
    with guarding(tmp_path, backend) as run:
        run.say("tear")
        run.wait_for("transcript_repaired")
        run.say("more")
        assert run.wait_results(2)[-1] == "ok: more"
        run.end_input()
        assert run.finish().returncode == 0
    (transcript,) = transcripts(tmp_path)
    assert [json.loads(line)["message"]["content"][0]["text"] for line in transcript.read_text().splitlines()] == [
        *("tear", "ok: tear"),
        *("more", "ok: more"),
    ]
    ((_, data),) = told(run, "transcript_repaired")
    assert (data["trouble"], data["how"], data["file"]) == ("torn", "cut", str(transcript))
    assert Path(data["kept"]).read_bytes() and data["cut_bytes"] == Path(data["kept"]).stat().st_size
    assert ways(tmp_path) == ["--session-id", "--resume"] and not told(run, "conversation_lost")
    assert "is cut off" in run.told


def restart(run: ClaudeRun, count: int = 1) -> None:
    """Restart it in order for the first, second, ... time; the next one is admitted when it is known whether this one has helped."""
    assert run_supervisor("restart", "claude", cwd=run.folder, env=run.env).returncode == 0
    run.wait_for("restart_completed", count)


@pytest.mark.parametrize(("order", "backend"), [("clear", "trio"), ("forget", "asyncio")])
def test_what_was_captured_is_put_back(backend: str, tmp_path: Path, order: str) -> None:
    """A transcript of zeros, or none at all: the journal has it up to the last capture."""
    with guarding(tmp_path, backend) as run:
        run.say("remember")
        run.wait_results(1)
        restart(run)
        run.say(order)
        run.wait_for("conversation_started", 3)
        run.say("more")
        run.wait_results(3)
        run.end_input()
        assert run.finish().returncode == 0
    ((_, data),) = told(run, "transcript_repaired")
    assert (data["trouble"], data["how"]) == ({"clear": "silent", "forget": "missing"}[order], "restored")
    (transcript,) = transcripts(tmp_path)
    said = [json.loads(line)["message"]["content"][0]["text"] for line in transcript.read_text().splitlines()]
    assert said == ["remember", "ok: remember", "more", "ok: more"]
    assert ways(tmp_path) == ["--session-id", "--resume", "--resume"] and len(set(lives(tmp_path)[1:])) == 1


@on_one
def test_what_the_program_refuses_is_sifted_and_tried_again(backend: str, tmp_path: Path) -> None:
    """Its exit code would end the run, but it says only that this conversation cannot be resumed like that."""
    with guarding(tmp_path, backend) as run:
        run.say("spoil")
        run.wait_for("transcript_repaired")
        run.say("more")
        assert run.wait_results(3)[-1] == "ok: more"
        run.end_input()
        assert run.finish().returncode == 0
    ((_, data),) = told(run, "transcript_repaired")
    assert (data["trouble"], data["how"]) == ("refused", "sifted") and Path(data["kept"]).is_file()
    assert ways(tmp_path) == ["--session-id", "--resume", "--resume"]
    refused = run.named("child_exited", path=LEAF)[1]["data"]["exit"]
    assert (refused["kind"], refused["code"]) == ("abnormal", 1) and "did not resume" in refused["reason"]


@pytest.mark.parametrize(("order", "tries", "backend"), [("die", 1, "asyncio"), ("spoil", 2, "trio")])
def test_what_is_refused_for_good_begins_anew(backend: str, tmp_path: Path, order: str, tries: int) -> None:
    """It is tried again once, where there was something to repair, never a third time; the new one is told what is known of it."""
    with guarding(tmp_path, backend, REFUSES="1") as run:
        run.say("my number is 41")
        run.say(order)
        run.wait_for("conversation_lost")
        run.say("more")
        run.wait_results(3 + tries)
        run.say("and more")
        run.wait_results(4 + tries)
        run.end_input()
        assert run.finish().returncode == 0
    assert ways(tmp_path) == ["--session-id", *["--resume"] * tries, "--session-id"]
    ((_, data),) = told(run, "conversation_lost")
    (_, old), *_, (_, new) = lives(tmp_path)
    assert (data["session_id"], data["trouble"], data["is_told"]) == (old, "refused", True) and new != old
    assert f"claude --resume {old} tries it again" in run.told
    (printed,) = hooked(tmp_path)
    context = printed["hookSpecificOutput"]["additionalContext"]
    assert old in context and "my number is 41" in context and old in printed["systemMessage"]
    assert {path.stem for path in transcripts(tmp_path)} == {old, new}


@on_one
def test_each_life_is_told_until_the_transcript_has_it(backend: str, tmp_path: Path) -> None:
    """The stand-in writes down nothing of what hooks print, as 2.0.77."""
    with guarding(tmp_path, backend) as run:
        run.say("my number is 41")
        run.wait_results(1)
        restart(run)
        shutil.rmtree(next((tmp_path / "state").glob("*/journals")))
        run.say("forget")
        run.wait_for("conversation_lost")
        run.say("one")
        run.wait_results(3)
        restart(run, 2)
        run.say("two")
        run.wait_results(4)
        (transcript,) = transcripts(tmp_path)
        told_once, told_again = hooked(tmp_path)
        with transcript.open("a") as file:
            file.write(json.dumps({"type": "attachment", **told_again}) + "\n")
        restart(run, 3)
        run.say("three")
        run.wait_results(5)
        run.end_input()
        assert run.finish().returncode == 0
    assert len(hooked(tmp_path)) == 2
    assert told_once["hookSpecificOutput"] == told_again["hookSpecificOutput"] and "systemMessage" not in told_again
    assert "my number is 41" in told_again["hookSpecificOutput"]["additionalContext"]
    ((_, data),) = told(run, "conversation_lost")
    assert data["trouble"] == "missing" and data["is_told"]


@on_one
def test_without_hooks_the_new_conversation_knows_nothing_and_that_is_said(backend: str, tmp_path: Path) -> None:
    """There is no other way to tell it that shows to nobody else on this host."""
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.json").write_text('{"disableAllHooks": true}')
    with guarding(tmp_path, backend, REFUSES="1") as run:
        run.say("die")
        run.wait_for("conversation_lost")
        run.end_input()
        run.finish()
    ((_, data),) = told(run, "conversation_lost")
    assert not data["is_told"] and "disableAllHooks" in data["untold"]


@on_one
def test_a_run_that_starts_from_a_state_has_its_transcript_back(backend: str, tmp_path: Path) -> None:
    """Also where it has vanished since."""
    with guarding(tmp_path, backend) as run:
        run.say("remember")
        run.wait_results(1)
        restart(run)
        run.end_input()
        run.finish()
    (transcript,) = transcripts(tmp_path)
    before = transcript.read_bytes()
    transcript.unlink()
    with guarding(tmp_path, backend, options=("--resume",), tag="-later") as later:
        later.say("more")
        later.wait_results(1)
        later.end_input()
        later.finish()
    assert transcript.read_bytes().startswith(before) and lives(tmp_path)[-1] == ("--resume", transcript.stem)
    assert [name for name, _ in told(later, "transcript_repaired", "conversation_lost")] == ["transcript_repaired"]


@on_one
def test_what_is_resumed_is_what_it_was_given(backend: str, tmp_path: Path) -> None:
    """Whatever the program calls it in its first moment: the next life goes on with the same one."""
    with guarding(tmp_path, backend, MISCALLS="1") as run:
        for number in range(1, 4):
            run.say("more")
            run.wait_results(number)
            if number < 3:
                restart(run, number)
        run.end_input()
        run.finish()
    assert ways(tmp_path) == ["--session-id", "--resume", "--resume"] and len({session for _, session in lives(tmp_path)}) == 1
    assert len(transcripts(tmp_path)) == 1 and not told(run, "conversation_lost", "transcript_repaired")


class Stopping:
    """A life that was asked to end."""

    pid = None
    is_stopping = True

    def terminate(self) -> None:
        """It was."""

    def kill(self) -> None:
        """It was."""


@pytest.mark.parametrize(
    ("exit", "refused"),
    [
        (Exit(ExitKind.SHUTDOWN, "", code=1), True),
        (Exit(ExitKind.ABNORMAL, "", signal=6), True),
        (Exit(ExitKind.ABNORMAL, "", code=139), True),
        (Exit(ExitKind.ABNORMAL, "", signal=9, out_of_memory=True), True),
        (Exit(ExitKind.ABNORMAL, "", signal=9), False),
        (Exit(ExitKind.ABNORMAL, "", code=143), False),
        (Exit(ExitKind.NORMAL, "", code=0), False),
    ],
)
def test_what_is_a_refusal(tmp_path: Path, exit: Exit, refused: bool) -> None:
    """An end of its own before it says that it has resumed, or has written anything where it would not say so; a kill may be anybody's."""
    transcript = tmp_path / "t"
    transcript.write_text("x")
    assert Resuming("s", True, transcript).is_refused(exit) is refused
    deaf = Resuming("s", False, transcript)
    assert deaf.is_refused(exit) is refused
    transcript.write_text("more")
    assert not deaf.is_refused(exit)
    assert not Resuming("s", True, None, Stopping()).is_refused(exit)


def test_hooks_that_do_not_run_are_missed_until_they_do(tmp_path: Path) -> None:
    """A life that talks and whose hooks say nothing runs none; the first that says something takes that back."""
    with guarding(tmp_path, "asyncio", DROPS="1") as run:
        run.say("one")
        assert "has not run our hooks" in run.wait_for("hooks_changed")["data"]["unheard"]
        run.say("hooks")
        assert run.wait_for("hooks_changed", 2)["data"]["unheard"] == ""
        run.end_input()
        run.finish()
