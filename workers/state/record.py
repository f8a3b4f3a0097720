"""One line of a transcript as what it says: who talks, what is called, what comes back. Pure; expects anything in a line.

What the records look like was read from transcripts of Claude Code 1.0, 2.0 and 2.1; a record of a type that is not known here is opaque.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

import attrs

from supervisor import Value

from .excerpt import READ, beginning, between, clean, without

LONGEST: Final = 4 * 1024 * 1024
"""Bytes of a line beyond which it is not parsed. Of a longer one only the first `HEAD` bytes are looked at."""

HEAD: Final = 64 * 1024
_SMALL: Final = 256 * 1024
_PARTS: Final = 200_000
"""Brackets, braces and commas of a large line that is parsed: each can become an object of some seventy bytes."""

LONGEST_TIME: Final = 40

_BLOCKS: Final = 1000
"""Blocks of one message that are looked at."""

_KNOWN: Final = re.compile(rb'"type"\s*:\s*"(?:user|assistant|system|summary)"')
_RESULT_OF: Final = re.compile(rb'"tool_use_id"\s*:\s*"([A-Za-z0-9_.:-]{1,128})"')
_SIDECHAIN: Final = re.compile(rb'"isSidechain"\s*:\s*true')
_SECOND: Final = b'{"parentUuid":'

_INTERRUPTED: Final = "[Request interrupted by user"
_NOT_ASKED: Final = ("<local-command-", "<bash-stdout>", "<bash-stderr>", "<task-notification>", "<command-message>", "Caveat: ")
_SYNTHETIC: Final = "<synthetic>"


class Kind(Enum):
    """What a line is."""

    PROMPT = "prompt"
    ANSWER = "answer"
    RESULT = "result"
    COMPACTED = "compacted"
    """What the program itself says of the conversation before, after it has shortened it."""
    BOUNDARY = "boundary"
    INTERRUPTION = "interruption"
    TITLE = "title"
    NOTE = "note"
    """Known, and no part of what was said."""
    OPAQUE = "opaque"
    DAMAGED = "damaged"
    OVERSIZED = "oversized"


@attrs.frozen(repr=False, eq=False)
class ToolCall(Value):
    """A tool that is called; `given` is what the model gave it, in whatever shape."""

    id: str
    name: str
    given: dict[str, Any]


@attrs.frozen(repr=False, eq=False)
class ToolResult(Value):
    """What came back from a call; `task` is the number of a task that it made."""

    id: str
    text: str = ""
    is_error: bool = False
    task: str | None = None


@attrs.frozen(repr=False, eq=False)
class Usage(Value):
    """Tokens that one answer cost."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0

    @property
    def context(self) -> int:
        """Tokens that the next request begins with."""
        return self.input + self.output + self.cache_read + self.cache_creation


@attrs.frozen(repr=False, eq=False)
class Record(Value):
    """A line, understood as far as it can be.

    Attributes:
        text: What is said, at most `READ` characters from its beginning.
        is_side: It belongs to a subagent.
        message_id: Several records can be parts of one answer; they have the same.
        is_failure: An answer that is the text of a failed request.
        model: Who answers.
        data: The whole of it.
    """

    kind: Kind
    text: str = ""
    is_side: bool = False
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    usage: Usage | None = None
    message_id: str | None = None
    is_failure: bool = False
    model: str | None = None
    data: dict[str, Any] = attrs.field(factory=dict)

    @property
    def uuid(self) -> str | None:
        """What the record is called."""
        return string(self.data.get("uuid"))

    @property
    def time(self) -> str | None:
        """When it was written, as it says."""
        return string(self.data.get("timestamp"), LONGEST_TIME)


_DECODER: Final = json.JSONDecoder()
_OPAQUE: Final = Record(Kind.OPAQUE)
_DAMAGED: Final = Record(Kind.DAMAGED)


def parsed(line: bytes) -> Record:
    """What a line says; it never raises, and its cost in memory is bounded whatever the line holds."""
    if len(line) > LONGEST or (len(line) > _SMALL and _parts(line) > _PARTS):
        head = line[:HEAD]
        found = tuple(ToolResult(name.decode()) for name in _RESULT_OF.findall(head)[:_BLOCKS])
        return Record(Kind.OVERSIZED, is_side=_SIDECHAIN.search(head) is not None, results=found)
    if not _KNOWN.search(line):
        # most of the bytes that are no conversation are in few large records; JSON escapes quotes, so a text cannot look like a type
        return _OPAQUE if line.startswith(b"{") else _DAMAGED
    data = _loaded(line)
    if data is None and (again := line.rfind(_SECOND)) > 0:
        # a line that was torn, and the next one written right behind it
        data = _loaded(line[again:])
    return _DAMAGED if data is None else _understood(data)


def _parts(line: bytes) -> int:
    return line.count(b",") + line.count(b"[") + line.count(b"{")


def _loaded(line: bytes) -> dict[str, Any] | None:
    try:
        # a byte that is no UTF-8 costs its character, not the line
        data = _DECODER.decode(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _understood(data: dict[str, Any]) -> Record:
    kind = data.get("type")
    if kind == "user":
        return _user(data)
    if kind == "assistant":
        return _assistant(data)
    if kind == "summary":
        return Record(Kind.TITLE, string(data.get("summary"), READ) or "")
    if kind == "system":
        return _made(Kind.BOUNDARY if data.get("subtype") == "compact_boundary" else Kind.NOTE, data)
    return _OPAQUE


def _made(kind: Kind, data: dict[str, Any], text: str = "", **more: Any) -> Record:
    return Record(kind, text, data.get("isSidechain") is True, data=data, **more)


def _user(data: dict[str, Any]) -> Record:
    content = _content(data)
    results = tuple(_results(content, data.get("toolUseResult")))
    if results:
        return _made(Kind.RESULT, data, results=results)
    text = _text(content)
    if data.get("isCompactSummary") is True:
        return _made(Kind.COMPACTED, data, text)
    if data.get("isMeta") is True:
        return _made(Kind.NOTE, data)
    if text.startswith(_INTERRUPTED):
        return _made(Kind.INTERRUPTION, data)
    asked = _asked(text)
    has_other = any(block.get("type") in ("image", "document") for block in content)
    return _made(Kind.PROMPT, data, asked or "(an attachment)") if asked or has_other else _made(Kind.NOTE, data)


def _assistant(data: dict[str, Any]) -> Record:
    content = _content(data)
    message = data.get("message")
    message = message if isinstance(message, dict) else {}
    model = string(message.get("model"))
    is_failure = data.get("isApiErrorMessage") is True
    if model == _SYNTHETIC and not is_failure:
        # what the program puts where an answer would be, such as "No response requested."
        return _made(Kind.NOTE, data)
    return _made(
        Kind.ANSWER,
        data,
        _text(content),
        calls=tuple(_calls(content)),
        usage=None if is_failure else _usage(message.get("usage")),
        message_id=string(message.get("id")),
        is_failure=is_failure,
        model=None if model == _SYNTHETIC else model,
    )


def _content(data: dict[str, Any]) -> list[dict[str, Any]]:
    message = data.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content[:_BLOCKS] if isinstance(block, dict)] if isinstance(content, list) else []


def _text(content: object) -> str:
    """The text blocks of some content, from its beginning."""
    if isinstance(content, str):
        return beginning(content)
    if not isinstance(content, list):
        return ""
    texts, room = [], READ
    for block in content[:_BLOCKS]:
        text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None
        if isinstance(text, str) and room > 0:
            texts.append(beginning(text, room))
            room -= len(texts[-1]) + 1
    return "\n".join(texts)


def _calls(content: list[dict[str, Any]]) -> Iterator[ToolCall]:
    for block in content:
        id, name, given = string(block.get("id")), string(block.get("name")), block.get("input")
        if block.get("type") == "tool_use" and id and name:
            yield ToolCall(id, name, given if isinstance(given, dict) else {})


def _results(content: list[dict[str, Any]], more: object) -> Iterator[ToolResult]:
    task = more.get("task") if isinstance(more, dict) else None
    number = string(task.get("id")) if isinstance(task, dict) else None
    for block in content:
        id = string(block.get("tool_use_id"))
        if block.get("type") == "tool_result" and id:
            yield ToolResult(id, _text(block.get("content")), block.get("is_error") is True, number)


def _usage(data: object) -> Usage | None:
    if not isinstance(data, dict):
        return None
    return Usage(
        _count(data.get("input_tokens")),
        _count(data.get("output_tokens")),
        _count(data.get("cache_read_input_tokens")),
        _count(data.get("cache_creation_input_tokens")),
    )


def _asked(text: str) -> str:
    """What a person asked for, without what the program put around it; empty where it was not a person."""
    if "<system-reminder>" in text:
        text = without(text, "<system-reminder>", "</system-reminder>")
    text = text.strip()
    name = between(text, "<command-name>", "</command-name>") if text.startswith("<command-") else None
    if name:
        return f"{name} {between(text, '<command-args>', '</command-args>') or ''}".strip()
    typed = between(text, "<bash-input>", "</bash-input>") if text.startswith("<bash-input>") else None
    if typed:
        return f"! {typed}"
    return "" if text.startswith(_NOT_ASKED) else text


def string(value: object, longest: int = 256) -> str | None:
    """A text that is none too long; None for anything else."""
    if not isinstance(value, str) or len(value) > longest:
        return None
    return value if value.isascii() and value.isprintable() else clean(value)


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 50 else 0
