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
    """Follow the stops of a leaf until cancelled, and have it stop when we are asked to.

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
            receiver = anyio.open_signal_receiver(signal.SIGCHLD, signal.SIGCONT, signal.SIGTSTP, signal.SIGWINCH)
            with receiver as signals:
                _look(leaf, terminal, ending)  # it may have stopped before we listened
                async for number in signals:
                    if number == signal.SIGCONT:
                        # by a shell's fg or bg: the leaf follows us
                        # once: at a second one an editor draws again, in the middle of drawing
                        if not terminal.resume(leaf.pid) and not terminal.continued:
                            terminal.continued = True
                            _signal(leaf, signal.SIGCONT)
                    elif number == signal.SIGWINCH:
                        terminal.hand_over(signal.SIGWINCH)
                    elif number == signal.SIGTSTP:
                        # by somebody who knows our pid, or a key where we are in front: the leaf stops in its own way, and then we do
                        if not ending() and not terminal.hand_over(signal.SIGTSTP):
                            _signal(leaf, signal.SIGTSTP)
                    else:
                        _look(leaf, terminal, ending)
        except (ValueError, RuntimeError):
            return  # not the main thread


def _look(leaf: Spawned, terminal: Terminal, ending: Callable[[], bool]) -> None:
    number = leaf.stopped()
    if number is not None:
        terminal.continued = False
    # where we are in front it has stopped in the background, and a shell has put us in front since
    if number is not None and not ending() and not terminal.resume(leaf.pid):
        terminal.suspend(leaf.pid, number)
        terminal.resume(leaf.pid)


def _signal(leaf: Spawned, number: int) -> None:
    if sys.platform != "win32" and not leaf.reaped:
        with suppress(ProcessLookupError):
            os.killpg(leaf.pid, number)
