"""What the workers ask of each other, and the channels that carry it."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import anyio
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from supervisor import Entity, Value

from .leaf import Leaf
from .policy import decide
from .policy.ladder import Cause, DegradationMode

T = TypeVar("T")


@attrs.frozen(repr=False, eq=False)
class News(Value):
    """Something that the decision about a leaf has to know."""

    leaf: Leaf
    event: decide.Event


@attrs.define(repr=False, eq=False)
class CaptureRequest(Entity):
    """Capture the state of a leaf now.

    Attributes:
        reason: Why, for the snapshot.
        done: Set when the capture has ended, `ok` tells how.
        overdue: Whoever asked waits no longer and has said so.
        cause: Why it failed; empty while it has not.
    """

    leaf: Leaf
    reason: str
    done: anyio.Event = attrs.field(factory=anyio.Event)
    ok: bool = False
    overdue: bool = False
    cause: str = ""


class RestartRequest:
    """Somebody asks for a controlled restart of a leaf, as the guardian does it: captured first, and judged afterwards.

    Attributes:
        leaf: Which one.
        reason: Why, for the events.
        at_once: Whether it does not wait for the end of a turn.
        done: Set when it is over or came to nothing.
        error: Why it came to nothing; None when it did not.
    """

    def __init__(self, leaf: Leaf, reason: str, *, at_once: bool = False) -> None:
        self.leaf, self.reason, self.at_once = leaf, reason, at_once
        self.done = anyio.Event()
        self.error: Exception | None = None


@attrs.frozen(repr=False, eq=False)
class SpentRequest(Value):
    """Write down what restart protection has spent."""

    leaf: Leaf


@attrs.frozen(repr=False, eq=False)
class ModeRequest(Value):
    """Somebody asks for a mode of a leaf, or no longer does.

    Attributes:
        cause: Who.
        mode: Which; None for none any more.
        reason: Why, in words.
        at_once: What was asked for before is void, without a cooldown.
    """

    leaf: Leaf
    cause: Cause
    mode: DegradationMode | None
    reason: str
    at_once: bool = False


class Channel(Generic[T]):
    """A queue between two workers that outlives both: what a worker left unread, its next life reads.

    Unbounded, because no sender sends without end: a sample per interval, an answer per request.
    """

    def __init__(self) -> None:
        self._send: MemoryObjectSendStream[T]
        self._receive: MemoryObjectReceiveStream[T]
        self._send, self._receive = anyio.create_memory_object_stream[T](math.inf)

    def put(self, item: T) -> None:
        """Add an item; never waits."""
        self._send.send_nowait(item)

    async def get(self) -> T:
        """The oldest item.

        **Cancellation:** safe; nothing is lost by it.
        """
        return await self._receive.receive()

    def take(self) -> T:
        """The oldest item; never waits.

        Raises:
            anyio.WouldBlock: There is none.
        """
        return self._receive.receive_nowait()

    def close(self) -> None:
        """No more items."""
        self._send.close()
        self._receive.close()
