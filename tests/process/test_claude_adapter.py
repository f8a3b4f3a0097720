"""What the adapter of a Claude Code makes of what its hooks have said, and of what turns them off; without the program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor import Exit, ExitKind, ProcessId, evolve, identify
from workers.claude.adapter import ClaudeAdapter
from workers.claude.behind import subagent_works, tool_runs
from workers.claude.continuation import Continuation
from workers.claude.conversation import Conversation
from workers.claude.hook_pipe import HookPipe
from workers.claude.leaf_hooks import LeafHooks, Means
from workers.claude.life_input import LifeInput
from workers.claude.on_disk import is_open
from workers.claude.proof import GRACE, NOT_RUN, Proof, looked_for
from workers.claude.recognition import recognised
from workers.claude.settings import BACKGROUND, PROMPTED, STOPPED, USED
from workers.claude.turn import heard
from workers.degradation.adapter import AdapterFailed, FileAdapter
from workers.policy.ladder import DegradationMode

from .test_claude_leaf import ANSWER, OURS, PROMPT, Stage

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="named pipes and locks of POSIX")]
LATE = {"timestamp": "2099-01-02T03:04:05.000Z"}
DONE = Exit(ExitKind.NORMAL, "exit code 0", code=0)


class Room:
    """An adapter with a pipe, a mode file, and a project whose settings can be written."""

    def __init__(self, folder: Path, line: str, **more: str) -> None:
        self.stage = Stage(folder)
        self.mode = folder / "claude.mode"
        self.pipe = HookPipe(folder)
        environ = {"CLAUDE_CONFIG_DIR": str(folder / "config"), "PATH": os.defpath, **more}
        command = recognised(("claude", *line.split()), environ, str(self.stage.project))
        assert command is not None
        continuation = Continuation(command, environ, str(self.stage.project), self.stage.lock, new_id=lambda: OURS)
        file = FileAdapter(self.mode, lambda: None)
        self.hooks = LeafHooks(continuation, Means(folder / "s.settings", self.pipe.path, 1, mode=str(self.mode)))
        self.adapter = ClaudeAdapter(file, Conversation(continuation), self.hooks, LifeInput(), is_crash_only=False, listen=self.hear)

    def hear(self) -> None:
        for told in self.pipe.take():
            self.hooks.proved(evolve(self.hooks.proof, is_heard=True, is_missing=False))
            self.adapter.turn = heard(self.adapter.turn, told.event, 10.0, 1000.0)

    def say(self, event: str) -> None:
        """As a hook does."""
        with self.pipe.path.open("r+b", buffering=0) as pipe:
            pipe.write(f"1 {self.adapter.generation} {event}\n".encode())

    def settings(self, text: str) -> None:
        """Write the project's own settings."""
        place = self.stage.project / ".claude" / "settings.local.json"
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)


@pytest.fixture
def room(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Room]:
    room = Room(tmp_path, getattr(request, "param", "-p fix"))
    yield room
    room.adapter.close()
    room.pipe.close()


async def test_an_end_is_judged_by_all_that_hooks_have_said(room: Room) -> None:
    """What waits in the pipe counts: a program that ends right after its turn has ended well, one that ends within it has not."""
    room.adapter.next(1)
    room.say(USED)
    assert room.adapter.judged(DONE).kind is ExitKind.ABNORMAL
    room.say(STOPPED)
    assert room.adapter.judged(DONE) is DONE
    room.adapter.next(2)
    room.say(PROMPTED)
    room.say(BACKGROUND)
    assert room.adapter.judged(DONE) is DONE


async def test_what_counts_as_cut(room: Room) -> None:
    """A turn that has not ended, or whose answer is not on disk, or behind which tasks went on."""

    def cut(*said: str) -> bool:
        for event in said:
            room.say(event)
        return room.adapter.next(room.adapter.generation + 1)[1].cut

    room.stage.transcript(OURS, PROMPT)
    assert not cut() and cut(PROMPTED) and cut(PROMPTED, STOPPED) and cut(PROMPTED, BACKGROUND)
    room.stage.transcript(OURS, PROMPT, {**ANSWER, **LATE})
    assert not cut(PROMPTED, STOPPED) and cut(PROMPTED) and cut(PROMPTED, BACKGROUND)


async def test_a_life_that_runs_no_hooks_ends_well(room: Room) -> None:
    """The program has dropped them, so nothing tells that the turn of its prompt is over; whether it was cut, its transcript says."""
    room.adapter.next(1)
    assert room.adapter.judged(DONE) is DONE
    room.stage.transcript(OURS, PROMPT)
    assert room.adapter.next(2)[1].cut
    room.stage.transcript(OURS, PROMPT, {**ANSWER, **LATE})
    assert not room.adapter.next(3)[1].cut


async def test_a_life_that_runs_no_hooks_is_not_restricted(room: Room) -> None:
    """Once it is up, that is told; a hook that is heard takes it back, and the next life is to prove it again."""
    room.adapter.next(1)
    await room.adapter.degrade(DegradationMode.READ_ONLY, "it comes up, so nobody knows")
    room.stage.transcript(OURS, PROMPT)
    with pytest.raises(AdapterFailed) as failed:
        await room.adapter.degrade(DegradationMode.READ_ONLY, "why")
    assert (failed.value.channel, failed.value.reason, room.hooks.unheard) == ("hooks", NOT_RUN, "")
    began = room.hooks.proof.began
    assert not room.hooks.proved(looked_for(room.hooks.proof, True, began))
    assert room.hooks.proved(looked_for(room.hooks.proof, True, began + GRACE)) and room.hooks.unheard == NOT_RUN
    assert not room.hooks.switched()
    with pytest.raises(AdapterFailed):
        await room.adapter.degrade(DegradationMode.EMERGENCY, "why")
    await room.adapter.degrade(DegradationMode.NORMAL, "why")
    room.say(USED)
    await room.adapter.degrade(DegradationMode.READ_ONLY, "why")
    assert room.hooks.unheard == "" and not room.hooks.proved(looked_for(room.hooks.proof, True, began + 1e6))
    room.adapter.next(2)
    assert not room.hooks.proof.is_heard


@pytest.mark.parametrize("room", ["--safe-mode"], indirect=True)
async def test_a_life_without_hooks_has_nothing_to_prove(room: Room) -> None:
    """Why it has none is known."""
    said = room.adapter.next(1)[1]
    assert not room.hooks.proved(Proof(is_heard=True)) and room.hooks.unheard == said.unheard


@pytest.mark.parametrize("room", ["--continue", "--safe-mode"], indirect=True)
async def test_a_mode_that_nothing_enforces_is_told(room: Room) -> None:
    """Hooks that are off, from the start or since, are why; a mode that restricts nothing needs none."""
    is_safe = room.adapter.continuation.command.arguments.has("--safe-mode")
    said = room.adapter.next(1)[1]
    assert bool(said.unheard) is is_safe
    if not is_safe:
        assert not room.hooks.switched()
        await room.adapter.degrade(DegradationMode.READ_ONLY, "why")
        room.settings('{"disableAllHooks": true}')
        assert room.hooks.switched() and not room.hooks.switched() and "disableAllHooks" in room.hooks.unheard
    for mode in (DegradationMode.READ_ONLY, DegradationMode.EMERGENCY):
        with pytest.raises(AdapterFailed) as failed:
            await room.adapter.degrade(mode, "why")
        assert (failed.value.channel, failed.value.reason) == ("hooks", room.hooks.unheard)
        assert room.mode.read_text() == f"{mode.value}\n"
    await room.adapter.degrade(DegradationMode.NORMAL, "why")
    room.settings("{}")
    assert room.hooks.switched() is not is_safe and bool(room.hooks.unheard) is is_safe


async def test_hooks_that_were_off_at_the_start_stay_off(room: Room) -> None:
    """A life that was given none has none, whatever its settings say later; the next one has."""
    room.settings('{"disableAllHooks": true}')
    life, said = room.adapter.next(1)
    assert "disableAllHooks" in said.unheard and "--settings" not in life.argv
    room.settings("{}")
    assert not room.hooks.switched() and room.hooks.unheard == said.unheard
    assert room.adapter.next(2)[1].unheard == ""


@pytest.mark.parametrize("room", ["--settings own.json"], indirect=True)
async def test_settings_that_are_gone_are_as_they_were(room: Room) -> None:
    """A wrapper of the program may have removed its file since; the program itself would not start without. One that never was is the
    program's to complain about."""
    life, said = room.adapter.next(1)
    assert "cannot be read" in said.unheard and life.argv[-2:] == ("--settings", "own.json")
    file = room.stage.project / "own.json"
    for model in ("one", "two"):
        file.write_text(json.dumps({"model": model}))
        for there in (True, False):
            if not there:
                file.unlink()
            life, said = room.adapter.next(room.adapter.generation + 1)
            given = json.loads((room.stage.folder / "s.settings").read_text())
            assert said.unheard == "" and given["model"] == model and "own.json" not in life.argv


@pytest.mark.parametrize("name", ["CLAUDE_CODE_SAFE_MODE", "CLAUDE_CODE_SIMPLE"])
async def test_hooks_that_the_environment_turns_off_are_known_from_the_start(name: str, tmp_path: Path) -> None:
    """By what the program takes for yes, and of builds that know it."""
    for index, (line, value, is_off) in enumerate(
        [("claude", " True ", True), ("claude", "1", True), ("claude", "0", False), ("claude", "", False), ("node cli.js", "1", False)]
    ):
        folder = tmp_path / str(index)
        folder.mkdir()
        room = Room(folder, "", **{name: value})
        try:
            if line != "claude":
                room.adapter.continuation.command = evolve(room.adapter.continuation.command, is_plain_node=True)
            life, said = room.adapter.next(1)
            assert (name in said.unheard) is is_off and ("--settings" in life.argv) is not is_off
        finally:
            room.adapter.close()
            room.pipe.close()


@pytest.mark.skipif(sys.platform != "linux", reason="sessions as Linux tells them")
def test_commands_of_tools_are_seen() -> None:
    """They lead a session of their own; what is in the program's, such as an MCP server, is none."""
    own = identify(os.getpid())
    assert isinstance(own, ProcessId)
    with subprocess.Popen(["sleep", "60"]) as server:
        assert not tool_runs(own)
        with subprocess.Popen(["sleep", "60"], start_new_session=True) as tool:
            assert tool_runs(own)
            tool.kill()
        assert not tool_runs(own)
        server.kill()


def test_subagents_that_work_on_are_seen(tmp_path: Path) -> None:
    """By what they said last, since the turn began, in this conversation; one that is silent for long was cut."""
    stage = Stage(tmp_path)
    transcript, now = stage.transcript(OURS, PROMPT), time.time()
    side: dict[str, Any] = {"isSidechain": True, "sessionId": OURS}
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]}
    asked, works, answered = {**PROMPT, **side}, {"type": "assistant", "message": call, **side}, {**ANSWER, **side}
    assert not subagent_works(None, 0.0, now) and not subagent_works(transcript, 0.0, now)
    cases = [
        ([asked], True),
        ([asked, works], True),
        ([asked, works, answered], False),
        ([{**asked, "sessionId": "x"}], False),
        ([works], True),
    ]
    for records, expected in cases:
        # as the program writes it, without blanks
        written = stage.transcript("agent-1", *records)
        written.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records))
        assert subagent_works(transcript, now - 60, now) is expected, records
    assert not subagent_works(transcript, now + 60, now) and not subagent_works(transcript, 0.0, now + 3600)


def test_a_turn_without_hooks_is_open_until_it_is_answered(tmp_path: Path) -> None:
    """What was left open by a life before is nobody's turn now."""
    stage, now = Stage(tmp_path), time.time()
    assert not is_open(None, 0.0) and not is_open(tmp_path / "gone", 0.0)
    path = stage.transcript(OURS, PROMPT)
    assert is_open(path, now - 60) and not is_open(path, now + 60)
    assert not is_open(stage.transcript(OURS, PROMPT, ANSWER), now - 60)
    assert not is_open(stage.transcript(OURS), now - 60)
