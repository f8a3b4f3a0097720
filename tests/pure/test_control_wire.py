"""JSON-RPC by line: what goes in comes out, whatever the pieces it arrives in; what is wrong is answered as the standard says."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.edge.control import wire
from supervisor.edge.control.wire import NO_ID, Call, Lines, LineTooLong, Malformed, parse

IDS = st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """A stream cut at these places."""
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[one:other] for one, other in itertools.pairwise(at)]


@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b" ")), max_size=8), st.lists(st.integers(0, 1000), max_size=10)
)
def test_lines_come_out_whole_however_they_are_cut(written: list[bytes], cuts: list[int]) -> None:
    """The same lines come out of every division of the same bytes; blank ones are left out."""
    lines = Lines(longest=40)
    taken = []
    for piece in pieces(b"".join(line + b"\n" for line in written), cuts):
        lines.feed(piece)
        while (line := lines.take()) is not None:
            taken.append(line)

    assert taken == [line.strip() for line in written if line.strip()]


@given(st.integers(0, 60), st.lists(st.integers(0, 1000), max_size=5), st.booleans())
def test_a_line_has_a_longest_length(length: int, cuts: list[int], ended: bool) -> None:
    """One byte more than the limit is refused, whether its end has come or not, and a line of the limit is not."""
    lines = Lines(longest=30)

    def feed() -> bytes | None:
        taken = None
        for piece in pieces(b"x" * length + (b"\n" if ended else b""), cuts):
            lines.feed(piece)
            taken = lines.take() or taken
        return taken

    if length > 30:
        with pytest.raises(LineTooLong):
            feed()
    else:
        assert feed() == (b"x" * length if ended and length else None)


@given(IDS, st.text(), st.lists(JSON, max_size=3) | st.dictionaries(st.text(), JSON, max_size=3))
def test_a_call_is_understood(id: object, method: str, params: Any) -> None:
    """Its id, method and parameters are those that were sent, and the id comes back in the answer."""
    line = json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()

    assert parse(line).calls == (Call(id, method, params),)
    assert json.loads(wire.encode(wire.result(id, params))) == {"jsonrpc": "2.0", "id": id, "result": params}


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(line: bytes) -> None:
    """Whatever arrives is a message, and each answer is one line of JSON in ASCII."""
    for call in parse(line).calls:
        if isinstance(call, Malformed):
            answer = wire.encode(wire.error(call.id, call.code, call.message))
            assert answer.count(b"\n") == 1 and answer.isascii()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", wire.PARSE_ERROR),
        (b"\xff\xfe", wire.PARSE_ERROR),
        (b"[" * 100_000, wire.PARSE_ERROR),
        (b'{"a":' * 50_000, wire.PARSE_ERROR),
        (b"9" * 5_000, wire.PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": NaN, "method": "ping"}', wire.PARSE_ERROR),
        (b"[]", wire.INVALID_REQUEST),
        (b"7", wire.INVALID_REQUEST),
        (b'{"id": 1, "method": "ping"}', wire.INVALID_REQUEST),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', wire.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', wire.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": [1], "method": "ping"}', wire.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 7}', wire.INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": 7}', wire.INVALID_REQUEST),
        (json.dumps([{}] * (wire.LARGEST_BATCH + 1)).encode(), wire.INVALID_REQUEST),
    ],
)
def test_what_is_no_call_has_the_standard_s_code(line: bytes, code: int) -> None:
    """Bytes that are no JSON are a parse error, JSON that is no call is an invalid request."""
    (call,) = parse(line).calls

    assert isinstance(call, Malformed)
    assert call.code == code


def test_the_id_of_a_malformed_call_is_kept_where_there_is_one() -> None:
    """Whoever sent it can tell which one it was."""
    (call,) = parse(b'{"jsonrpc": "2.0", "id": "x", "method": null}').calls

    assert call.id == "x"


def test_a_notification_has_no_id() -> None:
    """And one whose id is null is a request."""
    assert parse(b'{"jsonrpc": "2.0", "method": "ping"}').calls[0].id is NO_ID
    assert parse(b'{"jsonrpc": "2.0", "method": "ping", "id": null}').calls[0].id is None


def test_a_batch_is_all_of_its_calls() -> None:
    """What is wrong among them is answered one by one."""
    message = parse(b'[1, {"jsonrpc": "2.0", "method": "a"}, {"jsonrpc": "2.0", "id": 2, "method": "b", "params": [1]}]')

    assert message.batch
    assert [type(call) for call in message.calls] == [Malformed, Call, Call]


def test_what_json_cannot_say_is_null() -> None:
    """An answer with an infinity is still JSON."""
    assert json.loads(wire.encode({"never": float("inf")})) == {"never": None}
