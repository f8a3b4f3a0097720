"""A child that is an operating system command: started, watched, stopped and swept as a whole tree of processes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from os import PathLike
from typing import Any, Final, Literal

import anyio
import attrs

from ..core.errors import InvalidField
from ..core.event import OrphansSwept
from ..core.exits import Exit
from ..core.ports import ChildType, Ticket
from ..host import launching, reaper
from ..host.identity import ProcessId, send_signal
from ..host.jobcontrol import job_control
from ..host.marker import new_marker
from ..host.oom import OomKills, oom_kills, was_out_of_memory
from ..host.procstat import read_stat
from ..host.spawn import Redirect, Spawned, spawn
from ..host.sweep import Swept, dead, ignores, kill_all, sweep
from ..host.terminal import Terminal, borrow, is_lent
from ..host.tree import Tree
from ..host.waitstatus import AbnormalExit, WaitStatus, classify

NOTIFY_FD: Final = "NOTIFY_FD"
"""The environment variable with the number of the descriptor on which a command of ``ready="fd"`` writes a newline."""

_SIGKILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)
_TIDY: Final = 30.0
"""Seconds between looks for orphans that died while their leaf runs; nothing tells us of them."""

Ready = Literal["spawn", "fd"]


@attrs.frozen
class Command:
    """What `command` makes: a `Launch`. See there for the fields."""

    argv: tuple[str, ...]
    env: Mapping[str, str | None] = attrs.field(factory=dict, kw_only=True)
    cwd: str | None = attrs.field(default=None, kw_only=True)
    ready: Ready = attrs.field(default="spawn", kw_only=True)
    stop_signal: int = attrs.field(default=signal.SIGTERM, kw_only=True)
    stdin: Redirect = attrs.field(default="inherit", kw_only=True)
    stdout: Redirect = attrs.field(default="inherit", kw_only=True)
    stderr: Redirect = attrs.field(default="inherit", kw_only=True)
    terminal: Literal["auto", "never"] = attrs.field(default="auto", kw_only=True)
    abnormal: AbnormalExit = attrs.field(default=AbnormalExit.FAILURE, kw_only=True)
    kill_timeout: float = attrs.field(default=10.0, kw_only=True)
    death_signal: int = attrs.field(default=_SIGKILL, kw_only=True)

    def __attrs_post_init__(self) -> None:
        where = "command"
        words: tuple[object, ...] = self.argv
        if not words or not words[0] or not all(isinstance(word, str) and "\0" not in word for word in words):
            raise InvalidField("argv", self.argv, "a command and its arguments, as strings", where=where)
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name or (value is not None and "\0" in value):
                raise InvalidField("env", {name: value}, "variable names without = and values without NUL", where=where)
        if self.ready not in ("spawn", "fd"):
            raise InvalidField("ready", self.ready, '"spawn" or "fd"', where=where)
        if self.terminal not in ("auto", "never"):
            raise InvalidField("terminal", self.terminal, '"auto" or "never"', where=where)
        policy: object = self.abnormal
        if not isinstance(policy, AbnormalExit):
            raise InvalidField("abnormal", self.abnormal, "a member of AbnormalExit", where=where)
        for name in ("stop_signal", "death_signal"):
            if getattr(self, name) not in (*signal.valid_signals(), *((0,) if name == "death_signal" else ())):
                raise InvalidField(name, getattr(self, name), "a signal's number", where=where)
        if not self.kill_timeout > 0:
            raise InvalidField("kill_timeout", self.kill_timeout, "seconds > 0 or math.inf", where=where)

    @property
    def type(self) -> ChildType:
        """A command is a worker."""
        return ChildType.WORKER

    def launch(self, ticket: Ticket) -> RunningCommand:
        """Start one life; returns when the command runs.

        Raises:
            FileNotFoundError: No such command, working directory or input file.
            NotADirectoryError: The working directory is none.
            PermissionError: The command is not executable, or a file may not be opened.
            OSError: No program for this machine, or no resources to run it.
        """
        marker = new_marker(ticket.path, ticket.generation)
        terminal = borrow() if self.terminal == "auto" and self.stdin == self.stdout == "inherit" else None
        acknowledgement = reader = None
        try:
            adopting = reaper.adopt_orphans()
            variables = {}
            if self.ready == "fd":
                reader, acknowledgement = os.pipe()
                os.set_blocking(reader, False)
                variables[NOTIFY_FD] = str(acknowledgement)
            spawned = spawn(
                self.argv,
                marker=marker,
                env=self.env,
                variables=variables,
                cwd=self.cwd,
                # two readers of one terminal would share out its keys between them
                stdin="null" if self.stdin == "inherit" and terminal is None and is_lent() else self.stdin,
                stdout=self.stdout,
                stderr=self.stderr,
                pass_fds=() if acknowledgement is None else (acknowledgement,),
                terminal_fd=None if terminal is None else 0,
                foreground=terminal is not None and terminal.foreground,
                death_signal=self.death_signal,
            )
        except BaseException:
            if terminal is not None:
                terminal.give_back(None)
            if reader is not None:
                os.close(reader)
            reaper.release()
            raise
        finally:
            if acknowledgement is not None:
                os.close(acknowledgement)
        if terminal is not None:
            terminal.lent(spawned.pid, by_helper=launching.mechanism() is launching.Mechanism.HELPER)
        tree = Tree(spawned.id, marker, spawned.own_session, adopting)
        reaper.register(tree)
        running = RunningCommand(self, ticket, spawned, tree, terminal, oom_kills(), reader)
        ticket.spawn(running.watch, f"command {'/'.join(ticket.path)}")
        return running

    def describe(self) -> dict[str, Any]:
        """The command without its arguments, which can hold secrets."""
        return {"command": self.argv[0], "arguments": len(self.argv) - 1, "working_directory": self.cwd, "ready": self.ready}


@attrs.define(eq=False)
class RunningCommand:
    """A command that was started: its `Handle`."""

    launched: Command
    _ticket: Ticket
    _spawned: Spawned
    _tree: Tree
    _terminal: Terminal | None
    _kills: OomKills
    _reader: int | None
    _started: bool = False
    _asked: bool = False
    _insisted: bool = False

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
    def argv(self) -> tuple[str, ...]:
        """The command and its arguments."""
        return self.launched.argv

    @property
    def cwd(self) -> str:
        """Its working directory."""
        return os.path.abspath(self.launched.cwd or os.curdir)

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
            self._tree.refresh()  # without descriptors we go by what was seen before
        self._asked = True
        self._signal_group(self.launched.stop_signal)
        if sys.platform != "win32":
            self._signal_group(signal.SIGCONT)  # a stopped process gets no other signal

    def kill(self) -> None:
        """Kill the whole tree, whoever is in it now."""
        self._insisted = True
        if not self._spawned.reaped:
            self._kill_all()

    async def watch(self) -> None:
        """The life of the command, from its acknowledgement to the report of its end."""
        status: WaitStatus | None = None
        try:
            if self._reader is None:
                self._acknowledge()
            if self._reader is None and self._terminal is None:
                await self._death()  # a task group would cost what the rest of this costs
            else:
                async with anyio.create_task_group() as group:
                    if self._reader is not None:
                        group.start_soon(self._await_newline)
                    if self._terminal is not None:
                        group.start_soon(job_control, self._spawned, self._terminal, lambda: self._insisted)
                    await self._death()
                    group.cancel_scope.cancel()
            status = self._spawned.status()
            if not self._started and self._read_newline():
                self._acknowledge()  # it said so with its last breath
            await self._clean_up()
        finally:
            if self._terminal is not None:
                self._terminal.give_back(status)
            if status is not None:
                self._spawned.reap()
                reaper.unregister(self._tree)
            self._spawned.close()
            self._close_reader()
        if status is not None:
            self._ticket.exited(self._judge(status))
            reaper.release()  # after the report: it may have started the next life at once

    def _judge(self, status: WaitStatus) -> Exit:
        out_of_memory = None
        if status.signal == _SIGKILL and not self._insisted:
            out_of_memory = was_out_of_memory(self._kills, oom_kills())
        asked = self.launched.stop_signal if self._asked else None
        return classify(status, self.launched.abnormal, asked=asked, out_of_memory=out_of_memory)

    async def _death(self) -> None:
        """Return when the root process is dead; it is not reaped yet."""
        pidfd = self._spawned.pidfd
        while self._spawned.status() is None:
            if pidfd is not None:
                with anyio.move_on_after(_TIDY) as scope:
                    await anyio.wait_readable(pidfd)
                if scope.cancelled_caught:
                    reaper.collect()
                    self._kills = oom_kills()  # what it killed so far was not this command
            else:
                await anyio.to_thread.run_sync(self._spawned.wait, abandon_on_cancel=True)

    async def _clean_up(self) -> None:
        """The root is dead and not reaped, so its group is still its own: let those end that were asked to, sweep the rest."""
        try:
            if self._tree.is_bare():
                return  # what nearly always holds, for the price of one read
            while self._asked and not self._insisted:
                asked = [process for process in self._tree.refresh() if self._was_asked(process)]
                if not asked:
                    break
                await dead(asked)
            swept = await sweep(self._tree.refresh)
        except OSError as error:
            # out of descriptors: the processes that can be reached without any still go, and the rest is reported with the reason
            self._signal_group(_SIGKILL)
            swept = Swept(tuple(process for process in self._tree.last_seen if process != self.process_id))
            self._report(swept, f"left behind by {self.argv[0]}; incomplete: {error.strerror}")
            return
        if swept.killed or swept.left:
            self._report(swept, f"left behind by {self.argv[0]}")

    def _was_asked(self, process: ProcessId) -> bool:
        stat = read_stat(process.pid)
        return stat is not None and stat.group == self.pid and not ignores(process, self.launched.stop_signal)

    def _report(self, swept: Swept, reason: str) -> None:
        if swept.left:
            reason += f"; could not be killed: {', '.join(str(process.pid) for process in swept.left)}"
        pids = tuple(process.pid for process in swept.killed)
        self._ticket.emit(OrphansSwept(self._ticket.path, pids, reason, generation=self._ticket.generation))

    def _kill_all(self) -> None:
        try:
            kill_all(self._tree.refresh)
        except OSError:
            # out of descriptors: a group needs none
            self._signal_group(_SIGKILL)
        else:
            # a leaf that may not be signalled stays; the supervisor reports it as unresponsive
            with suppress(PermissionError):
                send_signal(self.process_id, _SIGKILL)

    def _signal_group(self, number: int) -> None:
        """Signal the root's process group. Only before the root is reaped: until then no other group can have its number."""
        with suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                os.kill(self.pid, number)
            else:
                os.killpg(self.pid, number)
                stat = read_stat(self.pid)
                if stat is not None and stat.group != self.pid and not stat.dead:
                    send_signal(self.process_id, number)  # it moved to another group

    def _acknowledge(self) -> None:
        self._started = True
        self._ticket.started(self.process_id)

    async def _await_newline(self) -> None:
        """Wait for the newline; as in s6 the pipe is closed then."""
        while self._reader is not None:
            await anyio.wait_readable(self._reader)
            if self._read_newline():
                self._close_reader()
                self._acknowledge()

    def _read_newline(self) -> bool:
        """Whether a newline is there to be read. A pipe that nobody can write to any more is closed."""
        while self._reader is not None:
            try:
                data = os.read(self._reader, 4096)
            except BlockingIOError:
                return False
            if b"\n" in data:
                return True
            if not data:
                self._close_reader()
        return False

    def _close_reader(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            os.close(reader)


def command(
    *argv: str,
    env: Mapping[str, str | None] | None = None,
    cwd: str | PathLike[str] | None = None,
    ready: Ready = "spawn",
    stop_signal: int = signal.SIGTERM,
    stdin: Redirect = "inherit",
    stdout: Redirect = "inherit",
    stderr: Redirect = "inherit",
    terminal: Literal["auto", "never"] = "auto",
    abnormal: AbnormalExit = AbnormalExit.FAILURE,
    kill_timeout: float = 10.0,
    death_signal: int = _SIGKILL,
) -> Command:
    """An operating system command as a child.

    Args:
        argv: The command, looked up in its own ``PATH``, and its arguments.
        env: Additions to our environment; None removes a variable.
        cwd: Its working directory; ours by default.
        ready: When it counts as started: ``"spawn"``, once its program runs; ``"fd"``, once it has written a newline to the
            descriptor whose number is in ``$NOTIFY_FD``, which is closed on our side then.
        stop_signal: What it gets, with its process group, when it is to end.
        stdin: Where its input comes from: ``"inherit"``, ``"null"`` or a file.
        stdout: Where its output goes to: ``"inherit"``, ``"null"`` or a file that is appended to. There are no pipes that nobody drains.
        stderr: Where its errors go to, likewise.
        terminal: ``"auto"`` lends it our controlling terminal if standard input and output are that and inherited; ``"never"``
            does not.
        abnormal: Which ends count as failures.
        kill_timeout: Seconds after a kill after which it is given up as unresponsive.
        death_signal: What it gets when this process or the calling thread dies; 0 for nothing. Linux only.

    Raises:
        InvalidField: An argument has an illegal value.
    """
    return Command(
        tuple(argv),
        env=dict(env or {}),
        cwd=None if cwd is None else os.fspath(cwd),
        ready=ready,
        stop_signal=stop_signal,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        terminal=terminal,
        abnormal=abnormal,
        kill_timeout=kill_timeout,
        death_signal=death_signal,
    )
