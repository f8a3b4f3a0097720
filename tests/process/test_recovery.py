"""What is looked at before a life, whose affair it is, and what is done where that cannot be found out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.claude import recovery as module
from workers.claude.recovery import Case, Recovery, Verdict, failed
from workers.event_transcript import ConversationLost, TranscriptDamaged, TranscriptLarge, Trouble

from .test_claude_leaf import ANSWER, ASKED, NEXT, NOTE, OURS, PROMPT, Stage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    for made in stage.made:
        made.close()


def test_a_first_life_and_one_that_nobody_has_spoken_in(stage: Stage) -> None:
    """There is nothing to look after, and so nothing to be said, be there a file or none."""
    leaf = stage.leaf("fix")
    recovery = Recovery(leaf, None, "key")
    assert recovery.due() is None
    leaf.next()
    assert recovery.due() is None
    stage.transcript(OURS, NOTE)
    assert recovery.due() is None


def test_what_was_answered_is_missed(stage: Stage) -> None:
    """Where its transcript would be is known, also where the program has not said so, and what it says of elsewhere is not believed."""
    leaf = stage.leaf()
    recovery = Recovery(leaf, None, "key")
    leaf.next()
    recovery.talked()
    path = stage.transcript(OURS, PROMPT)
    path.unlink()
    case = recovery.due()
    assert case is not None and (case.session_id, case.trouble, case.transcript) == (OURS, Trouble.MISSING, path)
    leaf.learned(OURS, str(stage.folder / f"{OURS}.jsonl"))
    assert leaf.place_of(OURS) == path
    told = stage.folder / "config" / "projects" / "elsewhere" / f"{OURS}.jsonl"
    leaf.transcript = str(told)
    assert leaf.place_of(OURS) == told

    verdict = recovery.recover(case)
    assert (verdict.event, verdict.lost, verdict.context) == (None, True, None)
    recovery.conclude(case, verdict)
    life = leaf.next(retold=False)
    assert life.argv == ("claude", "--session-id", NEXT)
    (said,) = recovery.begun("")
    assert isinstance(said, ConversationLost) and (said.session_id, said.is_told) == (OURS, False) and "captured" in said.untold
    assert recovery.begun("") == () and recovery.told() is None


def test_what_somebody_else_is_in_is_theirs(stage: Stage) -> None:
    """A transcript that another guardian's agent may be writing to is not repaired."""
    path = stage.transcript(ASKED, PROMPT, ANSWER)
    path.write_bytes(path.read_bytes()[:-5])
    owner = stage.leaf(f"--resume {ASKED}")
    assert owner.enter(ASKED)
    assert Recovery(stage.leaf(f"--resume {ASKED}"), None, "key").due() is None
    case = Recovery(owner, None, "key").due()
    assert case is not None and case.trouble is Trouble.TORN


def test_what_the_user_asks_for_is_looked_at_from_the_first_life_on(stage: Stage) -> None:
    """Where the command names it; a copy, and one that only the program knows, are not."""
    path = stage.transcript(ASKED, PROMPT, ANSWER)
    path.write_bytes(path.read_bytes()[:-5])
    for line in ("--continue", f"--resume {ASKED} --fork-session", "-r name", "--resume", f"--resume {ASKED} --no-session-persistence"):
        assert Recovery(stage.leaf(line), None, "key").due() is None
    assert Recovery(stage.leaf(f"-r {ASKED}"), None, "key").due() is not None


def test_a_large_one_is_announced_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first life that goes on with it."""
    monkeypatch.setattr(module, "LARGE_TRANSCRIPT", 50)
    path = stage.transcript(ASKED, PROMPT, ANSWER)
    recovery = Recovery(stage.leaf(f"--resume {ASKED}"), None, "key")
    assert recovery.due() is None and recovery.due() is None
    (said,) = recovery.begun("")
    assert isinstance(said, TranscriptLarge) and (said.session_id, said.size_bytes) == (ASKED, path.stat().st_size)


def test_where_nothing_could_be_found_out_the_life_starts_all_the_same(stage: Stage) -> None:
    """With the conversation, unless that was refused: then it would be tried for ever."""
    for trouble, lost in ((Trouble.TORN, False), (Trouble.REFUSED, True)):
        verdict = failed(Case(ASKED, trouble, Path("/t")), "a fault of ours")
        assert verdict == Verdict(TranscriptDamaged((), ASKED, "/t", trouble, "a fault of ours"), lost)
