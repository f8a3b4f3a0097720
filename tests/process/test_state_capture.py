"""Capturing: what is gathered of a real process and a real repository, without secrets, hooks or waiting."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from supervisor import ProcessId, identify
from workers.state import git as module
from workers.state.capture import Subject, capture
from workers.state.git import GitStatus, git_status, parse_status
from workers.state.model import MemoryPoint, PastRestart
from workers.state.store import StateStore

from .probe_support import allocator

pytestmark = pytest.mark.anyio


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *identity, "-C", directory, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit on `main` and a clean work tree."""
    place = tmp_path / "repository"
    place.mkdir()
    git(place, "init", "-q", "-b", "main")
    (place / "kept").write_text("one")
    (place / "moved").write_text("two\n" * 50)
    git(place, "add", ".")
    git(place, "commit", "-q", "-m", "first")
    return place


async def test_a_clean_work_tree(repository: Path) -> None:
    """Head and branch are told and nothing is dirty."""
    assert await git_status(str(repository)) == GitStatus(git(repository, "rev-parse", "HEAD"), "main", (), 0)


async def test_changed_renamed_and_untracked_files_are_dirty(repository: Path) -> None:
    """Every kind of change is named, names with blanks and other signs included; ignored files are not."""
    (repository / "kept").write_text("changed")
    git(repository, "mv", "moved", "to here")
    (repository / "néw file").write_text("x")
    (repository / ".gitignore").write_text("ignored\n")
    (repository / "ignored").write_text("x")
    status = await git_status(str(repository))
    assert status is not None
    assert set(status.dirty_files) == {"kept", "to here", "néw file", ".gitignore"}
    assert status.dirty_count == 4


async def test_a_detached_head_and_an_empty_repository(repository: Path, tmp_path: Path) -> None:
    """Detached there is a head and no branch, before the first commit a branch and no head."""
    git(repository, "checkout", "-q", "--detach")
    detached = await git_status(str(repository))
    assert detached is not None
    assert (detached.head, detached.branch) == (git(repository, "rev-parse", "HEAD"), None)
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q", "-b", "trunk")
    assert await git_status(str(empty)) == GitStatus(None, "trunk", (), 0)


async def test_where_there_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository, no directory, no git: None each time, and no error."""
    assert await git_status(str(tmp_path)) is None
    assert await git_status(str(tmp_path / "missing")) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await git_status(str(tmp_path)) is None


async def test_nothing_of_the_repositorys_own_is_run(repository: Path, tmp_path: Path) -> None:
    """A file system monitor and hooks that the repository names are not run, and its index is not touched."""
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    hooks = repository / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-index-change", "fsmonitor-watchman"):
        (hooks / hook).write_text(trap.read_text())
        (hooks / hook).chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(trap))
    git(repository, "config", "core.hooksPath", str(hooks))
    index = (repository / ".git" / "index").read_bytes()
    os.utime(repository / "kept", (1, 1))
    assert await git_status(str(repository)) is not None
    assert not (tmp_path / "sprung").exists()
    assert (repository / ".git" / "index").read_bytes() == index


async def test_a_foreign_git_environment_does_not_mislead(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GIT_DIR of somebody else's is not followed."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    status = await git_status(str(repository))
    assert status is not None
    assert status.branch == "main"


async def test_a_git_that_hangs_is_not_waited_for(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the limit there is no answer and no process."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "git").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    (place / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    began = time.monotonic()
    assert await git_status(str(repository), limit=0.5) is None
    assert time.monotonic() - began < 5.0
    pid = int((tmp_path / "pid").read_text())
    assert identify(pid) is None


async def test_git_is_in_our_session(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in a session of its own could not be told from a stray of a leaf, which the sweep kills."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "git").write_text(f"#!{sys.executable}\nimport os\nopen('{tmp_path}/session', 'w').write(str(os.getsid(0)))\n")
    (place / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    assert await git_status(str(repository)) is not None
    assert int((tmp_path / "session").read_text()) == os.getsid(0)


def test_the_list_of_dirty_files_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound dirty files are counted and not named."""
    monkeypatch.setattr(module, "DIRTY_FILES", 3)
    output = b"# branch.oid abc\0# branch.head main\0" + b"".join(b"? file%d\0" % number for number in range(10))
    assert parse_status(output) == GitStatus("abc", "main", ("file0", "file1", "file2"), 10)


def test_conflicts_and_unknown_lines_are_understood() -> None:
    """An unmerged file is dirty, a rename's old name is not another file, and lines of a later git are passed over."""
    unmerged = b"u UU N... 100644 100644 100644 100644 a b c a file\0"
    renamed = b"2 R. N... 100644 100644 100644 a b R100 new name\0? old\0"
    assert parse_status(b"# stash 3\0" + unmerged + renamed + b"! ignored\0x later\0") == GitStatus(None, None, ("a file", "new name"), 2)


async def test_a_living_process_is_captured(repository: Path, tmp_path: Path) -> None:
    """Everything that is known of a leaf is in the state, its working directory from /proc, git's part from git."""
    subject = Subject(
        "claude",
        ("claude", "--token=abc", "--print"),
        str(repository),
        path=("guardian", "agents", "claude", "leaf"),
        run="r1",
        process=identify(os.getpid()),
        environment={"PATH": "/bin", "MY_TOKEN": "abc"},
        generation=3,
        uptime=12.5,
        samples=((1.0, 5), (0.5, 7)),
        peak_bytes=9,
        level="critical",
    )
    history = (PastRestart(1.0, "before", "completed"), PastRestart(2.0, "Bearer abcdefgh1234", "failed"))
    state = await capture(subject, "memory, with Bearer abcdefgh1234", attempt=2, history=history)
    own = identify(os.getpid())
    assert own is not None
    process, project, restart, metadata = state.process, state.project, state.restart, state.metadata
    assert (process.pid, process.created, process.generation, process.uptime, process.peak_bytes) == (own.pid, own.created, 3, 12.5, 9)
    assert process.argv == ("claude", "--token=[redacted: argument]", "--print")
    assert process.environment == {"PATH": "/bin", "MY_TOKEN": "[redacted: key-name]"}
    assert (process.memory, process.level) == ((MemoryPoint(1.0, 5), MemoryPoint(0.5, 7)), "critical")
    if sys.platform == "linux":
        assert process.cwd == os.getcwd()
    assert (project.working_directory, project.git_branch, project.dirty_files) == (str(repository), "main", ())
    assert restart.reason == "memory, with Bearer [redacted: authorization]"
    assert (restart.level, restart.total_bytes, restart.attempt, restart.history[0]) == ("critical", 7, 2, history[0])
    assert restart.history[1] == PastRestart(2.0, "Bearer [redacted: authorization]", "failed")
    assert (metadata.agent, metadata.path, metadata.run) == ("claude", subject.path, "r1")
    assert metadata.versions["python"].startswith("3.")
    assert abs(metadata.time - time.time()) < 60
    assert state.conversation is None
    store = StateStore(tmp_path / "states")
    path = await anyio.to_thread.run_sync(store.save, repository, state)
    assert (await anyio.to_thread.run_sync(store.load, path)).process == process


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells the environment of another process")
async def test_an_environment_that_is_not_known_is_read_from_the_process(tmp_path: Path) -> None:
    """Without a given environment the process's own is taken, without its secrets."""
    with allocator(MY_SECRET="hunter2", HARMLESS="x=y") as leaf:
        subject = Subject("a", ("a",), str(tmp_path), process=identify(leaf.pid))
        environment = (await capture(subject, "manual")).process.environment
    assert (environment["MY_SECRET"], environment["HARMLESS"], environment["PATH"]) == ("[redacted: key-name]", "x=y", "/usr/bin:/bin")
    assert "hunter2" not in repr(environment)


async def test_a_process_of_the_same_pid_is_not_captured_for_it(tmp_path: Path) -> None:
    """A process that ended gives nothing of the one that has its pid now."""
    own = identify(os.getpid())
    assert own is not None
    state = await capture(Subject("a", ("a",), str(tmp_path), process=ProcessId(own.pid, own.created - 1)), "manual")
    assert (state.process.environment, state.process.cwd) == ({}, state.project.working_directory)


async def test_a_leaf_that_is_gone_is_captured_as_far_as_it_is_known(tmp_path: Path) -> None:
    """Without a process, samples or a repository the rest is captured and what is unknown is None."""
    state = await capture(Subject("a", ("a", "b"), str(tmp_path / "gone")), "manual")
    assert (state.process.pid, state.process.created, state.process.uptime, state.restart.total_bytes) == (None, None, None, None)
    assert (state.project.git_head, state.project.dirty_files, state.project.dirty_count) == (None, None, None)
    assert state.process.argv == ("a", "b")


async def test_capturing_does_not_block_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While git hangs the event loop goes on, and cancelling the capture leaves at once."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (place / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.sleep(0.01)

    began = time.monotonic()
    async with anyio.create_task_group() as group:
        group.start_soon(count)
        with anyio.move_on_after(1.0):
            await capture(Subject("a", ("a",), str(tmp_path)), "manual", git_limit=30.0)
        group.cancel_scope.cancel()
    assert turns > 20
    assert time.monotonic() - began < 10.0
