"""The supervisor's end of the socket to a worker: what it reads is bounded, and what it writes never waits for the worker."""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import anyio
import anyio.abc
import anyio.lowlevel
import attrs

from ..core.errors import InvalidField, NoProc, is_duration
from ..core.exits import Exit, ExitKind, describe
from ..core.extra_errors import CallTimeout
from ..core.image import Image
from ..core.inbound import heard
from ..core.message import Judge, Request, Stop
from ..core.ports import TreeTicket
from ..core.term import NotPortable, encode
from ..core.wire import (
    Alive,
    Called,
    Emitted,
    Exited,
    Extended,
    Frames,
    Ignored,
    Logged,
    Message,
    Mirrored,
    ProtocolError,
    Ready,
    Refused,
    Replied,
    Requested,
    Shutdown,
    pack,
)
from ..host.launch_report import SettingFailed, is_refusal
from .records import emit_record
from .running import RunningCommand
from .watchdog import Watchdog, put_down, unheard

AT_ONCE: Final = 65536
"""Bytes read from a worker in one turn of the event loop."""
TURN: Final = 0.002
"""Seconds of one turn in which messages of one worker are served; the one that is being served by then is served."""
QUEUED: Final = 4 << 20
"""Bytes that wait for a worker to read them; further calls wait for room within their own time."""
CALLS: Final = 1000
"""Calls of one worker that may be unanswered, either way."""
LAST_WORDS: Final = 1 << 20
"""Bytes that are still read of a worker that has died; more could only come from somebody else who holds its socket."""
MOMENT: Final = 0.1
"""Seconds in which what a worker has said in time is read, before it counts as silent."""
LINGER: Final = 5.0
"""Seconds that a worker may take to end after it has said how it ends, or after it has closed its socket."""


@attrs.define(eq=False)
class _Waiting:
    """A call of ours that has no answer yet; of the answer the value, and whether the call has failed with it."""

    done: anyio.Event = attrs.field(factory=anyio.Event)
    reply: tuple[Any, bool] | None = None


@attrs.define(eq=False)
class Link:
    """A companion of one life: the worker's messages become calls of the ticket, and calls become messages.

    Attributes:
        said: How the worker ends by its own word; None before that.
        ignored: Whether it has declined its start.
        image: Of the supervisors that run there; None of a worker that is none.
        refused: Says how it ends that the kernel refused one of its settings; None where it has none to take.
    """

    _ticket: TreeTicket
    _socket: socket.socket
    _watchdog: Watchdog
    said: Exit | None = None
    ignored: bool = False
    image: Image | None = None
    refused: Callable[[SettingFailed], Exit | None] | None = None
    _frames: Frames = attrs.field(factory=Frames)
    _urgent: deque[bytes] = attrs.field(factory=deque)
    _outbox: deque[bytes] = attrs.field(factory=deque)
    _current: memoryview = attrs.field(factory=lambda: memoryview(b""))
    _queued: int = 0
    _wake: anyio.Event = attrs.field(factory=anyio.Event)
    _room: anyio.Event = attrs.field(factory=anyio.Event)
    _waiting: dict[int, _Waiting] = attrs.field(factory=dict)
    _calls: int = 0
    _upcalls: int = 0
    _tasks: anyio.abc.TaskGroup | None = None
    _ready: bool = False
    _lost: bool = False
    _closed: bool = False

    # ------------------------------------------------------------ to the worker

    def begin(self, frame: bytes) -> None:
        """Send the first message, at once as far as there is room; whatever is queued already comes after it."""
        sent = 0
        with suppress(BlockingIOError, ConnectionError):  # who has closed its end is seen by the reader
            sent = self._socket.send(frame)
        self._current = memoryview(frame)[sent:]
        self._queued += len(self._current)
        self._wake.set()

    def shut_down(self) -> None:
        """Ask the worker to unwind, before everything else that waits; for that it has a time of its own."""
        self._watchdog.stop()
        self._push(pack(Shutdown()), self._urgent)

    async def call(self, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
        """See `SupervisorRef.call`."""
        if not is_duration(timeout):
            raise InvalidField("timeout", timeout, "seconds >= 0 or math.inf", where="call")
        waiting = await self._exchange(Called(self._number(), path, name, encode(args), None if timeout == math.inf else timeout), timeout)
        if waiting.reply is None and not self._closed:
            raise CallTimeout(path[:-1], path[-1], name, timeout)
        return _answer(waiting, NoProc(path[:-1], path[-1]))

    async def request(self, path: tuple[str, ...], request: Request | Stop | Judge) -> tuple[str, Any]:
        """Ask a supervisor that runs there; the answer is the id of the child that it is about, and a value."""
        waiting = await self._exchange(Requested(self._number(), path, encode(request)), math.inf)
        id, value = _answer(waiting, NoProc(path))
        return str(id), value

    def _number(self) -> int:
        self._calls += 1
        return self._calls

    async def _exchange(self, message: Called | Requested, timeout: float) -> _Waiting:
        number, frame, waiting = message.number, pack(message), _Waiting()
        try:
            with anyio.move_on_after(timeout):
                while not self._closed and (self._queued > QUEUED or len(self._waiting) >= CALLS):
                    await self._room.wait()
                if not self._closed:
                    self._waiting[number] = waiting
                    self._push(frame, self._outbox)
                    await waiting.done.wait()
        finally:
            self._waiting.pop(number, None)
            self._make_room()
        return waiting

    # ------------------------------------------------------------ as a companion

    async def run(self, life: RunningCommand) -> None:
        """Read and write until the worker has closed its end, is dead, or said something that it must not."""
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._write)
            try:
                await self._read(life)
            except ProtocolError as error:
                self._lost = True
                life.condemn(Exit(ExitKind.ABNORMAL, f"protocol error: {error}", exception=error))
            else:
                # it is about to end; if it does not, nobody can reach it any more
                self._watchdog.stop()
                await anyio.sleep(LINGER)
                life.condemn(self.said or Exit(ExitKind.ABNORMAL, "protocol error: it closed its socket and went on"))
            self._tasks.cancel_scope.cancel()

    def conclude(self, life: RunningCommand) -> None:
        """Read what it has still said."""
        self._tasks = None
        taken = 0
        with suppress(ProtocolError):  # its death says more
            while not self._lost:
                while (frame := self._frames.next()) is not None:
                    self._hear(frame, life)
                data = self._receive() if taken < LAST_WORDS else None
                if not data:
                    return
                taken += len(data)
                self._frames.feed(data)

    def close(self) -> None:
        """Close the socket; calls that wait are told that nobody answers."""
        self._closed = True
        self._socket.close()
        for waiting in self._waiting.values():
            waiting.done.set()
        self._make_room()

    # ------------------------------------------------------------ inside

    async def _read(self, life: RunningCommand) -> None:
        while True:
            await anyio.wait_readable(self._socket)
            data = self._receive()
            if data is None:
                continue
            if not data:
                return
            self._frames.feed(data)
            turn = time.monotonic() + TURN
            while (frame := self._frames.next()) is not None:
                self._hear(frame, life)
                if time.monotonic() >= turn:
                    await anyio.lowlevel.checkpoint()
                    turn = time.monotonic() + TURN
            if self.said is not None or self.ignored:
                return

    def _receive(self) -> bytes | None:
        """What there is to read: nothing at the end, None when there is none yet."""
        try:
            return self._socket.recv(AT_ONCE)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""  # it died with unread messages

    def _hear(self, frame: bytes, life: RunningCommand) -> None:
        """Do what a message says. Whatever comes of that but success is a fault of the worker's, which ends it.

        Raises:
            ProtocolError: It is no message, or none that may come now, or nothing can be done with it.
        """
        message, content = heard(frame, self._ticket.path)
        try:
            self._take(message, content, life)
        except ProtocolError:
            raise
        except Exception as error:  # the boundary between a worker and its supervisor: nothing that one says brings down the other
            raise ProtocolError(f"{type(message).__name__}: {describe(error)}"[:200]) from error

    def _take(self, message: Message, content: Any, life: RunningCommand) -> None:
        if self.said is not None or self.ignored:
            raise ProtocolError(f"{type(message).__name__} after its last word")
        match message:
            case Ready() if not self._ready:
                self._ready = True
                self._ticket.started(content)
                if self._tasks is not None:
                    self._watchdog.begin(anyio.current_time())
                    self._tasks.start_soon(self._watch, life)
            case Refused(setting=setting, error=number) if self.refused is not None and not self._ready and is_refusal(setting, number):
                self.said = self.refused(SettingFailed(number, setting))
            case Ignored() if not self._ready:
                self.ignored = True
            case Exited():
                self.said = content
            case Alive():
                self._watchdog.ping(anyio.current_time())
            case Extended():
                self._watchdog.extend(anyio.current_time() + content)
                self._ticket.extend(content)
            case Emitted():
                if self.image is not None:
                    self.image.hear(content)
                self._ticket.emit(content)
            case Logged():
                emit_record(message, self._ticket.path)
            case Replied():
                waiting = self._waiting.get(message.number)  # who does not wait any more had too little time
                if waiting is not None:
                    waiting.reply = (content, message.failed)
                    waiting.done.set()
            case Mirrored() if self.image is not None:
                self.image.take(content)
                self._ticket.mirrored(message)
            case Called() if self._upcalls < CALLS:
                if self._tasks is not None:
                    self._upcalls += 1
                    self._tasks.start_soon(self._answer, message, content)
            case _:
                raise ProtocolError(f"{type(message).__name__} out of turn")

    async def _watch(self, life: RunningCommand) -> None:
        dog = self._watchdog
        while dog.deadline < math.inf:
            await anyio.sleep_until(dog.deadline)
            if dog.is_silent(anyio.current_time()):
                until = dog.deadline
                await anyio.sleep(MOMENT)
                if dog.deadline == until:
                    await put_down(life, unheard(dog.period))

    async def _answer(self, call: Called, args: Any) -> None:
        timeout = math.inf if call.timeout is None else call.timeout
        try:
            value = await self._ticket.call(call.path, call.name, tuple(args), timeout)
        except Exception as error:  # the boundary where a failed call becomes its answer
            frame = _reply(call.number, error, failed=True)
        else:
            frame = _reply(call.number, value, failed=False)
        while self._queued > QUEUED:
            await self._room.wait()  # a worker that does not read its answers gets no more of them, nor has more of its calls served
        self._push(frame, self._outbox)
        self._upcalls -= 1

    def _push(self, frame: bytes, queue: deque[bytes]) -> None:
        if not self._closed:
            queue.append(frame)
            self._queued += len(frame)
            self._wake.set()

    async def _write(self) -> None:
        while True:
            while not (self._current or self._urgent or self._outbox):
                self._wake = anyio.Event()
                await self._wake.wait()
            if not self._current:
                self._current = memoryview((self._urgent or self._outbox).popleft())
            await anyio.wait_writable(self._socket)
            try:
                sent = self._socket.send(self._current)
            except BlockingIOError:
                continue
            except ConnectionError:
                return  # it has closed its end; the reader sees it
            self._queued -= sent
            self._current = self._current[sent:]
            if self._queued <= QUEUED:
                self._make_room()

    def _make_room(self) -> None:
        self._room.set()
        self._room = anyio.Event()


def _answer(waiting: _Waiting, nobody: NoProc) -> Any:
    if waiting.reply is None:
        raise nobody
    value, failed = waiting.reply
    if failed:
        raise value
    return value


def _reply(number: int, value: object, *, failed: bool) -> bytes:
    try:
        return pack(Replied(number, encode(value), failed))
    except Exception as error:  # the boundary where what cannot cross, or be said at all, becomes an answer that says so
        return pack(Replied(number, encode(NotPortable(describe(error))), failed=True))
