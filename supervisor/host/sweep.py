"""Kill every process of a life, also those that fork meanwhile, hide in sessions of their own or ignore every other signal.

Order matters. First all are stopped, round after round, until a round finds no new one: who is stopped forks no more, and while its
parent lives a child's descent can be seen, whatever its environment says. Then all are killed, parents before their children.
Where they have a cgroup the kernel kills those in it at once, or freezes them meanwhile, and the rest is for who has left it.

A supervisor among them that has died has a sentry, which is about to do the same for those that it alone can know. It is let do so: killed
between its stops and its kills it would leave somebody stopped for ever.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Final, Protocol

import anyio
import attrs

from ..core.value import Value
from . import reaper
from .identity import ProcessId, has_pidfd, is_alive, open_pidfd, send_signal
from .marker import is_sentrys
from .procstat import read_bytes, read_environment, read_stat
from .spare import with_reserve

BOUND: Final = 2.0
"""Seconds after which a sweep gives up on processes that the kernel cannot end, such as ones stuck in a device."""

_ROUNDS: Final = 32
_WATCHED: Final = 64
_PAUSE: Final = 0.005
_MOMENT: Final = 0.001
SENTRY_TIME: Final = 1.5
"""Seconds that a sentry has for that; by then it should have ended itself."""
_STOP: Final = getattr(signal, "SIGSTOP", 0)
_KILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)

Members = Callable[[], Iterable[ProcessId]]
"""Says which processes are to go, afresh with every call; parents before their children."""


class Enclosure(Protocol):
    """A cgroup that holds most, and perhaps all, of those who are to go."""

    def kill(self) -> list[ProcessId] | None:
        """Kill all in it at once, and say who they were; None where that cannot be done."""

    def freeze(self) -> bool:
        """Let nothing in it run any further; whether that can be done."""

    def thaw(self) -> None:
        """Undo `freeze`."""


@attrs.frozen(repr=False, eq=False)
class Swept(Value):
    """What a sweep did: `killed` had to be killed, `left` could not be, for want of permission or of time."""

    killed: tuple[ProcessId, ...] = ()
    left: tuple[ProcessId, ...] = ()


def kill_all(members: Members, enclosure: Enclosure | None = None, *, sentries: bool = False) -> Swept:
    """Stop and kill once; returns without waiting for the deaths.

    Args:
        members: The processes that are to go.
        enclosure: The cgroup that they are in.
        sentries: Whether sentries of theirs go too, which end by themselves once there is nothing left for them to do.

    Raises:
        OSError: Out of descriptors; who was found by then is killed.
    """
    members = with_reserve(members) if sentries else _without_sentries(with_reserve(members))
    killed = with_reserve(enclosure.kill)() if enclosure is not None else None
    if killed is not None or enclosure is None or not with_reserve(enclosure.freeze)():
        return _kill_singly(members, dict.fromkeys(killed or ()))
    try:
        return _kill_singly(members, {})
    finally:
        with_reserve(enclosure.thaw)()


def _kill_singly(members: Members, gone: dict[ProcessId, None]) -> Swept:
    found: dict[ProcessId, None] = {}
    denied: dict[ProcessId, None] = {}
    killed: tuple[ProcessId, ...] = ()
    try:
        for _ in range(_ROUNDS):
            new = [process for process in members() if process not in gone and process not in found and process not in denied]
            if not new:
                break
            for process in new:
                if sys.platform == "win32":
                    found[process] = None  # nothing to stop it with; a job object has it
                    continue
                found[process] = None  # before it is stopped: nobody who is may be left so
                _signal_group(process, _STOP)
                if _signal(process, _STOP) is None:
                    del found[process]
                    denied[process] = None
    finally:
        killed = tuple(process for process in found if _signal(process, _KILL))
        for process in (*found, *denied):
            _signal_group(process, _KILL)  # who had no time to be found was stopped with it
    return Swept((*gone, *killed), tuple(process for process in denied if is_alive(process)))


async def sweep(
    members: Members, *, bound: float = BOUND, settled: Callable[[], bool] = lambda: True, enclosure: Enclosure | None = None
) -> Swept:
    """Kill until nothing is left, and reap what was adopted. Cheap when there is nothing to do.

    Args:
        members: The processes that are to go.
        enclosure: The cgroup that they are in.
        bound: Seconds after which it gives up.
        settled: Whether the latest answer of `members` was the whole truth; that nobody is left counts only then.

    Raises:
        OSError: Out of descriptors.

    **Cancellation:** what was not killed yet stays alive.
    """
    members = with_reserve(members)
    killed: dict[ProcessId, None] = {}
    denied: set[ProcessId] = set()
    give_up: float | None = None
    while True:
        alive = [process for process in members() if process not in denied]
        with_reserve(reaper.collect)()
        if not alive and settled():
            return Swept(tuple(killed), tuple(denied))
        now = anyio.current_time()
        give_up = now + bound if give_up is None else give_up
        if now >= give_up:
            return Swept(tuple(process for process in killed if process not in alive), (*alive, *denied))
        if not alive:
            await anyio.sleep(_MOMENT)
            continue
        late = now >= give_up - bound + SENTRY_TIME
        swept = kill_all(lambda: (process for process in members() if process not in denied), enclosure, sentries=late)
        killed.update(dict.fromkeys(swept.killed))
        denied.update(swept.left)
        if not swept.killed:
            await anyio.sleep(_MOMENT)  # all that is left are sentries at work
            continue
        with anyio.move_on_after(give_up - now):
            await dead(swept.killed)


async def dead(processes: Iterable[ProcessId]) -> None:
    """Wait until all of these processes are dead.

    **Cancellation:** stops waiting.
    """
    waiting = list(processes)
    while waiting:
        if has_pidfd():
            with suppress(OSError):  # out of descriptors: looking again and again needs one at a time
                await _dead_by_pidfd(waiting[:_WATCHED])
                waiting = waiting[_WATCHED:]
                continue
        waiting = [process for process in waiting if with_reserve(is_alive)(process)]
        if waiting:
            await anyio.sleep(_PAUSE)


async def _dead_by_pidfd(processes: list[ProcessId]) -> None:
    if sys.platform == "linux":
        with ExitStack() as stack:
            poll = stack.enter_context(select.epoll())
            waiting = set()
            for process in processes:
                if (fd := open_pidfd(process)) is not None:
                    stack.callback(os.close, fd)
                    poll.register(fd, select.EPOLLIN)
                    waiting.add(fd)
            while waiting:
                await anyio.wait_readable(poll.fileno())
                for fd, _ in poll.poll(0):
                    waiting.discard(fd)
                    poll.unregister(fd)


def was_asked(process: ProcessId, group: int, signum: int) -> bool:
    """Whether a process got a signal that went to a process group, and does not ignore it."""
    if sys.platform != "linux":
        from .portable import group_of

        return group_of(process.pid) == group
    stat = read_stat(process.pid)
    return stat is not None and stat.group == group and not ignores(process, signum)


def ignores(process: ProcessId, signum: int) -> bool:
    """Whether a process ignores a signal. Blocking it is not ignoring: many programs fetch blocked signals when it suits them."""
    for line in (read_bytes(f"/proc/{process.pid}/status") or b"").splitlines():
        if line.startswith(b"SigIgn:"):
            return bool(int(line.split()[1], 16) >> (signum - 1) & 1)
    return False


def _without_sentries(members: Members) -> Members:
    if sys.platform != "linux":
        return members
    sentries: dict[ProcessId, bool] = {}

    def others() -> Iterator[ProcessId]:
        for process in members():
            if process not in sentries:
                sentries[process] = is_sentrys(with_reserve(read_environment)(process.pid))
            if not sentries[process]:
                yield process

    return others


@with_reserve
def _signal_group(process: ProcessId, signum: int) -> None:
    """Signal the group of an orphan that we adopted, if it is in a session that is not ours: then nobody else's is in it.

    The kernel lets no fork come between: one who forks a successor and ends is hit in whatever step he is. Until we reap the orphan
    no other group can have its group's number.
    """
    if sys.platform != "linux":
        return
    stat = read_stat(process.pid)
    if stat is not None and stat.created == process.created and stat.parent == os.getpid() and stat.session != os.getsid(0):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(stat.group, signum)


def _signal(process: ProcessId, signum: int) -> bool | None:
    """Whether it got the signal; None when it may not be signalled."""
    try:
        return with_reserve(send_signal)(process, signum)
    except PermissionError:
        return None
