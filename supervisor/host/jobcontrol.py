"""Ctrl-Z and fg: when an interactive leaf stops, we stop too, so that the shell above us gets its terminal back."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import anyio

from .spawn import Spawned
from .terminal import Terminal


async def job_control(leaf: Spawned, terminal: Terminal, ending: Callable[[], bool]) -> None:
    """Follow the stops of a leaf until cancelled.

    A stop raises SIGCHLD and nothing else, so the signal is received while an interactive leaf runs. Off the main thread signals
    cannot be received; there a stopped leaf stays stopped until somebody continues it.

    Args:
        leaf: An interactive leaf.
        terminal: The terminal it has borrowed.
        ending: Whether it is being killed, which begins with stopping it.

    **Cancellation:** the handlers are taken back.
    """
    if sys.platform != "win32":
        try:
            receiver = anyio.open_signal_receiver(signal.SIGCHLD, signal.SIGCONT)
            with receiver as signals:
                _look(leaf, terminal, ending)  # it may have stopped before we listened
                async for number in signals:
                    if number == signal.SIGCONT:
                        # by a shell's fg or bg: the leaf follows us
                        if not terminal.resume(leaf.pid) and not leaf.reaped:
                            with suppress(ProcessLookupError):
                                os.killpg(leaf.pid, signal.SIGCONT)
                    else:
                        _look(leaf, terminal, ending)
        except (ValueError, RuntimeError):
            return  # not the main thread


def _look(leaf: Spawned, terminal: Terminal, ending: Callable[[], bool]) -> None:
    if leaf.stopped() is not None and not ending():
        terminal.suspend(leaf.pid)
        terminal.resume(leaf.pid)
