"""What becomes of a conversation whose transcript is damaged, or that the program does not resume.

Before each life that is to go on with one its transcript is looked at, and repaired where that is needed. What cannot be gone on with is
given up: the life begins a new conversation, and is told what is known of the old one. So a conversation that is refused is tried again
once, if there was something to repair, and never a third time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from supervisor import Event, Value

from ..event_transcript import ConversationLost, TranscriptDamaged, TranscriptLarge, TranscriptRepaired, Trouble
from .continuation import Continuation
from .limits import LARGE_TRANSCRIPT
from .settings import PROMPTED

if TYPE_CHECKING:
    from ..state.digest import Digest
    from ..state.journal import Journal
    from ..state.store import StateStore

FOLDED: Final = 64 << 20
"""Bytes of a damaged transcript beyond which it is not read for what it comes to: what the last capture made of it has to do."""

BEGINNING: Final = 8 << 20
"""Bytes of a transcript within which its first prompt is."""

_MARK: Final = "takes the place of another one ({session_id})"
_PREFACE: Final = (
    f"memory-guardian: this conversation {_MARK}, "
    "which cannot be gone on with: its transcript {why}. You remember nothing of it but what follows. Say so when you are next asked "
    "something, and ask where it is not enough."
)
_WHY: Final = {
    Trouble.MISSING: "is gone",
    Trouble.SILENT: "cannot be read",
    Trouble.REFUSED: "is damaged",
}
_NOTICE: Final = "memory-guardian: the conversation {session_id} could not be gone on with. This is a new one, with a summary of it."


@attrs.frozen(repr=False, eq=False)
class Case(Value):
    """Something to be done before a life.

    Attributes:
        session_id: The conversation.
        trouble: What is wrong with it.
        transcript: Its transcript, or where that would be; None where nobody knows.
        tries: How often the program has refused it.
    """

    session_id: str
    trouble: Trouble
    transcript: Path | None
    tries: int = 0


@attrs.frozen(repr=False, eq=False)
class Verdict(Value):
    """What was done.

    Attributes:
        event: What there is to say of the transcript; None where nothing was done.
        lost: Whether the conversation cannot be gone on with.
        context: What the life that begins a new one is told of it; None where nothing is known.
    """

    event: Event | None = None
    lost: bool = False
    context: str | None = None


@attrs.frozen(repr=False, eq=False)
class Anew(Value):
    """A life that begins a new conversation in the place of one that was lost."""

    case: Case
    context: str | None


class Recovery:
    """Looks after the conversation of one leaf, between its lives.

    Args:
        continuation: The conversation.
        store: Opens where states are kept, with the keys that are configured or without; None where none are. With keys it may block.
        key: Of the project there.

    Attributes:
        anew: What the next life has to know of a conversation that was lost; None where none was.
        events: What there is to say with the next life.
    """

    def __init__(self, continuation: Continuation, store: Callable[[bool], StateStore] | None, key: str) -> None:
        self._continuation, self._store, self._key = continuation, store, key
        self._talked = continuation.session_id
        self._refused: str | None = None
        self._tries = 0
        self._weighed: str | None = None
        self._replacing: tuple[str | None, Anew] | None = None
        self.anew: Anew | None = None
        self.events: list[Event] = []

    def talked(self) -> None:
        """Something has been said in the conversation that could be lost."""
        self._talked = self._continuation.session_id

    def refused(self, session_id: str) -> None:
        """The program did not resume a conversation."""
        self._tries = self._tries + 1 if session_id == self._refused else 1
        self._refused = session_id

    def resumed(self) -> None:
        """The program has resumed the conversation."""
        self._refused, self._tries = None, 0

    def due(self) -> Case | None:
        """What is to be done before the next life; None for nothing, as nearly always. Blocks for a few reads."""
        from .transcript_repair import trouble_of

        session_id = self._continuation.coming()
        if session_id is None:
            return None
        path = self._continuation.path_of(session_id)
        if session_id == self._refused:
            return Case(session_id, Trouble.REFUSED, path, self._tries)
        known = self._journalled(session_id)
        trouble = trouble_of(path, known)
        if trouble not in (Trouble.MISSING, Trouble.SILENT):
            self._talked = session_id
        elif session_id != self._talked and not known:
            return None  # nobody has said anything yet
        if trouble is None:
            self._weigh(session_id, path)
            return None
        if not self._continuation.enter(session_id):
            return None  # somebody else is in it, and it is theirs
        return Case(session_id, trouble, path or self._continuation.place_of(session_id))

    def _weigh(self, session_id: str, path: Path | None) -> None:
        try:
            size = 0 if path is None else os.path.getsize(path)
        except OSError:
            return  # it has just gone, which the life finds out
        if size > LARGE_TRANSCRIPT and session_id != self._weighed:
            self._weighed = session_id
            self.events.append(TranscriptLarge((), session_id, os.fspath(path or ""), size))

    def _journalled(self, session_id: str) -> int:
        """How many bytes of the transcript of a conversation its journal has."""
        journal = self._journal(session_id, keys=False)
        return 0 if journal is None else journal.covers()

    def recover(self, case: Case) -> Verdict:
        """Repair the transcript, or find out what is known of the conversation. Blocks: call it in a thread."""
        from ..state.files import StateWriteFailed
        from ..state.keys import KeyUnavailable
        from ..state.model import StateInvalid
        from .on_disk import OnDisk, on_disk
        from .transcript_repair import NothingToRepair, NotJournalled, repair

        said: Event | None = None
        done = False
        if case.transcript is not None and case.tries < 2:
            file = os.fspath(case.transcript)
            try:
                did = repair(case.trouble, case.transcript, self._journal(case.session_id))
                size = os.path.getsize(case.transcript)
                kept = None if did.kept is None else os.fspath(did.kept)
                said = TranscriptRepaired((), case.session_id, file, case.trouble, did.how, did.cut_bytes, size, kept)
                done = True
            except (NothingToRepair, NotJournalled):
                said = None  # what becomes of the conversation is said
            except (StateInvalid, StateWriteFailed, KeyUnavailable, OSError) as error:
                said = TranscriptDamaged((), case.session_id, file, case.trouble, str(error))
        lost = not done if case.trouble is Trouble.REFUSED else on_disk(self._continuation.path_of(case.session_id)) is not OnDisk.TALK
        return Verdict(said, lost, self._context(case) if lost else None)

    def conclude(self, case: Case, verdict: Verdict) -> None:
        """Have the next life do what was found."""
        if verdict.event is not None:
            self.events.append(verdict.event)
        self.anew = None
        if verdict.lost:
            self.anew = Anew(case, verdict.context)
            self._continuation.give_up(case.session_id)

    def told(self) -> str | None:
        """What a hook prints with the first prompt of the next life; None for nothing. Blocks for a look into the transcript.

        2.0.77 does not write down what hooks tell it: each later life of the conversation is told again.
        """
        if self.anew is not None:
            return None if self.anew.context is None else _printed(self.anew.context, _NOTICE.format(session_id=self.anew.case.session_id))
        session_id, anew = self._replacing or (None, None)
        if anew is None or anew.context is None or session_id is None or session_id != self._continuation.coming():
            return None
        return None if _has(self._continuation.path(), _MARK.format(session_id=anew.case.session_id)) else _printed(anew.context)

    def begun(self, untold: str) -> tuple[Event, ...]:
        """What there is to say with the life that was started; it is said once.

        Args:
            untold: Why it could not be told of a conversation that was lost; empty where it could.
        """
        said, self.events = tuple(self.events), []
        if self.anew is not None:
            self._replacing = self._continuation.session_id, self.anew
            case, why = self.anew.case, untold or ("" if self.anew.context is not None else "nothing of it was captured")
            said = (*said, ConversationLost((), case.session_id, case.trouble, not why, why))
        self.anew = None
        return said

    def _journal(self, session_id: str, *, keys: bool = True) -> Journal | None:
        """The journal of a conversation, to be read; None where there is none.

        Raises:
            KeyUnavailable: Its key is not there.
        """
        if self._store is None:
            return None
        from ..state.journals import journal_of
        from ..state.model import StateInvalid

        try:
            journal = journal_of(self._store(keys), self._key, session_id)
        except StateInvalid:
            return None
        return journal if journal.directory.is_dir() else None

    def _context(self, case: Case) -> str | None:
        """What is known of a conversation, in words for the program."""
        from ..redaction import redact_text
        from ..state.summary import summary

        known = [digest for digest in (self._captured(case.session_id), self._written(case)) if digest is not None and digest.turns]
        if not known:
            return None
        newest = max(known, key=lambda digest: digest.turns)
        preface = _PREFACE.format(session_id=case.session_id, why=_WHY.get(case.trouble, "is damaged"))
        return f"{preface}\n\n{summary(newest.redacted(redact_text))}"

    def _captured(self, session_id: str) -> Digest | None:
        """What the last state that has a conversation made of it."""
        if self._store is None:
            return None
        from ..state.conversation import understood
        from ..state.index import listing
        from ..state.keys import KeyUnavailable
        from ..state.store import StateUnreadable

        try:
            store = self._store(True)
            entries = [entry for entry in listing(store, self._key).entries if entry.session_id == session_id]
            talk = understood(store.load(entries[-1].path).conversation) if entries else None
        except (KeyUnavailable, StateUnreadable, OSError):
            return None  # what is written in the transcript has to do
        return None if talk is None else talk.digest

    def _written(self, case: Case) -> Digest | None:
        """What can still be read of a transcript."""
        from ..state.conversation import advanced
        from ..state.transcript import TranscriptUnreadable

        try:
            if case.transcript is None or os.path.getsize(case.transcript) > FOLDED:
                return None
            return advanced(case.transcript).digest
        except (TranscriptUnreadable, OSError):
            return None


def failed(case: Case, reason: str) -> Verdict:
    """What is to be done where that could not be found out: a conversation that was refused is not tried for ever."""
    file = "" if case.transcript is None else os.fspath(case.transcript)
    return Verdict(TranscriptDamaged((), case.session_id, file, case.trouble, reason), lost=case.trouble is Trouble.REFUSED)


def _printed(context: str, notice: str | None = None) -> str:
    """What a hook prints so that the program reads a context, and the user a notice."""
    said = {} if notice is None else {"systemMessage": notice}
    return json.dumps({**said, "hookSpecificOutput": {"hookEventName": PROMPTED, "additionalContext": context}})


def _has(transcript: Path | None, text: str) -> bool:
    """Whether a text is in the beginning of a transcript, where what came with the first prompt is."""
    try:
        with open(transcript or os.devnull, "rb") as file:
            return text.encode() in file.read(BEGINNING)
    except OSError:
        return False
