"""What a state gives back: what was captured, where that is still what it was, and nothing that could be turned against its owner."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.state.files import project_key, read_private
from workers.state.journal_restore import TranscriptIsNewer
from workers.state.journals import UNTOUCHED, journal_of, mark_of, restore_transcript
from workers.state.model import CompleteState, StateInvalid
from workers.state.restore import (
    LONGEST_TITLE,
    RestoreRefused,
    conversation_of,
    restoration,
    terminal_title,
    title_sequence,
    transcript_roots,
    transcript_target,
)
from workers.state.retention import Retention, prune
from workers.state.store import StateStore, StateUnreadable

from .state_support import SESSION, captured, saved

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and owners as POSIX has them")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path.resolve() / "project"
    (place / "sub").mkdir(parents=True)
    return place


def refused(state: CompleteState, *, key: str | None = None) -> str:
    with pytest.raises(RestoreRefused) as caught:
        restoration(state, key)
    assert caught.value.state_id == state.metadata.state_id
    return caught.value.reason


def test_what_was_captured_is_given_back(project: Path) -> None:
    """Working directory, the agent's own variables, the conversation for `--resume`, a title; and nothing is applied by asking."""
    environment = {"PATH": "/x", "HOME": "/x", "CLAUDE_CONFIG_DIR": "/srv/claude", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "32000", "CLAUDEX": "1"}
    path = f"/srv/claude/projects/p/{SESSION}.jsonl"
    talk = {"session_id": SESSION, "transcript": path}
    state = captured(project, cwd=project / "sub", environment=environment, conversation=talk, journal={"segment": 1})
    before = os.getcwd(), dict(os.environ)
    ready = restoration(state, project_key(project))
    assert (ready.working_directory, ready.title) == (str(project / "sub"), "claude - project")
    assert ready.environment == {"CLAUDE_CONFIG_DIR": "/srv/claude", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "32000"}
    assert (ready.withheld, ready.argv, ready.has_whole_command) == ((), ("claude", "--print"), True)
    assert ready.conversation is not None
    assert (ready.conversation.session_id, ready.conversation.transcript_path, ready.conversation.mark) == (SESSION, path, {"segment": 1})
    assert (os.getcwd(), dict(os.environ)) == before


def test_secrets_and_what_is_of_one_life_are_withheld(project: Path) -> None:
    """A value that was redacted, a name of the process that is gone, and what no environment can hold are named, not restored."""
    environment = {
        "CLAUDE_CODE_OAUTH_TOKEN": "[redacted: key-name]",
        "CLAUDE_PROXY": "http://user:[redacted:url-password]@proxy",
        "CLAUDE_PID": "42",
        "CLAUDE_BIG": "x" * 40_000,
        "CLAUDE_NUL": "a\0b",
        "CLAUDE_lower": "not one of its names",
        "CLAUDE_X\n": "neither",
        "CLAUDE_OK": "1",
    }
    ready = restoration(captured(project, environment=environment, argv=("claude", "--token=[redacted: argument]")))
    assert ready.environment == {"CLAUDE_OK": "1"}
    assert ready.withheld == ("CLAUDE_BIG", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_NUL", "CLAUDE_PID", "CLAUDE_PROXY")
    assert not ready.has_whole_command


def test_a_directory_that_is_not_what_it_was_is_refused(project: Path, tmp_path: Path) -> None:
    """Gone, no directory, led elsewhere by a link in any part, or of another form than a capture writes: each is told apart."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "sub").mkdir(parents=True)
    assert "not there any more" in refused(captured(project / "gone"))
    (project / "file").write_bytes(b"")
    assert "no directory" in refused(captured(project / "file"))
    (project / "link").symlink_to(elsewhere)
    assert f"leads to {elsewhere}" in refused(captured(project / "link"))
    assert "leads to" in refused(captured(project / "link" / "sub"))
    assert "leads to" in refused(captured(project, cwd=project / "link"))
    (project / "dangling").symlink_to(project / "nowhere")
    assert "leads to" in refused(captured(project / "dangling"))
    for odd in ("relative", "", f"{project}/../project", f"{project}/", f"{project}//sub", f"{project}/\0"):
        assert "no plain absolute path" in refused(captured(odd))


def test_a_working_directory_outside_of_the_project_is_refused(project: Path) -> None:
    """What was captured is the project: a process that had gone elsewhere does not take the next one there; a longer name is not inside."""
    sibling = project.parent / "project-2"
    sibling.mkdir()
    for outside in (sibling, project.parent, Path("/")):
        assert "not within the captured project" in refused(captured(project, cwd=outside))
    assert restoration(captured("/", cwd=project)).working_directory == str(project)
    assert restoration(attrs.evolve(captured(project), process=attrs.evolve(captured(project).process, cwd=None))).working_directory == str(
        project
    )


def test_a_state_under_another_projects_key_is_refused(project: Path) -> None:
    """A file that was put below another project is not taken for one of it."""
    assert "not the key of its project" in refused(captured(project), key=project_key(project / "sub"))


@pytest.mark.parametrize("session", ["--help", "../../x", "a/b", "", "x" * 129, "a b", "a\n", ".hidden", "a..b", 7, None])
def test_a_session_is_never_an_option_nor_a_path(project: Path, session: object) -> None:
    """What is no plain id is no conversation."""
    state = captured(project, conversation={"session_id": session, "transcript": "/t"})
    assert conversation_of(state) is None
    assert restoration(state).conversation is None


@given(st.text(max_size=300))
@settings(max_examples=60)
def test_a_title_drives_no_terminal(text: str) -> None:
    """Whatever it is made of, the sequence is one title: no control character but the ones around it."""
    title = terminal_title(text)
    assert title.isprintable() and len(title) <= LONGEST_TITLE
    sequence = title_sequence(text).decode()
    assert sequence.startswith("\x1b]0;") and sequence.endswith("\x07")
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in sequence[4:-1])


def test_a_state_file_is_this_users_alone(project: Path, tmp_path: Path) -> None:
    """Links, pipes, devices, files that others can change and files of somebody else are refused without being read, or waited for."""
    store = StateStore(tmp_path / "states")
    path = saved(store, project)
    assert store.untrusted(path.parent.name) is None
    name = path.name
    for make, said in (
        (lambda place: place.symlink_to(path), "is a link"),
        (lambda place: os.mkfifo(place), "no regular file"),
        (lambda place: place.mkdir(), "no regular file"),
        (lambda place: (place.write_bytes(path.read_bytes()), place.chmod(0o620)), "others can change it"),
    ):
        folder = tmp_path / said.replace(" ", "-") / str(len(list(tmp_path.iterdir())))
        folder.mkdir(parents=True)
        make(folder / name)
        with pytest.raises(StateUnreadable, match=said):
            store.load(folder / name)
    path.parent.chmod(0o770)
    assert "others can change" in (store.untrusted(path.parent.name) or "")
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        with pytest.raises(StateUnreadable, match="belongs to somebody else"):
            store.load(path)
        path.parent.chmod(0o700)
        os.chown(path.parent, 65534, 65534)
        assert "belongs to somebody else" in (store.untrusted(path.parent.name) or "")


def test_no_more_of_a_file_is_read_than_it_may_have(tmp_path: Path) -> None:
    """A file that is larger is refused, also when it grows while it is read."""
    (tmp_path / "f").write_bytes(bytes(1001))
    with pytest.raises(OSError, match="larger than 1000"):
        read_private(tmp_path / "f", 1000)
    assert len(read_private(tmp_path / "f", 1001)) == 1001


# ------------------------------------------------------------ the transcript


LINES = b"".join(
    json.dumps({"type": "user", "uuid": str(number), "message": {"content": "x" * 50}}).encode() + b"\n" for number in range(40)
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A configuration directory of the agent's, and a transcript in it."""
    folder = tmp_path.resolve() / "claude" / "projects" / "-srv-project"
    folder.mkdir(parents=True, mode=0o700)
    for place in (folder, folder.parent, folder.parent.parent):
        place.chmod(0o700)
    (folder / f"{SESSION}.jsonl").write_bytes(LINES)
    return folder


def journalled(store: StateStore, project: Path, transcript: Path, **more: object) -> CompleteState:
    """A state whose transcript is in the journal, on disk."""
    key = project_key(project)
    (store.state_dir / key).mkdir(parents=True, exist_ok=True, mode=0o700)
    mark = journal_of(store, key, SESSION).append(transcript)
    talk = {"session_id": SESSION, "transcript": str(transcript)}
    path = saved(store, project, conversation=talk, journal=attrs.asdict(mark), **more)
    return store.load(path)


def test_a_transcript_is_put_back_as_it_was(project: Path, tmp_path: Path, home: Path) -> None:
    """Cut, damaged or deleted, folder and all: bit by bit as at the capture; never over records that would be lost, unless told to."""
    store, transcript = StateStore(tmp_path / "states"), home / f"{SESSION}.jsonl"
    key, roots = project_key(project), (str(home.parent),)
    state = journalled(store, project, transcript)
    transcript.write_bytes(LINES[:700])
    assert restore_transcript(store, key, state, roots).path == transcript
    assert transcript.read_bytes() == LINES
    transcript.unlink()
    home.rmdir()
    restore_transcript(store, key, state, roots)
    assert transcript.read_bytes() == LINES
    assert (home.stat().st_mode & 0o777, transcript.stat().st_mode & 0o777) == (0o700, 0o600)
    newer = LINES + b'{"type":"user","uuid":"new"}\n'
    transcript.write_bytes(newer)
    with pytest.raises(TranscriptIsNewer):
        restore_transcript(store, key, state, roots)
    assert transcript.read_bytes() == newer
    done = restore_transcript(store, key, state, roots, force=True)
    assert transcript.read_bytes() == LINES
    assert done.kept is not None and done.kept.read_bytes() == newer


def test_a_transcript_is_put_back_nowhere_else(project: Path, tmp_path: Path, home: Path) -> None:
    """Not out of the agent's directory by its parts or a link, not under another name, not where others could exchange it."""
    roots, good = (str(home.parent),), str(home / f"{SESSION}.jsonl")

    def said(path: str, *, session: str = SESSION) -> str:
        with pytest.raises(RestoreRefused) as caught:
            transcript_target(captured(project, conversation={"session_id": session, "transcript": path}), roots)
        return caught.value.reason

    state = captured(project, conversation={"session_id": SESSION, "transcript": good})
    assert transcript_target(state, roots) == good
    assert "is not below" in said(str(tmp_path / f"{SESSION}.jsonl"))
    assert "is not below" in said(f"{home.parent}-2/{SESSION}.jsonl")
    assert "no transcript" in said(f"{home}/../../{SESSION}.jsonl")
    assert "no transcript" in said(f"{home}/other.jsonl")
    assert "no transcript was captured" in said(f"relative/{SESSION}.jsonl")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (home.parent / "link").symlink_to(elsewhere)
    assert "leads elsewhere" in said(f"{home.parent}/link/{SESSION}.jsonl")
    os.unlink(good)
    os.symlink(elsewhere / "x", good)
    assert "is a link" in said(good)
    os.unlink(good)
    home.chmod(0o777)
    assert "others can change" in said(good)
    home.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(home, 65534, 65534)
        assert "belongs to somebody else" in said(good)
    assert transcript_roots({"CLAUDE_CONFIG_DIR": "/c"}) == ("/c/projects",)
    assert transcript_roots({"HOME": "/h", "CLAUDE_CONFIG_DIR": "relative"}) == ("/h/.claude/projects",)


def test_a_root_behind_a_link_of_the_users_is_followed(project: Path, tmp_path: Path, home: Path) -> None:
    """Who keeps the configuration elsewhere has a link there, and that is theirs to have."""
    (tmp_path / "dot").symlink_to(home.parent.parent)
    root = tmp_path.resolve() / "dot" / "projects"
    path = str(root / home.name / f"{SESSION}.jsonl")
    state = captured(project, conversation={"session_id": SESSION, "transcript": path})
    assert transcript_target(state, (str(root),)) == str(home / f"{SESSION}.jsonl")


@pytest.mark.parametrize("mark", [{}, {"segment": "1"}, {"segment": -1}, {"segment": True}, {"segment": 1, "members": 2.5}])
def test_a_mark_that_is_none_is_refused(mark: dict[str, object]) -> None:
    """What a state says of the journal is looked at before it is used."""
    with pytest.raises(StateInvalid, match="is damaged"):
        mark_of(mark)


def test_a_state_without_a_journal_says_so(project: Path, tmp_path: Path, home: Path) -> None:
    """Nothing is made up where nothing was journalled."""
    talk = {"session_id": SESSION, "transcript": str(home / f"{SESSION}.jsonl")}
    with pytest.raises(RestoreRefused, match="not journalled"):
        restore_transcript(StateStore(tmp_path), "key", captured(project, conversation=talk), (str(home.parent),))


def test_of_a_journal_what_a_kept_state_needs_is_kept(project: Path, tmp_path: Path, home: Path) -> None:
    """With the states their segments go, and with the last state of a conversation, a day later, its journal."""
    store, transcript = StateStore(tmp_path / "states"), home / f"{SESSION}.jsonl"
    key = project_key(project)
    journalled(store, project, transcript, age=9e5)
    transcript.write_bytes(LINES[1000:][::-1])  # another transcript: a new segment
    new = journalled(store, project, transcript)
    folder = store.state_dir / key / "journals" / SESSION
    both = sum(file.stat().st_size for file in folder.iterdir())
    done = prune(store, key, Retention())
    assert len(done.removed) == 1 and 0 < done.journal_bytes < both and done.freed_bytes > done.journal_bytes
    transcript.unlink()
    restore_transcript(store, key, new, (str(home.parent),))
    assert transcript.read_bytes() == LINES[1000:][::-1]
    (path,) = store.list(project)
    path.unlink()
    other = saved(store, project)
    assert prune(store, key, Retention()).journal_bytes == 0 and folder.exists()  # its state may be about to be written
    long_ago = folder.stat().st_mtime - UNTOUCHED - 60
    for place in (*folder.iterdir(), folder):
        os.utime(place, (long_ago, long_ago))
    content = other.read_bytes()
    other.write_bytes(content[:-5])
    assert prune(store, key, Retention()).journal_bytes == 0 and folder.exists()  # that one may need it
    other.write_bytes(content)
    assert prune(store, key, Retention()).journal_bytes > 0 and not folder.exists()
