"""What is told of a supervisor to another process. That it is enough, the driver of machine_driver.py checks at each of its steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rpds import HashTrieMap

from supervisor.core.budget import Budget
from supervisor.core.event import ChildStatus, ChildTerminated
from supervisor.core.exits import Exit, ExitKind
from supervisor.core.image import Image
from supervisor.core.intensity import EMPTY
from supervisor.core.launch import ChildType
from supervisor.core.mirror import ATTEMPTS, Elsewhere, frames, news
from supervisor.core.spec import SupervisorFlags
from supervisor.core.state import Child, Lifecycle, Phase, State, initial
from supervisor.core.wire import MAX_FRAME, Mirrored, unpack

from .machine_driver import PATH, Scripted, child


def tell(image: Image, old: State | None, new: State) -> list[Mirrored]:
    """Tell what has changed, and return in which messages."""
    told = []
    for message in news(old, new, 0.5):
        for frame in frames(message):
            assert len(frame) <= MAX_FRAME + 4
            part = unpack(frame[4:])
            assert isinstance(part, Mirrored)
            image.take(part)
            told.append(part)
    return told


def state(rows: Iterable[Child]) -> State:
    children = HashTrieMap({row.spec.id: row for row in rows})
    return attrs.evolve(initial(PATH, SupervisorFlags(), ()), children=children, touched=tuple(children))


def test_nothing_is_told_of_nothing() -> None:
    """A step that shows in no call costs no message."""
    one = initial(PATH, SupervisorFlags(), (child("a"),))
    assert list(news(one, attrs.evolve(one, seed=7, brutal=True), 0.0)) == []


def test_only_what_has_changed_is_told() -> None:
    """Of a row that has changed its other fields stay where they are."""
    image, row = Image(), Child(child("a"), 0)
    one = state([row])
    two = attrs.evolve(one, children=one.children.insert("a", attrs.evolve(row, pid=7)))
    tell(image, None, one)
    [message] = tell(image, one, two)
    assert (message.rows, message.fields) == ([["a", {"pid": 7}]], {})
    assert image.states[PATH].children["a"].pid == 7
    assert image.ahead[PATH] == 0.5


@settings(max_examples=40)  # of megabytes each
@given(st.lists(st.integers(0, 2 * MAX_FRAME // 5), min_size=1, max_size=6), st.booleans())
def test_what_is_too_large_is_told_in_parts_or_abridged(sizes: list[int], exits: bool) -> None:
    """However long ids and exits are: all rows arrive, and at once."""
    exit = Exit(ExitKind.ABNORMAL, "x" * (MAX_FRAME + 1)) if exits else None
    rows = [Child(child(f"{number}{'y' * size}"), number, exit=exit) for number, size in enumerate(sizes)]
    image, new = Image(), state(rows)
    parts = [unpack(frame[4:]) for message in news(None, new, 0.0) for frame in frames(message)]
    for part in parts:
        assert PATH not in image.states
        assert isinstance(part, Mirrored)
        image.take(part)
    found = image.states[PATH].children
    assert set(found) == set(new.children)
    assert all((row.exit is not None) == exits and len(row.exit.reason if row.exit else "") < 2000 for row in found.values())


def test_many_rows_are_several_messages_and_one_change() -> None:
    """Nobody sees half of them."""
    new, image = state([Child(child(str(number)), number) for number in range(250)]), Image()
    messages = list(news(None, new, 0.0))
    assert [(len(message.rows), message.more, message.fresh) for message in messages] == [
        (100, True, True),
        (100, True, False),
        (50, False, False),
    ]
    for message in messages:
        assert PATH not in image.states
        image.take(message)
    assert len(image.states[PATH].children) == 250


def test_a_term_that_cannot_cross_is_its_text() -> None:
    """The exit of a row may hold anything."""
    image, odd = Image(), object()
    tell(image, None, state([Child(child("a"), 0, exit=Exit.shutdown(odd))]))
    exit = image.states[PATH].children["a"].exit
    assert exit is not None and exit.term == str(odd)


def test_attempts_beyond_counting_are_not_forgiven() -> None:
    """Of a window with more attempts than are told one by one, no more are left than there are, at any time."""
    window = EMPTY
    for number in range(ATTEMPTS + 500):
        window = window.record(number / 100)
    flags, image = SupervisorFlags(intensity=ATTEMPTS + 500, period=30.0), Image()
    new = attrs.evolve(initial(PATH, flags, ()), crash=Budget(window=window))
    tell(image, None, new)
    for now in (15.0, 30.0, 35.0, 40.0, 45.5, 50.0):
        assert image.states[PATH].crash.left(flags, now) <= new.crash.left(flags, now)
    assert image.states[PATH].crash.left(flags, 15.0) == new.crash.left(flags, 15.0) == 0
    assert image.states[PATH].crash.left(flags, 50.0) == new.crash.left(flags, 50.0)


@pytest.mark.parametrize("phase", [None, Phase.UNDEFINED, Phase.RESTARTING, Phase.STARTING])
def test_who_is_gone_takes_along_what_was_below(phase: Phase | None) -> None:
    """A supervisor further down that died without a word is known no more when the one above it has noticed."""
    image = Image()
    spec = attrs.evolve(child("sub"), start=Scripted(ChildType.SUPERVISOR))
    top, below = state([Child(spec, 0, Phase.RUNNING, 1)]), attrs.evolve(state([]), path=(*PATH, "sub"))
    beside = attrs.evolve(below, path=(*PATH, "subway"))
    for one in (top, below, attrs.evolve(below, path=(*PATH, "sub", "deep")), beside):
        tell(image, None, one)
    rows = [] if phase is None else [Child(spec, 0, phase, 2 if phase is Phase.STARTING else 1)]
    tell(image, top, attrs.evolve(state(rows), touched=("sub",)))
    assert set(image.states) == set(image.ahead) == {PATH, beside.path}


def test_one_that_has_finished_is_known_no_more() -> None:
    """Nor is what was below it."""
    image, one = Image(), state([])
    tell(image, None, one)
    tell(image, None, attrs.evolve(one, path=(*PATH, "deep")))
    tell(image, one, attrs.evolve(one, lifecycle=Lifecycle.FINISHED))
    assert image.states == {}


def test_a_new_life_begins_afresh() -> None:
    """Rows of the life before are not taken over."""
    image = Image()
    tell(image, None, state([Child(child("old"), 0)]))
    tell(image, None, state([Child(child("new"), 0)]))
    assert set(image.states[PATH].children) == {"new"}


def test_what_a_life_says_is_its_own() -> None:
    """Nobody is known by it who is not known already, and with the life, the row or the supervisor it is gone."""
    image, path = Image(), (*PATH, "a")

    def up(generation: int) -> State:
        return state([Child(child("a"), 0, Phase.RUNNING, generation)])

    image.hear(ChildStatus(path, "too early", generation=1))
    tell(image, None, up(1))
    image.hear(ChildStatus((*PATH, "b"), "nobody", generation=1))
    image.hear(ChildTerminated(path, generation=1))
    assert image.status(path) is None and image.status((*PATH, "b")) is None
    image.hear(ChildStatus(path, "at work", generation=1))
    assert image.status(path) == "at work"
    image.hear(ChildStatus(path, "", generation=1))
    assert image.status(path) is None

    image.hear(ChildStatus(path, "at work", generation=1))
    tell(image, up(1), up(2))
    assert image.status(path) is None
    image.hear(ChildStatus(path, "again", generation=2))
    dead = state([Child(child("a"), 0, Phase.UNDEFINED, 2)])
    tell(image, up(2), dead)
    assert image.status(path) is None
    tell(image, dead, attrs.evolve(state([]), touched=("a",)))
    assert image._said == {}

    tell(image, None, up(2))
    image.hear(ChildStatus(path, "at work", generation=2))
    tell(image, None, up(2))
    assert image.status(path) is None and image._said == {}
    image.hear(ChildStatus(path, "at work", generation=2))
    tell(image, up(2), attrs.evolve(up(2), lifecycle=Lifecycle.FINISHED))
    assert image.status(path) is None and image._said == {}


def test_what_is_elsewhere_cannot_be_started_here() -> None:
    """The launch of a row describes itself, and no more."""
    image = Image()
    tell(image, None, state([Child(child("a", kill_timeout=7.0), 0)]))
    start: Any = image.states[PATH].children["a"].spec.start
    assert isinstance(start, Elsewhere)
    assert (start.type, start.kill_timeout, start.describe()) == (ChildType.WORKER, 7.0, {})

    class Ticket:
        path = ("root", "a")

    nobody: Any = Ticket()
    with pytest.raises(TypeError, match="root/a"):
        start.launch(nobody)
