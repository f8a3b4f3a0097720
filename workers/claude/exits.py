"""What the end of a Claude Code means, beyond what its code or signal says by itself."""

from __future__ import annotations

import signal
from typing import Final

import attrs

from supervisor import Exit, ExitKind

_WORDS: Final[dict[int, str]] = {
    signal.SIGABRT: "as V8 does when its heap is full",
    signal.SIGSEGV: "as Bun does when it crashes",
}


def judged(exit: Exit, *, in_turn: bool, is_over: bool = False, is_crash_only: bool) -> Exit:
    """An end, for what it is.

    The program ends with code 0 after an interrupt, too: in the middle of a turn that is no success. The builds on Node die of SIGABRT when
    their heap is full, the native one of SIGSEGV when it crashes; a wrapper passes on both as codes. One that is talked with in lines ends
    with code 1 where its last turn failed or was interrupted: once it has answered all there is, another life would have nothing to do.

    Args:
        exit: What it would be taken for.
        in_turn: Whether a turn had begun and not ended.
        is_over: Whether everything that will be said to it had been answered.
        is_crash_only: Whether only crashes are failures.
    """
    if exit.code == 0 and in_turn and exit.kind is ExitKind.NORMAL:
        kind = ExitKind.SHUTDOWN if is_crash_only else ExitKind.ABNORMAL
        return attrs.evolve(exit, kind=kind, reason="exit code 0 in the middle of a turn: it was interrupted")
    number = exit.signal if exit.signal is not None else (exit.code or 0) - 128
    words = _WORDS.get(number)
    if exit.kind is not ExitKind.ABNORMAL:
        return exit
    if words is not None and not exit.out_of_memory:
        exit = attrs.evolve(exit, reason=f"{exit.reason}, {words}")
    if is_over:
        exit = attrs.evolve(exit, kind=ExitKind.SHUTDOWN, reason=f"{exit.reason}, once everything was answered")
    return exit
