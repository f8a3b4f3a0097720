"""What values have in common."""

from __future__ import annotations

import copy
import pickle
import sys
import weakref
from unittest.mock import ANY

import attrs
import pytest

from supervisor import ChildStarted, Entity, Value
from supervisor.core.exits import Exit, ExitKind
from supervisor.core.message import Acknowledged, AskChild, KillChild
from supervisor.core.value import evolve


def stripped(text: str) -> str:
    return text.strip()


@attrs.frozen(repr=False, eq=False)
class Point(Value):
    x: int
    tags: list[str] = attrs.field(factory=list)
    note: str = attrs.field(default="", converter=stripped, repr=False, eq=False)


@attrs.frozen(repr=False, eq=False)
class Point3(Point):
    z: int = attrs.field(default=0, validator=attrs.validators.instance_of(int))


def test_a_value_is_made_with_its_defaults_converters_and_validators() -> None:
    """What the constructor needs survives that the names of its module are taken from it."""
    assert Point(1, note=" here ").note == "here"
    assert Point(1).tags == [] and Point(1).tags is not Point(1).tags
    with pytest.raises(TypeError):
        Point3(1, z="2")  # type: ignore[arg-type]


def test_a_value_is_shown_and_compared_by_its_fields() -> None:
    """Fields that are left out of the text or of the comparison stay out."""
    assert repr(Point(1, ["a"], "n")) == "Point(x=1, tags=['a'])"
    assert Point(1, note="a") == Point(1, note="b") and Point(1) != Point(2)
    assert Point(1) != Point3(1)
    assert len({ChildStarted(("a",), pid=1), ChildStarted(("a",), pid=1)}) == 1


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_value_is_copied_and_pickled_by_its_fields(again: object) -> None:
    """Frozen as it is, and with the fields of its bases."""
    value = Point3(1, ["a"], "n", 3)
    assert callable(again)
    copied = again(value)
    assert copied == value and copied.note == "n" and type(copied) is Point3
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        copied.z = 4  # type: ignore[misc]


def test_a_value_works_with_what_attrs_offers() -> None:
    """Its fields are a tuple, also those of a subclass; evolve and weak references work."""
    assert [field.name for field in attrs.fields(Point3)] == ["x", "tags", "note", "z"]
    assert attrs.evolve(Point3(1), z=2).z == 2
    value = Point(1)
    assert weakref.ref(value)() is value


def test_the_class_of_a_value_keeps_no_copy_of_its_module() -> None:
    """Nor a class for its fields: both cost more than the class itself."""
    assert len(Point.__init__.__globals__) < 10 < len(vars(sys.modules[__name__]))
    assert type(attrs.fields(Point)) is tuple


def test_equal_values_are_one_key() -> None:
    """Hashed by the fields that are compared; the others need no hash."""
    assert {Exit.normal(): 1}[Exit(ExitKind.NORMAL, "normal")] == 1
    assert hash(Acknowledged("a", 1, value=[])) == hash(Acknowledged("a", 1))
    assert len({Acknowledged("a", 1), Acknowledged("a", 2), Acknowledged("b", 1)}) == 3


def test_values_of_two_classes_differ() -> None:
    """Whatever their fields are; of what is no value the other side is asked."""
    assert (AskChild("a", 1) == KillChild("a", 1)) is False
    assert len({AskChild("a", 1), KillChild("a", 1)}) == 2
    assert (AskChild("a", 1) == ("a", 1)) is False
    assert AskChild("a", 1) == ANY


def test_a_changed_value_keeps_all_other_fields() -> None:
    """Also those that are no part of a comparison, and those that are given by name; a change to nothing is a change."""
    payload = object()
    told = evolve(Acknowledged("a", 1, 7, payload), generation=2, pid=None)
    assert (told.id, told.generation, told.pid, told.value) == ("a", 2, None, payload)
    started = ChildStarted(("root", "a"), 7, generation=3)
    assert evolve(started, pid=8) == ChildStarted(("root", "a"), 8, generation=3)
    assert evolve(started, generation=4) == ChildStarted(("root", "a"), 7, generation=4)
    assert started == ChildStarted(("root", "a"), 7, generation=3)
    assert evolve(Exit(ExitKind.ABNORMAL, "exit code 3", 3), code=4) == Exit(ExitKind.ABNORMAL, "exit code 3", 4)


def test_a_field_that_is_not_there_cannot_be_changed() -> None:
    """A name that is wrong is no silent nothing."""
    with pytest.raises(TypeError):
        evolve(AskChild("a", 1), nobody=1)


@attrs.define(repr=False, eq=False)
class Counter(Entity):
    count: int
    names: list[str] = attrs.field(factory=list, repr=False)


def test_an_entity_changes_and_is_equal_to_itself_alone() -> None:
    """It has an identity and a text, and is copied by its fields."""
    counter = Counter(1, ["a"])
    again = copy.copy(counter)
    counter.count += 1
    assert repr(counter) == "Counter(count=2)" and again.count == 1 and again.names is counter.names
    assert counter == counter and counter != Counter(2, ["a"]) and len({counter, again}) == 2
    assert weakref.ref(counter)() is counter and not hasattr(counter, "__dict__")


def test_classes_share_the_fields_that_are_the_same_and_no_others() -> None:
    """What is one field in two classes takes memory once; one that a class has inherited still says so."""
    assert getattr(attrs.fields(Point3)[0], "inherited", None) is True and getattr(attrs.fields(Point)[0], "inherited", None) is False
    assert [field.name for field in attrs.fields(Point3)] == ["x", "tags", "note", "z"]

    @attrs.frozen(repr=False, eq=False)
    class Point4(Point):
        pass

    assert all(one is other for one, other in zip(attrs.fields(Point4), attrs.fields(Point3), strict=False))
