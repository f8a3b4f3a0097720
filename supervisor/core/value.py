"""What all values have in common, made once.

attrs makes a text, a comparison, a hash and a state for each class, a class of its own for the fields, and a copy of the module's names
for the constructor: for the 140 classes of an idle guardian 1.2 MiB.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

import attrs

T = TypeVar("T", bound="Value")


class Value:
    """Base of frozen attrs classes that are declared with ``repr=False, eq=False``: shown, compared, hashed and copied by their fields."""

    __slots__ = ("__weakref__",)

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        _lighten(cls)

    def __repr__(self) -> str:
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in _fields(type(self)) if field.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, field.name) == getattr(other, field.name) for field in _fields(type(self)) if field.eq)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, field.name) for field in _fields(type(self)) if field.eq)))

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in _fields(type(self))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


class Entity:
    """Base of mutable attrs classes that are declared with ``repr=False, eq=False``: each instance is equal to itself alone."""

    __slots__ = ("__weakref__",)

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        _lighten(cls)

    def __repr__(self) -> str:
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in _fields(type(self)) if field.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"


def evolve(value: T, /, **changes: Any) -> T:
    """The value with some fields changed: ``attrs.evolve`` at a fraction of its price, for classes whose fields are all arguments.

    Raises:
        TypeError: No field of that name.
    """
    kind: Any = type(value)
    changed: T = _changer(kind)(value, **changes)
    return changed


@functools.cache
def _changer(kind: type[Any]) -> Callable[..., Any]:
    """A function of the fields, written out as attrs does it: a loop over names is what makes the difference."""
    fields = sorted(_fields(kind), key=lambda field: field.kw_only)  # those of a base may stand before the others
    # names that no field has: `Exit` has a `kind`
    parameters = ", ".join(f"{field.name}=__keep__" for field in fields)
    arguments = ", ".join(
        f"{f'{field.name}=' if field.kw_only else ''}self.{field.name} if {field.name} is __keep__ else {field.name}" for field in fields
    )
    names: dict[str, Any] = {"__make__": kind, "__keep__": object()}
    exec(f"def change(self, /, *, {parameters}):\n    return __make__({arguments})", names)
    change: Callable[..., Any] = names["change"]
    return change


def _fields(kind: Any) -> tuple[attrs.Attribute[Any], ...]:
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(kind)
    return fields


def _lighten(made: Any) -> None:
    """Take from a class what attrs has made for it alone; attrs calls this, through its base, when the class is ready."""
    # what is promised is a tuple of the fields; one that knows their names is a class for each
    made.__attrs_attrs__ = tuple(map(_alone, attrs.fields(made)))
    made.__attrs_props__ = _shared(made.__attrs_props__)
    del made.__getstate__, made.__setstate__
    _keep_what_is_used(vars(made)["__init__"])


_OWN: dict[Any, Any] = {}
_INHERITED: dict[Any, Any] = {}
_PROPERTIES: list[Any] = []


def _shared(properties: Any) -> Any:
    """The first properties of a class that are the same: there are a few kinds of declarations, and no hash of them."""
    if properties not in _PROPERTIES:
        _PROPERTIES.append(properties)
    return _PROPERTIES[_PROPERTIES.index(properties)]


def _alone(field: Any) -> Any:
    """The first field that is the same in everything: events and messages inherit most of theirs, and attrs copies each."""
    try:
        # which is no part of a field's comparison
        return (_INHERITED if field.inherited else _OWN).setdefault(field, field)
    except TypeError:
        # a default that cannot be hashed
        return field


def _keep_what_is_used(made: FunctionType) -> None:
    """Drop the names of the module and the annotations from a constructor that attrs has made; the fields have their types themselves."""
    if made.__code__.co_filename.startswith("<attrs generated "):
        names = made.__globals__
        used = {name: names[name] for name in made.__code__.co_names if name in names}
        names.clear()
        names.update(used)
        del made.__annotations__
