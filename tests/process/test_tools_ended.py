"""A tool that grows is ended, and the leaf that started it goes on; with real processes and real memory."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import attrs
import pytest

from supervisor import ChildExited, Handle, ProcessId, RunningCommand, identify, is_alive, lineage, walk
from supervisor.host import portable
from workers.claude.adapter import ClaudeAdapter
from workers.claude.continuation import Continuation
from workers.claude.conversation import Conversation
from workers.claude.hook_pipe import Told
from workers.claude.leaf_hooks import LeafHooks, Means
from workers.claude.life_input import LifeInput
from workers.claude.recognition import recognised
from workers.claude.settings import PROMPTED, USED
from workers.claude.turn import Turn
from workers.claude.turns import moved, take
from workers.config import MonitoringConfig
from workers.config.model import Isolation, LeafRestart
from workers.control import GuardianControl
from workers.event import LeafHeld, MemoryLevelChanged, RestartInitiated, RestartRefused, ToolEnded
from workers.ledger import News
from workers.policy.attribution import Attribution, Kind, Role, Server
from workers.policy.pressure import MemoryState, Thresholds
from workers.probe import open_reader
from workers.probe.parts import LeafParts

from ..support import eventually
from .guardian_inside import MIB, Inside, inside
from .probe_support import allocator

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="parts are told apart by sessions, read from /proc")]

CHILD = Path(__file__).resolve().parent.parent / "children" / "tooling.py"
LOW = Thresholds(40 * MIB, 60 * MIB, 900 * MIB)
RACE = Thresholds(40 * MIB, 60 * MIB, 80 * MIB)
OFTEN = MonitoringConfig(
    normal_interval=0.05, warning_interval=0.05, critical_interval=0.05, emergency_interval=0.05, prediction_horizon=0.0
)


class Known:
    """What is known of the program: its servers, if any."""

    def servers(self) -> tuple[Server, ...]:
        """None."""
        return ()

    def is_program(self, words: tuple[str, ...]) -> bool:
        """Only the root."""
        return False


@asynccontextmanager
async def tooling(
    folder: Path,
    tool: int,
    own: int = 0,
    kind: str = "plain",
    *more: int,
    gate: bool = True,
    parts: type[LeafParts] = LeafParts,
    **given: Any,
) -> AsyncIterator[Inside]:
    """Run the leaf with its tool, up to where the tool may begin to grow; or just before that."""
    argv = (sys.executable, "-S", "-E", str(CHILD), str(folder), str(tool), str(own), kind, *map(str, more))
    async with inside(folder, argv=argv, **{"thresholds": LOW, "monitoring": OFTEN, **given}) as run:
        run.leaf.parts = parts(Known())
        await eventually(lambda: run.leaf.samples > 0 and run.leaf.level is MemoryState.NORMAL, 20, what="its first sample")
        if gate:
            run.touch("go")
        yield run


def handle(run: Inside) -> RunningCommand:
    found: Handle | None = run.ledger.above(run.leaf).handle("leaf")
    assert isinstance(found, RunningCommand)
    return found


async def settled(run: Inside) -> None:
    """Its memory is normal again, and it lives as it did."""
    await eventually(lambda: run.leaf.level is MemoryState.NORMAL, 20, what="normal")
    assert run.of(RestartInitiated) == [] and run.of(ChildExited, "leaf") == [] and len(run.pids()) == 1


@pytest.mark.parametrize("isolation", Isolation)
async def test_the_tool_is_ended_and_the_leaf_goes_on(tmp_path: Path, isolation: Isolation) -> None:
    """The shell that started it says how, all of its memory is given back, and nothing is restarted."""
    async with tooling(tmp_path, 90, isolation=isolation) as run:
        ended = await run.wait(ToolEnded)
        await eventually((tmp_path / "ended").exists)
        await settled(run)
        assert (tmp_path / "ended").read_text() == "143\n"
        assert (ended.role, ended.what, ended.how) == ("tool", "sh", "terminated") and ended.generation == 1
        assert ended.freed_bytes == ended.held_bytes >= 30 * MIB
        assert "critical" in ended.reason and "in tool sh" in ended.reason
        assert len(handle(run).members()) == 1


async def test_a_tool_has_its_time(tmp_path: Path) -> None:
    """It may do what it does at SIGTERM; with a ``tool_timeout`` of 0 it is killed at once."""
    async with tooling(tmp_path, 90, 0, "asked", tool_timeout=20.0) as run:
        assert (await run.wait(ToolEnded)).how == "terminated"
        assert (tmp_path / "asked").exists()
        await settled(run)


async def test_a_tool_without_time_is_killed(tmp_path: Path) -> None:
    """It hears nothing of it; its shell has a moment to say what it saw."""
    async with tooling(tmp_path, 90, 0, "asked", tool_timeout=0.0) as run:
        assert (await run.wait(ToolEnded)).how == "killed"
        await settled(run)
        assert not (tmp_path / "asked").exists()
        assert not (tmp_path / "ended").exists() or (tmp_path / "ended").read_text() in ("", "137\n")


@pytest.mark.parametrize("kind", ["deaf", "loop"])
async def test_a_tool_that_does_not_end_is_killed(tmp_path: Path, kind: str) -> None:
    """It ignores SIGTERM, or is started again: all of it is killed after its time, the shell included."""
    async with tooling(tmp_path, 90, 0, kind, tool_timeout=0.5) as run:
        ended = await run.wait(ToolEnded)
        await settled(run)
        assert (ended.how, ended.what) == ("killed", "sh") and len(handle(run).members()) == 1


async def test_an_emergency_kills_at_once_and_holds_nobody(tmp_path: Path) -> None:
    """Where a restart is refused as well; whatever is configured for calmer times."""
    patient = attrs.evolve(OFTEN, critical_samples=1000)
    async with tooling(tmp_path, 120, thresholds=RACE, monitoring=patient, restart=LeafRestart.NEVER, tool_timeout=30.0) as run:
        ended = await run.wait(ToolEnded)
        await settled(run)
        assert ended.how == "killed" and "emergency" in ended.reason
        assert run.of(LeafHeld) == [] and run.of(RestartRefused) == []


async def test_whoever_was_ending_it_is_gone(tmp_path: Path) -> None:
    """Health has failed meanwhile: the tool is not waited for without end, and the restart sweeps it."""
    async with tooling(tmp_path, 90, 0, "deaf", tool_timeout=1000.0) as run:
        await eventually(lambda: run.leaf.guard.ending.under_way, 20)
        run.ledger.news.put(cast(News, None))
        await run.failed("health")
        await run.wait(RestartInitiated)
        assert run.of(ToolEnded) == []


async def test_it_can_be_turned_off(tmp_path: Path) -> None:
    """With ``end_tools = false`` the leaf is restarted, and what grew is in the reason."""
    async with tooling(tmp_path, 90, end_tools=False) as run:
        initiated = await run.wait(RestartInitiated)
        assert run.of(ToolEnded) == [] and "in tool sh" in initiated.reason and "grew" in initiated.reason


async def test_the_program_itself_is_restarted(tmp_path: Path) -> None:
    """It grew more than its tool; that ends with it, as ever."""
    async with tooling(tmp_path, 20, 90) as run:
        initiated = await run.wait(RestartInitiated)
        assert run.of(ToolEnded) == [] and "in the program itself" in initiated.reason
        await eventually(lambda: len(run.pids()) == 2, 20)


async def test_what_a_tool_held_before_is_not_why(tmp_path: Path) -> None:
    """It holds more than the program has grown by, and could be ended; but it held that while memory was normal."""
    async with tooling(tmp_path, 50, 30, "late", thresholds=Thresholds(62 * MIB, 75 * MIB, 900 * MIB)) as run:

        def seen() -> bool:
            return run.leaf.sample is not None and sum(one.bytes for one in run.leaf.sample.processes) >= 50 * MIB

        await eventually(seen, 20, what="the tool's memory")
        run.touch("asked")
        await run.wait(RestartInitiated)
        assert run.of(ToolEnded) == []


async def test_when_it_does_not_help_the_leaf_is_restarted(tmp_path: Path) -> None:
    """The program grows while its tool ends: it is at critical all the same, and now that is its own."""
    async with tooling(tmp_path, 90, 90, "late") as run:
        assert (await run.wait(ToolEnded)).how == "terminated"
        initiated = await run.wait(RestartInitiated)
        assert len(run.of(ToolEnded)) == 1 and "in the program itself" in initiated.reason


class Stale(LeafParts):
    """The first look is the last one, but for those on which something is decided: as on a host with much to do."""

    def look(self, *given: Any, exact: bool = False, **more: Any) -> Attribution:
        """See `LeafParts.look`."""
        return super().look(*given, exact=exact, **more) if exact or self.latest is None else self.latest


@pytest.mark.parametrize("parts", [LeafParts, Stale])
async def test_all_tools_that_it_takes_are_ended(tmp_path: Path, parts: type[LeafParts]) -> None:
    """Three of the same size: without two of them it is well, and the third goes on, whatever was seen of them before."""
    async with tooling(tmp_path, 30, 0, "plain", 30, 30, parts=parts) as run:
        await run.wait(ToolEnded, count=2)
        await eventually(lambda: not run.leaf.level.reaches(MemoryState.CRITICAL) and not run.leaf.guard.ending.under_way, 20)
        *_, left = handle(run).members()
        await eventually((tmp_path / f"holds.{left.pid}").exists, 20, what="all of its memory")
        samples = run.leaf.samples
        await eventually(lambda: run.leaf.samples >= samples + 10, 20)
        assert run.of(RestartInitiated) == [] and len(run.of(ToolEnded)) == 2
        assert {event.how for event in run.of(ToolEnded)} == {"terminated"} and len(handle(run).members()) == 3


async def test_who_grows_can_be_asked(tmp_path: Path) -> None:
    """By part with what each holds, and in a line; of a leaf without parts nothing is said."""
    async with tooling(tmp_path, 30) as run:
        control = GuardianControl(run.ledger)

        def by() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = control.facts()["agents"]["actor"]["memory_by"]
            return found

        await eventually(lambda: any(part["role"] == "tool" and part["bytes"] >= 30 * MIB for part in by()), 20)
        assert [(part["role"], part["name"], part["processes"]) for part in by()] == [("tool", "sh", 2), ("program", "", 1)]
        assert any(note.startswith("actor: tool sh 3") and "the program itself" in note for note in control.facts()["notes"])
        run.leaf.parts = None
        assert "memory_by" not in control.facts()["agents"]["actor"]


async def test_turns_and_tools_are_kept_account_of(tmp_path: Path) -> None:
    """By what hooks say: what has grown up to the next call, or the end of the turn, came with the tool that was called before."""
    async with tooling(tmp_path, 30, gate=False) as run:
        parts = run.leaf.parts
        assert parts is not None
        command = recognised(("claude",), {}, str(tmp_path))
        assert command is not None
        continuation = Continuation(command, {}, str(tmp_path), lambda session: None)
        hooks = LeafHooks(continuation, Means(tmp_path / "settings", tmp_path / "pipe", 7))
        adapter = ClaudeAdapter(None, Conversation(continuation), hooks, LifeInput(), is_crash_only=True, parts=parts)
        adapter.generation, run.leaf.adapter = 1, adapter
        hooks.equip(1)
        run.leaf.unheard = "hooks"  # a mode was set while nobody knew whether they run

        take(run.ledger, Told(7, 1, PROMPTED))
        take(run.ledger, Told(7, 1, USED, tool="Bash"))
        run.touch("go")
        await eventually(lambda: any(tmp_path.glob("holds.*")), 20, what="the tool's memory")
        # a look that has taken long is followed by none for a while
        await eventually(lambda: anyio.current_time() >= parts._next, 20, what="the next look")
        take(run.ledger, Told(7, 1, USED, tool="Read"))
        moved(run.ledger, run.leaf, adapter, Turn())
        take(run.ledger, Told(7, 1, PROMPTED))
        take(run.ledger, Told(7, 1, PROMPTED))
        moved(run.ledger, run.leaf, adapter, Turn())

        assert run.leaf.unheard == ""
        first, second, third = parts.account.turns
        assert dict(first.tools) == {"Bash": 1, "Read": 1} and dict(first.by)[Role(Kind.TOOL, "sh")] >= 30 * MIB
        assert second.tools == third.tools == () and parts.account.began is None
        most, least = parts.account.tools
        assert (most.name, least.name) == ("Bash", "Read") and most.grew_bytes >= 26 * MIB > least.grew_bytes
        adapter.next(2)
        assert parts.account.life_count == 3 and parts.latest is None


async def test_nothing_is_looked_at_while_memory_is_normal(tmp_path: Path) -> None:
    """A look costs more than a sample: an idle leaf is not asked for its parts."""

    class Unwanted(LeafParts):
        def look(self, *given: Any, **more: Any) -> Any:
            raise AssertionError("a look at a leaf that is normal")

    async with inside(tmp_path, "grow:5", "stay", monitoring=OFTEN, thresholds=LOW) as run:
        run.leaf.parts = Unwanted(Known())
        samples = run.leaf.samples
        await eventually(lambda: run.leaf.samples >= samples + 20, 20)
        assert run.leaf.level is MemoryState.NORMAL and run.of(MemoryLevelChanged) == [] and run.of(ChildExited) == []


class Family:
    """A tree that no supervisor started."""

    def __init__(self, root: ProcessId) -> None:
        self.process_id = root

    def members(self) -> tuple[ProcessId, ...]:
        """See `Tree`."""
        return tuple(walk(self.process_id.pid))


def test_what_grew_before_the_first_look_is_growth() -> None:
    """It was quicker than any look, and the sample before it says what there was."""
    with allocator() as process:
        root = identify(process.pid)
        assert root is not None
        reader, parts = open_reader(root), LeafParts(Known())
        before = reader.read(0.0)
        process.tell("session 30")
        after = reader.read(1.0)
        reader.close()
        assert before is not None and after is not None
        found = parts.look(Family(root), 1.0, sample=after, earlier=before, was_normal=True)
        assert found.words.startswith("grew 3") and "in tool python" in found.words
        assert [(part.role.kind, part.grew_bytes >= 30 * MIB) for part in found.parts] == [(Kind.TOOL, True), (Kind.PROGRAM, False)]


def test_an_exact_look_is_of_one_reading() -> None:
    """A look of a moment ago is no answer to it, and its parts hold together what the sample says, whatever has grown since that."""
    with allocator() as process:
        root = identify(process.pid)
        assert root is not None
        reader, parts = open_reader(root), LeafParts(Known())
        process.tell("session 30")
        first = reader.read(0.0)
        assert first is not None
        parts.look(Family(root), 0.0, sample=first)
        process.tell("session 20")
        second = reader.read(0.0)
        reader.close()
        process.tell("touch 10")
        assert second is not None
        assert len(parts.look(Family(root), 0.0, sample=second).parts) == 2
        found = parts.look(Family(root), 0.0, sample=second, exact=True)
        assert len(found.parts) == 3 and sum(part.held_bytes for part in found.parts) == second.total_bytes


def test_where_a_process_comes_from() -> None:
    """Its parent, its session and its words, from /proc and from psutil; nothing of one that is another than it was."""
    own = identify(os.getpid())
    assert own is not None
    line = lineage(own)
    assert line is not None and (line.parent, line.session) == (os.getppid(), os.getsid(0)) and any("python" in word for word in line.words)
    assert lineage(ProcessId(own.pid, own.created + 1)) is None and is_alive(own)
    elsewhere = portable.identify(own.pid)
    assert elsewhere is not None and portable.lineage(elsewhere) == attrs.evolve(line, process=elsewhere)
    assert portable.lineage(ProcessId(own.pid, 1)) is None
