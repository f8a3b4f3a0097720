"""One client: its lines are read, its calls answered, its events sent, and it never has more of us than its share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import anyio

from ...core.errors import CallError, ChildNotFound, RestartPostponed, RestartRefused, StartFailed
from ...core.exits import describe
from ..usage import UsageError, did_you_mean, quote
from . import wire
from .method import ControlRefused
from .pace import CALLED, RECEIVED
from .wire import Call, Lines, LineTooLong, Malformed, Message

if TYPE_CHECKING:
    import socket

    from .peer import Peer
    from .server import Server

FIRST_REQUEST: Final = 10.0
"""Seconds within which a client has to say something."""
IN_FLIGHT: Final = 8
"""Lines with changes that are being worked on at the same time; no more is read before one is done."""
CHUNK: Final = 1 << 16
LARGEST_ANSWER: Final = 1 << 23
FAREWELL: Final = 0.2
"""Seconds for the last words to a client that is about to be hung up on."""


class Connection:
    """One connection; `run` is its whole life.

    Attributes:
        peer: Who it is.
        active_at: When bytes last went over it, or it was made; by the event loop's clock.
        calls: How many lines it has sent.
        unsent: Bytes of an answer that it has not taken yet.
        following: The number of the last event that was sent to a follower; None for who does not follow.
    """

    def __init__(self, server: Server, connected: socket.socket, peer: Peer, *, token: str | None = None) -> None:
        self.server, self.peer = server, peer
        self.active_at = anyio.current_time()
        self.calls = self.unsent = 0
        self.following: int | None = None
        self.scope = anyio.CancelScope()
        self._socket, self._token = connected, token
        self._sending = anyio.Lock()
        self._slots = anyio.Semaphore(IN_FLIGHT)
        self._patience = anyio.CancelScope()

    @property
    def merit(self) -> tuple[int, float]:
        """Who has least is hung up on first: who has said nothing yet, then who waits for nothing, then who was idle longest."""
        busy = self._slots.value < IN_FLIGHT or self.following is not None
        return (0 if self.calls == 0 else 2 if busy and not self.unsent else 1, self.active_at)

    async def run(self) -> None:
        """Serve until the client hangs up, or is hung up on. Closes the socket.

        **Cancellation:** at any time; what a client asked the tree for still happens.
        """
        try:
            with self.scope:
                if not self.peer.is_welcome:
                    return await self.farewell(wire.FORBIDDEN, f"user {self.peer.uid} is not the one whose run this is")
                async with anyio.create_task_group() as tasks:
                    self._tasks = tasks
                    await self._read()
                    # it has said its last word, and may still read
                    for _ in range(IN_FLIGHT):
                        await self._slots.acquire()
                    tasks.cancel_scope.cancel()
        finally:
            self.server.unsent -= self.unsent
            anyio.notify_closing(self._socket)
            self._socket.close()

    def hang_up(self) -> None:
        """End it, whatever is under way."""
        self.scope.cancel()

    async def farewell(self, code: int, message: str) -> None:
        """Say why it is hung up on, if it listens."""
        with anyio.move_on_after(FAREWELL):
            await self._send(wire.encode(wire.error(None, code, message)))
        self.hang_up()

    def follow(self, since: int) -> None:
        """Send the events after one, and all that come, as notifications, until it hangs up.

        Raises:
            ControlRefused: It follows already.
        """
        if self.following is not None:
            raise ControlRefused(wire.INVALID_REQUEST, "this connection follows the events already; open another one")
        self.following = since
        self._tasks.start_soon(self._follow)

    # ------------------------------------------------------------ in

    async def _read(self) -> None:
        lines = Lines()
        with anyio.CancelScope(deadline=anyio.current_time() + FIRST_REQUEST) as self._patience:
            while (data := await self._receive()) is not None:
                lines.feed(data)
                try:
                    while (line := lines.take()) is not None:
                        await self._serve(line)
                except LineTooLong:
                    return await self.farewell(wire.INVALID_REQUEST, f"a line of more than {wire.LONGEST_LINE} bytes")
        if self._patience.cancelled_caught:
            await self.farewell(wire.BUSY, f"no request within {FIRST_REQUEST:g} s")

    async def _receive(self) -> bytes | None:
        while True:
            await anyio.wait_readable(self._socket)
            await self.server.turn(RECEIVED)
            try:
                data = self._socket.recv(CHUNK)
            except BlockingIOError:
                continue
            except OSError:
                self.hang_up()
                return None
            self.active_at = anyio.current_time()
            return data or None

    async def _serve(self, line: bytes) -> None:
        await self.server.turn(CALLED)
        self.calls += 1
        self._patience.deadline = math.inf
        with self.server.charged():
            message = wire.parse(line)
        if any(self._may_wait(call) for call in message.calls):
            await self._slots.acquire()
            self._tasks.start_soon(self._answer_later, message, len(line))
            return
        # made only when nothing else is to be sent: of a client that does not read one answer waits here, and no line of it
        async with self._sending:
            answer = await self._answered(message)
            del message
            await self._write(answer)

    # ------------------------------------------------------------ out

    async def _answer_later(self, message: Message, size: int) -> None:
        try:
            with self.server.holding(size) as admitted:
                if not admitted:
                    busy = "too much is being asked for at the same time; ask again"
                    message = Message(tuple(Malformed(call.id, wire.BUSY, busy) for call in message.calls), message.batch)
                answer = await self._answered(message)
            del message
            async with self._sending:
                await self._write(answer)
        finally:
            self._slots.release()

    async def _answered(self, message: Message) -> bytes:
        answers: list[bytes] = []
        size = 0
        for number, call in enumerate(message.calls):
            if number:
                await self.server.turn(CALLED)
            answer = await self._call(call)
            if call.id is wire.NO_ID:
                continue
            with self.server.charged():
                line = self._encoded(answer)
            if size + len(line) > LARGEST_ANSWER:
                line = wire.encode(wire.error(call.id, wire.BUSY, f"the answer has more than {LARGEST_ANSWER} bytes; ask for less at once"))
            answers.append(line)
            size += len(line)
        if not message.batch:
            return b"".join(answers)
        return b"[" + b",".join(line.rstrip(b"\n") for line in answers) + b"]\n" if answers else b""

    def _encoded(self, answer: dict[str, Any]) -> bytes:
        """An answer as a line, without secrets; its id is the client's own and stays."""
        line, redactor = wire.encode(answer), self.server.redactor
        if not redactor.suspects(line):
            return line
        return wire.encode({key: redactor.data(value) if key in ("result", "error") else value for key, value in answer.items()})

    async def _call(self, call: Call | Malformed) -> dict[str, Any]:
        if isinstance(call, Malformed):
            return wire.error(call.id, call.code, call.message)
        try:
            return wire.result(call.id, await self._performed(call))
        except ControlRefused as refusal:
            return wire.error(call.id, refusal.code, refusal.message, refusal.data)
        except (CallError, StartFailed) as error:
            return wire.error(call.id, *_told(error))
        except UsageError as error:
            return wire.error(call.id, wire.REJECTED, str(error), {"faults": [str(fault) for fault in error.faults]})
        except Exception as error:  # the boundary where a fault of ours becomes the answer to the call that met it
            return wire.error(call.id, wire.INTERNAL_ERROR, f"internal error: {describe(error)}")

    async def _performed(self, call: Call) -> Any:
        if self._token is not None:
            return self._authenticated(call)
        method = self.server.methods.get(call.method)
        if method is None:
            near = did_you_mean(call.method, self.server.methods)
            raise ControlRefused(wire.METHOD_NOT_FOUND, f"no method is called {quote(call.method)}{near}")
        if not method.changes:
            with self.server.charged():  # it does not wait for anything
                return await method.call(self, call.params)
        with self.server.charged():
            objection = self.peer.objection()
        if objection is not None:
            raise ControlRefused(wire.FORBIDDEN, objection, {"pid": self.peer.pid})
        return await method.call(self, call.params)

    def _authenticated(self, call: Call) -> bool:
        import hmac

        given = call.params.get("token") if isinstance(call.params, dict) else None
        if (
            call.method != "authenticate"
            or not isinstance(given, str)
            or not hmac.compare_digest(given.encode(), str(self._token).encode())
        ):
            raise ControlRefused(wire.FORBIDDEN, "the first call is authenticate, with the token of the file that names this port")
        self._token = None
        return True

    def _may_wait(self, call: Call | Malformed) -> bool:
        method = self.server.methods.get(call.method) if isinstance(call, Call) else None
        return method is not None and method.changes

    async def _follow(self) -> None:
        ring = self.server.ring
        while True:
            assert self.following is not None
            await ring.more(self.following)
            await self.server.turn(CALLED)
            async with self._sending:
                with self.server.charged():
                    lines, reached = ring.after(self.following, CHUNK)
                    said = b"".join(map(wire.event, lines))
                await self._write(said)
                self.following = reached
                self.server.sent()

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        self._owe(len(rest))
        while rest:
            try:
                count = self._socket.send(rest)
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            except OSError:
                self.hang_up()  # it is gone, and whoever reads from it notices as well
                return
            else:
                rest = rest[count:]
                self.active_at = anyio.current_time()
                self._owe(len(rest))

    def _owe(self, unsent: int) -> None:
        self.server.unsent += unsent - self.unsent
        self.unsent = unsent
        self.server.relieve()


def _told(error: CallError | StartFailed) -> tuple[int, str, dict[str, Any]]:
    """An error of the tree, for a client."""
    data: dict[str, Any] = {"error": type(error).__name__}
    if isinstance(error, RestartRefused):
        data["retry_in"] = error.retry_in
    elif isinstance(error, RestartPostponed):
        data["retry_in"] = error.remaining
    return (wire.NOT_FOUND if isinstance(error, ChildNotFound) else wire.REFUSED), str(error), data
