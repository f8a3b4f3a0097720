"""What is said in a session and what comes back: turns, requests, and whoever follows, over a stream of lines."""

from __future__ import annotations

import json
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from weakref import WeakSet

import anyio
import anyio.lowlevel

from supervisor import Exit, InvalidField

from .messages import ControlRequest, ControlResponse, Message, ResultMessage, decode
from .notices import LifeOver, Notice, TurnCut
from .session_errors import RequestFailedError, RequestTimeoutError, SessionEndedError, SessionError
from .session_turn import Content, Turn
from .stream import ClaudeStream, ClosedError

ANSWER: Final = 10.0
"""Seconds within which a control request is answered, unless said otherwise."""


UNREAD: Final = 1000
"""Turns that are kept for `replies`; of more, the oldest are dropped."""


class Followed:
    """All that happens in a session, from some moment to its end: an async iterator. `ClaudeSession.follow` makes it.

    Attributes:
        missed: How much of it was not looked at in time.
    """

    def __init__(self, capacity: int, wait: Callable[[Callable[[], bool]], Awaitable[None]]) -> None:
        self.missed = 0
        self._capacity, self._wait = capacity, wait
        self._seen: deque[Message | Notice] = deque()

    def __aiter__(self) -> Followed:
        return self

    async def __anext__(self) -> Message | Notice:
        if not self._seen:
            try:
                await self._wait(lambda: bool(self._seen))
            except SessionEndedError:
                raise StopAsyncIteration from None
        return self._seen.popleft()

    def take(self, one: Message | Notice) -> None:
        """Take in what happens. For the session."""
        if len(self._seen) >= self._capacity:
            self._seen.popleft()
            self.missed += 1
        self._seen.append(one)


class Talk:
    """A conversation in typed messages, whatever life of the program it is held with.

    Nothing is read while nobody waits for something: whoever does reads for all.

    Attributes:
        stream: The lines.
        exit: How the latest life that is over ended; None before.
    """

    def __init__(self) -> None:
        self.stream = ClaudeStream(closes=True, on_notice=self._noticed)
        self.exit: Exit | None = None
        self._begun = self._closing = self._ended = self._pumps = False
        self._stirred = anyio.Event()
        self._turns: deque[Turn] = deque()
        self._unread: deque[Turn] = deque()
        self._asked: dict[str, ControlResponse | None] = {}
        self._followers: WeakSet[Followed] = WeakSet()  # whoever looks at none any more has simply gone

    # ------------------------------------------------------------ talking

    async def send(self, content: Content, *, idempotent: bool = False) -> Turn:
        """Say something; returns when it is on its way, before it is read.

        Args:
            content: A text, or content blocks as the API has them.
            idempotent: Whether it may be said to the next life again when the program ends in the middle of the turn: then whoever waits
                for the turn goes on to wait. Otherwise, and when it was cut for the sixth time, the turn ends with `TurnCutError`.

        Raises:
            SessionEndedError: The session is over, or was closed.
            InvalidField: `content` is empty or no content.
            RuntimeError: The session has not begun.

        **Cancellation:** it was not said.
        """
        line = _line(content)
        await self._say(line, idempotent=idempotent)
        turn = Turn(content, line, idempotent=idempotent, wait=self.wait)
        self._turns.append(turn)
        while self._unread and (self._unread[0].is_claimed or len(self._unread) >= UNREAD):
            if not (oldest := self._unread.popleft()).is_claimed:
                oldest.drop()
        self._unread.append(turn)
        return turn

    def replies(self) -> Turn:
        """The messages of the oldest turn whose replies nobody has asked for, for ``async for``.

        Raises:
            SessionError: There is no such turn: nothing was sent.
        """
        while self._unread:
            if not (turn := self._unread.popleft()).is_claimed:
                turn.is_claimed = True
                return turn
        raise SessionError("there is no turn to read: send() something first")

    async def ask(self, content: Content, *, idempotent: bool = False) -> ResultMessage:
        """Say something, and wait for the end of the turn: `send`, and `Turn.result`.

        **Cancellation:** leaves the wait; what was said goes on. `interrupt` ends it.
        """
        return await (await self.send(content, idempotent=idempotent)).result()

    def follow(self, capacity: int = 1000) -> Followed:
        """All messages and notices from now on, for ``async for``. Who is more than `capacity` behind misses the oldest.

        Raises:
            InvalidField: `capacity` is no integer >= 1.
        """
        if type(capacity) is not int or capacity < 1:
            raise InvalidField("capacity", capacity, "an integer >= 1", where="follow")
        followed = Followed(capacity, self.wait)
        self._followers.add(followed)
        return followed

    # ------------------------------------------------------------ asking

    async def interrupt(self, *, timeout: float = ANSWER) -> None:
        """End the turn that is under way; its result says ``error_during_execution``. Without one, nothing happens.

        2.0.77 may answer the next prompt late after that: give whoever waits for it a limit.

        Raises:
            RequestTimeoutError: No answer in time.
            RequestFailedError: It was refused, or the program ended.
            SessionEndedError: The session is over.

        **Cancellation:** leaves the wait.
        """
        await self.request("interrupt", timeout=timeout)

    async def set_permission_mode(self, mode: str, *, timeout: float = ANSWER) -> None:
        """Change what tools may do without asking: ``default``, ``acceptEdits``, ``plan``, ... Later lives are told, too.

        Raises:
            RequestTimeoutError: No answer in time.
            RequestFailedError: It was refused, or the program ended.
            SessionEndedError: The session is over.

        **Cancellation:** leaves the wait.
        """
        await self.request("set_permission_mode", timeout=timeout, mode=mode)

    async def request(self, subtype: str, *, timeout: float = ANSWER, **fields: Any) -> dict[str, Any]:
        """Ask the program for something that it can be asked for: ``mcp_status``, ``set_model``, ...

        Args:
            subtype: What.
            timeout: Seconds for the answer.
            fields: What belongs to it.

        Returns:
            What the answer says.

        Raises:
            RequestTimeoutError: No answer in time, as from 2.0.77 to what it does not know.
            RequestFailedError: It was refused, or the program ended before it answered.
            SessionEndedError: The session is over.

        **Cancellation:** leaves the wait.
        """
        id = uuid.uuid4().hex
        line = {"type": "control_request", "request_id": id, "request": {"subtype": subtype, **fields}}
        self._asked[id] = None
        try:
            with anyio.move_on_after(timeout):
                await self._say(json.dumps(line).encode())
                await self.wait(lambda: self._asked[id] is not None)
            answer = self._asked[id]
        finally:
            del self._asked[id]
        if answer is None:
            raise RequestTimeoutError(subtype, timeout)
        if answer.error is not None:
            raise RequestFailedError(subtype, answer.error)
        return answer.response

    async def respond(self, question: ControlRequest, response: Mapping[str, Any]) -> None:
        """Answer what the program asks, such as ``can_use_tool`` with ``--permission-prompt-tool stdio``.

        Raises:
            SessionEndedError: The session is over, or was closed.

        **Cancellation:** it was not said.
        """
        said = {"subtype": "success", "request_id": question.request_id, "response": dict(response)}
        await self._say(json.dumps({"type": "control_response", "response": said}).encode())

    @property
    def session_id(self) -> str | None:
        """The conversation; None while nobody has said which."""
        return self.stream.session_id

    @property
    def is_busy(self) -> bool:
        """Whether a turn is under way, or tasks in the background are."""
        return self.stream.is_busy

    async def idle(self) -> None:
        """Wait until nothing that was said is without its result, and the program is in no turn.

        Raises:
            SessionEndedError: The session is over.
            RuntimeError: It has not begun.

        **Cancellation:** at any time, without effect.
        """
        self._check_begun()
        await self.wait(lambda: not self._turns and not self.is_busy)

    # ------------------------------------------------------------ inside

    async def wait(self, done: Callable[[], bool]) -> None:
        """Read what comes until something holds. Whoever waits for something of the session reads for all. For `Turn`.

        Raises:
            SessionEndedError: It never will.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        while not done():
            if self._ended:
                raise SessionEndedError(self.exit)
            await self._pump()

    def _is_over(self) -> bool:
        return self._closing or self._ended

    def _check_begun(self) -> None:
        if not self._begun:
            raise RuntimeError("a ClaudeSession works within its block: async with ClaudeSession(argv) as session")

    async def _say(self, line: bytes, *, idempotent: bool = False) -> None:
        self._check_begun()
        if self._is_over():
            raise SessionEndedError(self.exit)
        try:
            await self.stream.feed(line, idempotent=idempotent)
        except ClosedError:  # while this waited for room
            raise SessionEndedError(self.exit) from None

    def _is_gone(self) -> bool:
        """Whether no life will come any more although the stream was not told so."""
        return False

    async def _pump(self) -> None:
        if self._pumps:
            await self._stirred.wait()
            return
        if self._is_gone():
            self.stream.finish()
        self._pumps = True
        lines: tuple[bytes, ...] = ()
        changed = self._stirred
        try:
            async with anyio.create_task_group() as tasks:

                async def unless(news: anyio.Event) -> None:
                    await news.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(unless, changed)
                lines = await self.stream.receive()
                tasks.cancel_scope.cancel()
        except* anyio.EndOfStream:
            self._ended = True
        finally:
            self._pumps = False
            for line in lines:
                self._take(decode(line))
            self._stir()

    def _take(self, message: Message) -> None:
        for followed in self._followers:
            followed.take(message)
        if isinstance(message, ControlResponse):
            if message.request_id in self._asked and self._asked[message.request_id] is None:
                self._asked[message.request_id] = message
            return
        if self._turns and not (isinstance(message, ResultMessage) and not message.is_answer):
            self._turns[0].take(message)
            if isinstance(message, ResultMessage):
                self._turns.popleft()

    def _noticed(self, notice: Notice) -> None:
        if isinstance(notice, LifeOver):
            self.exit = notice.exit
        elif isinstance(notice, TurnCut):
            for line in notice.resent:
                turn = next((turn for turn in self._turns if turn.line == line), None)
                if turn is not None:
                    turn.repeated += 1
        for followed in self._followers:
            followed.take(notice)
        self._stir()

    def _stir(self) -> None:
        stirred, self._stirred = self._stirred, anyio.Event()
        stirred.set()


def _line(content: Content) -> bytes:
    said: object = [{"type": "text", "text": content}] if content and isinstance(content, str) else content
    if not isinstance(said, list | tuple) or not said or not all(isinstance(block, Mapping) for block in said):
        raise InvalidField("content", content, "a text, or a list of content blocks, and not empty", where="send")
    message = {"role": "user", "content": [dict(block) for block in said]}
    return json.dumps({"type": "user", "message": message}).encode()
