"""A conversation of lines over the lives of a real process: nothing is lost, doubled or torn, whatever ends a life."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from supervisor import ChildInfo, DynamicSupervisor, Exit, Restart
from supervisor.core.exits import ExitKind
from workers.claude import life_pipes
from workers.claude import stream as module
from workers.claude.life_pipes import READ
from workers.claude.stream import (
    BusyChanged,
    ClaudeStream,
    ClosedError,
    LifeBegan,
    LifeOver,
    LinesDropped,
    LineTorn,
    Notice,
    TurnCut,
)
from workers.event_conversation import ConversationCut

from ..support import ROOT, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")]


def prompt(text: str) -> bytes:
    return json.dumps({"type": "user", "message": {"role": "user", "content": text}}).encode()


class Session:
    """A stream whose program runs under a supervisor."""

    def __init__(self, root: DynamicSupervisor, folder: Path, *, closes: bool, late: bool, restart: Restart, **options: Any) -> None:
        self.root, self.log = root, folder / "log"
        self.notices: list[Notice] = []
        self.heard: list[dict[str, Any]] = []
        self.stream = ClaudeStream(closes=closes, on_notice=self.notices.append)
        self.lines = cast("AsyncGenerator[bytes, None]", self.stream.output())
        words = (sys.executable, "-I", "-S", str(ROOT / "tests" / "children" / "stream_json.py"), str(self.log), *["--late"] * late)
        self.spec = self.stream.spec("claude", *words, restart=restart, **options)

    async def say(self, text: str, *, idempotent: bool = False) -> None:
        await self.stream.feed(prompt(text), idempotent=idempotent)

    async def result(self) -> Any:
        """The next result."""
        with anyio.fail_after(30):
            while True:
                self.heard.append(json.loads(await anext(self.lines)))
                if self.heard[-1]["type"] == "result":
                    return self.heard[-1]["result"]

    def of(self, kind: type[Notice]) -> list[Any]:
        return [notice for notice in self.notices if isinstance(notice, kind)]

    def pid(self) -> int:
        pid = self.root.which_child("claude").pid
        assert pid is not None
        return pid

    async def killed(self) -> None:
        """SIGKILL for it, and the next life is up."""
        before = self.pid()
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: self.root.which_child("claude").pid not in (None, before))

    def read(self) -> list[tuple[int, str]]:
        """What was read: by whom, and the texts of prompts or the subtypes of requests."""
        found = []
        for line in self.log.read_text().splitlines() if self.log.exists() else []:
            pid, _, data = line.partition(" ")
            said = json.loads(data)
            found.append((int(pid), said["message"]["content"] if said["type"] == "user" else said["request"]["subtype"]))
        return found


@asynccontextmanager
async def session(
    folder: Path, *, closes: bool = False, late: bool = False, restart: Restart = Restart.TRANSIENT, **options: Any
) -> AsyncIterator[Session]:
    async with DynamicSupervisor("root", intensity=100, period=1.0) as root:
        made = Session(root, folder, closes=closes, late=late, restart=restart, **options)
        info = await root.start_child(made.spec)
        assert isinstance(info, ChildInfo)
        try:
            yield made
        finally:
            made.stream.finish()
            await made.lines.aclose()


async def test_lines_go_in_and_out(tmp_path: Path) -> None:
    """One result for each prompt, in order; after the last one the input ends, and with the life the output."""
    async with session(tmp_path) as talk:
        for number in range(5):
            await talk.say(f"say {number}")
        assert [await talk.result() for _ in range(5)] == list("01234")
        talk.stream.close_input()
        talk.stream.close_input()
        with pytest.raises(ClosedError):
            await talk.say("say more")
        with anyio.fail_after(20):
            assert [line async for line in talk.lines] == []
        with pytest.raises(anyio.EndOfStream):
            await talk.stream.receive()
        (over,) = talk.of(LifeOver)
        assert over.exit.kind is ExitKind.NORMAL and [text for _, text in talk.read()] == [f"say {number}" for number in range(5)]
        with pytest.raises(ValueError, match="no end"):
            await talk.stream.feed(b"a\nb")


async def test_a_controlled_restart_loses_nothing(tmp_path: Path) -> None:
    """While the caller says more without waiting: held between two turns, cycled, and each prompt is read by one life and answered."""
    async with session(tmp_path) as talk, anyio.create_task_group() as group:

        async def say_all() -> None:
            for number in range(60):
                await talk.say(f"say {number}")
                await anyio.lowlevel.checkpoint()

        group.start_soon(say_all)
        results = [await talk.result() for _ in range(5)]
        for _ in range(3):
            talk.stream.hold(True)
            await eventually(lambda: not talk.stream.is_busy)
            before = talk.pid()
            await talk.root.cycle_child("claude", reason="test")
            assert talk.pid() != before
            talk.stream.hold(False)
            results.append(await talk.result())
        while len(results) < 60:
            results.append(await talk.result())
        assert results == [str(number) for number in range(60)]
        assert [text for _, text in talk.read()] == [f"say {number}" for number in range(60)]
        assert len({pid for pid, _ in talk.read()}) == 4 and not talk.of(TurnCut)
        assert [began.generation for began in talk.of(LifeBegan)] == [1, 2, 3, 4]


@pytest.mark.parametrize("how", ["die", "torn"])
async def test_a_crash_in_the_middle_of_a_turn(tmp_path: Path, how: str) -> None:
    """The prompt of that turn is reported and not said again; those that wait go to the next life; no line is torn."""
    events: list[Any] = []
    async with session(tmp_path, closes=True) as talk:
        talk.root.add_sink(lambda record: events.append(record.event))
        for text in ("say a", how, "say b", "say c"):
            await talk.say(text)
        results = [await talk.result() for _ in range(4)]
        assert results[0] == "a" and "ended in the middle of this turn" in results[1] and results[2:] == ["b", "c"]
        (cut,) = talk.of(TurnCut)
        assert (cut.generation, cut.lines, cut.resent) == (1, (prompt(how),), ())
        assert len(talk.of(LineTorn)) == (how == "torn")
        (told,) = [event for event in events if isinstance(event, ConversationCut)]
        assert (told.prompts, told.resent, bool(told.torn_bytes)) == ((prompt(how).decode(),), 0, how == "torn")
        pids = [pid for pid, _ in talk.read()]
        assert pids[0] == pids[1] != pids[2] == pids[3] and len(pids) == 4
        over = talk.of(LifeOver)[0]
        assert over.exit.signal == signal.SIGKILL
        kinds = [type(event).__name__ for event in events]
        assert kinds.index("ConversationCut") < kinds.index("ChildExited")


async def test_what_may_be_said_again_is(tmp_path: Path) -> None:
    """A prompt that was declared idempotent goes to the next life, before those that wait."""
    async with session(tmp_path) as talk:
        await talk.say("hang", idempotent=True)
        await talk.say("say b")
        await eventually(lambda: len(talk.read()) == 1)
        assert talk.stream.is_busy
        os.kill(talk.pid(), signal.SIGKILL)
        await eventually(lambda: len(talk.read()) == 2)
        (cut,) = talk.of(TurnCut)
        assert cut.resent == cut.lines == (prompt("hang"),)
        assert [text for _, text in talk.read()] == ["hang", "hang"]


async def test_what_was_never_read_is_not_cut(tmp_path: Path) -> None:
    """It is in the pipe of a life that dies before it looks: the next one gets it, and nobody says that it was cut; also after the last
    line, when the input has ended already."""
    async with session(tmp_path, late=True) as talk:
        await talk.say("say a")
        talk.stream.close_input()
        for _ in range(2):
            await talk.killed()
        (tmp_path / "log.go").touch()
        assert await talk.result() == "a"
        assert [text for _, text in talk.read()] == ["say a"] and not talk.of(TurnCut)


async def test_big_lines(tmp_path: Path) -> None:
    """Tens of megabytes, in and out, whole."""
    async with session(tmp_path) as talk:
        size = 30_000_000
        await talk.say("say " + "y" * size)
        await talk.say(f"big {size}")
        assert await talk.result() == "y" * size
        assert await talk.result() == "x" * size


async def test_a_slow_caller_holds_the_program_up(tmp_path: Path) -> None:
    """Nothing is lost, and no more is kept than one has asked for."""
    async with session(tmp_path) as talk:
        await talk.say("quick 50000")
        await eventually(lambda: talk.stream._output_bytes >= module.OUTPUT)
        await anyio.wait_all_tasks_blocked()
        assert talk.stream._output_bytes <= module.OUTPUT + 2 * READ
        talk.heard.clear()
        await talk.result()
        numbers = [line["number"] for line in talk.heard if line["type"] == "stream_event"]
        assert numbers == list(range(50_000))


async def test_what_it_had_written_counts_when_its_end_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody had taken it yet, so the result was still in the pipe: its end is not one in the middle of a turn."""
    monkeypatch.setattr(life_pipes, "READ", 4096)  # less than what is more than is taken
    seen: list[bool] = []

    def judge(exit: Exit) -> Exit:
        seen.append(talk.stream.is_in_turn)
        talk.stream.catch_up()
        seen.append(talk.stream.is_in_turn)
        return exit

    async with session(tmp_path, judge=judge) as talk:
        await talk.say("quick 28500")  # a little more than is taken without a reader
        talk.stream.close_input()
        await eventually(lambda: len(seen) == 2)
        assert seen == [True, False] and await talk.result() == "28500" and not talk.of(TurnCut)


async def test_what_nobody_has_taken_yet_when_it_ends_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays in the pipe until then; that is no cut turn."""
    monkeypatch.setattr(life_pipes, "READ", 4096)
    async with session(tmp_path) as talk:
        await talk.say("quick 28500")
        talk.stream.close_input()
        await eventually(lambda: talk.of(LifeOver))
        assert await talk.result() == "28500" and not talk.of(TurnCut)
        with pytest.raises(StopAsyncIteration):
            await anext(talk.lines)


async def test_a_program_that_reads_nothing_holds_the_caller_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until there is room again; whoever waits is told when the input is closed."""
    monkeypatch.setattr(module, "INPUT", 1000)
    async with session(tmp_path, late=True) as talk:
        said = 0
        with anyio.move_on_after(1):
            while True:
                await talk.say(f"say {said}")
                said += 1
        assert said < 40
        (tmp_path / "log.go").touch()
        with anyio.fail_after(20):
            await talk.say("say last")
        results = [await talk.result() for _ in range(said + 1)]
        assert results == [*map(str, range(said)), "last"]


async def test_requests_and_what_sets_up(tmp_path: Path) -> None:
    """They are answered once; what sets the session up is said to the next life as well, before anything else."""
    async with session(tmp_path) as talk:
        asked = {"type": "control_request", "request_id": "1", "request": {"subtype": "set_model", "model": "m"}}
        await talk.stream.feed(json.dumps(asked).encode())
        await talk.say("say a")
        await talk.result()
        await talk.root.cycle_child("claude", reason="test")
        await talk.say("say b")
        await talk.result()
        assert [text for _, text in talk.read()] == ["set_model", "say a", "set_model", "say b"]
        assert [line["type"] for line in talk.heard].count("control_response") == 1
        await talk.stream.feed(json.dumps({"type": "control_response", "response": {"request_id": "?"}}).encode())
        assert len(talk.of(LinesDropped)) == 1


async def test_words_of_a_program_that_fails(tmp_path: Path) -> None:
    """They have no end, and are no record: they are passed on."""
    async with session(tmp_path, restart=Restart.TEMPORARY) as talk:
        await talk.say("words Error: no such thing")
        with anyio.fail_after(20):
            lines = [line async for line in talk.stream.output()]
        assert lines[-1] == b"Error: no such thing" and not talk.of(LineTorn)
        assert talk.of(LifeOver)[0].exit.code == 1


async def test_where_nobody_listens(tmp_path: Path) -> None:
    """The program finds its output closed, as it would by itself, and so does its next life."""
    async with session(tmp_path) as talk:
        await talk.say("say a")
        await talk.result()
        talk.stream.deafen()
        await talk.say("quick 10")
        await eventually(lambda: len(talk.of(LifeOver)) == 1)
        assert talk.of(LifeOver)[0].exit.kind is ExitKind.ABNORMAL
        await talk.say("quick 10")
        await eventually(lambda: len(talk.of(LifeOver)) == 2)


async def test_nobody_waits_for_a_stranger_that_holds_the_pipe(tmp_path: Path) -> None:
    """What somebody else can still write is not waited for; the stream is told that it is over by whoever knows."""
    async with session(tmp_path) as talk:
        await talk.say("say a")
        await talk.result()
        held = os.open(f"/proc/{talk.pid()}/fd/1", os.O_WRONLY) if sys.platform == "linux" else -1
        try:
            await talk.root.terminate_child("claude")
            assert len(talk.of(LifeOver)) == 1
            talk.stream.finish()
            with anyio.fail_after(20):
                assert [line async for line in talk.stream.output()] == []
        finally:
            if held >= 0:
                os.close(held)


async def test_busy_is_from_a_prompt_to_its_result(tmp_path: Path) -> None:
    """And is told when it changes."""
    async with session(tmp_path) as talk:
        assert not talk.stream.is_busy and talk.stream.session_id is None
        await talk.say("say a")
        assert talk.stream.is_busy
        await talk.result()
        assert not talk.stream.is_busy and [notice.busy for notice in talk.of(BusyChanged)] == [True, False]
        assert talk.stream.session_id == "s"
