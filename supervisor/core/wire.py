"""What a worker in a process of its own and its supervisor say to each other: a closed set of messages, and their frames.

A frame is four bytes of length, most significant first, and as many bytes of JSON: an object whose key ``m`` names the message.
"""

from __future__ import annotations

import json
import re
import struct
from typing import Any, Final

import attrs

from .value import Value

MAX_FRAME: Final = 1 << 20
"""Bytes of JSON in one frame, at most."""

MAX_VALUES: Final = 20_000
"""Values in one frame, at most, keys and containers included: each of them costs whoever reads it some microseconds. Of a `Start` there may
be more: whoever reads that has nothing else to do."""
MAX_DEPTH: Final = 200
"""Containers within each other in one frame, at most: whoever reads it needs a part of his stack for each."""

_LENGTH: Final = struct.Struct(">I")
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


class ProtocolError(Exception):
    """What came over the socket is no message, or none that may come now."""


class FrameTooLarge(ValueError):
    """A message has more than `MAX_FRAME` bytes, `MAX_VALUES` values or `MAX_DEPTH` levels: hand over large data by name, as a file."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"a message of {size} bytes; {MAX_FRAME} are the most that cross at a time")


class FrameTooRich(FrameTooLarge):
    """A message has few bytes, but too many values or too many levels."""

    def __init__(self, text: str) -> None:
        self.size = 0
        ValueError.__init__(self, text)


@attrs.frozen(repr=False, eq=False)
class Message(Value):
    """Base of all messages. Fields of the type `Any` hold what `term.encode` makes."""


@attrs.frozen(repr=False, eq=False)
class Start(Message):
    """To the worker, first and once: who it is, and what it runs.

    Attributes:
        function: As ``module:name``; empty where a `launch` is given instead.
        parent: The process id of who sends this.
        death_signal: What the worker is to get when that dies; 0 where something else sees to it.
        marker: The value of the life's variable in the environment; None where it is there already.
        env: What differs from the environment that is there already; None removes a variable.
        cwd: The working directory.
        paths: The module search path; None where it is there already.
        log_level: The level of the root logger.
        launch: The `Launch` to be launched.
        watchdog: Seconds within which an `Alive` is expected, again and again; None for none.
        settings: The fields of the `Settings` that it is to take; None where it has them already.
    """

    function: str
    args: Any
    kwargs: Any
    path: tuple[str, ...]
    generation: int
    backend: str
    parent: int
    death_signal: int
    marker: str | None = None
    env: dict[str, str | None] = attrs.field(factory=dict)
    cwd: str | None = None
    paths: tuple[str, ...] | None = None
    log_level: int = 30
    launch: Any = None
    watchdog: float | None = None
    settings: dict[str, Any] | None = None


@attrs.frozen(repr=False, eq=False)
class Shutdown(Message):
    """To the worker: unwind."""


@attrs.frozen(repr=False, eq=False)
class Refused(Message):
    """From the worker, before anything else: the kernel refused one of its settings, with that error number."""

    setting: str
    error: int


@attrs.frozen(repr=False, eq=False)
class Ready(Message):
    """From the worker: it is up, and this is what it acknowledged with."""

    value: Any = None


@attrs.frozen(repr=False, eq=False)
class Ignored(Message):
    """From the worker: it declines its start."""


@attrs.frozen(repr=False, eq=False)
class Exited(Message):
    """From the worker, last: how it ends. `kind` is that of `ExitKind`; `exception` None where none ended it."""

    kind: str
    reason: str
    exception: Any = None


@attrs.frozen(repr=False, eq=False)
class Alive(Message):
    """From the worker: its event loop runs."""


@attrs.frozen(repr=False, eq=False)
class Extended(Message):
    """From the worker: it asks for so many seconds from now; None for as long as it takes."""

    seconds: float | None


@attrs.frozen(repr=False, eq=False)
class Emitted(Message):
    """From the worker: an event for the tree's bus."""

    event: Any


@attrs.frozen(repr=False, eq=False)
class Logged(Message):
    """From the worker: a record of the standard logging. `exception` is the traceback's text."""

    logger: str
    level: int
    text: str
    created: float
    pathname: str
    line: int
    function: str | None = None
    thread: str | None = None
    exception: str | None = None


@attrs.frozen(repr=False, eq=False)
class Called(Message):
    """Either way: a call, to be answered with a `Replied` of the same number.

    `path` names the child that is called, from the root of the tree; `timeout` is in seconds, None without one.
    """

    number: int
    path: tuple[str, ...]
    name: str
    args: Any
    timeout: float | None = None


@attrs.frozen(repr=False, eq=False)
class Replied(Message):
    """Either way: the answer; `failed` tells an exception from a value."""

    number: int
    value: Any = None
    failed: bool = False


@attrs.frozen(repr=False, eq=False)
class Requested(Message):
    """To the worker: a request to a supervisor that runs there, to be answered with a `Replied` of the same number."""

    number: int
    path: tuple[str, ...]
    request: Any


@attrs.frozen(repr=False, eq=False)
class Mirrored(Message):
    """From the worker: what has changed in a supervisor that runs there; see `core.mirror`.

    Attributes:
        path: Of the supervisor.
        ahead: What the clock of its times is ahead of ``time.monotonic``, in seconds.
        rows: Pairs of a child's id and the fields that have changed; None when it was forgotten.
        fields: Those of the `State` itself that have changed.
        more: Whether the next message belongs to the same change.
        fresh: Whether nothing that was said of that path before is true any more.
    """

    path: tuple[str, ...]
    ahead: float
    rows: list[Any]
    fields: dict[str, Any]
    more: bool = False
    fresh: bool = False


_KINDS: Final[dict[str, type[Message]]] = {
    kind.__name__.lower(): kind
    for kind in (Start, Shutdown, Refused, Ready, Ignored, Exited, Alive, Extended, Emitted, Logged, Called, Replied, Requested, Mirrored)
}
_converter: Any = None
_WORD: Final = 1 << 63
"""A longer number is none of ours, and a sum of a float and it is none at all."""


def prepare() -> None:
    """Make what encoding and decoding need, once; a fork server does so before it forks."""
    global _converter
    if _converter is not None:
        return
    import cattrs  # here: a tree without workers never needs it

    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
    for kinds in ((str,), (bool,), (int,), (float, int)):
        converter.register_structure_hook(kinds[0], _strictly(*kinds))
    for kind in _KINDS.values():
        converter.get_structure_hook(kind)
        converter.get_unstructure_hook(kind)
    _converter = converter


def pack(message: Message) -> bytes:
    """A message as a frame.

    Raises:
        FrameTooLarge: It is too long to cross.
        ValueError: It holds what is no JSON.
    """
    prepare()
    try:
        content = {"m": type(message).__name__.lower(), **_converter.unstructure(message)}
        data = json.dumps(content, separators=(",", ":")).encode()
    except RecursionError:
        raise _too_deep() from None
    if len(data) > MAX_FRAME:
        raise FrameTooLarge(len(data))
    if not isinstance(message, Start) and _is_rich(data):
        raise FrameTooRich(f"a message of more than {MAX_VALUES} values; so many are the most that cross at a time")
    if _is_deep(content, data):
        raise _too_deep()
    return _LENGTH.pack(len(data)) + data


def unpack(frame: bytes, *, rich: bool = False) -> Message:
    """The message in a frame, without its length. What that costs is bounded, whatever is in the frame.

    Args:
        frame: The frame.
        rich: Whether it may hold more than `MAX_VALUES`: a worker's first message may.

    Raises:
        ProtocolError: There is none.
    """
    prepare()
    try:
        if not rich and _is_rich(frame):
            raise ValueError(f"more than {MAX_VALUES} values")
        data = json.loads(frame)
        if _is_deep(data, frame):
            raise ValueError(f"more than {MAX_DEPTH} levels")
        message: Message = _converter.structure(data, _KINDS[data.pop("m")])
    except Exception as error:  # the boundary to another process: garbage has no limits, and is all the same
        raise ProtocolError(f"no message: {frame[:80]!r} ({error!s:.60})") from error
    return message


def weight(frame: bytes) -> int:
    """About how many values are in a frame, and no fewer; at the price of a look at its bytes."""
    return frame.count(b",") + frame.count(b"[") + frame.count(b"{") + frame.count(b":") + 1


def _is_rich(data: bytes) -> bool:
    if len(data) <= 2 * MAX_VALUES or weight(data) <= MAX_VALUES:
        return False
    # the text of a string may hold any number of these
    bare, strings = _STRING.subn(b"", data, count=MAX_VALUES + 1)
    return strings > MAX_VALUES or weight(bare) > MAX_VALUES


def _is_deep(content: Any, data: bytes) -> bool:
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    level = [content]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in (outer.values() if type(outer) is dict else outer) if type(inner) in _CONTAINERS]
        if not level:
            return False
    return True


def _too_deep() -> FrameTooRich:
    return FrameTooRich(f"a message of values within each other; {MAX_DEPTH} levels are the most that cross")


_CONTAINERS: Final = (list, dict, tuple)


class Frames:
    """Cuts a stream of bytes into frames. It holds no more than one frame and what was fed at once."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._start = 0

    @property
    def torn(self) -> bool:
        """Whether a frame has begun and not ended."""
        return len(self._data) > self._start

    def feed(self, data: bytes) -> None:
        """Take in what has come."""
        del self._data[: self._start]
        self._start = 0
        self._data += data

    def next(self) -> bytes | None:
        """The next frame that is complete, without its length; None when there is none.

        Raises:
            ProtocolError: It would be too long.
        """
        if len(self._data) - self._start < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._data, self._start)
        if length > MAX_FRAME:
            raise ProtocolError(f"a frame of {length} bytes; {MAX_FRAME} are the most")
        begin = self._start + _LENGTH.size
        if len(self._data) < begin + length:
            return None
        self._start = begin + length
        return bytes(self._data[begin : self._start])


def _strictly(*kinds: type) -> Any:
    def check(value: Any, _kind: Any) -> Any:
        # cattrs converts what it can; a worker that says "1" for 1 has lost its way
        if type(value) not in kinds or (type(value) is int and not -_WORD <= value < _WORD):
            raise ValueError(f"{value!r:.80} is no {kinds[0].__name__}")
        return value

    return check
