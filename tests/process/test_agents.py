"""Agents that come and go while the guardian runs: with real processes, locks and descriptors."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, cast

import anyio
import attrs
import pytest

from supervisor import ChildExited, ChildStarted, ControlRefused, StartFailed, UsageError
from workers.agents import AgentRefused, add, remove
from workers.claude.adapter import ClaudeAdapter
from workers.config import Agent
from workers.config.added import added
from workers.control import GuardianControl
from workers.event import MemoryLevelChanged, MonitoringStarted, MonitoringStopped, RestartCompleted
from workers.event_conversation import ConversationStarted
from workers.ledger import Leaf
from workers.policy.host import HostGuard
from workers.policy.pressure import MemoryState
from workers.state.files import project_key
from workers.state.lock import try_lock
from workers.state.runs import claim

from ..support import eventually
from .guardian_inside import Inside, acting, inside

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def agent_of(run: Inside, name: str, *script: str) -> Agent:
    """Another actor."""
    first = run.leaf.agent
    return attrs.evolve(first, name=name, command=attrs.evolve(first.command, argv=acting(run.folder, *script, report=f"report-{name}")))


def names(run: Inside) -> list[str]:
    """Who is there, by the ledger and by the tree."""
    assert run.ledger.tree is not None
    told = [leaf.name for leaf in run.ledger.leaves]
    assert sorted(told) == sorted(row.id for row in run.ledger.tree.supervisor("agents").which_children())
    return told


def project(run: Inside) -> Path:
    """Where the locks and records of the runs are."""
    return run.folder / "state" / project_key(str(run.folder)) / "runs"


def open_descriptors() -> Counter[str]:
    """What this process has open, without what comes and goes with the memory of the first agent."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{name}")
            if "agents-actor" not in target and "eventfd" not in target:
                found[target if target.startswith("/") else target.partition(":")[0]] += 1
    return found


async def sampled(leaf: Leaf) -> None:
    """Wait until its memory was read."""
    await eventually(lambda: leaf.samples > 1, 20, what=f"samples of {leaf.name}")


async def test_an_agent_that_is_added_is_guarded_like_the_others(tmp_path: Path) -> None:
    """It is watched, has its levels, is restarted for its memory, has a claim on its name and a mode file."""
    async with inside(tmp_path, "stay") as run:
        leaf = await add(run.ledger, agent_of(run, "other", "grow:70", "stay", "/", "stay"))
        assert names(run) == ["actor", "other"]
        assert [event.generation for event in run.of(MonitoringStarted, "other", "leaf")] == [1]
        await run.wait(MemoryLevelChanged, "other", "leaf")
        await run.wait(RestartCompleted, "other", "leaf")
        assert (project(run) / "other.json").exists() and (tmp_path / "other.mode").exists()
        assert leaf.configured is None
    assert len(run.of(MonitoringStopped, "other", "leaf")) == 1
    assert not (project(run) / "other.json").exists() and not (tmp_path / "other.mode").exists()


TALKER = """
import json, subprocess, sys, time
from pathlib import Path
words = sys.argv[1:]
hooks = json.loads(Path(words[words.index("--settings") + 1]).read_text())["hooks"]
def fire(event, **data):
    for group in hooks[event]:
        subprocess.run(["sh", "-c", group["hooks"][0]["command"]], input=json.dumps(data).encode() + b"\\n", check=True)
own = words[words.index("--session-id") + 1]
fire("SessionStart", session_id=own)
fire("SessionStart", session_id=own[:-1] + ("0" if own[-1] != "0" else "1"))
fire("UserPromptSubmit")
while not Path("over").exists():
    time.sleep(0.01)
fire("Stop")
time.sleep(600)
"""
"""What tells of its conversation and of one turn, as Claude Code does."""


async def test_agents_that_are_added_tell_of_their_turns(tmp_path: Path) -> None:
    """The worker that hears of them comes with the first one; of another life's turn, or another agent's, nothing is believed."""
    stand_in = tmp_path / "claude"
    (tmp_path / "talker.py").write_text(TALKER)
    stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {tmp_path}/talker.py "$@"\n')
    stand_in.chmod(0o755)
    async with inside(tmp_path, "stay") as run:
        first = run.leaf.agent
        talks = attrs.evolve(first.command, argv=(str(stand_in),))
        one, two = [await add(run.ledger, attrs.evolve(first, name=name, command=talks)) for name in ("one", "two")]
        assert run.ledger.tree is not None
        assert [row.id for row in run.ledger.tree.supervisor("services").which_children()].count("turns") == 1
        await eventually(lambda: not one.guard.idle and not two.guard.idle, 20, what="turns")
        for leaf in (one, two):
            begun = run.of(ConversationStarted, leaf.name, "leaf")[0].session_id
            assert begun is not None
            # it says at first the one that it was given, and then that it has changed to another
            await eventually(lambda: leaf.session not in (None, begun), 20, what="the conversation that it has come to")  # noqa: B023
            assert leaf.session is not None and leaf.session[:-1] == begun[:-1]
        assert run.leaf.guard.idle
        assert isinstance(one.adapter, ClaudeAdapter) and isinstance(two.adapter, ClaudeAdapter)
        turns = one.adapter, two.adapter
        await eventually(lambda: all(adapter.turn.is_in_turn and adapter.turn.began for adapter in turns), 20, what="prompts")
        two.adapter.generation += 1
        (tmp_path / "over").touch()
        await eventually(lambda: one.guard.idle, 20, what="the end of the turn")
        assert not two.guard.idle


async def test_an_agent_that_is_removed_leaves_nothing(tmp_path: Path) -> None:
    """No process, no descriptor, no file and no claim: as often as it comes and goes, under the same name."""
    async with inside(tmp_path, "stay") as run:
        await sampled(run.leaf)
        await come_and_go(run)
        before = open_descriptors()
        for _ in range(3):
            await come_and_go(run)
            await eventually(lambda: open_descriptors() == before, 20, what="descriptors given back")
        assert len(run.of(MonitoringStopped, "other", "leaf")) == len(run.of(MonitoringStarted, "other", "leaf")) == 4
        stopped = [event for event in run.of(ChildExited, "other", "leaf") if event.expected]
        assert len(stopped) == 4
        samples = run.leaf.samples
        await eventually(lambda: run.leaf.samples > samples + 2, 20)


async def test_the_probe_lets_go_of_a_leaf_that_is_no_longer_there(tmp_path: Path) -> None:
    """Also when it has not seen the end of that leaf's life: what it reads with is closed, and no sample is taken any more."""
    async with inside(tmp_path, "stay") as run:
        leaf = await add(run.ledger, agent_of(run, "other", "grow:10", "stay"))
        await sampled(leaf)

        def others() -> int:
            return sum(count for target, count in open_descriptors().items() if not target.endswith(".lock"))

        before = others()
        assert run.ledger.roster is not None
        run.ledger.roster.dismiss(leaf)
        samples = leaf.samples
        await eventually(lambda: others() < before, 20, what="descriptors given back")
        seen = run.leaf.samples
        await eventually(lambda: run.leaf.samples > seen + 3, 20)
        assert leaf.samples == samples


async def come_and_go(run: Inside) -> None:
    """Add an agent, have its memory read, and remove it."""
    leaf = await add(run.ledger, agent_of(run, "other", "grow:10", "stay"))
    await sampled(leaf)
    await remove(run.ledger, "other")
    assert names(run) == ["actor"] and leaf.gone
    assert not (project(run) / "other.json").exists() and not (run.folder / "other.mode").exists()
    await eventually(lambda: not any("agents-other" in target for target in open_descriptors()), 20, what="its descriptors given back")


async def test_a_name_is_only_one_agent_s(tmp_path: Path) -> None:
    """One that is given is refused where it is in use, here or by another guardian; a derived one gets a number."""
    async with inside(tmp_path, "stay") as run:
        with pytest.raises(UsageError, match="an agent of this run is called 'actor' already"):
            await add(run.ledger, agent_of(run, "actor", "stay"))
        with (
            claim(tmp_path / "state", project_key(str(tmp_path)), "taken"),
            pytest.raises(UsageError, match="the name 'taken' is in use by process"),
        ):
            await add(run.ledger, agent_of(run, "taken", "stay"))
        assert names(run) == ["actor"]
        argv = ("sleep", "1000")
        derived = [added(run.ledger.run, {"argv": argv, "working_directory": str(tmp_path)}, names(run)) for _ in range(2)]
        assert [(await add(run.ledger, agent)).name for agent in derived] == ["sleep", "sleep-2"]
        assert names(run) == ["actor", "sleep", "sleep-2"]


async def test_an_agent_that_does_not_start_is_not_kept(tmp_path: Path) -> None:
    """Its name is free, no file is left, the others go on, and the same name can be added again."""
    async with inside(tmp_path, "stay") as run:
        await sampled(run.leaf)
        good = agent_of(run, "other", "stay")
        bad = attrs.evolve(good, command=attrs.evolve(good.command, argv=(str(tmp_path / "missing"),)))
        before = open_descriptors()
        with pytest.raises(StartFailed):
            await add(run.ledger, bad)
        assert names(run) == ["actor"] and not run.of(MonitoringStarted, "other", "leaf")
        assert not (project(run) / "other.json").exists() and not (tmp_path / "other.mode").exists()
        await eventually(lambda: open_descriptors() == before, 20)
        await add(run.ledger, good)
        assert names(run) == ["actor", "other"]


async def test_whoever_gives_up_adding_leaves_nothing(tmp_path: Path) -> None:
    """A start that is waited for no longer is taken back, the process included."""
    async with inside(tmp_path, "stay") as run:
        slow = agent_of(run, "other", "await:never")
        slow = attrs.evolve(slow, command=attrs.evolve(slow.command, ready="fd"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(add, run.ledger, slow)
            await eventually(lambda: (tmp_path / "report-other").exists(), 20, what="its process")
            began = anyio.current_time()
            tasks.cancel_scope.cancel()
        assert anyio.current_time() - began < slow.command.start_timeout / 2, "the start was waited for"
        assert names(run) == ["actor"] and not run.of(ChildStarted, "other", "leaf")


async def test_who_is_refused_is_told_why(tmp_path: Path) -> None:
    """A host that is short of memory takes nobody in; the only agent stays; nobody of that name is nobody."""
    async with inside(tmp_path, "stay") as run:
        run.ledger.host = attrs.evolve(HostGuard(), by_memory=MemoryState.CRITICAL, reason="10 MiB are available")
        with pytest.raises(AgentRefused, match="no agent is taken in now: 10 MiB are available"):
            await add(run.ledger, agent_of(run, "other", "stay"))
        with pytest.raises(AgentRefused, match="'actor' is the only agent; stop the run instead"):
            await remove(run.ledger, "actor")
        with pytest.raises(AgentRefused, match="no agent is called 'nobody'"):
            await remove(run.ledger, "nobody")


async def test_the_run_is_over_when_those_that_are_left_have_ended(tmp_path: Path) -> None:
    """An agent that was removed keeps no run alive, and its end is not the run's."""
    async with inside(tmp_path, "await:go", "exit:0") as run:
        await add(run.ledger, agent_of(run, "other", "stay"))
        run.touch("go")
        await run.wait(ChildExited, "actor", "leaf")
        assert run.outcome is None
        await remove(run.ledger, "other")
        await eventually(lambda: run.outcome is not None, 20, what="the end of the run")
        assert run.outcome is not None and (run.outcome.code, run.outcome.source) == (0, "command")


async def test_what_is_said_of_one_is_checked_as_in_the_file(tmp_path: Path) -> None:
    """All faults at once, and nothing is started."""

    async def asked(method: str, **given: Any) -> Any:
        return await GuardianControl(run.ledger).methods()[method].function(**given)

    async with inside(tmp_path, "stay") as run:
        with pytest.raises(UsageError) as refusal:
            await asked("add_agent", argv=[], name="a/b", working_directory="/nowhere", restart="often", warning="much")
        said = [str(fault) for fault in refusal.value.faults]
        assert [line.split(":")[0] for line in said] == ["argv", "name", "restart", "warning", "working_directory"]
        with pytest.raises(UsageError, match=r"warning \(2.0 GiB\) must be below critical \(1.0 GiB\)"):
            await asked("add_agent", argv=["sleep", "9"], warning="2GiB", critical="1GiB")
        told = await asked("add_agent", argv=["sleep", "1000"], working_directory=str(tmp_path), critical="1GiB")
        assert (told["name"], told["thresholds"]["critical_bytes"]) == ("sleep", 1 << 30)
        assert await asked("remove_agent", path=("sleep",)) == {"name": "sleep", "path": ["guardian", "agents", "sleep", "leaf"]}
        with pytest.raises(ControlRefused, match="the only agent"):
            await asked("remove_agent", path=("actor",))


async def test_what_is_asked_for_has_its_bounds(tmp_path: Path) -> None:
    """A reason is no novel, as it goes to all who hear of events; of many agents an error names some."""
    others: dict[str, tuple[str, ...]] = {f"other-{number}": ("stay",) for number in range(11)}
    async with inside(tmp_path, "stay", others=others) as run:
        methods = GuardianControl(run.ledger).methods()
        with pytest.raises(ControlRefused, match="reason: expected at most 1000 characters"):
            await methods["degrade"].call(cast(Any, None), {"path": "actor", "mode": "read_only", "reason": "x" * 1001})
        with pytest.raises(ControlRefused, match="reason: expected at most 1000 characters"):
            await methods["capture"].call(cast(Any, None), {"path": "actor", "reason": "x" * 1001})
        with pytest.raises(ControlRefused, match=r"name one of actor, other-0, .*, other-8, 2 more$"):
            await methods["capture"].call(cast(Any, None), {})


async def test_a_name_that_is_being_freed_holds_up_nobody(tmp_path: Path) -> None:
    """Somebody has the lock of a name and no run of it: whoever wants the name waits for that, everybody else goes on."""
    async with inside(tmp_path, "stay") as run:
        project(run).mkdir(mode=0o700, parents=True)
        lock = try_lock(project(run) / "other.lock")
        assert lock is not None
        done = anyio.Event()

        async def adding() -> None:
            await add(run.ledger, agent_of(run, "other", "stay"))
            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(adding)
            seen = run.leaf.samples
            await eventually(lambda: run.leaf.samples > seen + 5, 20, what="samples meanwhile")
            assert not done.is_set()
            lock.release()
        assert names(run) == ["actor", "other"]
