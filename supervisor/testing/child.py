"""A child that does what a test says, and says what was done to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import anyio

from ..core.errors import InvalidField, Path, is_count, is_duration
from ..core.exits import Exit
from ..core.launch import ChildType
from ..core.ports import Handle, Ticket
from ..runtime.ref import SupervisorRef
from .life import Entry, ScriptedLife
from .script import AT_ONCE, Ok, Start, Stop, check_kind

PATIENCE = 86400.0
"""Seconds after which what a test waits for will not happen. In virtual time they pass at once where nothing else can."""

_OK = Ok()


class NotAlive(AssertionError):
    """A test wants something from a life that is not there."""


class Overlap(AssertionError):
    """A child was started while a life of it was still there."""


class Control:
    """What a test sees of a child under one path and does to it; a `Scripted` is one while it runs under one path only.

    All but the waits are synchronous: what follows from them in the tree has happened when they return, except inside `together`.
    """

    def _find(self) -> Place | None:
        """The place that is meant; None when there is none yet."""
        raise NotImplementedError

    @property
    def _script(self) -> Scripted:
        raise NotImplementedError

    def _life(self) -> ScriptedLife:
        place = self._find()
        if place is None or place.life is None:
            raise NotAlive(f"no life of it is there: {self._script.lines}")
        return place.life

    @property
    def starts(self) -> int:
        """How often it was started so far."""
        place = self._find()
        return 0 if place is None else place.number

    @property
    def exits(self) -> Mapping[int, Exit]:
        """How its lives ended, by the number of the start."""
        place = self._find()
        return {} if place is None else place.over

    @property
    def alive(self) -> bool:
        """Whether a life of it is there, acknowledged or not."""
        place = self._find()
        return place is not None and place.life is not None

    @property
    def up(self) -> bool:
        """Whether a life of it is there and has acknowledged."""
        place = self._find()
        return place is not None and place.life is not None and place.life.up

    def acknowledge(self, value: object = None) -> None:
        """Let a life that hangs, or takes its time, acknowledge now.

        Raises:
            NotAlive: There is none, or it has acknowledged.
        """
        life = self._life()
        if life.up:
            raise NotAlive(f"no start of it is under way: {self._script.lines}")
        life.acknowledge(value)

    def crash(self, error: BaseException | None = None) -> None:
        """Let it fail with `error`, or with a `Crash`.

        Raises:
            InvalidField: `error` is no exception.
            NotAlive: No life of it is there.
        """
        check_kind(error, BaseException | None, "error", "an exception or None", where="crash")
        life = self._life()
        life.finish(Exit.failed(error or life.crash()))

    def end(self, exit: Exit | None = None) -> None:
        """Let it end by itself, in whatever way; None is `Exit.normal`.

        Raises:
            InvalidField: `exit` is no `Exit`.
            NotAlive: No life of it is there.
        """
        check_kind(exit, Exit | None, "exit", "an Exit or None", where="end")
        self._life().finish(exit or Exit.normal())

    async def started(self, number: int = 1, *, within: float = PATIENCE) -> None:
        """Wait until the start of that number was begun; true also afterwards.

        Raises:
            AssertionError: It was not, `within` seconds.

        **Cancellation:** stops waiting, as in all waits here.
        """
        await self._until(lambda place: place.number >= number, f"start {number}", within)

    async def running(self, number: int | None = None, *, within: float = PATIENCE) -> None:
        """Wait until the start of that number, or a later one, has acknowledged; None: until it is up now.

        Raises:
            AssertionError: That did not happen `within` seconds.
        """
        if number is None:
            await self._until(lambda place: place.life is not None and place.life.up, "up", within)
        else:
            await self._until(lambda place: place.latest_up >= number, f"up {number}", within)

    async def asked(self, number: int = 1, *, within: float = PATIENCE) -> None:
        """Wait until the life of that number, or a later one, was asked to stop or killed.

        Raises:
            AssertionError: That did not happen `within` seconds.
        """
        await self._until(lambda place: place.latest_asked >= number, f"asked {number}", within)

    async def ended(self, number: int = 1, *, within: float = PATIENCE) -> Exit:
        """Wait until the life of that number is over, a failed start included, a declined one not.

        Returns:
            How it ended.

        Raises:
            AssertionError: That did not happen `within` seconds.
        """
        place = await self._until(lambda place: number in place.over, f"ended {number}", within)
        return place.over[number]

    async def _until(self, holds: Callable[[Place], bool], what: str, within: float) -> Place:
        with anyio.move_on_after(within):
            while True:
                place = self._find()
                if place is not None and holds(place):
                    return place
                await self._script.news()
        raise AssertionError(f"never within {within:g} s: {what}; the log: {self._script.lines}")


class Place(Control):
    """A scripted child under one path; see `Scripted.at`."""

    def __init__(self, script: Scripted, path: Path) -> None:
        self.script, self.path = script, path
        self.life: ScriptedLife | None = None
        self.number = self.latest_up = self.latest_asked = 0
        self.over: dict[int, Exit] = {}

    def _find(self) -> Place:
        return self

    @property
    def _script(self) -> Scripted:
        return self.script


class Scripted(Control):
    """A child by the book of a test: the `start` of a `ChildSpec`.

    No task, process or thread is behind it, except while it waits for a time of its script: a start costs microseconds.

    Args:
        starts: What its starts do: one after the other, or by number, from 1. Those that are not mentioned do what `default` says.
            Counted for each path it is launched under, across restarts of the supervisors above.
        default: What the other starts do.
        stop: How its lives take their stop.
        type: A supervisor counts as one and gets a supervisor's default `shutdown`.
        kill_timeout: Seconds after its kill until it is given up, as every launch has them.
        watch: Called with each entry of the log, at once: with one `list.append` for several children there is one log of all.

    Attributes:
        log: What happened, oldest first, under all paths.
        overlaps: Starts while a life of the same path was still there; there must be none, see `check`.

    Raises:
        InvalidField: `starts` is neither, or names a number below 1; or another argument has an illegal value.
    """

    def __init__(
        self,
        starts: Mapping[int, Start] | Iterable[Start] = (),
        *,
        default: Start = _OK,
        stop: Stop = AT_ONCE,
        type: ChildType = ChildType.WORKER,
        kill_timeout: float = 1.0,
        watch: Callable[[Entry], object] | None = None,
    ) -> None:
        self._starts = _by_number(starts)
        where = "Scripted"
        check_kind(default, Start, "default", "Ok, Fail, Decline or Hang", where=where)
        check_kind(stop, Stop, "stop", "a Stop", where=where)
        check_kind(type, ChildType, "type", "a member of ChildType", where=where)
        if not is_duration(kill_timeout):
            raise InvalidField("kill_timeout", kill_timeout, "seconds >= 0 or math.inf", where=where)
        if watch is not None and not callable(watch):
            raise InvalidField("watch", watch, "a function or None", where=where)
        self._default, self.stop = default, stop
        self.type, self.kill_timeout = type, kill_timeout
        self._watch = watch
        self._places: dict[Path, Place] = {}
        self._news: anyio.Event | None = None
        self.log: list[Entry] = []
        self.overlaps: list[Entry] = []

    def at(self, *path: str) -> Place:
        """The child under one path, the root's id first; also before it was ever launched there."""
        return self._places.setdefault(path, Place(self, path))

    @property
    def lines(self) -> list[str]:
        """The log for people and comparisons: ``start root/a 1``, ``failed root/a 1: Crash: root/a 1``."""
        return [str(entry) for entry in self.log]

    def check(self) -> None:
        """Hold it to what no supervisor may do. To be called when a test ends.

        Raises:
            Overlap: It was started while a life of it was still there, one that was given up excepted.
        """
        if self.overlaps:
            raise Overlap(f"two lives at once: {', '.join(map(str, self.overlaps))}; the log: {self.lines}")

    # ------------------------------------------------------------ as a launch

    def launch(self, ticket: Ticket) -> Handle:
        """Do what the script says about this start.

        Raises:
            Overlap: A life of the same path is still there, so that the start fails; `check` says it again.
        """
        place = self.at(*ticket.path)
        before = place.life
        place.number += 1
        life = ScriptedLife(self, place, ticket)
        if before is not None and not before.given_up:
            self.overlaps.append(life.note("start"))
            raise Overlap(f"{'/'.join(place.path)}: start {place.number} while life {before.number} is there")
        place.life = life
        life.begin(self._starts.get(place.number, self._default))
        return life

    def describe(self) -> dict[str, Any]:
        """The starts that are not the default, by kind."""
        return {"scripted": {str(number): type(start).__name__ for number, start in self._starts.items()}}

    # ------------------------------------------------------------ inside

    def _find(self) -> Place | None:
        if len(self._places) > 1:
            raise AssertionError(f"it runs under several paths, say which: {['/'.join(path) for path in self._places]}")
        return next(iter(self._places.values()), None)

    @property
    def _script(self) -> Scripted:
        return self

    def note(self, entry: Entry) -> None:
        """Write an entry into the log, and tell who waits."""
        self.log.append(entry)
        if self._watch is not None:
            self._watch(entry)
        if self._news is not None:
            self._news.set()
            self._news = None

    async def news(self) -> None:
        """Wait for the next entry."""
        if self._news is None:
            self._news = anyio.Event()
        await self._news.wait()


@contextmanager
def together(*supervisors: SupervisorRef) -> Iterator[None]:
    """Let these supervisors see nothing of what happens in the block until it ends, and then all of it in its order.

    So several children can end before their supervisor acts on the first end.

    Raises:
        NoProc: One of them is not running.
    """
    with ExitStack() as stack:
        for supervisor in supervisors:
            stack.enter_context(supervisor._node_here().paused())
        yield


def _by_number(starts: Mapping[int, Start] | Iterable[Start]) -> dict[int, Start]:
    if isinstance(starts, Mapping):
        numbered = dict(starts)
    elif isinstance(starts, Iterable):
        numbered = dict(enumerate(starts, 1))
    else:
        raise InvalidField("starts", starts, "starts in order, or by number", where="Scripted")
    for number, start in numbered.items():
        if not is_count(number, least=1) or not isinstance(start, Start):
            raise InvalidField("starts", {number: start}, "Ok, Fail, Decline or Hang, by numbers from 1", where="Scripted")
    return numbered
