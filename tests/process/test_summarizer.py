"""The user's own summarizer: it gets the conversation, it is bounded in time and output, and ours is there when it fails."""

from __future__ import annotations

import json
import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from workers.state.conversation import ConversationState
from workers.state.digest import Digest
from workers.state.summarizer import summarized
from workers.state.summary import summary
from workers.state.transcript import Message

from ..transcripts import conversation

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="a shell")]

DIGEST = Digest().fold(conversation(5, 100))
TALK = ConversationState("abc", "/t.jsonl", 10, 0, 10, 1.0, (Message("user", "Hello"),), DIGEST)


async def test_without_a_command(tmp_path: Path) -> None:
    """The summary is ours."""
    made = await summarized(TALK, [], tmp_path, budget_bytes=2000)
    assert (made.text, made.is_own, made.fault) == (summary(DIGEST, 2000), True, None)


async def test_it_gets_the_conversation_and_its_word_is_taken(tmp_path: Path) -> None:
    """On its standard input is one JSON object; what it writes is the summary, without what would move the cursor."""
    command = ["sh", "-c", f"cat > {tmp_path}/got; printf '\\033[2J# Héllo\\n\\nAll is well.\\n'"]
    made = await summarized(TALK, command, tmp_path, budget_bytes=2000)
    assert (made.text, made.is_own, made.fault) == ("# Héllo\n\nAll is well.", False, None)
    assert json.loads((tmp_path / "got").read_bytes()) == {
        "v": 1,
        "budget_bytes": 2000,
        "conversation": json.loads(json.dumps(TALK.to_dict())),
        "summary": summary(DIGEST, 2000),
    }
    assert os.listdir(tmp_path) == ["got"]


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("echo half; exit 3", "exit code 3"),
        ("exit 0", "it wrote nothing"),
        ("echo half; sleep 600", "it took longer than 0.5 s and was ended"),
    ],
)
async def test_ours_where_it_fails(tmp_path: Path, script: str, fault: str) -> None:
    """A failure, silence and taking too long: ours is used, and it is said why."""
    made = await summarized(TALK, ["sh", "-c", script], tmp_path, budget_bytes=2000, timeout=0.5 if "sleep" in script else 30)
    assert (made.text, made.is_own) == (summary(DIGEST, 2000), True)
    assert made.fault is not None
    assert made.fault.startswith(fault)


async def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    """Nor does a missing command or a missing directory cost the summary."""
    made = await summarized(TALK, ["/no/such/program"], tmp_path)
    assert made.is_own
    assert "cannot be started" in (made.fault or "")
    made = await summarized(TALK, ["true"], tmp_path / "missing")
    assert made.is_own
    assert "cannot write" in (made.fault or "")


async def test_more_than_was_asked_for(tmp_path: Path) -> None:
    """What is longer than its budget is cut at a word, and no more of it than that was ever kept."""
    tracemalloc.start()
    try:
        made = await summarized(TALK, ["sh", "-c", "yes 'wörd' | head -c 20000000"], tmp_path, budget_bytes=1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000
    assert not made.is_own
    assert 900 < len(made.text.encode()) <= 1000
    assert set(made.text.rstrip("…").split()) == {"wörd"}
