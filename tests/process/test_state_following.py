"""Following a conversation from capture to capture: which one it is, and what is left to fold when a capture had no time for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supervisor import ProcessId, identify
from workers.state import codec, following
from workers.state.conversation import ConversationState, Progress
from workers.state.digest import Digest
from workers.state.following import DIGEST, Conversations, Followed, found_transcript
from workers.state.keys import Keys
from workers.state.looking import Seen
from workers.state.seal import KeySeal
from workers.state.store import StateStore
from workers.state.subject import Subject

from ..transcripts import conversation

SESSION = "0b5c1d2e-3f40-4a51-8b62-7c8d9e0f1a2b"
OTHER = "1c6d2e3f-4051-4b62-9c73-8d9e0f1a2b3c"
KEY = "project-0123456789abcdef"


def seen(folder: Path) -> Seen:
    return Seen(str(folder), {"CLAUDE_CONFIG_DIR": str(folder / "claude")}, None, None, None, "host", {})


def written(folder: Path, session: str = SESSION, cwd: Path | None = None) -> Path:
    path = folder / "claude" / "projects" / str(cwd or folder).replace("/", "-") / f"{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(line + b"\n" for line in conversation(1, 80)))
    return path


def told(followed: Followed) -> ConversationState:
    assert not followed.faults
    return ConversationState.from_dict(followed.conversation)


@pytest.mark.parametrize("seal", [None, KeySeal(Keys((bytes(32),)))], ids=["plain", "encrypted"])
def test_what_a_capture_has_no_time_for_is_folded_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seal: KeySeal | None) -> None:
    """The capture has the first piece and says how far that is; the rest is caught up piece by piece, and the next capture has all of it,
    as if it had been folded at once; so has another process, which does not begin anew.
    """
    monkeypatch.setattr(following, "PIECE", 10_000)
    monkeypatch.setattr(following, "SAVED", 0)
    path, store = written(tmp_path), StateStore(tmp_path / "states", seal)
    subject = Subject("claude", ("claude",), str(tmp_path), session=SESSION)
    conversations = Conversations()
    first = told(conversations.follow(store, KEY, subject, seen(tmp_path), 0.0))
    assert 0 < first.folded < first.size == path.stat().st_size and conversations.is_behind
    pieces = 0
    while conversations.is_behind:
        conversations.catch_up()
        pieces += 1
    assert pieces > 3
    once = Digest().fold(path.read_bytes().splitlines())
    second = told(conversations.follow(store, KEY, subject, seen(tmp_path), 0.0))
    assert (second.folded, second.digest) == (second.size, once)
    place = store.state_dir / KEY / "journals" / SESSION / DIGEST
    assert place.stat().st_mode & 0o777 == 0o600
    assert (seal is None) == place.read_bytes().startswith((codec.GZIP, codec.ZSTD))
    monkeypatch.setattr(following, "advanced", advance_of_none)
    assert told(Conversations().follow(store, KEY, subject, seen(tmp_path), 0.0)).digest == once
    place.write_bytes(b"damaged")
    monkeypatch.undo()
    assert told(Conversations().follow(store, KEY, subject, seen(tmp_path), 60.0)).digest == once


def advance_of_none(path: Path, progress: Progress, most: int) -> Progress:
    assert progress.offset == path.stat().st_size
    return progress


def test_which_conversation_is_a_leafs(tmp_path: Path) -> None:
    """What is said of it comes first, then what is registered for one of its processes; the only file that was written in its directory is
    believed of an agent alone, and of two of them neither.
    """
    path = written(tmp_path)
    here = seen(tmp_path)

    def found(*argv: str, **more: object) -> str | None:
        transcript = found_transcript(Subject("a", argv, str(tmp_path), **more), here)  # type: ignore[arg-type]  # as they come
        return None if transcript is None else transcript.session_id

    assert found("claude", uptime=60.0) == found("node", "/lib/claude.js", uptime=60.0) == SESSION
    assert found("python", "train.py", uptime=60.0) is None and found("claude") is None
    os.utime(path, (time.time() - 100, time.time() - 100))
    assert found("claude", uptime=60.0) is None
    assert found("x", session=SESSION) == found("x", transcript=str(path)) == SESSION
    assert found("x", session="../../etc/passwd") is None and found("x", transcript=str(tmp_path / "a b.jsonl")) is None
    elsewhere = written(tmp_path, OTHER, Path("/somewhere/else"))
    registry = tmp_path / "claude" / "sessions"
    registry.mkdir()
    (registry / "7.json").write_text(json.dumps({"procStart": "70", "sessionId": OTHER, "version": "2.1.0"}))
    tree = (ProcessId(5, 50), ProcessId(7, 70))
    transcript = found_transcript(Subject("a", ("sh",), str(tmp_path), processes=tree), here)
    assert transcript is not None and (transcript.path, transcript.version) == (elsewhere.resolve(), "2.1.0")
    assert found("sh", processes=(ProcessId(7, 71),)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="when a process began, as Linux tells it")
def test_what_a_leaf_wrote_before_it_was_up_is_its(tmp_path: Path) -> None:
    """Its life began with its process, whatever passed until it was ready, and until its guardian's look came here."""
    with subprocess.Popen(["sleep", "60"]) as process:
        path = written(tmp_path)
        subject = Subject("a", ("claude",), str(tmp_path), process=identify(process.pid), uptime=0.0)
        found = found_transcript(subject, seen(tmp_path))
        assert found is not None and found.session_id == SESSION
        os.utime(path, (time.time() - 100, time.time() - 100))
        assert found_transcript(subject, seen(tmp_path)) is None
        process.kill()


def test_a_session_in_which_nothing_was_said_has_no_conversation(tmp_path: Path) -> None:
    """Nothing failed: there is no transcript yet."""
    subject = Subject("claude", ("claude",), str(tmp_path), session=SESSION, transcript=str(tmp_path / f"{SESSION}.jsonl"))
    assert Conversations().follow(StateStore(tmp_path / "states"), KEY, subject, seen(tmp_path), 1.0) == Followed()
