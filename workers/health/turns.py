"""Turns: of all leaves together only so many restart at the same time; the others wait here."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import anyio

from ..policy import queue
from ..policy.queue import RestartQueue, Waiting

if TYPE_CHECKING:
    from ..ledger import Leaf, Ledger
    from ..policy.effects import Restart


class Turn:
    """One restart's place. A context manager, which gives it back.

    Attributes:
        leaf: Whose restart.
        wanted: What the decision asked for; None when somebody else asks for it.
    """

    def __init__(self, turns: Turns, number: int, leaf: Leaf, wanted: Restart | None) -> None:
        self.leaf, self.wanted, self.number = leaf, wanted, number
        self._turns = turns
        self._told = anyio.Event()
        self._granted = False

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._turns.leave(self)

    async def come(self) -> bool:
        """Wait for the turn; False when it was withdrawn.

        **Cancellation:** leaves the wait; the place is given back by the block.
        """
        if not self._told.is_set():
            await self._told.wait()
        return self._granted

    def tell(self, granted: bool) -> None:
        """It is this one's turn, or will never be."""
        self._granted = granted
        self._told.set()


class Turns:
    """Who may restart now. One for each life of the worker that carries restarts out."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._queue = RestartQueue()
        self._waiting: dict[int, Turn] = {}
        self._last = 0

    def join(self, leaf: Leaf, wanted: Restart | None = None) -> Turn:
        """Take a place.

        An urgent one's turn comes here and now; that of others when `grant` is called next, so that the largest of them is first.
        """
        self._last += 1
        turn = Turn(self, self._last, leaf, wanted)
        self._waiting[turn.number] = turn
        urgent = wanted is not None and wanted.urgent
        self._queue = queue.join(self._queue, Waiting(turn.number, leaf.guard.pressure.total_bytes or 0, urgent))
        if urgent:
            self.grant()
        return turn

    def leave(self, turn: Turn) -> None:
        """Give a place back; whoever waits may be next."""
        self._waiting.pop(turn.number, None)
        self._queue = queue.leave(self._queue, turn.number)
        self.grant()

    def grant(self) -> None:
        """Let those begin that may."""
        if not self._waiting:
            return
        self._queue, going = queue.admit(self._queue, self._ledger.run.config.monitoring.restarts_at_once)
        for number in going:
            self._waiting.pop(number).tell(granted=True)

    def withdraw(self, turn: Turn) -> None:
        """It is not wanted any more."""
        self._waiting.pop(turn.number, None)
        self._queue = queue.leave(self._queue, turn.number)
        turn.tell(granted=False)

    def waiting(self, leaf: Leaf) -> Turn | None:
        """The place of the restart that the decision about a leaf asked for, while it waits."""
        return next((turn for turn in self._waiting.values() if turn.leaf is leaf and turn.wanted is not None), None)

    def ahead(self, leaf: Leaf) -> int | None:
        """How many restarts go before that of a leaf; None when none of it waits."""
        numbers = {turn.number for turn in self._waiting.values() if turn.leaf is leaf}
        place = next((index for index, one in enumerate(self._queue.waiting) if one.number in numbers), None)
        return None if place is None else place + len(self._queue.under_way)
