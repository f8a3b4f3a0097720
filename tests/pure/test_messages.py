"""What the lines of a stream-json session say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.claude.messages import (
    AssistantMessage,
    ControlRequest,
    ControlResponse,
    InitMessage,
    Message,
    OpaqueBlock,
    OpaqueMessage,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
    decode,
)

WORDS = (
    "type",
    "subtype",
    "message",
    "content",
    "response",
    "request",
    "request_id",
    "event",
    "delta",
    "result",
    "tools",
    "permission_denials",
)
KINDS = (
    "system",
    "init",
    "assistant",
    "user",
    "result",
    "stream_event",
    "control_response",
    "control_request",
    "text",
    "tool_use",
    "tool_result",
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(KINDS)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)
RECORDED = {path.stem: path.read_bytes().splitlines() for path in sorted((Path(__file__).parent / "data").glob("stream-*.jsonl"))}


def said(**data: Any) -> Message:
    return decode(json.dumps(data).encode())


def turns(lines: list[bytes]) -> list[list[Message]]:
    """The messages of each turn, as recorded."""
    found: list[list[Message]] = [[]]
    for message in map(decode, lines):
        found[-1].append(message)
        if isinstance(message, ResultMessage):
            found.append([])
    return [turn for turn in found if turn]


@pytest.mark.parametrize("build", ["stream-2.0.77", "stream-2.1.332"])
def test_recorded_sessions_are_understood(build: str) -> None:
    """All that either build was seen to write has a type, and says what was said: an answer, a tool, an interruption, a turn after it."""
    messages = [decode(line) for line in RECORDED[build]]
    assert not [message for message in messages if isinstance(message, OpaqueMessage)]
    assert not [one for m in messages if isinstance(m, AssistantMessage | UserMessage) for one in m.blocks if isinstance(one, OpaqueBlock)]
    hello, tool, interrupted, after = turns(RECORDED[build])

    begun = next(message for message in hello if isinstance(message, InitMessage))
    assert begun.version == build.removeprefix("stream-") and begun.permission_mode == "default" and "Bash" in begun.tools
    assert begun.cwd == "/project" and begun.mcp_servers == () and begun.model.startswith("claude-")
    assert [message.text for message in hello if isinstance(message, AssistantMessage)] == ["ok: hello"]
    assert "".join(message.text for message in hello if isinstance(message, StreamEvent)) == "ok: hello"
    end = hello[-1]
    assert isinstance(end, ResultMessage) and end.is_success and not end.is_cut and (end.text, end.turns) == ("ok: hello", 1)
    assert end.session_id == begun.session_id and (end.cost_usd or 0) > 0 and 0 < end.duration < 60

    (use,) = [use for message in tool if isinstance(message, AssistantMessage) for use in message.tool_uses]
    (back,) = [one for m in tool if isinstance(m, UserMessage) and not m.is_replay for one in m.blocks if isinstance(one, ToolResultBlock)]
    assert (use.name, use.input) == ("Bash", {"command": "echo hi"}) and back == ToolResultBlock(use.id, "hi", False)
    assert [one.text for m in tool if isinstance(m, AssistantMessage) for one in m.blocks if isinstance(one, ThinkingBlock)] == ["hmm"]

    responses = {message.request_id: message for message in messages if isinstance(message, ControlResponse)}
    assert responses["c1"].error is None and responses["c3"].error is None
    assert ("c2" in responses) is (build == "stream-2.1.332")  # the other answers nothing to what it does not know
    if "c2" in responses:
        assert responses["c2"].error == "Unsupported control request subtype: no_such"
    cut = interrupted[-1]
    assert isinstance(cut, ResultMessage) and cut.subtype == "error_during_execution" and not cut.is_success and cut.text is None
    assert isinstance(after[-1], ResultMessage) and after[-1].text == "after"


@given(ANYTHING)
def test_any_json_is_a_message(data: Any) -> None:
    """Whatever shape it has; and nothing of it is lost."""
    message = decode(json.dumps(data).encode())
    assert isinstance(message, Message)
    if isinstance(data, dict):
        assert json.dumps(message.data) == json.dumps(data)
    else:
        assert isinstance(message, OpaqueMessage)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message(line: bytes) -> None:
    """What is no JSON is as it was written."""
    message = decode(line)
    assert not isinstance(message, OpaqueMessage) or message.line == line


@given(st.sampled_from([line for lines in RECORDED.values() for line in lines]), st.data())
def test_a_field_of_another_kind_is_no_failure(line: bytes, data: st.DataObject) -> None:
    """A later build may say anything in a place that is known."""
    said = json.loads(line)
    place = said
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(ANYTHING)
        break
    assert isinstance(decode(json.dumps(said).encode()), Message)


def test_what_is_not_known_is_opaque() -> None:
    """Types, blocks, lines that are none, and nesting that no reader takes."""
    assert said(type="rate_limit_event", rate="much") == OpaqueMessage(
        "rate_limit_event",
        b'{"type": "rate_limit_event", "rate": "much"}',
        data={"type": "rate_limit_event", "rate": "much"},
        session_id="",
    )
    assert decode(b"Error: no") == OpaqueMessage("", b"Error: no", data={}, session_id="")
    assert isinstance(decode(b"[" * 200_000), OpaqueMessage)
    image = {"type": "image", "source": {}}
    message = said(type="assistant", message={"content": [image, {"type": "tool_use", "id": "t", "name": "Read"}, "text"]})
    assert isinstance(message, AssistantMessage) and all(isinstance(block, OpaqueBlock) for block in message.blocks)


def test_what_is_said_in_other_words() -> None:
    """Contents that are texts, results of parts, subagents, replays, questions, refusals, and results of ours."""
    asked = said(type="user", message={"role": "user", "content": "hi"}, isReplay=True, session_id="s")
    assert isinstance(asked, UserMessage) and asked.blocks == (TextBlock("hi"),) and asked.is_replay and asked.session_id == "s"
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    back = said(type="user", message={"content": [{"type": "tool_result", "tool_use_id": "t", "content": parts, "is_error": True}]})
    assert isinstance(back, UserMessage) and back.blocks == (ToolResultBlock("t", "ab", True),)
    use = {"type": "tool_use", "id": "t", "name": "Read", "input": {}}
    inner = said(type="assistant", message={"content": [use]}, parent_tool_use_id="task")
    assert (
        isinstance(inner, AssistantMessage) and inner.parent_tool_use_id == "task" and inner.tool_uses == (ToolUseBlock("t", "Read", {}),)
    )
    question = said(type="control_request", request_id="q", request={"subtype": "can_use_tool", "tool_name": "Bash"})
    assert isinstance(question, ControlRequest) and (question.subtype, question.request["tool_name"]) == ("can_use_tool", "Bash")
    failed = said(type="control_response", response={"subtype": "error", "request_id": "q"})
    assert isinstance(failed, ControlResponse) and failed.error
    end = said(
        type="result",
        subtype="success",
        is_error=False,
        permission_denials=[{"tool_name": "Write"}],
        memory_guardian="cut",
        origin={"kind": "human"},
    )
    assert isinstance(end, ResultMessage) and end.denials == ("Write",) and end.is_cut and end.cost_usd is None and end.is_answer
    other = said(type="result", subtype="success", origin={"kind": "task-notification"})
    assert isinstance(other, ResultMessage) and not other.is_answer
    status = said(type="system", subtype="status", status=None)
    assert isinstance(status, SystemMessage) and status.subtype == "status"
