"""Virtual time on both backends: it stands still while anything runs, and jumps to the next deadline once everybody waits."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


def virtual_time(backend: str) -> tuple[str, dict[str, Any]]:
    """A backend whose clock is virtual; it begins at 0.

    Time passes only when no task can run and no file descriptor that is waited for is ready; then it jumps to the next
    deadline. A thread, another process or another host is no reason to wait, so a deadline passes before they answer: what
    involves those is to be tested in real time.

    Args:
        backend: ``"trio"`` or ``"asyncio"``.

    Returns:
        Name and options: what a pytest fixture `anyio_backend` may return, and the `backend` and `backend_options` of
        `anyio.run`. For one run; each gets its own.

    Raises:
        ValueError: There is no such backend.
    """
    if backend == "trio":
        from trio.testing import MockClock

        return backend, {"clock": MockClock(autojump_threshold=0)}
    if backend == "asyncio":
        from .loop import VirtualLoop

        return backend, {"loop_factory": VirtualLoop}
    raise ValueError(f"backend = {backend!r}: expected 'trio' or 'asyncio'")


def run(main: Callable[..., Awaitable[T]], *args: Any, backend: str = "trio", virtual: bool = True) -> T:
    """`anyio.run`, in virtual time unless told otherwise.

    Args:
        main: An async function.
        args: Passed to it.
        backend: ``"trio"`` or ``"asyncio"``.
        virtual: Whether time is virtual; see `virtual_time`.

    Returns:
        What `main` returns.

    Raises:
        ValueError: There is no such backend.
    """
    name, options = virtual_time(backend) if virtual else (backend, {})
    return anyio.run(main, *args, backend=name, backend_options=options)


async def settle() -> float:
    """Wait until nothing more can happen without time passing.

    Returns:
        Seconds until the next deadline of anybody; ``math.inf`` when there is none.

    Raises:
        RuntimeError: Under asyncio in real time, which cannot tell.

    **Cancellation:** stops waiting.
    """
    if "trio" in sys.modules:
        import trio.testing

        if trio.lowlevel.in_trio_run():
            await trio.testing.wait_all_tasks_blocked()
            return trio.lowlevel.current_statistics().seconds_to_next_deadline
    import asyncio

    from .loop import VirtualLoop

    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError("settle() under asyncio needs virtual time")
    return await loop.idle()
