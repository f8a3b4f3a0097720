"""Signals to the launcher: the first asks for an orderly stop, a second interrupt hurries."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterable, Awaitable, Callable

import anyio

from ..host.lending import hand_over

_KEYS = (signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGINT))
"""What a terminal sends for keys."""


class StopRequest:
    """Whether the run is asked to stop, and how urgently. Everything here belongs to the event loop's thread.

    Attributes:
        signal: The number of the signal that asked first, None when it was no signal.
        requested: Whether the run is to stop.
        hurried: Whether a second interrupt asked not to wait for anybody any more.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.requested = False
        self.hurried = False
        self._stop = anyio.Event()
        self._hurry = anyio.Event()

    def request(self, signum: int | None = None) -> None:
        """Ask for an orderly stop; a second SIGINT asks to hurry. Other repetitions change nothing."""
        if not self.requested:
            self.requested, self.signal = True, signum
            self._stop.set()
        elif signum == signal.SIGINT:
            self.hurry()

    def hurry(self) -> None:
        """Ask to stop without waiting for anybody."""
        if not self.requested:
            self.request()
        self.hurried = True
        self._hurry.set()

    async def wait(self) -> int | None:
        """Wait until the run is asked to stop; returns the signal.

        **Cancellation:** at any time, without effect.
        """
        await self._stop.wait()
        return self.signal

    async def wait_hurried(self) -> None:
        """Wait until somebody hurries.

        **Cancellation:** at any time, without effect.
        """
        await self._hurry.wait()


def handled_signals() -> tuple[signal.Signals, ...]:
    """The signals that end a run in order: those that are meant to, and those that would else end us at once and leave strays behind.

    A hangup that was ignored when we started stays ignored: that is what nohup means. The latter are left to whoever handles them already.
    """
    if sys.platform == "win32":
        return ()
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    deadly = (signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
    return (signal.SIGINT, signal.SIGTERM, *hangup, *(signum for signum in deadly if signal.getsignal(signum) is signal.SIG_DFL))


def run_with_signals(main: Callable[[StopRequest], Awaitable[int]], backend: str) -> int:
    """Run `main` in an event loop while signals become stop requests; returns its exit code. Only in the main thread.

    The signals are received before `main` begins and until it has ended; one that comes after that changes nothing any more.
    What `main` raises leaves bare.
    """
    before = {signum: signal.getsignal(signum) for signum in handled_signals()}
    try:
        return anyio.run(_run, main, tuple(before), backend=backend)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)


async def _run(main: Callable[[StopRequest], Awaitable[int]], signals: tuple[signal.Signals, ...]) -> int:
    stop = StopRequest()
    if not signals:
        return await main(stop)
    unreceived: list[int] = []

    def note() -> None:
        for signum in signals:
            signal.signal(signum, lambda number, frame: unreceived.append(number))

    outcome: int | Exception
    note()
    with anyio.open_signal_receiver(*signals) as received:
        for signum in unreceived:
            stop.request(signum)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_receive, received, stop)
            try:
                outcome = await main(stop)
            except Exception as error:  # raised again below, where no task group wraps it
                outcome = error
            tasks.cancel_scope.cancel()
        # trio delivers again what nobody received, to the handlers that were there before: these must be harmless by then
    # asyncio has put the default handlers in place, which would end the process with the wrong code
    note()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def _receive(received: AsyncIterable[signal.Signals], stop: StopRequest) -> None:
    async for signum in received:
        # a key where a shell has put us in front without a word is meant for the leaf
        if stop.requested or signum not in _KEYS or not hand_over(signum):
            stop.request(signum)
