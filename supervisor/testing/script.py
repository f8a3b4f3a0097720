"""What a scripted child does: at its k-th start, and when it is asked to stop."""

from __future__ import annotations

import math
from typing import Any, Final

import attrs

from ..core.errors import InvalidField, is_duration
from ..core.exits import Exit
from ..core.value import Value


def _check_times(value: object, *names: str) -> None:
    for name in names:
        seconds = getattr(value, name)
        if not is_duration(seconds):
            raise InvalidField(name, seconds, "seconds >= 0 or math.inf", where=type(value).__name__)


def check_kind(value: object, kinds: Any, name: str, expected: str, *, where: str) -> None:
    """Refuse a value of another kind.

    Raises:
        InvalidField: It is.
    """
    if not isinstance(value, kinds):
        raise InvalidField(name, value, expected, where=where)


_EXIT = "an Exit, as Exit.normal()"


@attrs.frozen(repr=False, eq=False)
class Stop(Value):
    """How a life takes its stop.

    Attributes:
        after: Seconds between being asked and ending; 0 ends before the asking call returns, ``math.inf`` never ends.
        exit: How it then ends.
        kill_after: Seconds between being killed and ending as `Exit.killed`; ``math.inf`` survives its kill, as a task can.

    Raises:
        InvalidField: A time is no number of seconds >= 0, or `exit` no `Exit`.
    """

    after: float = 0.0
    exit: Exit = attrs.field(factory=Exit.shutdown)
    kill_after: float = attrs.field(default=0.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        _check_times(self, "after", "kill_after")
        check_kind(self.exit, Exit, "exit", _EXIT, where="Stop")


AT_ONCE: Final = Stop()
"""Ends with `Exit.shutdown` as soon as it is asked."""

NEVER: Final = Stop(math.inf)
"""Does not end when it is asked, and must be killed."""

DEAF: Final = Stop(math.inf, kill_after=math.inf)
"""Survives its kill as well, until the test ends it."""


@attrs.frozen(repr=False, eq=False)
class Start(Value):
    """What one start does: `Ok`, `Fail`, `Decline` or `Hang`.

    Attributes:
        stop: How this life takes its stop; None: as its `Scripted` says.
    """

    stop: Stop | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_kind(self.stop, Stop | None, "stop", "a Stop or None", where=type(self).__name__)


@attrs.frozen(repr=False, eq=False)
class Ok(Start):
    """The start succeeds.

    Attributes:
        value: What it acknowledges with.
        after: Seconds until it acknowledges; 0 acknowledges before the launch returns.
        lasts: Seconds from then until it ends by itself; ``math.inf`` never does.
        exit: How it then ends.

    Raises:
        InvalidField: A time is no number of seconds >= 0, or `exit` no `Exit`.
    """

    value: object = None
    after: float = attrs.field(default=0.0, kw_only=True)
    lasts: float = attrs.field(default=math.inf, kw_only=True)
    exit: Exit = attrs.field(factory=Exit.normal, kw_only=True)

    def __attrs_post_init__(self) -> None:
        Start.__attrs_post_init__(self)
        _check_times(self, "after", "lasts")
        check_kind(self.exit, Exit, "exit", _EXIT, where="Ok")


@attrs.frozen(repr=False, eq=False)
class Fail(Start):
    """The child ends before it acknowledges.

    Attributes:
        reason: An exception is an abnormal exit, an `Exit` is itself; None is a `Crash`.
        after: Seconds until then; 0 fails before the launch returns.

    Raises:
        InvalidField: A time is no number of seconds >= 0, or `reason` is neither an exception nor an `Exit`.
    """

    reason: BaseException | Exit | None = None
    after: float = attrs.field(default=0.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        Start.__attrs_post_init__(self)
        _check_times(self, "after")
        check_kind(self.reason, BaseException | Exit | None, "reason", "an exception, an Exit or None", where="Fail")


@attrs.frozen(repr=False, eq=False)
class Decline(Start):
    """The child declines to start: OTP's ``ignore``.

    Attributes:
        after: Seconds until then; 0 declines before the launch returns.

    Raises:
        InvalidField: A time is no number of seconds >= 0.
    """

    after: float = attrs.field(default=0.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        Start.__attrs_post_init__(self)
        _check_times(self, "after")


@attrs.frozen(repr=False, eq=False)
class Hang(Start):
    """The child stays silent until the test calls `acknowledge`, or ends it, or its supervisor has lost patience."""
