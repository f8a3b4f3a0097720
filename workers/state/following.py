"""Follows conversations from one capture to the next: finds the transcript, journals what is new of it, and folds that into the digest.

How far a transcript has been folded is kept between captures, and beside its journal, without its secrets, for the next process that
captures. What is missing there or cannot be read is folded anew.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor import Value, describe

from ..redaction import redact_text
from . import codec
from .conversation import Progress, advanced, conversation
from .digest import LARGEST
from .files import StateWriteFailed, read_private, write_atomic
from .journal import Journal
from .journals import journal_of
from .looking import Seen
from .messages import Fault
from .model import StateInvalid, canonical
from .restore import is_session
from .sessions import config_directory, session_of, transcript_of, transcript_since
from .store import StateStore
from .subject import Subject
from .transcript import TranscriptUnreadable

PIECE: Final = 4 << 20
"""Bytes that are folded at a time, a tenth of a second."""

SAVED: Final = 1 << 20
"""Bytes that may be folded again by another process, before what is known is written down again."""

_SLACK: Final = 0.05
"""Seconds: a file's times come from a clock that ticks more slowly, and what is created is counted in hundredths."""

FOLLOWED: Final = 32
"""Conversations whose progress is in memory; that of others is on disk."""

DIGEST: Final = "digest"
"""The name of what is kept beside the journal."""


@attrs.frozen(repr=False, eq=False)
class Transcript(Value):
    """A conversation and its file; `version` is the agent's, as it says itself."""

    session_id: str
    path: Path
    version: str | None = None


@attrs.frozen(repr=False, eq=False)
class Followed(Value):
    """What goes into a state.

    Attributes:
        conversation: See `CompleteState.conversation`.
        journal: The mark of the journal.
        faults: What could not be had.
        versions: The agent's, if it is known.
    """

    conversation: dict[str, Any] | None = None
    journal: dict[str, Any] | None = None
    faults: tuple[Fault, ...] = ()
    versions: dict[str, str] = attrs.field(factory=dict)


class Conversations:
    """The conversations that are followed. Its calls block, and may come from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Path, _Talk] = OrderedDict()

    def follow(self, store: StateStore, key: str, subject: Subject, seen: Seen, limit: float) -> Followed:
        """Capture the conversation of a leaf. What fails costs its part alone.

        Args:
            store: Where its journal is.
            key: The project's key.
            subject: The leaf.
            seen: What was seen of it.
            limit: Seconds for folding what is new; see `catch_up`.
        """
        try:
            found = found_transcript(subject, seen)
        except Exception as error:  # boundary: whatever the agent's files do to their reader is the conversation's fault alone
            return Followed(faults=(Fault("conversation", describe(error)),))
        if found is None:
            return Followed()
        talk = self._talk(store, key, found)
        with talk.lock:
            return talk.captured(found, limit)

    @property
    def is_behind(self) -> bool:
        """Whether something is left to fold."""
        with self._lock:
            return any(talk.is_behind for talk in self._known.values())

    def catch_up(self) -> None:
        """Fold a piece of what is left."""
        with self._lock:
            talk = next((talk for talk in self._known.values() if talk.is_behind), None)
        if talk is not None:
            with talk.lock:
                talk.catch_up()

    def _talk(self, store: StateStore, key: str, found: Transcript) -> _Talk:
        directory = journal_of(store, key, found.session_id).directory
        with self._lock:
            known = self._known.pop(directory, None)
            same = known is not None and known.path == found.path
            talk = known if known is not None and same else _Talk(store, key, found.session_id, found.path, directory)
            talk.store = store
            self._known[directory] = talk
            while len(self._known) > FOLLOWED:
                self._known.popitem(last=False)
        return talk


def found_transcript(subject: Subject, seen: Seen) -> Transcript | None:
    """The transcript of a leaf's conversation; None where there is none, or none that is certainly its.

    What whoever started the leaf says comes first, then what the agent has registered for one of the leaf's processes. An agent that
    registers nothing is believed to write the one file that was written in its directory since its life began.
    """
    config = config_directory(seen.environment)
    cwd = seen.cwd or seen.working_directory
    if subject.transcript is not None:
        given = Path(os.path.abspath(subject.transcript))
        return _transcript(subject.session or given.stem, given)
    if config is None:
        return None
    if subject.session is not None:
        return _transcript(subject.session, transcript_of(config, subject.session, cwd))
    processes = subject.processes or (() if subject.process is None else (subject.process,))
    session = session_of(config, processes)
    if session is not None:
        return _transcript(session.id, transcript_of(config, session.id, session.cwd or cwd), session.version)
    age = _age(subject)
    if age is None or not _is_claude(subject.argv):
        return None
    path = transcript_since(config, cwd, time.time() - age)
    return None if path is None else _transcript(path.stem, path)


def _transcript(session_id: str, path: Path | None, version: str | None = None) -> Transcript | None:
    return Transcript(session_id, path, version) if path is not None and is_session(session_id) else None


def _age(subject: Subject) -> float | None:
    """Seconds since the leaf's life began; where the system does not tell that, since it was up, when its guardian looked."""
    if sys.platform == "linux" and subject.process is not None:
        # a leaf that is up late has written before that, and the guardian's look is over
        return time.clock_gettime(time.CLOCK_BOOTTIME) - subject.process.created / os.sysconf("SC_CLK_TCK") + _SLACK
    return None if subject.uptime is None else subject.uptime + _SLACK


def _is_claude(argv: tuple[str, ...]) -> bool:
    """Whether a command is Claude Code, by its name or by that of the script that an interpreter runs."""
    return any("claude" in os.path.basename(word).lower() for word in argv[:2])


class _Redaction:
    """Takes secrets out of texts; what it was given for the last state it has not to look through again for the next one."""

    def __init__(self) -> None:
        self._before: dict[str, str] = {}
        self._now: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        clean = self._now.get(text)
        if clean is None:
            clean = self._before.get(text)
            clean = self._now[text] = redact_text(text) if clean is None else clean
        return clean

    def turn(self) -> None:
        """A state begins: what the one before the last had is forgotten."""
        self._before, self._now = self._now, {}


class _Talk:
    """One conversation; whoever uses it holds its lock."""

    def __init__(self, store: StateStore, key: str, session_id: str, path: Path, directory: Path) -> None:
        self.store, self.path, self.lock = store, path, threading.Lock()
        self.is_behind = False
        self._key, self._session_id, self._directory = key, session_id, directory
        self._progress: Progress | None = None
        self._saved = 0
        self._redact = _Redaction()
        self._clean = Progress()

    def captured(self, found: Transcript, limit: float) -> Followed:
        # the journal compresses and waits for the disk, the digest is folded meanwhile
        with ThreadPoolExecutor(1, "journal") as beside:
            journalling = beside.submit(self._journalled)
            told, unread = self._told(limit)
        mark, faults = journalling.result()
        if mark is None and not self.path.exists():
            return Followed()  # a session in which nothing was said yet
        try:
            self._save()
        except StateWriteFailed as error:
            unread = (*unread, Fault("conversation", f"how far it was read is not kept: {error}"))
        versions = {} if found.version is None else {"claude": redact_text(found.version[:64])}
        return Followed(told, mark, (*faults, *unread), versions)

    def _told(self, limit: float) -> tuple[dict[str, Any], tuple[Fault, ...]]:
        """What the state has of the conversation."""
        try:
            progress = self._folded(limit)
            self._redact.turn()
            state = conversation(self.path, progress, self._redact, session_id=self._session_id)
            # what is written down has no secrets: it is what the state has
            self._clean = Progress(state.digest, progress.offset, progress.mark)
            return state.to_dict(), ()
        except Exception as error:  # boundary: whatever a transcript does to its reader costs this part alone
            # by its id it is resumed all the same, and from its journal put back
            return {"session_id": self._session_id, "transcript": str(self.path)}, (Fault("conversation", _said(error)),)

    def _journalled(self) -> tuple[dict[str, Any] | None, tuple[Fault, ...]]:
        """The mark of the journal."""
        try:
            return attrs.asdict(self._journal().append(self.path)), ()
        except FileNotFoundError as error:
            return self._last(error)
        except Exception as error:  # boundary: what cannot be journalled costs the journal, and is said
            return None, (Fault("journal", _said(error)),)

    def _last(self, error: FileNotFoundError) -> tuple[dict[str, Any] | None, tuple[Fault, ...]]:
        """The last moment of a transcript that is gone: from that it can be put back."""
        try:
            marks = self._journal().marks()
        except (OSError, StateInvalid) as unreadable:
            return None, (Fault("journal", _said(unreadable)),)
        if not marks:
            return None, ()
        return attrs.asdict(marks[-1]), (Fault("journal", f"{_said(error)}; it can be put back as it was at the last capture"),)

    def _journal(self) -> Journal:
        return journal_of(self.store, self._key, self._session_id)

    def _folded(self, limit: float) -> Progress:
        deadline = time.monotonic() + limit
        self.is_behind = True
        while self._fold_piece() and time.monotonic() < deadline:
            pass
        assert self._progress is not None
        return self._progress

    def _fold_piece(self) -> bool:
        """Fold a piece; whether something may be left."""
        before = self._progress = self._progress or self._loaded()
        self._progress = advanced(self.path, before, most=PIECE)
        self.is_behind = self._progress is not before
        return self.is_behind

    def catch_up(self) -> None:
        try:
            if not self._fold_piece() and self._progress is not None:
                self._clean = Progress(self._progress.digest.redacted(self._redact), self._progress.offset, self._progress.mark)
                self._save()
        except Exception:  # boundary: nobody waits for this, and the next capture meets the same and says it
            self.is_behind = False

    def _save(self) -> None:
        """Write down how far it was read, if that is worth it."""
        progress = self._clean
        if abs(progress.offset - self._saved) < SAVED or not self._directory.is_dir():
            return
        data = codec.compress(canonical(progress.to_dict(lambda text: text)))
        if self.store.seal is not None:
            data = self.store.seal.sealed(data, self._header)
        write_atomic(self._directory / DIGEST, data, durable=False)
        self._saved = progress.offset

    def _loaded(self) -> Progress:
        try:
            data = read_private(self._directory / DIGEST, LARGEST)
            if self.store.seal is not None:
                data = self.store.seal.opened(data, self._header)
            progress = Progress.from_dict(json.loads(codec.decompress(data, 2 * LARGEST)))
        except (OSError, StateInvalid, ValueError, RecursionError):
            return Progress()  # nothing that could be used: all of it is folded again
        self._saved = progress.offset
        return progress

    @property
    def _header(self) -> dict[str, str]:
        return {"project": self._key, "session": self._session_id, "format": "digest"}


def _said(error: Exception) -> str:
    """Why, in words: what is expected explains itself, anything else says its type too."""
    return str(error) if isinstance(error, StateInvalid | StateWriteFailed | TranscriptUnreadable | OSError) else describe(error)
