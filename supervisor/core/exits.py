"""How a life ended: one value for tasks, processes and supervisors."""

from __future__ import annotations

from enum import Enum
from functools import cache
from signal import Signals
from typing import Any

import attrs

from .value import Value


class ExitKind(Enum):
    """OTP's three classes of exit reason; `NORMAL` and `SHUTDOWN` are clean."""

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    ABNORMAL = "abnormal"


@attrs.frozen(repr=False, eq=False)
class Exit(Value):
    """The end of one life of a child.

    It can always be pickled: an `exception` that cannot be arrives as an `Unpicklable`, a `term` as its text.

    Attributes:
        kind: The class that restart types are decided by.
        reason: One line for a person, such as ``"exit code 3"`` or ``"killed by SIGSEGV"``.
        code: A process's exit code, 0 to 255; None when a signal ended it or no process was involved.
        signal: The number of the signal that ended a process, else None.
        core_dumped: Whether the kernel wrote a core; None when unknown.
        out_of_memory: Whether the kernel's out-of-memory killer did it; None when that cannot be told.
        exception: What a task raised, or what made a start fail.
        term: The term of OTP's ``{shutdown, Term}``.
        output: The last lines that a command wrote before a failure, where its output was read here; two exits are equal whatever it is.
    """

    kind: ExitKind
    reason: str
    code: int | None = None
    signal: int | None = None
    core_dumped: bool | None = None
    out_of_memory: bool | None = None
    exception: BaseException | None = attrs.field(default=None, eq=False)
    term: object = attrs.field(default=None, eq=False)
    output: tuple[str, ...] = attrs.field(default=(), eq=False, repr=False)

    @classmethod
    def normal(cls) -> Exit:
        """The child returned (a process: with code 0 by itself)."""
        return _NORMAL

    @classmethod
    def shutdown(cls, term: object = None, *, exception: BaseException | None = None) -> Exit:
        """The child ended because it was asked to, or says so: OTP's ``shutdown`` and ``{shutdown, Term}``."""
        if term is None and exception is None:
            return _SHUTDOWN
        reason = "shutdown" if term is None else f"shutdown: {term}"
        return cls(ExitKind.SHUTDOWN, reason, term=term, exception=exception)

    @classmethod
    def killed(cls) -> Exit:
        """The child was killed: abnormal, as in OTP."""
        return _KILLED

    @classmethod
    def failed(cls, exception: BaseException, *, reason: str | None = None) -> Exit:
        """The child raised `exception`, or could not start because of it."""
        return cls(ExitKind.ABNORMAL, reason or describe(exception), exception=exception)

    def __reduce__(self) -> tuple[Any, ...]:
        from .carry import reduced_exit

        return reduced_exit(self)

    def __copy__(self) -> Exit:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Exit:
        return self

    @property
    def is_clean(self) -> bool:
        """Whether OTP counts this exit as no failure."""
        return self.kind is not ExitKind.ABNORMAL

    def as_data(self) -> dict[str, Any]:
        """The exit as JSON data for an event: kind, reason and what is known of code, signal, core, memory and output."""
        data: dict[str, Any] = {"kind": self.kind.value, "reason": self.reason}
        if self.code is not None:
            data["code"] = self.code
        if self.signal is not None:
            data["signal"] = signal_name(self.signal)
        if self.core_dumped is not None:
            data["core_dumped"] = self.core_dumped
        if self.out_of_memory is not None:
            data["out_of_memory"] = self.out_of_memory
        if self.output:
            data["output"] = list(self.output)
        return data


def describe(exception: BaseException) -> str:
    """One line about an exception: its type, and its first line of text where it has any."""
    lines = str(exception).strip().splitlines()
    return f"{type(exception).__name__}: {lines[0]}" if lines else type(exception).__name__


@cache
def signal_name(number: int) -> str:
    """The POSIX name of a signal number; real-time and unknown ones as ``signal N``."""
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


_NORMAL = Exit(ExitKind.NORMAL, "normal")
_SHUTDOWN = Exit(ExitKind.SHUTDOWN, "shutdown")
_KILLED = Exit(ExitKind.ABNORMAL, "killed")
