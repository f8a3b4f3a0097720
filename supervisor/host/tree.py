"""The processes of one life: the leaf, its descendants, and what became an orphan and was adopted by us."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable

import attrs

from ..core.value import Entity
from . import reaper
from .cgroup.group import Group
from .identity import ProcessId, is_alive
from .marker import carries, run_token, value_in
from .procstat import Stat, is_ending, own_session, read_children, read_environment, read_stat
from .proctree import marked, scan, walk

_LOOKS = 40
"""How often orphans are looked at in one go while some come and go."""


@attrs.define(repr=False, eq=False)
class Tree(Entity):
    """What is known of one life's processes; refreshed on demand, never by itself.

    Attributes:
        root: The leaf.
        marker: What its descendants carry in their first environment.
        own_session: Whether the leaf leads a session, else only a process group.
        adopting: Whether orphans come to us, see `reaper.adopt_orphans`.
        group: Its cgroup, None without one. Who is in it belongs to the life, wherever it hangs and whatever it did to its environment.
        settled: Whether the latest look at the orphans was the whole truth: nobody was about to end who could still hand us a child.
        reaped: When the leaf was reaped, in clock ticks since boot as creation times are; infinite before.
    """

    root: ProcessId
    marker: str
    own_session: bool
    adopting: bool
    group: Group | None = None
    settled: bool = True
    reaped: float = math.inf
    _seen: dict[ProcessId, None] = attrs.field(factory=dict)
    _zombies: set[ProcessId] = attrs.field(factory=set)

    @property
    def last_seen(self) -> tuple[ProcessId, ...]:
        """The members as of the last `refresh`; the leaf first while it ran."""
        return tuple(self._seen)

    def remember(self, members: Iterable[ProcessId]) -> None:
        """Take in members that somebody else saw, such as a memory probe."""
        self._seen.update(dict.fromkeys(members))

    def refresh(self) -> tuple[ProcessId, ...]:
        """The live members now, parents before their children, the leaf first while it lives.

        Raises:
            OSError: Out of descriptors.
        """
        found, dead = scan(self.root.pid)
        if found and found[0] != self.root:
            found, dead = [], []  # the pid is another's now
        members, zombies = dict.fromkeys(found), set(dead)
        for orphan in self.adopted():
            if orphan not in members:
                found, dead = scan(orphan.pid)
                members.update(dict.fromkeys(found))
                zombies.update(dead)
        for process in (*self._seen, *self._zombies):
            if process in members:
                continue
            if sys.platform != "linux":
                if is_alive(process):
                    members[process] = None
                continue
            stat = read_stat(process.pid)
            if stat is None or stat.created != process.created:
                continue
            if stat.dead:
                zombies.add(process)  # soon ours to reap, when all that is left of it is its identity
            else:
                members[process] = None  # it left the tree, for a reaper of its own or because orphans do not come to us
        if self.group is not None:
            members.update(dict.fromkeys(self.group.members()))
        self._seen, self._zombies = members, zombies
        return tuple(members)

    def is_bare(self) -> bool:
        """Whether a leaf that has died left nothing behind, as far as one cheap look can tell; False when it takes more to tell.

        With a cgroup the look is into that alone, so that its price does not depend on how many others there are. Who has left the
        cgroup by himself, and was never seen, is for `has_strays`.
        """
        if not self.adopting or self._zombies or not self._seen.keys() <= {self.root}:
            return False
        return not self.has_strays() if self.group is None else self.group.is_empty()

    def has_strays(self) -> bool:
        """Whether a child of ours could come from this leaf. It takes a look at all of them: microseconds for each."""
        return not all(self._is_anothers(stat) for stat in self._strangers())

    def let_act(self) -> None:
        """Have it thawed, if its cgroup was frozen through us: it is about to be asked to end."""
        if self.group is not None:
            self.group.let_act()

    def root_reaped(self) -> None:
        """The leaf was reaped: from now on its number may be that of another process, and of a group or a session of that."""
        if sys.platform == "linux":
            self.reaped = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))

    def adopted(self) -> list[ProcessId]:
        """The live orphans of this life: our own children by adoption; without adoption, whatever carries the marker."""
        self.settled = True
        if not self.adopting:
            # on Windows a look at all environments takes seconds, and a job object keeps the tree together
            return list(marked(self.marker) or marked(self.marker)) if sys.platform != "win32" else []
        dead: set[ProcessId] = set()
        living: list[ProcessId] = []
        for _ in range(_LOOKS):
            # the dead of one who forks a successor and ends, again and again, would make a look take longer than his next step
            reaper.collect()
            unsettled = ending = False
            for stat in self._strangers():
                process = ProcessId(stat.pid, stat.created)
                if not stat.dead and self._owns(stat):
                    living.append(process)
                    self._claim_leader(stat)
                elif process in dead:
                    continue
                elif is_ending(stat.pid):
                    ending = True
                elif not is_alive(process):  # asked last: who was ending before must not be dead by now and be taken for neither
                    dead.add(process)
                    unsettled = True
            # who died after the list was read may have handed us a child that is not in it, so nothing found means nothing then;
            # nor does it while somebody ends who has lost his marker already and still has his children
            self.settled = not (unsettled or ending)
            if living or not unsettled:
                break  # who ends needs the processor for it, and whoever must know waits for him: see `sweep`
        return living

    def _claim_leader(self, stat: Stat) -> None:
        """Whoever made an orphan's session is ours too, also if he was first seen dead: nobody enters a session from outside."""
        leader = read_stat(stat.session) if stat.session not in (stat.pid, own_session()) else None
        if leader is not None and leader.dead and leader.parent == os.getpid():
            self._zombies.add(ProcessId(leader.pid, leader.created))

    def _strangers(self) -> list[Stat]:
        """The children of ours that are no leaves and could come from this one."""
        strangers = reaper.strangers()
        if strangers and self.own_session:
            # no session can be entered from outside, so who is in ours was started by us
            here = own_session()
            return [stat for stat in strangers if stat.session != here]
        return strangers

    def _is_anothers(self, stat: Stat) -> bool:
        """Whether a child of ours surely did not come from this leaf; of one that is about to end nothing is sure."""
        if stat.dead or self.claims(stat) or (self.group is not None and self.group.holds(stat.pid)):
            return False
        environment = read_environment(stat.pid)
        lives = value_in(environment)
        known = carries(lives, run_token()) or (bool(environment) and not read_children(stat.pid, stat.threads))
        return known and not carries(lives, self.marker) and is_alive(ProcessId(stat.pid, stat.created))

    def _owns(self, stat: Stat) -> bool:
        if self.claims(stat) or (self.group is not None and self.group.holds(stat.pid)):
            return True
        lives = value_in(read_environment(stat.pid))
        if carries(lives, self.marker):
            return True
        if carries(lives, run_token()):
            return False
        return reaper.can_only_be_of(self.root, stat) or any(self._marked(process) for process in walk(stat.pid)[1:])

    def _marked(self, process: ProcessId) -> bool:
        """Whether it carries our marker; whoever stands between it and us had it too, before his environment was replaced."""
        return carries(value_in(read_environment(process.pid)), self.marker)

    def holds(self, pid: int) -> bool:
        """Whether the process that has this pid now belongs here; one that is dead does until it is reaped."""
        if pid == self.root.pid:
            return True
        stat = read_stat(pid)
        passed: set[int] = set()
        while stat is not None and stat.pid not in passed:
            if stat.pid == self.root.pid or self.claims(stat):
                return True
            passed.add(stat.pid)  # parents that are replaced while we climb could make a circle
            stat = read_stat(stat.parent) if stat.parent not in (0, 1, os.getpid()) else None
        return (self.group is not None and self.group.holds(pid)) or carries(value_in(read_environment(pid)), self.marker)

    def claims(self, stat: Stat) -> bool:
        """Whether a process belongs here by what was seen, by its process group or by its session."""
        here = stat.group == self.root.pid or (self.own_session and stat.session == self.root.pid)
        if here and stat.created < self.reaped:
            return True
        process = ProcessId(stat.pid, stat.created)
        return process in self._seen or process in self._zombies
