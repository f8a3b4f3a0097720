"""The conversation of a captured state: which session it is, where its transcript ends, what was said last, and what it comes to.

A capture calls `advanced` for the digest, which reads what is new since the last one, and `conversation` for what goes into the state.
"""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor import Value

from .digest import Digest, Redact, converter
from .excerpt import clean
from .model import StateInvalid
from .sessions import Subagent, subagents_of
from .transcript import Message, end_of_lines, lines, opened, tail

MESSAGES: Final = 50
MESSAGE_BYTES: Final = 64 * 1024

_MARK: Final = 4096


@attrs.frozen(repr=False, eq=False)
class Progress(Value):
    """How far a transcript has been folded.

    Attributes:
        digest: What the lines before `offset` come to. It holds secrets; `to_dict` leaves them out.
        offset: Bytes of whole lines.
        mark: A hash of what stands just before `offset`, to see whether the file is still the same.
    """

    digest: Digest = Digest()
    offset: int = 0
    mark: str = ""

    def to_dict(self, redact: Redact) -> dict[str, Any]:
        """As JSON data that may be written: the digest without its secrets."""
        return {"digest": self.digest.redacted(redact).to_dict(), "offset": self.offset, "mark": self.mark}

    @classmethod
    def from_dict(cls, data: object) -> Progress:
        """The opposite of `to_dict`.

        Raises:
            StateInvalid: The data describe none.
        """
        offset, mark = (data.get("offset"), data.get("mark")) if isinstance(data, dict) else (None, None)
        if not isinstance(data, dict) or type(offset) is not int or offset < 0 or not isinstance(mark, str):
            raise StateInvalid("not how far a conversation was read")
        return cls(Digest.from_dict(data.get("digest")), offset, mark[:_MARK])


@attrs.frozen(repr=False, eq=False)
class ConversationState(Value):
    """A conversation at the moment of a capture; its texts hold no secrets.

    Attributes:
        session_id: What it is resumed by; None where the transcript does not say.
        transcript: The path of its file.
        size: The bytes of the file that were there.
        torn: How many of them belong to a last line that is not whole.
        folded: How many the digest knows of.
        modified: When it was written last, in seconds since the epoch.
        messages: The last ones, the oldest first.
        digest: What all of it comes to.
        subagents: The transcripts of subagents.
    """

    session_id: str | None
    transcript: str
    size: int
    torn: int
    folded: int
    modified: float
    messages: tuple[Message, ...]
    digest: Digest
    subagents: tuple[Subagent, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The conversation as JSON data, as `CompleteState.conversation` has it."""
        data: dict[str, Any] = converter().unstructure(self)
        return data

    @classmethod
    def from_dict(cls, data: object) -> ConversationState:
        """The conversation that JSON data describe.

        Raises:
            StateInvalid: They describe none.
        """
        if not isinstance(data, dict):
            raise StateInvalid("not a conversation")
        Digest.from_dict(data.get("digest"))
        try:
            return converter().structure(data, cls)
        except RecursionError as error:
            raise StateInvalid("the conversation is nested too deeply") from error
        # boundary: cattrs reports what is missing or of a wrong kind with exceptions of many types
        except Exception as error:
            raise StateInvalid("not a conversation") from error


def understood(data: object) -> ConversationState | None:
    """The conversation of a captured state; None where it has none, or only the names of one.

    The texts of its digest are Unicode without control characters, whoever wrote them.
    """
    try:
        state = ConversationState.from_dict(data)
    except StateInvalid:
        return None
    return attrs.evolve(state, digest=state.digest.redacted(clean))


def advanced(path: Path | str, progress: Progress | None = None, *, most: int | None = None) -> Progress:
    """Fold what a transcript has grown by; from its beginning where it is no longer the file that was read.

    A change further back than the last 4 KiB that were read is not seen here.

    Args:
        path: The transcript.
        progress: How far it was read before.
        most: Bytes to fold at most, but for a first line that is longer; a first reading of 100 MB takes seconds, and can be divided so.

    Raises:
        TranscriptUnreadable: The file cannot be read.
    """
    progress = progress or Progress()
    with opened(path) as file:
        end = end_of_lines(file)
        if progress.offset > end or _mark(file, progress.offset) != progress.mark:
            progress = Progress()
        if progress.offset == end:
            return progress
        if most is not None:
            while (some := end_of_lines(file, progress.offset + most)) <= progress.offset:
                most = 2 * most + 1
            end = some
        digest = progress.digest.fold(lines(file, progress.offset, end))
        return Progress(digest, end, _mark(file, end))


def conversation(
    path: Path | str,
    progress: Progress,
    redact: Redact,
    *,
    session_id: str | None = None,
    messages: int = MESSAGES,
    limit_bytes: int = MESSAGE_BYTES,
) -> ConversationState:
    """What goes into a state.

    Args:
        path: The transcript.
        progress: What `advanced` has just returned for it.
        redact: Takes the secrets out of a text; everything that is returned has gone through it.
        session_id: The session where it is known; else what the transcript says.
        messages: How many messages at most.
        limit_bytes: Bytes of UTF-8 of their texts together, before secrets are taken out.

    Raises:
        TranscriptUnreadable: The file cannot be read.
    """
    with opened(path) as file:
        found = os.fstat(file.fileno())
        torn = found.st_size - end_of_lines(file)
    said = tuple(
        attrs.evolve(message, text=redact(message.text), tools=tuple(map(redact, message.tools)))
        for message in tail(path, messages, limit_bytes)
    )
    return ConversationState(
        session_id or progress.digest.session_id,
        os.path.abspath(path),
        found.st_size,
        max(0, torn),
        progress.offset,
        found.st_mtime,
        said,
        progress.digest.redacted(redact),
        subagents_of(Path(path)),
    )


def _mark(file: FileIO, offset: int) -> str:
    from hashlib import blake2b

    begin = max(0, offset - _MARK)
    file.seek(begin)
    return blake2b(file.read(offset - begin) or b"", digest_size=16).hexdigest() if offset else ""
