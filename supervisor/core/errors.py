"""The exceptions of the library. Each carries values, not only text.

SupervisorError
├── SpecError (also ValueError)          a specification that cannot be
│   ├── InvalidField                      one field has an illegal value: .field .value
│   ├── BadCombination                    legal fields that exclude each other: .fields
│   └── DuplicateChildName                two siblings with one id: .id
├── StartFailed                           a child died, or stayed silent, before it acknowledged: .path .exit
├── RestartIntensityExceeded              the budget is spent: .path .exits .reason
├── TaskExited                            a task has no result: it was stopped or killed: .path .exit
│   └── TaskTimeout (also TimeoutError)   a stream's task took too long: .timeout
├── Unpicklable                           stands for an exception that pickle could not carry: .type .text
├── WorkerFailed                          raised in another process: .type .text .trace
├── StartMethodUnavailable                a worker cannot be started in the way that was asked for
├── NotAChild                             code that belongs to no child asked which one it is
├── RegistryError                         a registry said no: .registry .key
│   ├── AlreadyRegistered                 a unique key is taken: .path .generation
│   ├── NotRegistered                     that child has no such key: .path
│   └── KeysNotUnique                     a key that may have many entries was taken for one that has one
└── CallError                             a call that the tree refused: .path .id
    ├── NoProc                            that supervisor is not running
    ├── ChildNotFound                     no child of that id
    ├── ChildRunning                      it must be stopped first
    ├── ChildNotRunning                   it must be running
    ├── ChildRestarting                   it waits for its next restart
    ├── AlreadyStarted                    the id exists and runs: .pid
    ├── AlreadyPresent                    the id exists and does not run
    ├── SimpleOneForOne                   a dynamic supervisor does not know such a call
    ├── NotPartitioned                    the supervisor is no partition supervisor
    ├── NoPartitions                      a partition supervisor has none: .path
    ├── CallTimeout (also TimeoutError)   a child did not answer in time: .name .timeout
    ├── NotServed                         a child serves no function of that name: .name
    ├── MaxChildren                       a dynamic supervisor is full: .max_children
    ├── RestartRefused                    restart protection says no: .reason .retry_in
    └── RestartPostponed                  a cooldown is not over: .remaining

Those of registries, partitions, tasks, workers and pickle are made in `extra_errors`, so that a tree without them does not carry them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from .exits import Exit

Path = tuple[str, ...]


class SupervisorError(Exception):
    """Root of all exceptions of this library.

    All of them can be pickled and copied, with their values, notes and cause, and so cross a process border. What cannot be pickled
    itself arrives as its text, an exception as an `Unpicklable`.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        from .carry import reduced

        return reduced(self)

    def __copy__(self) -> Self:
        from .carry import copied

        return cast(Self, copied(self, lambda value: value, {}))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        from .carry import copied, deep

        return cast(Self, copied(self, deep(memo), memo))


class SpecError(SupervisorError, ValueError):
    """A specification that cannot be."""


class InvalidField(SpecError):
    """One field of a specification has an illegal value."""

    def __init__(self, field: str, value: object, expected: str, *, where: str = "") -> None:
        self.field, self.value, self.expected, self.where = field, value, expected, where
        prefix = f"{where}: " if where else ""
        super().__init__(f"{prefix}{field} = {value!r}: expected {expected}")


class BadCombination(SpecError):
    """Fields that are legal one by one exclude each other; `fields` are the ones that clash, with their values."""

    def __init__(self, fields: Mapping[str, object], remedy: str, *, where: str = "") -> None:
        self.fields, self.remedy, self.where = dict(fields), remedy, where
        prefix = f"{where}: " if where else ""
        clash = " with ".join(f"{name} = {getattr(value, 'value', value)!r}" for name, value in self.fields.items())
        super().__init__(f"{prefix}{clash}: {remedy}")


class DuplicateChildName(SpecError):
    """Two siblings have one id."""

    def __init__(self, id: str, *, where: str = "") -> None:
        self.id, self.where = id, where
        super().__init__(f"{where + ': ' if where else ''}two children have the id {id!r}; ids are unique among siblings")


def is_duration(value: object) -> bool:
    """Whether a value is a number of seconds >= 0 (infinity included; NaN, booleans and what is too long for a float not)."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and float(value) >= 0
    except OverflowError:
        return False


def is_name(value: object) -> bool:
    """Whether a value is a non-empty string."""
    return isinstance(value, str) and bool(value)


def is_count(value: object, *, least: int = 0) -> bool:
    """Whether a value is an integer of at least `least` (booleans are none)."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


class StartFailed(SupervisorError):
    """A child died, or stayed silent past its `start_timeout`, before it acknowledged its start.

    `__cause__` is the child's own exception where it has one.
    """

    def __init__(self, path: Path, exit: Exit) -> None:
        self.path, self.exit = path, exit
        super().__init__(f"{'/'.join(path)} failed to start: {exit.reason}")
        self.__cause__ = exit.exception


class RestartIntensityExceeded(SupervisorError):
    """A supervisor gave up: its window is spent, or its breaker is open; `reason` says which.

    `exits` are the failures that did it, oldest first, each with the child's id; of more than 50 the latest 50.
    """

    def __init__(self, path: Path, exits: Sequence[tuple[str, Exit]], *, intensity: int, period: float, reason: str | None = None) -> None:
        self.path, self.exits, self.intensity, self.period = path, tuple(exits), intensity, period
        self.reason = reason or f"more than {intensity} restarts within {period:g} s"
        last = f"; the last: {self.exits[-1][0]}: {self.exits[-1][1].reason}" if self.exits else ""
        super().__init__(f"{'/'.join(path)} gave up: {self.reason}{last}")


class CallError(SupervisorError):
    """A call that the tree refused; nothing was changed by it."""

    text = "refused"

    def __init__(self, path: Path, id: str | None = None, *, text: str | None = None) -> None:
        self.path, self.id = path, id
        name = "/".join(map(str, (*path, id) if id is not None else path))
        super().__init__(f"{name}: {text or self.text}")


class NoProc(CallError):
    """The supervisor that was called is not running."""

    text = "is not running"


class ChildNotFound(CallError):
    """No child of that id."""

    text = "no such child"


class ChildRunning(CallError):
    """The child is running; stop it first."""

    text = "is running; terminate it first"


class ChildNotRunning(CallError):
    """The child is not running."""

    text = "is not running"


class ChildRestarting(CallError):
    """The child waits for its next restart; `terminate_child` cancels that."""

    text = "is being restarted; terminate_child cancels that"


class AlreadyStarted(CallError):
    """A child of that id runs already."""

    text = "runs already"

    def __init__(self, path: Path, id: str, pid: int | None) -> None:
        self.pid = pid
        super().__init__(path, id)


class AlreadyPresent(CallError):
    """A child of that id exists and does not run: `restart_child` starts it, `delete_child` forgets it."""

    text = "exists already; restart_child starts it, delete_child forgets it"


class SimpleOneForOne(CallError):
    """A dynamic supervisor keeps no child that does not run, so there is none to restart or to delete."""

    text = "belongs to a dynamic supervisor; terminate_child forgets it, start_child starts another"


class MaxChildren(CallError):
    """A dynamic supervisor has as many children as it may have; those that wait for a restart count."""

    def __init__(self, path: Path, id: str, max_children: float) -> None:
        self.max_children = max_children
        super().__init__(path, id, text=f"there are {max_children} children already, and no more are allowed")


class RestartRefused(CallError):
    """Restart protection does not admit a controlled restart now; the child was left alone.

    `retry_in` is the time in seconds after which a request may be admitted, None when only a reset helps.
    """

    def __init__(self, path: Path, id: str, reason: str, retry_in: float | None) -> None:
        self.reason, self.retry_in = reason, retry_in
        super().__init__(path, id, text=f"restart refused: {reason}")


class RestartPostponed(CallError):
    """A cooldown is not over; ask again in `remaining` seconds. No attempt was counted."""

    def __init__(self, path: Path, id: str, remaining: float) -> None:
        self.remaining = remaining
        super().__init__(path, id, text=f"restart deferred: the cooldown ends in {remaining:.1f} s")
