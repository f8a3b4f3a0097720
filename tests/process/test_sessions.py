"""Finding sessions: by id, by directory and by process, and never by a link that leads elsewhere."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks.transcripts import SESSION
from supervisor import ProcessId
from workers.state.sessions import (
    SUBAGENTS,
    Session,
    config_directory,
    project_directories,
    session_of,
    subagents_of,
    transcript_of,
    transcript_since,
)

links = pytest.mark.skipif(sys.platform == "win32", reason="links need a right on Windows")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "claude").mkdir()
    return tmp_path / "claude"


def make(config: Path, project: str, name: str = SESSION, *, written: float = 1000.0) -> Path:
    path = config / "projects" / project / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}\n")
    os.utime(path, (written, written))
    return path.resolve()


def register(config: Path, number: int, **entry: object) -> None:
    (config / "sessions").mkdir(exist_ok=True)
    (config / "sessions" / f"{number}.json").write_text(json.dumps(entry))


def test_where_sessions_are() -> None:
    """Where the program's own environment says, else in its home; nowhere without both."""
    assert config_directory({"CLAUDE_CONFIG_DIR": "/x", "HOME": "/h"}) == Path("/x")
    assert config_directory({"CLAUDE_CONFIG_DIR": "", "HOME": "/h"}) == Path("/h/.claude")
    assert config_directory({}) is None


def test_the_directory_of_a_project() -> None:
    """Slashes and dots become dashes, in some versions everything that is no letter or digit."""
    assert project_directories("/srv/my.app") == ("-srv-my-app",)
    assert project_directories("/srv/my_app") == ("-srv-my_app", "-srv-my-app")


def test_a_session_is_found_where_it_works(config: Path) -> None:
    """In the directory of its project, though another has a file of that name that is newer."""
    path = make(config, "-srv-app")
    make(config, "-elsewhere", written=2000.0)
    assert transcript_of(config, SESSION, "/srv/app") == path


def test_a_session_that_was_resumed_elsewhere(config: Path) -> None:
    """It goes on in the file that it began with; of several the one that was written last; where none is there is none."""
    assert transcript_of(config, SESSION, "/srv/app") is None
    make(config, "-two", written=1000.0)
    newer = make(config, "-one", written=2000.0)
    assert transcript_of(config, SESSION, "/srv/app") == newer
    assert transcript_of(config, SESSION) == newer


@pytest.mark.parametrize("id", ["", "..", "../-srv-app/x", "a/b", "a\0b", "x" * 200, "."])
def test_an_id_that_is_a_path(config: Path, id: str) -> None:
    """It has no transcript."""
    make(config, "-srv-app", "x")
    assert transcript_of(config, id, "/srv/app") is None


@links
def test_links_out_of_the_directory_are_not_followed(config: Path, tmp_path: Path) -> None:
    """Neither a file nor a project nor all of them may lie elsewhere; a link to another place inside may."""
    outside = make(tmp_path / "outside", "-srv-app")
    (config / "projects").mkdir()
    (config / "projects" / "-srv-app").symlink_to(outside.parent)
    assert transcript_of(config, SESSION, "/srv/app") is None
    (config / "projects" / "-srv-file").mkdir()
    (config / "projects" / "-srv-file" / outside.name).symlink_to(outside)
    assert transcript_of(config, SESSION, "/srv/file") is None
    assert transcript_since(config, "/srv/file", 0.0) is None
    inside = make(config, "-real", "inner")
    (config / "projects" / "-alias").symlink_to(inside.parent)
    assert transcript_of(config, "inner", "/alias") == inside
    other = tmp_path / "other"
    other.mkdir()
    (other / "projects").symlink_to(outside.parent.parent)
    assert transcript_of(other, SESSION, "/srv/app") is None
    # the directory itself may be a link: that is the user's own word
    (tmp_path / "named").symlink_to(tmp_path / "outside")
    assert transcript_of(tmp_path / "named", SESSION, "/srv/app") == outside


def test_what_is_no_file_is_no_transcript(config: Path) -> None:
    """A directory of that name is none."""
    (config / "projects" / "-srv-app" / f"{SESSION}.jsonl").mkdir(parents=True)
    assert transcript_of(config, SESSION, "/srv/app") is None


def test_the_only_one_that_was_written(config: Path) -> None:
    """Without an id it is the file that was written since; two would be a guess, and those of subagents are none."""
    assert transcript_since(config, "/srv/my_app", 0.0) is None
    make(config, "-srv-my-app", "old", written=1000.0)
    new = make(config, "-srv-my_app", "new", written=2000.0)
    make(config, "-srv-my-app", "agent-1", written=2000.0)
    assert transcript_since(config, "/srv/my_app", 1500.0) == new
    assert transcript_since(config, "/srv/my_app", 500.0) is None
    assert transcript_since(config, "/srv/my_app", 2500.0) is None


def test_the_session_of_a_process(config: Path) -> None:
    """The entry of any process of a tree tells it, if that very process made it."""
    tree = [ProcessId(10, 111), ProcessId(11, 222)]
    assert session_of(config, tree) is None
    register(config, 11, pid=11, sessionId=SESSION, procStart="222", cwd="/srv/app", status="idle", version="2.1.330")
    assert session_of(config, tree) == Session(SESSION, "/srv/app", "2.1.330", "idle")
    assert session_of(config, [ProcessId(11, 333)]) is None
    register(config, 10, pid=10, sessionId="../../x", procStart=111)
    assert session_of(config, tree[:1]) is None
    register(config, 10, pid=10, sessionId="abc", procStart=111, cwd=5)
    assert session_of(config, tree) == Session("abc")


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "{}" + " " * 100_000])
def test_an_entry_that_is_none(config: Path, text: str) -> None:
    """It is being written, or of another shape: no session, no error."""
    (config / "sessions").mkdir()
    (config / "sessions" / "10.json").write_text(text)
    assert session_of(config, [ProcessId(10, 111)]) is None


def test_subagents(config: Path) -> None:
    """The transcripts beside a session's are its subagents', by id and with their sizes, and not too many."""
    path = make(config, "-srv-app")
    assert subagents_of(path) == ()
    folder = path.with_suffix("") / "subagents"
    folder.mkdir(parents=True)
    for number in range(SUBAGENTS + 5):
        (folder / f"agent-{number:03d}.jsonl").write_text("x" * number)
    (folder / "agent-000.meta.json").write_text("{}")
    found = subagents_of(path)
    assert len(found) == SUBAGENTS
    assert [(subagent.id, subagent.size) for subagent in found[:3]] == [("000", 0), ("001", 1), ("002", 2)]
    assert found[1].path == str(folder / "agent-001.jsonl")
