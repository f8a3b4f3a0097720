"""From what the kernel says of a dead process to an `Exit`."""

from __future__ import annotations

import os
import signal
from enum import Enum
from typing import Final

import attrs

from ..core.exits import Exit, ExitKind, signal_name
from ..core.value import Value, evolve

_CLD_EXITED: Final = getattr(os, "CLD_EXITED", 1)
_CLD_DUMPED: Final = getattr(os, "CLD_DUMPED", 3)


class AbnormalExit(Enum):
    """Which ends of a command count as failures."""

    FAILURE = "failure"
    """Every non-zero code and every signal."""

    CRASH = "crash"
    """Death by a signal, except those by which a person or a terminal ends a program (SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGPIPE);
    and the codes 134, 137 and 139, with which a wrapper passes on SIGABRT, SIGKILL and SIGSEGV. Every other code is an answer."""


@attrs.frozen(repr=False, eq=False)
class WaitStatus(Value):
    """How a process ended: `code`, or `signal` and whether a core was written (None: not told)."""

    code: int | None = None
    signal: int | None = None
    core_dumped: bool | None = None

    @classmethod
    def from_waitid(cls, si_code: int, si_status: int) -> WaitStatus:
        """From the fields of waitid(2)."""
        if si_code == _CLD_EXITED:
            return cls(code=si_status)
        return cls(signal=si_status, core_dumped=si_code == _CLD_DUMPED)

    @classmethod
    def from_returncode(cls, returncode: int) -> WaitStatus:
        """From `subprocess`'s return code: negative for a signal."""
        return cls(code=returncode) if returncode >= 0 else cls(signal=-returncode)

    @classmethod
    def from_windows(cls, code: int, *, asked: int | None = None) -> WaitStatus:
        """From an exit code of Windows, where what has killed a process is a status of the kernel's in place of a code.

        Args:
            code: The exit code, unsigned.
            asked: The signal in whose place we asked it to end, None when we did not.
        """
        number = _WINDOWS_DEATHS.get(code)
        if number is None:
            return cls(code=code)
        return cls(signal=asked if code == _CONTROL_EXIT and asked is not None else number)


_CONTROL_EXIT: Final = 0xC000013A
_WINDOWS_DEATHS: Final = {
    _CONTROL_EXIT: int(signal.SIGINT),  # Ctrl-C, Ctrl-Break, or its console was closed
    0xC0000005: int(signal.SIGSEGV),  # access violation
    0xC00000FD: int(signal.SIGSEGV),  # stack overflow
    0xC000001D: int(signal.SIGILL),
    0xC0000094: int(signal.SIGFPE),  # integer divided by zero
    0xC0000374: int(signal.SIGABRT),  # heap corruption
    0xC0000409: int(signal.SIGABRT),  # the program gave up: a broken stack, or abort
}


ORDERLY: Final = frozenset(
    number
    for name in ("SIGHUP", "SIGINT", "SIGTERM", "SIGQUIT", "SIGPIPE")
    if (number := getattr(signal, name, None)) is not None
)  # fmt: skip

WRAPPED_CRASHES: Final = frozenset((134, 137, 139))
"""Exit codes by which a wrapper says that its program died of SIGABRT, SIGKILL or SIGSEGV."""


def classify(
    status: WaitStatus, policy: AbnormalExit = AbnormalExit.FAILURE, *, asked: int | None = None, out_of_memory: bool | None = None
) -> Exit:
    """What an end means.

    Args:
        status: How the process ended.
        policy: Which ends are failures.
        asked: The signal by which we asked it to end, None when we did not. Dying of it, or answering with 128 plus its number, is
            then no failure but a shutdown.
        out_of_memory: Whether the kernel's out-of-memory killer did it; None when that cannot be told.
    """
    code, number = status.code, status.signal
    if number is not None:
        reason = "killed: out of memory" if out_of_memory else f"killed by {signal_name(number)}"
        if status.core_dumped:
            reason += " (core dumped)"
        kind = ExitKind.ABNORMAL
        if number == asked or (policy is AbnormalExit.CRASH and number in ORDERLY):
            kind = ExitKind.SHUTDOWN
        return Exit(kind, reason, signal=number, core_dumped=status.core_dumped, out_of_memory=out_of_memory)
    if code == 0:
        return Exit(ExitKind.NORMAL, "exit code 0", code=0)
    kind = ExitKind.ABNORMAL
    if (asked is not None and code == 128 + asked) or (policy is AbnormalExit.CRASH and code not in WRAPPED_CRASHES):
        kind = ExitKind.SHUTDOWN
    reason = f"exit code {code}: out of memory" if out_of_memory else f"exit code {code}"
    return Exit(kind, reason, code=code, out_of_memory=out_of_memory)


def exit_code(exit: Exit) -> int:
    """The code that a shell would show for an end: the process's own, or 128 plus the signal; without a process 0 when clean, else 70."""
    if exit.code is not None:
        return exit.code
    if exit.signal is not None:
        return 128 + exit.signal
    return 0 if exit.is_clean else 70


def completed(verdict: Exit, status: WaitStatus) -> Exit:
    """A verdict that does not say how the process ended, with that added."""
    if verdict.code is not None or verdict.signal is not None:
        return verdict
    return evolve(verdict, code=status.code, signal=status.signal, core_dumped=status.core_dumped)
