"""What a command reports while it lives: that it is up, well, stopping, or somebody else. The receiving side of sd_notify."""

from __future__ import annotations

import math
from typing import Final

import anyio
import attrs
from anyio.abc import TaskGroup

from ..core.event import ChildStatus, NotificationIgnored
from ..core.exits import Exit, ExitKind
from ..host import notify_names
from ..host.followed import Followed
from ..host.sd_notify import Message, Notification, NotifySocket, parse
from .running import RunningCommand
from .watchdog import Watchdog, put_down, unheard

_BATCH: Final = 32
"""Messages that are served in one turn of the event loop."""
_PAUSE: Final = 0.01
"""Seconds after a full batch, or after a status, in which nothing is read: a flood waits in its sender, who is blocked by then."""
_QUEUE: Final = 1024
"""Messages that are read before a command counts as silent; more than the kernel keeps for one socket."""
_LAUNCHER_TIME: Final = 1.0
"""Seconds in which a command whose main process has ended may end by itself, with an exit code of its own."""


@attrs.define(eq=False)
class Notifications:
    """The socket of one life, and everything that comes in on it.

    Attributes:
        acknowledges: Whether ``READY=1`` is how the command says that it is up.
    """

    acknowledges: bool
    _period: float
    _socket: NotifySocket
    _watchdog: Watchdog
    _told: set[str] = attrs.field(factory=set)
    _scope: anyio.CancelScope | None = None
    _tasks: TaskGroup | None = None
    _main: Followed | None = None
    _mains: list[Followed] = attrs.field(factory=list)
    _watching: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _stopping: bool = False
    _silence: str | None = None

    @classmethod
    def open(cls, *, acknowledges: bool, watchdog: float | None) -> Notifications:
        """Make the socket.

        Args:
            acknowledges: Whether ``READY=1`` is how the command says that it is up.
            watchdog: Seconds of silence that are too long; None for no watchdog.

        Raises:
            OSError: Out of descriptors, or not Linux.
        """
        period = math.inf if watchdog is None else watchdog
        return cls(acknowledges, period, NotifySocket.open(), Watchdog(period))

    @property
    def variables(self) -> dict[str, str]:
        """What the command's environment needs besides ``WATCHDOG_PID``."""
        variables = {notify_names.SOCKET: self._socket.address}
        if self._period < math.inf:
            variables[notify_names.WATCHDOG_USEC] = str(max(1, round(self._period * 1e6)))
        return variables

    async def run(self, life: RunningCommand) -> None:
        """Serve what comes in, and watch for silence."""
        async with anyio.create_task_group() as self._tasks:
            life.on_up = self._begin
            if life.is_up:
                self._begin()
            try:
                silence = await self._listen(life)
            finally:
                life.on_up = None
            await put_down(life, silence)

    def conclude(self, life: RunningCommand) -> None:
        """Read what is there; the command may have said it with its last breath."""
        self._tasks = None
        for _ in range(_QUEUE // _BATCH):
            if not self._serve(life):
                break

    def close(self) -> None:
        """Give back the descriptors. May be called again."""
        self._socket.close()
        for main in self._mains:
            main.close()

    async def _listen(self, life: RunningCommand) -> str:
        """Until the command was silent for too long; the answer says how."""
        while True:
            more = self._serve(life)
            if self._silence is not None:
                return self._silence
            if more:
                await anyio.sleep(_PAUSE)
            else:
                with anyio.CancelScope(deadline=self._watchdog.deadline) as self._scope:
                    await anyio.wait_readable(self._socket)
                self._scope = None
            if anyio.current_time() >= self._watchdog.deadline:
                # what was said in time may not have been heard yet
                for _ in range(_QUEUE // _BATCH):
                    if not self._serve(life):
                        break
                if life.is_stopping:
                    self._watchdog.stop()
                elif self._watchdog.is_silent(anyio.current_time()):
                    return unheard(self._watchdog.period)

    def _begin(self) -> None:
        self._watchdog.begin(anyio.current_time())
        if self._scope is not None:
            self._scope.deadline = self._watchdog.deadline

    def _serve(self, life: RunningCommand) -> bool:
        """Take in what is there, within bounds; whether there may be more, or a reader of events needs a pause."""
        news, message = False, None
        for _ in range(_BATCH):
            message = self._socket.receive()
            if message is None:
                break
            notification = self._accept(life, message)
            if notification is not None:
                self._take(life, notification)
                news = news or notification.status is not None or notification.stopping
                self._stopping = self._stopping or notification.stopping
        if news:
            ticket = life.ticket
            ticket.emit(ChildStatus(ticket.path, life.status or "", stopping=self._stopping, generation=ticket.generation))
        return news or message is not None

    def _accept(self, life: RunningCommand, message: Message) -> Notification | None:
        """The message, if it is one that says something and comes from the command's own tree."""
        notification = None if message.data is None else parse(message.data)
        if notification is not None and notification.barrier:
            return None  # that it was read is all that its sender waited for, who may be gone by now
        try:
            known = life.holds(message.pid)
        except OSError as error:
            self._ignored(life, message.pid, f"its sender could not be looked up: {error.strerror}")
            return None
        if not known:
            self._ignored(life, message.pid, "its sender is no process of this command, or was gone before it could be looked up")
            return None
        if notification is None:
            self._ignored(life, message.pid, "longer than 4096 bytes, or with a NUL inside")
        elif notification.malformed:
            self._ignored(life, message.pid, f"malformed: {', '.join(notification.malformed)}")
        return notification

    def _take(self, life: RunningCommand, said: Notification) -> None:
        now = anyio.current_time()
        if said.main_pid is not None:
            self._follow(life, said.main_pid)
        if said.status is not None:
            life.status = said.status or None
        if said.watchdog is not None:
            self._watchdog.change(said.watchdog, now)
        if said.ping:
            self._watchdog.ping(now)
        if said.extension is not None:
            self._watchdog.extend(now + said.extension)
            life.ticket.extend(said.extension)
        if said.ready and self.acknowledges:
            life.acknowledge()
        if said.trigger and not life.is_stopping:
            self._silence = "triggered by the command itself"

    def _ignored(self, life: RunningCommand, pid: int, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            ticket = life.ticket
            ticket.emit(NotificationIgnored(ticket.path, pid or None, reason, generation=ticket.generation))

    def _follow(self, life: RunningCommand, pid: int) -> None:
        """The command names its main process; only one of its own, and only while it lives."""
        if self._tasks is None or pid == (life.pid if self._main is None else self._main.id.pid):
            return
        if pid == life.pid:
            self._change(life, None)
            return
        try:
            main = Followed.open(pid) if life.holds(pid) else None
        except OSError as error:
            self._ignored(life, pid, f"MAINPID: {error.strerror}")
            return
        if main is None:
            self._ignored(life, pid, "MAINPID: it is no live process of this command")
            return
        self._change(life, main)
        self._tasks.start_soon(self._watch, life, main, self._watching)

    def _change(self, life: RunningCommand, main: Followed | None) -> None:
        # a descriptor must not be closed while its task waits for it: the task that is cancelled does that
        self._watching.cancel()
        self._watching = anyio.CancelScope()
        self._main = main
        self._mains = [known for known in (*self._mains, main) if known is not None and not known.over.is_set()]
        life.follow(main)

    async def _watch(self, life: RunningCommand, main: Followed, scope: anyio.CancelScope) -> None:
        with scope:
            await main.wait()
            life.main_ended(main)
            await anyio.sleep(_LAUNCHER_TIME)
            if life.is_stopping:
                return
            life.condemn(Exit(ExitKind.ABNORMAL, f"its main process {main.id.pid} ended, and the process that started it did not"))
