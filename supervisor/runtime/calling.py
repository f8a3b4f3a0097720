"""Calls of a child by name: served where the child runs, in this process or another."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import anyio

from ..core.errors import ChildNotFound, InvalidField, NoProc, is_duration, is_name
from ..core.event import Event
from ..core.extra_errors import CallTimeout, NotAChild, NotServed
from .distant import DistantNode, Supervising
from .node import Life, Node
from .tree import CURRENT


@runtime_checkable
class Elsewhere(Protocol):
    """The handle of a child that runs in another process."""

    async def ask(self, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
        """Call a function that is served there, by the child itself or by one below it."""


def serve(name: str, function: Callable[..., Any]) -> None:
    """Have the running child serve a function to whoever calls it, until its life is over: see `SupervisorRef.call`.

    Args:
        name: Under which it is called; a name that is served already gets the new function.
        function: Called with the arguments of the call, in this process; it may be async. Calls do not wait for each other.

    Raises:
        NotAChild: The running code belongs to no child.
        InvalidField: The name is empty, or the function none.
    """
    if not is_name(name):
        raise InvalidField("name", name, "a non-empty string", where="serve")
    if not callable(function):
        raise InvalidField("function", function, "a function", where="serve")
    life = CURRENT.get(None)
    if life is None:
        raise NotAChild
    life.serve(name, function)


def emit(event: Event) -> None:
    """Publish an event on the bus of the tree that the running child is in, wherever it runs.

    Raises:
        NotAChild: The running code belongs to no child; a `Supervisor` has an `emit` of its own.
        TypeError: Something in it cannot leave this process.
        InvalidField: In a process of a child: the event is about somebody who is neither that child nor below it.
    """
    life = CURRENT.get(None)
    if life is None:
        raise NotAChild
    life.emit(event)


def extend_timeout(seconds: float) -> None:
    """Ask for time to start or to end: whoever waits for the running child's acknowledgement or end waits at least this long from now.

    No effect once it is being killed, nor where its specification gives it no time at all. sd_notify's ``EXTEND_TIMEOUT_USEC``.

    Args:
        seconds: Or ``math.inf``.

    Raises:
        NotAChild: The running code belongs to no child.
        InvalidField: No such time.
    """
    if not is_duration(seconds):
        raise InvalidField("seconds", seconds, "seconds >= 0 or math.inf", where="extend_timeout")
    life = CURRENT.get(None)
    if life is None:
        raise NotAChild
    life.extend(seconds)


async def call(path: tuple[str, ...], name: str, *args: Any, timeout: float = 5.0) -> Any:
    """Call a function that another child of the tree serves, from within a child: see `SupervisorRef.call`.

    Args:
        path: The child's, from the root of the tree: ``("root", "state")``.
        name: What it serves the function as.
        args: Passed to the function.
        timeout: Seconds, or ``math.inf``.

    Raises:
        NotAChild: The running code belongs to no child.
        CallError: As from `SupervisorRef.call`.
        WorkerFailed: The function raised, in another process.

    **Cancellation:** leaves the wait; in another process the function goes on.
    """
    life = CURRENT.get(None)
    if life is None:
        raise NotAChild
    return await life.call(tuple(path), name, args, timeout)


async def call_child(top: Supervising, path: tuple[str, ...], name: str, args: tuple[Any, ...], timeout: float) -> Any:
    """Find the child below a supervisor, and call it."""
    if not is_duration(timeout):
        raise InvalidField("timeout", timeout, "seconds >= 0 or math.inf", where="call")
    if len(path) <= len(top.path) or path[: len(top.path)] != top.path:
        raise NoProc(path)
    if not isinstance(top, Node):
        assert isinstance(top, DistantNode)
        return await top.ask(path, name, args, timeout)
    node = top
    for id in path[len(top.path) :]:
        life = node.lives.get(id)
        if life is None:
            raise (NoProc if id in node.state.children else ChildNotFound)(node.path, id)
        handle = life.handle
        if isinstance(handle, Elsewhere):
            return await handle.ask(path, name, args, timeout)
        if life.path == path:
            return await run_served(life, name, args, timeout)
        if not isinstance(handle, Node):
            break
        node = handle
    raise NoProc(path)


async def run_served(life: Life, name: str, args: tuple[Any, ...], timeout: float = math.inf) -> Any:
    """Call a function that a child serves here, as that child."""
    path = life.path
    function = (life.served or {}).get(name)
    if function is None:
        raise NotServed(path[:-1], path[-1], name)
    caller = CURRENT.set(life)
    try:
        with anyio.move_on_after(timeout):
            value = function(*args)
            if inspect.isawaitable(value):
                value = await value
            return value
    finally:
        CURRENT.reset(caller)
    raise CallTimeout(path[:-1], path[-1], name, timeout)
