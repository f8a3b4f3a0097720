"""The process that captures, as the state worker sees it: started when it is first needed, and ended when it is not or when it hangs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from supervisor import CallError, CallTimeout, ChildNotFound, ChildSpec, Limits, Restart, worker

if TYPE_CHECKING:
    from ..ledger import Ledger
    from .messages import Captured, CaptureOrder, PruneOrder, Removed

ID: Final = "archive"
"""The child's, beside the state worker."""

SERVICES: Final = ("services",)

START: Final = 30.0
"""Seconds for its interpreter to come up."""

ANSWER: Final = 1.0
"""Seconds in which an event loop that does not hang answers."""

LONGEST: Final = 120.0
"""Seconds after which a capture that nobody waits for any more is given up, and the process with it."""

END: Final = 3.0
"""Seconds in which it may write what it has begun when it is to end; one that hangs has them too, before it is killed."""

MEMORY: Final = 512 << 20
"""Bytes that it may have, beyond which the kernel kills it, where that can be limited."""

NICE: Final = 5
"""What it does may take a little longer where the leaf needs the processor."""


class Archiving(Protocol):
    """What the state worker asks for, wherever that is done."""

    async def capture(self, order: CaptureOrder) -> Captured:
        """See `Archive.capture`."""
        ...

    async def prune(self, order: PruneOrder) -> Removed:
        """See `Archive.prune`."""
        ...

    async def checked(self) -> None:
        """A capture takes too long: whatever hangs is ended, what is slow goes on."""
        ...

    async def leave(self) -> None:
        """Nothing is captured for a while."""
        ...


def archiving(ledger: Ledger) -> Archiving:
    """What captures on this platform: a process of its own where there is such a thing."""
    if sys.platform == "win32":
        return Here()
    return Apart(ledger)


class Apart:
    """It is another process."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._turn = anyio.Lock()

    @property
    def _services(self) -> Any:
        assert self._ledger.tree is not None
        return self._ledger.tree.supervisor(*SERVICES)

    async def capture(self, order: CaptureOrder) -> Captured:
        """See `Archive.capture`.

        Raises:
            CallError: It ended meanwhile, or did not answer in time.
            StartFailed: It did not come up.
            WorkerFailed: It has a fault.

        **Cancellation:** leaves the wait; the capture goes on.
        """
        return await self._ask("capture", order)  # type: ignore[no-any-return]  # checked where it arrives

    async def prune(self, order: PruneOrder) -> Removed:
        """See `Archive.prune`, and `capture` for what is raised."""
        return await self._ask("prune", order)  # type: ignore[no-any-return]  # checked where it arrives

    async def checked(self) -> None:
        """End it if it hangs; one that is slow goes on."""
        try:
            await self._services.call(ID, "alive", timeout=ANSWER)
        except CallTimeout:
            await self.leave()
        except CallError:
            return  # it is gone

    async def leave(self) -> None:
        """End it, if it is there.

        **Cancellation:** leaves the wait; it ends.
        """
        async with self._turn:
            try:
                await self._services.terminate_child(ID)
            except CallError:
                return  # it is gone, or all of the tree is about to be

    async def _ask(self, name: str, order: object) -> Any:
        async with self._turn:
            # whoever asks while it is being ended waits for that, and has the next one
            await self._present()
        try:
            return await self._services.call(ID, name, order, timeout=LONGEST)
        except CallTimeout:
            await self.leave()
            raise

    async def _present(self) -> None:
        services = self._services
        try:
            services.which_child(ID)
        except ChildNotFound:
            await services.start_child(spec())


class Here:
    """It is this process: the platform has no other way."""

    def __init__(self) -> None:
        from .archive import Archive

        self._archive = Archive()

    async def capture(self, order: CaptureOrder) -> Captured:
        """See `Archive.capture`."""
        return await self._archive.capture(order)

    async def prune(self, order: PruneOrder) -> Removed:
        """See `Archive.prune`."""
        return await self._archive.prune(order)

    async def checked(self) -> None:
        """Whoever asks is it."""

    async def leave(self) -> None:
        """It stays."""


def spec() -> ChildSpec:
    """The child: one that ends is forgotten, whatever it died of, and the next capture starts another."""
    # a start of it never fails for want of a cgroup to limit it in
    limits = Limits(memory_max=MEMORY, nice=NICE, required=False)
    start = worker("workers.state.archive:archive", start_method="fresh", limits=limits)
    return ChildSpec(ID, start, restart=Restart.TEMPORARY, shutdown=END, start_timeout=START)
