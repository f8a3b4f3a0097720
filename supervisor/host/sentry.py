"""The sentry: a small process beside us that ends what we leave behind when we are killed, and gives the terminal back.

It is told nothing while we live. We keep a file in memory, with a line for each life of a command; the sentry has it open, sleeps until
the kernel says that we are dead, and reads it then. So a line costs a write that can neither block nor want for a reader, the sentry uses
no CPU, and one that was killed itself is replaced by another that finds everything there.

This process has one while a command of it lives. It stays in our session, in a group of its own: neither Ctrl-C nor a kill of our group
reaches it, and it may hand on the terminal's foreground. It holds no terminal open.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import anyio
import attrs

from ..core.event import SentryLost
from ..core.value import Entity
from . import reaper, sentry_choice
from .identity import ProcessId, has_pidfd
from .marker import SENTRY
from .sentry_choice import Kind
from .sentry_table import LINE, TERMINAL, Table, above_standard

if TYPE_CHECKING:
    from ..core.ports import Cancellable, Ticket

QUICK: Final = 1.0
"""Seconds: a sentry that dies so soon after its start is not replaced by another."""

WITHOUT: Final = 1.0
"""Seconds between looks at a sentry while there is no descriptor to wait with."""


class SavedTerminal(Protocol):
    """A terminal that a leaf has, as the sentry sees it."""

    own_group: int

    def as_saved(self) -> tuple[str, str]:
        """The modes from before, as ``stty -g`` writes them, and the text that resets the screen. It ends with no blank."""


@attrs.define(repr=False, eq=False)
class Post(Entity):
    """One life of a command in the sentry's table. With no sentry every call does nothing.

    Attributes:
        marker: What the life's processes carry in their environment.
        trouble: Why nobody watches over it although somebody should; empty when all is well.
    """

    marker: str
    trouble: str = ""
    _sentry: Sentry | None = None
    _line: int = 0

    def runs(self, process: ProcessId, *, own_session: bool, cgroup: str | None = None) -> None:
        """Note the root process: before this the marker alone says who is to go.

        Args:
            process: Who it is.
            own_session: Whether it leads a session, else only a process group.
            cgroup: The directory of a control group of version 2 that holds its tree and nobody else.
        """
        if self._sentry is not None:
            fields: dict[str, object] = {"pid": process.pid, "created": process.created, "session": int(own_session), "marker": self.marker}
            # what else is noted finds nearly all: a path that does not fit is left out
            if cgroup is not None and len(os.fsencode(cgroup)) <= LINE // 2 and not any(map(str.isspace, cgroup)):
                fields["cgroup"] = cgroup
            self._sentry.table.write(self._line, "+", fields)

    def root_reaped(self, when: float) -> None:
        """Note that the root is taken away, and the rest of its tree is not: a group or session of its number may be another's now.

        Args:
            when: In clock ticks since boot, as creation times are: of that group and session only who is older belongs here.
        """
        if self._sentry is not None:
            self._sentry.table.add(self._line, "until", int(when))

    def lend(self, terminal: SavedTerminal, leaf: ProcessId) -> None:
        """Note that the life has the terminal; again when other modes are to be gone back to."""
        if self._sentry is not None:
            self._sentry.lend(self, terminal, leaf)

    def given_back(self) -> None:
        """The life has the terminal no more."""
        if self._sentry is not None:
            self._sentry.given_back(self)

    def host(self, ticket: Ticket) -> None:
        """Offer this life, which was started: the watch over the sentry runs among the tasks of one of them, as long as that lives."""
        if self._sentry is not None:
            self._sentry.offer(self, ticket)

    def close(self) -> None:
        """The whole tree is gone. The last to close ends the sentry. May be called again."""
        sentry, self._sentry = self._sentry, None
        if sentry is not None:
            sentry.leave(self, self._line)


def watch_over(marker: str, ticket: Ticket | None = None) -> Post:
    """Have the sentry watch over a life that is about to start; starts the sentry if this is the first.

    Args:
        marker: What the life's processes carry in their environment.
        ticket: Of the life: where there should be a sentry and can be none, an event says so.
    """
    post = _post(marker)
    if post.trouble and ticket is not None:
        ticket.emit(SentryLost(ticket.path[:1], None, post.trouble))
    return post


def _post(marker: str) -> Post:
    global _sentry
    if _sentry is not None and _sentry.owner != os.getpid():
        _sentry.forget()  # a fork of ours has copies of the descriptors, and no sentry
        _sentry = None
    if sentry_choice.choice()[0] is Kind.NONE:
        return Post(marker)
    try:
        if _sentry is None:
            _sentry = Sentry()
        return _sentry.enter(marker)
    except OSError as error:
        # no descriptors, no processes: the life goes on without, and its supervisor says so
        if _sentry is not None and not _sentry.posts:
            _sentry.close()
        return Post(marker, f"no sentry: {error.strerror or error}")


class Sentry:
    """The sentry of this process, from the first post to the last.

    Attributes:
        owner: The process that it is of.
        posts: The lives that it watches over, with their tickets once they have been started.
        process: The sentry itself; None after it could not be started.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.posts: dict[Post, Ticket | None] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._life: list[int] = []  # see _open_life_line
        self._lender: Post | None = None
        self._host: Post | None = None
        self._watch: Cancellable | None = None
        self.table = Table()

    def enter(self, marker: str) -> Post:
        """Take a line for a life.

        Raises:
            OSError: There is no sentry, and none can be started.
        """
        if self.process is None:
            self._start()
        elif self._host is None and self.process.poll() is not None:  # else the watch over it will find that out
            self._replace()
        line = self.table.take({"marker": marker})
        made = Post(marker, "", self, line)
        self.posts[made] = None
        return made

    def lend(self, post: Post, terminal: SavedTerminal, leaf: ProcessId) -> None:
        """See `Post.lend`."""
        self._lender = post
        modes, reset = terminal.as_saved()
        fields = {"group": terminal.own_group, "outer": _outer_group(), "leaf": leaf.pid, "created": leaf.created}
        self.table.write(TERMINAL, "T", {**fields, "modes": modes, "reset": reset})

    def given_back(self, post: Post) -> None:
        """See `Post.given_back`."""
        if self._lender is post:
            self._lender = None
            self.table.free(TERMINAL)

    def offer(self, post: Post, ticket: Ticket) -> None:
        """See `Post.host`."""
        self.posts[post] = ticket
        if self._host is None and self.process is not None and has_pidfd():
            self._host = post
            # at once: whoever counts descriptors after a start has counted this one
            self._watch = ticket.spawn(partial(self._keep, self.process, _pidfd_or_none(self.process.pid)), "watch over the sentry")

    def leave(self, post: Post, line: int) -> None:
        """See `Post.close`."""
        self.given_back(post)
        self.table.give_back(line)
        del self.posts[post]
        if self._host is post:
            self._host = None
            if self._watch is not None:
                self._watch.cancel()
            for other, ticket in self.posts.items():
                if ticket is not None:
                    self.offer(other, ticket)
                    break
        if not self.posts:
            self.close()

    def close(self) -> None:
        """End the sentry, and wait for its end: it is killed, because nothing but our death is meant to move it."""
        global _sentry
        _sentry = None
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            reaper.unregister_sentry(process.pid)
        self.forget()

    def forget(self) -> None:
        """Give back the descriptors."""
        for fd in self._life:
            os.close(fd)
        self.table.close()

    async def _keep(self, process: subprocess.Popen[bytes], pidfd: int | None) -> None:
        """Replace a sentry that dies, and its replacements.

        **Cancellation:** ends the watch.
        """
        while True:
            await _death(process, pidfd)
            if process is self.process:
                self._replace()
            if self.process is None:
                break
            process, pidfd = self.process, None
        self._host = None

    def _start(self) -> None:
        if not self._life:
            _open_life_line(self._life)
        kind, _ = sentry_choice.choice()
        compiled = kind is Kind.COMPILED
        program, words = (sentry_choice.COMPILED, ["sentry"]) if compiled else (sentry_choice.SHELL, ["sh", sentry_choice.SCRIPT])
        passed = (self.table.fd, *self._life[1:])
        try:
            self.process = subprocess.Popen(
                [*words, *map(str, passed)], executable=program, cwd="/", process_group=0, env={**os.environ, SENTRY: str(os.getpid())},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=passed,
            )  # fmt: skip
        except OSError as error:
            if not compiled or error.errno not in (errno.ENOEXEC, errno.EACCES, errno.EPERM, errno.ENOENT):
                raise
            sentry_choice.give_up_compiled(error)
            for fd in self._life:
                os.close(fd)
            self._life = []
            self._start()
            return
        self._began = time.monotonic()
        reaper.register_sentry(self.process.pid)

    def _replace(self) -> None:
        """The sentry is dead and reaped: another one takes its place, unless this one died at once."""
        assert self.process is not None
        lost, self.process = self.process, None
        reaper.unregister_sentry(lost.pid)
        reason = f"signal {-lost.returncode}" if lost.returncode < 0 else f"exit code {lost.returncode}"
        if time.monotonic() - self._began < QUICK:
            reason += ", as soon as it was started"
        else:
            try:
                self._start()
            except OSError as error:
                reason += f"; {error.strerror or error}"
        for ticket in self.posts.values():
            if ticket is not None:
                ticket.emit(SentryLost(ticket.path[:1], lost.pid, reason, replaced=self.process is not None))
                break


async def _death(process: subprocess.Popen[bytes], pidfd: int | None) -> None:
    """Wait until a sentry is dead, and reap it, which nobody else does; the descriptor is closed."""
    try:
        while process.poll() is None:
            if pidfd is None:
                pidfd = _pidfd_or_none(process.pid)
            if pidfd is None:
                await anyio.sleep(WITHOUT)
            else:
                await anyio.wait_readable(pidfd)
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _pidfd_or_none(pid: int) -> int | None:
    try:
        return _pidfd(pid)
    except OSError:
        return None  # out of descriptors


def _pidfd(pid: int) -> int:
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "no pidfds")
    return os.pidfd_open(pid)


_sentry: Sentry | None = None


def _open_life_line(opened: list[int]) -> None:
    """Add our end of a pipe, and what the sentry waits on: the other end, and a pidfd of ours where it can wait on that."""
    reader, writer = os.pipe()
    opened.append(above_standard(writer))
    opened.append(above_standard(reader))
    if sentry_choice.choice()[0] is Kind.COMPILED and has_pidfd():
        opened.append(above_standard(_pidfd(os.getpid())))


def _outer_group() -> int:
    """The process group of who started us, a shell perhaps; 0 where it is in no session of ours."""
    if sys.platform == "win32":
        return 0
    try:
        parent = os.getppid()
        return os.getpgid(parent) if os.getsid(parent) == os.getsid(0) else 0
    except OSError:
        return 0
