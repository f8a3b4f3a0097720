"""What a worker may send, and what it costs to find out."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core import wire
from supervisor.core.event import ChildStatus
from supervisor.core.inbound import heard
from supervisor.core.term import NotPortable, encode
from supervisor.core.wire import MAX_DEPTH, MAX_FRAME, MAX_VALUES, FrameTooLarge, ProtocolError, pack, unpack

TOP = ("root", "child")


def hear(message: dict[str, Any] | bytes) -> Any:
    return heard(message if isinstance(message, bytes) else json.dumps(message).encode(), TOP)[1]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_what_a_message_holds() -> None:
    """Values are decoded, an absence of time is endless, a message without content has none."""
    assert hear({"m": "ready", "value": {"!": "tuple", "v": [1]}}) == (1,)
    assert hear({"m": "extended", "seconds": None}) == math.inf
    assert hear({"m": "extended", "seconds": 5}) == 5.0
    assert hear({"m": "alive"}) is None
    event = ChildStatus((*TOP, "below"), "well")
    assert hear({"m": "emitted", "event": encode(event)}) == event


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"m": "extended", "seconds": int("9" * 400)}, "no message"),
        ({"m": "extended", "seconds": math.nan}, "no time"),
        ({"m": "emitted", "event": encode(ChildStatus(("root",)))}, "which is not below it"),
        ({"m": "emitted", "event": encode(ChildStatus(("root", "child2")))}, "which is not below it"),
        ({"m": "emitted", "event": {"!": "supervisor.core.event:ChildStatus", "v": {"path": None}}}, "ChildStatus.path is None"),
        ({"m": "emitted", "event": {"!": "gone:Event", "v": {"path": [1]}, "n": "gone", "d": {}}}, "path is"),
        ({"m": "emitted", "event": {"!": "gone:Event", "v": {"path": []}, "n": "gone", "d": {}}}, "which is not below it"),
        ({"m": "mirrored", "path": ["root"], "ahead": 0.0, "rows": [], "fields": {}}, "which is not below it"),
        ({"m": "mirrored", "path": TOP, "ahead": 0.0, "rows": [5], "fields": {}}, "Mirrored: "),
        ({"m": "exited", "kind": "abnormal", "reason": "r", "exception": 5}, "no exception"),
        ({"m": "replied", "number": 1, "value": 5, "failed": True}, "no exception"),
        ({"m": "called", "number": 10**30, "path": TOP, "name": "n", "args": []}, "no message"),
        ({"m": "called", "number": 1, "path": TOP, "name": "n", "args": {"!": "name", "v": "no:where"}}, "is not loaded"),
        ({"m": "logged", "logger": "", "level": -1, "text": "", "created": 1.0, "pathname": "", "line": 1}, "no log record"),
        ({"m": "logged", "logger": "", "level": 1, "text": "", "created": math.inf, "pathname": "", "line": 1}, "no log record"),
        (b'{"m":"ready","value":%s1%s}' % (b"[" * 1200, b"]" * 1200), "levels|recursion"),
        (b'{"m":"emitted","event":%s1%s}' % (b'{"a":' * 1200, b"}" * 1200), "levels|recursion"),
        (b'{"m":"ready","value":[%s]}' % b",".join([b"0"] * MAX_VALUES), "values"),
        (b'{"m":"ready","value":[%s]}' % b",".join([b'""'] * MAX_VALUES), "values"),
        (b'{"m":"start","m":"ready","value":[%s]}' % b",".join([b"{}"] * 300_000), "values"),
        (b"\xff\xfe", "no message"),
        (b"[]", "no message"),
    ],
)
def test_whatever_is_wrong_is_a_protocol_error(message: Any, says: str) -> None:
    """One class of error for all of it."""
    with pytest.raises(ProtocolError, match=says):
        hear(message)


KEYS = st.sampled_from(["!", "v", "n", "d", "of", "text", "type", "trace", "path", "a"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["tuple", "dict", "exception", "name"])
GARBAGE = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))


@given(GARBAGE, st.sampled_from(sorted(wire._KINDS)))
def test_garbage_of_any_shape(garbage: Any, kind: str) -> None:
    """It is understood, or it is a protocol error."""
    field = {"emitted": "event", "called": "args", "exited": "exception", "mirrored": "rows"}.get(kind, "value")
    rest: dict[str, dict[str, Any]] = {
        "called": {"number": 1, "path": [], "name": ""},
        "exited": {"kind": "normal", "reason": ""},
        "replied": {"number": 1},
    }
    rest["mirrored"] = {"path": list(TOP), "ahead": 0, "fields": {"crash": garbage, "flags": garbage}}
    try:
        hear({"m": kind, **rest.get(kind, {}), field: garbage})
    except ProtocolError:
        pass


def test_what_is_refused_there_is_refused_here() -> None:
    """Who sends too many values, or too deep ones, is told so; a text may hold anything."""
    ready = wire.Ready
    for value in ([0] * MAX_VALUES, nested(MAX_DEPTH + 1), {str(number): 1 for number in range(MAX_VALUES)}):
        with pytest.raises(FrameTooLarge):
            pack(ready(value))
    with pytest.raises(FrameTooLarge):
        pack(ready(nested(5000)))
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotPortable, match="contains itself"):
        encode(endless)
    for value in ([0] * (MAX_VALUES - 10), nested(MAX_DEPTH), ',[{:"\\\n' * 80_000, json.dumps([{"a": [1]}] * 40_000)):
        frame = pack(ready(value))
        assert len(frame) < MAX_FRAME
        assert unpack(frame[4:]) == ready(value)


def test_the_first_message_may_hold_more() -> None:
    """A supervisor is placed in a process with all its children."""
    start = wire.Start("", [0] * 2 * MAX_VALUES, {}, TOP, 1, "trio", 1, 9)
    frame = pack(start)[4:]
    assert unpack(frame, rich=True) == start
    with pytest.raises(ProtocolError):
        unpack(frame)
