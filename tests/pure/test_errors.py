"""What the errors carry and say."""

from __future__ import annotations

import pytest

from supervisor.core import errors, extra_errors
from supervisor.core.errors import (
    AlreadyStarted,
    CallError,
    MaxChildren,
    NoProc,
    RestartIntensityExceeded,
    RestartPostponed,
    RestartRefused,
    StartFailed,
    SupervisorError,
)
from supervisor.core.exits import Exit
from supervisor.core.extra_errors import (
    AlreadyRegistered,
    KeysNotUnique,
    NoPartitions,
    NotAChild,
    NotRegistered,
    RegistryError,
    TaskExited,
    TaskTimeout,
)

PATH = ("root", "a")


def test_every_error_is_in_the_tree_of_the_module() -> None:
    """One root."""
    found = {**vars(extra_errors), **vars(errors)}.values()
    kinds = [kind for kind in found if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(issubclass(kind, SupervisorError) for kind in kinds)
    assert errors.__doc__ is not None
    assert [kind.__name__ for kind in kinds if kind.__name__ not in errors.__doc__] == []


def test_a_failed_start_has_the_childs_own_exception_as_its_cause() -> None:
    """And says the path and the reason."""
    cause = OSError("no such file")
    error = StartFailed(PATH, Exit.failed(cause))

    assert error.__cause__ is cause
    assert (error.path, error.exit.reason) == (PATH, "OSError: no such file")
    assert str(error) == "root/a failed to start: OSError: no such file"
    assert StartFailed(PATH, Exit.normal()).__cause__ is None


def test_a_spent_budget_says_its_last_failure() -> None:
    """With how many, in which time."""
    error = RestartIntensityExceeded(PATH, [("x", Exit.killed()), ("y", Exit.normal())], intensity=1, period=2.5)

    assert error.exits == (("x", Exit.killed()), ("y", Exit.normal()))
    assert (error.path, error.intensity, error.period) == (PATH, 1, 2.5)
    assert str(error) == "root/a gave up: more than 1 restarts within 2.5 s; the last: y: normal"
    assert str(RestartIntensityExceeded(PATH, [], intensity=1, period=5.0)) == "root/a gave up: more than 1 restarts within 5 s"


@pytest.mark.parametrize("kind", [kind for kind in CallError.__subclasses__() if "__init__" not in vars(kind)])
def test_a_refused_call_names_the_child(kind: type[CallError]) -> None:
    """By its whole path, with a text of its own."""
    error = kind(PATH, "b")

    assert (error.path, error.id) == (PATH, "b")
    assert str(error) == f"root/a/b: {kind.text}"
    assert kind.text != CallError.text
    assert str(CallError(PATH, "b", text="so")) == "root/a/b: so"
    assert str(CallError(PATH, "b")) == "root/a/b: refused"


def test_what_a_refused_call_carries() -> None:
    """A pid, a limit, a reason and a time, what is left of a cooldown; a supervisor has no child's id."""
    assert str(NoProc(PATH)) == "root/a: is not running"
    assert NoProc(PATH).id is None
    started = AlreadyStarted(PATH, "b", 7)
    assert (started.pid, started.id, str(started)) == (7, "b", "root/a/b: runs already")
    full = MaxChildren(PATH, "b", 2)
    assert (full.max_children, str(full)) == (2, "root/a/b: there are 2 children already, and no more are allowed")
    refused = RestartRefused(PATH, "b", "spent", 3.5)
    assert (refused.reason, refused.retry_in, str(refused)) == ("spent", 3.5, "root/a/b: restart refused: spent")
    postponed = RestartPostponed(PATH, "b", 3.46)
    assert (postponed.remaining, str(postponed)) == (3.46, "root/a/b: restart deferred: the cooldown ends in 3.5 s")


def test_what_the_errors_of_registries_partitions_and_tasks_carry() -> None:
    """The registry and the key, who is in the way; how a task ended; each says it."""
    taken = AlreadyRegistered("names", "k", PATH, 3)
    assert (taken.registry, taken.key, taken.path, taken.generation) == ("names", "k", PATH, 3)
    assert str(taken) == "registry names: 'k' is registered by root/a already"
    unknown = NotRegistered("names", "k", PATH)
    assert (unknown.path, str(unknown)) == (PATH, "registry names: 'k' is not registered by root/a")
    assert str(KeysNotUnique("names", "k")) == "registry names: 'k' may have many entries; use lookup"
    assert all(issubclass(kind, RegistryError) for kind in (AlreadyRegistered, NotRegistered, KeysNotUnique))
    assert "child=root.child(id)" in str(NotAChild())
    assert str(NoPartitions(PATH)) == "root/a: has no partitions"
    cause = KeyboardInterrupt()
    exited = TaskExited(PATH, Exit.failed(cause))
    assert (exited.path, exited.exit.kind.value, exited.__cause__) == (PATH, "abnormal", cause)
    assert str(TaskExited(PATH, Exit.killed())) == "root/a has no result: killed"
    late = TaskTimeout(PATH, Exit.killed(), 2.5)
    assert (late.timeout, isinstance(late, TimeoutError), isinstance(late, TaskExited)) == (2.5, True, True)
    assert (late.path, late.exit, str(late)) == (PATH, Exit.killed(), "root/a has no result: killed")
