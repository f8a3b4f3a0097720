"""A child that is an operating system command: what is to be started, and how."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from ..core.errors import BadCombination, InvalidField, is_count
from ..core.exits import Exit, describe
from ..core.launch import ChildType
from ..core.value import Entity, Value, evolve
from ..host import launching, notify_names, reaper
from ..host.lending import borrow, hung_up, is_lent
from ..host.marker import new_marker
from ..host.oom import oom_kills
from ..host.sentry import Post, watch_over
from ..host.spawn import Redirect, spawn
from ..host.tree import Tree
from ..host.waitstatus import AbnormalExit, WaitStatus, classify
from .arguments import WORD, check_environment, check_kill_timeout, check_path, check_watchdog, is_descriptor, is_word
from .enclosing import check_limits, enclose, say
from .readiness import Ready, ReadyLine, ReadyProbe, readiness
from .running import RunningCommand as RunningCommand

if TYPE_CHECKING:
    from ..core.limits import Limits
    from ..core.ports import Ticket
    from .companion import Companion
    from .output import Output, Target

NOTIFY_FD: Final = "NOTIFY_FD"
"""The environment variable with the number of the descriptor on which a command of ``ready="fd"`` writes a newline."""

_SIGKILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)
_LONGEST_TAIL: Final = 1000
_AS_IS: Final = (str, PathLike, int)
_AT_ONCE: Final = 0.001
"""Seconds between an end and the start of the next life that nothing delays."""


@attrs.frozen(repr=False, eq=False)
class Command(Value):
    """What `command` makes: a `Launch`. See there for the fields."""

    argv: tuple[str, ...]
    env: Mapping[str, str | None] = attrs.field(factory=dict, kw_only=True)
    cwd: str | None = attrs.field(default=None, kw_only=True)
    ready: Ready = attrs.field(default="spawn", converter=readiness, kw_only=True)
    watchdog: float | None = attrs.field(default=None, kw_only=True)
    stop_signal: int = attrs.field(default=signal.SIGTERM, kw_only=True)
    stdin: Redirect | int = attrs.field(default="inherit", kw_only=True)
    stdout: Target | int = attrs.field(default="inherit", kw_only=True)
    stderr: Target | int = attrs.field(default="inherit", kw_only=True)
    tail: int | None = attrs.field(default=None, kw_only=True)
    terminal: Literal["auto", "never"] = attrs.field(default="auto", kw_only=True)
    abnormal: AbnormalExit = attrs.field(default=AbnormalExit.FAILURE, kw_only=True)
    judge: Callable[[Exit], Exit] | None = attrs.field(default=None, kw_only=True)
    kill_timeout: float = attrs.field(default=10.0, kw_only=True)
    death_signal: int = attrs.field(default=_SIGKILL, kw_only=True)
    limits: Limits | None = attrs.field(default=None, kw_only=True)
    cgroup: Literal["auto", "memory", "never"] = attrs.field(default="auto", kw_only=True)
    sentry: bool = attrs.field(default=True, kw_only=True)

    def __attrs_post_init__(self) -> None:
        where = "command"
        words: tuple[object, ...] = self.argv
        if not words or not words[0] or not all(map(is_word, words)):
            raise InvalidField("argv", self.argv, f"a command and its arguments, each {WORD}", where=where)
        check_environment(self.env, where=where)
        if self.cwd is not None:
            check_path("cwd", self.cwd, where=where)
        if not is_descriptor(self.stdin):
            check_path("stdin", self.stdin, where=where)
        check_watchdog(self.watchdog, where=where)
        if self.terminal not in ("auto", "never"):
            raise InvalidField("terminal", self.terminal, '"auto" or "never"', where=where)
        policy: object = self.abnormal
        if not isinstance(policy, AbnormalExit):
            raise InvalidField("abnormal", self.abnormal, "a member of AbnormalExit", where=where)
        for name in ("stop_signal", "death_signal"):
            if getattr(self, name) not in (*signal.valid_signals(), *((0,) if name == "death_signal" else ())):
                raise InvalidField(name, getattr(self, name), "a signal's number", where=where)
        judge: object = self.judge
        if judge is not None and not callable(judge):
            raise InvalidField("judge", judge, "a function, or None", where=where)
        check_kill_timeout(self.kill_timeout, where=where)
        if not isinstance(self.sentry, bool):
            raise InvalidField("sentry", self.sentry, "True or False", where=where)
        for name, target in (("stdout", self.stdout), ("stderr", self.stderr)):
            if not is_descriptor(target) and (not isinstance(target, str) or not target):
                from .output import check_target

                check_target(name, target)
        unread = (self.stdout == "null" or is_descriptor(self.stdout), self.stderr in ("null", "stdout") or is_descriptor(self.stderr))
        if isinstance(self.ready, ReadyLine) and all(unread):
            outputs = {"ready": str(self.ready), "stdout": self.stdout, "stderr": self.stderr}
            raise BadCombination(outputs, 'an output that is not "null" and no descriptor, or there is no line to be read', where=where)
        if self.tail is not None and not (is_count(self.tail) and self.tail <= _LONGEST_TAIL):
            raise InvalidField("tail", self.tail, f"None or a number of lines, at most {_LONGEST_TAIL}", where=where)
        check_limits(self.limits, self.cgroup, ("auto", "memory", "never"), where=where)

    @property
    def type(self) -> ChildType:
        """Always a worker."""
        return ChildType.WORKER

    def launch(self, ticket: Ticket) -> RunningCommand:
        """Start one life; returns when the command runs.

        Raises:
            FileNotFoundError: No such command, working directory or input file.
            NotADirectoryError: The working directory is none.
            PermissionError: The command is not executable, or a file may not be opened.
            OSError: No program for this machine, no resources to run it, a limit that cannot be had, or the terminal that it would
                share has hung up.
        """
        if self.terminal == "auto" and self.stdin == "inherit" and hung_up():
            raise OSError(errno.EIO, "the terminal has hung up")
        marker = new_marker(ticket.path, ticket.generation)
        lends = self.terminal == "auto" and self.stdin == self.stdout == "inherit" and not isinstance(self.ready, ReadyLine)
        terminal = borrow() if lends else None
        fittings = _Fittings()
        # before the process is there: its marker is enough to find it by
        post = watch_over(marker, ticket) if self.sentry else Post(marker)
        try:
            adopting = reaper.adopt_orphans()
            stdout, stderr = self._fit(fittings, ticket, on_terminal=terminal is not None)
            # whatever can fail does before there is a process
            kills = oom_kills(recent=_AT_ONCE)  # of a restart they were read at the end that it follows
            start = partial(
                spawn,
                self.argv,
                marker=marker,
                env={**notify_names.hidden(), **self.env},
                variables=fittings.variables,
                cwd=self.cwd,
                # two readers of one terminal would share out its keys between them
                stdin="null" if self.stdin == "inherit" and terminal is None and is_lent() else self.stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=tuple(fittings.passed),
                terminal_fd=None if terminal is None else 0,
                foreground=terminal is not None and terminal.foreground,
                death_signal=self.death_signal,
                pid_variable=None if self.watchdog is None else notify_names.WATCHDOG_PID,
            )
            spawned, group, ungranted, trouble = enclose(marker, self.limits, self.cgroup, lambda settings: start(settings=settings))
        except BaseException:  # also an interrupt: there is no process, and nobody but us has what was made for it
            if terminal is not None:
                terminal.give_back(None)
            fittings.close()
            post.close()
            reaper.release()
            raise
        finally:
            fittings.spawned()
        if terminal is not None:
            terminal.lent(spawned.pid, by_helper=launching.mechanism() is launching.Mechanism.HELPER)
            post.lend(terminal, spawned.id)
            terminal.modes_changed = partial(post.lend, terminal, spawned.id)
        post.runs(spawned.id, own_session=spawned.own_session, cgroup=None if group is None else group.clone_into)
        tree = Tree(spawned.id, marker, spawned.own_session, adopting, group)
        reaper.register(tree)
        if self.limits is not None and self.limits.memory_max is not None:
            from .out_of_memory import OomNotice  # here: most commands are not limited

            fittings.companions += OomNotice.of(ticket, group)
        running = RunningCommand(
            self.argv,
            _absolute(self.cwd),
            self.stop_signal,
            partial(classify, policy=self.abnormal) if self.judge is None else partial(_judged, self.judge, self.abnormal),
            ticket,
            spawned,
            tree,
            terminal,
            kills,
            tuple(fittings.companions),
            self.ready != "spawn",
            ungranted,
            output=fittings.output,
            post=post,
        )
        say(ticket, ungranted, trouble)
        ticket.spawn(running.watch, f"command {'/'.join(ticket.path)}")
        post.host(ticket)
        return running

    def _fit(self, fittings: _Fittings, ticket: Ticket, *, on_terminal: bool) -> tuple[Redirect | int, Redirect | int]:
        """Make what this life needs besides its process; the answer is what that gets as standard output and standard error."""
        stdout: Target | int = self.stdout
        stderr: Target | int = self.stderr
        looking = None
        if self.ready not in ("spawn", "notify"):
            from .acknowledging import LineReadiness, Newline, Probe  # here: most commands say nothing

            if isinstance(self.ready, ReadyLine):
                looking = LineReadiness(self.ready)
                fittings.companions.append(looking)
            elif isinstance(self.ready, ReadyProbe):
                fittings.companions.append(Probe(self.ready))
            else:
                newline = Newline.open()
                fittings.companions.append(newline)
                fittings.passed.append(newline.writer)
                fittings.variables[NOTIFY_FD] = str(newline.writer)
        if self.ready == "notify" or self.watchdog is not None:
            from .liveness import Notifications  # here: most commands report nothing

            notifications = Notifications.open(acknowledges=self.ready == "notify", watchdog=self.watchdog)
            fittings.companions.append(notifications)
            fittings.variables.update(notifications.variables)
        if self.tail or looking is not None or not isinstance(stdout, _AS_IS) or not isinstance(stderr, _AS_IS):
            from .output import Output  # here: most outputs are inherited

            look = None if looking is None else looking.look
            output = fittings.output = Output.open(ticket, self.stdout, self.stderr, self.tail, look=look, on_terminal=on_terminal)
            stdout, stderr = output.stdout, output.stderr
        return stdout, stderr

    def describe(self) -> dict[str, Any]:
        """The command without its arguments, which can hold secrets."""
        return {"command": self.argv[0], "arguments": len(self.argv) - 1, "working_directory": self.cwd, "ready": str(self.ready)}


@attrs.define(repr=False, eq=False)
class _Fittings(Entity):
    """What one life is equipped with before there is a process.

    Attributes:
        companions: What lives beside it.
        variables: For its environment.
        passed: Descriptors that it inherits under their numbers; ours to close once it has them.
        output: What reads its outputs; None when it keeps them.
    """

    companions: list[Companion] = attrs.field(factory=list)
    variables: dict[str, str] = attrs.field(factory=dict)
    passed: list[int] = attrs.field(factory=list)
    output: Output | None = None

    def spawned(self) -> None:
        """The process has its ends of our pipes, or never will."""
        for descriptor in self.passed:
            os.close(descriptor)
        if self.output is not None:
            self.output.spawned()

    def close(self) -> None:
        """Give back what was made for a process that is not there."""
        for companion in self.companions:
            companion.close()
        if self.output is not None:
            self.output.close()


def _judged(
    judge: Callable[[Exit], Exit], policy: AbnormalExit, status: WaitStatus, *, asked: int | None, out_of_memory: bool | None
) -> Exit:
    exit = classify(status, policy, asked=asked, out_of_memory=out_of_memory)
    try:
        return judge(exit)
    except Exception as error:  # boundary: somebody else's code; its failure becomes part of the exit
        return evolve(exit, reason=f"{exit.reason}; judging it failed: {describe(error)}")


def _absolute(cwd: str | None) -> str:
    try:
        return os.path.abspath(cwd or os.curdir)
    except OSError:
        return cwd or ""  # ours was removed


def command(
    *argv: str,
    env: Mapping[str, str | None] | None = None,
    cwd: str | PathLike[str] | None = None,
    ready: Ready = "spawn",
    watchdog: float | None = None,
    stop_signal: int = signal.SIGTERM,
    stdin: Redirect | int = "inherit",
    stdout: Target | int = "inherit",
    stderr: Target | int = "inherit",
    tail: int | None = None,
    terminal: Literal["auto", "never"] = "auto",
    abnormal: AbnormalExit = AbnormalExit.FAILURE,
    judge: Callable[[Exit], Exit] | None = None,
    kill_timeout: float = 10.0,
    death_signal: int = _SIGKILL,
    limits: Limits | None = None,
    cgroup: Literal["auto", "memory", "never"] = "auto",
    sentry: bool = True,
) -> Command:
    """An operating system command as a child.

    Args:
        argv: The command, looked up in its own ``PATH``, and its arguments.
        env: Additions to our environment; None removes a variable.
        cwd: Its working directory; ours by default.
        ready: When it counts as started: ``"spawn"``, once its program runs; ``"fd"``, once it has written a newline to the
            descriptor whose number is in ``$NOTIFY_FD``, which is closed on our side then. In a plain ``sh`` that is
            ``echo > /dev/fd/$NOTIFY_FD``: it takes no number of two digits after ``>&``. ``"notify"``, once it, or a process below it,
            has sent ``READY=1`` to ``$NOTIFY_SOCKET`` as sd_notify(3) does; Linux only. ``"line:REGEX"`` or `line`, once a line of its
            outputs matches, wherever they go to; they are read here then, and passed on, so it gets no terminal. `probe`, once an async
            function says so.
        watchdog: Seconds of silence that are too long: it has to send ``WATCHDOG=1`` to ``$NOTIFY_SOCKET`` more often, from when it is up
            until it is asked to end. Otherwise its main process gets SIGABRT, all of it is killed 5 s later, and its end is abnormal.
            None for no watchdog. Linux only.
        stop_signal: What it gets, with its process group, when it is to end.
        stdin: Where its input comes from: ``"inherit"``, ``"null"``, a file, or the number of a descriptor of ours.
        stdout: Where its output goes to: ``"inherit"``, ``"null"``, the path of a file that it appends to, or the number of a descriptor of
            ours, which each life gets and which stays ours to close, all without a pipe that is read here; or through
            one that is read here, whatever happens: a `RotatingFile`, `Lines` for the event stream, or a function that is called with
            each chunk of bytes on the event loop's thread and must return soon (one that raises is reported and not called again).
        stderr: Where its errors go to, likewise; ``"stdout"`` for wherever that goes.
        tail: How many of the last lines of each stream a failure comes with, in `Exit.output` and the reports of it: 20 by default, of
            the streams that are read here. A number above 0 has a file or an inherited stream read here as well, and passed on, unless
            that is the terminal which the command has. They can hold secrets.
        terminal: ``"auto"`` lends it our controlling terminal if standard input and output are that and inherited; ``"never"``
            does not.
        abnormal: Which ends count as failures.
        judge: Is given what an end would be taken for by that, and says what it is; called on the event loop's thread, once a life. One
            that raises leaves the end what it was, with that for a reason.
        kill_timeout: Seconds after a kill after which it is given up as unresponsive.
        death_signal: What it gets when this process or the calling thread dies; 0 for nothing. Linux only.
        limits: What it may use of the machine, and as whom it runs; see `Limits`.
        cgroup: ``"auto"`` gives it a cgroup of its own where the host lets us, from which nothing of its tree escapes; ``"memory"`` one
            that counts the memory of its tree as well, where there is a memory controller (see `RunningCommand.group`); ``"never"``
            none. See `cgroup_support` for what this host lets us do.
        sentry: Whether its whole tree is killed, and the terminal restored, when this process is killed. Linux only, see
            `sentry_in_use`.

    Raises:
        InvalidField: An argument has an illegal value.
        BadCombination: A line is waited for, and all output goes nowhere; limits that take a cgroup, and ``cgroup="never"``.
    """
    if env is not None:
        check_environment(env, where="command")
    return Command(
        tuple(argv),
        env=dict(env or {}),
        cwd=os.fspath(cwd) if isinstance(cwd, PathLike) else cwd,
        ready=ready,
        watchdog=watchdog,
        stop_signal=stop_signal,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        tail=tail,
        terminal=terminal,
        abnormal=abnormal,
        judge=judge,
        kill_timeout=kill_timeout,
        death_signal=death_signal,
        limits=limits,
        cgroup=cgroup,
        sentry=sentry,
    )
