"""The exceptions of registries, partitions, tasks, workers and pickle; `errors` draws the tree that they are in."""

from __future__ import annotations

from .errors import CallError, Path, SupervisorError
from .exits import Exit


class TaskExited(SupervisorError):
    """A task of a task supervisor has no result: it was stopped, killed or given up. What a task raises is raised itself instead.

    `__cause__` is the exception that ended it, where there is one.
    """

    def __init__(self, path: Path, exit: Exit) -> None:
        self.path, self.exit = path, exit
        super().__init__(f"{'/'.join(path)} has no result: {exit.reason}")
        self.__cause__ = exit.exception


class TaskTimeout(TaskExited, TimeoutError):
    """A task did not end within the `timeout` seconds that its stream gives to each."""

    def __init__(self, path: Path, exit: Exit, timeout: float) -> None:
        self.timeout = timeout
        super().__init__(path, exit)


class Unpicklable(SupervisorError):
    """Stands for an exception of the class `type` that pickle could not carry; `text` is what it said."""

    def __init__(self, type: str, text: str) -> None:
        self.type, self.text = type, text
        super().__init__(f"{type}: {text}" if text else type)


class NotAChild(SupervisorError):
    """The running code belongs to no child of a tree."""

    def __init__(self) -> None:
        super().__init__("this code runs in no child of a supervisor; name one: child=root.child(id)")


class RegistryError(SupervisorError):
    """A registry, of the name `registry`, said no to something about `key`; nothing was changed by it."""

    def __init__(self, registry: str, key: object, text: str) -> None:
        self.registry, self.key = registry, key
        super().__init__(f"registry {registry}: {key!r} {text}")


class AlreadyRegistered(RegistryError):
    """A unique key is taken, by the life `generation` of the child at `path`; it may be the one that asks."""

    def __init__(self, registry: str, key: object, path: Path, generation: int) -> None:
        self.path, self.generation = path, generation
        super().__init__(registry, key, f"is registered by {'/'.join(path)} already")


class NotRegistered(RegistryError):
    """The child at `path` has not registered that key."""

    def __init__(self, registry: str, key: object, path: Path) -> None:
        self.path = path
        super().__init__(registry, key, f"is not registered by {'/'.join(path)}")


class KeysNotUnique(RegistryError):
    """The registry's keys are duplicate ones, and only a unique key has one entry."""

    def __init__(self, registry: str, key: object) -> None:
        super().__init__(registry, key, "may have many entries; use lookup")


class NoPartitions(CallError):
    """A partition supervisor was resized to none, so there is none to lead to."""

    text = "has no partitions"


class NotPartitioned(CallError):
    """A supervisor that is no partition supervisor was called as one."""

    text = "is no partition supervisor"


class CallTimeout(CallError, TimeoutError):
    """A child did not answer a call within `timeout` seconds; it may still do what it was asked for."""

    def __init__(self, path: Path, id: str, name: str, timeout: float) -> None:
        self.name, self.timeout = name, timeout
        super().__init__(path, id, text=f"did not answer {name!r} within {timeout:g} s")


class NotServed(CallError):
    """A child serves no function of that `name`."""

    def __init__(self, path: Path, id: str, name: str) -> None:
        self.name = name
        super().__init__(path, id, text=f"serves no {name!r}; serve({name!r}, function) in the child does")


class WorkerFailed(SupervisorError):
    """What was raised in another process: by a worker that ended with it, or by a function that it serves.

    Attributes:
        type: The name of the exception's class.
        text: What it says.
        trace: Its traceback as text, its causes included.
    """

    def __init__(self, type: str, text: str, trace: str) -> None:
        self.type, self.text, self.trace = type, text, trace
        super().__init__(f"{type}: {text}" if text else type)
        self.add_note(f"in another process:\n{trace.rstrip()}")


class StartMethodUnavailable(SupervisorError):
    """A worker cannot be started in the way that was asked for."""
