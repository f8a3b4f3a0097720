"""When the guardian itself is killed: what dies with it, what the next start finds, and what it never touches."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..support import eventually_sync, kill_unseen, run_supervisor, running
from .guarded import Guarded, Tables, actor, guarding, runs, sentry_of

LEFT = ("stray", "child:10")


def kill(run: Guarded) -> None:
    """SIGKILL for a guardian and its sentry; the leaf dies of that."""
    leaf = run.wait_pid("leaf")
    kill_unseen(run.program, sentry_of(run.program.pid))
    eventually_sync(lambda: not runs(leaf), what="the leaf's end")


def test_a_killed_guardian_leaves_nothing(backend: str, tmp_path: Path) -> None:
    """Its sentry ends the leaf and what left the tree, and is gone then; the next start has nothing to sweep. The run beside goes on."""
    with (
        guarding(tmp_path, backend, *LEFT, "ready", "stay", tables=FD) as killed,
        guarding(tmp_path, backend, *LEFT, "ready", "await:end", "exit:4", tables=FD, tag="-beside") as beside,
    ):
        for run in (killed, beside):
            run.wait_for("child_started", path=["guardian", "agents"])
        sentry = sentry_of(killed.program.pid)
        killed.program.send(signal.SIGKILL)
        killed.program.wait()
        eventually_sync(lambda: not any(runs(pid) for pid in (sentry, *(pid for _, _, pid in killed.report))), what="the end of all")
        with guarding(tmp_path, backend, "exit:0", tag="-next") as following:
            assert following.finish().returncode == 0
            assert following.named("orphans_swept") == []
        assert len(beside.report) == 3 and all(runs(pid) for _, _, pid in beside.report)
        beside.touch("end")
        assert beside.finish().returncode == 4


def records(folder: Path) -> list[Path]:
    """The files that say what runs of this folder's project left behind."""
    return sorted((folder / "state").glob("*/runs/[!.]*.json"))


def test_what_a_killed_guardian_leaves_is_swept_by_the_next(backend: str, tmp_path: Path) -> None:
    """The leaf dies at once; what left the tree lives until the next start, which kills it, also where the guardian had never looked at
    its leaf. A process that has come by a recorded pid since is let live, and so is the tree of a run that lives.
    """
    early, late = tmp_path / "early", tmp_path / "late"
    unwatched: Tables = {**FD, "guardian": {"enabled": False}}
    with ExitStack() as stack:
        killed = {
            early: stack.enter_context(guarding(early, backend, *LEFT, "ready", "stay", tables=unwatched)),
            late: stack.enter_context(guarding(late, backend, *LEFT, "ready", "stay", tables=FD)),
        }
        beside = stack.enter_context(guarding(late, backend, *LEFT, "ready", "await:end", "exit:4", tables=FD, tag="-beside"))
        bystander = stack.enter_context(running("sleep", "60"))
        for run in (*killed.values(), beside):
            run.wait_for("child_started", path=["guardian", "agents"])
        kill(killed[early])
        (record,) = records(early)
        assert members(record) == []
        eventually_sync(lambda: all(len(members(record)) >= 3 for record in records(late)))
        kill(killed[late])
        strays = {folder: run.pids("stray") + run.pids("child") for folder, run in killed.items()}
        assert all(runs(pid) for pids in strays.values() for pid in pids)
        (record,) = [record for record in records(late) if runs_of(record) == killed[late].pids("leaf")[0]]
        forged(record, bystander.pid)

        following = {folder: stack.enter_context(guarding(folder, backend, "exit:0", tag="-next")) for folder in (early, late)}
        for folder, run in following.items():
            assert run.finish().returncode == 0
            (swept,) = run.named("orphans_swept")
            assert set(swept["data"]["pids"]) == set(strays[folder])
            assert "2 processes left behind" in run.told
            assert not any(runs(pid) for pid in strays[folder])

        assert runs(bystander.pid)
        assert all(runs(pid) for _, _, pid in beside.report) and len(beside.report) == 3
        beside.touch("end")
        assert beside.finish().returncode == 4
        assert "orphans_swept" not in {event["event"] for event in beside.events if event["path"] == ["guardian"]}
        bystander.send(signal.SIGTERM)
        bystander.wait()
    assert records(early) == records(late) == []


FD: Tables = {"command": {"ready": "fd"}}


def members(record: Path) -> list[list[int]]:
    """The processes that a record names."""
    found: list[list[int]] = json.loads(record.read_text())["members"]
    return found


def runs_of(record: Path) -> int:
    """The root of the tree that a record names."""
    return members(record)[0][0]


def forged(record: Path, pid: int) -> None:
    """Add a process to a record that was created at another time than the one of that pid."""
    data: dict[str, Any] = json.loads(record.read_text())
    data["members"].append([pid, data["members"][0][1] - 1000])
    record.write_text(json.dumps(data))


def test_guardians_of_the_same_command_do_not_notice_each_other(backend: str, tmp_path: Path) -> None:
    """In one project and one state directory a derived name takes the next free suffix; a name given by hand that is in use is refused,
    and the run that has it goes on.
    """
    with ExitStack() as stack:
        first = stack.enter_context(guarding(tmp_path, backend, *LEFT, "await:end", "exit:1", tag="1"))
        first.wait_for("child_started", path=["guardian", "agents", "actor", "leaf"])
        second = stack.enter_context(guarding(tmp_path, backend, *LEFT, "await:end", "exit:2", tag="2"))
        second.wait_for("child_started", path=["guardian", "agents", "actor-2", "leaf"])
        named = stack.enter_context(guarding(tmp_path, backend, *LEFT, "await:end", "exit:3", tag="3", options=("--name", "boss")))
        named.wait_for("child_started", path=["guardian", "agents", "boss", "leaf"])
        for run in (first, second, named):
            run.wait_pid("child")

        arguments = (
            "--backend",
            backend,
            "--state-dir",
            tmp_path / "state",
            "--name",
            "boss",
            "--",
            actor(tmp_path),
            tmp_path / "r",
            "exit:0",
        )
        refused = run_supervisor(*arguments, cwd=tmp_path)

        assert refused.returncode == 2
        assert refused.stderr.strip().endswith(
            f"command.name: the name 'boss' is in use by process {named.program.pid}; end that run or choose another name"
        )
        assert not (tmp_path / "r").exists()
        for run in (first, second, named):
            assert len(run.report) == 3 and all(runs(pid) for _, _, pid in run.report)
        first.touch("end")
        assert [run.finish().returncode for run in (first, second, named)] == [1, 2, 3]
    assert records(tmp_path) == []


def test_a_dry_run_sweeps_nothing(tmp_path: Path) -> None:
    """It never acts; what it found is left for the next run. (Sweeping knows no event loop: one is enough.)"""
    with guarding(tmp_path, "trio", "stray", "stay", tag="1") as run:
        run.wait_pid("stray")
        kill(run)
    (stray,) = run.pids("stray")
    with guarding(tmp_path, "trio", "exit:0", tag="2", options=("--dry-run",)) as dry:
        assert dry.finish().returncode == 0
    assert runs(stray)
    with guarding(tmp_path, "trio", "exit:0", tag="3") as real:
        assert real.finish().returncode == 0
    assert not runs(stray)
