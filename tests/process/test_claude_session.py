"""A session that a program talks in, with a stand-in for Claude Code: what is said is answered, over whatever ends a life."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor import DynamicSupervisor, InvalidField, RestartIntensityExceeded, StartFailed
from workers.claude import session_talk, stream
from workers.claude.messages import AssistantMessage, ControlRequest, InitMessage, Message, ResultMessage
from workers.claude.notices import BusyChanged, LifeBegan, LifeOver, LinesDropped, Notice, TurnCut
from workers.claude.session import ClaudeSession
from workers.claude.session_errors import (
    RequestFailedError,
    RequestTimeoutError,
    SessionEndedError,
    SessionError,
    TurnCutError,
)
from workers.claude.session_turn import KEPT

from ..support import ROOT, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")]
SOME = "aaaaaaaa-0000-4000-8000-000000000001"


class Stage:
    """A stand-in for the program, and what it was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "claude"
        script = ROOT / "tests" / "children" / "session_stand_in.py"
        self.program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{script}" "$@"\n')
        self.program.chmod(0o755)

    def session(self, *words: str, env: dict[str, str] | None = None, **options: Any) -> ClaudeSession:
        own = {"STAND_IN": str(self.folder), "CLAUDE_CONFIG_DIR": str(self.folder / "config"), **(env or {})}
        return ClaudeSession([str(self.program), *words], cwd=self.folder, env=own, state_dir=self.folder / "state", **options)

    def lines(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []

    @property
    def said(self) -> list[str]:
        """The prompts that were read, by whatever life."""
        return [line.partition(" ")[2] for line in self.lines("said")]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def messages_of(session: ClaudeSession) -> list[Message]:
    return [message async for message in session.replies()]


async def test_a_turn_is_read_to_its_end(stage: Stage) -> None:
    """Its messages come with their types, the result last; and nothing of it is left for the next one."""
    async with stage.session("--model", "m") as session:
        turn = await session.send("hello")
        await session.send([{"type": "text", "text": "again"}])
        first, second = await messages_of(session), await messages_of(session)
        assert [type(message) for message in first] == [InitMessage, AssistantMessage, ResultMessage] and turn.is_over
        assert [message.text for message in (*first, *second) if isinstance(message, AssistantMessage)] == ["ok: hello", "ok: again"]
        result = await session.ask("last")
        assert result.is_success and result.text == "ok: last" and result.session_id == session.session_id
        with pytest.raises(SessionError, match="send"):
            await messages_of(session)
    (argv,) = stage.lines("argv")
    assert argv == f"--session-id {session.session_id} --print --input-format stream-json --output-format stream-json --verbose --model m"
    assert session.exit is not None and session.exit.code == 0


async def test_the_end_of_another_turn_is_not_taken_for_that_of_a_prompt(stage: Stage) -> None:
    """The end of a task in the background begins turns of the program's own, with results of their own."""
    async with stage.session() as session:
        followed = session.follow()
        told, after = await session.send("told"), await session.send("after")
        assert [(await turn.result()).text for turn in (told, after)] == ["ok: told", "ok: after"]
        ends: list[str] = []
        while len(ends) < 3:
            if isinstance(one := await anext(followed), ResultMessage):
                ends.append(one.origin)
    assert ends == ["task-notification", "", ""]


async def test_a_restart_between_two_turns_is_not_noticed(stage: Stage) -> None:
    """What is said meanwhile is read once, in its order, by lives in the same conversation; what tells of it are notices."""
    notices: list[Notice] = []
    async with stage.session(on_notice=notices.append) as session:
        async with anyio.create_task_group() as tasks:

            async def restart() -> None:
                for number in range(3):
                    await session.cycle(f"restart {number}")

            tasks.start_soon(restart)
            turns = [await session.send(str(number)) for number in range(30)]
            assert [(await turn.result()).text for turn in turns] == [f"ok: {number}" for number in range(30)]
        assert (await session.ask("the last")).text == "ok: the last"
        assert session.generation == 4
    assert stage.said == [*map(str, range(30)), "the last"]
    assert [notice.generation for notice in notices if isinstance(notice, LifeBegan)] == [1, 2, 3, 4]
    assert [notice.generation for notice in notices if isinstance(notice, LifeOver)] == [1, 2, 3, 4]
    assert not [notice for notice in notices if isinstance(notice, TurnCut)]
    into = [argv.split()[0:2] for argv in stage.lines("argv")]
    assert into[-1] == ["--resume", session.session_id] and {id for _, id in into} == {session.session_id}


async def test_a_turn_that_was_cut_is_an_error_of_whoever_waits_for_it(stage: Stage) -> None:
    """The others get theirs, in the same conversation; it is not said again."""
    async with stage.session() as session:
        before, cut, after = [await session.send(text) for text in ("before", "die", "after")]
        assert (await before.result()).text == "ok: before"
        with pytest.raises(TurnCutError) as caught:
            await cut.result()
        assert caught.value.prompt == "die"
        assert (await after.result()).text == "ok: after"
        turn = await session.send("die")
        assert isinstance(await anext(turn), InitMessage)
        with pytest.raises(TurnCutError):
            await anext(turn)
        assert [message async for message in turn] == []
    assert stage.said == ["before", "die", "after", "die"]
    assert [argv.split()[0] for argv in stage.lines("argv")] == ["--session-id", "--resume", "--resume"]


async def test_an_idempotent_turn_is_said_again(stage: Stage) -> None:
    """Whoever waits for it gets its result, and can see that it was cut."""
    async with stage.session() as session:
        turn = await session.send("once die", idempotent=True)
        assert (await turn.result()).text == "ok: once die" and turn.repeated == 1
        with pytest.raises(TurnCutError):
            await session.ask("die")
    assert stage.said == ["once die", "once die", "die"]


async def test_an_idempotent_turn_that_ends_each_life_is_given_up(stage: Stage) -> None:
    """It would end the next one, too; what waits behind it is answered."""
    async with stage.session(intensity=10) as session:
        poison, sound = await session.send("die", idempotent=True), await session.send("sound")
        with pytest.raises(TurnCutError):
            await poison.result()
        assert poison.repeated == 5 and (await sound.result()).is_success
    assert stage.said == ["die"] * 6 + ["sound"]


async def test_what_the_program_is_asked_for(stage: Stage) -> None:
    """An answer, a refusal, and none at all; a turn that is interrupted has its result, and the next one goes on."""
    async with stage.session() as session:
        turn = await session.send("hang")
        await session.interrupt()
        ended = await turn.result()
        assert ended.subtype == "error_during_execution" and not ended.is_success
        assert await session.request("set_permission_mode", mode="plan") == {"mode": "plan"}
        await session.set_permission_mode("default")
        with pytest.raises(RequestFailedError, match="refused: no"):
            await session.request("refused")
        with pytest.raises(RequestTimeoutError, match=r"unheard_of: no answer within 0\.1 s") as caught:
            await session.request("unheard_of", timeout=0.1)
        assert (caught.value.subtype, caught.value.seconds) == ("unheard_of", 0.1)
        assert (await session.ask("go on")).text == "ok: go on"


async def test_an_end_after_the_last_answer_is_the_end(stage: Stage) -> None:
    """The program ends with code 1 where its last turn was interrupted; there is nothing that another life would have to do."""
    async with stage.session() as session:
        turn = await session.send("hang")
        await session.interrupt()
        assert not (await turn.result()).is_success
    assert session.exit is not None and session.exit.code == 1 and session.exit.is_clean
    assert session.generation == 1 and len(stage.lines("argv")) == 1


async def asked(messages: AsyncIterator[Message | Notice]) -> ControlRequest:
    """The next question of the program's."""
    while not isinstance(message := await anext(messages), ControlRequest):
        pass
    return message


async def test_a_question_is_answered_in_the_middle_of_the_turn(stage: Stage) -> None:
    """Before prompts that wait; a question is seen by who reads the turn and by who follows, and a restart waits for the turn's end."""
    async with stage.session("--permission-prompt-tool", "stdio") as session, anyio.create_task_group() as tasks:
        followed = session.follow()
        turn, after = await session.send("ask"), await session.send("after")
        question = await asked(turn)
        assert (question.subtype, question.request["tool_name"]) == ("can_use_tool", "Write") and await asked(followed) is question
        tasks.start_soon(session.cycle, "a fresh start")
        await anyio.wait_all_tasks_blocked()
        assert session.is_busy and session.generation == 1
        await session.respond(question, {"behavior": "deny", "message": "no"})
        assert (await turn.result()).text == "deny" and (await after.result()).text == "ok: after"
        assert session.generation == 2
    (answer,) = map(json.loads, stage.lines("answers"))
    assert answer["response"] == {
        "subtype": "success",
        "request_id": question.request_id,
        "response": {"behavior": "deny", "message": "no"},
    }
    assert stage.said == ["ask", "after"]


async def test_a_question_goes_with_its_life(stage: Stage) -> None:
    """Its turn is cut; an answer that comes after that reaches nobody, also where the next life has a question of its own."""
    notices: list[Notice] = []
    async with stage.session(on_notice=notices.append) as session:
        turn = await session.send("ask")
        late = await asked(turn)
        os.kill(session.pid or 0, signal.SIGKILL)
        with pytest.raises(TurnCutError):
            await turn.result()
        turn = await session.send("ask")
        question = await asked(turn)
        assert question.request_id != late.request_id
        await session.respond(late, {"behavior": "allow"})
        await session.respond(question, {"behavior": "deny"})
        assert (await turn.result()).text == "deny"
    assert len(stage.lines("answers")) == 1 and [type(notice) for notice in notices].count(LinesDropped) == 1
    with pytest.raises(SessionEndedError):
        await session.respond(question, {"behavior": "allow"})


async def test_an_answer_to_a_question_of_an_earlier_life_goes_nowhere(stage: Stage) -> None:
    """The program that asked it is gone."""
    notices: list[str] = []
    async with stage.session(on_notice=lambda notice: notices.append(type(notice).__name__)) as session:
        await session.respond(ControlRequest("q", "can_use_tool", {}, data={}, session_id=""), {"behavior": "allow"})
        assert (await session.ask("hello")).is_success
    assert stage.lines("answers") == [] and "LinesDropped" in notices


async def test_who_follows_sees_everything(stage: Stage) -> None:
    """All messages of all turns and the notices between them, whoever else reads; and it ends with the session."""
    seen: list[Message | Notice] = []
    following = anyio.Event()

    async def follow(session: ClaudeSession) -> None:
        followed = session.follow()
        following.set()
        seen.extend([message async for message in followed])
        assert followed.missed == 0

    async with anyio.create_task_group() as tasks, stage.session() as session:
        tasks.start_soon(follow, session)
        await following.wait()
        late = session.follow(capacity=1)
        await session.ask("one")
        with pytest.raises(TurnCutError):
            await session.ask("die")
        await session.ask("two")
        assert isinstance(await anext(late), BusyChanged | ResultMessage) and late.missed > 5
    told = [one for one in seen if not isinstance(one, BusyChanged)]
    assert [one.text for one in told if isinstance(one, AssistantMessage)] == ["ok: one", "ok: two"]
    assert [type(one) for one in told if not isinstance(one, Message)] == [TurnCut, LifeOver, LifeBegan, LifeOver]
    assert sum(isinstance(one, ResultMessage) for one in told) == 3


async def test_who_stops_reading_a_turn_holds_up_nobody(stage: Stage) -> None:
    """Neither the one who breaks off, nor the one who is cancelled, nor the one who never reads."""
    async with stage.session() as session:
        await session.send("one")
        async for _ in session.replies():
            break
        never = await session.send("two")
        waiting = await session.send("hang")
        with anyio.move_on_after(0.2) as scope:
            await waiting.result()
        assert scope.cancelled_caught
        await session.interrupt()
        assert (await waiting.result()).subtype == "error_during_execution"
        assert (await session.ask("three")).text == "ok: three"
        assert never.is_over and isinstance([message async for message in never][-1], ResultMessage)
        await session.idle()
        assert not session.is_busy and never.dropped == 0 < KEPT


async def test_turns_that_nobody_reads_are_not_kept_for_ever(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads a turn by itself takes it from those that `replies` has; of the others the latest are kept."""
    monkeypatch.setattr(session_talk, "UNREAD", 2)
    async with stage.session() as session:
        turns = [await session.send(str(number)) for number in range(4)]
        assert (await turns[3].result()).is_success and all(turn.is_over for turn in turns)
        assert [message async for message in turns[0]] == [message async for message in turns[1]] == []
        (text,) = [message.text for message in await messages_of(session) if isinstance(message, AssistantMessage)]
        assert text == "ok: 2"
        with pytest.raises(SessionError, match="no turn to read"):
            session.replies()


async def test_closing_waits_for_what_was_said(stage: Stage) -> None:
    """It is answered, the program ends by itself, and then the session takes nothing."""
    async with stage.session() as session:
        turns = [await session.send(str(number)) for number in range(5)]
        await session.close()
        assert [(await turn.result()).text for turn in turns] == [f"ok: {number}" for number in range(5)]
        await session.close()
        for refused in (session.send("more"), session.interrupt(), session.ask("more"), session.cycle("more")):
            with pytest.raises(SessionEndedError):
                await refused
        assert session.pid is None
    assert session.exit is not None and session.exit.code == 0


async def test_who_waits_for_room_when_it_is_closed_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the session is over; it was not said."""
    monkeypatch.setattr(stream, "LINES", 1)
    async with stage.session(grace=0.2) as session:
        await session.send("hang")
        await session.send("waits")
        refused = anyio.Event()

        async def say() -> None:
            with pytest.raises(SessionEndedError):
                await session.send("finds no room")
            refused.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say)
            await anyio.wait_all_tasks_blocked()
            assert not refused.is_set()
            await session.close()
            await refused.wait()
    assert "finds no room" not in stage.said


async def test_who_does_not_end_is_ended(stage: Stage) -> None:
    """It ignores the end of its input and the signal, and is killed; a turn that it was in is over for whoever waits for it."""
    async with stage.session(env={"STUBBORN": "1"}, grace=0.3, shutdown=0.3) as session:
        assert (await session.ask("hello")).is_success
        turn = await session.send("hang")
        await eventually(lambda: stage.said == ["hello", "hang"])
        await session.close()
        assert session.pid is None and session.exit is not None and session.exit.signal == signal.SIGKILL
    with pytest.raises(SessionError):
        await turn.result()


async def test_an_error_or_a_cancellation_of_the_block_ends_the_program(stage: Stage) -> None:
    """At once, by a signal; nothing waits for turns."""
    with pytest.raises(KeyError):  # noqa: PT012 - the block is what is tested
        async with stage.session() as session:
            await session.send("hang")
            raise KeyError
    with anyio.move_on_after(0.5) as scope:
        async with stage.session() as session:
            await session.ask("hang")
    assert scope.cancelled_caught and session.exit is not None and session.exit.code != 0


@pytest.mark.parametrize("shared", [False, True])
async def test_a_cancellation_of_the_end_of_the_block_ends_the_program(stage: Stage, *, shared: bool) -> None:
    """At once, by a signal, long before `grace` is over; the cancellation goes on, and nothing is left, in whatever supervisor it is."""
    async with DynamicSupervisor("root") as root:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                session = stage.session(grace=600.0, supervisor=root if shared else None)

                async def cancel() -> None:
                    await eventually(lambda: stage.said == ["hello", "stuck"])
                    scope.cancel()

                tasks.start_soon(cancel)
                async with session:
                    assert (await session.ask("hello")).is_success
                    turn = await session.send("stuck")
        assert scope.cancelled_caught and session.pid is None
        assert session.exit is not None and session.exit.signal == signal.SIGTERM
        assert root.which_children() == ()
        with pytest.raises(SessionError):
            await turn.result()


async def test_a_failure_beside_the_end_of_the_block_is_told(stage: Stage) -> None:
    """That of a task beside it, and nothing else."""
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the block is what is tested
        async with anyio.create_task_group() as tasks:
            session = stage.session(grace=600.0)

            async def fail() -> None:
                await eventually(lambda: stage.said == ["stuck"])
                raise KeyError

            tasks.start_soon(fail)
            async with session:
                await session.send("stuck")
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert session.exit is not None and session.exit.signal == signal.SIGTERM


async def test_many_sessions_share_a_supervisor_and_its_budget(stage: Stage) -> None:
    """Ten under one; each is told its own, one ends and is forgotten, and the crashes of all of them together are counted."""
    with pytest.raises(RestartIntensityExceeded):  # noqa: PT012 - the block is what is tested
        async with DynamicSupervisor("root", intensity=3, period=60.0) as root:
            sessions = [stage.session(supervisor=root, name=f"worker-{number}") for number in range(10)]
            for session in sessions:
                await session.__aenter__()
            answers: list[str | None] = []

            async def ask(session: ClaudeSession) -> None:
                answers.append((await session.ask(f"once die {session.name}", idempotent=True)).text)

            async with anyio.create_task_group() as tasks:
                for session in sessions[:2]:
                    tasks.start_soon(ask, session)
            assert sorted(map(str, answers)) == ["ok: once die worker-0", "ok: once die worker-1"]
            await sessions[9].close()
            assert root.count_children().active == 9
            for session in sessions[2:5]:
                with pytest.raises(TurnCutError):
                    await session.ask("die")
    for session in sessions:
        await session.close()


async def test_who_is_stopped_by_its_supervisor_leaves_nobody_waiting(stage: Stage) -> None:
    """Whoever waits for a turn of it is told that the session is over."""
    async with DynamicSupervisor("root") as root, stage.session(supervisor=root, name="one") as session:
        assert (await session.ask("hello")).is_success
        turn, later = await session.send("hang"), await session.send("never")
        await eventually(lambda: stage.said == ["hello", "hang"])
        await root.terminate_child("one")
        with pytest.raises(TurnCutError):
            await turn.result()
        with pytest.raises(SessionEndedError):
            await later.result()
        with pytest.raises(SessionEndedError):
            await session.cycle("no more")


async def test_a_child_of_any_supervisor_by_its_specification(stage: Stage) -> None:
    """Whoever has that starts, restarts and stops it; closing the session ends its input."""
    session = stage.session()
    async with DynamicSupervisor("root") as root:
        await root.start_child(session.spec("other"))
        assert (await session.ask("hello")).text == "ok: hello"
        pid = root.which_child("other").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert (await session.ask("and again", idempotent=True)).text == "ok: and again"
        with pytest.raises(RuntimeError, match="the supervisor that has its spec"):
            await session.cycle("no")
        await session.close()
        assert root.which_children() == ()
    with pytest.raises(RuntimeError, match="make a new one"):
        session.spec()


async def test_two_sessions_are_never_in_one_conversation(stage: Stage) -> None:
    """The second one does not start; once the first is over it may."""
    async with stage.session("--resume", SOME) as first:
        assert (await first.ask("hello")).is_success
        with pytest.raises(StartFailed, match="in use"):
            async with stage.session("--resume", SOME):
                pass
    async with stage.session("--resume", SOME) as second:
        assert (await second.ask("hello again")).is_success


async def test_a_program_that_does_not_stay_up(stage: Stage) -> None:
    """It is not there, or ends again and again: the block says so, and whoever waits is not left waiting."""
    for word in ("-x", "leave 3"):
        with pytest.raises(RestartIntensityExceeded):  # noqa: PT012 - the block is what is tested
            async with stage.session(intensity=1) as session:
                if word == "-x":
                    os.kill(session.pid or 0, signal.SIGKILL)
                while True:
                    with pytest.raises(TurnCutError):
                        await session.ask("leave 3")
    stage.program.unlink()
    with pytest.raises(StartFailed):
        async with stage.session():
            pass


async def test_a_program_that_ends_well_by_itself_ends_the_session(stage: Stage) -> None:
    """It is not started again, and whoever asks is told how it ended; while something waits for it there is a next life."""
    async with stage.session() as session:
        first, second = await session.send("bye"), await session.send("bye 2")
        assert (await first.result()).is_success and (await second.result()).is_success
        await eventually(lambda: session.exit is not None and session.exit.code == 0 and session.generation == 2 and session.pid is None)
        for refused in (session.cycle("more"), session.ask("more")):
            with pytest.raises(SessionEndedError, match="exit code 0"):
                await refused
    with pytest.raises(SessionEndedError, match="exit code 0"):
        await session.cycle("more")
    assert stage.said == ["bye", "bye 2"]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["sh"], "a command of Claude Code"),
        ([], "a command and its arguments"),
        ("claude", "a command and its arguments"),
        (["claude", ""], "a command and its arguments"),
        (["claude", "mcp", "list"], "a command of Claude Code"),
        (["claude", "--version"], "a command of Claude Code"),
        (["claude", "fix it"], "without a prompt"),
        (["claude", "-p", "--output-format", "json"], "--output-format stream-json"),
    ],
)
def test_wrong_commands_are_refused(words: Any, match: str) -> None:
    """Before anything is started."""
    with pytest.raises(InvalidField, match=match):
        ClaudeSession(words)


async def test_wrong_words_are_refused(stage: Stage) -> None:
    """Contents that are none; a session that is used twice."""
    wrong: list[Callable[[], Any]] = [str, list, lambda: [1], lambda: b"x", lambda: {"type": "text"}, lambda: 5]
    async with stage.session() as session:
        for make in wrong:
            with pytest.raises(InvalidField, match="content"):
                await session.send(make())
        with pytest.raises(RuntimeError, match="make a new one"):
            await session.__aenter__()
    assert stage.said == []


@pytest.mark.parametrize(
    "option",
    [
        *({"grace": value} for value in ("x", -1, None, True, float("nan"))),
        *({"stderr": value} for value in (None, "", -1)),
        *({"shutdown": value} for value in ("x", -1)),
        *({"name": value} for value in ("", 5)),
        *({"cwd": value} for value in (5, "", "a\0b")),
        *({"env": value} for value in (5, [("A", "b")], {"A": 5}, {"A=": "b"})),
        *({"state_dir": value} for value in (5, "", "a\0b")),
        {"restart": "transient"},
        {"intensity": "x"},
        {"period": -1},
        {"supervisor": 5},
        {"on_notice": 5},
    ],
    ids=str,
)
def test_wrong_options_are_refused(stage: Stage, option: dict[str, Any]) -> None:
    """Before anything is started, by their names."""
    with pytest.raises(InvalidField) as caught:
        ClaudeSession([str(stage.program)], **option)
    assert [caught.value.field] == [*option]


async def test_nothing_is_said_before_the_block(stage: Stage) -> None:
    """Nobody would ever hear it; one that is closed then never begins, and leaves alone what has its name."""
    async with DynamicSupervisor("root") as root, stage.session(supervisor=root) as other:
        session = stage.session(supervisor=root)
        for call in (session.send("a"), session.ask("b"), session.interrupt(), session.idle(), session.cycle("c")):
            with pytest.raises(RuntimeError, match="within its block"):
                await call
        await session.close()
        with pytest.raises(SessionEndedError):
            await session.send("d")
        with pytest.raises(RuntimeError, match="make a new one"):
            await session.__aenter__()
        assert (await other.ask("hello")).is_success
    assert stage.said == ["hello"]
