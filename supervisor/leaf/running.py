"""One life of a command: watched to its end, stopped on request, swept as a whole tree of processes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from ..core.event import OrphansSwept
from ..core.exits import Exit, ExitKind, describe
from ..core.value import Entity, evolve
from ..host import reaper
from ..host.followed import Followed
from ..host.identity import ProcessId, send_signal
from ..host.oom import OomKills, oom_kills, was_out_of_memory
from ..host.procstat import read_stat
from ..host.sentry import Post
from ..host.spare import with_reserve
from ..host.spawn import Spawned
from ..host.sweep import Swept, dead, kill_all, sweep, was_asked
from ..host.tree import Tree
from ..host.waitstatus import WaitStatus, completed

if TYPE_CHECKING:
    from ..core.ports import Ticket
    from ..host.cgroup.group import Group
    from ..host.terminal import Terminal
    from .companion import Companion
    from .output import Output

_SIGKILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)
_TIDY: Final = 30.0
"""Seconds between looks for orphans that died while their leaf runs; nothing tells us of them."""


@attrs.define(repr=False, eq=False)
class RunningCommand(Entity):
    """A command that was started: its `Handle`.

    Attributes:
        argv: The command and its arguments.
        cwd: Its working directory, absolute.
        status: What it says of itself, for people; None when it has said nothing.
        trouble: Why it is not up yet, as far as anybody knows.
        on_up: Called when it says that it is up.
        ungranted: The limits that were not required and could not be had, each with the reason.
    """

    argv: tuple[str, ...]
    cwd: str
    _stop_signal: int
    _classify: Callable[..., Exit]
    _ticket: Ticket
    _spawned: Spawned
    _tree: Tree
    _terminal: Terminal | None
    _kills: OomKills
    _companions: tuple[Companion, ...] = ()
    _acknowledges: bool = False
    ungranted: Mapping[str, str] = attrs.field(factory=dict)
    _started: bool = False
    _asked: bool = False
    _insisted: bool = False
    _verdict: Exit | None = None
    _output: Output | None = None
    _wait_status: WaitStatus | None = None
    _only_its_cgroup: bool = False
    _main: Followed | None = None
    _outlived: bool = False
    status: str | None = None
    trouble: Exception | None = None
    on_up: Callable[[], None] | None = None
    _post: Post = attrs.field(kw_only=True)

    @property
    def ticket(self) -> Ticket:
        """The ticket of this life, for its companions."""
        return self._ticket

    @property
    def is_up(self) -> bool:
        """Whether it has said that it is up."""
        return self._started

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to end, or killed."""
        return self._asked or self._insisted

    @property
    def pid(self) -> int:
        """The process id of the command's root process."""
        return self._spawned.pid

    @property
    def process_id(self) -> ProcessId:
        """The identity of the command's root process."""
        return self._spawned.id

    @property
    def marker(self) -> str:
        """What every process of this life carries in its environment, unless it removes it."""
        return self._tree.marker

    @property
    def cgroup(self) -> str | None:
        """The directory of its own cgroup, None when it has none. It is removed after its end."""
        return None if self._tree.group is None else self._tree.group.directory

    @property
    def group(self) -> Group | None:
        """Its own cgroup, to be frozen and thawed, and where its memory is counted; None when it has none."""
        return self._tree.group

    @property
    def interactive(self) -> bool:
        """Whether it has the terminal."""
        return self._terminal is not None

    def members(self) -> tuple[ProcessId, ...]:
        """The live processes of its tree now, adopted orphans included, the root first while it lives."""
        return () if self._spawned.reaped else self._tree.refresh()

    def adopted(self) -> tuple[ProcessId, ...]:
        """The live orphans of this life that became our children: they and their descendants belong to it, outside of its tree."""
        return () if self._spawned.reaped else tuple(self._tree.adopted())

    def holds(self, pid: int) -> bool:
        """Whether the process that has this pid now belongs to the command's tree; one that is dead does until it is reaped.

        Raises:
            OSError: Out of descriptors, so that nobody can look.
        """
        return not self._spawned.reaped and with_reserve(self._tree.holds)(pid)

    def remember(self, members: Iterable[ProcessId]) -> None:
        """Take in members that were seen elsewhere, so that they are found after a crash even if they leave the tree."""
        self._tree.remember(members)

    def terminate(self) -> None:
        """Ask the command to end: note who belongs to it, then send the stop signal to its process group.

        The group, not the root alone: the root is often a wrapper (npm's, a shell) which dies of the signal at once, while the program
        that has something to save is its child. Whoever got the signal has until `kill` to end. Processes in groups of their own
        are not asked; they are swept once those are gone.
        """
        if self._spawned.reaped:
            return
        with suppress(OSError):
            with_reserve(self._tree.refresh)()  # without descriptors we go by what was seen before
        self._asked = True
        self._tree.let_act()
        self._signal_group(self._stop_signal)
        if sys.platform != "win32":
            self._signal_group(signal.SIGCONT)  # a stopped process gets no other signal
        main = self._main
        if main is not None and not main.over.is_set():
            with suppress(OSError):
                stat = with_reserve(read_stat)(main.id.pid)
                if stat is not None and stat.group != self.pid:
                    self._signal_main(self._stop_signal)

    def kill(self) -> None:
        """Kill the whole tree, whoever is in it now."""
        self._insisted = True
        if not self._spawned.reaped:
            self._kill_all()

    def acknowledge(self) -> None:
        """The command says that it is up; said again, it changes nothing."""
        if not self._started:
            self._started = True
            self.trouble = None
            if self.on_up is not None:
                self.on_up()
            self._ticket.started(self.process_id)

    def follow(self, main: Followed | None) -> None:
        """From now on this process's end is the command's; None: the root's, as at first. Its owner closes it."""
        self._main = main
        if main is not None:
            self._tree.remember((main.id,))

    def main_ended(self, main: Followed) -> None:
        """Its end was noticed; where the root's is due to be noticed in the same turn, it was the root that ended first.

        An orphan that we adopted tells how it ended. One that its parent has reaped does not: then that saw it end, and has the last word.
        """
        if main is self._main and main.status is not None and self._spawned.status() is not None:
            self._outlived = True

    def condemn(self, exit: Exit, *, by: int | None = None) -> None:
        """Kill it, and report this exit instead of what the kill brings about. Only the first verdict counts, and none over the dead.

        Args:
            exit: The verdict. How the process really ended is added where it says nothing of that.
            by: A signal that its main process gets first. Whoever sends one condemns it again, without, some time later.
        """
        if not self._is_over():
            if self._verdict is None:
                self._verdict = exit
            if by is None:
                self._kill_all()
            else:
                self._signal_main(by)

    async def watch(self) -> None:
        """The life of the command, from its acknowledgement to the report of its end, and a last look around after that."""
        try:
            await self._watch()
            await self._look_again()
        finally:
            # after the last look: who is swept there is the sentry's until then
            self._post.close()
            if self._tree.group is not None:
                self._tree.group.remove()
            reaper.release()  # both after the report: it may have started the next life at once, and then neither begins anew

    async def _watch(self) -> None:
        try:
            if not self._acknowledges:
                self.acknowledge()
            if self._output is None:
                await self._live()
            else:
                # until the whole tree is gone: who was asked to end may have much to say
                async with anyio.create_task_group() as group:
                    for pump in self._output.pumps:
                        group.start_soon(pump.run)
                    await self._live()
                    group.cancel_scope.cancel()
                await self._output.drain()
        finally:
            if self._terminal is not None:
                self._terminal.give_back(self._wait_status)
                self._post.given_back()
            if self._wait_status is None:
                self._kill_all()  # given up, or a fault of ours: nothing may run that nobody watches
            else:
                self._spawned.reap()
                self._tree.root_reaped()
            reaper.unregister(self._tree)
            self._spawned.close()
            for companion in self._companions:
                companion.close()
            if self._output is not None:
                self._output.close()
            if self._wait_status is not None:
                self._report_end(self._wait_status)

    async def _live(self) -> None:
        """From the spawn to the moment when the whole tree is gone."""
        if not self._companions and self._terminal is None:
            await self._death()  # a task group would cost what the rest of this costs
        else:
            async with anyio.create_task_group() as group:
                for companion in self._companions:
                    group.start_soon(companion.run, self)
                if self._terminal is not None:
                    from ..host.jobcontrol import job_control  # here: most leaves have no terminal

                    group.start_soon(job_control, self._spawned, self._terminal, lambda: self._insisted)
                await self._death()
                group.cancel_scope.cancel()
        self._wait_status = self._spawned.status()
        for companion in self._companions:
            companion.conclude(self)
        await self._clean_up()

    def _report_end(self, status: WaitStatus) -> None:
        self._ticket.exited(self._judge(status))

    def _judge(self, status: WaitStatus) -> Exit:
        exit = self._classified(status) if self._verdict is None else completed(self._verdict, status)
        if self._output is not None and not (exit.is_clean and self._started) and (said := self._output.tail()):
            return evolve(exit, output=said)
        return exit

    def _classified(self, status: WaitStatus) -> Exit:
        if self._outlived and self._main is not None:
            if self._main.status is None:
                return self._unknown_end(self._main)
            status = self._main.status
        out_of_memory = None
        # killed, or a wrapper around what was
        if (status.signal == _SIGKILL or status.code == 128 + _SIGKILL) and not self._insisted:
            out_of_memory = was_out_of_memory(self._kills, oom_kills(self._tree.group))
        asked = self._stop_signal if self._asked else None
        exit = self._classify(status, asked=asked, out_of_memory=out_of_memory)
        if self.trouble is not None and self._insisted and not self._asked:
            return evolve(exit, reason=describe(self.trouble), exception=self.trouble)
        return exit

    def _unknown_end(self, main: Followed) -> Exit:
        if self._asked:
            return Exit.shutdown()
        return Exit(ExitKind.ABNORMAL, f"its main process {main.id.pid} ended; only its parent knows how")

    def _is_over(self) -> bool:
        return self._spawned.status() is not None and (self._main is None or self._main.over.is_set())

    async def _death(self) -> None:
        """Return when the root process and the main process are dead; the root is not reaped yet."""
        readable = self._spawned.exit_fd
        while self._spawned.status() is None:
            if readable is not None:
                with anyio.move_on_after(_TIDY) as scope:
                    await anyio.wait_readable(readable)
                if scope.cancelled_caught:
                    reaper.collect()
                    self._kills = oom_kills(self._tree.group)  # what it killed so far was not this command
            else:
                # a thread for each leaf, without end: of the loop's own there are forty, and the next death would wait for one of them
                await anyio.to_thread.run_sync(self._spawned.wait, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
        while self._main is not None and not self._main.over.is_set():
            self._outlived = True
            await self._main.over.wait()

    async def _clean_up(self) -> None:
        """The root is dead and not reaped, so its group is still its own: let those end that were asked to, sweep the rest."""
        try:
            if with_reserve(self._tree.is_bare)():
                self._only_its_cgroup = self._tree.group is not None
                return  # what nearly always holds, for the price of one read
            while self._asked and not self._insisted:
                got = partial(with_reserve(was_asked), group=self.pid, signum=self._stop_signal)
                asked = [process for process in with_reserve(self._tree.refresh)() if got(process)]
                if not asked:
                    break
                await dead(asked)
            swept = await sweep(self._tree.refresh, settled=lambda: self._tree.settled, enclosure=self._tree.group)
        except OSError as error:
            # out of descriptors: who can be reached without any still goes, and the report says that it was not all
            self._signal_group(_SIGKILL)
            self._report(Swept(left=self._tree.last_seen), f"; incomplete: {error.strerror}")
        else:
            if swept.killed or swept.left:
                self._report(swept)

    async def _look_again(self) -> None:
        """Only its cgroup was looked into, so that the next life need not wait for more: now sweep who had left that and was never seen."""
        if not self._only_its_cgroup:
            return
        try:
            if with_reserve(self._tree.has_strays)():
                self._post.root_reaped(self._tree.reaped)
                with reaper.attending(self._tree):
                    swept = await sweep(self._tree.refresh, settled=lambda: self._tree.settled)
                if swept.killed or swept.left:
                    self._report(swept)
        except OSError as error:
            self._report(Swept(left=self._tree.last_seen), f"; incomplete: {error.strerror}")

    def _report(self, swept: Swept, trouble: str = "") -> None:
        left = [str(process.pid) for process in swept.left if process != self.process_id]
        reason = f"left behind by {self.argv[0]}{trouble}" + (f"; perhaps still there: {', '.join(left)}" if left else "")
        pids = tuple(process.pid for process in swept.killed)
        self._ticket.emit(OrphansSwept(self._ticket.path, pids, reason, generation=self._ticket.generation))

    def _kill_all(self) -> None:
        if self._spawned.end_job():
            return  # nothing has left it
        try:
            kill_all(self._tree.refresh, self._tree.group)
        except OSError:
            # out of descriptors: a group needs none
            self._signal_group(_SIGKILL)
        else:
            # a leaf that may not be signalled stays; the supervisor reports it as unresponsive
            with suppress(PermissionError):
                with_reserve(send_signal)(self.process_id, _SIGKILL)

    def _signal_main(self, number: int) -> None:
        """Signal the main process alone, and wake it if it is stopped."""
        main = self._main
        process = self.process_id if main is None or main.over.is_set() else main.id
        with suppress(OSError):
            with_reserve(send_signal)(process, number)
            if sys.platform != "win32":
                with_reserve(send_signal)(process, signal.SIGCONT)

    def _signal_group(self, number: int) -> None:
        """Signal the root's process group. Only before the root is reaped: until then no other group can have its number."""
        if sys.platform == "win32":
            with suppress(OSError):  # without a console it cannot be asked; it is killed when its time is over
                self._spawned.ask(number)
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
        with suppress(OSError):  # without any descriptor nobody can look, and nobody there is to be signalled but the group
            stat = with_reserve(read_stat)(self.pid)
            if stat is not None and stat.group != self.pid and not stat.dead:
                with_reserve(send_signal)(self.process_id, number)  # it moved to another group
