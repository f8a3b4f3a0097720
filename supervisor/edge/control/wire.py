"""JSON-RPC 2.0 by line, pure: bytes in, calls out; answers in, bytes out. One JSON value a line, in ASCII when we write it."""

from __future__ import annotations

import json
from typing import Any, Final

import attrs

from ...core.value import Value
from ..event_file import as_line

LONGEST_LINE: Final = 1 << 18
LARGEST_BATCH: Final = 32

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

FORBIDDEN: Final = -32001
NOT_FOUND: Final = -32002
REFUSED: Final = -32003
BUSY: Final = -32004
REJECTED: Final = -32005

NO_ID: Final = object()
"""The id of a notification: nobody waits for an answer."""


@attrs.frozen(repr=False, eq=False)
class Call(Value):
    """A request, or a notification when `id` is `NO_ID`; `params` are by position or by name."""

    id: object
    method: str
    params: list[Any] | dict[str, Any]


@attrs.frozen(repr=False, eq=False)
class Malformed(Value):
    """What is no call, and what its sender is to be told; `id` is None where it could not be made out."""

    id: object
    code: int
    message: str


@attrs.frozen(repr=False, eq=False)
class Message(Value):
    """What one line says; `batch`: the answers go into one array."""

    calls: tuple[Call | Malformed, ...]
    batch: bool = False


class LineTooLong(Exception):
    """More bytes than a line may have, and still no end of it."""


class Lines:
    """Cuts a stream of bytes into lines.

    Args:
        longest: Bytes that a line may have, without its newline.
    """

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._buffer += data

    def take(self) -> bytes | None:
        """The next whole line that is not blank, without its end; None when there is none yet.

        Raises:
            LineTooLong: The line is too long, whole or not.
        """
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end < 0:
                self._searched = len(self._buffer)
                if self._searched > self._longest:
                    raise LineTooLong
                return None
            if end > self._longest:
                raise LineTooLong
            line = bytes(self._buffer[:end]).strip()
            del self._buffer[: end + 1]
            self._searched = 0
            if line:
                return line


def parse(line: bytes) -> Message:
    """What a line says. Never raises: what is wrong with it is in the message."""
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return Message((Malformed(None, PARSE_ERROR, f"no JSON: {str(error)[:200]}"),))
    if not isinstance(value, list):
        return Message((_call(value),))
    if not value:
        return Message((Malformed(None, INVALID_REQUEST, "an empty batch"),))
    if len(value) > LARGEST_BATCH:
        return Message((Malformed(None, INVALID_REQUEST, f"a batch of more than {LARGEST_BATCH} calls"),))
    return Message(tuple(map(_call, value)), batch=True)


def result(id: object, value: object) -> dict[str, Any]:
    """The answer to a call that succeeded."""
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(id: object, code: int, message: str, data: object = None) -> dict[str, Any]:
    """The answer to a call that did not; `data` is left out when it is None."""
    about: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        about["data"] = data
    return {"jsonrpc": "2.0", "id": id, "error": about}


def event(line: bytes) -> bytes:
    """An event's line, with its newline, as the notification of a follower."""
    return b'{"jsonrpc":"2.0","method":"event","params":' + line.rstrip(b"\n") + b"}\n"


def encode(value: object) -> bytes:
    """An answer as a line, with its newline."""
    return as_line(value)


def _call(value: object) -> Call | Malformed:
    if not isinstance(value, dict):
        return Malformed(None, INVALID_REQUEST, "a call is a JSON object")
    id = value.get("id", NO_ID)
    known = id is NO_ID or id is None or isinstance(id, str) or (isinstance(id, int | float) and not isinstance(id, bool))
    about = None if id is NO_ID or not known else id
    if value.get("jsonrpc") != "2.0":
        return Malformed(about, INVALID_REQUEST, 'expected "jsonrpc": "2.0"')
    if not known:
        return Malformed(None, INVALID_REQUEST, "an id is a string, a number or null")
    method, params = value.get("method"), value.get("params", {})
    if not isinstance(method, str):
        return Malformed(about, INVALID_REQUEST, "a method is a string")
    if not isinstance(params, list | dict):
        return Malformed(about, INVALID_REQUEST, "params are an array or an object")
    return Call(id, method, params)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
