"""What comes from a worker, understood: the one place where anything that a worker may send is decoded and checked.

A worker may have lost its way, or mean ill. Whatever it sends is either understood in full, as values of the types that they are declared
with, or it is the worker's fault: a `ProtocolError`, which ends the worker and nobody else. What that costs is bounded by `wire.unpack`.
"""

from __future__ import annotations

import math
from typing import Any, Final

from .errors import Path, is_duration
from .event import Event
from .exits import Exit, ExitKind
from .image import Change, understood
from .term import decode
from .wire import Called, Emitted, Exited, Extended, Logged, Message, Mirrored, ProtocolError, Ready, Replied, unpack

_LATEST: Final = 253402300800.0
"""The end of the year 9999: no later moment can be shown as a date."""


def heard(frame: bytes, top: Path) -> tuple[Message, Any]:
    """The message in a frame of the worker at `top`, and what it holds.

    Returns:
        With a `Ready`, `Replied` and `Called` the value, with an `Exited` the exit, with an `Emitted` the event, with an `Extended` the
        seconds, with a `Mirrored` the change; with any other message None.

    Raises:
        ProtocolError: It cannot be understood, whatever the reason.
    """
    message = unpack(frame)
    try:
        return message, _content(message, top)
    except ProtocolError:
        raise
    except Exception as error:  # the boundary: there is no end to what can be wrong
        raise ProtocolError(f"{type(message).__name__}: {str(error) or type(error).__name__}"[:200]) from error


def _content(message: Message, top: Path) -> Any:
    match message:
        case Ready() | Called():
            return decode(message.value if isinstance(message, Ready) else message.args)
        case Replied():
            return _exception(message.value) if message.failed else decode(message.value)
        case Exited():
            return _exit(message)
        case Extended():
            return _duration(message.seconds)
        case Emitted():
            return _event(decode(message.event), top)
        case Mirrored():
            return _change(message, top)
        case Logged():
            _check_record(message)
    return None


def _exit(message: Exited) -> Exit:
    exception = None if message.exception is None else _exception(message.exception)
    match message.kind:
        case "normal":
            return Exit.normal()
        case "shutdown":
            return Exit.shutdown(exception=exception)
        case "abnormal":
            return Exit(ExitKind.ABNORMAL, message.reason, exception=exception)
        case _:
            raise ProtocolError(f"no way to end: {message.kind!r:.80}")


def _exception(data: Any) -> BaseException:
    value = decode(data)
    if not isinstance(value, BaseException):
        raise ProtocolError(f"no exception: {value!r:.80}")
    return value


def _duration(seconds: float | None) -> float:
    if seconds is None:
        return math.inf
    if not is_duration(seconds):
        raise ProtocolError(f"no time: {seconds!r:.80}")
    return float(seconds)


def _event(event: Any, top: Path) -> Event:
    if not isinstance(event, Event):
        raise ProtocolError(f"no event: {event!r:.80}")
    if event.path[: len(top)] != top:
        raise ProtocolError(f"an event about {'/'.join(event.path)!r:.80}, which is not below it")
    return event


def _change(message: Mirrored, top: Path) -> Change:
    if message.path[: len(top)] != top:
        raise ProtocolError(f"a supervisor {'/'.join(message.path)!r:.80}, which is not below it")
    return understood(message)


def _check_record(message: Logged) -> None:
    if not 0 <= message.created < _LATEST or message.level < 0:
        raise ProtocolError(f"no log record: {message.created}, {message.level}")
