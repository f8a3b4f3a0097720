"""Errors cross a process border: pickled and copied they are what they were."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import supervisor
from supervisor import (
    AlreadyPresent,
    AlreadyRegistered,
    AlreadyStarted,
    BadCombination,
    CallError,
    CallTimeout,
    ChildNotFound,
    ChildNotRunning,
    ChildRestarting,
    ChildRunning,
    DuplicateChildName,
    Exit,
    Fault,
    InvalidField,
    KeysNotUnique,
    MaxChildren,
    NoPartitions,
    NoProc,
    NotAChild,
    NotPartitioned,
    NotRegistered,
    NotServed,
    RegistryError,
    RestartIntensityExceeded,
    RestartPostponed,
    RestartRefused,
    SimpleOneForOne,
    SpecError,
    StartFailed,
    StartMethodUnavailable,
    SupervisorError,
    TaskExited,
    TaskTimeout,
    Unpicklable,
    UsageError,
    WorkerFailed,
)

PATH = ("root", "a")
FAILED = Exit.failed(ValueError("x"))

EXAMPLES: list[SupervisorError] = [
    SupervisorError("so"),
    SpecError("so"),
    InvalidField("f", 1, "another", where="w"),
    BadCombination({"a": 1}, "take another", where="w"),
    DuplicateChildName("a", where="w"),
    StartFailed(PATH, FAILED),
    RestartIntensityExceeded(PATH, [("a", FAILED), ("b", Exit.killed())], intensity=1, period=5.0),
    CallError(PATH, "a", text="so"),
    NoProc(PATH),
    *(
        kind(PATH, "b")
        for kind in (
            ChildNotFound,
            ChildRunning,
            ChildNotRunning,
            ChildRestarting,
            AlreadyPresent,
            SimpleOneForOne,
            NoPartitions,
            NotPartitioned,
        )
    ),
    AlreadyStarted(PATH, "b", 7),
    MaxChildren(PATH, "b", 3),
    RestartRefused(PATH, "b", "spent", 2.0),
    RestartPostponed(PATH, "b", 1.0),
    TaskExited(PATH, FAILED),
    TaskTimeout(PATH, FAILED, 1.0),
    NotAChild(),
    RegistryError("names", "k", "so"),
    AlreadyRegistered("names", "k", PATH, 1),
    NotRegistered("names", "k", PATH),
    KeysNotUnique("names", "k"),
    Unpicklable("app.Error", "so"),
    CallTimeout(PATH, "b", "double", 2.0),
    NotServed(PATH, "b", "double"),
    WorkerFailed("app.Error", "so", "a trace"),
    StartMethodUnavailable("so"),
    UsageError([Fault("a.b", "wrong")]),
]


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


CARRIED = pytest.mark.parametrize("again", [pickled, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
Again = Callable[[Any], Any]


class Closed(Exception):
    """Of those that pickle cannot make again: their constructor takes something else than their text."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} of {other}")


def test_every_exported_error_has_an_example_here() -> None:
    """So that a new one is held to this as well."""
    exported = {value for name in supervisor.__all__ if isinstance(value := getattr(supervisor, name), type)}
    assert {kind for kind in exported if issubclass(kind, SupervisorError)} == {type(error) for error in EXAMPLES}


@CARRIED
@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_arrives_as_it_was(error: SupervisorError, again: Again) -> None:
    """Class, text, arguments and values."""
    copied = again(error)
    assert type(copied) is type(error) and copied is not error
    assert (str(copied), copied.args) == (str(error), error.args)
    assert vars(copied) == vars(error)
    assert copied.__suppress_context__ == error.__suppress_context__


@CARRIED
def test_notes_and_causes_arrive_too(again: Again) -> None:
    """At all depths, and what an exit holds is the cause afterwards as before; the copy's notes are its own."""
    inner = StartFailed(("root", "s", "a"), FAILED)
    inner.add_note("inner")
    outer = StartFailed(("root", "s"), Exit.failed(inner))
    outer.add_note("outer")
    copied = again(outer)
    assert copied.__notes__ == ["outer"] and copied.__cause__.__notes__ == ["inner"]
    assert copied.__cause__ is copied.exit.exception
    assert repr(copied.__cause__.__cause__) == "ValueError('x')"
    copied.add_note("more")
    assert outer.__notes__ == ["outer"]

    gone = NoProc(PATH)
    gone.__cause__ = KeyError("k")
    assert repr(again(gone).__cause__) == "KeyError('k')"


def test_what_cannot_be_pickled_is_told() -> None:
    """A function as its text, also within a container; an exception that cannot be made again as what it was called and said."""
    bad = pickled(InvalidField("start", lambda: None, "another"))
    assert bad.value.startswith("<function") and bad.field == "start"
    clash = pickled(BadCombination({"start": lambda: None, "id": "a"}, "take another"))
    assert clash.fields["start"].startswith("<function") and clash.fields["id"] == "a"

    cause = Closed(1, 2)
    cause.add_note("more")
    failed = pickled(StartFailed(PATH, Exit.failed(cause)))
    assert failed.exit.reason == "Closed: 1 of 2"
    assert failed.__cause__ is failed.exit.exception
    assert (type(failed.__cause__), failed.__cause__.type, failed.__cause__.text) == (Unpicklable, f"{__name__}.Closed", "1 of 2")
    assert failed.__cause__.__notes__ == ["more"]
    assert pickled(Exit.shutdown(lambda: None)).term.startswith("<function")
    spent = pickled(RestartIntensityExceeded(PATH, [("a", Exit.failed(cause)), ("b", FAILED)], intensity=1, period=5.0))
    assert [(id, type(exit.exception)) for id, exit in spent.exits] == [("a", Unpicklable), ("b", ValueError)]


def test_what_cannot_be_copied_is_shared() -> None:
    """A copy in depth of an error holds the same exit, and what refuses to be copied itself."""

    class Uncopyable:
        def __deepcopy__(self, memo: object) -> object:
            raise TypeError

    value = Uncopyable()
    assert copy.deepcopy(InvalidField("f", value, "another")).value is value
    values = [1]
    assert copy.deepcopy(InvalidField("f", values, "another")).value is not values
    assert copy.copy(InvalidField("f", values, "another")).value is values
    failed = StartFailed(PATH, Exit.failed(Closed(1, 2)))
    assert copy.deepcopy(failed).__cause__ is failed.__cause__


@CARRIED
def test_an_error_in_a_circle_of_causes_arrives(again: Again) -> None:
    """However it got into one."""
    one, other = NoProc(("one",)), NoProc(("other",))
    one.__cause__, other.__cause__ = other, one
    assert str(again(one).__cause__) == "other: is not running"


def test_a_deep_tree_is_carried_in_no_time() -> None:
    """Each level once: twice would be 2 ** 60 times the leaf's failure."""
    error = StartFailed(("leaf",), FAILED)
    for _ in range(60):
        error = StartFailed(("s",), Exit.failed(error))
    depth, copied = 0, pickled(error)
    while copied.__cause__ is not None:
        depth, copied = depth + 1, copied.__cause__
    assert depth == 61


def test_a_class_of_the_user_is_carried_like_ours() -> None:
    """Whatever its constructor takes."""
    copied = pickled(Own(1, flag=True))
    assert (type(copied), copied.number, copied.flag, str(copied)) == (Own, 1, True, "number 1")


class Own(SupervisorError):
    """With a constructor that its arguments do not fit."""

    def __init__(self, number: int, *, flag: bool) -> None:
        self.number, self.flag = number, flag
        super().__init__(f"number {number}")
