"""What is said in a conversation of stream-json: the caller's lines, what becomes known, and what is to be done about it. Pure."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

import attrs

from supervisor import Value


class Kind(Enum):
    """What a line of the caller's is."""

    PROMPT = "prompt"
    """It begins a turn."""
    REQUEST = "request"
    """It asks the program for something, and gets a response."""
    RESPONSE = "response"
    """It answers a question of the program's."""
    OTHER = "other"


@attrs.frozen(repr=False, eq=False)
class Line(Value):
    """A line of the caller's.

    Attributes:
        data: The line without its end.
        kind: What it is.
        id: Of a request, or of the one that it answers; empty for others.
        subtype: Of a request.
        idempotent: Whether it may be said again when its turn was cut.
        repeats: How often it was.
        replayed: Whether the caller has its response already, from an earlier life.
    """

    data: bytes = attrs.field(repr=False)
    kind: Kind = Kind.OTHER
    id: str = ""
    subtype: str = ""
    idempotent: bool = False
    repeats: int = 0
    replayed: bool = False


@attrs.frozen(repr=False, eq=False)
class Said(Value):
    """The caller says a line."""

    line: Line


@attrs.frozen(repr=False, eq=False)
class Closed(Value):
    """The caller has said everything."""


@attrs.frozen(repr=False, eq=False)
class Began(Value):
    """A life has begun and can be written to; its number is higher than those before."""

    generation: int


@attrs.frozen(repr=False, eq=False)
class Wrote(Value):
    """The present life has written whole lines, here without their ends."""

    lines: tuple[bytes, ...]


@attrs.frozen(repr=False, eq=False)
class Ending(Value):
    """The present life was told to end, or can be written to no longer."""


@attrs.frozen(repr=False, eq=False)
class Ended(Value):
    """The present life is over.

    Attributes:
        rest: What it wrote after the end of its last line.
        unread: The last of the lines that it was given, in their order: those that it cannot have read to their ends.
    """

    rest: bytes = b""
    unread: tuple[Line, ...] = ()


@attrs.frozen(repr=False, eq=False)
class Held(Value):
    """Whether a restart is due: then no prompt goes in any more."""

    held: bool


@attrs.frozen(repr=False, eq=False)
class Deafened(Value):
    """Nobody reads what the lives write any more, so nothing is known of turns: prompts go in as they come."""


@attrs.frozen(repr=False, eq=False)
class Tick(Value):
    """Time has passed."""


News = Said | Closed | Began | Wrote | Ending | Ended | Held | Deafened | Tick


@attrs.frozen(repr=False, eq=False)
class Write(Value):
    """Write these lines to the present life."""

    lines: tuple[Line, ...]


@attrs.frozen(repr=False, eq=False)
class Shut(Value):
    """Nothing more comes for the present life: close its input once everything is written."""


@attrs.frozen(repr=False, eq=False)
class Deliver(Value):
    """Hand these lines, here without their ends, to the caller."""

    lines: tuple[bytes, ...]


@attrs.frozen(repr=False, eq=False)
class Cut(Value):
    """The life ended in the middle of turns.

    Attributes:
        lines: The prompts that had been said and had no result.
        resent: Those of them that are said again.
    """

    lines: tuple[Line, ...]
    resent: tuple[Line, ...]


@attrs.frozen(repr=False, eq=False)
class Torn(Value):
    """The life had begun a line of so many bytes and ended; it is dropped."""

    size: int


@attrs.frozen(repr=False, eq=False)
class Dropped(Value):
    """These lines of the caller's answer questions of a life that is over."""

    lines: tuple[Line, ...]


Effect = Write | Shut | Deliver | Cut | Torn | Dropped


def line_of(data: bytes, *, idempotent: bool = False) -> Line:
    """What a line of the caller's is; one that is no JSON object is the program's to complain about."""
    said = as_object(data)
    if said is None:
        return Line(data)
    match said:
        case {"type": "user"}:
            return Line(data, Kind.PROMPT, idempotent=idempotent)
        case {"type": "control_request", "request_id": str(id), "request": {"subtype": str(subtype)}}:
            return Line(data, Kind.REQUEST, id, subtype)
        case {"type": "control_response", "response": {"request_id": str(id)}}:
            return Line(data, Kind.RESPONSE, id)
    return Line(data)


def failure(session_id: str | None) -> bytes:
    """In place of the result of a turn that was cut; with all that a program needs which takes results apart."""
    said = {
        "type": "result",
        "subtype": "error_during_execution",
        "is_error": True,
        "duration_ms": 0,
        "duration_api_ms": 0,
        "num_turns": 0,
        "result": "memory-guardian: the program ended in the middle of this turn",
        "session_id": session_id or "",
        "total_cost_usd": 0,
        "memory_guardian": "cut",
    }
    return json.dumps(said).encode()


def refusal(id: str) -> bytes:
    """In place of the response to a request that ended with the life it was made to."""
    response = {"subtype": "error", "request_id": id, "error": "memory-guardian: the program ended before it answered"}
    return json.dumps({"type": "control_response", "response": response}).encode()


def as_object(data: bytes) -> dict[str, Any] | None:
    """A line as the JSON object that it is; None where it is none. Bytes that are no UTF-8 are read as the program reads them."""
    try:
        said = json.loads(data.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None
