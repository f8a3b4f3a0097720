"""A command of limited memory: that some of its tree were killed for want of it is told at once, also while the command goes on."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from ..core.event import OomKilled
from ..core.ports import Ticket
from ..host.cgroup.memory import OomKillWatch
from .running import RunningCommand

if TYPE_CHECKING:
    from ..host.cgroup.group import Group


@attrs.define(eq=False)
class OomNotice:
    """A `Companion`."""

    _ticket: Ticket
    _watch: OomKillWatch

    @classmethod
    def of(cls, ticket: Ticket, group: Group | None) -> tuple[OomNotice, ...]:
        """One, where the memory is limited and the kernel tells; none where that cannot be watched: then only the exit says it."""
        if group is None:
            return ()
        with suppress(OSError):
            if (watch := group.watch_kills()) is not None:
                return (cls(ticket, watch),)
        return ()

    async def run(self, life: RunningCommand) -> None:
        """Tell of each kill."""
        while True:
            kills = await self._watch.next()
            self._ticket.emit(OomKilled(self._ticket.path, kills, generation=self._ticket.generation))

    def conclude(self, life: RunningCommand) -> None:
        """The exit says whether the command itself was killed."""

    def close(self) -> None:
        """Give back the descriptors."""
        self._watch.close()
