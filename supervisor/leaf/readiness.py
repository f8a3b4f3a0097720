"""How a command says that it is up, as it is declared; what listens for it is in `acknowledging.py`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import attrs

from ..core.errors import InvalidField, is_duration
from ..core.value import Value


@attrs.frozen(repr=False, eq=False)
class ReadyLine(Value):
    """Up once a line of its output matches; see `line`."""

    pattern: str

    def __attrs_post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except (re.error, TypeError) as error:
            raise InvalidField("ready", self.pattern, f"a regular expression ({error})", where="command") from None

    def __str__(self) -> str:
        return f"line:{self.pattern}"


@attrs.frozen(repr=False, eq=False)
class ReadyProbe(Value):
    """Up once a function says so; see `probe`."""

    function: Callable[[], Awaitable[object]]
    interval: float = 0.5

    def __attrs_post_init__(self) -> None:
        if not callable(self.function):
            raise InvalidField("ready", self.function, "an async function", where="command")
        if not is_duration(self.interval) or not 0 < self.interval < float("inf"):
            raise InvalidField("interval", self.interval, "seconds > 0", where="probe")

    def __str__(self) -> str:
        return "probe"


Ready = Literal["spawn", "fd", "notify"] | str | ReadyLine | ReadyProbe
"""When a command counts as started; see `command`. A string is ``spawn``, ``fd``, ``notify`` or ``line:REGEX``."""

WAYS: Final = '"spawn", "fd", "notify", "line:REGEX", line(...) or probe(...)'


def line(pattern: str) -> ReadyLine:
    """Up once a whole line of standard output or standard error matches: ``ready=line(r"listening on port [0-9]+")``.

    Args:
        pattern: A regular expression that is searched for in each line, which is decoded as UTF-8 and has lost its line end. Of a line
            longer than 64 KiB only so much is looked at.

    Raises:
        InvalidField: It is no regular expression.
    """
    return ReadyLine(pattern)


def probe(function: Callable[[], Awaitable[object]], *, interval: float = 0.5) -> ReadyProbe:
    """Up once an async function returns something true.

    Args:
        function: Called without arguments when the command was spawned and then again and again. What it raises is a failed attempt; the
            last error is the cause of the `StartFailed` when `start_timeout` is over.
        interval: Seconds between the end of one attempt and the next.

    Raises:
        InvalidField: No function, or an interval that is not above 0.

    **Cancellation:** the function is cancelled when the command ends.
    """
    return ReadyProbe(function, interval)


def readiness(ready: Ready) -> Ready:
    """The same, with ``line:REGEX`` taken apart.

    Raises:
        InvalidField: There is no such way to be ready.
    """
    if isinstance(ready, str) and ready.startswith("line:"):
        return ReadyLine(ready.removeprefix("line:"))
    if ready in ("spawn", "fd", "notify") or isinstance(ready, ReadyLine | ReadyProbe):
        return ready
    raise InvalidField("ready", ready, WAYS, where="command")
