"""The main job, seen once from every side: a program whose child process leaks is restarted, by the book."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from datetime import datetime
from pathlib import Path

import attrs
import pytest

from workers.state.model import CompleteState
from workers.state.store import StateStore

from ..support import Finished
from .guarded import LEAF, Event, guarding, names, report, runs

MIB = 1024 * 1024
SECRET = "sk-ant-" + "api03-abcdefghijklmnopqrstuvwxyz0123456789"


@attrs.frozen
class Story:
    """One run with one controlled restart.

    Attributes:
        events: All of them.
        root_peak_bytes: The most that the first life's root process ever held.
        survivors: Processes of the first life that were alive when the restart was complete.
        head: The head of the git repository it ran in.
    """

    folder: Path
    events: list[Event]
    finished: Finished
    root_peak_bytes: int
    survivors: list[int]
    head: str

    def named(self, name: str) -> list[Event]:
        """The events of a name."""
        return [event for event in self.events if event["event"] == name]

    def captured(self) -> tuple[Event, CompleteState]:
        """The capture before the restart, and what it holds."""
        event = self.named("state_captured")[-1]
        return event, StateStore(self.folder / "state").load(event["data"]["file"])


@pytest.fixture(scope="module")
def story(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The first life: a small root, a deaf stray, a child that comes to the warning level, one that goes beyond. The second: calm."""
    folder = tmp_path_factory.mktemp("restart")
    head = repository(folder)
    first = ("stray", "child:40", "await:more", "child:45", "stay")
    with guarding(folder, backend, *first, "/", "await:end", "exit:7", env={"ANTHROPIC_API_KEY": SECRET, "PLAIN": "seen"}) as run:
        run.wait_for("memory_level_changed", new="warning")
        run.wait_for("state_captured")
        root = run.wait_pid("leaf")
        peak = peak_bytes(root)
        run.touch("more")
        run.wait_for("memory_level_changed", new="critical")
        with contextlib.suppress(OSError):
            peak = peak_bytes(root)
        run.wait_for("restart_completed")
        survivors = [pid for life, _, pid in run.report if life == 1 and runs(pid)]
        run.touch("end")
        finished = run.finish()
        return Story(folder, run.events, finished, peak, survivors, head)


def repository(folder: Path) -> str:
    """Make a git repository with one commit and one change; its head."""

    def git(*arguments: str) -> str:
        asked = ["git", "-c", "user.name=n", "-c", "user.email=e@x", *arguments]
        return subprocess.run(asked, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "trunk")
    (folder / "kept.txt").write_text("one\n")
    git("add", "kept.txt")
    git("commit", "-q", "-m", "one")
    (folder / "kept.txt").write_text("two\n")
    return git("rev-parse", "HEAD")


def peak_bytes(pid: int) -> int:
    """The most that a process has ever had resident, shared pages and all; 0 for a zombie."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def test_the_sum_of_the_tree_counts(story: Story) -> None:
    """Its child leaked: the sum passed critical, its root alone never came near even the warning threshold."""
    (initiated,) = story.named("restart_initiated")
    _, state = story.captured()

    assert initiated["data"]["memory_mb"] >= 60 and initiated["data"]["reason"].endswith("over 3 samples")
    assert state.process.memory[-1].total_bytes >= 60 * MIB
    assert state.process.pid == next(pid for life, role, pid in report(story.folder / "report") if (life, role) == (1, "leaf"))
    assert 0 < story.root_peak_bytes < 40 * MIB


def test_levels_change_in_order(story: Story) -> None:
    """Up step by step, each with the threshold that was exceeded; and back to normal with the new life."""
    changes = [(event["data"]["old"], event["data"]["new"], event["generation"]) for event in story.named("memory_level_changed")]
    exceeded = [(event["data"]["level"], event["data"]["threshold_bytes"]) for event in story.named("memory_threshold_exceeded")]

    assert changes == [("normal", "warning", 1), ("warning", "critical", 1), ("critical", "normal", 2)]
    assert exceeded == [("warning", 40 * MIB), ("critical", 60 * MIB)]
    assert all(event["path"] == LEAF for event in story.named("memory_level_changed"))


def test_a_restart_has_its_order(story: Story) -> None:
    """Initiated, captured, the old life's exit, the new life's start, completed; each once, the first capture was the warning's."""
    steps = ["restart_initiated", "state_captured", "child_exited", "child_started", "child_restarted", "restart_completed"]
    events = story.events
    begun = names(events).index("restart_initiated")
    about_leaf = [event for event in events[begun:] if event["path"] == LEAF and event["event"] in steps]

    assert names(about_leaf) == [*steps, "child_exited"]
    _, _, exited, started, restarted, completed, last = about_leaf
    assert exited["generation"] == 1 and exited["data"]["expected"] and exited["data"]["exit"]["signal"] == "SIGTERM"
    assert [event["generation"] for event in (started, restarted, completed)] == [2, 2, 2]
    assert started["data"]["pid"] != exited["data"]["pid"]
    assert restarted["data"]["controlled"] and restarted["data"]["attempt"] == 1
    assert completed["data"]["memory_mb"] < 60 and completed["data"]["attempt_number"] == 1
    assert last["data"]["exit"]["code"] == 7 and not last["data"]["expected"]


def test_nothing_of_the_old_tree_lives(story: Story) -> None:
    """Not even what left the session and ignores SIGTERM; the sweep is an event."""
    strays = [pid for life, role, pid in report(story.folder / "report") if role == "stray"]

    assert story.survivors == []
    (swept,) = story.named("orphans_swept")
    assert swept["data"]["pids"] == strays and len(strays) == 1


def test_the_state_was_on_disk_first(story: Story) -> None:
    """When `state_captured` was said, the file was there: private, in private directories, and it can be read back."""
    event, state = story.captured()
    file = Path(event["data"]["file"])

    assert file.stat().st_ctime <= datetime.fromisoformat(event["time"]).timestamp()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (file.parent, file.parent.parent)] == [0o700, 0o700]
    assert file.parent.parent == story.folder / "state"
    assert state.metadata.state_id == event["data"]["state_id"]
    assert StateStore(story.folder / "state").list(story.folder) == tuple(Path(e["data"]["file"]) for e in story.named("state_captured"))


def test_the_state_says_what_was(story: Story) -> None:
    """Reason, attempt, level and samples; argv, environment, directory and git; who it was."""
    (initiated,) = story.named("restart_initiated")
    _, state = story.captured()

    assert (state.restart.reason, state.restart.attempt, state.restart.level) == (initiated["data"]["reason"], 1, "critical")
    totals = [point.total_bytes for point in state.process.memory]
    assert len(totals) >= 4 and min(totals) < 60 * MIB <= max(totals) == state.process.peak_bytes
    ages = [point.age for point in state.process.memory]
    assert ages == sorted(ages, reverse=True) and ages[-1] < 5
    assert state.process.argv[0].endswith("/actor") and "child:40" in state.process.argv
    assert state.process.cwd == state.project.working_directory == os.path.realpath(story.folder)
    assert (state.project.git_head, state.project.git_branch) == (story.head, "trunk")
    assert state.project.dirty_files is not None and "kept.txt" in state.project.dirty_files
    assert (state.metadata.agent, list(state.metadata.path), state.metadata.run) == ("actor", LEAF, initiated["run"])
    assert state.process.generation == 1 and state.process.uptime is not None and state.process.uptime > 0


def test_the_state_keeps_no_secret(story: Story) -> None:
    """The environment is there without what must not be written down."""
    _, state = story.captured()

    assert state.process.environment["PLAIN"] == "seen"
    assert state.process.environment["ANTHROPIC_API_KEY"].startswith("[redacted:")
    assert SECRET not in repr(state)
    assert all(SECRET not in repr(event) for event in story.events)


def test_a_person_is_told(story: Story) -> None:
    """The command's exit code is the run's; a summary says how long, how many restarts and why, the peak, and where the state is."""
    told = story.finished.stderr
    summary = told[told.index("memory-guardian:") :]
    (reason,) = [event["data"]["reason"] for event in story.named("restart_initiated")]

    assert story.finished.returncode == 7
    assert story.finished.stdout == ""
    for expected in ("ran ", "restarts ", reason, "peak memory", "end ", "exit code 7", story.captured()[0]["data"]["file"]):
        assert expected in summary
    assert "\x1b" not in told and "\r" not in told
