"""The summary of a captured conversation: shown, exported, in its budget, and by a command of the user's."""

from __future__ import annotations

import json
import stat
import sys
import time
from pathlib import Path

import pytest

from supervisor.edge.command_line import main
from workers.state.conversation import ConversationState
from workers.state.digest import Digest
from workers.state.store import StateStore
from workers.state.summary import summary
from workers.state.transcript import Message

from ..process.state_support import SESSION, saved
from ..transcripts import conversation

DIGEST = Digest().fold(conversation(5, 100))
TALK = ConversationState(SESSION, "/t.jsonl", 10, 0, 10, 1.0, (Message("user", "Hello"),), DIGEST).to_dict()


class Place:
    """A project that is the current directory, and what it says."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.project, self.capsys = root / "project", capsys
        self.store = StateStore(root / "states")
        self.project.mkdir()

    def ask(self, *words: str, **hooks: str) -> tuple[int, str, str]:
        """Run a subcommand; returns its exit code and what it says."""
        environ = {f"MEMORY_GUARDIAN_HOOKS_{name.upper()}": value for name, value in hooks.items()}
        environ["MEMORY_GUARDIAN_GUARDIAN_STATE_DIR"] = str(self.store.state_dir)
        code = main(["states", *words], environ=environ)
        said = self.capsys.readouterr()
        return code, said.out, said.err


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    made = Place(tmp_path.resolve(), capsys)
    monkeypatch.chdir(made.project)
    return made


def test_it_is_shown_and_exported_within_its_budget(place: Place) -> None:
    """By the digest alone; as text, as JSON, and into a private file."""
    saved(place.store, place.project, conversation=TALK)
    assert place.ask("show", "--summary") == place.ask("export", "--summary") == (0, summary(DIGEST), "")
    code, out, _ = place.ask("show", "--summary", "--budget", "500", "--json")
    told = json.loads(out)
    assert code == 0 and told["summary"] == summary(DIGEST, 500) and told["is_own"] and told["fault"] is None
    assert place.ask("export", "--summary", "--budget", "600", "--output", "page.md")[0] == 0
    assert (place.project / "page.md").read_text() == summary(DIGEST, 600)
    assert stat.S_IMODE((place.project / "page.md").stat().st_mode) == 0o600


def test_a_state_says_what_its_conversation_came_to(place: Place) -> None:
    """In two lines of `show`, beside which session it is; nothing more where only that is known."""
    saved(place.store, place.project, conversation=TALK, age=10.0)
    code, out, _ = place.ask("show")
    assert code == 0 and f"{DIGEST.turns} questions" in out and f"last asked: {DIGEST.last_prompt[:20]}" in out
    saved(place.store, place.project, conversation={"session_id": SESSION, "transcript": "/t"})
    code, out, _ = place.ask("show")
    assert code == 0 and SESSION in out and "questions" not in out


def test_what_cannot_be_summarized_is_said(place: Place) -> None:
    """No conversation, only the names of one, a budget that is none: nothing is written, and the exit code tells."""
    for talk in (None, {"session_id": SESSION, "transcript": "/t"}, {**TALK, "digest": {"turns": "many"}}):
        saved(place.store, place.project, conversation=talk)
        for words in (("show", "--summary"), ("export", "--summary", "--output", "page.md")):
            code, out, err = place.ask(*words)
            assert (code, out) == (1, "") and "no conversation that could be summarized" in err
    for budget in ("0", "-1", "255", "1e3", "8K", "", "²", "9" * 5000):
        code, _, err = place.ask("show", "--summary", f"--budget={budget}")
        assert code == 2 and "--budget" in err and "256 to 1048576" in err
    code, _, err = place.ask("show", "--budget", "500")
    assert code == 2 and "is for --summary" in err
    assert not (place.project / "page.md").exists()


def test_what_would_move_the_cursor_is_not_shown(place: Place) -> None:
    """A state's digest is what a file says, whoever wrote that."""
    saved(place.store, place.project, conversation={**TALK, "digest": {**TALK["digest"], "title": "a\x1b[2Jb\x9b2Jc\u202e"}})
    code, out, _ = place.ask("show", "--summary")
    saved(place.store, place.project, conversation={**TALK, "digest": {**TALK["digest"], "last_prompt": "half \ud800"}})
    assert place.ask("show")[0] == place.ask("show", "--summary")[0] == 0
    assert code == 0 and out.startswith("# ab") and not any(char in out for char in "\x1b\x9b\u202e")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell")
def test_a_command_of_the_users_in_place_of_ours(place: Place) -> None:
    """It gets the conversation and its word is taken; where it fails ours is there, and it is said why."""
    saved(place.store, place.project, conversation=TALK)
    command = ["sh", "-c", "cat > got; echo 'All is well.'"]
    assert place.ask("show", "--summary", "--budget", "300", summarizer=json.dumps(command)) == (0, "All is well.\n", "")
    got = json.loads((place.project / "got").read_bytes())
    assert (got["budget_bytes"], got["conversation"]["session_id"]) == (300, SESSION)
    code, out, err = place.ask("show", "--summary", "--json", summarizer='["sh", "-c", "exit 3"]')
    told = json.loads(out)
    assert code == 0 and told["summary"] == summary(DIGEST) and told["is_own"]
    assert "exit code 3" in told["fault"] and "hooks.summarizer" in err


@pytest.mark.skipif(sys.platform == "win32", reason="a shell")
def test_one_that_takes_too_long_is_ended(place: Place) -> None:
    """With what it started; ours is shown."""
    saved(place.store, place.project, conversation=TALK)
    began = time.monotonic()
    code, out, err = place.ask("show", "--summary", summarizer='["sleep", "600"]', summarizer_timeout="0.2")
    assert (code, out) == (0, summary(DIGEST)) and "longer than 0.2 s" in err and time.monotonic() - began < 60
