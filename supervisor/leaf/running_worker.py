"""The process of a worker, as a command that is asked to end over its socket and that says how it ended."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs

from ..core.exits import Exit
from ..core.ports import TreeTicket
from ..host import reaper
from ..host.cgroup.group import Group
from ..host.cgroup.quota import all_fields
from ..host.launch_report import SettingFailed
from ..host.oom import OomKills
from ..host.sentry import Post
from ..host.spare import with_reserve
from ..host.tree import Tree
from ..host.waitstatus import WaitStatus, classify
from .enclosing import Enclosed, is_required, say
from .inherited import working_directory
from .link import Link
from .running import RunningCommand

if TYPE_CHECKING:
    from ..core.limits import Limits
    from .companion import Companion

_SIGKILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)


@attrs.define(eq=False)
class RunningWorker(RunningCommand):
    """One life of a worker, from when its process is there.

    Attributes:
        limits: What it may use.
        insists: Whether it must not run without a cgroup of its own.
    """

    link: Link = attrs.field(kw_only=True)
    limits: Limits | None = attrs.field(default=None, kw_only=True)
    insists: bool = attrs.field(default=False, kw_only=True)
    _unused: Group | None = None

    @classmethod
    def of(
        cls,
        words: tuple[str, ...],
        ticket: TreeTicket,
        enclosed: Enclosed,
        marker: str,
        adopting: bool,
        kills: OomKills,
        link: Link,
        post: Post,
        limits: Limits | None,
        insists: bool,
    ) -> RunningWorker:
        """That life, of a process that was just started."""
        spawned, group, ungranted, trouble = enclosed
        tree = Tree(spawned.id, marker, spawned.own_session, adopting, group)
        reaper.register(tree)
        post.runs(spawned.id, own_session=True, cgroup=None if group is None else group.clone_into)
        companions: tuple[Companion, ...] = (link,)
        if limits is not None and limits.memory_max is not None:
            from .out_of_memory import OomNotice  # here: most workers are not limited

            companions += OomNotice.of(ticket, group)
        say(ticket, ungranted, trouble)
        return cls(
            words, working_directory(), _SIGKILL, classify, ticket, spawned, tree, None, kills, companions, True, ungranted,
            link=link, post=post, limits=limits, insists=insists,
        )  # fmt: skip

    def terminate(self) -> None:
        """Note who belongs to it, then ask it, and nobody else, to unwind."""
        if self._spawned.reaped:
            return
        with suppress(OSError):
            with_reserve(self._tree.refresh)()  # without descriptors we go by what was seen before
        self.link.shut_down()
        if sys.platform != "win32":
            self._signal_group(signal.SIGCONT)  # a stopped process reads nothing

    def refused(self, error: SettingFailed) -> Exit | None:
        """The kernel refused a fork one of its settings; how that ends its start, or None when it goes on without."""
        if error.setting != "cgroup" or self.insists or is_required(self.limits):
            return Exit.failed(error)
        group = self._tree.group
        if group is not None:
            trouble = f"it was not let into its cgroup: {os.strerror(error.errno or 0)}"  # so it says: no reason to give up cgroups
            self.ungranted = {**self.ungranted, **dict.fromkeys(all_fields(self.limits), trouble)}
            with suppress(OSError):  # by our own look: whoever is in there stays known by it, whatever he says
                if not group.members():
                    self._tree.group, self._unused = None, group
            say(self._ticket, self.ungranted, trouble)
        return None

    async def watch(self) -> None:
        """See `RunningCommand.watch`."""
        try:
            await super().watch()
        finally:
            if self._unused is not None:
                self._unused.remove()  # only now: who waits for news of it would have no end of them

    def _report_end(self, status: WaitStatus) -> None:
        said = self.link.said
        if self._verdict is None and self.link.ignored:
            self._ticket.ignored()
        elif said is not None and self._verdict in (None, said):
            self._ticket.exited(said)
        else:
            self._ticket.exited(self._judge(status))
