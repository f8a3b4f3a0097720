"""What all values have in common, made once.

attrs would generate a text, a comparison and a hash for each class, which for the 140 classes of an idle guardian is 0.7 MB.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import attrs

T = TypeVar("T", bound="Value")


class Value:
    """Base of frozen attrs classes that are declared with ``repr=False, eq=False``: shown, compared and hashed by their fields."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in _fields(type(self)) if field.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, field.name) == getattr(other, field.name) for field in _fields(type(self)) if field.eq)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, field.name) for field in _fields(type(self)) if field.eq)))


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
    fields = _fields(kind)
    parameters = ", ".join(f"{field.name}=keep" for field in fields)
    arguments = ", ".join(
        f"{f'{field.name}=' if field.kw_only else ''}self.{field.name} if {field.name} is keep else {field.name}" for field in fields
    )
    names: dict[str, Any] = {"kind": kind, "keep": object()}
    exec(f"def change(self, /, *, {parameters}):\n    return kind({arguments})", names)
    change: Callable[..., Any] = names["change"]
    return change


def _fields(kind: Any) -> tuple[attrs.Attribute[Any], ...]:
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(kind)
    return fields
