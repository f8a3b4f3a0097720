"""The lines of a stream-json session as typed messages. Pure; expects anything in a line.

The shapes are those that 2.0.77 and 2.1.332 were seen to write. A line that has none of them, or lacks what makes one, is opaque: its
data is there as it was said. Whatever a message has beyond its fields is in `data`, too.
"""

from __future__ import annotations

import json
from typing import Any, Final

import attrs

from supervisor import Value

CUT: Final = "cut"
"""What a result of ours says under `OURS`: the turn was cut, and nothing will answer it."""

OURS: Final = "memory_guardian"


@attrs.frozen(repr=False, eq=False)
class TextBlock(Value):
    """Something that is said."""

    text: str


@attrs.frozen(repr=False, eq=False)
class ThinkingBlock(Value):
    """Something that is thought."""

    text: str


@attrs.frozen(repr=False, eq=False)
class ToolUseBlock(Value):
    """A tool that is called, with what it is given."""

    id: str
    name: str
    input: dict[str, Any]


@attrs.frozen(repr=False, eq=False)
class ToolResultBlock(Value):
    """What came back from a call; `text` is what of it is text."""

    tool_use_id: str
    text: str
    is_error: bool


@attrs.frozen(repr=False, eq=False)
class OpaqueBlock(Value):
    """A block of another type, as it was said."""

    data: Any


Block = TextBlock | ThinkingBlock | ToolUseBlock | ToolResultBlock | OpaqueBlock


@attrs.frozen(repr=False, eq=False)
class Message(Value):
    """A line of the program's.

    Attributes:
        data: The line as it was said.
        session_id: The conversation; empty where the line does not say.
    """

    data: dict[str, Any] = attrs.field(kw_only=True, repr=False)
    session_id: str = attrs.field(kw_only=True)


@attrs.frozen(repr=False, eq=False)
class InitMessage(Message):
    """A turn has begun; said before each one.

    Attributes:
        cwd: The working directory.
        model: The model.
        permission_mode: What tools may do without asking.
        tools: Their names.
        mcp_servers: The names of the servers, each with its status.
        version: Of the program.
    """

    cwd: str
    model: str
    permission_mode: str
    tools: tuple[str, ...]
    mcp_servers: tuple[tuple[str, str], ...]
    version: str


@attrs.frozen(repr=False, eq=False)
class AssistantMessage(Message):
    """A part of an answer.

    Attributes:
        blocks: What it says and calls.
        parent_tool_use_id: The call whose subagent says it; None for the conversation itself.
    """

    blocks: tuple[Block, ...]
    parent_tool_use_id: str | None

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(block.text for block in self.blocks if isinstance(block, TextBlock))

    @property
    def tool_uses(self) -> tuple[ToolUseBlock, ...]:
        """The tools that it calls."""
        return tuple(block for block in self.blocks if isinstance(block, ToolUseBlock))


@attrs.frozen(repr=False, eq=False)
class UserMessage(Message):
    """What the model is told: results of tools, an interruption, or, with ``--replay-user-messages``, what was sent.

    Attributes:
        blocks: What it says.
        parent_tool_use_id: The call whose subagent is told; None for the conversation itself.
        is_replay: Whether it repeats what was sent.
    """

    blocks: tuple[Block, ...]
    parent_tool_use_id: str | None
    is_replay: bool


@attrs.frozen(repr=False, eq=False)
class ResultMessage(Message):
    """The end of a turn.

    Attributes:
        subtype: ``success``, ``error_during_execution``, ``error_max_turns``, ...
        is_error: Whether the program calls it an error; an interrupted turn of 2.0.77 is none, by that.
        text: The last thing that was said; None where there is none.
        turns: Model calls with their tools.
        duration: Seconds.
        cost_usd: Of the session so far; None where the program does not say.
        denials: The names of the tools that were refused.
        is_cut: Whether it is one of ours, in place of that of a turn that was cut.
        origin: What began the turn: ``human``, ``task-notification``, ...; empty where the program does not say.
    """

    subtype: str
    is_error: bool
    text: str | None
    turns: int
    duration: float
    cost_usd: float | None
    denials: tuple[str, ...]
    is_cut: bool
    origin: str

    @property
    def is_answer(self) -> bool:
        """Whether it ends the turn of a prompt, and not one that the end of a task in the background has begun."""
        return self.origin in ("", "human")

    @property
    def is_success(self) -> bool:
        """Whether the turn came to its end by itself."""
        return self.subtype == "success" and not self.is_error


@attrs.frozen(repr=False, eq=False)
class SystemMessage(Message):
    """Something else that the program says of itself: ``status``, ``compact_boundary``, ``background_tasks_changed``, ..."""

    subtype: str


@attrs.frozen(repr=False, eq=False)
class StreamEvent(Message):
    """A part of an answer while it comes, with ``--include-partial-messages``.

    Attributes:
        event: As the API says it.
        parent_tool_use_id: The call whose subagent says it; None for the conversation itself.
    """

    event: dict[str, Any] = attrs.field(repr=False)
    parent_tool_use_id: str | None

    @property
    def text(self) -> str:
        """The piece of text that it adds; empty where it adds none."""
        match self.event:
            case {"type": "content_block_delta", "delta": {"type": "text_delta", "text": str(text)}}:
                return text
        return ""


@attrs.frozen(repr=False, eq=False)
class ControlResponse(Message):
    """The answer to a control request.

    Attributes:
        request_id: Of the request.
        error: Why it failed; None when it did not.
        response: What it came to.
    """

    request_id: str
    error: str | None
    response: dict[str, Any] = attrs.field(repr=False)


@attrs.frozen(repr=False, eq=False)
class ControlRequest(Message):
    """The program asks something, such as whether a tool may be used.

    Attributes:
        request_id: What its answer has to name.
        subtype: What is asked.
        request: All of it.
    """

    request_id: str
    subtype: str
    request: dict[str, Any] = attrs.field(repr=False)


@attrs.frozen(repr=False, eq=False)
class OpaqueMessage(Message):
    """A line of another type, or none that is JSON.

    Attributes:
        type: What it says that it is; empty where it says nothing.
        line: As it was written.
    """

    type: str
    line: bytes = attrs.field(repr=False)


def decode(line: bytes) -> Message:
    """What a line says. Never fails: what is not known, or is no JSON object, is an `OpaqueMessage`.

    Args:
        line: Without its end.
    """
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return OpaqueMessage("", line, data={}, session_id="")
    if not isinstance(data, dict):
        return OpaqueMessage("", line, data={}, session_id="")
    return _typed(data, {"data": data, "session_id": _text(data.get("session_id"))}) or OpaqueMessage(
        _text(data.get("type")), line, data=data, session_id=_text(data.get("session_id"))
    )


def _typed(data: dict[str, Any], common: dict[str, Any]) -> Message | None:
    parent = data.get("parent_tool_use_id")
    parent = parent if isinstance(parent, str) else None
    match data:
        case {"type": "system", "subtype": "init"}:
            return InitMessage(
                _text(data.get("cwd")),
                _text(data.get("model")),
                _text(data.get("permissionMode")),
                _texts(data.get("tools")),
                _servers(data.get("mcp_servers")),
                _text(data.get("claude_code_version")),
                **common,
            )
        case {"type": "system", "subtype": str(subtype)}:
            return SystemMessage(subtype, **common)
        case {"type": "assistant", "message": {"content": str() | list() as content}}:
            return AssistantMessage(_blocks(content), parent, **common)
        case {"type": "user", "message": {"content": str() | list() as content}}:
            return UserMessage(_blocks(content), parent, data.get("isReplay") is True, **common)
        case {"type": "result", "subtype": str(subtype)}:
            text, cost, origin = data.get("result"), _number(data.get("total_cost_usd")), data.get("origin")
            return ResultMessage(
                subtype,
                data.get("is_error") is True,
                text if isinstance(text, str) else None,
                int(_number(data.get("num_turns")) or 0),
                (_number(data.get("duration_ms")) or 0.0) / 1000,
                cost,
                _denials(data.get("permission_denials")),
                data.get(OURS) == CUT,
                _text(origin.get("kind")) if isinstance(origin, dict) else "",
                **common,
            )
        case {"type": "stream_event", "event": dict(event)}:
            return StreamEvent(event, parent, **common)
        case {"type": "control_response", "response": {"request_id": str(id), **response}}:
            failed = response.get("subtype") != "success"
            given = response.get("response")
            return ControlResponse(
                id,
                _text(response.get("error")) or "no reason given" if failed else None,
                given if isinstance(given, dict) else {},
                **common,
            )
        case {"type": "control_request", "request_id": str(id), "request": {"subtype": str(subtype)}}:
            return ControlRequest(id, subtype, data["request"], **common)
    return None


def _blocks(content: str | list[Any]) -> tuple[Block, ...]:
    return (TextBlock(content),) if isinstance(content, str) else tuple(map(_block, content))


def _block(data: Any) -> Block:
    match data:
        case {"type": "text", "text": str(text)}:
            return TextBlock(text)
        case {"type": "thinking", "thinking": str(text)}:
            return ThinkingBlock(text)
        case {"type": "tool_use", "id": str(id), "name": str(name), "input": dict(given)}:
            return ToolUseBlock(id, name, given)
        case {"type": "tool_result", "tool_use_id": str(id)}:
            return ToolResultBlock(id, _text_of(data.get("content")), data.get("is_error") is True)
    return OpaqueBlock(data)


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else ()


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if abs(number) < 1e15 else None  # no infinity, and nothing that is none


def _servers(value: Any) -> tuple[tuple[str, str], ...]:
    found = value if isinstance(value, list) else []
    return tuple((_text(one.get("name")), _text(one.get("status"))) for one in found if isinstance(one, dict))


def _denials(value: Any) -> tuple[str, ...]:
    found = value if isinstance(value, list) else []
    return tuple(_text(one.get("tool_name")) for one in found if isinstance(one, dict))
